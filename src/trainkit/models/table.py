"""A network for tables that needs no tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.data import DataSpec
from trainkit.data.tables.columns import Column
from trainkit.models.base import Activation, Dropout, ModelConfig, Width, activations
from trainkit.tasks import Task

LOGIT_RATE, NUMBER_RATE = 8.0, 10.0
"""How many times as fast as `optimizer.lr` says the weights of the layers learn, by the kind of target."""
SCALE_RATE = 6.0
"""The scales of the inputs learn so many times as fast as weights (RealMLP, arXiv:2407.04491, appendix A)."""
SLOW_RATE = 0.1
"""Biases, frequencies and shifts of waves learn at this share of it (as there)."""
INITIAL_FREQUENCY = 0.1
"""Standard deviation of the frequencies at the beginning, in waves per unit of a scaled number: gently bent curves,
which learning may make steeper (as in RealMLP, arXiv:2407.04491)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which inputs are what."""

    numbers: tuple[int, ...]
    """Scaled numbers and parts of dates."""
    plain: tuple[int, ...]
    """0 and 1 that the layers take as they are: flags, marks of missing values, short categories."""
    categories: tuple[tuple[int, int], ...]
    """Where a long category begins, and how many inputs it has."""


def layout(columns: Sequence[Column], inputs: int, max_one_hot: int) -> Layout:
    """Tell the inputs apart. Without columns, all are numbers."""
    if not columns:
        return Layout(tuple(range(inputs)), (), ())
    numbers: list[int] = []
    plain: list[int] = []
    categories: list[tuple[int, int]] = []
    start = 0
    for column in columns:
        places = range(start, start + column.width)
        start += column.width
        if column.kind == "category" and column.width > max_one_hot:
            categories.append((places.start, column.width))
        elif column.kind in ("category", "flag"):
            plain += places
        else:
            numbers += places[: len(places) - column.marked]
            plain += places[len(places) - column.marked :]
    return Layout(tuple(numbers), tuple(plain), tuple(categories))


class PeriodicEmbedding(nn.Module):
    """Every number as a short vector of the number itself and mixes of waves of it: [x, W cos(2 pi f x + b) + c].

    Frequencies f, shifts b, weights W and c are learned, and each column has its own. A layer after it can so bend each
    column as it needs, which one after the bare numbers cannot (Gorishniy et al., 2022, arXiv:2203.05556, who have
    sines and cosines without shifts; this form is PBLD of Holzmüller et al., 2024, arXiv:2407.04491, with 16 waves and
    vectors of 4).

    Args:
        numbers: how many there are.
        waves: of each number.
        dim: length of the vectors, at least 2.
        rate: factor on the learning rate.
    """

    def __init__(self, numbers: int, waves: int, dim: int, rate: float) -> None:
        super().__init__()
        self.rate = rate

        def between(limit: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape) - 1) * (limit / rate))

        self.frequency = nn.Parameter(torch.randn(numbers, waves) * (2 * math.pi * INITIAL_FREQUENCY / rate))
        self.shift = between(math.pi, numbers, waves)
        self.weight = between(1 / math.sqrt(waves), numbers, waves, dim - 1)
        self.bias = between(1 / math.sqrt(waves), numbers, dim - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn (batch, numbers) into (batch, numbers * dim): the numbers first, then the mixes of each."""
        angles = torch.addcmul(self.shift * self.rate, inputs.unsqueeze(2), self.frequency * self.rate)
        mixes = torch.bmm(angles.cos().transpose(0, 1), self.weight * self.rate)  # (numbers, batch, dim - 1)
        return torch.cat([inputs, (mixes.transpose(0, 1) + self.bias * self.rate).flatten(1)], 1)


class Members(nn.Module):
    """A linear layer for each of several networks at once: y = x W / sqrt(n) + b, for n inputs.

    Weights begin with standard deviation 1 and are divided by sqrt(n) in passing (the neural tangent parametrisation,
    Jacot et al., 2018, arXiv:1806.07572), so that one learning rate suits layers of any width. Adam moves every
    parameter by about as much, whatever its gradient's size: a factor on a parameter is a factor on its learning rate.
    """

    def __init__(self, members: int, inputs: int, outputs: int, *, rate: float, bias: float) -> None:
        super().__init__()
        self.factor = rate / math.sqrt(inputs)
        self.bias_rate = SLOW_RATE * rate
        self.weight = nn.Parameter(torch.randn(members, inputs, outputs) / rate)
        self.bias = nn.Parameter((2 * torch.rand(members, 1, outputs) - 1) * (bias / self.bias_rate))

    def forward(self, inputs: Tensor, gain: float) -> Tensor:
        """Turn (members, batch, inputs), times `gain`, into (members, batch, outputs)."""
        return torch.baddbmm(self.bias, inputs, self.weight, beta=self.bias_rate, alpha=self.factor * gain)


