"""From the files of a table to its splits: which rows, which columns, and what these become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import permutation
from trainkit.core.text import counted
from trainkit.data.base import Data, DataSpec, Kind, Split, TargetSpec, TensorSource, hold_out
from trainkit.data.columns import FIRST_NA_VALUES, Column, ColumnFacts
from trainkit.data.sources.table import TableConfig
from trainkit.data.splitting import Keys
from trainkit.data.tables import cells, column_kinds, encoding, split_keys, table_files
from trainkit.data.tables.cells import Bools
from trainkit.data.tables.column_kinds import Read
from trainkit.data.tables.facts import facts_of, oddities
from trainkit.data.tables.table_files import Cells, Texts

MOST_CLASSES = 20
"""Different whole numbers that are classes without being called so."""
SURELY_NUMBERS = 100
"""More different whole numbers than these are numbers."""
NAMED = 3
"""Examples in a message."""
UNNAMED = 5
"""Columns in a message, of which more are only counted."""

Rows = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """The rows of a file that are used."""

    rows: Rows
    """Their numbers in the file, shape (n,)."""
    values: Mapping[str, Any]
    """What was read in the columns that the model sees, of these rows."""
    targets: Tensor
    """Shape (n,) or (n, size)."""
    keys: Keys
    """What decides the split."""

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: Rows) -> Table:
        """Of these rows alone."""
        return Table(
            self.rows[places],
            {name: _taken(values, places) for name, values in self.values.items()},
            self.targets[places],
            self.keys.at(torch.from_numpy(places)),
        )

    def encoded(self, columns: Sequence[Column]) -> TensorSource:
        """What the model sees of them, in float32."""
        *starts, width = accumulate((column.width for column in columns), initial=0)
        inputs = np.zeros((len(self), width), dtype=np.float32)

        def encode(column: Column, start: int) -> None:
            encoding.encode(column, self.values[column.name], inputs[:, start : start + column.width])

        _at_once(encode, columns, starts)
        return TensorSource(torch.from_numpy(inputs), self.targets)


def build(config: TableConfig, seed: int, like: DataSpec | None) -> Data:
    """Read a table and split it.

    Args:
        like: what the columns were in training; None to decide it.

    Raises:
        DataError: a file cannot be read, or what is in a column cannot be used; all such columns at once.
    """
    if like is not None and not like.columns:
        raise DataError(f"{config.paths[0]}: the checkpoint does not say what the columns mean; train again")
    found = _cells(config, config.paths, "path")
    if not len(found):
        raise DataError(f"{found.name}: no rows to train on")
    target = _target(config, found, like)
    reads = _reads(config, found, like)
    used = {name: one for name, one in reads.items() if one.column is not None}
    if not used:
        left = "; ".join(f"{name}: {one.why}" for name, one in reads.items())
        raise DataError(f"{found.name}: no column is left to predict from ({left}); say what they are in data.columns")
    notes: list[NoteRecord] = []
    table = _table(config, found, used, target, notes)
    held = None
    odd: tuple[Diagnostic, ...] = ()
    if isinstance(config.test, str):
        other = _cells(config, (config.test,), "test")
        fixed = DataSpec(shape=(1,), target=target.spec) if like is None else like
        held = _table(config, other, _parsed(other, used), _target(config, other, fixed), notes)
        odd = _parted_groups(config, found, other)
    elif config.rules == 1:
        order = permutation(len(table), 0, "test").numpy()
        count = round(len(table) * (config.test or 0))
        held, table = table.at(np.sort(order[:count])), table.at(np.sort(order[count:]))
    if not len(table):
        raise DataError(f"{found.name}: no rows to train on")
    train, val, test = _divided(config, table, target.spec.kind, seed, apart=held is not None)
    columns = [one.column for one in used.values() if one.column is not None]
    facts: tuple[ColumnFacts, ...] = ()
    if like is None:
        rows = train.numpy()
        columns = [encoding.fitted(one, table.values[one.name], rows, config.standardize) for one in columns]
        facts = tuple(facts_of(reads, columns))
        odd += tuple(oddities(table.values, columns, table.targets, target.spec, rows, used, found.name))
        notes += _left_out(reads)
    else:
        others = [name for name in found.columns if name not in used and name not in config.targets]
        reads |= {name: Read(None, None, "not used in training", found.columns[name]) for name in others}
        facts = tuple(facts_of(reads, columns))
    parts = {"train": table.at(train.numpy())} if like else {}
    parts |= {"val": table.at(val.numpy()), "test": table.at(test.numpy()) if held is None else held}
    notes += _unseen(columns, parts)
    spec = DataSpec(shape=(sum(column.width for column in columns),), target=target.spec, columns=tuple(columns))
    if like is not None:
        spec = spec.model_copy(update={"mean": like.mean, "std": like.std})
    if (key := config.group or config.order) and (config.val and not len(val)) and (held is None and not len(test)):
        text = f"{found.name}: all rows have the same {key!r}, so that there is nothing to hold out"
        notes.append(NoteRecord(text, "warning"))
    pa.default_memory_pool().release_unused()
    source = table.encoded(columns)
    tested = Split(source, test)
    if held is not None:
        tested = Split(held.encoded(columns), torch.arange(len(held)))
    return Data(
        spec, Split(source, train), Split(source, val) if len(val) else None, tested if len(tested) else None,
        tuple(notes), facts, odd,
    )  # fmt: skip


def _divided(config: TableConfig, table: Table, kind: Kind, seed: int, *, apart: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The rows of train, val and test.

    Args:
        apart: the test rows are not among these.
    """
    assert apart or not isinstance(config.test, str)
    places = TensorSource(torch.zeros(len(table), 1), table.targets)
    if config.rules != 1 and kind != "classification":
        config = config.model_copy(update={"stratify": False})
    fraction = 0.0 if apart or isinstance(config.test, str) else config.test or 0.0
    labels = table.targets if kind == "classification" and config.stratify else None
    test, rest = hold_out(places, fraction, labels=labels, keys=table.keys)
    train, val = config.divide(places, seed, rest, keys=table.keys)
    return train.index, val.index if val else torch.zeros(0, dtype=torch.int64), test.index


