"""What a pass of a run's checkpoint over its val and its test split shows: confusion, classes, curves, mistakes."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from PIL import Image
from torch import Tensor

from trainkit.checks.linear_model import linear_model
from trainkit.core import nest
from trainkit.core.errors import first_line
from trainkit.data import Data, Split, TensorSource
from trainkit.data.inputs import InputKind
from trainkit.data.texts.source import TextSource
from trainkit.experiment.rules import metrics_of
from trainkit.inference.restoring import Restored, restore
from trainkit.models.base import count_parameters
from trainkit.plots.confusion_matrix import confusion_picture, strengths
from trainkit.plots.figures import Legend, LineChart, Tile
from trainkit.plots.images import as_image, joined
from trainkit.plots.svg import Chart, chart
from trainkit.reports.table_columns import Columns, columns_of
from trainkit.runs import run_directory
from trainkit.runs.reader import Run
from trainkit.runs.summary_lines import baseline_loss
from trainkit.tasks import Table
from trainkit.training.predictions import Predictions, predictions_of

MISTAKES = 24
WORST_ROWS = 12
MOST_COLUMNS = 8
"""Of a table, beside each of them."""
MOST_CHARACTERS = 300
"""Of a text."""
SIDE = 128
"""Larger pictures are made that small; what is smaller is shown pixel by pixel."""
MOST_CLASSES = 20
"""Rows of the confusion matrix as text."""

T = TypeVar("T")


@dataclass(slots=True)
class SplitData:
    """What is known of the predictions for one split; empty where it could not be found out."""

    name: str
    samples: int
    confusion: list[tuple[str, list[tuple[int, float]]]] = field(default_factory=list)
    """Row by row the true class, with the count and the strength of colour of every cell."""
    confusion_uri: str = ""
    """Instead, where the classes are many."""
    first: bool = False
    """Whether this says more than the curves of the training."""
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    worst: list[Table] = field(default_factory=list)
    """The worst predictions of samples that are no pictures."""
    mistakes: list[tuple[str, Tile]] = field(default_factory=list)
    """Those of pictures, each with the address of its picture."""


@dataclass(slots=True)
class PageData:
    """What is known; empty where it could not be found out."""

    checkpoint: str = ""
    parameters: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Samples by split."""
    baseline_loss: float | None = None
    """That of the best constant prediction."""
    linear: dict[str, float] = field(default_factory=dict)
    """What a linear model gives, where there is one, by metrics with their split."""
    splits: list[SplitData] = field(default_factory=list)
    legend: Legend = ()
    """What the colours of these pictures mean."""
    columns: Columns = field(default_factory=Columns)
    """Of a table."""


def collect(run: Run, device: str, overrides: list[str], missing: list[str]) -> PageData:
    """Evaluate the chosen checkpoint on the val split, as far as they are at hand; `missing` is told what is not."""
    found = PageData()
    chosen = run_directory.RunDir(run.path).chosen
    what = "predictions of the val split"
    if not chosen.is_file():
        missing.append(f"{what}: there is no checkpoint")
        return found
    restored = attempt(lambda: restore(chosen, device=device, overrides=overrides), what, missing)
    if restored is None:
        return found
    found.checkpoint = f"{chosen.name} of step {restored.payload['progress']['step']}"
    found.parameters = count_parameters(restored.parts.model.parameters())
    task = restored.spec.task
    found.counts["train"] = task.samples
    data = attempt(restored.open_data, what, missing)
    if data is None:
        return found
    splits = {"train": data.train, "val": data.val, "test": data.test}
    found.counts = {name: len(split) for name, split in splits.items() if split and not split.is_stream}
    found.baseline_loss = baseline_loss(restored.experiment, data, restored.parts.loss_fn)
    attempt(lambda: _linear(restored, data, found), "a linear model", missing)
    if data.val is None:
        missing.append(f"{what}: there is no val split")
    found.columns = attempt(lambda: columns_of(restored, data), "columns", missing) or found.columns
    for name in "val", "test":
        if (split := data.splits.get(name)) and (seen := _seen(restored, data, name, split, found.columns, missing)):
            found.splits.append(seen)
    if data.spec.input.drawable:
        found.legend = task.legend
    return found


def _seen(
    restored: Restored, data: Data, name: str, split: Split, columns: Columns, missing: list[str]
) -> SplitData | None:
    """What the predictions for a split show; None where there are none."""
    what = f"predictions of the {name} split"
    trained_with = restored.payload["data"].get(name)
    if attempt(lambda: data.digests().get(name), "fingerprint", missing) not in (None, trained_with):
        missing.append(f"{what}: these {name} samples are not the ones of the training run")
    loader = restored.experiment.loader.eval_loader(split, restored.parts.device)
    predictions = attempt(lambda: predictions_of(restored.parts, loader, restored.spec.task), what, missing)
    if predictions is None:
        return None
    predictions = predictions.cpu()
    seen = SplitData(name, len(predictions))
    attempt(lambda: _judge(predictions, seen), what, missing)
    if data.spec.input.drawable:
        seen.mistakes = attempt(lambda: _mistakes(predictions, restored, split), "mistakes", missing) or []
    else:
        seen.worst = (
            attempt(lambda: _worst_rows(predictions, split, columns, data.spec.input), "mistakes", missing) or []
        )
    return seen


