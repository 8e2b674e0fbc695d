"""What a linear model gives on the same rows of a table, judged by the same metrics."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from trainkit.core import nest
from trainkit.core.seeding import permutation
from trainkit.data import Data, Split, TensorSource
from trainkit.training.metrics import MetricConfig
from trainkit.training.yardstick import value_of

MOST_ROWS = 5000
"""Training rows that it is fitted to."""
MOST_NUMBERS = 500
"""Inputs of a row: more take too long."""


def linear_model(data: Data, metrics: Sequence[MetricConfig], split: Split) -> dict[str, float]:
    """Fit it to the training rows, with the columns as the network has them, and measure it on a split.

    Gives nothing where inputs are no rows of numbers, where they are too many, and for tasks that have none.
    """
    task, rows = data.spec.task, _rows(data.train)
    if rows is None or (others := _rows(split)) is None:
        return {}
    some = permutation(len(rows), 0, "linear model")[:MOST_ROWS]
    rows, targets = rows[some], nest.take(data.train.targets, some)
    mean, std = rows.mean(0), rows.std(0, correction=0)
    std = torch.where(std > 0, std, 1)
    fitted = task.linear((rows - mean) / std, targets)
    if fitted is None:
        return {}
    outputs = fitted((others - mean) / std)
    found = {}
    for metric in metrics:
        with suppress(Exception):  # a user's own may ask for other outputs
            found[metric.label] = value_of(metric, task, outputs.shape[1], outputs, split.targets)
    return found


def _rows(split: Split) -> Tensor | None:
    """All inputs, shape (n, numbers), float64; None where they are something else."""
    source = split.source
    if not isinstance(source, TensorSource) or not isinstance(source.inputs, Tensor):
        return None
    inputs = source.inputs
    if inputs.ndim != 2 or not inputs.is_floating_point() or inputs.shape[1] > MOST_NUMBERS:
        return None
    rows = inputs[split.index].double()
    return rows if bool(rows.isfinite().all()) else None
