"""Text files in UTF-8: checked as a whole, and read by lines that know their place."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from trainkit.core.errors import DataError, os_error_text
from trainkit.data.paths import file_at, unreadable

BLOCK_BYTES = 1 << 20


def read_lines(name: str, *, key: str) -> list[tuple[str, str]]:
    """The lines of a text file in UTF-8, each after its `file:line`. Blank ones are left out.

    Args:
        key: of `data`, under which the name stands.

    Raises:
        DataError: the file is missing or not text.
    """
    path = file_at(key, name)
    try:
        with open(path, "rb") as file:
            text = b"".join(text_blocks(name, file)).decode("utf-8-sig")
    except OSError as error:
        raise unreadable(key, path, error) from None
    lines = [line.strip() for line in io.StringIO(text, newline=None)]
    return [(f"{name}:{number}", line) for number, line in enumerate(lines, 1) if line]


def whole_text(path: Path) -> str:
    """A text file in UTF-8, as it is.

    Raises:
        DataError: it cannot be read, is not text, or is empty but for spaces.
    """
    try:
        with open(path, "rb") as file:
            text = b"".join(text_blocks(str(path), file)).decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {os_error_text(error)}") from None
    if not text.strip():
        raise DataError(f"{path}: empty")
    return text


def text_blocks(name: str, file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file, block by block, each known to be text in UTF-8.

    Raises:
        DataError: one is not; with its line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, pending = 1, b""
    while True:
        block = file.read(BLOCK_BYTES)
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            bad = error.object[error.start]
            line = lines - pending.count(b"\n") + error.object.count(b"\n", 0, error.start)
            raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{bad:02x}); save it as UTF-8") from None
        if (position := block.find(0)) >= 0:
            line = lines + block.count(b"\n", 0, position)
            raise DataError(f"{name}:{line}: a NUL character; this is no text, or not UTF-8")
        if not block:
            return
        yield block
        lines += block.count(b"\n")
        pending = decoder.getstate()[0]