def _cells(config: TableConfig, names: Sequence[str], key: str) -> Cells:
    needed = [*config.targets, *(config.features or ()), *config.categorical, *config.columns, *config.ignore]
    needed += [name for name in (config.group, config.order) if name]
    return table_files.read(names, needed if key == "path" else config.targets, key=key, delimiter=config.delimiter)


class Target(NamedTuple):
    """What is to be predicted, in all rows of a file."""

    spec: TargetSpec
    values: Tensor
    """Shape (rows,) or (rows, size)."""
    gone: Bools
    """Rows without one."""


def _target(config: TableConfig, found: Cells, like: DataSpec | None) -> Target:
    kind = like.target.kind if like else _task(config, found)
    if kind == "classification":
        return _classes(config, found, like)
    columns, gone = [], np.zeros(len(found), dtype=bool)
    for name in config.targets:
        values = _numbers(config, found, name) if kind == "regression" else _labels(config, found, name)
        gone |= np.isnan(values)
        columns.append(values)
    spec = like.target.uncounted() if like else TargetSpec(kind=kind, size=len(columns), names=config.targets)
    return Target(spec, torch.from_numpy(np.stack(columns, 1).astype(np.float32)), gone)


def _task(config: TableConfig, found: Cells) -> Kind:
    """What a target is of which nothing is said.

    Raises:
        DataError: it may be either.
    """
    if config.task != "auto":
        return config.task
    [name] = config.targets
    asked = config.asked(name)
    if asked.kind in ("category", "flag"):
        return "classification"
    if asked.kind == "number":
        return "regression"
    try:
        one = column_kinds.read(name, found.columns[name], asked, found.where, is_target=True)
    except DataError as error:
        raise DataError(*error.problems, f"data.task: is {name!r} a number or a class? say which") from None
    if one.column is None or one.column.kind != "number":
        return "classification"
    different = np.unique(one.values[~np.isnan(one.values)])
    if bool((different != np.floor(different)).any()) or len(different) > SURELY_NUMBERS:
        return "regression"
    if len(different) <= MOST_CLASSES:
        return "classification"
    raise DataError(
        f"data.task: {name!r} holds {len(different):,} different whole numbers; say data.task=regression to predict "
        "a number, or data.task=classification where they are only names"
    )


