"""What stands beside a result: what a prediction that looks at no input gives, and how certain a share is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from trainkit.core import nest
from trainkit.core.nest import Nest
from trainkit.core.text import aligned, format_metric
from trainkit.tasks import Task
from trainkit.training.metrics import MetricConfig

Z = 1.959964
"""Standard deviations within which 95 % of a normal distribution lie."""
AT_ONCE = 1000
"""Samples that are judged together."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """What a metric of a split is held against."""

    samples: int
    """Of which it is a mean."""
    constant: float | None = None
    """What the best constant prediction gives, learned from the training targets; None where none is known."""
    answer: str = ""
    """Which that is, such as `always 'cat'`."""
    low: float | None = None
    """Where the 95 % interval begins, of a share of samples that are right; None of anything else."""
    high: float | None = None

    def to_plain(self) -> dict[str, Any]:
        """For JSON, without what there is not."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}

    def interval(self) -> str:
        """`95.72 to 98.86 %`; empty where there is none."""
        return "" if self.low is None or self.high is None else f"{100 * self.low:.2f} to {100 * self.high:.2f} %"

    def beaten_by(self, value: float, mode: str) -> bool:
        """Whether a value is better than that of the constant, and by more than chance alone would explain."""
        assert self.constant is not None
        worst = value if self.low is None else self.low
        return worst > self.constant if mode == "max" else worst < self.constant

    def said(self, name: str) -> str:
        """What the constant gives, and which it is."""
        if self.constant is None:
            return ""
        value = without_name(name, self.constant)
        return f"{value} ({self.answer})" if self.answer else value


def without_name(name: str, value: float) -> str:
    """A metric without its name."""
    return format_metric(name, value).removeprefix(f"{name} ")


def lines(found: Mapping[str, Yardstick]) -> list[str]:
    """A table with a row for each metric of which there is more to say than of how many samples it is."""
    rows = [[name, f"{one.samples:,}", one.interval(), one.said(name)] for name, one in found.items()]
    rows = [row for row in rows if any(row[2:])]
    heads = ["", "samples", "95 % interval", "a constant prediction gives"]
    used = [place for place in range(4) if place < 2 or any(row[place] for row in rows)]
    return aligned([[row[place] for place in used] for row in [heads, *rows]], right=[1]) if rows else []


def wilson(share: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a share of independent samples (Wilson, 1927, equation 4 of Brown et al., 2001)."""
    spread = Z**2 / samples
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / samples + spread / (4 * samples))
    return max(0.0, middle - half), min(1.0, middle + half)


def yardsticks(
    values: Mapping[str, float], metrics: Sequence[MetricConfig], task: Task, num_outputs: int, train: Nest, split: Nest
) -> dict[str, Yardstick]:
    """What stands beside the values of these metrics.

    Args:
        values: by the labels of the metrics.
        train: the targets of the training samples, from which the constants are learned.
        split: those of the samples that were measured.
    """
    samples = nest.num_samples(split)
    train, some = task.thinned(train), task.thinned(split)
    constants: Mapping[str, torch.Tensor] = {}
    with suppress(Exception):  # a user's own loss or task may have targets of any kind
        constants = task.constants(train, num_outputs)
    found = {}
    for metric in metrics:
        value = values.get(metric.label)
        if value is None:
            continue
        low, high = wilson(value, samples) if metric.is_share(task) and 0 <= value <= 1 else (None, None)
        sign = 1 if metric.mode == "max" else -1
        given = {}
        for answer, outputs in constants.items():
            with suppress(Exception):  # and a metric of a user's own may ask for other outputs
                given[answer] = value_of(metric, task, num_outputs, task.repeated(outputs, some), some)
        answer = max(given, key=lambda one: sign * given[one], default="")
        found[metric.label] = Yardstick(samples, given.get(answer), answer, low, high)
    return found


def value_of(metric: MetricConfig, task: Task, num_outputs: int, outputs: Nest, targets: Nest) -> float:
    """The value of a metric for outputs that are known already, in the unit of the targets.

    Raises:
        ValueError: it is no number.
    """
    counting = metric.build(task, num_outputs, torch.device("cpu"))
    for some in torch.arange(nest.num_samples(targets)).split(AT_ONCE):
        counting.update(nest.take(outputs, some), nest.take(targets, some))
    value = float(counting.compute())
    if not math.isfinite(value):
        raise ValueError("is no number")
    return value
