"""Files that are old or new, never half: temporary file beside them, fsync, rename, fsync of the directory."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from trainkit.core.errors import StorageError, os_error_text

PREFIX = ".tmp-"


def replace(
    path: Path,
    write: Callable[[BinaryIO], object],
    *,
    links: Sequence[Path] = (),
    whole: Callable[[BinaryIO], bool] = lambda file: True,
) -> None:
    """Write a file whole or not at all.

    Args:
        path: what is replaced.
        write: writes the content into the open temporary file.
        links: other names for the same content, replaced one by one before `path`.
        whole: reads what was written, before anybody sees it.

    Raises:
        StorageError: the disk refuses; every file is the old or the new one, `path` is the old one.
    """
    try:
        try:
            _replace(path, write, links, whole)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # Never sync the same file again: the kernel may have dropped its pages. A new one, once.
            _replace(path, write, links, whole)
    except OSError as error:
        raise StorageError(f"{path}: {os_error_text(error)}") from error


def _replace(
    path: Path, write: Callable[[BinaryIO], object], links: Sequence[Path], whole: Callable[[BinaryIO], bool]
) -> None:
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        with open(temporary, "rb") as file:
            if not whole(file):
                raise OSError(errno.EIO, "what was read back is not what was written")
        for link in links:
            _link(temporary, link, write, whole)
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _link(written: Path, path: Path, write: Callable[[BinaryIO], object], whole: Callable[[BinaryIO], bool]) -> None:
    temporary = _temporary(path)
    try:
        temporary.hardlink_to(written)
    except OSError:  # a file system without hard links
        _replace(path, write, (), whole)
        return
    try:
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`replace` for text, in UTF-8."""
    replace(path, lambda file: file.write(text.encode()))


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
        if re.fullmatch(r"\.tmp-.+-\d+-[0-9a-f]{8}", stale.name) and stale.is_file() and not stale.is_symlink():
            stale.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f"{PREFIX}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
