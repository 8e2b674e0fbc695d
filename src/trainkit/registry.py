"""Config classes by family and name: the one place where a name in a YAML file becomes a class."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from trainkit.errors import ConfigError, did_you_mean

C = TypeVar("C", bound=type[BaseModel])

_families: dict[str, dict[str, type[BaseModel]]] = defaultdict(dict)


def register(family: str) -> Callable[[C], C]:
    """Class decorator: make a config class known under the default of its `name` field.

    Raises:
        ConfigError: the class has no `name` with a default, or another class of the family has that name.
    """

    def add(config_class: C) -> C:
        field = config_class.model_fields.get("name")
        if field is None or not isinstance(field.default, str):
            raise ConfigError(
                f'{config_class.__qualname__}: needs a field such as name: Literal["my_{family}"] = "my_{family}"'
            )
        known = _families[family].setdefault(field.default, config_class)
        if (known.__module__, known.__qualname__) != (config_class.__module__, config_class.__qualname__):
            raise ConfigError(
                f"{family} {field.default!r} is registered twice: by {known.__module__}.{known.__qualname__} "
                f"and {config_class.__module__}.{config_class.__qualname__}"
            )
        _families[family][field.default] = config_class
        return config_class

    return add


def names(family: str) -> list[str]:
    """The names known in a family, in the order in which they were registered."""
    return list(_families[family])


def find(family: str, name: str) -> type[BaseModel]:
    """The config class registered under a name.

    Raises:
        ConfigError: nothing has that name; the message gives the nearest, or all.
    """
    if name not in _families[family]:
        hint = did_you_mean(name, names(family)) or f"; known: {', '.join(names(family))}"
        raise ConfigError(f"unknown {family} {name!r}{hint}")
    return _families[family][name]


def load_module(name: str, beside: Path | None) -> None:
    """Import a user's module, which registers its own configs. The only place where a config makes code run.

    Looks beside the YAML file (when `beside` is given), in the current directory, and among what is installed.

    Raises:
        ConfigError: the name is not a module name, the module is not found, or it registers nothing.
    """
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        raise ConfigError(f"imports: expected a module name, got {name!r}")
    places = [str(place.resolve()) for place in (beside, Path()) if place is not None]
    before = sys.path.copy()
    sys.path[:0] = [place for place in places if place not in sys.path]
    try:
        if name not in sys.modules:
            count = sum(map(len, _families.values()))
            if importlib.util.find_spec(name.split(".")[0]) is None:
                raise ConfigError(f"imports: no module {name!r} (looked in {', '.join(places)} and what is installed)")
            importlib.import_module(name)
            if sum(map(len, _families.values())) == count:
                raise ConfigError(f"imports: {name!r} registers no config")
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise ConfigError(f"imports: no module {name!r} (looked in {', '.join(places)})") from None
        raise
    finally:
        sys.path[:] = before
