from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainkit.core.errors import DataError
from trainkit.data.base import Data
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources import tensor_files
from trainkit.data.sources.tensors import TensorsConfig


def read(**options: Any) -> Data:
    return TensorsConfig.from_plain({"val": 0, **options}).build(seed=0)


def test_lists_in_the_yaml() -> None:
    data = read(inputs=[[1, 2], [3, 4], [5, 6]], targets=[0, 1, 0])
    assert (data.spec.shape, data.spec.task.name, data.spec.task.size) == ((2,), "classification", 2)
    loader = LoaderConfig(batch_size=2).train_loader(data.train, 0, torch.device("cpu"))
    assert loader.sizes(0, 9) == [2, 1]
    assert data.test is None


@pytest.mark.parametrize(
    ("targets", "kind", "size"),
    [([0, 2, 1], "classification", 3), ([0.5, 1.5, 2.0], "regression", 1), ([[0, 1], [1, 1], [0, 0]], "multilabel", 2)],
)
def test_the_kind_of_target_is_seen(targets: Any, kind: str, size: int) -> None:
    target = read(inputs=[[1, 2], [3, 4], [5, 6]], targets=targets).spec.task
    assert (target.name, target.size) == (kind, size)


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
    assert data.spec.input.drawable
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
        ({"inputs": [[1], [2]], "targets": [-1, 0]}, "data: targets: sample 0 has class -1, outside 0 … 999,999"),
        (
            {"inputs": [[1], [2]], "targets": [[0, 2], [1, 1]], "target": "multilabel"},
            "data: targets: labels are a row of 0 and 1 per sample",
        ),
        (
            {"inputs": [1, 2], "targets": [0, 1]},
            "data: inputs of shape (2,); expected (samples, features) and up to 4 axes",
        ),
        (
            {"inputs": [[1], [2]], "targets": [0, 10**12]},
            "data: targets: sample 1 has class 1000000000000, outside 0 … 999,999",
        ),
        (
            {"inputs": [[1], [2]], "targets": [0, 1.5], "target": "classification"},
            "data: targets: classes are one whole number >= 0 per sample, these are not whole",
        ),
        (
            {"inputs": [[1], [2]], "targets": [0.5, 1e300]},
            "data: targets: sample 1 has a value that is not finite",
        ),
        (
            {"inputs": [[1], [2]], "targets": [[[1], [2]], [[3], [4]]]},
            "data: targets of shape (2, 2, 1); expected (samples,) or (samples, numbers)",
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


def npz(name: str, **arrays: Any) -> None:
    np.savez(name, allow_pickle=False, **arrays)


def problem(name: str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        read(file=name, **options)
    [problem] = error.value.problems
    return problem


def test_pictures_with_their_channels_last() -> None:
    npz("a.npz", inputs=np.zeros((5, 8, 8, 3), np.uint8), targets=np.arange(5))
    assert problem("a.npz") == (
        "a.npz: uint8 inputs of shape (5, 8, 8, 3); expected pictures (samples, channels, height, width): "
        "try inputs.transpose(0, 3, 1, 2) in NumPy, inputs.permute(0, 3, 1, 2) in torch"
    )


NOT_WHOLE = "targets: classes are one whole number >= 0 per sample, these are not whole"


@pytest.mark.parametrize(
    ("test_inputs", "test_targets", "message"),
    [
        (np.zeros((2, 5)), np.arange(2), "test_inputs of shape (5,) per sample do not go with inputs of (4,)"),
        (np.zeros((2, 4)), np.array([0, 7]), "targets: sample 1 has class 7, outside 0 … 2"),
        (
            np.zeros((2, 4)),
            np.array([0, 0.5]),
            NOT_WHOLE,
        ),
        (
            np.zeros((2, 4)),
            np.array([0, np.nan]),
            NOT_WHOLE,
        ),
        (np.zeros((0, 4)), np.arange(0), "inputs (0, 4) and targets (0,) do not go together"),
    ],
)
def test_a_test_split_must_be_of_the_same_kind(test_inputs: Any, test_targets: Any, message: str) -> None:
    npz("a.npz", inputs=np.zeros((3, 4)), targets=np.arange(3), test_inputs=test_inputs, test_targets=test_targets)
    assert problem("a.npz") == f"a.npz: {message}"


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64, np.int8, np.bool_])
def test_whole_numbers_of_any_type_are_classes(dtype: Any) -> None:
    npz("a.npz", inputs=np.zeros((3, 4), np.float16), targets=np.array([0, 1, 1], dtype))
    data = TensorsConfig(file="a.npz", val=0).open(0)
    assert (data.spec.task.name, data.spec.task.counts) == ("classification", (1, 2))
    assert data.train.take(torch.arange(3)).inputs.dtype == torch.float32


def test_a_header_that_promises_too_much_costs_nothing() -> None:
    for count in (10**5, 10**12):
        header = io.BytesIO()
        descr = {"descr": "<f8", "fortran_order": False, "shape": (count, 4)}
        np.lib.format.write_array_header_1_0(header, descr)
        npz("a.npz", targets=np.arange(3))
        with zipfile.ZipFile("a.npz", "a") as archive:
            archive.writestr("inputs.npy", header.getvalue() + bytes(96))
        tracemalloc.start()
        size = len(header.getvalue())
        assert problem("a.npz") == f"a.npz: inputs.npy claims {count * 32 + size:,} bytes, but has {96 + size:,}"
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()


def test_a_file_made_to_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed("a.npz", inputs=np.zeros((2_000_000, 4)), targets=np.zeros(2_000_000, np.int64))
    assert (
        len(read(file="a.npz", target="classification").train) == 2_000_000
    )  # much smaller than what is in it, but plausible
    monkeypatch.setattr(tensor_files, "PLAUSIBLE_BYTES", 2**20)
    assert problem("a.npz").endswith(" bytes, hardly what is meant; save it with numpy.savez")


@pytest.mark.filterwarnings("ignore::UserWarning")  # such tensors are under construction, says torch
def test_what_is_no_dense_tensor_of_the_file_is_refused() -> None:
    whole = "expected a dense tensor that is in the file as a whole"
    for inputs in (
        torch.zeros(1, 1).expand(10**9, 10**3),  # four bytes in the file
        torch.eye(3).to_sparse(),
        torch.zeros(3, 4, device="meta"),
        torch.quantize_per_tensor(torch.zeros(3, 4), 1.0, 0, torch.quint8),
    ):
        torch.save({"inputs": inputs, "targets": torch.arange(3)}, "a.pt")
        assert problem("a.pt") == f"a.pt: inputs: {whole}"
    torch.save({"inputs": torch.zeros(3, 4, dtype=torch.complex64), "targets": torch.arange(3)}, "a.pt")
    assert problem("a.pt") == "a.pt: inputs: complex numbers; give their parts as features"
    with zipfile.ZipFile("a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10**6))
    assert problem("a.pt").startswith("a.pt: unpacks to 1,000,000 bytes, but has ")


def test_other_arrays_are_left_alone() -> None:
    npz("a.npz", inputs=np.zeros((3, 4)), targets=np.arange(3), names=np.array(["a", "b"]))
    with zipfile.ZipFile("a.npz", "a") as archive:
        archive.writestr("evil.npy", b"no array")
    assert len(read(file="a.npz").train) == 3


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo("a.npz")
    assert problem("a.npz") == f"data.file: {tmp_path}/a.npz: is not a regular file"
