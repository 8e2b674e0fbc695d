"""One new input, and where it may stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from torch import Tensor

from trainkit.core.errors import DataError, os_error_text
from trainkit.core.tiling import Patch
from trainkit.core.view import View
from trainkit.data.paths import no_file

STDIN = "-"


def blank() -> Image.Image:
    """Of an input that is no picture."""
    raise DataError("there is no picture to draw over")


@dataclass(frozen=True, slots=True)
class Sample:
    """One input that is read when it is its turn."""

    name: str
    read: Callable[[], Tensor]
    """Gives it as a data source would. Raises DataError, with the name."""
    view: Callable[[], View | list[Patch] | None] = lambda: None
    """Which part of a picture that is, or which tiles, of which `read` then gives all; None where it is no picture of
    another size."""
    picture: Callable[[], Image.Image] = blank
    """The picture at its own size, RGB. Raises DataError, with the name."""
    stem: str = ""
    """What files that belong to it are called."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """What stands in the columns that were to be kept."""


def is_folder(name: str) -> bool:
    """Whether there is a folder of that name."""
    with suppress(OSError):  # of names that are too long
        return Path(name).is_dir()
    return False


def file_named(name: str) -> str:
    """The name of a file that is there.

    Raises:
        DataError: there is none.
    """
    try:
        why = no_file(Path(name))
    except (OSError, ValueError) as error:
        why = os_error_text(error)
    if why:
        raise DataError(f"{name}: {why}")
    return name
