"""What the data of an experiment really is: sizes, classes, numbers, duplicates.

One file: what is measured, what is found in it, and how it is written depend on the same fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trainkit.checks.text_summary import text_lines
from trainkit.config.shell import typed
from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.text import aligned
from trainkit.data import Data, DataSpec, Split, TensorSource, sample_checks
from trainkit.data.base import fingerprint
from trainkit.data.duplicates import are_compared, hashes, shared_with
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.inputs import InputKind
from trainkit.data.subset import subset_of_all
from trainkit.data.tables.columns import ColumnFacts, column_lines
from trainkit.data.transforms.normalize import measured
from trainkit.experiment.building import Opened
from trainkit.experiment.first_batch import prepared
from trainkit.experiment.schema import ExperimentConfig
from trainkit.tasks import Task

LOOKED_AT = 1000
"""Training samples that are read where they have to be decoded."""
MOST_CLASSES = 20
"""Of more, those with the fewest samples are shown."""
OFF = 0.1
"""A mean that is so far from the one configured, in units of 0 … 1, is worth a word; so is a standard deviation…"""
STRETCHED = 1.5
"""…that is so many times as large or as small."""
IMBALANCE = 10.0
"""A class with so many times the samples of another is worth a word."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """What was found."""

    splits: dict[str, int]
    """Samples of each."""
    task: Task
    counts: dict[str, list[int]]
    """Samples of each class or with each label, split by split."""
    shape: tuple[int, ...]
    """One input, as the model sees it."""
    dtype: str
    """Of the inputs as they are."""
    looked_at: int
    """Training samples that the numbers below are of."""
    low: float
    high: float
    """The smallest and the largest value of the inputs as they are."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Measured: of pictures per channel in units of 0 … 1, otherwise of all values."""
    configured_mean: tuple[float, ...]
    configured_std: tuple[float, ...]
    """What is subtracted and divided by; empty for nothing."""
    prepared_mean: float
    prepared_std: float
    """Of all values that reach the model."""
    repeated: int | None
    """Training samples that are equal to an earlier one; None for sequences, which are not compared."""
    shared: dict[str, int]
    """Of the other splits, the samples that are training samples, too."""
    contradicting: int
    """Training samples that are equal to one with another target."""
    findings: tuple[Diagnostic, ...]
    """What is probably not meant."""
    columns: tuple[ColumnFacts, ...] = ()
    """Of a file of rows."""
    lines: tuple[str, ...] = ()
    """Of texts, what they are: lines instead of those about numbers."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = {key: value for key, value in asdict(self).items() if key not in ("task", "findings", "lines")}
        plain["target"] = {"kind": self.task.name, "classes": list(self.task.known_names)}
        return plain | {"findings": [{"code": found.code, "message": str(found)} for found in self.findings]}


def summarize_dataset(opened: Opened) -> DatasetSummary:
    """Look at the data of an experiment: at all of it in memory, at 1,000 training samples where they are decoded."""
    data, spec = opened.data, opened.data.spec
    splits = {name: split for name in ("train", "val", "test") if (split := getattr(data, name)) is not None}
    counts = {name: spec.task.count(split.targets) for name, split in splits.items()}
    some = data if isinstance(data.train.source, TensorSource) else subset_of_all(data, LOOKED_AT)
    source = some.train.source
    repeated, contradicting = duplicates(source, some.train.index) if are_compared(source) else (None, 0)
    prepare = prepared(opened.experiment, data, opened.device)
    low, high, mean, std = _numbers(some.train, spec)
    seen = _Moments()
    for positions in torch.arange(len(some.train)).split(LOOKED_AT):
        seen.add(prepare(some.train.take(positions), None).inputs)
    first = some.train.take(torch.zeros(1, dtype=torch.int64)).inputs
    return DatasetSummary(
        splits={name: len(split) for name, split in splits.items()},
        task=spec.task,
        counts={name: list(found) for name, found in counts.items() if found},
        shape=spec.shape,
        dtype=str(first.dtype).removeprefix("torch."),
        looked_at=len(some.train),
        low=low,
        high=high,
        mean=mean,
        std=std,
        configured_mean=spec.input.mean,
        configured_std=spec.input.std,
        prepared_mean=seen.mean,
        prepared_std=seen.std,
        repeated=repeated,
        shared=shared_with(some.train, some.val, some.test),
        contradicting=contradicting,
        findings=(
            *(sample_checks.diagnostics(data) or sample_checks.diagnostics(some)),
            *findings(opened.experiment, data, mean, std, contradicting),
        ),
        columns=data.columns,
        lines=tuple(text_lines(data)) if spec.input.vocabulary else (),
    )


class _Moments:
    """Mean and standard deviation of all numbers that were added, in double precision."""

    def __init__(self) -> None:
        self.count, self.sum, self.squares = 0, 0.0, 0.0
        self.low, self.high = math.inf, -math.inf

    def add(self, values: Tensor) -> None:
        values = torch.view_as_real(values) if values.is_complex() else values
        values = values.cpu().double()  # mps has no doubles
        self.count += values.numel()
        self.sum += float(values.sum())
        self.squares += float(values.square().sum())
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))

    @property
    def mean(self) -> float:
        return self.sum / self.count

    @property
    def std(self) -> float:
        return math.sqrt(max(0.0, self.squares / self.count - self.mean**2))


def _numbers(split: Split, spec: DataSpec) -> tuple[float, float, tuple[float, ...], tuple[float, ...]]:
    """The smallest and largest value, mean and standard deviation, of inputs as they are."""
    moments = _Moments()
    for positions in torch.arange(len(split)).split(LOOKED_AT):
        moments.add(split.take(positions).inputs)
    if spec.input.pictures:
        return moments.low, moments.high, *measured(split, spec.shape[0])
    return moments.low, moments.high, (moments.mean,), (moments.std,)


def attainable(source: TensorSource, index: Tensor, task: Task) -> float:
    """The share of these samples that can be right, as equal inputs get one prediction: the commonest class of each."""
    classes = task.balance_key(nest.take(source.targets, index)) if task.exclusive else None
    if classes is None:
        return 1.0
    pairs, counts = torch.stack([hashes(source.inputs, index), classes], 1).unique(dim=0, return_counts=True)
    inputs, groups = pairs[:, 0].unique(return_inverse=True)
    commonest = torch.zeros(len(inputs), dtype=torch.int64).scatter_reduce_(0, groups, counts, "amax")
    return int(commonest.sum()) / len(index)


def duplicates(source: TensorSource, index: Tensor) -> tuple[int, int]:
    """Of the samples with these numbers: those equal to an earlier one, and those equal to one with another target."""
    keys, targets = hashes(source.inputs, index), nest.take(source.targets, index)
    if isinstance(targets, Tensor):
        targets = targets.view(len(index), -1)
    else:
        told_apart: dict[str, int] = {}
        digests = map(fingerprint, nest.samples(targets))
        targets = torch.tensor([[told_apart.setdefault(digest, len(told_apart))] for digest in digests])
    _, groups = keys.unique(return_inverse=True)
    first = torch.zeros(int(groups.max()) + 1, dtype=torch.int64)
    first[groups] = torch.arange(len(groups))
    differs = (targets != targets[first[groups]]).any(1)
    bad = torch.zeros(len(first), dtype=torch.bool)
    bad[groups[differs]] = True
    return len(groups) - len(first), int(bad[groups].sum())


def findings(
    experiment: ExperimentConfig, data: Data, mean: Sequence[float], std: Sequence[float], contradicting: int
) -> list[Diagnostic]:
    """What the numbers say that is probably not meant, each with the line that mends it."""
    spec, found = data.spec, []
    pictures = experiment.data if spec.input.pictures and isinstance(experiment.data, ImageDataConfig) else None
    # Weights want the numbers that they were trained with, whatever these pictures are.
    used = spec.input
    if pictures and used.mean and experiment.model.weights == "none" and _is_off(used, mean, std):
        line = typed("data.normalize", {"mean": _few(mean), "std": _few(std)})
        text = (
            f"data.normalize: the training pictures have mean {_rounded(mean)} and standard deviation {_rounded(std)}, "
            f"but {_rounded(used.mean)} and {_rounded(used.std)} are used; try {line} or data.normalize=auto"
        )
        found.append(Diagnostic("normalize", text))
    if pictures and not used.mean:
        text = "the pictures are only scaled to 0 … 1; try data.normalize=auto"
        found.append(Diagnostic("normalize", f"data.normalize: {text}"))
    if spec.task.exclusive and min(counts := spec.task.counts) > 0:
        most, fewest = max(counts), min(counts)
        weights = (getattr(experiment.loss, key, None) for key in ("weight", "pos_weight"))
        balanced = experiment.loader.sampler == "balanced" or any(weight is not None for weight in weights)
        if most >= IMBALANCE * fewest and not balanced:
            names = spec.task.known_names
            rare, common = names[counts.index(fewest)], names[counts.index(most)]
            text = (
                f"data: {most:,} training samples of {common!r}, {fewest:,} of {rare!r}; try "
                f"loader.sampler=balanced and {typed('metrics', ['accuracy', 'f1'])}"
            )
            found.append(Diagnostic("imbalance", text))
    if contradicting and spec.input.pictures:  # rows of a table may well be alike
        text = f"data: {contradicting:,} training samples are equal to one with another target; look at their labels"
        found.append(Diagnostic("contradictions", text))
    return found


def _is_off(used: InputKind, mean: Sequence[float], std: Sequence[float]) -> bool:
    means, stds = zip(used.mean, mean, strict=True), zip(used.std, std, strict=True)
    # Half and half, from -1 to 1, is what many do on purpose.
    if set(used.mean) | set(used.std) == {0.5}:
        return False
    return any(abs(one - other) > OFF for one, other in means) or any(
        not 1 / STRETCHED < one / other < STRETCHED for one, other in stds
    )


def _few(values: Sequence[float]) -> float | list[float]:
    """To four digits; one number where all are the same."""
    rounded = [float(f"{value:.4g}") for value in values]
    return rounded[0] if len(set(rounded)) == 1 else rounded


def _rounded(values: Sequence[float]) -> str:
    few = _few(values)
    return f"{few:g}" if isinstance(few, float) else f"[{', '.join(f'{value:g}' for value in few)}]"


def dataset_lines(found: DatasetSummary) -> list[str]:
    """What was found as text."""
    done = f", {found.task.described}" if found.task.described else ""
    shape = "x".join(map(str, found.shape))
    some = "" if found.looked_at == found.splits["train"] else f" (of {found.looked_at:,} training samples)"
    text = [f"{'samples':<12} {', '.join(f'{count:,} {name}' for name, count in found.splits.items())}"]
    numbers = [
        f"{'inputs':<12} {shape} {found.dtype}, from {found.low:.4g} to {found.high:.4g}{some}",
        f"{'measured':<12} mean {_rounded(found.mean)}, standard deviation {_rounded(found.std)}",
    ]
    if found.configured_mean and len(found.configured_mean) <= 4:
        used = f"mean {_rounded(found.configured_mean)}, standard deviation {_rounded(found.configured_std)}"
        numbers.append(f"{'normalised':<12} with {used}")
    numbers.append(
        f"{'the model':<12} sees mean {found.prepared_mean:.3g}, standard deviation {found.prepared_std:.3g}"
    )
    text += [
        *(() if found.lines else numbers),
        f"{'targets':<12} {found.task.size} {found.task.noun[1]}{done}",
        f"{'duplicates':<12} {_duplicates(found)}",
        *_table(found),
        *([""] if found.columns else []),
        *column_lines(found.columns),
        *found.lines,
    ]
    return text


def _duplicates(found: DatasetSummary) -> str:
    others = "".join(f"; {count:,} of {name} are in train" for name, count in found.shared.items())
    if found.lines:
        return f"not looked for within train{others}"
    if found.repeated is None:
        return "not looked for among sequences"
    return f"{found.repeated:,} within train{others}"


def _table(found: DatasetSummary) -> list[str]:
    if not found.counts:
        return []
    names = found.task.known_names
    order = sorted(range(len(names)), key=lambda number: found.counts["train"][number])
    shown = range(len(names)) if len(names) <= MOST_CLASSES else order[:MOST_CLASSES]
    rows = [[found.task.counted_in, *found.counts]]
    rows += [[names[number], *(f"{counts[number]:,}" for counts in found.counts.values())] for number in shown]
    table = aligned(rows, right=range(1, len(rows[0])))
    return [
        "",
        *table,
        *([f"… and {len(names) - MOST_CLASSES:,} more with more samples"] if len(names) > len(shown) else []),
    ]
