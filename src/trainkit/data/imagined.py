"""Samples that nobody has read: made up, in the shape and the number that a data set is known to have."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.core.seeding import generator
from trainkit.data.base import Batch, DataSpec


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Noise in the shape of pictures, the classes one after the other. Takes no memory until asked."""

    spec: DataSpec
    samples: int

    def __len__(self) -> int:
        return self.samples

    @property
    def targets(self) -> Tensor:
        """Shape (n,), int64."""
        return torch.arange(self.samples) % self.spec.target.size

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        shape, random = (len(index), *self.spec.shape), generator(0, "imagined")
        inputs = torch.randint(256, shape, dtype=torch.uint8, generator=random)
        return Batch(inputs, index % self.spec.target.size, index)

    def digest(self) -> str:
        return f"imagined {self.samples}"
