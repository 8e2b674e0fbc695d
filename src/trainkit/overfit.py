"""Learning a small part of the data by heart: what cannot do that will not learn the whole either.

The check that Karpathy's "A Recipe for Training Neural Networks" (2019) and most courses begin with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import torch

from trainkit.building import Opened, build
from trainkit.data import Data, TargetSpec, TensorSource
from trainkit.data.loading import Loader
from trainkit.data.part import part
from trainkit.data.transforms import ImageDataConfig
from trainkit.errors import DataError, and_more
from trainkit.experiment import CheckpointConfig, ExperimentConfig
from trainkit.loop import Parts, evaluate, train_steps
from trainkit.metrics import AccuracyConfig, R2Config
from trainkit.progress import Progress
from trainkit.schedulers import ConstantConfig
from trainkit.survey import duplicates

ENOUGH = 0.99
"""The share that has to be right: of classes or labels; of numbers, the share of their variance that is explained."""
LOOKS = 20
"""How often the small part is evaluated, at most."""


@dataclass(frozen=True, slots=True)
class Learned:
    """How well the small part was learned."""

    samples: int
    steps: int
    start: float
    """The loss before the first update."""
    losses: tuple[float, ...]
    """At every look."""
    score: float
    """The share that is right in the end."""
    causes: tuple[str, ...]
    """What may be to blame; empty when it was learned."""

    @property
    def by_heart(self) -> bool:
        return self.score >= ENOUGH

    @property
    def still_learning(self) -> bool:
        """Whether the loss was falling when it was given up."""
        return len(self.losses) > 2 and self.losses[-1] < min(0.98 * self.losses[-3], 0.5 * self.start)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "by_heart": self.by_heart}


def overfit(
    opened: Opened,
    *,
    samples: int,
    max_steps: int,
    look: Callable[[int, float, float], None] = lambda step, loss, score: None,
) -> Learned:
    """Train on the first samples of a random order until they are known by heart, or for `max_steps` updates.

    Random transforms and the scheduler are left out: they are there to make this harder.

    Args:
        look: told step, loss and score now and then.
    """
    few, experiment = part(opened.data, samples), opened.experiment
    parts, plan = build(bare(experiment, few.spec.target), few, opened.device)
    loader = experiment.loader.eval_loader(few.train, opened.device)
    every = max(1, min(max_steps // LOOKS, 2 * plan.steps_per_epoch))
    start, score = measure(parts, loader)
    losses: list[float] = []
    progress = Progress()
    for _ in islice(train_steps(parts, plan, progress), max_steps):
        if progress.step % every and progress.step < max_steps:
            continue
        loss, score = measure(parts, loader)
        losses.append(loss)
        look(progress.step, loss, score)
        if score >= ENOUGH or not math.isfinite(loss):
            break
    found = Learned(len(few.train), progress.step, start, tuple(losses), score, ())
    if found.by_heart:
        return found
    causes = tuple(_causes(experiment, few, parts, found))
    return replace(found, causes=causes or ("model: perhaps too small, or slow with this rate: trainkit lr-find",))


def bare(experiment: ExperimentConfig, target: TargetSpec) -> ExperimentConfig:
    """The same without what makes learning harder or shorter, and with the one metric that says how much is right."""
    data = experiment.data
    if isinstance(data, ImageDataConfig):
        data = data.model_copy(update={"augment": ()})
    return experiment.model_copy(
        update={
            "data": data,
            "loader": experiment.loader.model_copy(update={"drop_last": False, "sampler": "shuffle"}),
            "metrics": (R2Config() if target.kind == "number" else AccuracyConfig(),),
            "scheduler": ConstantConfig(),
            "train": experiment.train.model_copy(update={"limit_batches": None, "early_stopping": None, "ema": None}),
            "checkpoint": CheckpointConfig(),
        }
    )


def measure(parts: Parts, loader: Loader) -> tuple[float, float]:
    """Loss and score over a loader, of parts built from a bare experiment."""
    metrics = evaluate(parts, loader)
    assert metrics is not None
    loss, score = metrics.values()
    return loss, score


def _causes(experiment: ExperimentConfig, data: Data, parts: Parts, found: Learned) -> Iterator[str]:
    lr = experiment.optimizer.lr
    last = found.losses[-1] if found.losses else math.nan
    lowest = min((loss for loss in found.losses if math.isfinite(loss)), default=math.inf)
    if not math.isfinite(last):
        yield f"optimizer.lr: the loss is no number any more; {lr:g} is too high: optimizer.lr={lr / 10:g}"
        return
    source = data.train.source
    same = duplicates(source, data.train.index)[1] if isinstance(source, TensorSource) else 0
    if same > len(data.train) / 100:
        yield f"data: {same:,} of the samples are equal to others of another class; nothing can tell them apart"
    if silent := [name for name, one in parts.model.named_parameters() if one.requires_grad and one.grad is None]:
        yield f"model: no gradient reaches {and_more(silent)}"
    if frozen := [name for name, one in parts.model.named_parameters() if not one.requires_grad]:
        yield f"model: {and_more(frozen)} of its parameters take no gradients, and what is left may be too little"
    high = experiment.optimizer.usual_lr[1]
    if last > found.start or last > 2 * lowest or lr > high:
        rate = min(type(experiment.optimizer).model_fields["lr"].default, lr / 10)
        yield f"optimizer.lr: the loss goes up and down; {lr:g} is probably too high: optimizer.lr={rate:g}"
    elif last > 0.9 * found.start:
        rate = max(type(experiment.optimizer).model_fields["lr"].default, lr * 10)
        yield f"optimizer.lr: the loss hardly moves; {lr:g} is probably too low: optimizer.lr={rate:g}"
    elif found.still_learning:
        yield f"--steps: the loss still falls; give it more than {found.steps:,}"
    dropout = max((module.p for module in parts.model.modules() if isinstance(module, torch.nn.Dropout)), default=0.0)
    if dropout > 0:
        yield f"model: dropout of {dropout:g} works against learning by heart; leave it out for this test"
    parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    if parameters < found.samples:
        yield f"model: {parameters:,} parameters are few for {found.samples:,} samples; use a larger one"
    if lr == 0 or not found.losses:
        yield "--steps: no update was made"


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


def lines(found: Learned) -> list[str]:
    """The result as text."""
    what = f"{found.samples:,} samples: {found.score:.2%} right after {found.steps:,} steps"
    last = f", loss {found.start:.4g} to {found.losses[-1]:.4g}" if found.losses else ""
    verdict = "learned by heart" if found.by_heart else f"not learned by heart (less than {ENOUGH:.0%})"
    return [f"{verdict}: {what}{last}", *(f"  {cause}" for cause in found.causes)]
