"""What texts are: how long, how much of them is unknown, and a few of them as the model sees them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import torch

from trainkit.core import nest
from trainkit.core.text import aligned, printable
from trainkit.data import Data
from trainkit.data.sequences import SequenceSource

BARS = 10
"""Into so many ranges of equal width lengths are counted."""
WIDTH = 30
"""Characters of the longest bar."""
SHOWN = 4
"""Texts."""


def text_lines(data: Data) -> list[str]:
    """The lengths of the training texts in tokens, and the first texts."""
    split = data.train
    assert isinstance(split.source, SequenceSource)
    return ["", *_histogram(split.source.lengths[split.index].tolist()), "", *_first(data)]


def _histogram(lengths: list[int]) -> list[str]:
    low, high = min(lengths), max(lengths)
    step = max(1, -(-(high - low + 1) // BARS))
    counts = [0] * (1 + (high - low) // step)
    for length in lengths:
        counts[(length - low) // step] += 1
    rows = [["tokens", "texts", ""]]
    for number, count in enumerate(counts):
        first = low + number * step
        bar = "█" * round(WIDTH * count / max(counts))
        rows.append([f"{first:,} to {min(first + step - 1, high):,}", f"{count:,}", bar])
    return aligned(rows, right=(1,))


def _first(data: Data) -> Iterator[str]:
    batch = data.train.take(torch.arange(min(SHOWN, len(data.train))))
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.lengths is not None
    labels = map(data.spec.task.words, nest.samples(batch.targets))
    for label, text in zip(labels, data.spec.input.decoded(batch.inputs, batch.lengths), strict=True):
        yield f"{label}: {textwrap.shorten(printable(text), 100, placeholder=' …')}"
