"""What a model says of some samples: how sure it is, what it gets wrong, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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
    """What the model says of all samples of a loader, in their order: one pass. None when `stop` asks in between.

    Raises:
        ConfigError: what the loss calls outputs are no answers.
    """
    outputs: list[Tensor] = []
    targets: list[Tensor] = []

    def watch(batch: Batch, outcome: LossOutput) -> None:
        outputs.append(outcome.outputs.float())
        targets.append(batch.targets)

    if evaluate(parts, loader, stop, watch) is None:
        return None
    said = torch.cat(outputs)
    if said.ndim != 2 or not target.answered_by(said.shape[1]):
        raise ConfigError(f"the outputs {tuple(said.shape)} are not one for each {target.kind}")
    return Predictions(said, torch.cat(targets), target)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of some samples."""

    outputs: Tensor
    """Shape (n, num_outputs)."""
    targets: Tensor
    """Shape (n,) or (n, size)."""
    target: TargetSpec

    def at(self, places: Tensor) -> Predictions:
        """Of these samples alone, on the CPU."""
        return Predictions(self.outputs[places].cpu(), self.targets[places].cpu(), self.target)

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
        """How wrong each answer is, shape (n,): minus the logarithm of the truth's probability; of numbers, squared."""
        if self.target.kind == "regression":
            return squared_error(self.outputs, self.targets)
        if self.target.kind == "classification" and self.outputs.shape[1] > 1:
            return functional.cross_entropy(self.outputs, self.targets, reduction="none")
        targets = self.targets.view(len(self.targets), -1).float()
        return functional.binary_cross_entropy_with_logits(self.outputs, targets, reduction="none").mean(1)

    def worst(self, count: int) -> Tensor:
        """The places of the wrong answers with the largest errors, the worst first."""
        errors = torch.where(self.wrong(), self.errors(), -math.inf)
        values, places = errors.topk(min(count, len(errors)))
        return places[values > -math.inf].cpu()

    def tiles(self, pictures: Tensor) -> list[Tile]:
        """Pictures with what they are and what the model says that they are."""
        truths = [words(target, self.target) for target in self.targets]
        if self.target.kind == "regression":
            said = [words(outputs, self.target) for outputs in self.outputs]
            return [Tile(*each) for each in zip(pictures, truths, said, strict=True)]
        decided = decisions(self.outputs, self.target)
        said = [words(decision, self.target) for decision in decided]
        sure = [""] * len(said)
        if self.target.kind == "classification":
            sure = [f"{chance:.0%}" for chance in self.probabilities().gather(1, decided[:, None])[:, 0].tolist()]
        return [Tile(*each) for each in zip(pictures, truths, said, sure, self.wrong().tolist(), strict=True)]


def words(value: Tensor, target: TargetSpec) -> str:
    """A target, or what stands for one, as a person would write it."""
    if target.kind == "regression":
        return ", ".join(f"{number:.4g}" for number in value.tolist())
    names = class_names(target)
    if value.ndim == 0:
        return names[int(value)]
    return ", ".join(name for name, there in zip(names, value.tolist(), strict=True) if there > 0.5) or "none"
