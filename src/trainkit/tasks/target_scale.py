"""Scaling the targets of regression: standardised, or as logarithms, for the loss; and back to the user's unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from trainkit.core.errors import DataError

if TYPE_CHECKING:
    from trainkit.tasks.regression import Regression

Transform = Literal["none", "standardize", "log"]
"""What is done to targets before the model has to learn them; after `log`, they are standardised as well."""

SKEWED = 2.0
"""Positive targets with more skewness than this are learned as logarithms: a normal distribution has 0, an exponential
one 2."""
REACH = 20.0
"""Standard deviations, of logarithms, between which outputs and targets are kept: 0 has no logarithm, and the
exponential of an output far out of bounds would not fit into a float."""
FLOAT32 = torch.finfo(torch.float32)


class TargetStatistics(NamedTuple):
    """Of training targets, column by column."""

    transform: Transform
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skewness: tuple[float, ...]
    """Of the targets as they are."""


def scaled(targets: Tensor, index: Tensor, names: Sequence[str], wanted: str) -> TargetStatistics:
    """What is done to numbers before they are learned, measured on the training targets.

    Args:
        targets: of the training samples, shape (n, size).
        index: of the training samples in their source, for messages.
        names: of the numbers, if they have any.
        wanted: `auto`, `standardize` or `log`.

    Raises:
        DataError: that cannot be done to them.
    """
    for bad, problem in (
        (~targets.isfinite(), "data: the target{name} of training sample {sample} is {value:g}"),
        ((targets <= 0) & (wanted == "log"), LOG_OF_NOTHING),
    ):
        if bool(bad.any()):
            row, column = bad.nonzero()[0].tolist()
            name = f" {names[column]!r}" if names else ""
            raise DataError(problem.format(name=name, sample=int(index[row]), value=float(targets[row, column])))
    return statistics(targets, wanted)


LOG_OF_NOTHING = (
    "data.target_transform: log is for targets above 0, but the target{name} of training sample {sample} is {value:g}; "
    "use standardize"
)


def statistics(targets: Tensor, wanted: str) -> TargetStatistics:
    """Decide what is done to targets, shape (n, size), and measure what is needed for it, in double precision."""
    values = targets.double()
    skewness = _skewness(values)
    log = wanted == "log" or (wanted == "auto" and bool((values > 0).all()) and bool((skewness > SKEWED).all()))
    values = values.log() if log else values
    # Of equal numbers the standard deviation is 0 but for rounding, by which nothing must be divided.
    std = torch.where(_constant(values), 1.0, values.std(0, correction=0).clamp(FLOAT32.tiny, FLOAT32.max))
    return TargetStatistics(
        "log" if log else "standardize",
        tuple(values.mean(0).tolist()),
        tuple(std.tolist()),
        tuple(skewness.tolist()),
    )


def _constant(values: Tensor) -> Tensor:
    return values.amin(0) == values.amax(0)


def _skewness(values: Tensor) -> Tensor:
    """The third power of the deviations from the mean, in standard deviations; 0 for constants. Shape (size,)."""
    centered = values - values.mean(0)
    std = centered.square().mean(0).sqrt()
    return torch.where(_constant(values), 0.0, (centered / std).pow(3).mean(0))


class TargetScale:
    """The way from the user's unit to standard deviations, and back.

    Args:
        target: with a transform that is not `none`.
    """

    def __init__(self, target: Regression) -> None:
        self.log = target.transform == "log"
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (target.mean, target.std))
        ends = (mean - REACH * std).clamp(min=math.log(FLOAT32.tiny)), (mean + REACH * std).clamp(max=88.0)
        self._values = tuple(each.float() for each in (mean, std, ends[0].exp(), ends[1], std.square()))
        self._there = {torch.device("cpu"): self._values}

    def transform(self, targets: Tensor) -> Tensor:
        """From the user's unit, shape (batch, size), float32. Does not wait for the device.

        A logarithm is taken of nothing lower than `REACH` standard deviations below the mean, as which
        0 and less count.
        """
        mean, std, low, *_ = self._on(targets.device)
        targets = targets.float()
        targets = torch.maximum(targets, low).log() if self.log else targets
        return (targets - mean) / std

    def undo(self, outputs: Tensor) -> Tensor:
        """Back to it: shape (batch, size), float32. Does not wait for the device.

        Of logarithms, nothing goes higher than `REACH` standard deviations above the mean.
        """
        mean, std, _, high, _ = self._on(outputs.device)
        values = torch.addcmul(mean, outputs.float(), std)
        return torch.minimum(values, high).exp() if self.log else values

    def unit(self, device: torch.device, degree: Literal[1, 2]) -> Tensor:
        """One standard deviation in the user's unit, or (degree 2) its square. Shape (size,)."""
        return self._on(device)[{1: 1, 2: 4}[degree]]

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        if device not in self._there:
            self._there[device] = tuple(value.to(device) for value in self._values)
        return self._there[device]


MOST_NAMED = 3
"""Columns of which the statistics are shown."""


def described(target: Regression) -> str:
    """What is done to the targets, in words."""
    if target.transform == "none":
        return "as they are"
    moments = [f"mean {mean:.4g}, deviation {std:.4g}" for mean, std in zip(target.mean, target.std, strict=True)]
    how = "standardised"
    if target.transform == "log":
        how = "log, then standardised"
        moments = [f"skewness {skewness:.2g}" for skewness in target.skewness]
    if target.size == 1:
        words = f"{f'{target.names[0]}: ' if target.names else ''}{how} ({moments[0]})"
    else:
        each = [f"{name}: {one}" for name, one in zip(target.known_names, moments, strict=True)]
        more = f"; and {target.size - MOST_NAMED} more" if target.size > MOST_NAMED else ""
        words = f"{how} ({'; '.join(each[:MOST_NAMED])}{more})"
    return f"{words}; the loss is that of the logarithm" if target.transform == "log" else words
