"""What one pass of a run's checkpoint over its val split shows: confusion, classes, curves, mistakes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn import metrics

from trainkit.core.errors import first_line
from trainkit.data import Data
from trainkit.data.tables.columns import ColumnFacts
from trainkit.experiment.rules import monitored
from trainkit.inference.importance import importances
from trainkit.inference.restoring import Restored, restore
from trainkit.models.base import count_parameters
from trainkit.plots.charts import COLOURS, Series
from trainkit.plots.confusion_matrix import confusion_picture, strengths
from trainkit.plots.images import Tile, as_image, pixels
from trainkit.plots.svg import Chart, chart
from trainkit.runs import run_directory
from trainkit.runs.reader import Run
from trainkit.runs.summary_lines import baseline_loss
from trainkit.training.confusion import ClassScore, Tally, class_names
from trainkit.training.predictions import Predictions, predictions_of

MISTAKES = 24
SIDE = 128
"""Larger pictures are made that small; what is smaller is shown pixel by pixel."""
MOST_CLASSES = 20
"""Rows of the table of classes, and of the confusion matrix as text."""
MOST_LINES = len(COLOURS)
"""Classes in one chart."""
MOST_POINTS = 2000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClassRow:
    """How well one class or label is found."""

    score: ClassScore
    trained: int | None
    """Training samples."""
    average_precision: float | None
    """Area under its curve of precision against recall; None without samples of it, or of any other."""
    auc: float | None
    """Area under its ROC curve."""


@dataclass(slots=True)
class PageData:
    """What is known; empty where it could not be found out."""

    checkpoint: str = ""
    parameters: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Samples by split."""
    baseline_loss: float | None = None
    """That of the best constant prediction."""
    samples: int = 0
    confusion: list[tuple[str, list[tuple[int, float]]]] = field(default_factory=list)
    """Row by row the true class, with the count and the strength of colour of every cell."""
    confusion_uri: str = ""
    """Instead, where the classes are many."""
    classes: list[ClassRow] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    mistakes: list[tuple[str, Tile]] = field(default_factory=list)
    """Samples, each with the address of its picture."""
    columns: list[tuple[ColumnFacts, float | None]] = field(default_factory=list)
    """Of a file of rows, with how much the metric gets worse without each."""
    metric: str = ""
    """Which metric that is."""


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
    target = restored.spec.target
    found.counts["train"] = target.samples
    data = attempt(restored.open_data, what, missing)
    if data is None:
        return found
    splits = {"train": data.train, "val": data.val, "test": data.test}
    found.counts = {name: len(split) for name, split in splits.items() if split is not None}
    found.baseline_loss = baseline_loss(restored.experiment, data, restored.parts.loss_fn)
    if data.val is None:
        missing.append(f"{what}: there is no val split")
        return found
    trained_with = restored.payload["data"].get("val")
    if attempt(lambda: data.digests().get("val"), "fingerprint", missing) not in (None, trained_with):
        missing.append(f"{what}: these val samples are not the ones of the training run")
    loader = restored.experiment.loader.eval_loader(data.val, restored.parts.device)
    predictions = attempt(lambda: predictions_of(restored.parts, loader, target), what, missing)
    if predictions is None:
        return found
    predictions = predictions.at(slice(None))
    found.samples = len(predictions.targets)
    attempt(lambda: _judge(predictions, found), what, missing)
    if data.columns:
        attempt(lambda: _columns(restored, data, found), "columns", missing)
    if data.spec.image:
        found.mistakes = attempt(lambda: _mistakes(predictions, restored, data), "mistakes", missing) or []
    return found


def _columns(restored: Restored, data: Data, found: PageData) -> None:
    """Fill in the columns, those first that the model needs most."""
    assert data.val is not None
    experiment, parts, spec = restored.experiment, restored.parts, restored.spec
    found.metric, mode = monitored(experiment, spec)
    changes = importances(parts, data.val, spec, found.metric, experiment.loader)
    worse = {name: -change if mode == "max" else change for name, change in changes.items()}
    found.columns = sorted(
        ((column, worse.get(column.name)) for column in data.columns),
        key=lambda item: -math.inf if item[1] is None else item[1],
        reverse=True,
    )


