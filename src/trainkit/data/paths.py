"""Paths of the files and folders that a config names, and why one cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

from trainkit.core.errors import DataError, os_error_text
from trainkit.core.suggestions import did_you_mean_path


def expanded(name: str) -> Path:
    """The path that a name stands for, `~` expanded.

    Raises:
        DataError: there is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise DataError(f"{name}: there is no such user") from None


def file_at(key: str, name: str) -> Path:
    """The path of a file that is there and has an end: no pipe and no device.

    Args:
        key: of `data`, under which the name stands.

    Raises:
        DataError: there is none.
    """
    path = expanded(name)
    try:
        if why := no_file(path):
            raise DataError(f"data.{key}: {path.absolute()}: {why}")
    except (OSError, ValueError) as error:
        raise unreadable(key, path, error) from None
    return path


def no_file(path: Path) -> str | None:
    """Why what is there is no file that has an end; None when it is one.

    Raises:
        OSError, ValueError: nothing is there, or nothing can be there.
    """
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"


def unreadable(key: str, path: Path, error: OSError | ValueError) -> DataError:
    """What is to be said of a file or folder that cannot be read.

    Args:
        key: of `data`, under which its name stands.
    """
    hint = did_you_mean_path(path) if isinstance(error, FileNotFoundError) else ""
    if "$" in str(path) and isinstance(error, FileNotFoundError):
        hint = "; variables are not expanded"
    return DataError(f"data.{key}: {path.absolute()}: {os_error_text(error)}{hint}")
