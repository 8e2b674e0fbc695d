"""What a message shows to be typed in a shell: commands, and values for keys."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from trainkit.config import yamlfile


def command(*words: object, modules_in: Iterable[Path] = ()) -> str:
    """A command, quoted where a shell needs it.

    Args:
        modules_in: where the modules are that its config imports. A stored config looks for them only in the current
            directory and among what is installed, never beside itself; from elsewhere they come with `PYTHONPATH=…`.
    """
    others = [os.path.relpath(folder) for folder in modules_in if folder.resolve() != Path().resolve()]
    path = os.pathsep.join(dict.fromkeys(others))
    return f"PYTHONPATH={shlex.quote(path)} " * bool(path) + shlex.join(map(str, words))


def homes(modules: Iterable[str]) -> list[Path]:
    """Where modules are that are not installed."""
    found: list[Path] = []
    for name in modules:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name.partition(".")[0])
            places = spec and (spec.submodule_search_locations or (spec.has_location and [spec.origin or ""]))
            found += [Path(place).parent for place in places or []]
    return [folder for folder in found if "site-packages" not in folder.parts]


def typed(key: str, value: object) -> str:
    """`key=value`, with which a command gives a key that value."""
    return shlex.quote(f"{key}={_yaml(value)}")


def _yaml(value: object) -> str:
    """On one line, in the fewest signs."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_yaml(key)}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    plain = isinstance(value, str) and re.fullmatch(r"[./]*\w[\w./-]*", value) and yamlfile.resolve(value) == value
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
