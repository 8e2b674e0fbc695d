from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trainkit.core.errors import DataError
from trainkit.data.sequences import SequenceSource
from trainkit.data.sources.synthetic import SyntheticConfig
from trainkit.data.sources.tensors import TensorsConfig

STEPS = [
    torch.tensor([[1.0, 2.0]]),
    torch.tensor([[3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]),
    torch.tensor([[9.0, 10.0]] * 2),
]
TARGETS = torch.tensor([0, 1, 1])


def test_a_batch_is_as_long_as_its_longest_sequence() -> None:
    source = SequenceSource.of(STEPS, TARGETS)
    batch = source.take(torch.tensor([2, 0]))
    assert batch.inputs.tolist() == [[[9, 10], [9, 10]], [[1, 2], [0, 0]]]
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [2, 1]
    assert batch.targets.tolist() == [1, 0]
    assert source.take(torch.tensor([1])).inputs.tolist() == [STEPS[1].tolist()]


def test_digest_sees_where_sequences_end() -> None:
    moved = [STEPS[0], STEPS[1][:2], torch.cat([STEPS[1][2:], STEPS[2]])]
    assert SequenceSource.of(STEPS, TARGETS).digest() != SequenceSource.of(moved, TARGETS).digest()


def test_the_three_ways_of_giving_them_are_the_same(tmp_path: Path) -> None:
    everything = {"inputs": torch.cat(STEPS).numpy(), "lengths": np.array([1, 3, 2]), "targets": TARGETS.numpy()}
    np.savez(tmp_path / "all.npz", allow_pickle=False, **everything)
    torch.save({"inputs": STEPS, "targets": TARGETS}, tmp_path / "all.pt")
    lists = tuple(tuple(tuple(step) for step in one.tolist()) for one in STEPS)
    configs = [
        TensorsConfig(file="all.npz", val=0),
        TensorsConfig(file="all.pt", val=0),
        TensorsConfig(inputs=lists, targets=(0, 1, 1), val=0),
    ]
    opened = [config.open(0) for config in configs]
    assert len({data.train.source.digest() for data in opened}) == 1
    assert all((data.spec.shape, data.spec.input.has_lengths) == ((3, 2), True) for data in opened)


def test_the_longest_may_be_a_test_sample(tmp_path: Path) -> None:
    torch.save(
        {"inputs": STEPS[:1] * 2, "targets": TARGETS[:2], "test_inputs": STEPS, "test_targets": TARGETS},
        tmp_path / "all.pt",
    )
    assert TensorsConfig(file="all.pt", val=1).open(0).spec.shape == (3, 2)


@pytest.mark.parametrize("lengths", [[1, 3, 3], [0, 4, 2], [[6]], [1.0, 3.0, 2.0], [], [2**62, 2**62, 6 - 2**63]])
def test_lengths_that_do_not_fit(tmp_path: Path, lengths: list[int]) -> None:
    np.savez(tmp_path / "all.npz", allow_pickle=False, inputs=torch.cat(STEPS), lengths=lengths, targets=TARGETS)
    with pytest.raises(DataError, match=r"all\.npz: lengths"):
        TensorsConfig(file="all.npz").build(0)


def test_synthetic_sequences_of_random_length() -> None:
    data = SyntheticConfig(shape=(12, 3), size=2, min_length=4, samples=100, val=0).open(0)
    batch = data.train.take(torch.arange(100))
    assert batch.lengths is not None
    assert (int(batch.lengths.min()), int(batch.lengths.max())) == (4, 12)
    assert data.spec.input.has_lengths
    with pytest.raises(ValueError, match=r"min_length is for sequences \[length, features\] at least as long"):
        SyntheticConfig(shape=(12, 3), min_length=13)
