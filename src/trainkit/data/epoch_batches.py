"""Which samples are in which batch of an epoch: shuffled, balanced, by length; a function of (seed, epoch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from trainkit.core.seeding import derive, generator, permutation
from trainkit.data.base import BatchRequest


@dataclass(eq=False)
class EpochBatches(Sampler[BatchRequest]):
    """The positions of each batch of an epoch, as arrays cut from one order of the samples.

    Set `epoch` and `start` (batches to leave out) before iterating: resuming costs no more than slicing.
    """

    samples: int
    batch_size: int
    seed: int | None = None
    """Of the orders; None for the samples' own."""
    drop_last: bool = False
    _: KW_ONLY
    weights: Tensor | None = None
    """Shape (samples,): draw with replacement, in proportion to them."""
    lengths: Tensor | None = None
    """Shape (samples,): bring samples of like lengths together."""
    limit: int | None = None
    """The largest number of batches."""
    epoch: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        count = self.samples // self.batch_size if self.drop_last else math.ceil(self.samples / self.batch_size)
        self.count = min(count, self.limit or count)

    def __len__(self) -> int:
        return self.count

    def size(self, batch: int) -> int:
        """Samples in the batch with that index."""
        return min(self.batch_size, self.samples - batch * self.batch_size)

    def __iter__(self) -> Iterator[BatchRequest]:
        order, size = self._order().numpy(), self.batch_size
        seed = derive(self.seed or 0, "sample", self.epoch)
        repeats = None if self.weights is None else _repeats(order)
        # Not a generator function: that would read `epoch` and `start` at the first batch, when they may have moved on.
        return (
            BatchRequest(order[at : at + size], seed, None if repeats is None else repeats[at : at + size])
            for at in range(self.start * size, self.count * size, size)
        )

    def _order(self) -> Tensor:
        if self.seed is None:
            return torch.arange(self.samples)
        if self.weights is None:
            order = permutation(self.samples, self.seed, "order", self.epoch)
        else:
            order = _drawn(self.weights, self.samples, generator(self.seed, "order", self.epoch))
        if self.lengths is None:
            return order
        return _grouped(order, self.lengths, self.batch_size, generator(self.seed, "groups", self.epoch))


PIECE = 50
"""Batches among whose samples those of like lengths are brought together."""


def _grouped(order: Tensor, lengths: Tensor, batch_size: int, random: torch.Generator) -> Tensor:
    """An order, cut into pieces of whole batches; each is sorted by length, and its batches are shuffled. What is left
    over at the end is a batch of its own, as it was."""
    whole = len(order) // batch_size * batch_size
    pieces = []
    for piece in order[:whole].split(PIECE * batch_size):
        batches = piece[lengths[piece].argsort(stable=True)].view(-1, batch_size)
        pieces.append(batches[torch.randperm(len(batches), generator=random)].flatten())
    return torch.cat([*pieces, order[whole:]])


MOST_OF_MULTINOMIAL = 2**24
"""More categories it refuses."""


def _drawn(weights: Tensor, count: int, random: torch.Generator) -> Tensor:
    """So many positions, drawn with replacement in proportion to their weights. Shape (count,), int64."""
    if len(weights) <= MOST_OF_MULTINOMIAL:
        return weights.multinomial(count, replacement=True, generator=random)
    ends = weights.cumsum(0)
    points = torch.rand(count, dtype=torch.float64, generator=random) * ends[-1]
    return torch.searchsorted(ends, points, right=True).clamp_(max=len(weights) - 1)


def _repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each entry of an order stands there before. Shape (n,)."""
    by_sample = order.argsort(kind="stable")
    is_first = np.diff(order[by_sample], prepend=-1) != 0
    positions = np.arange(len(order))
    repeats = np.empty_like(order)
    repeats[by_sample] = positions - np.maximum.accumulate(np.where(is_first, positions, 0))
    return repeats
