"""Labels and numbers of listed pictures: a column for each, or several words in one place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Literal

import numpy as np
import pyarrow.compute as pc
import torch

from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted
from trainkit.data.images.picture_lists import Labels, natural
from trainkit.data.tables import column_kinds, target
from trainkit.data.tables.columns import ColumnConfig
from trainkit.data.tables.table_files import Cells
from trainkit.tasks import Classification, Kind, MultiLabel, Regression, Task, task_class

DECIMALS = r"^\W*\d+[.,]\d+\W*$"
"""What stands in a column of numbers with a mistake in it, and hardly among words."""
SEPARATORS = ",;| /\t"
"""What may stand between labels instead."""
SHOWN = 3
"""Labels in a message."""
FORMAT_KEY = "data.order_format"


def in_columns(
    file: Cells, names: Sequence[str], kind: Kind | Literal["auto"], asked: ColumnConfig, like: Task | None
) -> Labels | None:
    """Read a column for each label or number; None where the only column holds classes.

    Args:
        kind: the task, as the config has it.
        asked: how numbers are written.
        like: the task of the training, whose columns come in its order; None to decide it.

    Raises:
        DataError: something in a column is not what it should be, or may be of either kind.
    """
    task = type(like) if like else _task(file, names, asked) if kind == "auto" else task_class(kind)
    if task.reading == "words":
        return None
    if like and (like.size != len(names) or (len(names) > 1 and set(names) != set(like.names))):
        given = f"the model was trained on {', '.join(like.known_names)}"
        raise DataError(f"data.label_column: {given}; got {', '.join(names)}")
    if like and len(names) > 1:
        names = like.names
    known, values, missing = target.target_of(file, names, lambda _: asked, like or task, FORMAT_KEY)
    notes = []
    if lost := int(missing.sum()):
        text = f"{file.name}: {counted(lost, 'picture')} without {' or '.join(names)}, left out"
        notes.append(NoteRecord(text, "warning" if lost > len(missing) / 10 else "info"))
    return Labels(known, values, torch.from_numpy(missing), tuple(notes))


def _task(file: Cells, names: Sequence[str], asked: ColumnConfig) -> type[Task]:
    """What columns are of which nothing is said."""
    if len(names) == 1:
        return Regression if _are_fractions(file, names[0], asked) else Classification
    odd = []
    for name in names:
        wrong = target.flags_among(file.columns[name], asked)[1]
        if wrong.any():
            odd.append(target.not_a_flag(file, name, int(wrong.argmax())))
    if odd and len(odd) < len(names):
        raise DataError(*odd, f"data.task: are {', '.join(names)} labels or numbers? say multilabel or regression")
    return Regression if odd else MultiLabel


def _are_fractions(file: Cells, name: str, asked: ColumnConfig) -> bool:
    """Whether a column holds numbers that are not all whole."""
    try:
        one = column_kinds.read(file.column(name), asked, is_target=True, format_key=FORMAT_KEY)
    except DataError as error:
        if not pc.any(pc.match_substring_regex(file.columns[name], DECIMALS)).as_py():
            return False
        raise DataError(*error.problems, f"data.task: is {name!r} a number or a class? say which") from None
    if one.column is None or one.column.kind != "number":
        return False
    return bool((one.values != np.floor(one.values))[~np.isnan(one.values)].any())


def divided(texts: Sequence[str], separator: str, where: str, name: str, like: Task | None) -> list[list[str]]:
    """The labels in each cell of a column; none in an empty one.

    Raises:
        DataError: no cell is divided, though nothing is known of the labels yet.
    """
    if like is None and not any(separator in text for text in texts):
        example = next((text for text in texts if any(other in text for other in SEPARATORS)), "")
        other = next((other for other in SEPARATORS if other in example), None)
        hint = f"; did you mean {other!r}, as in {example!r}?" if other else "; for a class each, leave it out"
        raise DataError(f"{where}: {name}: the separator {separator!r} stands in no row{hint}")
    return [[label for word in text.split(separator) if (label := word.strip())] for text in texts]


def several(labels: Sequence[Sequence[str]], training: Sequence[bool], where: str, like: Task | None) -> Labels:
    """Any number of words for each picture.

    Args:
        training: which pictures are there for training; labels that none of these has do not count.
        where: the labels stand, for messages.
        like: the task of the training, whose labels alone count; None to take them from the pictures.

    Raises:
        DataError: there are less than two labels, or these pictures have others than the training had.
    """
    known = set(chain.from_iterable(some for some, trains in zip(labels, training, strict=True) if trains))
    names = like.names if like else tuple(sorted(known, key=natural(tuple(known))))
    if len(names) < 2 and not like:
        raise DataError(f"{where}: expected two labels or more, found {len(names)}")
    places = {name: place for place, name in enumerate(names)}
    unseen = [label for some in labels for label in some if label not in places]
    if like and unseen and not known & places.keys():
        raise DataError(f"{where}: the model was trained on {', '.join(names[:SHOWN])} …, no picture has one of these")
    values = torch.zeros(len(labels), len(names))
    for row, some in enumerate(labels):
        values[row, [places[label] for label in some if label in places]] = 1
    notes = []
    if unseen:
        different = sorted(set(unseen))
        shown = ", ".join(map(repr, different[:SHOWN])) + (", …" if len(different) > SHOWN else "")
        rows = counted(sum(not places.keys() >= {*some} for some in labels), "picture")
        notes.append(NoteRecord(f"{where}: {rows} with labels that training never saw ({shown})", "warning"))
    task = like.unmeasured() if like else MultiLabel(size=len(names), names=names)
    return Labels(task, values, torch.zeros(len(labels), dtype=torch.bool), tuple(notes))
