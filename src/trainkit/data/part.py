"""A part of the training samples, read once, to be looked at again and again."""

from __future__ import annotations

from dataclasses import replace

import torch

from trainkit.data.base import Batch, Data, Split, TensorSource
from trainkit.seeding import permutation

READ_AT_ONCE = 256


def part(data: Data, samples: int) -> Data:
    """The same data with so many of its training samples, always the same ones, in memory if they fit together."""
    return replace(data, train=_some(data.train, samples))


def _some(split: Split, samples: int) -> Split:
    order = permutation(len(split), 0, "part")
    return in_memory(Split(split.source, split.index[order[:samples].sort().values]))


def part_of_all(data: Data, samples: int) -> Data:
    """The same with so many training samples, and half as many of every other split."""
    few = part(data, samples)
    val, test = (None if split is None else _some(split, samples // 2) for split in (data.val, data.test))
    return replace(few, val=val, test=test)


def in_memory(split: Split) -> Split:
    """The same samples without their files; a split of padded sequences is left as it is."""
    if isinstance(split.source, TensorSource):
        return split
    batches: list[Batch] = []
    for some in torch.arange(len(split)).split(READ_AT_ONCE):
        batch = split.take(some)
        if batch.lengths is not None:
            return split
        batches.append(batch)
    inputs, targets = (torch.cat([getattr(batch, key) for batch in batches]) for key in ("inputs", "targets"))
    return Split(TensorSource(inputs, targets), torch.arange(len(split)))
