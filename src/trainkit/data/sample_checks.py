"""Checks of the samples: missing or constant classes, shared samples, numbers lost in float32, and other mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from trainkit.core.diagnostics import Diagnostic
from trainkit.data.base import Data
from trainkit.data.duplicates import shared_with


def diagnostics(data: Data) -> list[Diagnostic]:
    """What the samples are that is allowed, but usually a mistake."""
    return list(_diagnostics(data))


def _diagnostics(data: Data) -> Iterator[Diagnostic]:
    target = data.spec.target
    yield from data.found
    if 0 in target.counts:
        missing = target.counts.index(0)
        what = "has the class" if target.kind == "classification" else "is true for the label"
        text = f"data: no training sample {what} {target.names[missing] if target.names else missing!r}"
        yield Diagnostic("missing-class", text)
    if target.kind == "classification" and max(target.counts) == target.samples:
        text = "data: all training samples are of one class; there is nothing to tell apart"
        yield Diagnostic("one-class", text)
    if target.kind == "regression" and len(data.train) > 1:
        targets = data.train.targets.view(len(data.train), -1)
        for column in (targets == targets[0]).all(0).nonzero()[:1].flatten().tolist():
            name = f" of {target.names[column]!r}" if target.names else ""
            text = f"data: the target{name} is {float(targets[0, column]):g} for every training sample"
            yield Diagnostic("constant-target", f"{text}; there is nothing to learn")
    if data.val is not None and len(data.val) > len(data.train):
        apart = data.val.source is not data.train.source
        text = f"data: the val split has {len(data.val):,}" if apart else f"data.val: holds out {len(data.val):,}"
        text = f"{text} samples, more than the {len(data.train):,} to train on"
        yield Diagnostic("large-val", text)
    folded: dict[str, str] = {}
    for name in target.names:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            text = f"data: {other!r} and {name!r} are two classes, though only upper and lower case differ"
            yield Diagnostic("class-names", text)
    if target.kind == "classification":
        yield from _numbers_as_classes(target.names, data.spec.image)
    shared = shared_with(data.train, data.val, data.test)
    for name, split in (("val", data.val), ("test", data.test)):
        if split is not None and shared[name]:
            text = f"data: {shared[name]:,} of the {len(split):,} {name} samples are also training samples"
            yield Diagnostic("shared-samples", text)


MANY_NUMBERS = 50
"""So many classes whose names are whole numbers are amounts rather than names."""


def _numbers_as_classes(names: Sequence[str], pictures: bool) -> Iterator[Diagnostic]:
    """What is odd about classes whose names are numbers."""
    try:
        values = [float(name) for name in names]
    except ValueError:
        return
    if not all(map(math.isfinite, values)):
        return
    first: dict[float, str] = {}
    for name, value in zip(names, values, strict=True):
        if (other := first.setdefault(value, name)) != name:
            text = f"data: {other!r} and {name!r} are two classes, though they are the same number"
            yield Diagnostic("class-names", text)
    fractions = [name for name, value in zip(names, values, strict=True) if value % 1]
    if fractions or (len(names) > MANY_NUMBERS and not pictures):  # folders of pictures may well be numbered
        shown = ", ".join((fractions or list(names))[:2])
        text = f"data: the targets are numbers ({shown} …), but taken for {len(names)} classes"
        yield Diagnostic("numbers-as-classes", f"{text}; predict them as numbers, unless they are names")


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