def _classes(config: TableConfig, found: Cells, like: DataSpec | None) -> Target:
    [name] = config.targets
    given = tuple(text.lower() for text in config.asked(name).na_values or ())
    column = Column(name=name, na_values=FIRST_NA_VALUES if config.rules == 1 else ("", *given))
    texts = found.columns[name]
    gone = cells.missing(texts, column)
    there = texts.filter(pa.array(~gone))
    if like is None:
        names = sorted(pc.unique(there).to_pylist(), key=_by_number(there))
        if len(names) < 2:
            what = f"every row has the class {names[0]!r}" if names else f"no row has a value for {name!r}"
            raise DataError(f"{found.name}: {what}")
        spec = TargetSpec(kind="classification", size=len(names), names=tuple(names))
    else:
        spec = like.target.uncounted()
    place = pc.index_in(texts, pa.array(spec.names, pa.string()))
    strange = np.asarray(place.is_null().to_numpy(zero_copy_only=False), dtype=bool) & ~gone
    if strange.any():
        row = int(strange.argmax())
        raise DataError(
            f"{found.where(row)}: class {texts[row].as_py()!r} is not among the training rows' classes "
            f"({', '.join(spec.names[:UNNAMED])}{', …' if len(spec.names) > UNNAMED else ''}); "
            "for numbers use data.task=regression"
        )
    values = torch.from_numpy(pc.fill_null(place, 0).to_numpy(zero_copy_only=False).astype(np.int64))
    return Target(spec, values, gone)


def _by_number(texts: Texts) -> Any:
    """Classes in the order of their numbers, where all are such, so that 10 comes after 9; else by letter."""
    whole = bool(pc.all(pc.match_substring_regex(texts, r"^\d{1,15}$")).as_py())
    return (lambda name: (int(name), name)) if whole else None


def _numbers(config: TableConfig, found: Cells, name: str) -> NDArray[np.float64]:
    asked = config.asked(name).model_copy(update={"kind": "number"})
    return np.asarray(
        column_kinds.read(name, found.columns[name], asked, found.where, is_target=True).values, dtype=np.float64
    )


def _labels(config: TableConfig, found: Cells, name: str) -> NDArray[np.float64]:
    """0 or 1, or words for these."""
    asked = config.asked(name).model_copy(update={"kind": "auto"})
    one = column_kinds.read(name, found.columns[name], asked, found.where, is_target=True)
    if one.column is None or one.column.kind not in ("number", "flag"):
        row = int((~cells.missing(found.columns[name], Column(name=name))).argmax())
        raise DataError(
            f"{found.where(row)}: {name}: labels are 0 or 1 (or yes or no), got {found.columns[name][row].as_py()!r}"
        )
    values = np.asarray(one.values, dtype=np.float64)
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{found.where(row)}: {name}: labels are 0 or 1 (or yes or no), got {found.columns[name][row].as_py()!r}"
        )
    return values


