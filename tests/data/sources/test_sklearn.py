from __future__ import annotations

import pytest
import torch

from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.transforms.normalize import Normalize


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (DigitsConfig(), (1, 8, 8)),
        (DigitsConfig(size=28), (1, 28, 28)),
        (DigitsConfig(size=(32, 24), channels=3), (3, 32, 24)),
    ],
)
def test_shapes(config: DigitsConfig, shape: tuple[int, int, int]) -> None:
    data = config.build(0)
    assert data.spec == config.spec()
    assert data.spec.shape == shape
    assert data.val is not None
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (1293, 144, 360)
    batch = data.train.take(torch.arange(50))
    assert batch.inputs.shape == (50, *shape)
    assert batch.inputs.dtype == torch.uint8
    assert (int(batch.inputs.min()), int(batch.inputs.max())) == (0, 255)
    assert set(batch.targets.tolist()) == {*range(10)}
    assert torch.equal(batch.inputs[:, :1].expand(-1, shape[0], -1, -1), batch.inputs)


def test_a_measured_normalisation_and_a_given_one_do_the_same() -> None:
    measured = DigitsConfig(normalize="auto", size=16, channels=3).open(0).spec
    given = DigitsConfig(normalize=Normalize(mean=measured.mean, std=measured.std), size=16, channels=3).open(0).spec
    assert measured == given
    assert measured.shape == (3, 16, 16)
    assert 0.2 < measured.mean[0] < 0.4


def test_same_test_split_for_every_seed() -> None:
    first, second = (DigitsConfig(val=100).build(seed).digests() for seed in (0, 1))
    assert first["test"] == second["test"]
    assert first["val"] != second["val"]
    assert first["train"] != second["train"]


def test_test_split_is_stratified_and_apart() -> None:
    data = DigitsConfig(val=0).build(0)
    assert data.test is not None
    everything = [split.take(torch.arange(len(split))) for split in (data.train, data.test)]
    assert everything[1].targets.bincount().min() >= 34
    train, test = ({tuple(picture.flatten().tolist()) for picture in batch.inputs} for batch in everything)
    assert not train & test


def test_pixels_are_the_scans() -> None:
    data = DigitsConfig(val=0).build(0)
    values = data.train.take(torch.arange(len(data.train))).inputs
    assert sorted(set(values.flatten().tolist())) == [int(value * 255 / 16 + 0.5) for value in range(17)]
