"""Synthetic data that can be learned, of any shape: for tests, speed measurements and first tries."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.seeding import generator
from trainkit.data.base import Data, DataConfig, TensorSource
from trainkit.data.inputs import Numbers, Pictures, Sequences
from trainkit.data.sequences import SequenceSource
from trainkit.data.spec import DataSpec
from trainkit.tasks import task_class
from trainkit.tasks.kind import current_name

Size = Annotated[int, Field(ge=1, le=100_000)]


@register("data")
class SyntheticConfig(DataConfig):
    """Smooth random patterns under noise; the targets say what was mixed in. The same for the same seed."""

    name: Literal["synthetic"] = "synthetic"
    shape: tuple[Size] | tuple[Size, Size] | tuple[Size, Size, Size] = (20,)
    """One sample: `[features]` a vector, `[length, features]` a sequence, `[channels, height, width]` a picture."""
    target: Annotated[Literal["classification", "multilabel", "regression"], BeforeValidator(current_name)] = (
        "classification"
    )
    """`classification`: a sample is one pattern, the target its index. Otherwise it is a sum of all patterns, each
    multiplied by a normal random number: the targets are these (`regression`), or which are positive (`multilabel`)."""
    size: int = Field(10, ge=1, le=10_000)
    """How many classes, labels or numbers."""
    min_length: Size | None = None
    """For sequences: each ends somewhere between this step and the last."""
    samples: int = Field(2000, ge=1, le=10_000_000)
    """Training samples, before `val` is split off."""
    test_samples: int = Field(500, ge=1, le=10_000_000)
    """Samples of the test split."""
    noise: float = Field(0.1, ge=0)
    """Standard deviation of the noise on every input value; without it, they have about 1."""
    seed: int | None = Field(None, ge=0)
    """Makes other data with the same experiment seed; by default the data depends on the experiment's seed."""

    @model_validator(mode="after")
    def _more_than_one_class(self) -> Self:
        if task_class(self.target).reading == "words" and self.size == 1:
            raise ValueError("size must be >= 2 for classes, got 1")
        if self.min_length is not None and (len(self.shape) != 2 or self.min_length > self.shape[0]):
            raise ValueError(f"min_length is for sequences [length, features] at least as long, got {self.shape}")
        return self

    def spec(self) -> DataSpec:
        task = task_class(self.target)(size=self.size)
        padded = self.min_length is not None
        input_kind = Pictures if len(self.shape) == 3 else Sequences if padded else Numbers
        return DataSpec(input=input_kind(shape=self.shape), task=task)

    def build(self, seed: int) -> Data:
        data_seed = seed if self.seed is None else self.seed
        patterns = self._patterns(data_seed)
        test = self._draw(patterns, self.test_samples, data_seed, "test")
        samples = self._draw(patterns, self.samples, data_seed, "train")
        return Data(self.spec(), *self.train_val_test(samples, seed, test))

    def _patterns(self, seed: int) -> Tensor:
        """One pattern per factor, smooth in space and time, of mean square 1 in all. Shape (size, values)."""
        patterns = torch.randn(self.size, *self.shape, generator=generator(seed, "synthetic", "patterns"))
        if len(self.shape) == 2:  # smooth along the length, the last axis of avg_pool1d
            patterns = functional.avg_pool1d(patterns.transpose(1, 2), 3, stride=1, padding=1).transpose(1, 2)
        elif len(self.shape) == 3:
            patterns = functional.avg_pool2d(patterns, 3, stride=1, padding=1)
        return patterns.flatten(1) / patterns.square().mean().sqrt()

    def _draw(self, patterns: Tensor, count: int, seed: int, purpose: str) -> TensorSource | SequenceSource:
        """Mix the patterns, each weighted by its factor, so that the inputs have mean square 1 before the noise."""
        random = generator(seed, "synthetic", purpose)
        reading = task_class(self.target).reading
        if reading == "words":
            targets = torch.randint(self.size, (count,), generator=random)
            inputs = patterns[targets]
        else:
            factors = torch.randn(count, self.size, generator=random)
            targets = factors if reading == "numbers" else (factors > 0).float()
            inputs = factors @ patterns / math.sqrt(self.size)
        inputs = (inputs + self.noise * torch.randn(inputs.shape, generator=random)).view(count, *self.shape)
        if len(self.shape) == 3:
            inputs = (inputs * 48 + 128).round().clamp(0, 255).to(torch.uint8)
        if self.min_length is not None:
            lengths = torch.randint(self.min_length, self.shape[0] + 1, (count,), generator=random).tolist()
            return SequenceSource.of([one[:length] for one, length in zip(inputs, lengths, strict=True)], targets)
        return TensorSource(inputs, targets)
