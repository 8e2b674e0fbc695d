"""The cache of decoded pictures: their pixels in one file on disk, which later epochs and runs map into memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
import torch

from trainkit.core import atomic
from trainkit.core.errors import DataError, StorageError, os_error_text
from trainkit.core.text import format_duration
from trainkit.data.base import TensorSource
from trainkit.data.images.decoding import PictureSource, Unreadable, decode_all

VERSION = 3
"""Another one where the same pictures give other pixels, or the files are made in another way."""
ABANDONED_S = 3600.0
"""After so long without a write, a temporary file belongs to a process that was killed."""


@dataclass(frozen=True, slots=True)
class CachedSource(TensorSource):
    """Decoded pictures in a file: `inputs` is the file itself, of which only what is used is in memory."""

    files: PictureSource
    """The same pictures."""
    path: Path

    def digest(self) -> str:
        return self.files.digest()  # the same data, cached or not

    def __reduce__(self) -> tuple[Callable[[Path, PictureSource], CachedSource], tuple[Path, PictureSource]]:
        return _mapped, (self.path, self.files)  # a worker maps the file for itself; a copy would be all of it


@dataclass(frozen=True, slots=True)
class Cache:
    """The files of one list of pictures in one size."""

    path: Path
    """The pixels: an .npy file of shape (readable pictures, height, width, channels), uint8."""
    unreadable: Unreadable
    """The pictures that are not in it."""

    def open(self, readable: PictureSource) -> CachedSource:
        """The samples in it, given the same pictures without the unreadable ones."""
        return _mapped(self.path, readable)


def folder() -> Path:
    """`pictures` in TRAINKIT_CACHE_DIR, by default in `~/.cache/trainkit`."""
    if chosen := os.environ.get("TRAINKIT_CACHE_DIR"):
        return Path(chosen).expanduser().absolute() / "pictures"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "trainkit" / "pictures"


def find(source: PictureSource) -> Cache | None:
    """The cache of these pictures, if it is there, whole, and not older than any of them."""
    manifest, stem = _identity(source)
    path = folder() / f"{stem}.npy"
    try:
        stored = json.loads(path.with_suffix(".json").read_text())
        unreadable = dict(stored.pop("unreadable"))
        pixels = np.lib.format.open_memmap(path, mode="r")
        whole = path.stat().st_size == pixels.offset + pixels.nbytes
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # not there, or not what we wrote
        return None
    expected = (len(source) - len(unreadable), *_stored_shape(source))
    fits = stored == manifest and pixels.shape == expected and pixels.dtype == np.uint8
    return Cache(path, unreadable) if whole and fits else None


def build(source: PictureSource) -> tuple[Cache, str]:
    """Decode the pictures into a new cache, and say what that took.

    Raises:
        StorageError: there is no room, or the disk refuses.
    """
    started = time.monotonic()
    manifest, stem = _identity(source)  # of now: a picture that changes from here on makes the cache a stale one
    path = folder() / f"{stem}.npy"
    _make_room(path, len(source) * math.prod(source.shape))

    def write(file: BinaryIO) -> None:
        shape = {"descr": "|u1", "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**shape, "shape": (0, *_stored_shape(source))})
        begin, unreadable = file.tell(), Unreadable()
        for pixels, failed in decode_all(source):
            file.write(np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy()).data)
            unreadable |= failed
        file.seek(0)
        count = len(source) - len(unreadable)
        np.lib.format.write_array_header_1_0(file, {**shape, "shape": (count, *_stored_shape(source))})
        assert file.tell() == begin  # numpy leaves room for the first number to grow
        # Before the pixels are there by their name: what is there is whole.
        stored = {**manifest, "unreadable": list(unreadable.items())}
        atomic.write_text(path.with_suffix(".json"), json.dumps(stored))

    atomic.replace(path, write)
    if (cache := find(source)) is None:
        raise DataError(f"{source.root}: pictures changed while they were decoded; start again")
    count, took = len(source) - len(cache.unreadable), format_duration(time.monotonic() - started)
    what = "pictures" if source.patches is None else "tiles"
    return cache, f"decoded {count:,} {what} into {path} ({_megabytes(path.stat().st_size)}) in {took}"


def _identity(source: PictureSource) -> tuple[dict[str, Any], str]:
    """What a cache must have been made from, and the name of its files that follows from that.

    The name has two parts: which pictures in which size, and how they, Pillow and trainkit were then. So a stale cache
    is not found, processes that write at the same time write the same, and what is to be deleted can be told.
    """
    which: dict[str, Any] = {
        "root": str(source.root.absolute()),
        "mode": source.mode,
        "height": source.height,
        "width": source.width,
        "crop_pct": source.crop_pct,
        "resize": source.resize,
        "background": list(source.background) if isinstance(source.background, tuple) else source.background,
        "limits": source.limits and list(source.limits),
    }
    if source.patches is not None:
        which["patches"] = [list(astuple(patch)) for patch in source.patches]
    files = []
    for name in source.names:
        with suppress(FileNotFoundError):
            status = (source.root / name).stat()
            files.append([name, status.st_size, status.st_mtime_ns])
    manifest = {**which, "version": VERSION, "pillow": PIL.__version__, "files": files}
    return manifest, f"{_hash([which, list(source.names)])}-{_hash(manifest)}"


def _stored_shape(source: PictureSource) -> tuple[int, ...]:
    """Of a picture in the file."""
    channels, height, width = source.shape
    return height, width, channels


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _mapped(path: Path, files: PictureSource) -> CachedSource:
    pixels = np.lib.format.open_memmap(path, mode="r")
    with warnings.catch_warnings():
        # torch says that nobody may write into it. A mapping that one may write into would have to fit into memory.
        warnings.simplefilter("ignore")
        inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return CachedSource(inputs, files.targets, files, path)


def _make_room(path: Path, size: int) -> None:
    """Make the folder, delete what is of no use any more, and see whether there is room."""
    directory, stem = path.parent, path.stem
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stale = [old for old in directory.glob(f"{stem.partition('-')[0]}-*") if old.stem != stem]
        for temporary in directory.glob(f"{atomic.PREFIX}*"):
            with suppress(FileNotFoundError):  # another process has just renamed it
                if time.time() - temporary.stat().st_mtime > ABANDONED_S:
                    stale.append(temporary)
        for old in stale:
            with suppress(OSError):  # Windows keeps a file that a running process has mapped
                old.unlink(missing_ok=True)
        free = shutil.disk_usage(directory).free
    except OSError as error:
        advice = "use data.cache=false, or another TRAINKIT_CACHE_DIR"
        raise StorageError(f"{directory}: {os_error_text(error)}; {advice}") from None
    if size > 0.9 * free:
        raise StorageError(
            f"{directory}: the decoded pictures take {_megabytes(size)} of the {_megabytes(free)} that are free; "
            "use data.cache=false, a smaller data.size, or another TRAINKIT_CACHE_DIR"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
