"""Which samples are held out: at random, class by class, group by group, or the latest."""

from __future__ import annotations

import torch
from torch import Tensor

from trainkit.seeding import permutation


def arranged(
    total: int, *key: str | int, labels: Tensor | None = None, groups: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    """The samples in an order whose beginning is to be held out; a function of the key. Shape (total,), int64.

    Args:
        key: the seed and the purpose, as of `seeding.permutation`.
        labels: classes; every beginning then has them in their proportions. Shape (total,), int64.
        groups: samples of one group stay together. Shape (total,), int64.
        ranks: the latest come first. Shape (total,).
    """
    seed, *purpose = key
    assert isinstance(seed, int)
    if ranks is not None:
        return ranks.argsort(stable=True).flip(0)
    if groups is not None:
        numbers, place = groups.unique(return_inverse=True)
        return permutation(len(numbers), seed, *purpose)[place].argsort(stable=True)
    order = permutation(total, seed, *purpose)
    return order if labels is None else stratified(order, labels)


def whole(count: int, order: Tensor, keys: Tensor | None) -> int:
    """So many of the order's beginning that no two samples with the same key are parted: as near to the count as can
    be, some on either side where that is possible."""
    if keys is None or count in (0, len(order)):
        return count
    sorted_keys = keys[order]
    ends = (sorted_keys[1:] != sorted_keys[:-1]).nonzero().flatten() + 1
    return int(ends[(ends - count).abs().argmin()]) if len(ends) else 0


def ascending(numbers: Tensor, total: int) -> Tensor:
    """Different numbers below a total, in ascending order, so that reading samples is reading memory in order."""
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[numbers] = True
    return chosen.nonzero().flatten()  # a sort takes ten times as long


def stratified(order: Tensor, labels: Tensor) -> Tensor:
    """The same order, rearranged so that every beginning of it has the classes in their proportions."""
    labels = labels[order]
    # A sample's place among those of its class, as a share of them: 0.5/n, 1.5/n, …
    share = torch.empty(len(order), dtype=torch.float64)
    for label in labels.unique():
        of_label = labels == label
        size = int(of_label.sum())
        share[of_label] = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return order[share.argsort(stable=True)]
