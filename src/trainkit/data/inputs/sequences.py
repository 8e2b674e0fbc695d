"""Sequences of different lengths, padded with zeros to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainkit.config.registry import register
from trainkit.data.inputs.base import InputKind
from trainkit.data.inputs.numbers import Numbers


@register("input")
class Sequences(Numbers):
    """Numbers (length, features), `shape[0]` being the longest; the model gets the lengths, too."""

    name: Literal["sequences"] = "sequences"  # type: ignore[assignment]

    has_lengths: ClassVar = True

    @model_validator(mode="after")
    def _an_axis_of_steps(self) -> Self:
        if len(self.shape) < 2:
            raise ValueError("an input of this kind has another number of axes")
        return self

    @property
    def sample_shape(self) -> tuple[int | str, ...]:
        return ("length", *self.shape[1:])

    def goes_with(self, other: InputKind) -> bool:
        return self.shape[1:] == other.shape[1:]  # they may be longer or shorter

    def joined(self, other: Self) -> Self:
        longest = max(self.shape[0], other.shape[0])
        return super().joined(other).model_copy(update={"shape": (longest, *self.shape[1:])})

    def collate(self, samples: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        return pad_sequence(list(samples), batch_first=True), torch.tensor([len(sample) for sample in samples])

    def two_samples(self, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        return (*super().two_samples(device, dtype), torch.tensor([self.shape[0], 1]))

    def takes(self, array: NDArray[Any]) -> bool:
        return array.ndim == len(self.shape) and array.shape[1:] == self.shape[1:] and array.dtype.kind in "biuf"