def _reads(config: TableConfig, found: Cells, like: DataSpec | None) -> dict[str, Read]:
    """The columns to predict from."""
    if like is not None:
        names = [column.name for column in like.columns]
        lacking = [name for name in names if name not in found.columns]
        if lacking:
            raise DataError(*(f"{found.name}: no column {name!r}, which the model was trained on" for name in lacking))
        return _parsed(found, {column.name: Read(column, None, "as in training") for column in like.columns})
    apart = {*config.targets, *config.ignore, config.group}
    names = list(dict.fromkeys(config.features or (name for name in found.columns if name not in apart)))
    if not names:
        raise DataError(f"{found.name}:1: no column beside {', '.join(config.targets)} to predict from")
    needed = config.features is not None or len(names) == 1

    def read(name: str) -> Read | DataError:
        texts = found.columns[name]
        if config.rules != 1 and name not in (config.group, config.order):
            del found.columns[name]  # not to keep all twice
        try:
            return column_kinds.read(name, texts, config.asked(name), found.where, needed=needed)
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


def _parsed(found: Cells, used: Mapping[str, Read]) -> dict[str, Read]:
    """The same columns of other rows, read as they were."""
    reads: dict[str, Read] = {}
    problems: list[str] = []
    for name, one in used.items():
        assert one.column is not None
        if name not in found.columns:
            problems.append(f"{found.name}: no column {name!r}; there are: {', '.join(found.columns)}")
            continue
        values, bad = encoding.parse(found.columns[name], one.column)
        if bad.any():
            row = int(bad.argmax())
            problems.append(not_as_trained(found, row, one.column))
        reads[name] = replace(one, values=values)
    if problems:
        raise DataError(*problems)
    return reads


def not_as_trained(found: Cells, row: int, column: Column) -> str:
    """What is said of a cell that cannot be read as its column was in training."""
    place, cell = f"{found.where(row)}: {column.name}:", found.columns[column.name][row].as_py()
    if column.kind == "number" and re.match(cells.pattern(column), cell):
        return f"{place} {cell} is too large; at most {encoding.LARGEST:.1e}"
    what = {"number": "a number", "flag": "yes or no", "date": "a date"}[column.kind]
    like = f" like 12{column.suffix}" if column.suffix else f" like {column.prefix}12" if column.prefix else ""
    return f"{place} expected {what}{like}, got {cell!r}"


def _table(
    config: TableConfig, found: Cells, used: Mapping[str, Read], target: Target, notes: list[NoteRecord]
) -> Table:
    """The rows that are used: those with a target, and without gaps where these are not allowed."""
    kept = ~target.gone
    if lost := int(target.gone.sum()):
        text = f"{found.name}: {counted(lost, 'row')} without {' or '.join(config.targets)}, left out"
        notes.append(NoteRecord(text, "warning" if lost > len(found) / 10 else "info"))
    gaps = {name: encoding.gaps(one.values, one.column) & kept for name, one in used.items() if one.column}
    if config.rules == 1 and config.missing == "drop":  # words that look missing were, too
        first = Column(name="", na_values=FIRST_NA_VALUES)
        gaps = {name: cells.missing(found.columns[name], first) for name in used}
    gaps = {name: gap for name, gap in gaps.items() if gap.any()}
    if gaps and config.missing == "error":
        raise DataError(*_gaps_told(found, gaps, kept))
    if gaps and config.missing == "drop":
        before = int(kept.sum())
        for gap in gaps.values():
            kept = kept & ~gap
        lost = before - int(kept.sum())
        counts = ", ".join(f"{name} {int(gap.sum()):,}" for name, gap in gaps.items())
        level: Literal["info", "warning"] = "warning" if lost > before / 10 else "info"
        notes.append(NoteRecord(f"{found.name}: {lost:,} of {before:,} rows have a gap, left out ({counts})", level))
    elif gaps:
        counts = ", ".join(f"{name} {int(gap.sum()):,}" for name, gap in gaps.items())
        notes.append(
            NoteRecord(
                f"{found.name}: gaps: {counts}; numbers get the training rows' mean and a mark, words a category"
            )
        )
    rows = np.flatnonzero(kept)
    keys = _keys(config, found, rows)
    if len(rows) == len(found):
        return Table(rows, {name: one.values for name, one in used.items()}, target.values, keys)
    values = {name: _taken(one.values, rows) for name, one in used.items()}
    return Table(rows, values, target.values[rows], keys)


