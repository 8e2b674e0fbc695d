"""Held-out samples for validation and test: at random, stratified by class, group by group, or the latest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.core.errors import DataError
from trainkit.core.nest import Nest
from trainkit.core.seeding import permutation
from trainkit.tasks import Task, suited_to


@dataclass(frozen=True, slots=True)
class Keys:
    """What keeps samples together, or brings them into an order: one of the two, or nothing."""

    groups: Tensor | None = None
    """Samples of one group are in one split. Shape (n,), int64."""
    ranks: Tensor | None = None
    """The latest samples are held out. Shape (n,)."""

    @property
    def given(self) -> Tensor | None:
        return self.groups if self.ranks is None else self.ranks

    def at(self, indices: Tensor) -> Keys:
        """Of these samples alone."""
        return Keys(*(None if one is None else one[indices] for one in (self.groups, self.ranks)))


def held_out(
    count: int, total: int, *key: str | int, labels: Tensor | None = None, keys: Keys | None = None
) -> tuple[Tensor, Tensor]:
    """The samples to hold out, and the others in the order in which they would have followed; a function of the key.

    Groups are not parted, and neither are samples of the same rank: then they are as near to the count as can be.

    Args:
        key: the seed and the purpose, as of `seeding.permutation`.
        labels: classes; those held out then have them in their proportions, without groups or ranks. Shape (total,).
    """
    seed, *purpose = key
    assert isinstance(seed, int)
    keys = keys or Keys()
    if keys.ranks is not None:
        order = keys.ranks.argsort(stable=True).flip(0)
    elif keys.groups is not None:
        groups, inverse = keys.groups.unique(return_inverse=True)
        order = permutation(len(groups), seed, *purpose)[inverse].argsort(stable=True)
    else:
        order = permutation(total, seed, *purpose)
        order = order if labels is None else stratified(order, labels)
    if keys.given is not None and 0 < count < total:
        together = keys.given[order]
        ends = (together[1:] != together[:-1]).nonzero().flatten() + 1
        count = int(ends[(ends - count).abs().argmin()]) if len(ends) else 0
    return order[:count], order[count:]


def ascending(indices: Tensor, total: int) -> Tensor:
    """Different indices below a total, in ascending order, so that reading samples is reading memory in order."""
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[indices] = True
    return chosen.nonzero().flatten()  # a sort takes ten times as long


def classes_of(targets: Nest, task: Task | type[Task] | None, needed: str) -> Tensor:
    """The class of each sample, by which they are stratified and balanced, shape (n,), int64.

    Args:
        task: knows it; where nobody has told the task, the one that such targets are probably for.
        needed: begins the message: what the classes are needed for, and `the targets`.

    Raises:
        DataError: the task has none.
    """
    found = (task or suited_to(targets)).balance_key(targets)
    if found is None:
        raise DataError(f"{needed} are no classes{f', but {task.phrase}' if task else ''}")
    return found


def balanced_weights(targets: Nest, task: Task | None) -> Tensor:
    """How often to draw each sample so that all classes come as often: one over the size of its class, shape (n,).

    Raises:
        DataError: as `classes_of`.
    """
    classes = classes_of(targets, task, "loader.sampler: balanced needs classes, the targets of the data")
    return classes.bincount().double().reciprocal()[classes]


def stratified(order: Tensor, labels: Tensor) -> Tensor:
    """The same order, rearranged so that every beginning of it has the classes in their proportions."""
    labels = labels[order]
    # A sample's rank among those of its class, as a share of them: 0.5/n, 1.5/n, …
    share = torch.empty(len(order), dtype=torch.float64)
    for label in labels.unique():
        of_label = labels == label
        size = int(of_label.sum())
        share[of_label] = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return order[share.argsort(stable=True)]
