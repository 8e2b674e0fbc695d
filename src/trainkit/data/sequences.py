"""Sequences of different lengths in memory, padded with zeros to a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from trainkit.core import nest
from trainkit.core.nest import Nest
from trainkit.data.base import Batch, fingerprint, unless_pictures


@dataclass(frozen=True, slots=True)
class SequenceSource:
    """Sequences one after the other in one tensor, so that a batch is a single gather."""

    values: Tensor
    """Shape (all steps, features); int64 where all are whole numbers, else float32. Of texts the numbers of tokens,
    shape (all tokens,), int32."""
    lengths: Tensor
    """Steps of each sequence, shape (n,), int64, each >= 1."""
    targets: Nest
    """Shape (n,) or (n, size), or a nest of tensors (n, …)."""

    @classmethod
    def of(cls, sequences: Sequence[Tensor], targets: Nest) -> Self:
        """From sequences of shape (length, features) each."""
        lengths = torch.tensor([len(sequence) for sequence in sequences])
        values = torch.cat(list(sequences))
        return cls(values.float() if values.is_floating_point() else values.long(), lengths, targets)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def is_text(self) -> bool:
        """Whether the steps are numbers of tokens."""
        return self.values.ndim == 1

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        """A batch as long as its longest sequence: inputs (batch, length, features) or, of texts, (batch, length),
        int64; zeros where there is nothing."""
        lengths = self.lengths[index]
        steps = torch.arange(int(lengths.max()))
        real = steps < lengths.unsqueeze(1)
        starts = (self.lengths.cumsum(0) - self.lengths)[index].unsqueeze(1)
        inputs = self.values[torch.where(real, starts + steps, 0)]
        inputs.masked_fill_(~(real if self.is_text else real.unsqueeze(2)), 0)
        return Batch(inputs.long() if self.is_text else inputs, nest.take(self.targets, index), index, lengths)

    def digest(self) -> str:
        inputs = fingerprint(unless_pictures(self.values), self.lengths)
        targets = fingerprint(self.lengths, self.targets)
        return hashlib.sha256(f"{inputs}{targets}".encode()).hexdigest()
