"""What data is to the rest of trainkit: batches, splits, and a spec that tells the model its sizes."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.config import Config
from trainkit.errors import DataError
from trainkit.seeding import permutation
from trainkit.yamlfile import show

Kind = Literal["class", "multilabel", "number"]
"""What a target is: one class of several, any of several labels, or numbers."""


class Batch(NamedTuple):
    """What one forward pass sees. A NamedTuple, because the DataLoader pins those and passes others by unpinned."""

    inputs: Tensor
    """Shape (batch, *spec.shape); uint8 for images that are not yet normalised, else float32."""
    targets: Tensor
    """Shape (batch,) int64 for classes; (batch, size) float32 for numbers and multi-label vectors."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no one calls on a batch
    """Shape (batch,), int64: the samples' places in their source. Random transforms are functions of it."""


class Source(Protocol):
    """Samples by number. A source in memory hands out a whole batch for an index tensor."""

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Batch:
        """The samples with these numbers, shape (batch,), int64."""
        ...

    def digest(self) -> str:
        """A fingerprint of all samples, equal for equal data on any machine."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSource:
    """Samples that fit in memory: `inputs` (n, *shape) and `targets` (n, …)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Tensor) -> Batch:
        return Batch(self.inputs[index], self.targets[index], index)

    def digest(self) -> str:
        sha = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            sha.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class Split(Dataset[Batch]):
    """Some samples of a source, in the order of `index` (shape (n,), int64)."""

    source: Source
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, positions: Tensor) -> Batch:
        """The batch at these positions of `index`, shape (batch,), int64."""
        return self.source.take(self.index[positions])


class TargetSpec(Config):
    """What is to be predicted."""

    kind: Kind
    size: int = Field(ge=1)
    """How many classes, labels or numbers."""
    names: tuple[str, ...] = ()
    """Class or label names, in the order of the model's outputs; may be empty."""


class DataSpec(Config):
    """What the data tells the model, and what evaluation needs to treat new samples like the training ones."""

    shape: tuple[int, ...]
    """One input, as the model sees it: (channels, height, width), (length, features) or (features,)."""
    target: TargetSpec
    image: bool = False
    """Whether inputs are uint8 pictures, to be scaled to 0 … 1 and normalised on the device."""
    mean: tuple[float, ...] = ()
    """Per channel, in units of 0 … 1; empty: no normalisation beyond the scaling."""
    std: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """The splits of one data set. Only `train` is always there."""

    spec: DataSpec
    train: Split
    val: Split | None
    test: Split | None

    def split(self, name: str) -> Split:
        """A split by its name.

        Raises:
            DataError: the data has no such split.
        """
        splits = self._splits()
        if (found := splits.get(name)) is None:
            there = ", ".join(key for key, split in splits.items() if split is not None)
            raise DataError(f"unknown split {name!r}; available: {there}")
        return found

    def digests(self) -> dict[str, str]:
        """A fingerprint of every split: of its samples and of which they are."""
        splits = {name: split for name, split in self._splits().items() if split is not None}
        sources = {id(split.source): split.source for split in splits.values()}
        digests = {key: source.digest().encode() for key, source in sources.items()}
        return {
            name: hashlib.sha256(digests[id(split.source)] + split.index.numpy().tobytes()).hexdigest()[:16]
            for name, split in splits.items()
        }

    def _splits(self) -> dict[str, Split | None]:
        return {"train": self.train, "val": self.val, "test": self.test}


class DataConfig(Config):
    """Base of every data source."""

    name: str
    val: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Held out of the training samples for validation: a count, or a fraction (at least 1 sample). 0 for none."""

    @abstractmethod
    def spec(self) -> DataSpec:
        """What this config alone tells of the data, without reading it."""

    def stand_in(self) -> DataConfig | None:
        """What to use instead when the data is missing; None, unless the config says otherwise."""
        return None

    @abstractmethod
    def build(self, seed: int) -> Data:
        """Read the data and split it.

        Raises:
            DataError: the data is missing or damaged.
        """


def split_off_val(source: Source, val: float, seed: int) -> tuple[Split, Split | None]:
    """Divide the training samples into train and val: disjoint, and a function of the seed.

    Raises:
        DataError: `val` leaves no sample to train on.
    """
    total = len(source)
    count = max(1, round(total * val)) if isinstance(val, float) else val
    if count >= total:
        raise DataError(f"data.val: {show(val)}, but there are {total} training samples")
    if count == 0:
        return Split(source, torch.arange(total)), None
    order = permutation(total, seed, "split")
    # Sorted, so that reading the samples in order is reading memory in order.
    return Split(source, order[count:].sort().values), Split(source, order[:count].sort().values)
