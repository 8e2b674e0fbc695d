"""Checkpoints: one file of plain data and dense tensors, whole or absent, from which a run can go on."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from trainkit.config.shell import typed
from trainkit.core import atomic
from trainkit.core.errors import CheckpointError, OutOfMemoryError, StorageError, os_error_text
from trainkit.models.pretrained import State, mismatched_keys, tensors_of
from trainkit.runs.checkpoint_schema import Payload, checked, is_ordinary, upgrade, with_old_pictures
from trainkit.training.loop import EvalParts

FORMAT = "trainkit-checkpoint"
SCHEMA = 3
KEYS = ("meta", "config", "spec", "data", "model", "ema", "optimizer", "scheduler", "scaler", "progress", "log", "rng")

MARGIN_BYTES = 1_000_000
"""Room that a save leaves for what else is written."""

ENTRY = re.compile(r"[^./\\\0][^/\\\0]*(/\.?\w+)+(\.pkl)?")
"""A file in the archive's only folder, or in one below it."""
ENCRYPTED = 0x1
IS_FOLDER = 0x10
"""With this one bit torch reads nothing, and takes what happens to be in memory for the numbers."""
MAX_ENTRIES = 100_000
MAX_PICKLE_BYTES = 16 * 1024 * 1024


def save(directory: Path, payload: Payload, *, names: Sequence[str] = ()) -> None:
    """Write `last.pt`, and before it the same content under other names, such as `best.pt`.

    Last goes last: should the process die in between, the run resumes from the old `last.pt` and writes the same
    others again.

    Raises:
        StorageError: the disk refuses; the files that were there are still whole.
    """
    buffer = _packed(payload)
    if not directory.is_dir():
        raise StorageError(f"{directory}: the run directory vanished")

    needed, free = buffer.tell() + MARGIN_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise StorageError(
            f"{directory}: disk full: a checkpoint needs {needed / 1e6:.1f} MB, {free / 1e6:.1f} are free"
        )
    atomic.replace(
        directory / "last.pt",
        lambda file: file.write(buffer.getbuffer()),
        links=[directory / name for name in names],
        whole=_is_whole,
    )


def amend(path: Path, change: Callable[[Payload], object]) -> None:
    """Change something in a checkpoint that is there.

    Raises:
        StorageError: the disk refuses; the file is as it was.
        CheckpointError: it cannot be read.
    """
    payload = load(path)
    change(payload)
    buffer = _packed(payload)
    atomic.replace(path, lambda file: file.write(buffer.getbuffer()), whole=_is_whole)


def _packed(payload: Payload) -> io.BytesIO:
    """The file in memory: given one on a disk that fails, torch hides the cause in a RuntimeError."""
    buffer = io.BytesIO()
    torch.save(plain({"format": FORMAT, "schema": SCHEMA, **payload}, "checkpoint"), buffer)
    return buffer


def plain(value: object, where: str) -> Any:
    """The same data in exact plain types: dict, list, tuple, str, numbers, None, dense CPU tensors.

    Raises:
        TypeError: something else is in it, which `weights_only=True` would refuse to load.
    """
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise TypeError(f"{where}: {value.layout} tensors cannot go into a checkpoint")
        # The clone drops what a view would drag along: its whole storage.
        clone = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        if not is_ordinary(clone):
            raise TypeError(f"{where}: {type(clone).__name__} of {clone.dtype} cannot go into a checkpoint")
        return clone
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
        OutOfMemoryError: it does not fit into memory.
    """
    try:
        # Non-blocking, so that a FIFO does not hang the command.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise CheckpointError(f"{path}: {os_error_text(error)}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{path}: is not a regular file")
    with open(descriptor, "rb") as file:  # the same file for every step, whatever the path names by then
        return _read(path, file)


def read_back(path: Path, payload: Payload) -> Payload:
    """What `load` would give, had this been saved under a path.

    Raises:
        CheckpointError: it could not be saved, or not be loaded.
    """
    try:
        file = _packed(payload)
    except Exception as error:  # torch.save leaks many kinds
        raise CheckpointError(str(error).partition("\n")[0]) from None
    file.seek(0)
    return _read(path, file)


def _read(path: Path, file: BinaryIO) -> Payload:
    _check_container(path, file)
    return _check_schema(path, _load(path, file))


def _check_container(path: Path, file: BinaryIO) -> None:
    start = file.read(12)
    if not start.startswith(b"PK\x03\x04"):
        shown = repr(start.decode()) if start.isascii() else f"the bytes {start[:4].hex(' ')}"
        what = f"begins with {shown}" if start else "the file is empty"
        raise CheckpointError(f"{path}: not a trainkit checkpoint ({what})")
    if flaw := _flaw(file):
        raise CheckpointError(f"{path}: {flaw}")
    file.seek(0)


def _is_whole(file: BinaryIO) -> bool:
    return _flaw(file) is None


def _flaw(file: BinaryIO) -> str | None:
    """What is wrong with an archive. Of one that torch has not written only the table of contents is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                return f"has {len(entries)} entries (limit {MAX_ENTRIES})"
            if not _are_of_torch(entries, file.seek(0, os.SEEK_END)):
                return "damaged, or an archive that torch.save has not written"
            # The checksums find what `torch.load` does not look for: a single wrong bit.
            return "truncated or damaged" if archive.testzip() else None
    except Exception:  # zipfile leaks many kinds on damaged files
        return "truncated or damaged"


