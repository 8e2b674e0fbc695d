"""One class of several for each sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.config.shell import typed
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.nest import Nest
from trainkit.plots.figures import Tile
from trainkit.tasks.base import MAX_CLASSES, Reading, TargetError
from trainkit.tasks.binary_scores import BinaryTally, best_threshold, logit
from trainkit.tasks.class_scores import ClassTally
from trainkit.tasks.findings import Details, Findings
from trainkit.tasks.linear_models import Fitted, logistic
from trainkit.tasks.prediction import Cell, Prediction
from trainkit.tasks.ranked import Ranked, cross_entropy_of_flags, mean_of_sigmoid, mean_of_softmax, ranked_cells

SEPARATORS = ",;|"
"""Between words in one place."""
MANY_NUMBERS = 50
"""So many classes whose names are whole numbers are amounts rather than names."""


@register("task")
class Classification(Ranked):
    """One class of several. Targets: shape (batch,), int64. Outputs: a logit for each class, shape (batch, size), or a
    single one of the second of two classes."""

    name: Literal["classification"] = "classification"
    threshold: float | None = Field(None, gt=0, lt=1)
    """Of two classes: the probability of the second above which its F1 is highest on the val split, found at the end of
    a run. It decides only where it is asked for."""
    decides_at: float = Field(0.5, gt=0, lt=1, exclude=True)
    """Of two classes: the probability of the second above which it is predicted."""

    noun: ClassVar = ("class", "classes")
    phrase: ClassVar = "classes"
    default_loss: ClassVar = "cross_entropy"
    missing: ClassVar = "has the class"
    exclusive: ClassVar = True
    reading: ClassVar[Reading] = "words"

    @classmethod
    def of(cls, targets: Tensor, names: Sequence[str] = ()) -> Self:
        size = int(targets.max()) + 1
        if names and size > len(names):
            raise TargetError(f"class {size - 1} among the targets, but classes has {len(names)} names")
        size = max(2, len(names) or size)  # of one, there is nothing to learn
        return cls(size=size, names=tuple(names) if len(names) == size else ())

    @classmethod
    def as_targets(cls, values: Tensor, size: int | None = None) -> Tensor:
        if values.is_floating_point() or values.ndim != 1:
            found = f"rows of {values.shape[1]}" if values.ndim == 2 else "not whole"
            raise TargetError(f"classes are one whole number >= 0 per sample, these are {found}")
        size = size or MAX_CLASSES
        if len(bad := ((values < 0) | (values >= size)).nonzero()):
            row = int(bad[0])
            raise TargetError(f"class {int(values[row])}, outside 0 … {size - 1:,}", row)
        return values.to(torch.int64)

    @classmethod
    def balance_key(cls, targets: Nest) -> Tensor | None:
        of_one_class = isinstance(targets, Tensor) and targets.ndim == 1 and not targets.is_floating_point()
        return targets if of_one_class else None

    def check(self, targets: Tensor, split: str) -> None:
        if len(targets) and (worst := int(targets.max())) >= self.size:
            from_1 = "; count classes from 0" if worst == self.size else ""
            raise DataError(
                f"data: class {worst} in the {split} split, but there are only 0 to {self.size - 1}{from_1}"
            )

    def count(self, targets: Tensor) -> tuple[int, ...]:
        return tuple(targets.bincount(minlength=self.size).tolist())

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        for found in super().diagnostics(targets, pictures=pictures):
            from_1 = found.code == "missing-class" and not self.names and self.counts.index(0) == 0
            yield (
                replace(found, text=f"{found.text}; classes count from 0, do yours count from 1?") if from_1 else found
            )
        if max(self.counts) == self.samples:
            text = "data: all training samples are of one class; there is nothing to tell apart"
            yield Diagnostic("one-class", text)
        yield from _numbers_as_classes(self.names, pictures)
        yield from _labels_as_classes(self.names)

    def mixed(self, targets: Tensor, share: float) -> Tensor:
        shares = functional.one_hot(targets, self.size).float()
        return torch.lerp(shares.roll(1, 0), shares, share)

    def constants(self, targets: Tensor, num_outputs: int) -> dict[str, Tensor]:
        counts = targets.bincount(minlength=self.size)
        logits = counts.add(1).float().log()
        if not self.answered_by(num_outputs):
            return {}
        name = self.known_names[int(counts.argmax())]
        return {f"always {name!r}": logits if num_outputs > 1 else logits[1:] - logits[:1]}

    def linear(self, inputs: Tensor, targets: Tensor) -> Fitted:
        return logistic(inputs, targets, self.size)

    def answered_by(self, num_outputs: int) -> bool:
        return num_outputs == self.size or (self.size == 2 and num_outputs == 1)

    def combined(self, outputs: Tensor) -> Tensor:
        """The mean of the members' probabilities, as logits again."""
        return mean_of_sigmoid(outputs) if outputs.shape[2] == 1 else mean_of_softmax(outputs)

    def decisions(self, outputs: Tensor) -> Tensor:
        if self.decides_at != 0.5:
            return (self.margins(outputs) > logit(self.decides_at)).long()
        return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)

    def margins(self, outputs: Tensor) -> Tensor:
        """The logit of the second of two classes, shape (batch,)."""
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]

    @property
    def binary(self) -> bool:
        return self.size == 2

    def best_threshold(self, outputs: Tensor, targets: Tensor) -> float | None:
        return best_threshold(self.margins(outputs), targets == 1) if self.binary else None

    @property
    def chosen_threshold(self) -> float | None:
        return self.threshold

    def deciding_at(self, threshold: float) -> Self:
        return self.model_copy(update={"decides_at": threshold})

    def details(self, device: torch.device) -> ClassTally:
        if not self.binary:
            return self.tally(device)
        return BinaryTally(self.known_names, self.decisions, self.margins, self.threshold, device)

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        found = super().findings(details, outputs, targets, split)
        if isinstance(details, BinaryTally) and (table := details.table()):
            found.tables.append(table)
        return found

    def probabilities(self, outputs: Tensor) -> Tensor:
        if outputs.shape[1] > 1:
            return outputs.softmax(1)
        probabilities = outputs.sigmoid()
        return torch.cat([1 - probabilities, probabilities], 1)

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.decisions(outputs) == targets  # a call less in each step

    def has(self, targets: Tensor, number: int) -> Tensor:
        return targets == number

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.decisions(outputs) != targets

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if outputs.shape[1] == 1:
            return cross_entropy_of_flags(outputs, targets)
        return functional.cross_entropy(outputs, targets, reduction="none")

    def words(self, value: Tensor) -> str:
        if value.ndim:  # shares of a mixed sample
            names = (name for name, share in zip(self.known_names, value.tolist(), strict=True) if share > 0.5)
            return ", ".join(names) or "none"
        return self.known_names[int(value)]

    def tiles(self, pictures: Tensor, outputs: Tensor, targets: Tensor) -> list[Tile]:
        decided = self.decisions(outputs)
        labels, predicted = map(self.words, targets), map(self.words, decided)
        confidence = [
            f"{share:.0%}" for share in self.probabilities(outputs).gather(1, decided[:, None])[:, 0].tolist()
        ]
        wrong = (decided != targets).tolist()
        return [Tile(*each) for each in zip(pictures, labels, predicted, confidence, wrong, strict=True)]

    def tally(self, device: torch.device) -> ClassTally:
        return ClassTally(self.known_names, self.decisions, device)

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        names, decided = self.known_names, self.decisions(outputs).tolist()
        return [
            Prediction(one, self, (names[number],), dict(zip(names, row, strict=True)))
            for one, number, row in zip(inputs, decided, self.probabilities(outputs).tolist(), strict=True)
        ]

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        [predicted] = prediction.answer
        return {
            "class": predicted,
            "probability": prediction.values[predicted],
            "probabilities": dict(prediction.top(top)) if top else prediction.values,
        }

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        return self.ranked_heads(top)

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        if top is None:
            [predicted] = prediction.answer
            return [predicted, prediction.values[predicted]]
        return ranked_cells(prediction.top(top))

    def unmeasured(self) -> Self:
        return super().unmeasured().model_copy(update={"threshold": None})


