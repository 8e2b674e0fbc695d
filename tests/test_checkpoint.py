"""Checkpoints: whole or absent, plain, and nothing else is ever accepted."""

from __future__ import annotations

import collections
import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainkit import checkpoint
from trainkit.errors import CheckpointError, StorageError

PAYLOAD: dict[str, Any] = {
    **dict.fromkeys(checkpoint.KEYS),
    "model": {"weight": torch.arange(6.0).view(2, 3)},
    "progress": {"step": 3},
}


def test_save_and_load() -> None:
    checkpoint.save(Path(), PAYLOAD, best=False)
    assert not Path("best.pt").exists()
    loaded = checkpoint.load(Path("last.pt"))
    assert torch.equal(loaded["model"]["weight"], PAYLOAD["model"]["weight"])
    assert loaded["progress"] == {"step": 3}
    checkpoint.save(Path(), {**PAYLOAD, "progress": {"step": 4}}, best=True)
    assert checkpoint.load(Path("best.pt"))["progress"] == {"step": 4}
    assert sorted(os.listdir()) == ["best.pt", "last.pt"]


def test_anybody_can_load_it_without_trainkit() -> None:
    checkpoint.save(Path(), PAYLOAD, best=False)
    state = torch.load("last.pt", weights_only=True)["model"]
    torch.nn.Linear(3, 2, bias=False).load_state_dict(state)


def test_a_view_does_not_drag_its_storage_along() -> None:
    big = torch.zeros(1_000_000)
    checkpoint.save(Path(), {**PAYLOAD, "model": {"weight": big[:3]}}, best=False)
    assert Path("last.pt").stat().st_size < 10_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float64(1.0), r"checkpoint\.meta\.x: float64 cannot go into a checkpoint"),
        (torch.nn.Linear(1, 1), r"checkpoint\.meta\.x: Linear cannot"),
        (Path("a"), r"checkpoint\.meta\.x: PosixPath cannot"),
        ({1, 2}, r"checkpoint\.meta\.x: set cannot"),
        (torch.zeros(2, 2).to_sparse(), r"checkpoint\.meta\.x: torch\.sparse_coo tensors cannot"),
    ],
)
def test_only_plain_types_go_in(value: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        checkpoint.save(Path(), {**PAYLOAD, "meta": {"x": value}}, best=False)
    assert os.listdir() == []


def test_ordered_dicts_become_dicts() -> None:
    assert type(checkpoint.plain(collections.OrderedDict(a=1), "")) is dict


@pytest.mark.parametrize("operation", ["fsync", "replace", "link"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_whatever_fails_the_old_files_are_whole(operation: str, nth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(Path(), PAYLOAD, best=True)
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
            checkpoint.save(Path(), {**PAYLOAD, "progress": {"step": 4}}, best=True)
        except StorageError as error:
            assert "no space left on device" in str(error)  # noqa: PT017
    for name in ("last.pt", "best.pt"):
        assert checkpoint.load(Path(name))["progress"]["step"] in (3, 4)
    assert sorted(os.listdir()) == ["best.pt", "last.pt"]


def test_a_vanished_directory_is_not_made_again() -> None:
    with pytest.raises(StorageError, match="gone: the run directory vanished"):
        checkpoint.save(Path("gone"), PAYLOAD, best=False)
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
    checkpoint.save(Path(), PAYLOAD, best=False)
    content = Path("last.pt").read_bytes()
    Path("x.pt").write_bytes(content[: len(content) // 2])


def write_flipped_bit() -> None:
    checkpoint.save(Path(), PAYLOAD, best=False)
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
