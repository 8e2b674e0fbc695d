"""Checkpoints: whole or absent, plain, and nothing else is ever accepted."""

from __future__ import annotations

import collections
import copy
import errno
import os
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import payload
from trainkit.core.errors import CheckpointError, StorageError
from trainkit.runs import checkpoint

PAYLOAD = payload()
PROGRESS = PAYLOAD["progress"]


def test_save_and_load() -> None:
    checkpoint.save(Path(), PAYLOAD)
    assert not Path("best.pt").exists()
    loaded = checkpoint.load(Path("last.pt"))
    assert torch.equal(loaded["model"]["weight"], PAYLOAD["model"]["weight"])
    assert loaded["progress"] == PROGRESS
    checkpoint.save(Path(), {**PAYLOAD, "progress": {**PROGRESS, "step": 4}}, names=["best.pt"])
    assert checkpoint.load(Path("best.pt"))["progress"] == {**PROGRESS, "step": 4}
    assert sorted(os.listdir()) == ["best.pt", "last.pt"]


def test_anybody_can_load_it_without_trainkit() -> None:
    checkpoint.save(Path(), PAYLOAD)
    state = torch.load("last.pt", weights_only=True)["model"]
    torch.nn.Linear(3, 2, bias=False).load_state_dict(state)


def test_a_view_does_not_drag_its_storage_along() -> None:
    big = torch.zeros(1_000_000)
    checkpoint.save(Path(), {**PAYLOAD, "model": {"weight": big[:3]}})
    assert Path("last.pt").stat().st_size < 10_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float64(1.0), r"checkpoint\.meta\.x: float64 cannot go into a checkpoint"),
        (torch.nn.Linear(1, 1), r"checkpoint\.meta\.x: Linear cannot"),
        (Path("a"), r"checkpoint\.meta\.x: PosixPath cannot"),
        ({1, 2}, r"checkpoint\.meta\.x: set cannot"),
        (torch.zeros(2, dtype=torch.float8_e5m2), r"checkpoint\.meta\.x: Tensor of torch\.float8_e5m2 cannot"),
        (torch.zeros(2, 2).to_sparse(), r"checkpoint\.meta\.x: torch\.sparse_coo tensors cannot"),
    ],
)
def test_only_plain_types_go_in(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checkpoint.save(Path(), {**PAYLOAD, "meta": {"x": value}})
    assert os.listdir() == []


def test_ordered_dicts_become_dicts() -> None:
    assert type(checkpoint.plain(collections.OrderedDict(a=1), "")) is dict


@pytest.mark.parametrize("operation", ["fsync", "replace", "link"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_whatever_fails_the_old_files_are_whole(operation: str, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(Path(), PAYLOAD, names=["best.pt"])
    original, calls = getattr(os, operation), 0

    def failing(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, failing)
        try:
            checkpoint.save(Path(), {**PAYLOAD, "progress": {**PROGRESS, "step": 4}}, names=["best.pt"])
        except StorageError as error:
            assert "no space left on device" in str(error)  # noqa: PT017
    for name in ("last.pt", "best.pt"):
        assert checkpoint.load(Path(name))["progress"]["step"] in (3, 4)
    assert sorted(os.listdir()) == ["best.pt", "last.pt"]


def test_a_vanished_directory_is_not_made_again() -> None:
    with pytest.raises(StorageError, match="gone: the run directory vanished"):
        checkpoint.save(Path("gone"), PAYLOAD)
    assert not Path("gone").exists()


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def write_text() -> None:
    Path("x.pt").write_text("<html>not found</html>")


def write_nothing() -> None:
    Path("x.pt").write_bytes(b"")


def write_pickle() -> None:
    Path("x.pt").write_bytes(pickle.dumps(Evil()))


def write_evil_zip() -> None:
    torch.save({"format": checkpoint.FORMAT, "evil": Evil()}, "x.pt")


def write_module() -> None:
    torch.save(torch.nn.Linear(1, 1), "x.pt")


def write_bare_state() -> None:
    torch.save(torch.nn.Linear(1, 1).state_dict(), "x.pt")


def write_newer() -> None:
    torch.save({"format": checkpoint.FORMAT, "schema": 9}, "x.pt")


def write_partial() -> None:
    torch.save({"format": checkpoint.FORMAT, "schema": 1, **dict.fromkeys(checkpoint.KEYS[2:])}, "x.pt")


def write_truncated() -> None:
    checkpoint.save(Path(), PAYLOAD)
    content = Path("last.pt").read_bytes()
    Path("x.pt").write_bytes(content[: len(content) // 2])


def write_flipped_bit() -> None:
    checkpoint.save(Path(), PAYLOAD)
    content = bytearray(Path("last.pt").read_bytes())
    content[content.index(np.arange(6, dtype=np.float32).tobytes()) + 5] ^= 1
    Path("x.pt").write_bytes(content)


def make_directory() -> None:
    Path("x.pt").mkdir()


def make_fifo() -> None:
    os.mkfifo("x.pt")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda: None, "x.pt: no such file or directory"),
        (write_text, "x.pt: not a trainkit checkpoint (begins with '<html>not fo')"),
        (write_nothing, "x.pt: not a trainkit checkpoint (the file is empty)"),
        (write_pickle, "x.pt: not a trainkit checkpoint (begins with the bytes 80 04 95"),
        (write_evil_zip, "x.pt: refused, it asks for 'posix.system'; nothing was executed"),
        (write_module, "x.pt: refused, it asks for 'torch.nn.modules.linear.Linear'; nothing was executed"),
        (write_bare_state, "x.pt: not a trainkit checkpoint; to train from bare weights: model.weights=x.pt"),
        (write_newer, "x.pt: written with schema 9, this trainkit reads 1"),
        (write_partial, "x.pt: damaged: meta, config missing"),
        (write_truncated, "x.pt: truncated or damaged"),
        (write_flipped_bit, "x.pt: truncated or damaged"),
        (make_directory, "x.pt: is not a regular file"),
        (make_fifo, "x.pt: is not a regular file"),
    ],
)
def test_anything_else_is_refused_and_nothing_runs(prepare: Any, message: str) -> None:
    prepare()
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(Path("x.pt"))
    assert str(error.value).startswith(message)
    assert not Path("canary").exists()


def test_weights_that_do_not_fit_are_listed_and_none_is_loaded() -> None:
    model = torch.nn.Linear(3, 2)
    before = model.weight.detach().clone()
    state = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError) as error:
        checkpoint.load_weights(Path("x.pt"), model, state)
    assert error.value.problems == (
        "x.pt: the weights do not fit the model: missing: bias",
        "x.pt: the weights do not fit the model: unexpected: extra",
        "x.pt: the weights do not fit the model: another shape: weight (stored (2, 4), model (2, 3))",
    )
    assert torch.equal(model.weight, before)


def entries(content: bytes | None = None) -> dict[str, bytes]:
    """Of a checkpoint that is as it should be."""
    checkpoint.save(Path(), PAYLOAD)
    with zipfile.ZipFile("last.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(*more: tuple[str, bytes], without: str = "", packed: bool = False) -> None:
    kept = [(name, content) for name, content in entries().items() if name != without]
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile("x.pt", "w", how) as archive:
        for name, content in [*kept, *more]:
            archive.writestr(name, content)


def write_changed_table(field: int, change: bytes) -> None:
    """Change the last entry of an archive's table of contents, so many bytes behind its beginning."""
    checkpoint.save(Path(), PAYLOAD)
    content = bytearray(Path("last.pt").read_bytes())
    begin = content.rindex(b"PK\x01\x02") + field
    content[begin : begin + len(change)] = change
    Path("x.pt").write_bytes(content)


def write_overlapping() -> None:
    write_zip(("archive/data/1", bytes(10_000)))
    with zipfile.ZipFile("x.pt", "a") as archive:
        same = copy.copy(archive.filelist[-1])
        same.filename = same.orig_filename = "archive/data/2"
        archive.filelist.append(same)
        archive._didModify = True  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "write",
    [
        lambda: write_zip(packed=True),
        lambda: write_zip(("archive/data/1", bytes(100_000_000)), packed=True),
        lambda: write_zip(("archive/data.pkl", b"N.")),
        lambda: write_zip(("archive/more/data.pkl", b"N.")),
        lambda: write_zip(("archive/constants.pkl", b"N.")),
        lambda: write_zip(without="archive/data.pkl"),
        lambda: write_zip(("archive/data.pkl", bytes(checkpoint.MAX_PICKLE_BYTES + 1)), without="archive/data.pkl"),
        *(
            lambda name=name: write_zip((name, b""))
            for name in ("other/x", "/archive/x", "archive/../x", "../archive/x", "archive/./x", "archive//x", "x")
        ),
        *(lambda name=name: write_zip((name, b"")) for name in ("archive\\x", "archive/x/", "archive/x y", "C:/x")),
        lambda: write_changed_table(8, b"\x01"),  # encrypted
        lambda: write_changed_table(38, b"\x10"),  # said to be a folder
        lambda: write_changed_table(24, (10**9).to_bytes(4, "little")),  # of another size
        write_overlapping,
    ],
)
def test_an_archive_that_torch_has_not_written_is_not_read(
    write: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write()
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(Path("x.pt"))
    assert str(error.value) == "x.pt: damaged, or an archive that torch.save has not written"


def test_an_archive_has_so_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(Path(), PAYLOAD)
    monkeypatch.setattr(checkpoint, "MAX_ENTRIES", 5)
    with pytest.raises(CheckpointError, match=r"^last\.pt: has 7 entries \(limit 5\)$"):
        checkpoint.load(Path("last.pt"))


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(Path(), PAYLOAD)
    Path("evil.pt").write_bytes(pickle.dumps(Evil()))
    check = checkpoint._check_container

    def swapped(path: Path, file: Any) -> None:
        check(path, file)
        Path("evil.pt").replace("last.pt")

    monkeypatch.setattr(checkpoint, "_check_container", swapped)
    assert checkpoint.load(Path("last.pt"))["progress"] == PROGRESS
    assert not Path("canary").exists()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_a_checkpoint_larger_than_the_memory() -> None:
    checkpoint.save(Path(), {**PAYLOAD, "model": {"weight": torch.zeros(50_000_000)}})
    # In a process of its own: this one may have memory to spare that it has freed before.
    program = """
import resource
from pathlib import Path
from trainkit.runs import checkpoint
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, resource.RLIM_INFINITY))
try:
    checkpoint.load(Path("last.pt"))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert found == "OutOfMemoryError: last.pt: does not fit into memory\n"


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
TENSOR = torch.ones(6).view(2, 3)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def laughs() -> list[Any]:
    """Ten lists, each of which holds the next one ten times: a few bytes that stand for ten thousand million items."""
    value: list[Any] = []
    for _ in range(10):
        value = [value] * 10
    return value


class Rebuilt:
    """Stored as a call of one of the functions with which torch makes its tensors."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        function, *arguments = self.parts
        return function, tuple(arguments)


def with_attribute() -> Rebuilt:
    storage = torch.ones(6).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    no_hooks: Any = collections.OrderedDict()
    build = (typed, 0, (2, 3), (3, 1), False, no_hooks)
    tensor = torch._tensor
    return Rebuilt(tensor._rebuild_from_type_v2, torch._utils._rebuild_tensor_v2, torch.Tensor, build, {"isfinite": 1})


ODD = "is not as trainkit writes it"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"x", f"this bytes {ODD}"),
        ({1, 2}, f"this set {ODD}"),
        (1j, f"this complex {ODD}"),
        ({None: 1}, f"this dict {ODD}"),
        (collections.OrderedDict(a=1), f"this OrderedDict {ODD}"),
        (collections.Counter("a"), f"this Counter {ODD}"),
        (torch.float32, f"this dtype {ODD}"),
        (torch.Size([1]), f"this Size {ODD}"),
        (torch.nn.Parameter(TENSOR), f"this Parameter {ODD}"),
        (TENSOR.to_sparse(), f"this Tensor {ODD}"),
        (lambda: torch.quantize_per_tensor(TENSOR, 0.1, 0, torch.qint8), f"this Tensor {ODD}"),
        (TENSOR.to(torch.float8_e5m2), f"this Tensor {ODD}"),
        (TENSOR.to("meta"), f"this Tensor {ODD}"),
        (TENSOR.clone().requires_grad_(), f"this Tensor {ODD}"),
        (torch.ones(1).expand(2, 3), f"this Tensor {ODD}"),
        (torch.ones(1).expand(10**12), f"this Tensor {ODD}"),
        (torch.ones(7)[:6].view(2, 3), f"this Tensor {ODD}"),
        (torch.ones(7)[1:].view(2, 3), f"this Tensor {ODD}"),
        (torch.ones(3, 2).T, f"this Tensor {ODD}"),
        (with_attribute(), f"this Tensor {ODD}"),
        ([TENSOR, TENSOR], "shares its memory with something else"),
        ([TENSOR, TENSOR.view(6)], "shares its memory with something else"),
        (ENDLESS, "shares its memory with something else"),
        (laughs(), "shares its memory with something else"),
        (nested(70), "nested deeper than 64"),
    ],
)  # fmt: skip
def test_only_plain_types_come_out(value: object, problem: str) -> None:
    content = {"format": checkpoint.FORMAT, "schema": 1, **PAYLOAD}
    with warnings.catch_warnings(action="ignore"):
        torch.save({**content, "model": {"weight": value() if callable(value) else value}}, "x.pt")
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(Path("x.pt"))
    assert str(error.value).startswith("x.pt: damaged: checkpoint.model.weight")
    assert str(error.value).endswith(f": {problem}")


