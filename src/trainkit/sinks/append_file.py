"""A file that only grows, and waits for a full disk to have room again."""

from __future__ import annotations

import os
from pathlib import Path


class Appended:
    """What cannot be written yet is kept, in order, and tried again with whatever comes next."""

    def __init__(self, path: Path, keep: int | None = None) -> None:
        """Append to a file, after cutting it to its first `keep` bytes."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        self._unwritten = bytearray()
        if keep is not None:
            self._file.truncate(min(keep, path.stat().st_size))

    def write(self, content: bytes) -> OSError | None:
        """Add something; gives the reason when the disk does not take it yet."""
        self._unwritten += content
        try:
            self.drain()
        except OSError as error:
            return error
        return None

    def drain(self) -> None:
        """Write what is left, or raise OSError."""
        while self._unwritten:
            del self._unwritten[: self._file.write(self._unwritten)]

    def sync(self) -> int:
        """Make everything so far survive a power failure, or raise OSError; gives the length in bytes."""
        self.drain()
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self.write(b"")
        self._file.close()
