"""Predictions as text: a table, CSV or JSON, batch by batch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from trainkit.core.text import aligned, plain_json, printable
from trainkit.tasks import Prediction, Task


def as_json(batches: Iterable[list[Prediction]], top: int | None) -> Iterator[str]:
    """A list of objects, one in a line."""
    begun = False
    for some in batches:
        plain = [json.dumps(plain_json(prediction.to_plain(top))) for prediction in some]
        yield ("," if begun else "[") + "\n,".join(plain)
        begun = True
    yield "]" if begun else "[]"


def as_csv(batches: Iterable[list[Prediction]], task: Task, top: int | None) -> Iterator[str]:
    """With a header; of labels every one's probability, unless the most probable are asked for."""
    kept = None
    ours = ["input", *task.heads(top, every=True)]
    for some in batches:
        if kept is None:
            kept = list(some[0].kept)
            # Programs find columns by their names.
            yield _csv([["input", *(f"kept_{name}" if name in ours else name for name in kept), *ours[1:]]])
        yield _csv([[each.input, *_texts(each, kept), *task.cells(each, top, every=True)] for each in some])
    if kept is None:
        yield _csv([ours])


def as_table(batches: Iterable[list[Prediction]], task: Task, top: int | None) -> Iterator[str]:
    """For people, aligned; of labels those that the model finds, unless the most probable are asked for."""
    kept: list[str] = []
    for number, some in enumerate(batches):
        kept = kept if number else list(some[0].kept)
        heads = ["input", *kept, *task.heads(top, every=False)]
        rows = [[each.input, *_texts(each, kept), *task.cells(each, top, every=False)] for each in some]
        numbers = [place for place, cell in enumerate(rows[-1]) if isinstance(cell, float)]
        texts = [[printable(cell) if isinstance(cell, str) else task.text(cell) for cell in row] for row in rows]
        yield "\n".join(aligned([list(map(printable, heads)), *texts], right=numbers)[number > 0 :])


def _texts(prediction: Prediction, kept: Sequence[str]) -> list[str]:
    """Those of the columns of the first file, which head the table."""
    return [prediction.kept.get(name, "") for name in kept]


def _csv(rows: Iterable[Sequence[str | float]]) -> str:
    text = io.StringIO()
    plain = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(plain)
    return text.getvalue().rstrip("\n")