def test_a_tensor_without_its_numbers() -> None:
    """The file holds fewer than the tensor says."""
    content = {"format": checkpoint.FORMAT, "schema": 1, **PAYLOAD, "model": {"weight": torch.arange(12345.0)}}
    torch.save(content, "x.pt")
    with zipfile.ZipFile("x.pt") as archive:
        stored = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile("y.pt", "w") as archive:
        for name, part in {**stored, "x/data/0": bytes(4)}.items():
            archive.writestr(name, part)
    with pytest.raises(CheckpointError, match=r"^y\.pt: not a trainkit checkpoint, or damaged$"):
        checkpoint.load(Path("y.pt"))


STATE = (3, (0,) * 625, None)
NUMPY = ("MT19937", [0] * 624, 624, 0, 0.0)


def spec_with(changes: dict[str, Any]) -> dict[str, Any]:
    return {**PAYLOAD["spec"], "input": {**PAYLOAD["spec"]["input"], **changes}}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"meta": {**PAYLOAD["meta"], "threads": 0}}, "meta.threads: should be greater than or equal to 1"),
        ({"meta": {**PAYLOAD["meta"], "torch": 2.1}}, "meta.torch: should be a valid string"),
        ({"meta": {**PAYLOAD["meta"], "parameters": ["a", 1]}}, "meta.parameters.1: should be a valid string"),
        ({"meta": {"torch": "2.10"}}, "meta.device: Field required"),
        ({"meta": torch.ones(2)}, "a tensor stands where plain data belongs"),
        ({"config": []}, "config: should be an object"),
        ({"spec": spec_with({"shape": ["x"]})}, "spec.input.shape.0: should be a valid integer"),
        ({"spec": spec_with({"mean": [0.0, 0.0]})}, "spec.input: Value error, has too many or too few numbers"),
        ({"spec": spec_with({"more": 1})}, "spec.input.more: Extra inputs are not permitted"),
        ({"data": {"train": 1}}, "data.train: should be a valid string"),
        ({"model": {1: torch.ones(1)}}, "model.1.[key]: should be a valid string"),
        ({"model": {"weight": [1.0]}}, "model.weight: should be an instance of Tensor"),
        ({"ema": 0}, "ema: should be a valid dictionary"),
        ({"optimizer": {"state": {}}}, "optimizer.param_groups: Field required"),
        ({"optimizer": {"state": {"0": {}}, "param_groups": []}}, "optimizer.state.0.[key]: should be a valid integer"),
        ({"scheduler": None}, "scheduler: should be a valid dictionary"),
        ({"scaler": 1.0}, "scaler: should be a valid dictionary"),
        ({"progress": {**PROGRESS, "step": -1}}, "progress.step: should be greater than or equal to 0"),
        ({"progress": {**PROGRESS, "step": True}}, "progress.step: should be a valid integer"),
        ({"progress": {**PROGRESS, "step": 10**30}}, f"progress.step: should be less than {2**63}"),
        ({"progress": {**PROGRESS, "best": float("nan")}}, "progress.best: should be a finite number"),
        ({"progress": {**PROGRESS, "kept": ["../../x"]}}, "progress.kept.0: should be a valid integer"),
        ({"progress": {**PROGRESS, "more": 1}}, "progress.more: Unexpected keyword argument"),
        ({"progress": {"epoch": 1, "batch": 0}}, "progress.step is missing"),
        ({"log": {"bytes": -1}}, "log.bytes: should be greater than or equal to 0"),
        ({"rng": {"python": STATE, "numpy": [*NUMPY[:2], 10**6, 0, 0.0]}},
         "rng.numpy.2: should be less than or equal to 624"),
        ({"rng": {"python": (3, (700,) * 625, None), "numpy": NUMPY}},
         "rng: Value error, python stands at no such number"),
    ],
)  # fmt: skip
def test_every_part_is_of_its_kind(changes: dict[str, Any], problem: str) -> None:
    checkpoint.save(Path(), {**PAYLOAD, **changes})
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(Path("last.pt"))
    assert str(error.value) == f"last.pt: damaged: {problem}"


