from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from trainkit.config.registry import find
from trainkit.data.sources.sklearn import DiabetesConfig, DigitsConfig, SklearnTableConfig
from trainkit.data.sources.sklearn_files import FILES, embedded, train_test_rows
from trainkit.data.transforms.normalize import Normalize
from trainkit.data.transforms.pipeline import preparation


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
    given = (
        DigitsConfig(normalize=Normalize(mean=measured.input.mean, std=measured.input.std), size=16, channels=3)
        .open(0)
        .spec
    )
    assert measured == given
    assert measured.shape == (3, 16, 16)
    assert 0.2 < measured.input.mean[0] < 0.4


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


@pytest.mark.parametrize("standardize", [True, "robust", False])
@pytest.mark.parametrize(
    ("name", "rows", "features", "size"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, 1)],
)
def test_embedded_tables(name: str, rows: int, features: int, size: int, standardize: object) -> None:
    config_class = find("data", name)
    assert issubclass(config_class, SklearnTableConfig)
    config = config_class.from_plain({"standardize": standardize})
    data = config.build(seed=3)
    assert data.val is not None
    assert data.test is not None
    assert len(data.train) + len(data.val) + len(data.test) == rows
    assert data.spec.shape == config.spec().shape == (features,)
    assert data.spec.task.size == config.spec().task.size == size
    other = config_class.from_plain({}).build(seed=4).test
    assert other is not None
    assert torch.equal(data.test.targets, other.targets)
    assert len(data.spec.columns) == (features if standardize == "robust" else 0)


def test_standardised_with_the_training_rows_alone() -> None:
    data = DiabetesConfig().build(seed=0)
    prepare = preparation(data.spec, (), 0, torch.device("cpu"))
    found = prepare(data.train.source.take(data.train.index), None).inputs
    torch.testing.assert_close(found.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(10), atol=1e-5, rtol=0)
    assert data.val is not None
    assert abs(float(prepare(data.val.source.take(data.val.index), None).inputs.mean())) > 1e-3


def test_robustly_with_the_training_rows_alone() -> None:
    data = DiabetesConfig.from_plain({"standardize": "robust"}).build(seed=0)
    found = data.train.take(torch.arange(len(data.train))).inputs
    torch.testing.assert_close(found.median(0).values, torch.zeros(10), atol=0.02, rtol=0)
    assert float(found.abs().max()) < 3


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_what_scikit_learn_loads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = embedded(name)
    monkeypatch.setitem(FILES, name, ("moved.csv",))
    loaded = embedded(name)
    assert (read.data.dtype, read.data.shape) == (loaded.data.dtype, loaded.data.shape)
    assert (read.target.dtype, read.target.shape) == (loaded.target.dtype, loaded.target.shape)
    assert read.data.tobytes() == loaded.data.tobytes()
    assert read.target.tobytes() == loaded.target.tobytes()
    assert name == "digits" or read.target_names == loaded.target_names


def test_the_split_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    for classes in range(2, 12):
        targets = np.concatenate([np.arange(classes).repeat(5), random.integers(classes, size=37 * classes)])
        for labels in (targets, None):
            train, test = train_test_split(range(len(targets)), test_size=0.2, random_state=0, stratify=labels)
            assert train_test_rows(targets, stratify=labels is not None) == (sorted(train), sorted(test))
