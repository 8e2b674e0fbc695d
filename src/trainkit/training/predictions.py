"""A model's predictions for some samples: how confident they are, which are wrong, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.core import nest
from trainkit.core.errors import ConfigError
from trainkit.data import Batch, TargetSpec
from trainkit.data.loader import Loader
from trainkit.plots.images import Tile
from trainkit.training.confusion import class_names, decisions
from trainkit.training.loop import EvalParts, evaluate
from trainkit.training.losses import LossOutput
from trainkit.training.metrics import squared_error


def predictions_of(
    parts: EvalParts, loader: Loader, target: TargetSpec, stop: Callable[[], bool] = lambda: False
) -> Predictions | None:
    """The predictions for all samples of a loader, in their order: one pass. None when `stop` asks in between.

    Raises:
        ConfigError: what the loss calls outputs are no predictions.
    """
    outputs: list[Tensor] = []
    targets: list[Tensor] = []

    def watch(batch: Batch, outcome: LossOutput) -> None:
        if not isinstance(outcome.outputs, Tensor):
            raise ConfigError(f"the loss gives {nest.described(outcome.outputs)}, which are no predictions")
        outputs.append(outcome.outputs.float())
        targets.append(batch.targets)

    if evaluate(parts, loader, stop, watch) is None:
        return None
    predicted = torch.cat(outputs)
    if predicted.ndim != 2 or not target.answered_by(predicted.shape[1]):
        raise ConfigError(f"the outputs {tuple(predicted.shape)} are not one for each of {target.size} {target.plural}")
    return Predictions(predicted, torch.cat(targets), target)


@dataclass(frozen=True, slots=True)
class Predictions:
    """A model's outputs for some samples, with their targets."""

    outputs: Tensor
    """Shape (n, num_outputs)."""
    targets: Tensor
    """Shape (n,) or (n, size)."""
    target: TargetSpec

    def has(self, number: int) -> Tensor:
        """Which samples are of this class or have this label, shape (n,), bool."""
        return self.targets == number if self.target.kind == "classification" else self.targets[:, number] > 0.5

    def at(self, indices: Tensor | slice) -> Predictions:
        """Of these samples alone, on the CPU."""
        return Predictions(self.outputs[indices].cpu(), self.targets[indices].cpu(), self.target)

    def probabilities(self) -> Tensor:
        """Of every class or label, shape (n, size)."""
        if self.target.kind == "classification" and self.outputs.shape[1] > 1:
            return self.outputs.softmax(1)
        probabilities = self.outputs.sigmoid()
        return (
            torch.cat([1 - probabilities, probabilities], 1) if self.target.kind == "classification" else probabilities
        )

    def wrong(self) -> Tensor:
        """Shape (n,), bool. No number is ever quite right."""
        if self.target.kind == "regression":
            return torch.ones_like(self.targets[:, 0], dtype=torch.bool)
        differs = decisions(self.outputs, self.target) != self.targets
        return differs if differs.ndim == 1 else differs.any(1)

    def errors(self) -> Tensor:
        """One for each sample, shape (n,): minus the log-probability of the true class; of numbers, the square."""
        if self.target.kind == "regression":
            return squared_error(self.outputs, self.targets)
        if self.target.kind == "classification" and self.outputs.shape[1] > 1:
            return functional.cross_entropy(self.outputs, self.targets, reduction="none")
        targets = self.targets.view(len(self.targets), -1).float()
        return functional.binary_cross_entropy_with_logits(self.outputs, targets, reduction="none").mean(1)

    def worst(self, count: int) -> Tensor:
        """The indices of the wrong predictions with the largest errors, the worst first."""
        errors = torch.where(self.wrong(), self.errors(), -math.inf)
        values, indices = errors.topk(min(count, len(errors)))
        return indices[values > -math.inf].cpu()

    def tiles(self, pictures: Tensor) -> list[Tile]:
        """Pictures with their labels and predictions."""
        labels = [words(target, self.target) for target in self.targets]
        if self.target.kind == "regression":
            predicted = [words(outputs, self.target) for outputs in self.outputs]
            return [Tile(*each) for each in zip(pictures, labels, predicted, strict=True)]
        decided = decisions(self.outputs, self.target)
        predicted = [words(decision, self.target) for decision in decided]
        wrong, confidence = self.wrong().tolist(), [""] * len(predicted)
        if self.target.kind == "classification":
            confidence = [f"{share:.0%}" for share in self.probabilities().gather(1, decided[:, None])[:, 0].tolist()]
        return [Tile(*each) for each in zip(pictures, labels, predicted, confidence, wrong, strict=True)]


def words(value: Tensor, target: TargetSpec) -> str:
    """A target, or what stands for one, as a person would write it."""
    if target.kind == "regression":
        return ", ".join(f"{number:.4g}" for number in value.tolist())
    names = class_names(target)
    if value.ndim == 0:
        return names[int(value)]
    return ", ".join(name for name, there in zip(names, value.tolist(), strict=True) if there > 0.5) or "none"
