"""A model's predictions for some samples, with their targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainkit.core import nest
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.data import Batch
from trainkit.data.loader import Loader
from trainkit.plots.figures import Tile
from trainkit.tasks import Details, Findings, Task
from trainkit.training.loop import EvalParts, evaluate
from trainkit.training.losses import LossOutput


def predictions_of(
    parts: EvalParts, loader: Loader, task: Task, stop: Callable[[], bool] = lambda: False
) -> Predictions | None:
    """The predictions for all samples of a loader, in their order: one pass. None when `stop` asks in between.

    Raises:
        ConfigError: what the loss calls outputs are no predictions.
    """
    outputs: list[Nest] = []
    targets: list[Nest] = []
    details = task.details(parts.device)

    def watch(batch: Batch, outcome: LossOutput) -> None:
        if not task.predicts(outcome.outputs):
            if not isinstance(outcome.outputs, Tensor):
                raise ConfigError(f"the loss gives {nest.described(outcome.outputs)}, which are no predictions")
            shape = tuple(outcome.outputs.shape)
            raise ConfigError(f"the outputs {shape} are not one for each of {task.size} {task.noun[1]}")
        outputs.append(task.kept(outcome.outputs))
        targets.append(batch.targets)
        if details:
            details.update(outcome.outputs, batch.targets, batch)

    if evaluate(parts, loader, stop, watch) is None:
        return None
    return Predictions(nest.cat(outputs), nest.cat(targets), task, details)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of some samples, and what is true."""

    outputs: Nest
    """As the task keeps them."""
    targets: Nest
    task: Task
    details: Details | None = None
    """What the task has counted of all of them."""

    def __len__(self) -> int:
        return nest.num_samples(self.targets)

    def cpu(self) -> Predictions:
        """The same on the CPU."""
        return replace(self, outputs=nest.cpu(self.outputs), targets=nest.cpu(self.targets))

    def at(self, indices: Tensor) -> Predictions:
        """Of these samples alone, on the CPU."""
        outputs, targets = (nest.cpu(nest.take(each, indices)) for each in (self.outputs, self.targets))
        return Predictions(outputs, targets, self.task)

    def findings(self, split: str) -> Findings:
        """What they show of a whole split."""
        return self.task.findings(self.details, self.outputs, self.targets, split)

    def errors(self) -> Tensor:
        """How wrong the model is, one number for each sample, shape (n,)."""
        return self.task.errors(self.outputs, self.targets)

    def worst(self, count: int) -> Tensor:
        """The indices of the wrong predictions with the largest errors, the worst first."""
        errors = torch.where(self.task.wrong(self.outputs, self.targets), self.errors(), -math.inf)
        values, indices = errors.topk(min(count, len(errors)))
        return indices[values > -math.inf].cpu()

    def tiles(self, pictures: Tensor) -> list[Tile]:
        """Pictures with their labels and predictions."""
        return self.task.tiles(pictures, self.outputs, self.targets)
