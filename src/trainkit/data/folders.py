"""Folders: those of splits and of classes, and the files in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from trainkit.core.errors import DataError, os_error_text
from trainkit.data.paths import unreadable

SplitName = Literal["train", "val", "test"]
SPLIT_NAMES: tuple[SplitName, ...] = ("train", "val", "test")
FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test",),
}
"""What the folder of a split may be called."""


def existing(root: Path, rules: int = 2) -> dict[SplitName, Path]:
    """The folders of the splits: the first of each one's names."""
    folders: dict[SplitName, Path] = {}
    for split, names in FOLDERS.items():
        for name in names[: 1 if rules == 1 else None]:
            if (root / name).is_dir():
                folders.setdefault(split, root / name)
    return folders


def folders_in(root: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones aside, in their order.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    except (OSError, ValueError) as error:
        raise unreadable("path", root, error) from None


def files_below(root: Path, below: str = "") -> list[str]:
    """The files of a folder and of those below it, hidden ones aside: their paths below `root`, in their order.

    The order does not depend on the file system. A folder to which several links lead is read once: links that lead to
    a folder above them would otherwise never end.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    names: list[str] = []
    seen: set[tuple[int, int]] = set()
    try:
        for directory, folders, files in os.walk(root / below, onerror=refuse, followlinks=True):
            status = Path(directory).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            inside = Path(directory).relative_to(root)
            names += [(inside / file).as_posix() for file in files if not is_hidden(file)]
    except OSError as error:
        raise DataError(f"{error.filename}: {os_error_text(error)}") from None
    return sorted(names)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is not meant to be seen; `__MACOSX` holds what a Mac adds to an archive."""
    return name.startswith(".") or name == "__MACOSX"