def _linear(restored: Restored, data: Data, found: PageData) -> None:
    """Fill in what a linear model of the training rows gives."""
    metrics = metrics_of(restored.experiment, restored.spec)
    for name in "val", "test":
        if split := data.splits.get(name):
            values = linear_model(data, metrics, split)
            found.linear |= {f"{name}/{metric}": value for metric, value in values.items()}


def _judge(predictions: Predictions, found: SplitData) -> None:
    """Fill in what the task shows of the predictions."""
    task = predictions.task
    shown = predictions.findings(found.name)
    found.first, found.tables, found.charts = shown.first, shown.tables, [_drawn(one) for one in shown.charts]
    if len(shown.confusion) > MOST_CLASSES:
        title = f"{found.samples:,} {found.name} samples. Rows: the true class. Columns: the predicted class"
        found.confusion_uri = _uri(confusion_picture(title, shown.confusion, task.known_names), "PNG")
    elif shown.confusion:
        strong = strengths(shown.confusion).round(2).tolist()
        cells = [list(zip(*row, strict=True)) for row in zip(shown.confusion, strong, strict=True)]
        found.confusion = list(zip(task.known_names, cells, strict=True))


def _drawn(one: LineChart) -> Chart:
    return chart(
        one.title,
        one.series,
        xlabel=one.xlabel,
        ylabel=one.ylabel,
        unit=one.unit,
        diagonal=one.diagonal,
        note=one.note,
        values=one.unit,
    )


def _worst_rows(predictions: Predictions, split: Split, columns: Columns, kind: InputKind) -> list[Table]:
    """The worst predictions of samples that are no pictures, as a table; none where all are right.

    Args:
        columns: of a table; what stands in them is shown beside.
        kind: of texts, these are shown beside.
    """
    task, indices = predictions.task, predictions.worst(WORST_ROWS)
    if not len(indices):
        return []
    where = split.source.where if isinstance(split.source, TensorSource | TextSource) else None
    some, numbers = predictions.at(indices), split.index[indices].tolist()
    names = [where(number) if where else f"{number:,}" for number in numbers]
    beside: list[dict[str, str]] = [{}] * len(indices)
    if columns.seen:
        beside = [columns.row(one, MOST_COLUMNS) for one in nest.samples(split.take(indices).inputs)]
    if kind.vocabulary:
        batch = split.take(indices)
        assert isinstance(batch.inputs, Tensor)
        assert batch.lengths is not None
        texts = kind.decoded(batch.inputs, batch.lengths)
        beside = [{"text": textwrap.shorten(text, MOST_CHARACTERS, placeholder=" …")} for text in texts]
    heads = [
        "row" if where else "sample, from 0",
        "true",
        *(f"predicted {head}" for head in task.heads(None, every=False)),
    ]
    rows = []
    for one, target, row in zip(task.predictions(names, some.outputs), nest.samples(some.targets), beside, strict=True):
        said = task.cells(one, None, every=False)
        cells = [cell if isinstance(cell, str) else task.text(cell) for cell in said]
        if all(isinstance(cell, float) for cell in said):
            cells = [f"{cell:.4g}" for cell in said]
        rows.append([one.input, task.words(target), *cells, *row.values()])
    return [Table("The worst predictions", (*heads, *beside[0]), rows)]


def _mistakes(predictions: Predictions, restored: Restored, split: Split) -> list[tuple[str, Tile]]:
    indices = predictions.worst(MISTAKES)
    if not len(indices):
        return []
    batch = restored.parts.prepare(split.take(indices), None)
    tiles = predictions.at(indices).tiles(restored.spec.input.pixels(batch.inputs))
    return [(_picture_uri(tile), tile) for tile in tiles]


def _picture_uri(tile: Tile) -> str:
    images = [as_image(picture) for picture in (tile.picture, *tile.beside)]
    if max(images[0].size) <= SIDE // 2:
        return _uri(joined(images), "PNG")
    for image in images:
        image.thumbnail((SIDE, SIDE))
    return _uri(joined(images), "JPEG")


def _uri(image: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    image.save(file, kind, quality=85, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def attempt(make: Callable[[], T], what: str, missing: list[str]) -> T | None:
    """Gives None, and tells why, where something cannot be made. A user's own code may raise anything."""
    try:
        return make()
    except Exception as error:
        missing.append(f"{what}: {first_line(error)}")
        return None
