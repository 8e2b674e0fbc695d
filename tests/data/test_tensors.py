from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainkit.data.base import Data
from trainkit.data.loading import LoaderConfig
from trainkit.data.tensors import TensorsConfig
from trainkit.errors import DataError


def read(**options: Any) -> Data:
    return TensorsConfig.from_plain({"val": 0, **options}).build(seed=0)


def test_lists_in_the_yaml() -> None:
    data = read(inputs=[[1, 2], [3, 4], [5, 6]], targets=[0, 1, 0])
    assert (data.spec.shape, data.spec.target.kind, data.spec.target.size) == ((2,), "class", 2)
    loader = LoaderConfig(batch_size=2).train_loader(data.train, 0, torch.device("cpu"))
    assert loader.sizes(0, 9) == [2, 1]
    assert data.test is None


@pytest.mark.parametrize(
    ("targets", "kind", "size"),
    [([0, 2, 1], "class", 3), ([0.5, 1.5, 2.0], "number", 1), ([[0, 1], [1, 1], [0, 0]], "multilabel", 2)],
)
def test_the_kind_of_target_is_seen(targets: Any, kind: str, size: int) -> None:
    target = read(inputs=[[1, 2], [3, 4], [5, 6]], targets=targets).spec.target
    assert (target.kind, target.size) == (kind, size)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_files(suffix: str) -> None:
    arrays = {
        "inputs": np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2),
        "targets": np.arange(10) % 3,
        "test_inputs": np.zeros((2, 1, 2, 2), np.uint8),
        "test_targets": np.array([0, 2]),
    }
    if suffix == ".npz":
        np.savez("data.npz", **arrays)  # type: ignore[arg-type]
    else:
        torch.save({name: torch.as_tensor(array) for name, array in arrays.items()}, "data.pt")
    data = read(file=f"data{suffix}")
    assert data.spec.image
    assert data.spec.shape == (1, 2, 2)
    assert data.test is not None
    assert len(data.test) == 2


def test_a_test_split_can_be_taken_off_and_is_the_same_for_every_seed() -> None:
    config = TensorsConfig.from_plain(
        {"inputs": [[n] for n in range(20)], "targets": [n % 2 for n in range(20)], "test": 0.25}
    )
    one, other = config.build(seed=1), config.build(seed=2)
    assert one.test is not None
    assert other.test is not None
    assert len(one.test) == 5
    assert one.digests()["test"] == other.digests()["test"]
    assert one.val is not None
    parts = [split.source.take(split.index).inputs.flatten().tolist() for split in (one.train, one.val, one.test)]
    assert sorted(value for part in parts for value in part) == list(range(20))


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def test_nothing_is_executed() -> None:
    np.savez("evil.npz", inputs=np.array([Evil()], dtype=object), targets=np.zeros(1))
    torch.save({"inputs": Evil(), "targets": Evil()}, "evil.pt")
    Path("evil.bin").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.npz", "evil.pt", "evil.bin"):
        with pytest.raises(DataError, match=f"{name}: not an .npz file"):
            read(file=name)
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": [[[1], 2], [3]], "targets": [0, 1]}, "data.inputs: the samples differ in form"),
        (
            {"inputs": [[[1, 2]], [[3]]], "targets": [0, 1]},
            "data: inputs: sample 1 has shape (1, 1); expected one step or more of 2 features",
        ),
        ({"inputs": [[1, 2], [3]], "targets": [[1, 2], [3]]}, "data.targets: the samples differ in form"),
        ({"inputs": [[1], [2]], "targets": [0]}, "data: inputs (2, 1) and targets (1,) do not go together"),
        ({"inputs": [[1], [2]], "targets": [-1, 0]}, "data: targets: classes are one whole number >= 0 per sample"),
        (
            {"inputs": [[1], [2]], "targets": [[0, 2], [1, 1]], "target": "multilabel"},
            "data: targets: labels are a row of 0 and 1 per sample",
        ),
        (
            {"inputs": [1, 2], "targets": [0, 1]},
            "data: inputs of shape (2,); expected (samples, features) and up to 4 axes",
        ),
    ],
)
def test_problems(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        read(**options)
    assert error.value.problems == (message,)


def test_missing_and_misnamed_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/none.npz: no such file"):
        read(file="none.npz")
    np.savez("other.npz", x=np.zeros(2), y=np.zeros(2))
    with pytest.raises(DataError, match=r"other\.npz: expected tensors called inputs and targets, got x, y"):
        read(file="other.npz")
    np.savez("nan.npz", inputs=np.array([[1.0], [np.nan]]), targets=np.array([0, 1]))
    with pytest.raises(DataError, match=r"nan\.npz: inputs: sample 1 holds a value that is not finite"):
        read(file="nan.npz")
