"""Messages about a table: cells that cannot be read, gaps, unused columns, words that training never saw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted
from trainkit.data.tables import cells, encoding
from trainkit.data.tables.cells import Bools
from trainkit.data.tables.column_kinds import Read
from trainkit.data.tables.columns import Column
from trainkit.data.tables.table_files import Cells

NAMED = 3
"""Examples in a message."""
UNNAMED = 5
"""Columns in a message, of which more are only counted."""


def not_as_trained(file: Cells, row: int, column: Column) -> str:
    """What is said of a cell that cannot be read as its column was in training."""
    place, cell = f"{file.where(row)}: {column.name}:", file.columns[column.name][row].as_py()
    if column.kind == "number" and re.match(cells.pattern(column), cell):
        return f"{place} {cell} is too large; at most {encoding.LARGEST:.1e}"
    what = {"number": "a number", "flag": "yes or no", "date": "a date"}[column.kind]
    like = f" like 12{column.suffix}" if column.suffix else f" like {column.prefix}12" if column.prefix else ""
    return f"{place} expected {what}{like}, got {cell!r}"


def gap_problems(file: Cells, gaps: Mapping[str, Bools], kept: Bools) -> list[str]:
    """One problem for every column with gaps, and what leaving out rows would cost."""
    left = kept.copy()
    for gap in gaps.values():
        left &= ~gap
    way = f"use data.missing=mean (drop would leave {int(left.sum()):,} of {int(kept.sum()):,} rows), or mend the file"
    return [
        f"{file.where(int(gap.argmax()))}: no value for {name!r}"
        + (f", as in {counted(gap.sum() - 1, 'more row')}" if gap.sum() > 1 else "")
        + f"; {way}"
        for name, gap in gaps.items()
    ]


def without_target(file: Cells, targets: Sequence[str], lost: int) -> list[NoteRecord]:
    """How many rows are left out because there is nothing to learn from them."""
    text = f"{file.name}: {counted(lost, 'row')} without {' or '.join(targets)}, left out"
    return [NoteRecord(text, "warning" if lost > len(file) / 10 else "info")] if lost else []


def shared_groups(group: str | None, file: Cells, other: Cells) -> list[Diagnostic]:
    """Groups that a file for the test split shares with the training file."""
    if group is None or group not in other.columns:
        return []
    theirs = pc.unique(other.columns[group])
    both = [name for name in theirs.filter(pc.is_in(theirs, file.columns[group])).to_pylist() if name]
    if not both:
        return []
    text = f"{other.name}: {len(both):,} of the {len(theirs):,} values of {group!r} are in {file.name}, too"
    return [Diagnostic("shared-groups", f"{text}, such as {both[0]!r}")]


def unused_columns(reads: Mapping[str, Read]) -> list[NoteRecord]:
    """Which columns the model does not see, and which were read with a sign beside every number."""
    notes = []
    if left := [f"{name} ({one.why})" for name, one in reads.items() if one.column is None]:
        more = f", and {len(left) - UNNAMED} more" if len(left) > UNNAMED else ""
        notes.append(NoteRecord(f"not used: {', '.join(left[:UNNAMED])}{more}; data.columns may say otherwise"))
    signs = [
        f"{name} ({one.why})" for name, one in reads.items() if one.column and (one.column.prefix or one.column.suffix)
    ]
    return [*notes, *([NoteRecord(f"read: {', '.join(signs)}")] if signs else [])]


def unseen_words(columns: Sequence[Column], splits: Mapping[str, Mapping[str, Any]]) -> list[NoteRecord]:
    """Of each column, how many rows have words that the training rows did not have.

    Args:
        splits: what was read in the columns, by the name of the split or of the file.
    """
    notes = []
    for column in columns:
        counts: dict[str, int] = {}
        examples: dict[str, None] = {}
        for split, values in splits.items():
            unseen = encoding.unseen(column, values[column.name])
            if unseen.any():
                counts[split] = int(unseen.sum())
                words = pc.unique(values[column.name].filter(pa.array(unseen))).to_pylist()
                examples |= dict.fromkeys(words)
        if counts:
            rows = " and ".join(f"{count:,} {split}" for split, count in counts.items())
            shown = ", ".join(map(repr, list(examples)[:NAMED])) + (", …" if len(examples) > NAMED else "")
            plural = "s" * (sum(counts.values()) != 1)
            text = f"{column.name}: {rows} row{plural} with values that training never saw ({shown})"
            notes.append(NoteRecord(text, "warning"))
    return notes
