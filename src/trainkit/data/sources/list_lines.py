"""Text files by lines that know their place."""

from __future__ import annotations

import io

from trainkit.core.errors import DataError
from trainkit.data.paths import file_at, unreadable


def read_lines(name: str, *, key: str) -> list[tuple[str, str]]:
    """The lines of a text file in UTF-8, each after its `file:line`. Blank ones are left out.

    Raises:
        DataError: the file is missing or not text.
    """
    lines = [line.strip() for line in io.StringIO(_read_text(name, key), newline=None)]
    return [(f"{name}:{number}", line) for number, line in enumerate(lines, 1) if line]


def _read_text(name: str, key: str) -> str:
    path = file_at(key, name)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise unreadable(key, path, error) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8") from None
    if (place := content.find(0)) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise DataError(f"{name}:{line}: a NUL character; this is no text, or not UTF-8")
    return text