def _judge(predictions: Predictions, found: PageData) -> None:
    """Fill in what the predictions show: of numbers a picture, of classes and labels how well each is found."""
    target = predictions.target
    if target.kind == "regression":
        found.charts.append(_scatter(predictions))
        return
    tally = Tally(target, predictions.targets.device)
    tally.update(predictions.outputs, predictions.targets)
    probabilities = predictions.probabilities().double().numpy()
    rows, recalls, rocs = [], {}, {}
    for number, score in enumerate(tally.scores()):
        there = predictions.has(number).numpy()
        probability, average, auc = probabilities[:, number], None, None
        if there.any() and not there.all():
            average = float(metrics.average_precision_score(there, probability))
            auc = float(metrics.roc_auc_score(there, probability))
            recalls[number], rocs[number] = _precision_and_roc(score.name, there, probability)
        rows.append(ClassRow(score, target.counts[number] if target.counts else None, average, auc))
    drawn = sorted(recalls, key=lambda number: rows[number].average_precision or 0)
    note = ""
    if len(drawn) > 2 * MOST_LINES:
        drawn = drawn[:MOST_LINES]
        note = f"The {MOST_LINES} of {len(rows)} with the lowest average precision."
    drawn.sort()
    each = "label" if target.kind == "multilabel" else "class"
    for title, series, labels in (
        (f"Precision against recall, {each} by {each}", recalls, ("recall", "precision")),
        (f"ROC curve, {each} by {each}", rocs, ("share of the others taken for it", "share of it that is found")),
    ):
        if drawn:
            lines = [series[number] for number in drawn]
            found.charts.append(chart(title, lines, xlabel=labels[0], ylabel=labels[1], unit=True, note=note))
    found.classes = sorted(rows, key=lambda row: row.score.f1) if len(rows) > MOST_CLASSES else rows
    if counts := tally.confusion():
        names = class_names(target)
        if len(names) > MOST_CLASSES:
            title = f"Val split, {found.samples:,} samples. Rows: the true class. Columns: the predicted class"
            found.confusion_uri = _uri(confusion_picture(title, counts, names), "PNG")
        else:
            strong = strengths(counts).round(2).tolist()
            cells = [list(zip(*row, strict=True)) for row in zip(counts, strong, strict=True)]
            found.confusion = list(zip(names, cells, strict=True))


def _precision_and_roc(name: str, there: NDArray[np.bool_], probability: NDArray[np.float64]) -> tuple[Series, Series]:
    """Precision against recall, and the ROC curve."""
    precision, recall, _ = metrics.precision_recall_curve(there, probability)
    wrongly, rightly, _ = metrics.roc_curve(there, probability)
    return Series(name, recall.tolist(), precision.tolist()), Series(name, wrongly.tolist(), rightly.tolist())


def _scatter(predictions: Predictions) -> Chart:
    """Predictions against targets, for each of the numbers to be predicted."""
    step = math.ceil(len(predictions.targets) / MOST_POINTS)
    numbers = (predictions.targets, predictions.outputs)
    targets, outputs = (each.view(len(each), -1)[::step].T.tolist() for each in numbers)
    names = class_names(predictions.target)[:MOST_LINES]
    series = [Series(name, x, y, "points") for name, x, y in zip(names, targets, outputs, strict=False)]
    return chart("Predictions against targets", series, xlabel="target", ylabel="prediction", diagonal=True)


def _mistakes(predictions: Predictions, restored: Restored, data: Data) -> list[tuple[str, Tile]]:
    assert data.val is not None
    indices = predictions.worst(MISTAKES)
    if not len(indices):
        return []
    batch = restored.parts.prepare(data.val.take(indices), None)
    tiles = predictions.at(indices).tiles(pixels(batch.inputs, restored.spec))
    return [(_picture_uri(tile), tile) for tile in tiles]


def _picture_uri(tile: Tile) -> str:
    image = as_image(tile.picture)
    if max(image.size) <= SIDE // 2:
        return _uri(image, "PNG")
    image.thumbnail((SIDE, SIDE))
    return _uri(image, "JPEG")


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
