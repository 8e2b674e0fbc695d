"""Made-up data that can be learned, of any shape: for tests, speed measurements and first tries."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from trainkit.data.base import Data, DataConfig, DataSpec, Split, TargetSpec, TensorSource, split_off_val
from trainkit.registry import register
from trainkit.seeding import generator

Size = Annotated[int, Field(ge=1, le=100_000)]


@register("data")
class SyntheticConfig(DataConfig):
    """Hidden factors, mixed into smooth patterns under noise; the targets are the factors. The same for the same seed."""

    name: Literal["synthetic"] = "synthetic"
    shape: tuple[Size] | tuple[Size, Size] | tuple[Size, Size, Size] = (20,)
    """One sample: `[features]` a vector, `[length, features]` a sequence, `[channels, height, width]` a picture."""
    target: Literal["class", "multilabel", "number"] = "class"
    """`class`: which factor is the largest; `multilabel`: which are positive; `number`: their values."""
    size: int = Field(10, ge=1, le=10_000)
    """How many classes, labels or numbers."""
    samples: int = Field(2000, ge=1, le=10_000_000)
    """Training samples, before `val` is split off."""
    test_samples: int = Field(500, ge=1, le=10_000_000)
    noise: float = Field(0.5, ge=0)
    """Standard deviation of the noise; the patterns have about 1."""
    seed: int | None = Field(None, ge=0)
    """Makes other data with the same experiment seed; by default the data depends on the experiment's seed."""

    def spec(self) -> DataSpec:
        size = max(self.size, 2) if self.target == "class" else self.size
        return DataSpec(shape=self.shape, target=TargetSpec(kind=self.target, size=size), image=len(self.shape) == 3)

    def build(self, seed: int) -> Data:
        data_seed = seed if self.seed is None else self.seed
        patterns = self._patterns(data_seed)
        test = self._draw(patterns, self.test_samples, data_seed, "test")
        train, val = split_off_val(self._draw(patterns, self.samples, data_seed, "train"), self.val, seed)
        return Data(self.spec(), train, val, Split(test, torch.arange(len(test))))

    def _patterns(self, seed: int) -> Tensor:
        """One pattern of unit variance per factor, smooth in space and time. Shape (size, *shape)."""
        size = self.spec().target.size
        noise = torch.randn(size, *self.shape, generator=generator(seed, "synthetic patterns"))
        if len(self.shape) == 2:  # smooth along the length, the last axis of avg_pool1d
            noise = functional.avg_pool1d(noise.transpose(1, 2), 3, stride=1, padding=1).transpose(1, 2)
        elif len(self.shape) == 3:
            noise = functional.avg_pool2d(noise, 3, stride=1, padding=1)
        flat = noise.flatten(1)
        return (flat / flat.std(dim=1, keepdim=True, correction=0).clamp_min(1e-6)).view(size, *self.shape)

    def _draw(self, patterns: Tensor, count: int, seed: int, purpose: str) -> TensorSource:
        random = generator(seed, "synthetic", purpose)
        size = len(patterns)
        factors = torch.randn(count, size, generator=random)
        targets = {"number": factors, "multilabel": (factors > 0).float()}.get(self.target, factors)
        if self.target == "class":
            targets = torch.randint(size, (count,), generator=random)
            factors = functional.one_hot(targets, size) * math.sqrt(size) + factors * 0.1
        inputs = (factors / math.sqrt(size)) @ patterns.flatten(1)
        inputs = (inputs + self.noise * torch.randn(inputs.shape, generator=random)).view(count, *self.shape)
        if len(self.shape) == 3:
            inputs = (inputs * 48 + 128).round().clamp(0, 255).to(torch.uint8)
        return TensorSource(inputs, targets)
