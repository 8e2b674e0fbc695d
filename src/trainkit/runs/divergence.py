"""When a training loss that is still a number says that the training has diverged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import torch

from trainkit.core.errors import DivergedError
from trainkit.core.seeding import generators_restored
from trainkit.experiment.building import build_eval
from trainkit.runs import history
from trainkit.runs.context import RunContext
from trainkit.runs.learning_curves import DIVERGED, diverged
from trainkit.runs.summary_lines import baseline_loss
from trainkit.training.loop import evaluate


def judge(job: RunContext, loss: float, stop: Callable[[], bool]) -> None:
    """Compare a mean training loss with what it costs to have learned nothing.

    Only above ten times the loss of the first step are others computed, which takes a pass over the training samples:
    that of the untrained model, by the loss as it is now, and that of the best constant prediction, where there is one.
    Of a loss that may be negative nothing is said: it has no scale.

    Raises:
        DivergedError: it is above ten times each of them.
    """
    first = job.progress.first_loss
    if first is None or not loss > DIVERGED * first > 0:
        return
    with generators_restored(), suppress(torch.OutOfMemoryError, MemoryError):  # a second model
        untrained = _untrained(job, stop)
        baseline = baseline_loss(job.experiment, job.data, job.parts.loss_fn)
        if untrained is None or min(untrained, baseline or untrained) <= 0:
            return
        if loss > DIVERGED * max(untrained, baseline or untrained):
            costs = f"the untrained model had {untrained:.3g}" + (
                f", a constant prediction costs {baseline:.3g}" if baseline else ""
            )
            step, lr = job.progress.step, job.parts.optimizer.param_groups[0]["lr"]
            raise DivergedError(f"train/loss is still {loss:.3g} at step {step} (learning rate {lr:g}): {costs}")


def judge_whole(job: RunContext, baseline: float | None) -> None:
    """Judge a run at its end by all of its losses, unless it was a quick try.

    Args:
        baseline: the loss of the best constant prediction.

    Raises:
        DivergedError: they stayed far above what they began with, and above that.
    """
    if job.experiment.train.limit_batches:
        return
    if seen := diverged(history.read(job.directory.metrics), baseline, job.progress.first_loss):
        raise DivergedError(f"{seen} (learning rate {job.experiment.optimizer.lr:g})")


def _untrained(job: RunContext, stop: Callable[[], bool]) -> float | None:
    """The loss of a model that has learned nothing on the training samples; None when `stop` asks in between."""
    experiment, parts = job.experiment, job.parts
    fresh = build_eval(experiment.restored(), job.data.spec, parts.device)
    loader = experiment.loader.eval_loader(job.data.train, parts.device, experiment.train.limit_batches)
    found = evaluate(replace(fresh, loss_fn=parts.loss_fn, metrics={}), loader, stop)
    return None if found is None else found["loss"]