def _gaps_told(found: Cells, gaps: Mapping[str, Bools], kept: Bools) -> list[str]:
    """One problem for every column with gaps, and what leaving out rows would cost."""
    left = kept.copy()
    for gap in gaps.values():
        left &= ~gap
    way = f"use data.missing=mean (drop would leave {int(left.sum()):,} of {int(kept.sum()):,} rows), or mend the file"
    return [
        f"{found.where(int(gap.argmax()))}: no value for {name!r}"
        + (f", as in {counted(gap.sum() - 1, 'more row')}" if gap.sum() > 1 else "")
        + f"; {way}"
        for name, gap in gaps.items()
    ]


def _keys(config: TableConfig, found: Cells, rows: Rows) -> Keys:
    if config.group is not None:
        return split_keys.groups(found.columns[config.group].take(pa.array(rows)))
    if config.order is not None:
        asked = config.asked(config.order)
        return split_keys.ranks(config.order, found.columns[config.order], asked, found.where, rows)
    return Keys()


def _parted_groups(config: TableConfig, found: Cells, other: Cells) -> tuple[Diagnostic, ...]:
    """Groups that a file for the test split shares with the training file."""
    if config.group is None or config.group not in other.columns:
        return ()
    theirs = pc.unique(other.columns[config.group])
    both = [name for name in theirs.filter(pc.is_in(theirs, found.columns[config.group])).to_pylist() if name]
    if not both:
        return ()
    text = f"{other.name}: {len(both):,} of the {len(theirs):,} values of {config.group!r} are in {found.name}, too"
    return (Diagnostic("shared-groups", f"{text}, such as {both[0]!r}"),)


def _left_out(reads: Mapping[str, Read]) -> list[NoteRecord]:
    notes = []
    if left := [f"{name} ({one.why})" for name, one in reads.items() if one.column is None]:
        more = f", and {len(left) - UNNAMED} more" if len(left) > UNNAMED else ""
        notes.append(NoteRecord(f"not used: {', '.join(left[:UNNAMED])}{more}; data.columns may say otherwise"))
    signs = [
        f"{name} ({one.why})" for name, one in reads.items() if one.column and (one.column.prefix or one.column.suffix)
    ]
    return [*notes, *([NoteRecord(f"read: {', '.join(signs)}")] if signs else [])]


def _unseen(columns: Sequence[Column], parts: Mapping[str, Table]) -> list[NoteRecord]:
    """Of each column, how many rows have words that the training rows did not have."""
    notes = []
    for column in columns:
        counted: dict[str, int] = {}
        examples: dict[str, None] = {}
        for part, table in parts.items():
            strange = encoding.unseen(column, table.values[column.name])
            if strange.any():
                counted[part] = int(strange.sum())
                some = pc.unique(table.values[column.name].filter(pa.array(strange))).to_pylist()
                examples |= dict.fromkeys(some[:NAMED])
        if counted:
            notes.append(NoteRecord(unseen_text(column.name, counted, list(examples)), "warning"))
    return notes


def unseen_text(column: str, counted: Mapping[str, int], examples: Sequence[str]) -> str:
    """What is said of words that training never saw."""
    rows = " and ".join(f"{count:,} {part}" for part, count in counted.items())
    shown = ", ".join(map(repr, examples[:NAMED])) + (", …" if len(examples) > NAMED else "")
    return f"{column}: {rows} row{'s' * (sum(counted.values()) != 1)} with values that training never saw ({shown})"


def _taken(values: Any, rows: Rows) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else values.take(pa.array(rows))
