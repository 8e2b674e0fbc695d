"""Tables with columns of texts, which are then all that is learned from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted
from trainkit.data.base import Data, Split
from trainkit.data.folders import SplitName
from trainkit.data.inputs import Numbers
from trainkit.data.sources.table import TableConfig
from trainkit.data.spec import DataSpec
from trainkit.data.splitting import Keys
from trainkit.data.tables.building import Table, cells_of, divided, keys_of
from trainkit.data.tables.column_kinds import Read
from trainkit.data.tables.facts import facts_of
from trainkit.data.tables.messages import shared_groups, without_target
from trainkit.data.tables.new_rows import joined
from trainkit.data.tables.table_files import Cells
from trainkit.data.tables.target import Target, read_target
from trainkit.data.texts.source import RawTexts, numbered
from trainkit.data.texts.tokenizer import is_empty


def build(config: TableConfig, seed: int, like: DataSpec | None) -> Data:
    """Read a table with columns of texts, and split it.

    Args:
        like: what the texts were in training; None to decide it.

    Raises:
        DataError: a file cannot be read, or has a row without a text.
    """
    if config.features is not None:
        raise DataError("data.features: beside columns of texts nothing else is learned from; leave it out")
    kinds = {name: config.asked(name).kind for name in (*config.columns, *config.categorical)}
    apart = {*config.targets, *config.ignore, config.group, config.order}
    if numbers := [name for name, kind in kinds.items() if kind not in ("text", "drop") and name not in apart]:
        is_one = f"data.columns: {numbers[0]} is a {kinds[numbers[0]]}"
        raise DataError(f"{is_one}, but beside columns of texts nothing else is learned from; leave it out")
    file = cells_of(config, config.paths, "path")
    if not len(file):
        raise DataError(f"{file.name}: no rows to train on")
    target = read_target(config, file, like)
    notes: list[NoteRecord] = []
    raw, keys = _texts(config, file, target, notes)
    held, odd = None, list[Diagnostic]()
    if isinstance(config.test, str):
        other = cells_of(config, (config.test,), "test")
        fixed = like or DataSpec(input=Numbers(shape=(1,)), task=target.task)
        held, _ = _texts(config, other, read_target(config, other, fixed), notes)
        odd = shared_groups(config.group, file, other)
    train, val, test = divided(
        config, Table({}, raw.targets, keys, file.where), target.task, seed, apart=held is not None
    )
    splits: dict[SplitName, Split] = {"train": Split(raw, train)}
    if len(val):
        splits["val"] = Split(raw, val)
    if held is not None or len(test):
        splits["test"] = Split(raw, test) if held is None else Split.whole(held)
    reads = {
        name: Read(None, None, "a text" if name in config.texts else "beside a text", texts)
        for name, texts in file.columns.items()
        if name not in apart
    }
    facts = [
        replace(one, kind="text", becomes="its tokens") if one.name in config.texts else one
        for one in facts_of(reads, ())
    ]
    if beside := [one.name for one in facts if one.kind != "text"]:
        others = ", ".join(beside[:10])
        notes.append(NoteRecord(f"not used beside the text: {others}{' …' if len(beside) > 10 else ''}"))
    return replace(numbered(config.text, splits, target.task, like, notes), columns=tuple(facts), found=tuple(odd))


def _texts(config: TableConfig, file: Cells, target: Target, notes: list[NoteRecord]) -> tuple[RawTexts, Keys]:
    """The texts that are used, those of several columns one below the other, and what decides their split."""
    if lacking := [name for name in config.texts if name not in file.columns]:
        raise DataError(*(f"{file.name}: no column {name!r}" for name in lacking))
    texts = joined(file, config)
    missing = np.array([is_empty(text) for text in texts])
    kept = ~target.missing
    notes += without_target(file, config.targets, int(target.missing.sum()))
    if (empty := missing & kept).any():
        count = counted(int(empty.sum()), "row")
        if config.missing != "drop":
            row = int(empty.argmax())
            raise DataError(
                f"{file.where(row)}: no text in {' or '.join(config.texts)} ({count} in all); data.missing=drop"
            )
        notes.append(NoteRecord(f"{file.name}: {count} without a text, left out", "warning"))
    rows = np.flatnonzero(kept & ~missing)
    places = [file.where(row) for row in rows.tolist()]
    raw = RawTexts([texts[row] for row in rows.tolist()], places, target.values[rows])
    return raw, keys_of(config, file, rows)
