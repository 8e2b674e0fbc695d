"""A subset of the training samples, read once and kept in memory, to be used again and again."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainkit.core import nest
from trainkit.core.seeding import permutation
from trainkit.data.base import Data, Split, TensorSource

READ_AT_ONCE = 256
MOST_BYTES = 1_000_000_000
"""Of inputs; more are read anew each time."""


def train_subset(data: Data, samples: int) -> Data:
    """The same data with so many of its training samples, always the same ones, in memory if they fit together."""
    return replace(data, train=_subset(data.train, samples))


def _subset(split: Split, samples: int) -> Split:
    order = permutation(len(split), 0, "part")
    return in_memory(Split(split.source, split.index[order[:samples].sort().values]))


def subset_of_all(data: Data, samples: int) -> Data:
    """The same with so many training samples, and half as many of every other split."""
    few = train_subset(data, samples)
    val, test = (None if split is None else _subset(split, samples // 2) for split in (data.val, data.test))
    return replace(few, val=val, test=test)


def in_memory(split: Split) -> Split:
    """The same samples without their files, unless they take too much memory or are padded sequences."""
    if isinstance(split.source, TensorSource) or not len(split):
        return split
    first = split.take(torch.zeros(1, dtype=torch.int64))
    if first.lengths is not None or nest.nbytes(first.inputs) * len(split) > MOST_BYTES:
        return split
    batches = [split.take(some) for some in torch.arange(len(split)).split(READ_AT_ONCE)]
    inputs, targets = (nest.cat(parts) for parts in zip(*((one.inputs, one.targets) for one in batches), strict=True))
    return Split.whole(TensorSource(inputs, targets))
