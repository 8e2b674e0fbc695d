"""Any of several labels for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from trainkit.config.registry import register
from trainkit.plots.figures import Tile
from trainkit.tasks.base import Reading, TargetError
from trainkit.tasks.class_scores import LabelTally
from trainkit.tasks.linear_models import Fitted, logistic
from trainkit.tasks.prediction import Cell, Prediction
from trainkit.tasks.ranked import Ranked, cross_entropy_of_flags, mean_of_sigmoid, ranked_cells


@register("task")
class MultiLabel(Ranked):
    """Any of several labels. Targets: 0 or 1 for each, shape (batch, size), float32. Outputs: a logit for each."""

    name: Literal["multilabel"] = "multilabel"

    noun: ClassVar = ("label", "labels")
    phrase: ClassVar = "labels, any of them true"
    default_loss: ClassVar = "bce_with_logits"
    missing: ClassVar = "is true for the label"
    reading: ClassVar[Reading] = "flags"

    @classmethod
    def as_targets(cls, values: Tensor, size: int | None = None) -> Tensor:
        rows = super().as_targets(values, size)
        if not bool(((rows == 0) | (rows == 1)).all()):
            raise TargetError("labels are a row of 0 and 1 per sample")
        return rows

    def count(self, targets: Tensor) -> tuple[int, ...]:
        return tuple(targets.sum(0).long().tolist())

    def mixed(self, targets: Tensor, share: float) -> Tensor:
        return torch.lerp(targets.roll(1, 0), targets, share)

    def constants(self, targets: Tensor, num_outputs: int) -> dict[str, Tensor]:
        if not self.answered_by(num_outputs):
            return {}
        there = targets.sum(0)
        logits = (there + 1).log() - (len(targets) - there + 1).log()
        return {f"always {self.words(self.decisions(logits))}": logits, "always all labels": torch.ones(self.size)}

    def linear(self, inputs: Tensor, targets: Tensor) -> Fitted:
        fitted = [logistic(inputs, column.long(), 2) for column in targets.T]
        return lambda given: torch.stack([one(given).diff(dim=1)[:, 0] for one in fitted], 1)

    def decisions(self, outputs: Tensor) -> Tensor:
        return (outputs > 0).long()

    def combined(self, outputs: Tensor) -> Tensor:
        """The mean of the members' probabilities, as logits again."""
        return mean_of_sigmoid(outputs)

    def probabilities(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs > 0) == (targets > 0.5)).float().mean(1)

    def has(self, targets: Tensor, number: int) -> Tensor:
        return targets[:, number] > 0.5

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (self.decisions(outputs) != targets).any(1)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy_of_flags(outputs, targets)

    def words(self, value: Tensor) -> str:
        there = (name for name, there in zip(self.known_names, value.tolist(), strict=True) if there > 0.5)
        return ", ".join(there) or "none"

    def tiles(self, pictures: Tensor, outputs: Tensor, targets: Tensor) -> list[Tile]:
        labels, predicted = map(self.words, targets), map(self.words, self.decisions(outputs))
        wrong = self.wrong(outputs, targets).tolist()
        return [
            Tile(picture, label, prediction, wrong=is_wrong)
            for picture, label, prediction, is_wrong in zip(pictures, labels, predicted, wrong, strict=True)
        ]

    def tally(self, device: torch.device) -> LabelTally:
        return LabelTally(self.known_names, self.decisions, device)

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        names, rows = self.known_names, self.probabilities(outputs).tolist()
        found = [
            tuple(name for name, there in zip(names, row, strict=True) if there)
            for row in self.decisions(outputs).tolist()
        ]
        return [
            Prediction(one, self, answer, dict(zip(names, row, strict=True)))
            for one, answer, row in zip(inputs, found, rows, strict=True)
        ]

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        probabilities = dict(prediction.top(top)) if top else prediction.values
        return {"labels": prediction.answer, "probabilities": probabilities}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        if top:
            return self.ranked_heads(top)
        return list(self.known_names) if every else ["labels"]

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        if top:
            return ranked_cells(prediction.top(top))
        if every:
            return list(prediction.values.values())
        return [", ".join(f"{label} {self.text(prediction.values[label])}" for label in prediction.answer) or "none"]
