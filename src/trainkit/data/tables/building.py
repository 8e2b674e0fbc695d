"""From the files of a table to its splits: which rows and which columns are used, and how they are encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import permutation
from trainkit.data.base import Data, Split, TensorSource
from trainkit.data.inputs import Numbers
from trainkit.data.sources.table import TableConfig
from trainkit.data.spec import DataSpec
from trainkit.data.splitting import Keys
from trainkit.data.tables import cells, column_kinds, encoding, split_keys, table_files
from trainkit.data.tables.column_kinds import Read
from trainkit.data.tables.columns import FIRST_NA_VALUES, Column, ColumnFacts
from trainkit.data.tables.facts import facts_of, oddities
from trainkit.data.tables.messages import (
    gap_problems,
    not_as_trained,
    shared_groups,
    unseen_words,
    unused_columns,
    without_target,
)
from trainkit.data.tables.table_files import Cells
from trainkit.data.tables.target import Target, read_target
from trainkit.tasks import Task

Rows = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """The rows of a file that are used."""

    values: Mapping[str, Any]
    """What was read in the columns that the model sees, of these rows."""
    targets: Tensor
    """Shape (n,) or (n, size)."""
    keys: Keys
    """What decides the split."""
    where: Callable[[int], str]
    """Gives the place of a row in its file, such as `houses.csv:12`."""

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, indices: Rows) -> Table:
        """Of these rows alone."""
        values = {name: _taken(values, indices) for name, values in self.values.items()}
        keys = self.keys.at(torch.from_numpy(indices))
        return Table(values, self.targets[indices], keys, _where(self.where, indices))

    def encoded(self, columns: Sequence[Column]) -> TensorSource:
        """What the model sees of them, in float32."""
        *starts, width = accumulate((column.width for column in columns), initial=0)
        inputs = np.zeros((len(self), width), dtype=np.float32)

        def encode(column: Column, start: int) -> None:
            encoding.encode(column, self.values[column.name], inputs[:, start : start + column.width])

        _at_once(encode, columns, starts)
        return TensorSource(torch.from_numpy(inputs), self.targets, where=self.where)


def build(config: TableConfig, seed: int, like: DataSpec | None) -> Data:
    """Read a table and split it.

    Args:
        like: what the columns were in training; None to decide it.

    Raises:
        DataError: a file cannot be read, or what is in a column cannot be used; all such columns at once.
    """
    if like is not None and not like.columns:
        raise DataError(f"{config.paths[0]}: the checkpoint does not say what the columns mean; train again")
    file = cells_of(config, config.paths, "path")
    if not len(file):
        raise DataError(f"{file.name}: no rows to train on")
    target = read_target(config, file, like)
    reads = _reads(config, file, like)
    used = {name: one for name, one in reads.items() if one.column is not None}
    if not used:
        left = "; ".join(f"{name}: {one.why}" for name, one in reads.items())
        raise DataError(f"{file.name}: no column is left to predict from ({left}); say what they are in data.columns")
    notes: list[NoteRecord] = []
    table = _table(config, file, used, target, notes)
    held = None
    odd: list[Diagnostic] = []
    if isinstance(config.test, str):
        other = cells_of(config, (config.test,), "test")
        fixed = DataSpec(input=Numbers(shape=(1,)), task=target.task) if like is None else like
        held = _table(config, other, _parsed(other, used), read_target(config, other, fixed), notes)
        odd = shared_groups(config.group, file, other)
    elif config.rules == 1:
        order = permutation(len(table), 0, "test").numpy()
        count = round(len(table) * (config.test or 0))
        held, table = table.at(np.sort(order[:count])), table.at(np.sort(order[count:]))
    if not len(table):
        raise DataError(f"{file.name}: no rows to train on")
    train, val, test = divided(config, table, target.task, seed, apart=held is not None)
    columns = [one.column for one in used.values() if one.column is not None]
    facts: tuple[ColumnFacts, ...] = ()
    if like is None:
        rows = train.numpy()
        columns = [encoding.fitted(one, table.values[one.name], rows, config.standardize) for one in columns]
        facts = tuple(facts_of(reads, columns))
        odd += oddities(table.values, columns, table.targets, target.task, rows, used, file.name)
        notes += unused_columns(reads)
    else:
        others = [name for name in file.columns if name not in used and name not in config.targets]
        reads |= {name: Read(None, None, "not used in training", file.columns[name]) for name in others}
        facts = tuple(facts_of(reads, columns))
    splits = {"train": table.at(train.numpy())} if like else {}
    splits |= {"val": table.at(val.numpy()), "test": table.at(test.numpy()) if held is None else held}
    notes += unseen_words(columns, {name: split.values for name, split in splits.items()})
    spec = DataSpec(
        input=Numbers(shape=(sum(column.width for column in columns),), columns=tuple(columns)), task=target.task
    )
    if like is not None:
        spec = spec.with_input(mean=like.input.mean, std=like.input.std)
    if (key := config.group or config.order) and (config.val and not len(val)) and (held is None and not len(test)):
        text = f"{file.name}: all rows have the same {key!r}, so that there is nothing to hold out"
        notes.append(NoteRecord(text, "warning"))
    pa.default_memory_pool().release_unused()
    source = table.encoded(columns)
    train_split, val_split = Split(source, train), Split(source, val) if len(val) else None
    tested = Split(source, test) if held is None else Split.whole(held.encoded(columns))
    return Data(spec, train_split, val_split, tested if len(tested) else None, tuple(notes), facts, tuple(odd))


def divided(config: TableConfig, table: Table, task: Task, seed: int, *, apart: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of train, val and test.

    Args:
        apart: the test rows are not among these.
    """
    source = TensorSource(torch.zeros(len(table), 1), table.targets)
    fraction = None if apart or isinstance(config.test, str) else config.test
    classes = task.balance_key(table.targets)
    if config.rules != 1 and classes is None:
        config = config.model_copy(update={"stratify": False})
    labels = classes if config.stratify else None
    train, val, test = config.train_val_test(source, seed, fraction, labels=labels, keys=table.keys, task=task)
    none = torch.zeros(0, dtype=torch.int64)
    return train.index, val.index if val else none, test.index if test else none