def test_random_states_are_read_as_they_were() -> None:
    checkpoint.save(Path(), {**PAYLOAD, "rng": {"python": STATE, "numpy": NUMPY}})
    assert checkpoint.load(Path("last.pt"))["rng"] == {"python": STATE, "numpy": NUMPY}


@pytest.mark.parametrize("key", checkpoint.KEYS)
def test_every_part_is_there(key: str) -> None:
    checkpoint.save(Path(), {name: part for name, part in PAYLOAD.items() if name != key})
    with pytest.raises(CheckpointError, match=rf"^last\.pt: damaged: {key} missing$"):
        checkpoint.load(Path("last.pt"))
    of_schema_1 = {**torch.load("last.pt", weights_only=True), "schema": 1}
    torch.save(of_schema_1, "old.pt")
    if key in ("ema", "rng"):  # younger than the first such files
        assert checkpoint.load(Path("old.pt"))[key] is None
    else:
        with pytest.raises(CheckpointError, match=rf"^old\.pt: damaged: {key} missing$"):
            checkpoint.load(Path("old.pt"))


def test_targets_of_schema_1_were_learned_as_they_were() -> None:
    checkpoint.save(Path(), {**PAYLOAD, "config": {"data": {"name": "digits"}}})
    assert checkpoint.load(Path("last.pt"))["config"] == {"data": {"name": "digits"}}
    torch.save({**torch.load("last.pt", weights_only=True), "schema": 1}, "old.pt")
    assert checkpoint.load(Path("old.pt"))["config"] == {"data": {"name": "digits", "target_transform": "none"}}


@pytest.mark.parametrize("schema", [4, 0, "1", 1.0, True, None, torch.ones(2)])
def test_another_schema(schema: object) -> None:
    torch.save({"format": checkpoint.FORMAT, "schema": schema}, "x.pt")
    with pytest.raises(CheckpointError, match=r"^x\.pt: written with schema .*, this trainkit reads 1 to 3$"):
        checkpoint.load(Path("x.pt"))
