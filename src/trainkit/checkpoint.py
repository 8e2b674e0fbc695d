"""Checkpoints: one file of plain data and dense tensors, whole or absent, from which a run can go on."""

from __future__ import annotations

import io
import os
import shutil
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from trainkit import atomic
from trainkit.errors import CheckpointError, StorageError
from trainkit.weights import misfits

FORMAT = "trainkit-checkpoint"
SCHEMA = 1
KEYS = ("meta", "config", "spec", "data", "model", "ema", "optimizer", "scheduler", "scaler", "progress", "log")

MARGIN_BYTES = 1_000_000
"""Room that a save leaves for what else is written."""

Payload = dict[str, Any]


def save(directory: Path, payload: Payload, *, best: bool) -> None:
    """Write `last.pt`, and `best.pt` before it when this is the best so far.

    Best goes first: should the process die in between, the run resumes from the old `last.pt` and writes the same
    best again.

    Raises:
        StorageError: the disk refuses; the files that were there are still whole.
    """
    content = plain({"format": FORMAT, "schema": SCHEMA, **payload}, "checkpoint")
    if not directory.is_dir():
        raise StorageError(f"{directory}: the run directory vanished")

    # Into memory first: given a file that fails, torch hides the cause in a RuntimeError.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    needed, free = buffer.tell() + MARGIN_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise StorageError(
            f"{directory}: disk full: a checkpoint needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} are free"
        )

    def write(file: BinaryIO) -> None:
        file.write(buffer.getbuffer())

    atomic.replace(directory / "last.pt", write, link_first=directory / "best.pt" if best else None)


def plain(value: object, where: str) -> Any:
    """The same data in exact plain types: dict, list, tuple, str, numbers, None, dense CPU tensors.

    Raises:
        TypeError: something else is in it, which `weights_only=True` would refuse to load.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise TypeError(f"{where}: {value.layout} tensors cannot go into a checkpoint")
        # The clone drops what a view would drag along: its whole storage.
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        items = [plain(item, f"{where}[{n}]") for n, item in enumerate(cast(list[Any], value))]
        return tuple(items) if type(value) is tuple else items
    if value is None or type(value) in (str, int, float, bool):
        return value
    raise TypeError(f"{where}: {type(value).__name__} cannot go into a checkpoint")


def load(path: Path) -> Payload:
    """Read a checkpoint, on the CPU, executing nothing.

    Raises:
        CheckpointError: the file is missing, damaged, not a trainkit checkpoint, or of a newer schema.
    """
    try:
        # Non-blocking, so that a FIFO does not hang the command.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise CheckpointError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path}: is not a regular file")
    with open(descriptor, "rb") as file:
        _check_container(path, file)
        payload = _load(path, file)
    return _check_schema(path, payload)


def _check_container(path: Path, file: BinaryIO) -> None:
    begin = file.read(64)
    if not begin.startswith(b"PK\x03\x04"):
        start = begin[:12]
        shown = repr(start.decode()) if start.isascii() else f"the bytes {start[:4].hex(' ')}"
        what = f"begins with {shown}" if start else "the file is empty"
        raise CheckpointError(f"{path}: not a trainkit checkpoint ({what})")
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except Exception:  # zipfile leaks many kinds on damaged files
        damaged = "directory"
    if damaged:
        raise CheckpointError(f"{path}: truncated or damaged")
    file.seek(0)


def _load(path: Path, file: BinaryIO) -> object:
    problem = f"{path}: not a trainkit checkpoint, or damaged"
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch leaks many kinds, and its text advises an unsafe load
        with suppress(Exception):
            file.seek(0)
            if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(file):
                problem = f"{path}: refused, it asks for {unsafe[0]!r}; nothing was executed"
    raise CheckpointError(problem)


def _check_schema(path: Path, payload: object) -> Payload:
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a trainkit checkpoint; to train from bare weights: model.weights={path}")
    schema = payload.get("schema")
    if schema != SCHEMA:
        raise CheckpointError(f"{path}: written with schema {schema}, this trainkit reads {SCHEMA}")
    payload.setdefault("ema", None)  # written before there were averages
    if missing := [key for key in KEYS if key not in payload]:
        raise CheckpointError(f"{path}: damaged: {', '.join(missing)} missing")
    return cast(Payload, payload)


def final_weights(payload: Payload) -> dict[str, Tensor]:
    """What training came to: the averaged weights when there are any."""
    return cast(dict[str, Tensor], payload["ema"] or payload["model"])


def not_finite(payload: Payload) -> str | None:
    """The name of the first weight that holds NaN or infinite values."""
    for state in (payload["model"], payload["ema"] or {}):
        for key, value in state.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                return str(key)
    return None


def load_weights(path: Path, model: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Put weights into a model, all or none.

    Raises:
        CheckpointError: keys or shapes differ; names the first five of each kind.
    """
    if problems := misfits(model.state_dict(), state):
        raise CheckpointError(*(f"{path}: the weights do not fit the model: {problem}" for problem in problems))
    model.load_state_dict(state)
