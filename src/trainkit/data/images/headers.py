"""Headers of picture files: what is no picture, has more than 8 bits a pixel, and how large it is; without decoding."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainkit.data import workers
from trainkit.data.images.bit_depth import Spread, is_deep, spread, together
from trainkit.data.images.decoding import PictureSource, Unreadable, UnreadableError, chunks, opened, quiet
from trainkit.data.paths import no_file


class Headers(NamedTuple):
    """What the beginnings of files tell."""

    unreadable: Unreadable
    """Those that are no pictures at all."""
    deep: list[int]
    """Those with more than 8 bits a pixel."""
    truncated: list[int]
    """Those of which Pillow keeps 8 of 16 bits."""


SHALLOW, DEEP, TRUNCATED = range(3)
PNG = b"\x89PNG\r\n\x1a\n"
USUAL = (b"\xff\xd8\xff", PNG, b"GIF87a", b"GIF89a", b"BM")
"""How files begin that are JPEG, PNG, GIF and BMP."""
PNG_HEADER = 26
"""Bytes, up to the kind of the colours."""


def _by_first_bytes(path: Path) -> int | None:
    """Which of the three a file is, where it is of one of the usual formats; None where only reading its header tells,
    which takes five times as long."""
    try:
        if no_file(path):
            return None
        with open(path, "rb") as file:
            prefix = file.read(PNG_HEADER)
    except (OSError, ValueError):
        return None
    if len(prefix) < PNG_HEADER or not prefix.startswith(USUAL):
        return None
    if prefix.startswith(PNG) and prefix[24] == 16:
        return TRUNCATED if prefix[25] else DEEP
    return SHALLOW


def _by_header(path: Path) -> int:
    with opened(path) as picture:
        if is_deep(picture):
            return DEEP
        layouts = [str(tile.args) for tile in getattr(picture, "tile", [])]  # in the file, such as RGB;16L
        return TRUNCATED if any(";16" in layout for layout in layouts) else SHALLOW


def read(source: PictureSource) -> Headers:
    """Read the beginning of every file."""

    def kinds(indices: range) -> list[int | str]:
        return [_kind(source.path(index)) for index in indices]

    # Threads do not help a disk whose directory is in memory, but one that is far away.
    headers = Headers({}, [], [])
    with quiet(), ThreadPoolExecutor(8) as pool:
        for index, kind in enumerate(chain.from_iterable(pool.map(kinds, chunks(len(source), 32)))):
            if isinstance(kind, str):
                headers.unreadable[index] = kind
            elif kind != SHALLOW:
                (headers.deep if kind == DEEP else headers.truncated).append(index)
    return headers


def _kind(path: Path) -> int | str:
    """Which of the three a file is, or why it cannot be read."""
    try:
        usual = _by_first_bytes(path)
        return _by_header(path) if usual is None else usual
    except UnreadableError as error:
        return str(error)


def spread_of(source: PictureSource, indices: Sequence[int]) -> Spread | None:
    """How the values of these pictures are spread; None where none of them can be read."""

    def of(index: int) -> Spread | None:
        try:
            with opened(source.path(index)) as picture:
                values = np.asarray(picture)
                seen = picture.info.get("transparency")  # of PNG: one value that is not
                return spread(values[values != seen] if isinstance(seen, int) else values)
        except UnreadableError:  # found when it is decoded, or told already
            return None

    with quiet(), ThreadPoolExecutor(min(workers.cores(), 8)) as pool:
        spreads = [one for one in pool.map(of, indices) if one is not None]
    return together(spreads) if spreads else None


def sizes_of(source: PictureSource, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width of these pictures in their files, as far as they can be read."""
    sizes = []
    with quiet():
        for index in indices:
            with suppress(UnreadableError), opened(source.path(index)) as picture:
                sizes.append((picture.height, picture.width))
    return sizes
