"""A task as detection is: any number of calls in a spectrogram, found by a model that knows its own losses.

Targets are a list with a dict for each sample, the model takes them while it learns, and gives a list of dicts in
evaluation. `test_targets_in_the_model.py` puts this module beside a config that imports it, as a user would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.core.nest import Nest
from trainkit.core.seeding import generator
from trainkit.data import Batch, Data, DataConfig, DataSpec, TensorSource
from trainkit.data.inputs import Pictures
from trainkit.models import register_model
from trainkit.tasks import Cell, Details, Findings, Line, Prediction, Table, Task
from trainkit.training.losses import LossConfig, LossFn, LossOutput
from trainkit.training.metrics import Mean, Metric, MetricConfig

HEIGHT, WIDTH = 6, 24
CELLS = 6
"""Stretches of equal width, in each of which at most one call begins."""
STEP = WIDTH // CELLS
NAMES = ("low", "high")
CLOSE = 1.0
"""Columns by which a call's begin and end may be off."""

Calls = dict[str, Tensor]
"""Of one sample: `spans`, begin and end of each call, shape (calls, 2), float32, and `labels`, (calls,), int64."""


def found(predicted: Calls, true: Calls) -> Tensor:
    """Which of the true calls are among the predicted ones, shape (calls,), bool."""
    off = (true["spans"][:, None] - predicted["spans"]).abs().amax(2)
    same = true["labels"][:, None] == predicted["labels"]
    return ((off <= CLOSE) & same).any(1)


def mistakes(predicted: Sequence[Calls], true: Sequence[Calls]) -> Tensor:
    """Calls that are missed or invented, shape (n,), float32."""
    hits = torch.stack([found(*pair).sum() for pair in zip(predicted, true, strict=True)])
    there = torch.tensor(
        [len(one["labels"]) + len(other["labels"]) for one, other in zip(predicted, true, strict=True)]
    )
    return (there.to(hits.device) - 2 * hits).float()


