"""What the curves of a run say, by stated rules, and what to try."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Literal

from trainkit.core.text import format_metric
from trainkit.runs.history import History
from trainkit.training.yardstick import Yardstick

Kind = Literal[
    "diverged",
    "no better than a constant prediction",
    "unstable",
    "over-fitting",
    "under-fitting",
    "still improving",
    "plateau",
]

RISE = 0.1
"""Validation loss that has risen by this share above its lowest is over-fitting, if training loss has fallen…"""
NOISE = 3.0
"""…and by so many standard deviations of single evaluations."""
RAISED = 1.2
"""A rate so many times as high is one that the schedule has raised."""
JUMP = 0.2
"""A mean training loss of an epoch that is this share above the lowest before it is no noise…"""
WORTH = 0.05
"""…provided that it is this share of the loss at the start."""
UNLEARNED = 0.7
"""A final training loss above this share of the baseline loss says that little was learned."""
OVERSHOT = 1.5
"""One so many times as high comes from a learning rate that is too high."""
CHANGE = 0.01
"""Validation loss that moves by less than this share over the last third of the evaluations stands still."""
FEWEST_STEPS = 10
"""Means over fewer steps jump by chance: of shorter epochs several are taken together."""
STILL_HIGH = 2.0
"""A training loss that stays above so many times what it began with, and what a constant prediction costs, has
diverged…"""
MOST_RECORDS = 4
"""…if there are so many records of it in the second half of the run."""
DIVERGED = 10.0
"""A training loss so many times what an untrained model costs is none from which anything is learned."""
MORE_EPOCHS = "more epochs"
FEWEST = 3
"""With fewer evaluations nothing is said of a plateau or of over-fitting."""


@dataclass(frozen=True, slots=True)
class CurveDiagnosis:
    """One thing that the curves say."""

    kind: Kind
    seen: str
    """In numbers."""
    advice: str
    """Overrides, or a few words."""

    def __str__(self) -> str:
        return f"{self.kind}{self.seen}; try {self.advice}"


@dataclass(frozen=True, slots=True)
class Rates:
    """A learning rate among those that are usual for its optimizer."""

    lr: float
    usual: tuple[float, float]
    default: float

    def times(self, factor: float) -> float | None:
        """The rate times a factor; the default where that is unusual; None where that is no step in this direction."""
        low, high = self.usual
        other = float(f"{self.lr * factor:.1g}")
        other = other if low <= other <= high else self.default
        return other if (other - self.lr) * (factor - 1) > 0 else None


def longer_helps(found: Sequence[CurveDiagnosis]) -> bool:
    """Whether the same training for longer does not go against what was said of it."""
    if any(one.kind in ("diverged", "unstable", "over-fitting", "plateau") for one in found):
        return False
    return not found or found[-1].kind == "still improving" or MORE_EPOCHS in found[-1].advice


def no_better(
    metrics: Mapping[str, float], beside: Mapping[str, Yardstick], monitor: str, mode: str, command: str
) -> list[CurveDiagnosis]:
    """Compare the monitored metric with what a constant prediction gives: it is no better where it is worse, and where
    chance alone would explain the difference.

    Args:
        metrics, beside: by names with the split.
        command: what to try.
    """
    for name in (f"val/{monitor}", f"test/{monitor}"):
        if name not in metrics or name not in beside or beside[name].constant is None:
            continue
        if beside[name].beaten_by(metrics[name], mode):
            return []
        interval = beside[name].interval()
        likely = f" (95 % interval {interval})" if interval else ""
        seen = f": {format_metric(name, metrics[name])}{likely}, where it gives {beside[name].said(name)}"
        return [CurveDiagnosis("no better than a constant prediction", seen, command)]
    return []


def diverged(history: History, baseline_loss: float | None, first_loss: float | None) -> str | None:
    """What says that a run whose losses are numbers has diverged: in the whole second half of the run the training loss
    is twice what it was at the start and what a constant prediction costs; or it is above that, and the validation loss
    twice as high. Of a loss that may be negative nothing is said: it has no scale."""
    steps, vals = history.steps, history.of("val")
    if baseline_loss is None or first_loss is None or min(baseline_loss, first_loss) <= 0:
        return None
    half = steps[-1].epoch / 2 if steps else 0.0
    train = [record.loss for record in steps if record.epoch > half and math.isfinite(record.loss)]
    val = [record.metrics["loss"] for record in vals if record.epoch > half]
    usual = max(baseline_loss, first_loss)
    if len(train) < MOST_RECORDS or min(train) <= usual:
        return None
    name, least = ("train", min(train)) if min(train) > STILL_HIGH * usual else ("val", min(val, default=0.0))
    if not least > STILL_HIGH * usual:
        return None
    return (
        f"{name}/loss is never below {least:.3g} in the second half of the run: it began with {first_loss:.3g}, "
        f"a constant prediction costs {baseline_loss:.3g}"
    )


def diagnose(
    history: History, *, baseline_loss: float | None, rates: Rates, longer: str, stopping: bool = False
) -> list[CurveDiagnosis]:
    """Judge a run by its history.

    - *diverged*: as `diverged` has it; then nothing else is said.
    - *unstable*: the mean training loss of an epoch is 20 % above the lowest before it, and by 5 % of the first, though
      the schedule has not raised the learning rate in between. Epochs of a few steps are taken together.
    - *over-fitting since epoch N*: after its lowest value at epoch N the validation loss has risen by 10 % or more, in
      the last two evaluations, and by more than noise explains, and the training loss has fallen in that time; and what
      is monitored has not got better in the last third of the evaluations.
    - *under-fitting*: the last training loss is above 70 % of the baseline loss, and so is the last validation loss.
    - *still improving*: the last validation loss is the lowest, 1 % or more below that of a third of the run before.
    - *plateau*: over the last third of the evaluations, of three or more, validation loss has moved by less than 1 %.

    At most one of the last four holds; the first of them counts. Beside *unstable*, no other rate and no longer run is
    advised.

    Args:
        baseline_loss: of the best constant prediction; None where it is not known: the first loss counts.
        rates, longer: of the run, for what to try.
        stopping: it stops early as it is.
    """
    first = history.steps[0].loss if history.steps else None
    if seen := diverged(history, baseline_loss, first):
        return [CurveDiagnosis("diverged", f": {seen}", _slower(rates))]
    found = [] if (jump := _jump(history)) is None else [CurveDiagnosis("unstable", jump, _slower(rates))]
    losses = [(record.epoch, record.metrics["loss"]) for record in history.of("val")]
    losses = [(epoch, loss) for epoch, loss in losses if math.isfinite(loss)]
    other = (
        _over_fitting(history, losses, stopping)
        or _under_fitting(history, losses, baseline_loss, rates)
        or _still_improving(losses, longer)
        or _plateau(losses)
    )
    # Of an unstable run neither a higher rate nor more epochs.
    if found and other and (other[0].kind == "still improving" or MORE_EPOCHS in other[0].advice):
        other = [replace(other[0], advice="that first")]
    return found + other


def _jump(history: History) -> str | None:
    if not history.epochs:
        return None
    together = math.ceil(FEWEST_STEPS * history.epochs[0].epoch / history.epochs[0].step)
    whole = range(together, len(history.epochs) + 1, together)
    groups = [history.epochs[end - together : end] for end in whole]
    losses = [fmean(record.loss for record in group) for group in groups]
    for index, loss in enumerate(losses[1:], 1):
        lowest = min(losses[:index])
        if loss > lowest + JUMP * abs(lowest) and loss - lowest > WORTH * abs(losses[0]):
            epoch = groups[index][-1].epoch
            if _rate(history, epoch) > RAISED * _rate(history, groups[losses.index(lowest)][-1].epoch):
                continue  # a schedule that rises again, as with restarts
            return f": train/loss went from {lowest:.3g} up to {loss:.3g} in epoch {epoch}"
    return None


def _rate(history: History, epoch: int) -> float:
    """The highest learning rate of an epoch, as far as it was recorded."""
    return max((record.lr for record in history.steps if epoch - 1 < record.epoch <= epoch), default=0.0)


def _slower(rates: Rates) -> str:
    lower = rates.times(1 / 3)
    return f"optimizer.lr={lower:g} or train.clip_norm=1" if lower else "train.clip_norm=1"


def _over_fitting(history: History, losses: Sequence[tuple[float, float]], stopping: bool) -> list[CurveDiagnosis]:
    if len(losses) < FEWEST or any(record.best for record in history.of("val")[-_third(losses) :]):
        return []
    epoch, lowest = min(losses, key=lambda item: item[1])
    last = losses[-1][1]
    late = min(loss for _, loss in losses[-2:])
    then = [record.loss for record in history.epochs if record.epoch <= max(epoch, 1)]
    if (
        late < lowest + max(RISE * abs(lowest), NOISE * _noise(losses))
        or not then
        or not history.epochs[-1].loss < then[-1]
    ):
        return []
    seen = (
        f" since epoch {epoch:.3g}: val/loss went from {lowest:.3g} up to {last:.3g}, while train/loss fell from "
        f"{then[-1]:.3g} to {history.epochs[-1].loss:.3g}"
    )
    advice = "more data, or dropout" if stopping else "train.early_stopping.patience=3, more data, or dropout"
    return [CurveDiagnosis("over-fitting", seen, advice)]


def _noise(losses: Sequence[tuple[float, float]]) -> float:
    """The standard deviation of single evaluations: of normal noise, second differences have sqrt(6) times as much, and
    half of them are within 0.674 of that."""
    late = [loss for _, loss in losses[len(losses) // 3 :]]
    second = [abs(one - 2 * two + three) for one, two, three in zip(late, late[1:], late[2:], strict=False)]
    return median(second) / 0.674 / math.sqrt(6) if second else 0.0


def _under_fitting(
    history: History, losses: Sequence[tuple[float, float]], baseline_loss: float | None, rates: Rates
) -> list[CurveDiagnosis]:
    if not history.steps:
        return []
    first = history.steps[0].loss
    reference = first if baseline_loss is None else baseline_loss
    last = history.epochs[-1].loss if history.epochs else history.steps[-1].loss
    # The mean over a first epoch is high even when much has been learned by its end.
    if not last > UNLEARNED * reference or (losses and losses[-1][1] <= UNLEARNED * reference):
        return []
    what = f"at the start it was {first:.3g}" if baseline_loss is None else ""
    seen = (
        f": train/loss is {last:.3g} at the end, {what or f'the baseline loss {reference:.3g} (constant prediction)'}"
    )
    # Numbers far from 0 begin far above it; there only a loss that has risen tells of too high a rate.
    overshot = (last > OVERSHOT * reference and last > first) or rates.lr > rates.usual[1]
    other = rates.times(0.1 if overshot else 10)
    advice = [f"optimizer.lr={other:g}"] if other else []
    if not overshot:
        advice += [MORE_EPOCHS, "a larger model"]
    return [CurveDiagnosis("under-fitting", seen, ", or ".join(advice) or "train.clip_norm=1")]


def _still_improving(losses: Sequence[tuple[float, float]], longer: str) -> list[CurveDiagnosis]:
    if len(losses) < 2:
        return []
    before, last = losses[-1 - _third(losses)][1], losses[-1][1]
    if last > min(loss for _, loss in losses) or last == before or before - last < CHANGE * abs(before):
        return []
    return [CurveDiagnosis("still improving", f": val/loss fell from {before:.3g} to {last:.3g}", longer)]


def _plateau(losses: Sequence[tuple[float, float]]) -> list[CurveDiagnosis]:
    if len(losses) < FEWEST:
        return []
    late = [loss for _, loss in losses[-1 - _third(losses) :]]
    if max(late) - min(late) > CHANGE * max(map(abs, late)):
        return []
    seen = f" since epoch {losses[-1 - _third(losses)][0]:.3g}: val/loss stays at {late[-1]:.3g}"
    return [CurveDiagnosis("plateau", seen, "scheduler=cosine, or fewer epochs")]


def _third(losses: Sequence[tuple[float, float]]) -> int:
    """Evaluations in the last third of the run."""
    return max(1, len(losses) // 3)
