"""Config classes by family and name: the one place where a name in a YAML file becomes a class."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import did_you_mean
from trainkit.core.text import printable

C = TypeVar("C", bound=type[BaseModel])

FAMILIES = {
    "data": "data",
    "input": "inputs",
    "task": "tasks",
    "model": "models",
    "layer": "layers",
    "loss": "losses",
    "metric": "metrics",
    "optimizer": "optimizers",
    "scheduler": "schedulers",
    "sink": "sinks",
    "transform": "transforms",
}
"""Of components, each with what several of them are called."""

MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

_families: dict[str, dict[str, type[BaseModel]]] = {family: {} for family in FAMILIES}
_loaded: set[str] = set()


def register(family: str) -> Callable[[C], C]:
    """Class decorator: make a config class known under the default of its `name` field.

    Raises:
        ConfigError: there is no such family, the class has no `name` with a default, or another one has that name.
    """

    if family not in FAMILIES:
        hint = did_you_mean(family, FAMILIES) or f"; known: {', '.join(FAMILIES)}"
        raise ConfigError(f"unknown family {family!r}{hint}")

    def add(config_class: C) -> C:
        _add(family, config_class)
        if config_class.__module__.partition(".")[0] != "trainkit":
            config_class.model_rebuild(raise_errors=False)  # an annotation that cannot be is found where it stands
        return config_class

    return add


def _add(family: str, config_class: type[BaseModel]) -> None:
    field = config_class.model_fields.get("name")
    if field is None or not isinstance(field.default, str):
        raise ConfigError(
            f'{config_class.__qualname__}: needs a field such as name: Literal["my_{family}"] = "my_{family}"'
        )
    known = _families[family].setdefault(field.default, config_class)
    if _full_name(known) != _full_name(config_class):
        raise ConfigError(
            f"{family} {field.default!r} is registered twice: by {_full_name(known)} and {_full_name(config_class)}"
        )
    _families[family][field.default] = config_class  # a module that is run again brings its classes again


def _full_name(config_class: type[BaseModel]) -> str:
    return f"{config_class.__module__}.{config_class.__qualname__}"


def is_ours(config: BaseModel | type[BaseModel]) -> bool:
    """Whether a config, or its class, is of a component that trainkit has, not a user."""
    return (config if isinstance(config, type) else type(config)).__module__.partition(".")[0] == "trainkit"


def names(family: str) -> list[str]:
    """The names known in a family, in the order in which they were registered."""
    return list(_families[family])


def family_of(config_class: type[BaseModel]) -> str | None:
    """The family in which a config class is registered; None for one that is in none."""
    return next((family for family, members in _families.items() if config_class in members.values()), None)


def find(family: str, name: str) -> type[BaseModel]:
    """The config class registered under a name.

    Raises:
        ConfigError: nothing has that name; the message gives the nearest, or all.
    """
    if name not in _families[family]:
        from trainkit.config.other_tools import hint_for_value  # a table of words that is only needed now

        known = names(family)
        hint = hint_for_value(name, known) or did_you_mean(name, known) or hint_for_value(name, known, loosely=True)
        raise ConfigError(f"unknown {family} {name!r}" + (hint or f"; known: {', '.join(known)}"))
    return _families[family][name]


def load_module(name: str, beside: Path | None) -> None:
    """Import a user's module, which registers its own configs. The only place where a config makes code run.

    Looks beside the YAML file (when `beside` is given), in the current directory, and among what is installed.

    Raises:
        ConfigError: the name is not a module name, the module is not found, or it registers nothing.
    """
    module = name.removeprefix("./").removesuffix(".py").replace("/", ".")
    hint = f"; write {module}" if MODULE.fullmatch(module) else ""
    if not MODULE.fullmatch(name) or name.endswith(".py"):
        raise ConfigError(f"expected a module name, got {name!r}{hint}")
    places = list(dict.fromkeys(str(place.resolve()) for place in (beside, Path()) if place is not None))
    if name in _loaded:
        if not _is_another(name, places):
            return
        for module in [other for other in sys.modules if f"{other}.".startswith(f"{name.partition('.')[0]}.")]:
            del sys.modules[module]
    before, known = sys.path.copy(), len(list(_registered()))
    sys.path[:0] = places
    try:
        _announce(name)
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, but imports one that is not
        raise ConfigError(f"no module {name!r} (looked in {', '.join(places)} and what is installed)") from None
    except SystemExit:
        raise ConfigError(
            f"{name!r} exits when it is imported; put what it runs below if __name__ == '__main__'"
        ) from None
    finally:
        # At the end, for what the module imports later: a neighbour called random.py must not take random's place.
        sys.path[:] = before + [place for place in places if place not in before]
    modules = {config_class.__module__ for config_class in _registered()}
    if len(list(_registered())) == known and not any(f"{module}.".startswith(f"{name}.") for module in modules):
        raise ConfigError(f"{name!r} registers no config")
    _loaded.add(name)


def _is_another(name: str, places: list[str]) -> bool:
    """Whether a module that is known is not the one that lies in these places, beside another config."""
    top = name.partition(".")[0]
    found = importlib.machinery.PathFinder.find_spec(top, places)
    return found is not None and found.origin != getattr(sys.modules.get(top), "__file__", None)


def _announce(name: str) -> None:
    """Say which code is about to run."""
    with suppress(OSError, ValueError):  # nobody may be reading, or it is `__main__`
        spec = importlib.util.find_spec(name.partition(".")[0])  # to look for the module itself would run its package
        if spec and sys.stderr:
            sys.stderr.write(f"imports {name} ({printable(spec.origin or 'a folder')})\n")


def _registered() -> Iterator[type[BaseModel]]:
    return (config_class for family in _families.values() for config_class in family.values())
