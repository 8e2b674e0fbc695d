"""Config classes made by a program: of a user's own classes and functions, other people's, and torch's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field, PydanticUserError, create_model

from trainkit.config.base import Config
from trainkit.config.registry import register
from trainkit.config.signature import Constructor, Owner, place_of, title_of
from trainkit.core.errors import ConfigError, TrainkitError, first_line, own_line

C = TypeVar("C", bound=Config)
O = TypeVar("O", bound="OwnConfig")  # noqa: E741

Options = Mapping[str, tuple[Any, str]]
"""Type and meaning of arguments."""


class OwnConfig(Config):
    """Base of the configs that are made of a signature."""

    _constructor: ClassVar[Constructor]
    _section: ClassVar[str]
    """Of the file, as messages begin; empty where the caller knows the place."""

    def _make(self, supply: Callable[[str], Any], *first: Any) -> Any:
        """Call the class or function with what the config gives. Arguments as of `Constructor`.

        Raises:
            ConfigError: its code raises something.
        """
        with own_code(self._section, self._constructor.owner):
            return self._constructor(self, supply, *first)


@contextmanager
def own_code(section: str, owner: Owner) -> Iterator[None]:
    """Say of what the code of a class or function raises which it is, where it stands, and in which section.

    Raises:
        ConfigError: with that. What is explained elsewhere, such as a lack of memory, stays as it is.
    """
    try:
        yield
    except Exception as error:
        text, elsewhere = first_line(error), ("out of memory", "allocate memory", "deterministic", "a second time")
        if isinstance(error, TrainkitError | OSError | MemoryError) or any(word in text for word in elsewhere):
            raise
        at = own_line(error) or place_of(owner)
        place = f"{section}: " if section else ""
        raise ConfigError(f"{place}{title_of(owner)} raised {type(error).__name__}: {text}{at}") from error


def register_own(family: str, name: str, constructor: Constructor, base: type[O]) -> type[O]:
    """Make a config class of a constructor known under a name.

    Raises:
        ConfigError: a YAML file cannot express a key, or the name is taken.
    """
    owner = constructor.owner
    tag: Any = (Literal[name], name)
    try:
        derived: type[O] = create_model(
            f"{title_of(owner).rpartition('.')[2]}Config",
            __base__=base,
            __doc__=inspect.getdoc(owner) or f"The user's {title_of(owner)}.",
            __module__=owner.__module__,
            **{"name": tag, **constructor.keys},
        )
        derived.model_json_schema()
    except PydanticUserError as error:
        raise ConfigError(f"{title_of(owner)}: {error.message.splitlines()[0]}{place_of(owner)}") from None
    derived._constructor = constructor
    derived.unknown_key_hints = {**base.unknown_key_hints, **constructor.kept}
    return register(family)(derived)


def torch_config_class(
    owner: type, title: str, name: str, base: type[C], about: str, known: Options, defaults: Mapping[str, Any]
) -> type[C]:
    """A config class for one of torch's: the known arguments of its constructor, with the defaults that it has.

    Args:
        about: its docstring.
        defaults: what counts instead, or where torch has none.
    """
    fields: dict[str, Any] = {"name": (Literal[name], name)}
    for key, parameter in inspect.signature(owner).parameters.items():
        if key in known and parameter.kind is not parameter.KEYWORD_ONLY:  # such came with later versions of torch
            hint, meaning = known[key]
            default = defaults.get(key, ... if parameter.default is parameter.empty else parameter.default)
            fields[key] = (hint, Field(default, description=meaning))
    return create_model(title, __base__=base, __doc__=about, __module__=base.__module__, **fields)
