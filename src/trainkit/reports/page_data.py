"""What one pass of a run's checkpoint over its val split shows: confusion, classes, curves, mistakes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn import metrics
from torch import Tensor

from trainkit.data import Data
from trainkit.data.columns import ColumnFacts
from trainkit.experiment.schema import monitored
from trainkit.inference.importance import importances
from trainkit.inference.loading import Restored, restore
from trainkit.plots.images import confusion_picture, pixels
from trainkit.plots.svg import COLOURS, Chart, Series, chart
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
MOST_LINES = COLOURS
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


@dataclass(frozen=True, slots=True)
class Cell:
    """One of a confusion matrix."""

    count: int
    strength: float
    """Of its colour, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A sample, what it is and what the model says."""

    uri: str
    truth: str
    said: str
    sure: str


@dataclass(slots=True)
class Findings:
    """What is known; empty where it could not be found out."""

    checkpoint: str = ""
    parameters: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    """Samples by split."""
    guess: float | None = None
    """The loss of the best constant answer."""
    samples: int = 0
    confusion: list[tuple[str, list[Cell]]] = field(default_factory=list)
    confusion_uri: str = ""
    """Instead, where the classes are many."""
    classes: list[ClassRow] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    mistakes: list[Picture] = field(default_factory=list)
    columns: list[tuple[ColumnFacts, float | None]] = field(default_factory=list)
    """Of a file of rows, with how much the metric gets worse without each."""
    metric: str = ""
    """Which metric that is."""


def look(run: Run, device: str, overrides: list[str], missing: list[str]) -> Findings:
    """Let the chosen checkpoint answer the val split, as far as they are at hand; `missing` is told what is not."""
    found = Findings()
    _fill(found, run, device, overrides, missing)
    return found


def _fill(found: Findings, run: Run, device: str, overrides: list[str], missing: list[str]) -> None:
    chosen = run_directory.RunDir(run.path).chosen
    what = "what the model says of the val split"
    if not chosen.is_file():
        missing.append(f"{what}: there is no checkpoint")
        return
    restored = attempt(lambda: restore(chosen, device=device, overrides=overrides), what, missing)
    if restored is None:
        return
    found.checkpoint = f"{chosen.name} of step {restored.payload['progress']['step']}"
    found.parameters = sum(parameter.numel() for parameter in restored.parts.model.parameters())
    found.counts["train"] = restored.spec.target.samples
    data = attempt(restored.open_data, what, missing)
    if data is None:
        return
    splits = {"train": data.train, "val": data.val, "test": data.test}
    found.counts = {name: len(split) for name, split in splits.items() if split is not None}
    target = restored.spec.target
    found.guess = baseline_loss(restored.experiment, data, restored.parts.loss_fn)
    if data.val is None:
        missing.append(f"{what}: there is no val split")
        return
    trained_with = restored.payload["data"].get("val")
    if attempt(lambda: data.digests().get("val"), "fingerprint", missing) not in (None, trained_with):
        missing.append(f"{what}: these val samples are not the ones of the training run")
    loader = restored.experiment.loader.eval_loader(data.val, restored.parts.device)
    answers = attempt(lambda: predictions_of(restored.parts, loader, target), what, missing)
    if answers is None:
        return
    answers = Predictions(answers.outputs.cpu(), answers.targets.cpu(), target)
    found.samples = len(answers.targets)
    attempt(lambda: _judge(answers, found), what, missing)
    if data.columns:
        attempt(lambda: _columns(restored, data, found), "columns", missing)
    if data.spec.image:
        found.mistakes = attempt(lambda: _mistakes(answers, restored, data), "mistakes", missing) or []


def _columns(restored: Restored, data: Data, found: Findings) -> None:
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


def _judge(answers: Predictions, found: Findings) -> None:
    """Fill in what the answers show: of numbers a picture, of classes and labels how well each is found."""
    target = answers.target
    if target.kind == "regression":
        found.charts.append(_scatter(answers))
        return
    tally = Tally(target, answers.targets.device)
    tally.update(answers.outputs, answers.targets)
    probabilities = answers.probabilities().double().numpy()
    rows, recalls, rocs = [], {}, {}
    for number, score in enumerate(tally.scores()):
        there = (
            answers.targets == number if target.kind == "classification" else answers.targets[:, number] > 0.5
        ).numpy()
        chance, average, auc = probabilities[:, number], None, None
        if there.any() and not there.all():
            average = float(metrics.average_precision_score(there, chance))
            auc = float(metrics.roc_auc_score(there, chance))
            recalls[number], rocs[number] = _lines(score.name, there, chance)
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
            title = f"Val split, {found.samples:,} samples. Rows: the true class. Columns: what the model says"
            found.confusion_uri = _uri(confusion_picture(title, counts, names), "PNG")
        else:
            found.confusion = list(zip(names, _cells(counts), strict=True))


def _lines(name: str, there: NDArray[np.bool_], chance: NDArray[np.float64]) -> tuple[Series, Series]:
    """Precision against recall, and the ROC curve."""
    precision, recall, _ = metrics.precision_recall_curve(there, chance)
    wrongly, rightly, _ = metrics.roc_curve(there, chance)
    return Series(name, recall.tolist(), precision.tolist()), Series(name, wrongly.tolist(), rightly.tolist())


def _cells(counts: Sequence[Sequence[int]]) -> list[list[Cell]]:
    """With colours by shares of a row; of mistakes, beside the commonest one."""
    table = np.array(counts, dtype=float)
    shares = table / table.sum(1, keepdims=True).clip(min=1)
    mistakes = shares * (1 - np.eye(len(table)))
    strengths = np.where(np.eye(len(table)) > 0, shares, 0.8 * np.sqrt(mistakes / max(mistakes.max(), 1e-12)))
    return [
        [Cell(count, round(float(strength), 2)) for count, strength in zip(*row, strict=True)]
        for row in zip(counts, strengths, strict=True)
    ]


def _scatter(answers: Predictions) -> Chart:
    """What the model says against what is true, for each of the numbers to be predicted."""
    step = math.ceil(len(answers.targets) / MOST_POINTS)
    truths, said = (numbers.view(len(numbers), -1)[::step].T.tolist() for numbers in (answers.targets, answers.outputs))
    names = class_names(answers.target)[:MOST_LINES]
    series = [Series(name, truth, says, "points") for name, truth, says in zip(names, truths, said, strict=False)]
    return chart("What the model says against the truth", series, xlabel="truth", ylabel="the model", diagonal=True)


def _mistakes(answers: Predictions, restored: Restored, data: Data) -> list[Picture]:
    assert data.val is not None
    places = answers.worst(MISTAKES)
    if not len(places):
        return []
    batch = restored.parts.prepare(data.val.take(places), None)
    tiles = answers.at(places).tiles(pixels(batch.inputs, restored.spec))
    return [Picture(_tensor_uri(tile.picture), tile.truth, tile.said, tile.sure) for tile in tiles]


def _tensor_uri(picture: Tensor) -> str:
    array = picture.movedim(0, -1).numpy()
    image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
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
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        missing.append(f"{what}: {reason}")
        return None
