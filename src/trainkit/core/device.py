"""Where the arithmetic happens and in which precision."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.core.errors import StorageError

PrecisionName = Literal["auto", "fp32", "tf32", "bf16", "fp16"]

DEVICE_PATTERN = r"auto|cpu|cuda(:(0|[1-9][0-9]?))?|mps"  # torch would take cuda:300 for cuda:44


CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
COMPILE_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def select(name: str, *, deterministic: bool = False) -> torch.device:
    """The device of that name; `auto` is the first of cuda, mps and cpu that is there.

    Args:
        deterministic: refuse, until `settings_restored` ends, operations whose results differ from run to run.

    Raises:
        StorageError: the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise StorageError(f"train.device: {name} asked for, no CUDA device found; use cpu or auto")
        if (device.index or 0) >= count:
            raise StorageError(f"train.device: {name} asked for, there are only cuda:0 to cuda:{count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise StorageError("train.device: mps asked for, not available here; use cpu or auto")
    if deterministic:
        # cuBLAS reads this when CUDA starts, so before anything lies there.
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(True)
    if device.type == "cpu":
        _tune_cpu()
    return device


def _tune_cpu() -> None:
    for dtype in (
        np.float32,
        np.float64,
    ):  # numpy before 2.4 measures them once, and warns of denormal numbers that are 0
        np.finfo(dtype)
    # The momentum of units that have died decays into denormal numbers, with which an update takes twice as long.
    torch.set_flush_denormal(True)
    # By default glibc gives large blocks back to the kernel as soon as they are free, and every step pays for fresh
    # pages: a third of a step with large batches.
    _mallopt({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1})


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4


def _mallopt(options: Mapping[int, int]) -> None:
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option, value in options.items():
            mallopt(option, value)


def _deterministic() -> tuple[bool, bool]:
    """Whether operations whose results differ from run to run are refused, and whether that is a warning only."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


@contextmanager
def settings_restored() -> Iterator[None]:
    """What `select` and a run set for the whole process is afterwards as it was."""
    before = _deterministic()
    variables = {name: os.environ.get(name) for name in (CUBLAS_WORKSPACE, COMPILE_CACHE)}
    threads = torch.get_num_threads()
    rounds = _rounds_products()
    flushes = sys.float_info.min / 2 == 0  # torch can set it, but not tell
    try:
        yield
    finally:
        if _deterministic() != before:  # else it would import the compiler for nothing
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if _rounds_products() != rounds:
            _round_products(rounds)
        torch.set_flush_denormal(flushes)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for name, value in variables.items():
            os.environ.pop(name, None)
            os.environ |= {} if value is None else {name: value}
        # glibc cannot tell what it was; these are the thresholds to which it moves by itself after large blocks.
        _mallopt({M_MMAP_MAX: 2**16, M_MMAP_THRESHOLD: 2**25, M_TRIM_THRESHOLD: 2**26})


def compile_in_place(model: nn.Module) -> None:
    """Have torch.compile translate a model; the names in its state_dict stay as they are.

    What was compiled is kept in a folder for each kind of processor. torch (2.15) finds such code again by the graph
    alone: what was made for the vectors of AVX2 gives wrong numbers on AVX-512.
    """
    from torch._inductor.runtime import cache_dir_utils  # seconds

    folder = os.environ.get(COMPILE_CACHE) or cache_dir_utils.default_cache_dir()
    os.environ[COMPILE_CACHE] = str(Path(folder, torch.backends.cpu.get_cpu_capability()))
    model.compile()


def choose_precision(name: PrecisionName, device: torch.device) -> PrecisionName:
    """`auto` is bf16 where the hardware computes in it, else fp32; `tf32` is fp32 where it does not round to that. The
    hardware says so; nothing is timed."""
    if name == "tf32":
        has_it = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return "tf32" if has_it else "fp32"
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    # torch before 2.11 cannot say
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "fp32"


def _rounds_products() -> tuple[bool, bool]:
    """Whether CUDA devices round what is multiplied in float32 to TF32: in matrix products, in cuDNN's operations."""
    backends: Any = torch.backends
    return backends.cuda.matmul.fp32_precision == "tf32", backends.cudnn.conv.fp32_precision == "tf32"


def _round_products(rounds: tuple[bool, bool]) -> None:
    # What is set by `fp32_precision` makes these names raise when they are read, as inductor does (torch 2.10 to 2.15).
    torch.set_float32_matmul_precision("high" if rounds[0] else "highest")
    torch.backends.cudnn.allow_tf32 = rounds[1]


def valid_name(name: str) -> bool:
    """Whether a name can be given to `select`."""
    return re.fullmatch(DEVICE_PATTERN, name) is not None


def describe(device: torch.device) -> str:
    """`cpu (2 threads)` or `cuda:0 (NVIDIA …)`."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else f"mps ({platform.machine()})"


class Precision:
    """Autocast for the forward pass, loss scaling for fp16, clipping, and the update.

    On a CUDA device it also decides, for the whole process, whether what is in float32 is multiplied in TF32: torch
    does so in convolutions unless told otherwise.
    """

    def __init__(self, name: PrecisionName, device: torch.device) -> None:
        self.name = choose_precision(name, device)
        self.device = device
        self._dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.name)
        if device.type == "cuda":
            _round_products((self.name == "tf32",) * 2)
        self.scaler = torch.amp.GradScaler(device.type) if name == "fp16" else None

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for the forward pass and the loss."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)

    def backward(self, loss: Tensor) -> None:
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def collapsed(self) -> bool:
        """Whether the scale of fp16 has been halved below 1: the gradients overflow step after step, and none is made.

        The host waits for the device.
        """
        return self.scaler is not None and self.scaler.get_scale() < 1

    def update(
        self,
        optimizer: Optimizer,
        parameters: list[nn.Parameter],
        clip_norm: float | None,
        *,
        guard: Tensor | None = None,
    ) -> tuple[Tensor | None, bool]:
        """One optimizer step on clipped gradients.

        Args:
            guard: leave the step out unless all of this and the gradients are finite; the host waits for both.

        Returns:
            The norm before clipping, shape (), when it was needed; and whether the step was made.
        """
        if self.scaler and guard is not None and not bool(guard.isfinite().all()):
            return None, False  # no lower scale mends that
        if self.scaler:
            self.scaler.unscale_(optimizer)
        # An infinite limit clips nothing.
        limit = math.inf if clip_norm is None else clip_norm
        norm = nn.utils.clip_grad_norm_(parameters, limit) if clip_norm is not None or guard is not None else None
        # The scaler leaves out what is not finite by itself, lowers its scale, and tries again.
        if self.scaler:
            self.scaler.step(optimizer)
            self.scaler.update()
        elif norm is not None and guard is not None and not bool((norm + guard).isfinite().all()):
            return norm, False
        else:
            optimizer.step()
        return norm, True


def grad_norm(model: nn.Module) -> Tensor:
    """The global gradient norm (L2 over all gradients), shape (), float32."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients).float()
