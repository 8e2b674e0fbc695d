"""Checks of the samples: missing or constant classes, shared samples, numbers lost in float32, and other mistakes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from trainkit.core.diagnostics import Diagnostic
from trainkit.data.base import Data
from trainkit.data.duplicates import shared_with


def diagnostics(data: Data) -> list[Diagnostic]:
    """What the samples are that is allowed, but usually a mistake."""
    return list(_diagnostics(data))


def _diagnostics(data: Data) -> Iterator[Diagnostic]:
    yield from data.found
    yield from data.spec.task.diagnostics(data.train.targets, pictures=data.spec.input.pictures)
    if data.val is not None and len(data.val) > len(data.train) and not data.train.is_stream:
        apart = data.val.source is not data.train.source
        text = f"data: the val split has {len(data.val):,}" if apart else f"data.val: holds out {len(data.val):,}"
        text = f"{text} samples, more than the {len(data.train):,} to train on"
        yield Diagnostic("large-val", text)
    shared = shared_with(data.train, data.val, data.test)
    for name, split in (("val", data.val), ("test", data.test)):
        if split is not None and shared[name]:
            text = f"data: {shared[name]:,} of the {len(split):,} {name} samples are also training samples"
            yield Diagnostic("shared-samples", text)


EXACTLY = 1000
"""Training samples of which the numbers are compared before and after they become float32."""
KEPT = 0.8
"""With a smaller share of different numbers left, more is lost than what does not matter."""
NOISE = 1e-12
"""Numbers that differ by this share of their size differ by how they were computed."""


def lost_in_float32(exact: Tensor, what: str) -> list[Diagnostic]:
    """Whether numbers that differ become equal in float32, in which networks compute: the column that loses most.

    Args:
        exact: numbers of training samples as they were given, shape (n, columns).
        what: they are, such as `targets`.
    """
    if exact.dtype not in (torch.float64, torch.int64, torch.int32) or exact.shape[0] < 2:
        return []
    exact = exact[:EXACTLY].double()
    columns = (exact != exact.float().double()).any(0).nonzero().flatten()
    worst: tuple[float, int, int, int] | None = None
    for number in columns.tolist():
        values = exact[:, number].sort().values
        before = 1 + int((values.diff() > NOISE * values[1:].abs()).sum())
        after = len(values.float().unique())
        if after < KEPT * before and (worst is None or after / before < worst[0]):
            worst = (after / before, number, before, after)
    if worst is None:
        return []
    _, number, before, after = worst
    column = f" {number}" if exact.shape[1] > 1 else ""
    few = f" (of the first {EXACTLY:,} samples)" if len(exact) == EXACTLY else ""
    offset = f"{float(exact[:, number].min()):.6g}"
    text = f"data: {before:,} different numbers of the {what}{column}{few} become {after:,} in float32"
    return [Diagnostic("float32", f"{text}; subtract an offset first, such as {offset}, or make categories of them")]