def dropped(inputs: Tensor, share: float) -> Tensor:
    """Set about that share of the values to zero and leave the others as they are: dropout before its correction.

    On a CPU, drawing takes torch's dropout longer than the layer before it. Here eight values share a random number, a
    byte each, which is a quarter of the time and makes the share a multiple of 1/256.
    """
    if inputs.device.type != "cpu":
        return functional.dropout(inputs, share) * (1 - share)
    count = inputs.numel()
    numbers = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)
    return inputs.masked_fill(numbers.view(torch.uint8)[:count].view(inputs.shape) < round(256 * share), 0.0)


class TableNet(nn.Module):
    """Several small networks side by side, which share what the columns become and predict together.

    In training each member predicts for itself: (batch, members, num_outputs), and the loss is the mean of theirs. In
    evaluation there is one prediction: the mean of their numbers, or of their probabilities. Training the mean of the
    losses rather than the loss of the mean is what makes them differ, and their mean better than each (Gorishniy et
    al., 2024, arXiv:2410.24210, whose members share most weights; small ones are as fast with weights of their own).
    """

    numbers: Tensor
    plain: Tensor

    def __init__(self, layout: Layout, num_outputs: int, task: Task, config: TableModelConfig) -> None:
        super().__init__()
        rate = LOGIT_RATE if task.logits else NUMBER_RATE
        self.task, self.dropout, self.scale_rate = task, config.dropout, SCALE_RATE * rate
        # Follow from the data's columns, which a checkpoint holds already.
        self.register_buffer("numbers", torch.tensor(layout.numbers, dtype=torch.int64), persistent=False)
        self.register_buffer("plain", torch.tensor(layout.plain, dtype=torch.int64), persistent=False)
        self.categories = layout.categories
        self.category_rate = rate
        dim = config.number_dim
        self.embedding = (
            PeriodicEmbedding(len(layout.numbers), config.waves, dim, SLOW_RATE * rate)
            if layout.numbers and dim > 1
            else nn.Identity()
        )
        self.vectors = nn.ParameterList(
            torch.randn(width, config.category_dim) / rate for _, width in layout.categories
        )
        features = len(layout.numbers) * dim + len(layout.plain) + config.category_dim * len(self.vectors)
        self.scale = nn.Parameter(torch.full((config.members, 1, features), 1 / self.scale_rate))
        self.activation = activations[config.activation]()
        sizes = [features, *config.hidden]
        self.layers = nn.ModuleList(
            Members(config.members, before, after, rate=rate, bias=1.0) for before, after in pairwise(sizes)
        )
        self.head = Members(config.members, sizes[-1], num_outputs, rate=rate, bias=0.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn rows of shape (batch, …) into (batch, num_outputs), in training (batch, members, num_outputs)."""
        hidden = self.features(inputs.flatten(1)) * (self.scale * self.scale_rate)
        gain = 1.0
        for layer in self.layers:
            hidden = self.activation(layer(hidden, gain))
            if self.training and self.dropout:
                hidden, gain = dropped(hidden, self.dropout), 1 / (1 - self.dropout)
        outputs: Tensor = self.head(hidden, gain)
        if self.training:
            return outputs.transpose(0, 1)
        return self.task.combined(outputs)

    def features(self, inputs: Tensor) -> Tensor:
        """What the columns become: (batch, inputs) to (batch, features)."""
        parts = [self.embedding(inputs.index_select(1, self.numbers)), inputs.index_select(1, self.plain)]
        for (start, width), vectors in zip(self.categories, self.vectors, strict=True):
            parts.append((inputs[:, start : start + width] @ vectors) * self.category_rate)
        return torch.cat(parts, 1)


@register("model")
class TableModelConfig(ModelConfig):
    """For tables: small networks side by side whose predictions are averaged, every column in a form that suits its
    kind. Other sections have defaults of their own with it, so that nothing needs tuning. Most of what makes it learn
    fast is from RealMLP (Holzmüller et al., 2024, arXiv:2407.04491)."""

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "data": {"standardize": "robust"},
        "loader": {"batch_size": 64, "eval_batch_size": 1024},
        "optimizer": {"name": "adamw", "lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.16},
        "scheduler": {"name": "coslog"},
        "train": {"epochs": 30, "min_steps": 250, "eval_every": "20 times"},
        "checkpoint": {"monitor": "val/loss"},
    }

    name: Literal["table"] = "table"
    hidden: tuple[Width, ...] = (128, 128)
    """Widths of the hidden layers of each member."""
    members: Annotated[int, Field(ge=1, le=1000)] = 4
    """Networks that are trained side by side and predict together."""
    activation: Activation = "silu"
    """After every hidden layer."""
    dropout: Dropout = 0.1
    """Share of the hidden values set to zero in training."""
    number_dim: Width = 4
    """Each number becomes a vector of that length: itself, and mixes of waves of it. 1: numbers stay as they are."""
    waves: Width = 16
    """How many waves of a number are mixed; their frequencies are learned."""
    max_one_hot: Annotated[int, Field(ge=0)] = 8
    """A category of more inputs than that becomes a learned vector instead of one input for each word."""
    category_dim: Width = 8
    """Length of that vector."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        return TableNet(layout(spec.columns, math.prod(spec.shape), self.max_one_hot), num_outputs, spec.task, self)
