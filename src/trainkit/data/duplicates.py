"""Duplicate samples: hashes by which equal ones are found, in one split, and leaked from training into val or test."""

from __future__ import annotations

import math
from typing import TypeGuard

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.core.seeding import generator
from trainkit.data.base import Source, Split, TensorSource
from trainkit.data.sequences import SequenceSource


def shared_with(train: Split, val: Split | None, test: Split | None) -> dict[str, int]:
    """How many samples of each other split are training samples as well, as far as can be told without decoding."""
    others = {name: split for name, split in (("val", val), ("test", test)) if split is not None}
    if isinstance(train.source, SequenceSource) and train.source.is_text:
        return {name: _shared_texts(train, split) for name, split in others.items()}
    if not are_compared(train.source):
        return {name: _same_source(train, split) for name, split in others.items()}
    ours = _identities(train.source, train.index)
    # Where training samples repeat each other, as in tables of a few whole numbers, others repeat them, too.
    repeats = len(ours) - len(ours.unique())
    if train.source.inputs.dtype != torch.uint8 and train.source.inputs[0].numel() == 1:
        repeats = max(repeats, 2)  # of single numbers none may happen to be repeated
    repeated = 2 * repeats / len(ours)
    shared = {}
    for name, split in others.items():
        if not are_compared(split.source):
            shared[name] = _same_source(train, split)
            continue
        common = int(torch.isin(_identities(split.source, split.index), ours).sum())
        more_than_chance = common > _at_most(repeated * len(split))
        if common and not more_than_chance:
            more_than_chance = common > 1 + _at_most(len(train) * len(split) / _combinations(train))
        shared[name] = common if more_than_chance else 0
    return shared


def are_compared(source: Source) -> TypeGuard[TensorSource]:
    """Whether samples are looked at one by one: those in memory, whose inputs are one tensor."""
    return type(source) is TensorSource and isinstance(source.inputs, Tensor)


def _at_most(expected: float) -> float:
    """How many there may be by chance, where so many are expected."""
    return expected + 3 * math.sqrt(expected)


def _shared_texts(train: Split, other: Split) -> int:
    """How many texts of another split are training texts, too, unless these repeat each other as often."""
    ours, theirs = _texts(train), _texts(other)
    known = set(ours)
    common = sum(text in known for text in theirs)
    return common if common > _at_most(2 * (1 - len(known) / len(ours)) * len(theirs)) else 0


def _texts(split: Split) -> list[bytes]:
    """The tokens of each text."""
    assert isinstance(split.source, SequenceSource)
    values, ends = split.source.values.numpy(), split.source.lengths.cumsum(0)
    starts = (ends - split.source.lengths)[split.index].tolist()
    return [values[start:end].tobytes() for start, end in zip(starts, ends[split.index].tolist(), strict=True)]


def _same_source(one: Split, other: Split) -> int:
    return len(other) if one.source is not other.source and one.source.digest() == other.source.digest() else 0


def _combinations(split: Split) -> float:
    """How many rows could be different ones: the product of the different numbers of the columns with many of them."""
    assert isinstance(split.source, TensorSource)
    inputs = split.source.inputs
    if inputs.ndim != 2 or inputs.dtype == torch.uint8:
        return 1.0
    some = inputs[split.index[:COUNTED]]
    different = (len(column.unique()) for column in some.T)
    return math.prod((float(count) for count in different if count > math.sqrt(len(some))), start=1.0)


COUNTED = 2000
"""Rows of which the different numbers are counted."""


def _identities(source: TensorSource, index: Tensor) -> Tensor:
    """Numbers that are equal for equal samples. Many rows of a table are alike: their targets have to be, too."""
    keys = hashes(source.inputs, index)
    if source.inputs.dtype == torch.uint8 or not isinstance(source.targets, Tensor):
        return keys
    return keys + 3 * hashes(source.targets, index)


HASHED_AT_ONCE = 1_000_000
"""Bytes; larger pieces are no faster and would be the most memory that a small run ever needs."""


def hashes(inputs: Tensor, index: Tensor) -> Tensor:
    """A number for each of some samples, shape (n,), int64: its 32-bit words times random keys, summed modulo 2^64."""
    width = inputs[0].numel() * inputs.element_size()
    keys = torch.randint(-(2**62), 2**62, (-(-width // 4),), generator=generator(0, "hash"))
    sums = torch.empty(len(index), dtype=torch.int64)
    count = max(1, HASHED_AT_ONCE // width)
    for some, out in zip(index.split(count), sums.split(count), strict=True):
        octets = inputs.index_select(0, some).view(len(some), -1).view(torch.uint8)
        words = (functional.pad(octets, (0, -width % 4)) if width % 4 else octets).view(torch.int32)
        torch.sum(words * keys, 1, out=out)
    return sums
