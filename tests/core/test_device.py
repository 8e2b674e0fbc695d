"""Devices and precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.conftest import MakeExperiment
from trainkit.core import device
from trainkit.core.device import Precision, choose_precision
from trainkit.core.errors import StorageError
from trainkit.runs.run import train


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("auto", True),
        ("cpu", True),
        ("cuda:3", True),
        ("mps", True),
        ("cudaa", False),
        ("cuda:", False),
        ("gpu", False),
    ],
)
def test_names(name: str, valid: bool) -> None:
    assert device.valid_name(name) is valid


def test_auto_finds_something_and_says_what() -> None:
    chosen = device.select("auto")
    assert chosen.type in device.describe(chosen)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(StorageError) as error:
        device.select("cuda")
    assert str(error.value) == "train.device: cuda asked for, no CUDA device found; use cpu or auto"
    assert error.value.exit_code == 5


def test_the_cpu_flushes_denormals() -> None:
    device.select("cpu")
    assert torch.equal(torch.full((3,), 1e-40) * 0.5, torch.zeros(3))


def test_numpy_does_not_warn_of_flushed_denormals() -> None:
    program = "from trainkit.core import device; device.select('cpu'); import numpy.ma"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_stays_with_the_process() -> None:
    program = """
import resource, sys, torch
from trainkit.core import device
if sys.argv[1] == "tuned":
    device.select("cpu")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):  # where small things come to lie between large ones, some rounds pass before all has its place
    torch.empty(2**25, dtype=torch.uint8).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        which: int(subprocess.run([sys.executable, "-c", program, which], check=True, capture_output=True).stdout)
        for which in ("tuned", "plain")
    }
    assert faults["tuned"] < faults["plain"] / 4


def test_grad_norm_is_over_all_parameters() -> None:
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[3.0, 0.0]])
    model.bias.grad = torch.tensor([4.0])
    assert float(device.grad_norm(model)) == 5.0


def test_auto_is_what_the_hardware_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert choose_precision("auto", cpu) == "bf16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True}, raising=False)
    assert choose_precision("auto", cpu) == "fp32"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose_precision("auto", cpu) == "fp32"
    assert choose_precision("fp16", cpu) == "fp16"


def test_what_auto_was_stands_in_the_config_of_the_run(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    result = train(make(train={"epochs": 1, "precision": "auto"}))
    assert "precision: bf16" in (result.run_dir / "config.yaml").read_text()


def test_what_is_set_for_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)  # other tests have selected devices

    def settings() -> tuple[object, ...]:
        strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        return *strict, torch.get_num_threads(), sys.float_info.min / 2 > 0, os.environ.get("CUBLAS_WORKSPACE_CONFIG")

    before = settings()
    with device.settings_restored():
        device.select("cpu", deterministic=True)
        torch.set_num_threads(torch.get_num_threads() + 1)
        assert not any(one == other for one, other in zip(settings()[2:], before[2:], strict=True))
        assert torch.are_deterministic_algorithms_enabled()
        inside = settings()
        with device.settings_restored():
            device.select("cpu")
        assert settings() == inside
    assert settings() == before


def test_what_is_compiled_for_one_processor_is_not_taken_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch finds compiled code by the graph alone: made for shorter vectors, it gives wrong numbers."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "compiled")
    with device.settings_restored():
        device.compile_in_place(torch.nn.Linear(1, 1))
        found = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
        assert found == Path("compiled", torch.backends.cpu.get_cpu_capability()).absolute()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == "compiled"
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    with device.settings_restored():
        device.compile_in_place(torch.nn.Linear(1, 1))
        assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).name == found.name
    assert "TORCHINDUCTOR_CACHE_DIR" not in os.environ


def test_tf32_is_fp32_where_there_is_none() -> None:
    assert choose_precision("tf32", torch.device("cpu")) == "fp32"
    assert Precision("tf32", torch.device("cpu")).name == "fp32"


@pytest.mark.parametrize(("name", "rounds"), [("tf32", True), ("fp32", False), ("bf16", False)])
def test_products_on_a_gpu_are_rounded_only_when_asked_for(
    name: device.PrecisionName, rounds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    before = device._rounds_products()
    with device.settings_restored():
        assert Precision(name, torch.device("cuda")).name == name
        assert torch.backends.cuda.matmul.allow_tf32 is rounds  # what torch.compile asks
        assert torch.backends.cudnn.allow_tf32 is rounds
        assert device._rounds_products() == (rounds, rounds)
    assert device._rounds_products() == before
