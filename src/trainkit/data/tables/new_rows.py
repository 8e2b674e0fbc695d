"""New rows of a table, read and encoded as those of the training were; each may be unusable on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trainkit.core.records import NoteRecord
from trainkit.data.sources.table import TableConfig
from trainkit.data.tables import cells, encoding, table_files
from trainkit.data.tables.columns import FIRST_NA_VALUES, Column
from trainkit.data.tables.messages import not_as_trained, unseen_words
from trainkit.data.tables.table_files import Cells


@dataclass(frozen=True, slots=True)
class NewRows:
    """The rows of a file."""

    locations: tuple[str, ...]
    """`file:line` of each."""
    inputs: Tensor
    """As the model takes them, shape (rows, inputs), float32."""
    problems: dict[int, str]
    """Why a row cannot be used."""
    unseen: tuple[str, ...]
    """A line for every column with values that training never saw."""
    kept: dict[str, list[str]]
    """The texts of the columns that were to be kept."""


def joined(file: Cells, config: TableConfig) -> list[str]:
    """The texts of the columns that hold some, row by row, one below the other, without those that count as missing."""
    columns = []
    for name in config.texts:
        missing = {text.lower() for text in config.asked(name).na_values or ()}
        texts: list[str] = file.columns[name].to_pylist()
        columns.append(["" if text.lower() in missing else text for text in texts] if missing else texts)
    return ["\n".join(filter(None, row)) for row in zip(*columns, strict=True)]


def new_texts(
    config: TableConfig, name: str, keep: Sequence[str] | Literal["all"] = ()
) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """The texts of a file of new samples, their places, and the texts of columns that were to be kept.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    needed = [*config.texts] + ([] if keep == "all" else [*keep])
    file = table_files.read([name], needed, key="path", delimiter=config.delimiter)
    kept = {key: file.columns[key].to_pylist() for key in (file.columns if keep == "all" else keep)}
    return joined(file, config), list(file.locations()), kept


def new_rows(
    config: TableConfig, name: str, columns: Sequence[Column], keep: Sequence[str] | Literal["all"] = ()
) -> NewRows:
    """The rows of a file of new samples, in which the targets may be missing.

    Args:
        keep: columns whose texts are wanted as they are.

    Raises:
        DataError: it cannot be read, or a column is missing.
    """
    needed = [column.name for column in columns] + ([] if keep == "all" else [*keep])
    file = table_files.read([name], needed, key="path", delimiter=config.delimiter)
    inputs = np.zeros((len(file), sum(column.width for column in columns)), dtype=np.float32)
    problems: dict[int, str] = {}
    unseen: list[NoteRecord] = []
    start = 0
    for column in columns:
        values, bad = encoding.parse(file.columns[column.name], column)
        for row in np.flatnonzero(bad).tolist():
            problems.setdefault(row, not_as_trained(file, row, column))
        if config.missing != "mean":
            gap = encoding.gaps(values, column)
            if config.rules == 1:  # words that look missing were, too
                gap |= cells.missing(file.columns[column.name], Column(name="", na_values=FIRST_NA_VALUES))
            for row in np.flatnonzero(gap & ~bad).tolist():
                text = f"no value for {column.name!r}; the model was trained with data.missing={config.missing}"
                problems.setdefault(row, f"{file.where(row)}: {text}")
        unseen += unseen_words([column], {file.name: {column.name: values}})
        encoding.encode(column, values, inputs[:, start : start + column.width])
        start += column.width
    kept = {key: file.columns[key].to_pylist() for key in (file.columns if keep == "all" else keep)}
    texts = tuple(note.text for note in unseen)
    return NewRows(tuple(file.locations()), torch.from_numpy(inputs), problems, texts, kept)
