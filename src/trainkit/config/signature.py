"""Signatures of classes and functions, read as the keys of configs: a user's own, other people's, and torch's."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from types import MappingProxyType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import JsonValue, TypeAdapter

from trainkit.config.base import Config
from trainkit.core.errors import ConfigError, short
from trainkit.core.suggestions import did_you_mean

Owner = Callable[..., Any]
"""A class or a function."""
Key = tuple[Any, Any]
"""Type and default of an argument, as pydantic takes them; `...` where there is no default."""
Anything = bool | int | float | str | tuple[JsonValue, ...] | dict[str, JsonValue] | None
"""What an argument may be of which nothing is known. A list comes as a tuple, which more code takes for several."""


@dataclass(frozen=True, slots=True)
class Constructor:
    """A class or function whose arguments are the keys of a config."""

    owner: Owner
    own: Mapping[str, Key]
    """The keys, in their order."""
    supplied: Mapping[str, str]
    """Arguments that no config gives, each with the name of what is supplied to it."""
    kept: Mapping[str, str]
    """Arguments that keep their defaults, each with the reason."""
    inner: Mapping[str, Constructor]
    """Arguments that are config objects: their arguments are keys, too."""

    @property
    def keys(self) -> dict[str, Key]:
        """All keys, those of config objects last."""
        return {key: field for one in (*self.inner.values(), self) for key, field in one.own.items()}

    @property
    def facts(self) -> set[str]:
        """What is supplied to any argument."""
        return {fact for one in (self, *self.inner.values()) for fact in one.supplied.values()}

    def __call__(self, config: Config, supply: Callable[[str], Any], *first: Any) -> Any:
        """Call the owner with what a config gives.

        Args:
            supply: gives what is supplied, by its name.
            first: the arguments that are given by position.
        """
        return self.owner(*first, **self.arguments(config, supply))

    def arguments(self, config: Config, supply: Callable[[str], Any]) -> dict[str, Any]:
        """The arguments that are given by name. Arguments as of a call."""
        given = {key: getattr(config, key) for key in self.own}
        given |= {argument: supply(fact) for argument, fact in self.supplied.items()}
        return given | {argument: one(config, supply) for argument, one in self.inner.items()}


def constructor_of(
    owner: Owner,
    supplied: Iterable[str] = (),
    sizes: Mapping[str, str] | None = None,
    *,
    others: Iterable[str] = (),
    base: type[Config] = Config,
    first: Sequence[str] = (),
    hints: Mapping[str, Any] | None = None,
    shared: Mapping[str, Key] | None = None,
) -> Constructor:
    """Read a signature: typed arguments become keys; of untyped ones the type of the default serves, and without one
    anything is taken. `*args` and `**kwargs` are no keys.

    What a YAML file cannot give, such as a function, keeps its default, as does a `device` or `dtype` of None. A config
    object (a dataclass, or a class with such a constructor) stands for its own arguments.

    Args:
        supplied: what is supplied to the arguments of these names.
        sizes: the arguments that are called otherwise, by what is supplied to them.
        others: what can be supplied to such ones alone.
        base: the config class to be; its names are taken.
        first: what the first arguments are, which are given by position, whatever they are called.
        hints: the types of arguments that do not say theirs.
        shared: keys of the base that are arguments of these names, with what counts where a default is no number.

    Raises:
        ConfigError: an argument without a default cannot be given by a config.
    """
    sizes, known = sizes or {}, [*supplied, *others]
    if not callable(owner):
        raise ConfigError(f"{owner!r}: expected a class or a function")
    if wrong := next((fact for fact in sizes if fact not in known), None):
        hint = did_you_mean(wrong, known) or f"; known: {', '.join(known)}"
        raise ConfigError(f"{title_of(owner)}: sizes: nothing called {wrong!r} is supplied{hint}")
    asked = {fact: fact for fact in known if fact in supplied and fact not in sizes}
    asked |= {argument: fact for fact, argument in sizes.items()}
    reserved = {*dir(base), *base.model_fields}
    found = _read(owner, asked, reserved, first=first, given=hints or {}, shared=shared or {})
    taken = {argument for one in (found, *found.inner.values()) for argument in one.supplied}
    missing = {argument: fact for fact, argument in sizes.items() if argument not in taken}
    if not missing:
        return found
    for argument, one in found.inner.items():
        if _takes_any(one.owner) or all(hasattr(one.owner, each) for each in missing):
            return replace(found, inner={**found.inner, argument: replace(one, supplied={**one.supplied, **missing})})
    if _takes_any(owner):
        return replace(found, supplied={**found.supplied, **missing})
    wrong = next(iter(missing))
    hint = did_you_mean(wrong, inspect.signature(owner).parameters)
    raise ConfigError(f"{title_of(owner)}: sizes: there is no argument {wrong!r}{hint}{place_of(owner)}")


def _read(
    owner: Owner,
    asked: Mapping[str, str],
    reserved: Container[str],
    *,
    first: Sequence[str] = (),
    given: Mapping[str, Any] = MappingProxyType({}),
    shared: Mapping[str, Key] = MappingProxyType({}),
) -> Constructor:
    parameters = list(_signature(owner).items())
    by_position = [each for _, each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    starred = any(each.kind is each.VAR_POSITIONAL for _, each in parameters)
    if len(by_position) < len(first) and not starred:
        raise ConfigError(f"{title_of(owner)}: its first arguments must be {' and '.join(first)}{place_of(owner)}")
    hints = {**_hints(owner), **given}
    own: dict[str, Key] = {}
    kept: dict[str, str] = {}
    inner: dict[str, Constructor] = {}
    for key, parameter in [pair for pair in parameters if pair[1] not in by_position[: len(first)]]:
        if key in asked or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if key in shared:
            hint, default = shared[key]
            own[key] = hint, parameter.default if isinstance(parameter.default, int | float) else default
            continue
        try:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise _NoKeyError("it has no name by which a config could give it")
            if key == "name" or key.startswith("_") or key in reserved:
                raise _NoKeyError("configs use this one themselves", "needs another name")
            if parameter.default is parameter.empty and (config := _config_object(hints.get(key))):
                inner[key] = _read(config, asked, reserved)
            else:
                own[key] = _field(key, hints.get(key, parameter.empty), parameter.default)
        except _NoKeyError as error:
            if parameter.default is parameter.empty:
                raise ConfigError(f"{title_of(owner)}: argument {key!r} {error.problem}{place_of(owner)}") from None
            kept[key] = f"{title_of(owner)} keeps its default of it: {error.reason}"
    supplied = {key: asked[key] for key, _ in parameters if key in asked}
    return Constructor(owner, own, supplied, kept, inner)


class _NoKeyError(Exception):
    """An argument is none that a config could give."""

    def __init__(self, reason: str, what: str = "cannot be a key") -> None:
        super().__init__(reason)
        self.reason, self.problem = reason, f"{what}: {reason}"


def _field(key: str, hint: Any, default: Any) -> Key:
    none = inspect.Parameter.empty
    if hint is none and default is none:
        return Anything, ...
    if key in ("device", "dtype") and default is None:
        raise _NoKeyError("where a model lies, and its numbers, is said by train.device and train.precision")
    found = _type_of(default) if hint is none else _expressible(hint)
    if found is None:
        what = _named(type(default) if hint is none else hint)
        advice = "; give it a default, or register a function that makes it of numbers and text" * (default is none)
        raise _NoKeyError(f"a YAML file cannot give a {what}{advice}")
    if default is none:
        return found, ...
    found = found | None if default is None else found  # `width: int = None` means `int | None`
    if not _storable(found, default):
        raise _NoKeyError(f"a YAML file cannot give its default, {default!r}")
    return found, default


def _type_of(default: object) -> Any:
    """What a default says of the type of its argument; None where a YAML file could not give it."""
    if isinstance(default, bool | str | float):
        return type(default)
    if isinstance(default, int):
        return int | float  # such as the 0 of a dropout
    if isinstance(default, tuple):
        return tuple[JsonValue, ...]
    if isinstance(default, list | dict):
        return list[JsonValue] if isinstance(default, list) else dict[str, JsonValue]
    return Anything if default is None else None


def _expressible(hint: Any) -> Any:
    """The part of a type that a YAML file can give; None where there is none."""
    if get_origin(hint) in (Union, types.UnionType):
        parts = [part for each in get_args(hint) if (part := _expressible(each)) is not None]
        return Union[tuple(parts)] if any(part is not types.NoneType for part in parts) else None  # noqa: UP007
    if hint is type or get_origin(hint) is type:
        return None
    try:
        TypeAdapter(hint).json_schema()  # what JSON cannot express, YAML cannot
    except Exception:  # pydantic has several kinds, and other people's types have their own
        return None
    return hint


def _storable(hint: Any, default: object) -> bool:
    if isinstance(default, float) and not math.isfinite(default):
        return False
    try:
        TypeAdapter(hint).dump_json(default, warnings=False)
    except Exception:  # as above
        return False
    return True


def _config_object(hint: Any) -> type | None:
    """The class of an argument that is a config object, not a part."""
    if not inspect.isclass(hint) or hint.__module__ == "builtins" or inspect.isabstract(hint):
        return None
    if any(base.__module__.partition(".")[0] == "torch" for base in hint.__mro__):
        return None
    made_by_python = inspect.isfunction(hint.__init__)
    return hint if is_dataclass(hint) or (made_by_python and _expressible(hint) is None) else None


def _signature(owner: Owner) -> Mapping[str, inspect.Parameter]:
    if owner is object or getattr(owner, "__init__", None) is object.__init__:
        return {}
    found = inspect.signature(owner).parameters
    inherited = getattr(owner, "__init__", None)
    # torch's own, which takes no arguments, however it is declared.
    return {} if getattr(inherited, "__qualname__", "") == "Module.__init__" else found


def _takes_any(owner: Owner) -> bool:
    return any(each.kind is each.VAR_KEYWORD for each in _signature(owner).values())


def _hints(owner: Owner) -> dict[str, Any]:
    """The types of arguments, without those that are not known when the program runs."""
    function = getattr(owner, "__init__", owner) if inspect.isclass(owner) else owner
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # a name for type checkers alone, or of a package that is not there
        known = getattr(inspect.unwrap(function), "__globals__", {})
    found: dict[str, Any] = {}
    for key, annotation in getattr(function, "__annotations__", {}).items():
        with suppress(Exception):  # as above
            found |= get_type_hints(types.SimpleNamespace(__annotations__={key: annotation}), known)
    return found


def title_of(owner: Owner) -> str:
    """What a class or function is called."""
    return str(getattr(owner, "__qualname__", type(owner).__qualname__))


def _named(hint: Any) -> str:
    return str(getattr(hint, "__name__", hint))


def place_of(owner: Owner) -> str:
    """Where it stands, such as ` (my_parts.py:7)`; empty where nobody knows."""
    function = getattr(owner, "__init__", owner) if inspect.isclass(owner) else owner
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({short(code.co_filename)}:{code.co_firstlineno})" if code else ""