class ByKind:
    """How many calls of each kind are there, and how many are found; and of which sample the most are missed."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(2, len(NAMES), device=device)
        self.missed: dict[int, int] = {}

    def update(self, outputs: Sequence[Calls], targets: Sequence[Calls], batch: Batch) -> None:
        for predicted, true, index in zip(outputs, targets, batch.index.tolist(), strict=True):
            hits = found(predicted, true)
            self.sums.index_add_(1, true["labels"], torch.stack([torch.ones_like(hits), hits]).float())
            self.missed[index] = len(hits) - int(hits.sum())

    def merge(self, other: Self) -> None:
        self.sums += other.sums
        self.missed |= other.missed

    def to_plain(self) -> dict[str, Any]:
        there, hits = self.sums.long().tolist()
        counts = {name: {"there": a, "found": b} for name, a, b in zip(NAMES, there, hits, strict=True)}
        return {"calls": counts, "most_missed": max(self.missed, key=self.missed.__getitem__)}

    def lines(self) -> list[Line]:
        calls = self.to_plain()["calls"]
        return [Line(f"{name:<5} {each['found']} of {each['there']}") for name, each in calls.items()]


@register("task")
class FindCalls(Task):
    """Calls. Targets: a list of `Calls`. Outputs: the same with `scores`; in training the losses of the model."""

    name: Literal["find_calls"] = "find_calls"

    noun: ClassVar = ("kind of call", "kinds of calls")
    phrase: ClassVar = "calls, any number of them"
    default_loss: ClassVar = "of_the_model"
    default_metrics: ClassVar = ("mistakes",)
    reading: ClassVar = None
    model_sees_targets: ClassVar = True

    @classmethod
    def balance_key(cls, targets: Nest) -> Tensor:
        return torch.tensor([len(one["labels"]) for one in targets])

    def check(self, targets: Nest, split: str) -> None:
        if any(bool((one["labels"] >= self.size).any()) for one in targets):
            raise DataError(f"data: a call of an unknown kind in the {split} split")

    def count(self, targets: Nest) -> tuple[int, ...]:
        return tuple(torch.cat([one["labels"] for one in targets]).bincount(minlength=self.size).tolist())

    def output_shape(self, num_outputs: int, input_shape: Sequence[int]) -> None:
        return None

    def predicts(self, outputs: Nest) -> bool:
        return isinstance(outputs, list) and all({"spans", "labels", "scores"} <= one.keys() for one in outputs)

    def words(self, value: Calls) -> str:
        calls = zip(value["labels"].tolist(), value["spans"].tolist(), strict=True)
        return ", ".join(f"{NAMES[label]} {begin:.0f} to {end:.0f}" for label, (begin, end) in calls) or "silence"

    def errors(self, outputs: Nest, targets: Nest) -> Tensor:
        return mistakes(outputs, targets)

    def wrong(self, outputs: Nest, targets: Nest) -> Tensor:
        return self.errors(outputs, targets) > 0

    def details(self, device: torch.device) -> Details:
        return ByKind(device)

    def findings(self, details: Details | None, outputs: Nest, targets: Nest, split: str) -> Findings:
        assert isinstance(details, ByKind)
        there, hits = details.sums.long().tolist()
        rows = [(name, f"{a}", f"{b}") for name, a, b in zip(NAMES, there, hits, strict=True)]
        return Findings([Table("Calls", ("kind", f"{split} calls", "found"), rows)])

    def predictions(self, inputs: Sequence[str], outputs: Nest) -> list[Prediction]:
        made = []
        for one, calls in zip(inputs, outputs, strict=True):
            labels = tuple(NAMES[label] for label in calls["labels"].tolist())
            values = {f"{number}": float(score) for number, score in enumerate(calls["scores"])}
            made.append(Prediction(one, self, labels, values))
        return made

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        return {"calls": prediction.answer, "scores": list(prediction.values.values())}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        return ["calls"]

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        return [" ".join(prediction.answer)]


@register("data")
class SpectrogramsConfig(DataConfig):
    """Noise with bright bars: each is a call, in the lower or the upper half."""

    name: Literal["spectrograms"] = "spectrograms"
    samples: int = 400

    def build(self, seed: int) -> Data:
        source = TensorSource(*recordings(self.samples, seed))
        task = FindCalls(size=len(NAMES), names=NAMES)
        train, val, test = self.train_val_test(source, seed, 0.2, task=task)
        return Data(DataSpec(input=Pictures(shape=(1, HEIGHT, WIDTH)), task=task), train, val, test)


def recordings(count: int, seed: int) -> tuple[Tensor, list[Calls]]:
    """Pictures, shape (count, 1, HEIGHT, WIDTH), uint8, and their calls."""
    random = generator(seed, "recordings")
    pictures = torch.randint(60, (count, 1, HEIGHT, WIDTH), generator=random, dtype=torch.uint8)
    targets: list[Calls] = []
    for picture in pictures:
        cells = torch.rand(CELLS, generator=random).lt(0.3).nonzero()[:, 0]
        labels = torch.randint(2, (len(cells),), generator=random)
        begins = cells * STEP + torch.randint(2, (len(cells),), generator=random)
        ends = begins + 2
        for label, begin, end in zip(labels.tolist(), begins.tolist(), ends.tolist(), strict=True):
            picture[0, 3 * label : 3 * label + 3, begin:end] += 180
        targets.append({"spans": torch.stack([begins, ends], 1).float(), "labels": labels})
    return pictures, targets


@register_model("listener")
class Listener(nn.Module):
    """Says of every cell whether a call begins there, of which kind, and where."""

    def __init__(self, in_features: int, num_outputs: int, hidden: int = 64, dropout: float = 0.05) -> None:
        super().__init__()
        self.num_kinds = num_outputs
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, CELLS * (3 + num_outputs)),
        )

    def forward(self, inputs: Tensor, targets: list[Calls] | None = None) -> Any:
        """In training the losses, each the sum over the calls or cells; in evaluation what was found, with the losses
        where there are targets."""
        cells = self.layers(inputs).unflatten(1, (CELLS, -1))
        if targets is None:
            return self._heard(cells)
        losses = self._losses(cells, targets)
        return losses if self.training else {"losses": losses, "found": self._heard(cells)}

    def _losses(self, cells: Tensor, targets: list[Calls]) -> dict[str, Tensor]:
        spans, labels = (torch.cat([one[key] for one in targets]) for key in ("spans", "labels"))
        row = torch.cat([torch.full_like(one["labels"], number) for number, one in enumerate(targets)])
        column = (spans[:, 0] // STEP).long()
        there = torch.zeros_like(cells[..., 0])
        there[row, column] = 1
        mine = cells[row, column]
        return {
            "presence": functional.binary_cross_entropy_with_logits(cells[..., 0], there, reduction="sum"),
            "place": (mine[:, 1:3] - (spans - STEP * column[:, None])).square().sum(),
            "kind": functional.cross_entropy(mine[:, 3:], labels, reduction="sum"),
        }

    def _heard(self, cells: Tensor) -> list[Calls]:
        calls: list[Calls] = []
        for one in cells:
            [columns] = (one[:, 0] > 0).nonzero(as_tuple=True)
            mine = one[columns]
            spans = mine[:, 1:3] + STEP * columns[:, None]
            calls.append({"spans": spans, "labels": mine[:, 3:].argmax(1), "scores": mine[:, 0].sigmoid()})
        return calls


@register("loss")
class OfTheModelConfig(LossConfig):
    """The losses that the model gives, the mean over calls, each sample counting as one more."""

    name: Literal["of_the_model"] = "of_the_model"
    works_on: ClassVar = (FindCalls,)

    def build(self, task: Task) -> LossFn:
        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            made = model(*batch.arguments)
            losses, heard = (made, []) if model.training else (made["losses"], made["found"])
            calls = sum(len(one["labels"]) for one in batch.targets)
            count = torch.tensor(len(batch.index) + calls, device=losses["place"].device)
            return LossOutput.of_sum(torch.stack([*losses.values()]).sum(), count, heard)

        return loss_fn


@register("metric")
class MistakesConfig(MetricConfig):
    """Calls missed or invented, the mean over samples."""

    name: Literal["mistakes"] = "mistakes"
    works_on: ClassVar = (FindCalls,)
    mode: ClassVar[Literal["min", "max"]] = "min"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(mistakes, device)