def _are_of_torch(entries: list[zipfile.ZipInfo], file_bytes: int) -> bool:
    """Whether these are files in one folder, none twice, neither packed nor encrypted, and one pickle among them."""
    names = [entry.orig_filename for entry in entries]
    pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
    return (
        all(ENTRY.fullmatch(name) for name in names)
        and len(set(names)) == len(names)
        and len({name.partition("/")[0] for name in names}) == 1
        and all(
            entry.compress_type == zipfile.ZIP_STORED
            and entry.compress_size == entry.file_size
            and not entry.flag_bits & ENCRYPTED
            and not entry.external_attr & IS_FOLDER
            for entry in entries
        )
        and sum(entry.file_size for entry in entries) < file_bytes
        and [pickle.filename.partition("/")[2] for pickle in pickles] == ["data.pkl"]
        and pickles[0].file_size <= MAX_PICKLE_BYTES
    )


def _load(path: Path, file: BinaryIO) -> object:
    problem = f"{path}: not a trainkit checkpoint, or damaged"
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch leaks many kinds, and its text advises an unsafe load
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise OutOfMemoryError(f"{path}: does not fit into memory") from None
        with suppress(Exception):
            file.seek(0)
            if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(file):
                problem = f"{path}: refused, it asks for {min(unsafe)[:100]!r}; nothing was executed"
    raise CheckpointError(problem)


def _check_schema(path: Path, payload: object) -> Payload:
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a trainkit checkpoint; to train from bare weights: {typed('model.weights', str(path))}"
        )
    schema = payload.get("schema")
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise CheckpointError(f"{path}: written with schema {schema!r:.20}, this trainkit reads 1 to {SCHEMA}")
    if schema == 1:
        upgrade(payload)
    with_old_pictures(payload)
    if missing := [key for key in KEYS if key not in payload]:
        raise CheckpointError(f"{path}: damaged: {', '.join(missing)} missing")
    return checked(payload, f"{path}: damaged")


def final_weights(payload: Payload) -> dict[str, Tensor]:
    """What training came to: the averaged weights when there are any."""
    return cast(dict[str, Tensor], payload["model"] if payload["ema"] is None else payload["ema"])


def not_finite(payload: Payload) -> str | None:
    """The name of the first weight that holds NaN or infinite values."""
    trained = set(payload["meta"]["parameters"])
    loss = {f"loss.{key}": value for key, value in (payload.get("loss") or {}).items()}
    states = (payload["model"], payload["ema"] or {}, loss)
    return next(filter(None, (first_not_finite(state, trained) for state in states)), None)


def first_not_finite(state: State, trained: Container[str]) -> str | None:
    """The name of the first tensor that holds NaN or infinite values. In what is not trained, such as a mask of
    attention, infinite ones may be meant."""
    for key, value in tensors_of(state).items():
        if bool((~value.isfinite() if key in trained else value.isnan()).any()):
            return str(key)
    return None


def check_weights(path: Path, model: torch.nn.Module, state: dict[str, Tensor], what: str = "model") -> None:
    """Raise CheckpointError when keys, shapes or types differ; names the first five of each kind."""
    what = "loss" if what == "loss" else "model"  # averaged weights are the model's
    own = model.state_dict()
    found = mismatched_keys(own, state) or [
        f"{key} is of {state[key].dtype}, in the {what} of {weight.dtype}"
        for key, weight in tensors_of(own).items()
        if state[key].dtype != weight.dtype
    ]
    if found:
        raise CheckpointError(*(f"{path}: the weights do not fit the {what}: {problem}" for problem in found[:5]))


def load_weights(path: Path, model: torch.nn.Module, state: dict[str, Tensor], what: str = "model") -> None:
    """Put weights into a model, all or none.

    Raises:
        CheckpointError: keys or shapes differ; names the first five of each kind.
    """
    check_weights(path, model, state, what)
    model.load_state_dict(state)


def load_final(path: Path, payload: Payload, parts: EvalParts) -> None:
    """Put what training came to into a model, and into a loss with parameters of its own. Raises as `load_weights`."""
    load_weights(path, parts.model, final_weights(payload))
    if isinstance(parts.loss_fn, torch.nn.Module):
        load_weights(path, parts.loss_fn, payload.get("loss") or {}, "loss")
