"""New texts: given as they are, in files, or in rows of a table."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor

from trainkit.core.errors import DataError
from trainkit.data.folders import files_below
from trainkit.data.inputs import InputKind
from trainkit.data.sources.table import TableConfig
from trainkit.data.text_files import text_blocks, whole_text
from trainkit.inference.sample import STDIN, Sample, file_named, is_folder

SHOWN = 60
"""Characters of a text that stand for it."""


def given(kind: InputKind, texts: Iterable[str]) -> Iterator[Sample]:
    """Texts, each called by its beginning."""
    for text in texts:
        name = textwrap.shorten(text, SHOWN, placeholder=" …")
        yield Sample(name, partial(_numbered, kind, name, text))


def in_files(kind: InputKind, name: str) -> Iterator[Sample]:
    """The text of a file, those of all files of a folder, or of standard input the text of each line.

    Raises:
        DataError: a folder has none.
    """
    if name == STDIN:
        text = b"".join(text_blocks(STDIN, sys.stdin.buffer)).decode("utf-8-sig")
        lines = ((f"{STDIN}:{number}", line) for number, line in enumerate(text.removesuffix("\n").split("\n"), 1))
        return (Sample(place, partial(_numbered, kind, place, line)) for place, line in lines)
    names = [name]
    if is_folder(name):
        names = [str(Path(name, found)) for found in files_below(Path(name)) if found.lower().endswith(".txt")]
        if not names:
            raise DataError(f"{name}: no text files (.txt) in it")
    return (Sample(one, partial(_read, kind, one), stem=Path(one).stem) for one in names)


def in_rows(
    kind: InputKind, config: TableConfig, name: str, keep: Sequence[str] | Literal["all"] = ()
) -> Iterator[Sample]:
    """The texts of a table.

    Args:
        keep: columns whose cells go along.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    from trainkit.data.tables.new_rows import new_texts  # brings pyarrow

    texts, places, kept = new_texts(config, name, keep)
    return (
        Sample(place, partial(_numbered, kind, place, text), kept={key: kept[key][row] for key in kept})
        for row, (text, place) in enumerate(zip(texts, places, strict=True))
    )


def _read(kind: InputKind, name: str) -> Tensor:
    return _numbered(kind, name, whole_text(Path(file_named(name))))


def _numbered(kind: InputKind, name: str, text: str) -> Tensor:
    try:
        return kind.of_text(text)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
