"""Config classes from the constructors of a user's own classes."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import PydanticUserError, create_model

from trainkit.config.base import Config
from trainkit.core.errors import ConfigError

C = TypeVar("C", bound=Config)


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


def config_class(owner: type, name: str, base: type[C], fields: Mapping[str, Any], about: str | None = None) -> type[C]:
    """A config class under a name, with these fields besides those of its base.

    Args:
        about: its docstring; by default that of the class.

    Raises:
        ConfigError: a YAML file cannot express a field.
    """
    tag: Any = (Literal[name], name)
    try:
        derived: type[C] = create_model(
            f"{owner.__name__}Config",
            __base__=base,
            __doc__=about or inspect.getdoc(owner) or f"The user's {owner.__qualname__}.",
            __module__=owner.__module__,
            **{"name": tag, **fields},
        )
        derived.model_json_schema()  # what JSON cannot express, YAML cannot
    except PydanticUserError as error:
        raise ConfigError(f"{owner.__qualname__}: {error.message.splitlines()[0]}") from None
    return derived
