"""Tensors in .npz and .pt files: nothing is executed, and nothing allocated that is not in the file."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainkit.core.errors import DataError, OutOfMemoryError

NAMES = ("inputs", "targets", "lengths", "test_inputs", "test_targets", "test_lengths")
PLAUSIBLE_BYTES, PLAUSIBLE_RATIO = 2**30, 100
"""Beyond both, a compressed file is taken for one that was made to fill the memory."""


def read(path: Path) -> dict[str, Any]:
    """What a file holds, by its names: a dense tensor on the CPU, a list of them, or something else that is no data.

    Raises:
        OSError: the file cannot be read.
        DataError: it is another kind of file, or claims more than it holds.
        OutOfMemoryError: it is too large.
    """
    try:
        return _from_npz(path) if path.suffix == ".npz" else _from_pt(path)
    except (DataError, OSError):
        raise
    except MemoryError:
        raise OutOfMemoryError(f"{path}: does not fit into memory") from None
    except Exception:  # numpy and torch leak many kinds on other files; neither executes anything
        raise DataError(f"{path}: not an .npz file, or a .pt file of a dict of tensors, without objects") from None


def is_data(value: Any) -> bool:
    """Whether it is a tensor, or a list of them."""
    return isinstance(value, Tensor) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, Tensor) for item in value)
    )


def _from_npz(path: Path) -> dict[str, Any]:
    """The arrays that are needed; of others only the names."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.removesuffix(".npy") in NAMES:
                _check_header(path, archive, member)
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > max(PLAUSIBLE_BYTES, PLAUSIBLE_RATIO * path.stat().st_size):
        raise DataError(f"{path}: unpacks to {unpacked:,} bytes, hardly what is meant; save it with numpy.savez")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.as_tensor(arrays[name]) if name in NAMES else None for name in arrays.files}


def _check_header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Compare the size that an array claims with the size that is there: NumPy would allocate first, and then read."""
    with archive.open(member) as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        claimed = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and claimed != member.file_size:
        raise DataError(f"{path}: {member.filename} claims {claimed:,} bytes, but has {member.file_size:,}")


def _from_pt(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > size:  # torch does not compress
            raise DataError(f"{path}: unpacks to {unpacked:,} bytes, but has {size:,}; save it with torch.save")
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    tensors = {str(name): value for name, value in loaded.items()} if isinstance(loaded, dict) else {}
    for name, value in tensors.items():
        if is_data(value):
            items = value if isinstance(value, list) else [value]
            if not all(map(is_dense, items)) or sum(item.nbytes for item in items) > size:
                raise DataError(f"{path}: {name}: expected a dense tensor that is in the file as a whole")
            tensors[name] = [item.detach() for item in items] if isinstance(value, list) else value.detach()
    return tensors


def is_dense(tensor: Tensor) -> bool:
    """Whether it is an ordinary tensor, all of whose numbers lie in memory."""
    strided = tensor.layout == torch.strided and not tensor.is_nested and not tensor.is_quantized
    return strided and tensor.device.type == "cpu"
