"""Memorising a small part of the data: what cannot overfit one batch will not learn the whole either.

The check that Karpathy's "A Recipe for Training Neural Networks" (2019) and most courses begin with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import torch

from trainkit.checks.dataset_summary import attainable
from trainkit.core.errors import DataError
from trainkit.core.text import and_more
from trainkit.data import Data, TensorSource
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.loader import Loader
from trainkit.data.subset import train_subset
from trainkit.experiment.building import Opened, build
from trainkit.experiment.schema import CheckpointConfig, ExperimentConfig
from trainkit.models.base import count_parameters
from trainkit.tasks import Task
from trainkit.training.baseline_loss import constant_prediction
from trainkit.training.loop import Parts, evaluate, train_steps
from trainkit.training.metrics import metric_of
from trainkit.training.progress import Progress
from trainkit.training.schedulers import ConstantConfig

ENOUGH = 0.99
"""The share that has to be right: of classes or labels; of numbers, the share of their variance that is explained."""
NOTHING_LEARNED = 0.9
"""A loss above this share of the baseline loss shows that nothing was learned, however much is right."""
SPREAD = 1.3
"""The small part is evaluated after 1, 2, 3, … steps, each time after so many times as many."""


@dataclass(frozen=True, slots=True)
class Learned:
    """How well the small part was learned."""

    samples: int
    steps: int
    start: float
    """The loss before the first update."""
    losses: tuple[float, ...]
    """At every evaluation."""
    score: float
    """The share that is right in the end."""
    attainable: float
    """The share that can be right: less than 1 where equal inputs have different targets."""
    baseline_loss: float | None
    """That of the best constant prediction; None where the loss does not tell."""
    causes: tuple[str, ...]
    """What may be to blame; empty when it was learned."""

    @property
    def memorised(self) -> bool:
        if self.score < ENOUGH * self.attainable:
            return False
        # With a single sample or class the baseline loss is 0; that of equal inputs may be as high as the baseline.
        if self.baseline_loss is None or self.attainable < 1 or self.baseline_loss < 0.01 * self.start:
            return True
        return self.losses[-1] < NOTHING_LEARNED * self.baseline_loss

    @property
    def still_learning(self) -> bool:
        """Whether the loss was falling when it was given up."""
        return len(self.losses) > 1 and self.losses[-1] < min(0.98 * self.losses[-2], 0.9 * self.start)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = asdict(self)
        return {"guess": plain.pop("baseline_loss"), **plain, "by_heart": self.memorised}


def overfit(
    opened: Opened,
    *,
    samples: int,
    max_steps: int,
    report: Callable[[int, float, float], None] = lambda step, loss, score: None,
) -> Learned:
    """Train on the first samples of a random order until they are memorised, or for `max_steps` updates.

    Random transforms and the scheduler are left out: they are there to make this harder.

    Args:
        report: told step, loss and score now and then.
    """
    experiment = opened.experiment
    if samples % experiment.loader.batch_size == 1 and samples > 1:
        samples -= 1  # a last batch of one is more than BatchNorm can take
    few = train_subset(opened.data, samples)
    task, source = few.spec.task, few.train.source
    parts, plan = build(bare(experiment, task, samples), few, opened.device)
    loader = experiment.loader.eval_loader(few.train, opened.device)
    start, score = measure(parts, loader, task)
    found = Learned(
        samples=len(few.train),
        steps=0,
        start=start,
        losses=(),
        score=score,
        attainable=attainable(source, few.train.index, task) if isinstance(source, TensorSource) else 1.0,
        baseline_loss=constant_prediction(parts.loss_fn, few.train, task, experiment.loss.num_outputs(task)),
        causes=(),
    )
    progress, due = Progress(), 1
    for _ in islice(train_steps(parts, plan, progress), max_steps):
        if progress.step < min(due, max_steps):
            continue
        due = max(due + 1, round(due * SPREAD))
        loss, score = measure(parts, loader, task)
        score = 1 - loss / start if math.isnan(score) else score
        found = replace(found, steps=progress.step, losses=(*found.losses, loss), score=score)
        report(progress.step, loss, score)
        if found.memorised or not math.isfinite(loss):
            break
    causes = tuple(_causes(experiment, parts, found))
    return replace(found, causes=causes)


def bare(experiment: ExperimentConfig, task: Task, samples: int) -> ExperimentConfig:
    """The same for a few samples, without what makes learning harder or shorter, and with the one metric that says how
    much is right, where there is such a metric."""
    data, loader = experiment.data, experiment.loader
    if isinstance(data, ImageDataConfig):
        data = data.model_copy(update={"augment": ()})
    return experiment.model_copy(
        update={
            "data": data,
            "loader": loader.model_copy(
                update={"drop_last": loader.drop_last and samples >= loader.batch_size, "sampler": "shuffle"}
            ),
            "metrics": (metric_of(task.memorised),) if task.memorised else experiment.metrics,
            "scheduler": ConstantConfig(),
            "train": experiment.train.model_copy(update={"limit_batches": None, "early_stopping": None, "ema": None}),
            "checkpoint": CheckpointConfig(),
        }
    )


def measure(parts: Parts, loader: Loader, task: Task) -> tuple[float, float]:
    """Loss and score over a loader, of parts built from a bare experiment. The score is NaN where only the loss tells:
    of a task without such a metric, and of a single number, which has no variance."""
    metrics = evaluate(parts, loader)
    assert metrics is not None
    loss, score, *_ = metrics.values()
    return loss, score if task.memorised else math.nan


def _causes(experiment: ExperimentConfig, parts: Parts, found: Learned) -> Iterator[str]:
    lr, usual = experiment.optimizer.lr, experiment.optimizer.usual_lr
    default = type(experiment.optimizer).model_fields["lr"].default
    last, lowest = found.losses[-1], min(found.losses, key=lambda loss: loss if math.isfinite(loss) else math.inf)
    if found.attainable < 1:
        share = f"{found.attainable:.1%} is all that can be right"
        yield f"data: some of the samples are equal to others of another class; {share}"
    if found.memorised:
        return
    if not math.isfinite(last):
        yield f"optimizer.lr: the loss is no longer finite; {lr:g} is too high: optimizer.lr={lr / 10:g}"
        return
    if silent := [name for name, one in parts.model.named_parameters() if one.requires_grad and one.grad is None]:
        yield f"model: no gradient reaches {and_more(silent)}"
    if frozen := [name for name, one in parts.model.named_parameters() if not one.requires_grad]:
        yield f"model: {len(frozen)} parameters take no gradients ({and_more(frozen)}); what is left may be too little"
    if last > found.start or last > 2 * lowest or lr > usual[1]:
        rate = min(default, lr / 10)
        yield f"optimizer.lr: the loss goes up and down; {lr:g} is probably too high: optimizer.lr={rate:g}"
    elif last > 0.9 * found.start:
        rate = max(default, lr * 10)
        yield f"optimizer.lr: the loss hardly moves; {lr:g} is probably too low: optimizer.lr={rate:g}"
    elif found.still_learning:
        yield f"--steps: the loss still falls; give it more than {found.steps:,}"
    dropout = max((module.p for module in parts.model.modules() if isinstance(module, torch.nn.Dropout)), default=0.0)
    if dropout > 0:
        yield f"model: dropout of {dropout:g} works against memorising; set it to 0 for this test"
    parameters = count_parameters(parts.model.parameters())
    if parameters < found.samples:
        yield f"model: {parameters:,} parameters are few for {found.samples:,} samples; use a larger one"
    if last <= 0.9 * found.start and not found.still_learning:
        causes = "model: perhaps too small, or slow with this rate"
        yield f"{causes}: trainkit lr-find CONFIG, or a warning of trainkit check CONFIG"


def samples_of(experiment: ExperimentConfig, data: Data, fraction: float, batches: int | None) -> int:
    """How many samples a fraction of the training samples, or so many batches, are.

    Raises:
        DataError: there are not so many.
    """
    total = len(data.train)
    if batches is None:
        return max(1, round(total * fraction))
    if (count := batches * experiment.loader.batch_size) > total and batches > 1:
        raise DataError(f"command line: --batches: {count:,} samples, but there are {total:,} training samples")
    return min(count, total)


def score_text(task: Task, score: float) -> str:
    """What is told of a score: that so much is right, of numbers the share of their variance that is explained."""
    return f"r2 {score:.4f}" if task.memorised == "r2" else f"{score:.2%} right"


def overfit_lines(found: Learned, score: str) -> list[str]:
    """The result as text."""
    what = f"{found.samples:,} samples: {score} after {found.steps:,} steps"
    baseline = "" if found.baseline_loss is None else f" (constant prediction: {found.baseline_loss:.4g})"
    last = f", loss {found.start:.4g} to {found.losses[-1]:.4g}{baseline}"
    outcome = "memorised" if found.memorised else "not memorised"
    return [f"{outcome}: {what}{last}", *(f"  {cause}" for cause in found.causes)]
