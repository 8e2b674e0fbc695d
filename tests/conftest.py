"""What several tests need: tiny experiments, and a place of their own to run in."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from trainkit.config import registry
from trainkit.experiment.schema import ExperimentConfig
from trainkit.training.progress import Progress

# The ordinary run is the same every time; HYPOTHESIS_PROFILE=thorough looks further, and elsewhere each time.
settings.register_profile("ordinary", max_examples=300, deadline=None, database=None, derandomize=True)
settings.register_profile("thorough", max_examples=5000, deadline=None, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


def pytest_sessionfinish() -> None:
    """Commands hide what they import from the garbage collector, and libraries complain where it is so at the end."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def denormals() -> None:
    """A run on the CPU lets its process flush them, and Hypothesis then refuses to make floating-point numbers."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs in an empty directory, and no variable of the machine reaches it."""
    for variable in (
        "TRAINKIT_DATA_DIR",
        "TRAINKIT_RUNS_DIR",
        "TRAINKIT_OFFLINE",
        "TRAINKIT_CACHE_DIR",
        "XDG_CACHE_HOME",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For many steps of tiny networks, which two threads only slow down when other tests run beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What own modules register is gone afterwards, and the modules in this directory are not those of another test."""
    families = {family: known.copy() for family, known in registry._families.items()}
    monkeypatch.setattr(registry, "_families", families)
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for module in [name for name in sys.modules if name == "public" or name.startswith("my_")]:
        monkeypatch.delitem(sys.modules, module)


MakeExperiment = Callable[..., ExperimentConfig]


def tiny(**sections: Any) -> ExperimentConfig:
    """A tiny experiment: 8x8 pictures, 128 training samples, 8 steps an epoch; sections may be replaced."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "data": {"name": "synthetic", "shape": [1, 8, 8], "size": 4, "samples": 160, "val": 32, "test_samples": 32},
        "loader": {"batch_size": 16},
        "model": {"name": "cnn", "channels": [4], "hidden": [8], "dropout": 0.2},
        "optimizer": {"name": "adam", "lr": 0.01},
        "train": {"epochs": 2},
        "log": {"every": 3, "tensorboard": False},
    }
    for section, value in sections.items():
        merge = isinstance(value, dict) and "name" not in value and isinstance(plain.get(section), dict)
        plain[section] = {**plain[section], **value} if merge else value
    return ExperimentConfig.from_plain(plain)


@pytest.fixture
def make() -> MakeExperiment:
    """`tiny`."""
    return tiny


def payload(**content: Any) -> dict[str, Any]:
    """The content of a small checkpoint."""
    return {
        "meta": {"torch": "2.10", "device": "cpu", "threads": 1, "optimizer": "SGD", "parameters": ["weight"]},
        "config": {},
        "spec": {"input": {"name": "numbers", "shape": [3]}, "task": {"name": "regression", "size": 2}},
        "data": {},
        "model": {"weight": torch.arange(6.0).view(2, 3)},
        "ema": None,
        "optimizer": {"state": {}, "param_groups": []},
        "scheduler": {},
        "scaler": None,
        "progress": Progress(step=3).state_dict(),
        "log": {"bytes": 0},
        "rng": None,
        **content,
    }


def records(run_dir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall"} for line in lines]


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The model's state in a checkpoint, loaded as anybody without trainkit would."""
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return state


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are the same to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
