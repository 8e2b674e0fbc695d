"""Files that are old or new, never half: temporary file beside them, fsync, rename, fsync of the directory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from trainkit.errors import StorageError

PREFIX = ".tmp-"


def replace(path: Path, write: Callable[[BinaryIO], None], *, link_first: Path | None = None) -> None:
    """Write a file whole or not at all.

    Args:
        path: what is replaced.
        write: writes the content into the open temporary file.
        link_first: another name for the same content, replaced before `path`.

    Raises:
        StorageError: the disk refuses; every old file is as it was, or `link_first` is new.
    """
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if link_first:
            _link(temporary, link_first, write)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _link(written: Path, path: Path, write: Callable[[BinaryIO], None]) -> None:
    temporary = _temporary(path)
    try:
        temporary.hardlink_to(written)
    except OSError:  # a file system without hard links
        replace(path, write)
        return
    try:
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`replace` for text, in UTF-8."""
    replace(path, lambda file: _write_all(file, text.encode()))


def _write_all(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power failure."""
    if os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_stale(directory: Path) -> None:
    """Remove the temporary files that a killed process left. For the owner of the directory only."""
    for stale in directory.glob(f"{PREFIX}*"):
        if stale.is_file():
            stale.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
