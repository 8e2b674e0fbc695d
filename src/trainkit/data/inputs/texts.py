"""Texts of different lengths as the numbers of their tokens, padded to a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainkit.config.registry import register
from trainkit.data.inputs.base import InputKind
from trainkit.data.texts.tokenizer import Tokenizer


@register("input")
class Texts(InputKind):
    """The numbers of a text's tokens (length,), int64, `shape[0]` being the longest; the model gets the lengths, too.

    Padding has a number as well, which is that of some token: only the lengths tell what is real.
    """

    name: Literal["texts"] = "texts"
    tokenizer: Tokenizer

    has_lengths: ClassVar = True
    bounded: ClassVar = True

    @property
    def vocabulary(self) -> tuple[str, ...]:
        return self.tokenizer.tokens

    @property
    def sample_shape(self) -> tuple[int | str, ...]:
        return ("length",)

    def goes_with(self, other: InputKind) -> bool:
        return isinstance(other, Texts) and other.tokenizer == self.tokenizer

    def joined(self, other: Self) -> Self:
        return self if self.shape[0] >= other.shape[0] else other

    def collate(self, samples: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return pad_sequence(list(samples), batch_first=True), torch.tensor([len(sample) for sample in samples])

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        return lambda inputs: inputs

    def dtypes(self) -> tuple[torch.dtype, ...]:
        return (torch.int64,)

    def two_samples(self, device: torch.device, dtype: torch.dtype = torch.int64) -> tuple[Tensor, ...]:
        return (
            torch.zeros(2, *self.shape, device=device, dtype=torch.int64),
            torch.tensor([self.shape[0], 1]),
        )

    def check(self) -> None:
        self.tokenizer.check()

    def of_text(self, text: str) -> Tensor:
        [ids] = self.tokenizer.encode([text])
        if not len(ids):
            raise ValueError("no token in it")
        return torch.from_numpy(ids[: self.shape[0]]).long()

    def decoded(self, inputs: Tensor, lengths: Tensor) -> list[str]:
        each = zip(inputs.tolist(), lengths.tolist(), strict=True)
        return [self.tokenizer.decode(ids[:length]) for ids, length in each]

    def takes(self, array: NDArray[Any]) -> bool:
        return False

    def from_array(self, array: NDArray[Any]) -> Tensor:
        raise ValueError("texts do not stand in arrays")