def cells_of(config: TableConfig, names: Sequence[str], key: str) -> Cells:
    """The cells of some files, under the key that names them."""
    needed = [*config.targets, *(config.features or ()), *config.categorical, *config.columns, *config.ignore]
    needed += [name for name in (config.group, config.order) if name]
    return table_files.read(names, needed if key == "path" else config.targets, key=key, delimiter=config.delimiter)


def _reads(config: TableConfig, file: Cells, like: DataSpec | None) -> dict[str, Read]:
    """The columns to predict from."""
    if like is not None:
        names = [column.name for column in like.columns]
        lacking = [name for name in names if name not in file.columns]
        if lacking:
            raise DataError(*(f"{file.name}: no column {name!r}, which the model was trained on" for name in lacking))
        return _parsed(file, {column.name: Read(column, None, "as in training") for column in like.columns})
    apart = {*config.targets, *config.ignore, config.group}
    names = list(dict.fromkeys(config.features or (name for name in file.columns if name not in apart)))
    if not names:
        raise DataError(f"{file.name}:1: no column beside {', '.join(config.targets)} to predict from")
    needed = config.features is not None or len(names) == 1

    def read(name: str) -> Read | DataError:
        column = file.column(name)
        if config.rules != 1 and name not in (config.group, config.order):
            del file.columns[name]  # not to keep all twice
        try:
            return column_kinds.read(column, config.asked(name), needed=needed)
        except DataError as error:
            return error

    tried = dict(zip(names, _at_once(read, names), strict=True))
    if problems := [problem for one in tried.values() if isinstance(one, DataError) for problem in one.problems]:
        raise DataError(*problems)
    return {name: one for name, one in tried.items() if isinstance(one, Read)}


def _at_once(work: Callable[..., T], *of: Sequence[Any]) -> list[T]:
    """Work on columns, each in a thread of its own: pyarrow and NumPy do not hold the interpreter."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(work, *of))


def _parsed(file: Cells, used: Mapping[str, Read]) -> dict[str, Read]:
    """The same columns of other rows, read as they were."""
    reads: dict[str, Read] = {}
    problems: list[str] = []
    for name, one in used.items():
        assert one.column is not None
        if name not in file.columns:
            problems.append(f"{file.name}: no column {name!r}; there are: {', '.join(file.columns)}")
            continue
        values, bad = encoding.parse(file.columns[name], one.column)
        if bad.any():
            row = int(bad.argmax())
            problems.append(not_as_trained(file, row, one.column))
        reads[name] = replace(one, values=values)
    if problems:
        raise DataError(*problems)
    return reads


def _table(
    config: TableConfig, file: Cells, used: Mapping[str, Read], target: Target, notes: list[NoteRecord]
) -> Table:
    """The rows that are used: those with a target, and without gaps where these are not allowed."""
    kept = ~target.missing
    notes += without_target(file, config.targets, int(target.missing.sum()))
    gaps = {name: encoding.gaps(one.values, one.column) & kept for name, one in used.items() if one.column}
    if config.rules == 1 and config.missing == "drop":  # words that look missing were, too
        first = Column(name="", na_values=FIRST_NA_VALUES)
        gaps = {name: cells.missing(file.columns[name], first) for name in used}
    gaps = {name: gap for name, gap in gaps.items() if gap.any()}
    counts = ", ".join(f"{name} {int(gap.sum()):,}" for name, gap in gaps.items())
    if gaps and config.missing == "error":
        raise DataError(*gap_problems(file, gaps, kept))
    if gaps and config.missing == "drop":
        before = int(kept.sum())
        for gap in gaps.values():
            kept = kept & ~gap
        lost = before - int(kept.sum())
        level: Literal["info", "warning"] = "warning" if lost > before / 10 else "info"
        notes.append(NoteRecord(f"{file.name}: {lost:,} of {before:,} rows have a gap, left out ({counts})", level))
    elif gaps:
        text = f"{file.name}: gaps: {counts}; numbers get the training rows' mean and a mark, words a category"
        notes.append(NoteRecord(text))
    rows = np.flatnonzero(kept)
    keys, where = keys_of(config, file, rows), replace(file, columns={}).where
    if len(rows) == len(file):
        return Table({name: one.values for name, one in used.items()}, target.values, keys, where)
    values = {name: _taken(one.values, rows) for name, one in used.items()}
    return Table(values, target.values[rows], keys, _where(where, rows))


def _where(where: Callable[[int], str], rows: Rows) -> Callable[[int], str]:
    """The places of these rows alone."""
    return lambda row: where(int(rows[row]))


def keys_of(config: TableConfig, file: Cells, rows: Rows) -> Keys:
    """What decides the split of these rows."""
    if config.group is not None:
        return split_keys.groups(file.columns[config.group].take(pa.array(rows)))
    if config.order is not None:
        return split_keys.ranks(file.column(config.order), config.asked(config.order), rows)
    return Keys()


def _taken(values: Any, rows: Rows) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.take(pa.array(rows))
