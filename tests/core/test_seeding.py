from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest
import torch

from trainkit.core.seeding import derive, generator, generators_restored, permutation, reseed, uniform

INDEX = torch.arange(200_000)


def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first.double(), second.double()]))[0, 1])


def test_keys_do_not_collide() -> None:
    keys: list[tuple[int, tuple[str | int, ...]]] = [
        (1, ("a", "b")),
        (1, ("ab",)),
        (1, ("a", "b", 0)),
        (1, ("a", 1)),
        (1, ("a", "1")),
        (1, ("a1",)),
        (1, ("a, 'b",)),
        (1, ("a', 'b",)),
        (11, ("a",)),
        (1, (1, "a")),
        (1, ()),
        (1, ("",)),
    ]
    keys += [(seed, ("step", step)) for seed, step in product(range(100), range(100))]
    assert len({derive(seed, *key) for seed, key in keys}) == len(keys)


def test_derived_seeds_suit_every_generator_and_stay() -> None:
    seeds = [derive(seed, "x") for seed in (0, 1, 2**63 - 1)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(42, "order", 0) == 1608622093565479053


def test_generators_and_permutations() -> None:
    assert torch.equal(torch.rand(5, generator=generator(1, "x")), torch.rand(5, generator=generator(1, "x")))
    assert permutation(1000, 1, "x").sort().values.tolist() == [*range(1000)]
    assert not torch.equal(permutation(1000, 1, "x"), permutation(1000, 1, "y"))


def test_reseed_sets_what_dropout_draws_from() -> None:
    cpu = torch.device("cpu")
    reseed(cpu, 0, "step", 1)
    first = torch.rand(5)
    torch.rand(100)
    reseed(cpu, 0, "step", 1)
    assert torch.equal(torch.rand(5), first)
    reseed(cpu, 0, "step", 2)
    assert not torch.equal(torch.rand(5), first)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (42, 1), (2**63 - 1, 99)])
def test_uniform_is_uniform(seed: int, epoch: int) -> None:
    draws = uniform(INDEX, seed, "crop x", epoch)
    assert draws.dtype == torch.float32
    assert 0 <= draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1
    assert draws.double().mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * len(INDEX)))
    assert draws.double().var().item() == pytest.approx(1 / 12, rel=0.02)
    bins = 256
    counts = (draws * bins).long().bincount(minlength=bins)
    expected = len(INDEX) / bins
    chi2 = ((counts - expected) ** 2 / expected).sum().item()
    assert chi2 == pytest.approx(bins - 1, abs=5 * math.sqrt(2 * bins))


def test_uniform_never_reaches_a_bound() -> None:
    largest = torch.tensor(1 - 2**-24)
    for places in range(1, 2001):
        assert int(largest * places) == places - 1


def test_neighbours_are_uncorrelated() -> None:
    limit = 5 / math.sqrt(len(INDEX))
    draws = uniform(INDEX, 0, "crop x", 0)
    for lag in (1, 2, 8, 28, 64, 1000):
        assert abs(correlation(draws[lag:], draws[:-lag])) < limit
    for other in (
        uniform(INDEX, 0, "crop x", 1),
        uniform(INDEX, 0, "crop y", 0),
        uniform(INDEX, 1, "crop x", 0),
        uniform(INDEX + 1, 0, "crop x", 1),
    ):
        assert abs(correlation(draws, other)) < limit
        assert not (draws == other)[:100].any()


def test_uniform_is_the_same_on_every_batch_split() -> None:
    whole = uniform(INDEX[:1000], 3, "flip", 2)
    order = torch.randperm(1000)
    for part in torch.chunk(order, 143):
        assert torch.equal(uniform(part, 3, "flip", 2), whole[part])


def test_uniform_needs_no_generator_state() -> None:
    state = torch.get_rng_state()
    uniform(INDEX[:10], 3, "flip", 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_uniform_is_splitmix64() -> None:
    def reference(index: int) -> float:
        bits = (index * 0x9E3779B97F4A7C15 + derive(42, "flip", 0)) % 2**64
        bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ bits >> 27) * 0x94D049BB133111EB % 2**64
        return ((bits ^ bits >> 31) >> 40) / 2**24

    numbers = [*range(100), 60_000, 2**40 + 1, 2**63 - 1]
    assert uniform(torch.tensor(numbers), 42, "flip", 0).tolist() == [reference(index) for index in numbers]


def test_the_generator_of_the_device_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    device, used, told = torch.device("cuda:1"), [torch.device("cuda:0")], []

    @contextmanager
    def current(device: torch.device) -> Iterator[None]:
        used.append(device)
        yield
        used.pop()

    monkeypatch.setattr(torch.cuda, "device", current)
    monkeypatch.setattr(torch.cuda, "manual_seed", lambda seed: told.append((used[-1], seed)))
    reseed(device, 1, "step", 3)
    assert told == [(device, derive(1, "step", 3))]

    states = {device: torch.tensor([7])}
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device].clone())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({device: state}))
    with generators_restored(device):
        states[device] = torch.tensor([8])
    assert states[device].tolist() == [7]
