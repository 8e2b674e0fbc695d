"""Every random stream as a function of (seed, purpose, …), so that nothing has to be carried from run to run."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed for one purpose. The keys are hashed with their types: sums and joins would collide."""
    digest = hashlib.blake2b(repr((seed, *key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """A CPU generator of its own for one purpose."""
    return torch.Generator().manual_seed(derive(seed, *key))


def permutation(length: int, seed: int, *key: str | int) -> Tensor:
    """The numbers 0 … length - 1 in an order that depends on the key alone. Shape (length,), int64."""
    return torch.randperm(length, generator=generator(seed, *key))


def reseed(device: torch.device, seed: int, *key: str | int) -> None:
    """Reseed the generators that layers such as dropout draw from.

    Once per step, so that a resumed run draws what the uninterrupted one would have drawn. `torch.manual_seed` visits
    every backend and costs a hundred times as much.
    """
    _seed(device, derive(seed, *key))


def reseed_again(device: torch.device) -> None:
    """Begin the stream of the last `reseed` anew."""
    _seed(device, torch.default_generator.initial_seed())


def _seed(device: torch.device, value: int) -> None:
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):  # else the first one is seeded, whichever is used
            torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


def seed_global(seed: int) -> None:
    """Seed the generators that code which is not ours may draw from: Python's, NumPy's and torch's."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)


def global_state() -> dict[str, Any]:
    """The states of Python's and NumPy's global generators in plain numbers. torch's is seeded anew at every step."""
    name, numbers, *rest = np.random.get_state(legacy=True)
    return {"python": random.getstate(), "numpy": (name, np.asarray(numbers).tolist(), *rest)}


def set_global_state(state: dict[str, Any]) -> None:
    """The inverse of `global_state`."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])


@contextmanager
def generators_restored(device: torch.device | None = None) -> Iterator[None]:
    """What code inside draws disturbs no other stream: the global generators, and that of a device, are afterwards as
    they were."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    kind = device.type if device else "cpu"
    on_device = torch.cuda.get_rng_state(device) if device and kind == "cuda" else None
    on_device = torch.mps.get_rng_state() if kind == "mps" else on_device
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.default_generator.set_state(tensors)
        if device and on_device is not None:
            if kind == "cuda":
                torch.cuda.set_rng_state(on_device, device)
            else:
                torch.mps.set_rng_state(on_device)


def uniform(index: Tensor, seed: int, *key: str | int) -> Tensor:
    """A number in [0, 1) for every sample index, computed on the index's device without any generator state.

    A finaliser of the splitmix64 kind (Steele, Lea and Flood, 2014) over index and key: the same draw for a sample
    whatever the batch, the worker or the device.

    Args:
        index: shape (batch,), int64.

    Returns:
        Shape (batch,), float32.
    """
    bits = index * _signed(0x9E3779B97F4A7C15) + derive(seed, *key)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ _logical_shift(bits, shift)) * _signed(factor)
    bits = bits ^ _logical_shift(bits, 31)
    return _logical_shift(bits, 40).to(torch.float32) / 2**24


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _logical_shift(bits: Tensor, by: int) -> Tensor:
    """int64 shifts keep the sign; this one fills with zeros."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
