"""A model's predictions for some samples, with their targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.core import nest
from trainkit.core.errors import ConfigError
from trainkit.data import Batch
from trainkit.data.loader import Loader
from trainkit.plots.figures import Tile
from trainkit.tasks import Task
from trainkit.training.loop import EvalParts, evaluate
from trainkit.training.losses import LossOutput


def predictions_of(
    parts: EvalParts, loader: Loader, task: Task, stop: Callable[[], bool] = lambda: False
) -> Predictions | None:
    """The predictions for all samples of a loader, in their order: one pass. None when `stop` asks in between.

    Raises:
        ConfigError: what the loss calls outputs are no predictions.
    """
    outputs: list[Tensor] = []
    targets: list[Tensor] = []

    def watch(batch: Batch, outcome: LossOutput) -> None:
        if not task.predicts(outcome.outputs):
            if not isinstance(outcome.outputs, Tensor):
                raise ConfigError(f"the loss gives {nest.described(outcome.outputs)}, which are no predictions")
            shape = tuple(outcome.outputs.shape)
            raise ConfigError(f"the outputs {shape} are not one for each of {task.size} {task.noun[1]}")
        outputs.append(task.kept(outcome.outputs))
        targets.append(batch.targets)

    if evaluate(parts, loader, stop, watch) is None:
        return None
    return Predictions(torch.cat(outputs), torch.cat(targets), task)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of some samples, and what is true."""

    outputs: Tensor
    """As the task keeps them."""
    targets: Tensor
    task: Task

    def at(self, indices: Tensor | slice) -> Predictions:
        """Of these samples alone, on the CPU."""
        return Predictions(self.outputs[indices].cpu(), self.targets[indices].cpu(), self.task)

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
