"""Which samples are held out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainkit.data.splitting import Keys, ascending, held_out, stratified


def parted(count: int, total: int, seed: int = 0, **options: object) -> tuple[Tensor, Tensor]:
    """The samples held out, and the others, which are all of them."""
    out, rest = held_out(count, total, seed, "split", **options)  # type: ignore[arg-type]
    assert sorted(torch.cat([out, rest]).tolist()) == list(range(total))
    return out, rest


def test_by_chance() -> None:
    out, rest = parted(30, 100)
    assert (len(out), len(rest)) == (30, 70)
    assert out.tolist() == parted(30, 100)[0].tolist()
    assert out.tolist() != parted(30, 100, seed=1)[0].tolist()
    assert out.tolist() == parted(50, 100)[0][:30].tolist()  # more are the same and others


@pytest.mark.parametrize("count", [0, 100])
def test_none_or_all(count: int) -> None:
    keys = Keys(groups=torch.arange(100) // 10)
    for options in ({}, {"keys": keys}, {"labels": torch.arange(100) % 2}):
        assert len(parted(count, 100, **options)[0]) == count


@pytest.mark.parametrize("seed", range(20))
def test_classes_in_their_proportions(seed: int) -> None:
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    out, _ = parted(30, 100, seed, labels=labels)
    assert labels[out].bincount().tolist() == [21, 6, 3]


@pytest.mark.parametrize("seed", range(20))
def test_a_rare_class_is_never_only_in_the_samples_held_out(seed: int) -> None:
    labels = torch.tensor([0] * 50 + [1] * 49 + [2])
    assert 2 in labels[parted(20, 100, seed, labels=labels)[1]]
    pair = torch.tensor([0] * 50 + [1] * 48 + [2] * 2)
    assert 2 in pair[parted(20, 100, seed, labels=pair)[1]]


def test_every_beginning_is_stratified() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1])
    order = stratified(torch.arange(9), labels)
    for count in (3, 6, 9):
        assert labels[order[:count]].bincount(minlength=2).tolist() == [count * 2 // 3, count // 3]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_not_parted(seed: int) -> None:
    groups = torch.arange(100) // 7
    out, rest = parted(20, 100, seed, keys=Keys(groups=groups))
    assert not set(groups[out].tolist()) & set(groups[rest].tolist())
    assert abs(len(out) - 20) <= 3  # groups of 7: as near as can be
    again, _ = parted(20, 100, seed, keys=Keys(groups=groups))
    assert out.tolist() == again.tolist()


def test_groups_are_drawn_by_the_seed() -> None:
    groups = torch.arange(100) // 5
    drawn = {
        tuple(sorted(set(groups[parted(20, 100, seed, keys=Keys(groups=groups))[0]].tolist()))) for seed in range(5)
    }
    assert len(drawn) > 1
    assert all(len(some) == 4 for some in drawn)


def test_one_group_stays_whole() -> None:
    out, rest = parted(20, 100, keys=Keys(groups=torch.zeros(100, dtype=torch.int64)))
    assert (len(out), len(rest)) == (0, 100)


def test_the_latest_are_held_out() -> None:
    ranks = torch.tensor([5.0, 1, 9, 3, 7, 2, 8, 4, 6, 0])
    out, rest = parted(3, 10, keys=Keys(ranks=ranks))
    assert sorted(ranks[out].tolist()) == [7, 8, 9]
    assert out.tolist() == parted(3, 10, seed=7, keys=Keys(ranks=ranks))[0].tolist()
    val, _ = parted(2, 7, keys=Keys(ranks=ranks).at(rest))
    assert sorted(ranks[rest][val].tolist()) == [5, 6]


def test_those_of_one_day_are_not_parted() -> None:
    days = torch.tensor([1, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    for count, expected in ((1, 3), (2, 3), (3, 3), (4, 3), (5, 6), (6, 6), (9, 6)):
        out, rest = parted(count, 10, keys=Keys(ranks=days))
        assert len(out) == expected
        assert days[rest].max() < days[out].min()


def test_keys_win_over_classes() -> None:
    labels, ranks = torch.arange(10) % 2, torch.arange(10)
    out, _ = parted(4, 10, labels=labels, keys=Keys(ranks=ranks))
    assert sorted(out.tolist()) == [6, 7, 8, 9]


def test_keys_of_some_samples() -> None:
    keys = Keys(groups=torch.tensor([4, 5, 6]))
    assert keys.given is not None
    assert keys.at(torch.tensor([2, 0])).groups.tolist() == [6, 4]  # type: ignore[union-attr]
    assert Keys().given is None
    assert Keys().at(torch.tensor([0])).given is None


def test_ascending() -> None:
    assert ascending(torch.tensor([7, 0, 3]), 8).tolist() == [0, 3, 7]
    assert ascending(torch.zeros(0, dtype=torch.int64), 8).tolist() == []
