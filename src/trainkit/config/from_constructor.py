"""Config classes from the constructors of other classes: a user's own, and torch's."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import Field, PydanticUserError, create_model

from trainkit.config.base import Config
from trainkit.core.errors import ConfigError

C = TypeVar("C", bound=Config)

Options = Mapping[str, tuple[Any, str]]
"""Type and meaning of arguments."""


def arguments(owner: type, supplied: Container[str], reserved: Container[str]) -> dict[str, Any]:
    """Type and default of every argument of a class's constructor, as pydantic takes them.

    Args:
        supplied: arguments that no config gives, which need no type.
        reserved: names that configs need for themselves.

    Raises:
        ConfigError: an argument has no type, or cannot be given by name, or has a reserved name.
    """
    hints = get_type_hints(getattr(owner, "__init__"))  # noqa: B009  # mypy knows __init__ of instances only
    found: dict[str, Any] = {}
    for key, parameter in inspect.signature(owner).parameters.items():
        title = f"{owner.__qualname__}: argument {key!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{title}: a config can only give single arguments by name")
        if key not in hints and key not in supplied:
            raise ConfigError(f"{title} needs a type, such as {key}: int = 64")
        if key == "name" or key.startswith("_") or (key in reserved and key not in supplied):
            raise ConfigError(f"{title} needs another name: configs use this one themselves")
        hint, default = hints.get(key, Any), parameter.default
        # `width: int = None` means `int | None`.
        found[key] = (hint | None if default is None else hint, ... if default is parameter.empty else default)
    return found


def config_class(owner: type, name: str, base: type[C], fields: Mapping[str, Any]) -> type[C]:
    """A config class under a name, with these fields besides those of its base.

    Raises:
        ConfigError: a YAML file cannot express a field.
    """
    tag: Any = (Literal[name], name)
    try:
        derived: type[C] = create_model(
            f"{owner.__name__}Config",
            __base__=base,
            __doc__=inspect.getdoc(owner) or f"The user's {owner.__qualname__}.",
            __module__=owner.__module__,
            **{"name": tag, **fields},
        )
        derived.model_json_schema()  # what JSON cannot express, YAML cannot
    except PydanticUserError as error:
        raise ConfigError(f"{owner.__qualname__}: {error.message.splitlines()[0]}") from None
    return derived


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
