"""The target of a table: the columns to be predicted, as classes, numbers or labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from trainkit.core.errors import DataError
from trainkit.data.sources.table import TableConfig
from trainkit.data.spec import DataSpec
from trainkit.data.tables import cells, column_kinds
from trainkit.data.tables.cells import Bools, Floats
from trainkit.data.tables.columns import FIRST_NA_VALUES, Column, ColumnConfig
from trainkit.data.tables.table_files import Cells, Texts
from trainkit.tasks import Classification, Regression, TargetError, Task, task_class

MOST_CLASSES = 20
"""Different whole numbers that are classes without being called so."""
SURELY_NUMBERS = 100
"""More different whole numbers than these are numbers."""
SHOWN = 5
"""Classes in a message."""


class Target(NamedTuple):
    """What is to be predicted, in all rows of a file."""

    task: Task
    values: Tensor
    """Shape (rows,) or (rows, size); 0 where one is missing."""
    missing: Bools
    """Rows without one."""


def read_target(config: TableConfig, file: Cells, like: DataSpec | None) -> Target:
    """Read the columns to be predicted.

    Args:
        like: what they were in training; None to decide it.

    Raises:
        DataError: one holds what its kind does not allow, or may be of either kind.
    """
    task = type(like.task) if like else _task(config, file)
    if task.reading == "words":
        return _classes(config, file, task, like)
    return target_of(file, config.targets, config.asked, like.task if like else task)


def target_of(
    file: Cells,
    names: Sequence[str],
    asked: Callable[[str], ColumnConfig],
    known: Task | type[Task],
    format_key: str = "",
) -> Target:
    """Columns of numbers, or of 0 and 1.

    Args:
        names: of the columns.
        asked: how each is written.
        known: the task; one that has been trained, whose sizes are known.
        format_key: as of `column_kinds.read`.

    Raises:
        DataError: something in a column is not what it should be, or the task has no such targets.
    """
    if known.reading == "numbers":
        columns = [numbers(file, name, asked(name), format_key) for name in names]
    else:
        columns = [flags(file, name, asked(name)) for name in names]
    values = np.stack(columns, 1)
    missing = np.asarray(np.isnan(values).any(1))
    there = torch.from_numpy(~missing)
    try:
        made = known.as_targets(torch.from_numpy(values[~missing].astype(np.float32)))
        task = known.unmeasured() if isinstance(known, Task) else known.of(made, names)
    except TargetError as error:
        where = file.name if error.row is None else file.where(int(there.nonzero()[error.row]))
        raise DataError(f"{where}: {', '.join(names)}: {error}") from None
    targets = made.new_zeros(len(there), *made.shape[1:])
    targets[there] = made
    return Target(task, targets, missing)


def _task(config: TableConfig, file: Cells) -> type[Task]:
    """What a target is of which nothing is said.

    Raises:
        DataError: it may be either.
    """
    if config.task != "auto":
        return task_class(config.task)
    [name] = config.targets
    asked = config.asked(name)
    if asked.kind in ("category", "flag"):
        return Classification
    if asked.kind == "number":
        return Regression
    try:
        one = column_kinds.read(file.column(name), asked, is_target=True)
    except DataError as error:
        raise DataError(*error.problems, f"data.task: is {name!r} a number or a class? say which") from None
    if one.column is None or one.column.kind != "number":
        return Classification
    different = np.unique(one.values[~np.isnan(one.values)])
    if bool((different != np.floor(different)).any()) or len(different) > SURELY_NUMBERS:
        return Regression
    if len(different) <= MOST_CLASSES:
        return Classification
    raise DataError(
        f"data.task: {name!r} holds {len(different):,} different whole numbers; say data.task=regression to predict "
        "a number, or data.task=classification where they are only names"
    )


def _classes(config: TableConfig, file: Cells, task: type[Task], like: DataSpec | None) -> Target:
    [name] = config.targets
    given = tuple(text.lower() for text in config.asked(name).na_values or ())
    column = Column(name=name, na_values=FIRST_NA_VALUES if config.rules == 1 else ("", *given))
    texts = file.columns[name]
    missing = cells.missing(texts, column)
    there = texts.filter(pa.array(~missing))
    if like is None:
        names = sorted(pc.unique(there).to_pylist(), key=_by_number(there))
        if len(names) < 2:
            what = f"every row has the class {names[0]!r}" if names else f"no row has a value for {name!r}"
            raise DataError(f"{file.name}: {what}")
        known = task(size=len(names), names=tuple(names))
    else:
        known = like.task.unmeasured()
    indices = pc.index_in(texts, pa.array(known.names, pa.string()))
    unknown = np.asarray(indices.is_null().to_numpy(zero_copy_only=False), dtype=bool) & ~missing
    if unknown.any():
        row = int(unknown.argmax())
        raise DataError(
            f"{file.where(row)}: class {texts[row].as_py()!r} is not among the training rows' classes "
            f"({', '.join(known.names[:SHOWN])}{', …' if len(known.names) > SHOWN else ''}); "
            "for numbers use data.task=regression"
        )
    values = torch.from_numpy(pc.fill_null(indices, 0).to_numpy(zero_copy_only=False).astype(np.int64))
    return Target(known, values, missing)


def _by_number(texts: Texts) -> Any:
    """Classes in the order of their numbers, where all are such, so that 10 comes after 9; else by letter."""
    whole = bool(pc.all(pc.match_substring_regex(texts, r"^\d{1,15}$")).as_py())
    return (lambda name: (int(name), name)) if whole else None


def numbers(file: Cells, name: str, asked: ColumnConfig, format_key: str) -> Floats:
    """A column of numbers, NaN where there is none. Shape (rows,).

    Args:
        format_key: as of `column_kinds.read`.

    Raises:
        DataError: something in it is no number, or an infinite one.
    """
    asked = asked.model_copy(update={"kind": "number"})
    one = column_kinds.read(file.column(name), asked, is_target=True, format_key=format_key)
    return np.asarray(one.values, dtype=np.float64)


def flags(file: Cells, name: str, asked: ColumnConfig) -> Floats:
    """A column of 0 or 1, or words for these; NaN where there is nothing. Shape (rows,).

    Raises:
        DataError: something else stands in it.
    """
    values, wrong = flags_among(file.columns[name], asked)
    if wrong.any():
        raise DataError(not_a_flag(file, name, int(wrong.argmax())))
    return values


def flags_among(texts: Texts, asked: ColumnConfig) -> tuple[Floats, Bools]:
    """The same, and where something else stands. Both of shape (rows,)."""
    column = Column(name="", na_values=(*column_kinds.NA_VALUES, *(text.lower() for text in asked.na_values or ())))
    values, is_no_word = cells.flags(texts, column)
    figures, _ = cells.numbers(texts, column)
    return np.where(is_no_word, figures, values), is_no_word & (figures != 0) & (figures != 1)


def not_a_flag(file: Cells, name: str, row: int) -> str:
    """What is said of a cell that is none."""
    return f"{file.where(row)}: {name}: labels are 0 or 1 (or yes or no), got {file.columns[name][row].as_py()!r}"
