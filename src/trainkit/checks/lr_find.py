"""Learning rates tried one by one for a few steps, each from the same beginning.

After Smith, "Cyclical Learning Rates for Training Neural Networks" (2017, arXiv:1506.01186). There, one training runs
through all rates, so that what a rate shows depends on those before it; here each starts from the same weights with the
same batches.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from trainkit.core.seeding import generators_restored
from trainkit.data.subset import train_subset
from trainkit.experiment.building import Opened, build
from trainkit.experiment.schema import ExperimentConfig
from trainkit.plots.figures import Series
from trainkit.training.loop import train_steps
from trainkit.training.progress import Progress
from trainkit.training.schedulers import ConstantConfig

LATE = 0.25
"""The loss of a rate is the mean over this share of its steps, the last ones."""
FALL = 0.05
"""A curve that falls by less than this share shows nothing."""
SAFE = 0.1
"""The suggestion is the smallest rate whose loss has fallen as far as that of the best one, but for this share."""
LOST = 4.0
"""Beyond so many times the loss at the beginning, twice in a row, higher rates are not tried."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One learning rate."""

    lr: float
    loss: float
    """Mean of the last quarter of its steps; NaN or infinite where it diverged."""
    smooth: float
    """The median of it and its neighbours'."""


@dataclass(frozen=True, slots=True)
class LrCurve:
    """What all of them gave."""

    tried: tuple[Tried, ...]
    steps: int
    """Updates for each."""
    start: float
    """The loss at the first step, before anything was learned."""
    suggestion: float | None
    """None where the curve shows none."""
    reason: str

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rates(low: float, high: float) -> list[float]:
    """1, 2 and 5 of every decade between `low` and `high`, and these two."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 2, 5)]
    return [low, *(rate for rate in every if low * 1.001 < rate < high * 0.999), high]


def lr_find(
    opened: Opened,
    *,
    low: float,
    high: float,
    steps: int,
    report: Callable[[float, float], None] = lambda lr, loss: None,
) -> LrCurve:
    """Try the learning rates from `low` to `high` for so many updates each. Nothing of it is left behind.

    Args:
        report: told each rate and its loss.
    """
    loader, train = opened.experiment.loader, opened.experiment.train
    few = train_subset(opened.data, steps * loader.batch_size * train.accumulate)
    losses: dict[float, float] = {}
    start = math.nan
    with generators_restored():
        for rate in rates(low, high):
            every = losses_with(replace(opened, data=few), rate, steps)
            start = every[0] if every and math.isnan(start) else start
            late = every[-max(1, round(LATE * steps)) :]
            losses[rate] = sum(late) / len(late) if late else math.inf
            report(rate, losses[rate])
            if len(losses) > 1 and all(loss > LOST * abs(start) for loss in [*losses.values()][-2:]):
                break
    smooth = _smooth(list(losses.values()))
    tried = tuple(Tried(lr, loss, even) for (lr, loss), even in zip(losses.items(), smooth, strict=True))
    suggestion, reason = suggest(tried, start)
    return LrCurve(tried, steps, start, suggestion, reason)


def losses_with(opened: Opened, lr: float, steps: int) -> list[float]:
    """The loss of every step with this learning rate; none where it diverged."""
    experiment = with_lr(opened.experiment, lr).model_copy(update={"scheduler": ConstantConfig()})
    parts, plan = build(experiment, opened.data, opened.device)
    updates = islice(train_steps(parts, plan, Progress()), steps)
    losses: list[float] = torch.stack([output.loss for output in updates]).tolist()
    return losses if all(map(math.isfinite, losses)) else []


def with_lr(experiment: ExperimentConfig, lr: float) -> ExperimentConfig:
    """The same with this learning rate, and in proportion for the last layer."""
    optimizer = experiment.optimizer
    head_lr = None if optimizer.head_lr is None else optimizer.head_lr * lr / optimizer.lr
    optimizer = optimizer.model_copy(update={"lr": lr, "head_lr": head_lr})
    return experiment.model_copy(update={"optimizer": optimizer})


def _smooth(losses: Sequence[float]) -> list[float]:
    """The median of each and its neighbours; of both ends, of two that is the higher one."""
    found = []
    for place in range(len(losses)):
        near = sorted(losses[max(0, place - 1) : place + 2])
        found.append(near[len(near) // 2])
    return found


def suggest(tried: Sequence[Tried], start: float) -> tuple[float | None, str]:
    """A learning rate by the rule at the top, and why; None where the curve shows none."""
    finite = [one for one in tried if math.isfinite(one.smooth)]
    if not finite or not math.isfinite(start):
        return None, "no rate gave a finite loss; look for NaN in the data and for log, sqrt and division in the model"
    best = min(finite, key=lambda one: one.smooth)
    fall = start - best.smooth
    if fall < FALL * abs(start):
        return None, (
            f"no rate brought the loss down by {FALL:.0%} from {start:.4g}; try more steps, or look for a mistake with "
            "trainkit overfit CONFIG"
        )
    enough = next(one for one in finite if start - one.smooth >= (1 - SAFE) * fall)
    if enough is tried[0] or best is tried[-1]:
        end = "lower" if enough is tried[0] else "higher"
        return enough.lr, f"the best of those tried lies at the end of the range; {end} ones may do as well"
    return (
        enough.lr,
        f"the smallest rate that brings the loss nearly as far down as {best.lr:g}, the lowest of the smoothed curve",
    )


def write(curve: LrCurve, place: Path, configured: float) -> list[Path]:
    """`lr_find.csv`, `lr_find.png` and TensorBoard's events below a directory."""
    rows = [("lr", "loss", "smooth"), *((one.lr, one.loss, one.smooth) for one in curve.tried)]
    table, picture = place / "lr_find.csv", place / "lr_find.png"
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    _draw(curve, picture, configured)
    _to_tensorboard(curve, place / "tb", picture)
    return [table, picture]