def _numbers_as_classes(names: Sequence[str], pictures: bool) -> Iterator[Diagnostic]:
    """What is odd about classes whose names are numbers."""
    try:
        values = [float(name) for name in names]
    except ValueError:
        return
    if not all(map(math.isfinite, values)):
        return
    first: dict[float, str] = {}
    for name, value in zip(names, values, strict=True):
        if (other := first.setdefault(value, name)) != name:
            text = f"data: {other!r} and {name!r} are two classes, though they are the same number"
            yield Diagnostic("class-names", text)
    fractions = [name for name, value in zip(names, values, strict=True) if value % 1]
    if fractions or (len(names) > MANY_NUMBERS and not pictures):  # folders of pictures may well be numbered
        shown = ", ".join((fractions or list(names))[:2])
        text = f"data: the targets are numbers ({shown} …), but taken for {len(names)} classes"
        yield Diagnostic("numbers-as-classes", f"{text}; predict them as numbers, unless they are names")


def _labels_as_classes(names: Sequence[str]) -> Iterator[Diagnostic]:
    """Whether classes are named like several labels each: by words that stand in the names of other classes, too."""
    for separator in SEPARATORS:
        words = [{word.strip() for word in name.split(separator)} for name in names]
        often = Counter(word for some in words for word in some)
        several = [name for name, some in zip(names, words, strict=True) if len(some) > 1]
        repeated = [
            name
            for name, some in zip(names, words, strict=True)
            if len(some) > 1 and all(often[word] > 1 for word in some)
        ]
        if len(repeated) > 1 and 2 * len(repeated) >= len(several):
            key = typed("data.separator", separator)
            text = f"data: {len(several)} of {len(names)} classes are words divided by {separator!r}, such as "
            text += f"{repeated[0]!r}; if each word is a label, say so (for pictures in a list, {key})"
            yield Diagnostic("labels-as-classes", text)
            return
