"""Predictions as text: a table, CSV or JSON, batch by batch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from trainkit.core.text import aligned, plain_json, printable
from trainkit.data import Kind, TargetSpec
from trainkit.inference.prediction import Prediction
from trainkit.training.confusion import class_names


def as_json(batches: Iterable[list[Prediction]], top: int | None) -> Iterator[str]:
    """A list of objects, one in a line."""
    begun = False
    for some in batches:
        plain = [json.dumps(plain_json(prediction.to_plain(top))) for prediction in some]
        yield ("," if begun else "[") + "\n,".join(plain)
        begun = True
    yield "]" if begun else "[]"


def as_csv(batches: Iterable[list[Prediction]], target: TargetSpec, top: int | None) -> Iterator[str]:
    """With a header; of labels every one's probability, unless the most probable are asked for."""
    yield _csv([_heads(target, top, every=True)])
    for some in batches:
        yield _csv([_cells(each, top, every=True) for each in some])


def as_table(batches: Iterable[list[Prediction]], target: TargetSpec, top: int | None) -> Iterator[str]:
    """For people, aligned; of labels those that the model finds, unless the most probable are asked for."""
    heads = _heads(target, top, every=False)
    for number, some in enumerate(batches):
        rows = [heads, *(_cells(each, top, every=False) for each in some)]
        texts = [[_text(cell, target.kind) for cell in row] for row in rows]
        numbers = [place for place, cell in enumerate(rows[-1]) if isinstance(cell, float)]
        yield "\n".join(aligned(texts, right=numbers)[number > 0 :])


def _heads(target: TargetSpec, top: int | None, *, every: bool) -> list[str | float]:
    """What stands above `_cells`."""
    if target.kind == "regression" or (target.kind == "multilabel" and every and not top):
        return ["input", *class_names(target)]
    if target.kind == "multilabel" and not top:
        return ["input", "labels"]
    first = ["class" if target.kind == "classification" else "label", "probability"]
    ranks = range(1, min(top or 1, target.size) + 1)
    return ["input", *(f"{head}_{rank}" if rank > 1 else head for rank in ranks for head in first)]


def _cells(prediction: Prediction, top: int | None, *, every: bool) -> list[str | float]:
    name = prediction.input
    if prediction.kind == "regression" or (prediction.kind == "multilabel" and every and not top):
        return [name, *prediction.values.values()]
    if prediction.kind == "multilabel" and not top:
        found = [f"{label} {_percent(prediction.values[label])}" for label in prediction.answer]
        return [name, ", ".join(found) or "none"]
    return [name, *(cell for pair in prediction.top(top or 1) for cell in pair)]


def _text(cell: str | float, kind: Kind) -> str:
    if isinstance(cell, str):
        return printable(cell)
    return f"{cell:.6g}" if kind == "regression" else _percent(cell)


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _csv(rows: Iterable[Sequence[str | float]]) -> str:
    text = io.StringIO()
    plain = ([printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(plain)
    return text.getvalue().rstrip("\n")