def _draw(curve: LrCurve, path: Path, configured: float) -> None:
    from trainkit.plots.charts import write_png  # matplotlib, only for those who need it

    finite = [one for one in curve.tried if math.isfinite(one.loss)]
    smooth = [one for one in curve.tried if math.isfinite(one.smooth)]
    series = [
        Series("loss", [one.lr for one in finite], [one.loss for one in finite], "points"),
        Series("smoothed", [one.lr for one in smooth], [one.smooth for one in smooth]),
        Series("at the start", [curve.tried[0].lr, curve.tried[-1].lr], [curve.start] * 2, "faint"),
        Series(f"configured: {configured:g}", [configured], [], "upright"),
    ]
    if curve.suggestion:
        series.append(Series(f"suggested: {curve.suggestion:g}", [curve.suggestion], [], "upright"))
    ylim = None
    if finite and math.isfinite(curve.start):  # what has diverged would take all the room
        lowest = min(one.loss for one in finite)
        room = abs(curve.start - lowest) + 1e-9
        ylim = min(lowest, curve.start) - 0.05 * room, curve.start + 0.5 * room
    ylabel = f"loss after {curve.steps} steps"
    write_png(path, "", series, xlabel="learning rate", ylabel=ylabel, log=True, ylim=ylim)


def _to_tensorboard(curve: LrCurve, place: Path, picture: Path) -> None:
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(place)) as writer:
        for number, one in enumerate(curve.tried):
            writer.add_scalar("lr_find/lr", one.lr, number)
            if math.isfinite(one.loss):
                writer.add_scalar("lr_find/loss", one.loss, number)
                writer.add_scalar("lr_find/smooth", one.smooth, number)
        writer.add_image("lr_find/curve", np.asarray(Image.open(picture).convert("RGB")), dataformats="HWC")


def lr_find_lines(curve: LrCurve, configured: float) -> list[str]:
    """The result as text."""
    if curve.suggestion is None:
        return [f"no suggestion: {curve.reason}"]
    beside = f" (configured: {configured:g})"
    return [f"optimizer.lr={curve.suggestion:g}{beside}: {curve.reason}"]
