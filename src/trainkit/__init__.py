"""trainkit: one YAML file describes an experiment, one command runs it.

The names below are what a user's own code may import. They are loaded when first used, because most of them need
torch, which takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trainkit.config import Config
    from trainkit.data import Batch, Data, DataConfig, DataSpec, Split, TargetSpec, TensorSource
    from trainkit.errors import TrainkitError
    from trainkit.experiment import ExperimentConfig, load
    from trainkit.loop import fit, train_steps
    from trainkit.losses import LossConfig
    from trainkit.metrics import MetricConfig
    from trainkit.models import ModelConfig, register_model
    from trainkit.optimizers import OptimizerConfig
    from trainkit.registry import register
    from trainkit.run import evaluate_checkpoint, resume, train
    from trainkit.schedulers import SchedulerConfig

_homes = {
    "Batch": "data",
    "Config": "config",
    "Data": "data",
    "DataConfig": "data",
    "DataSpec": "data",
    "ExperimentConfig": "experiment",
    "LossConfig": "losses",
    "MetricConfig": "metrics",
    "ModelConfig": "models",
    "OptimizerConfig": "optimizers",
    "SchedulerConfig": "schedulers",
    "Split": "data",
    "TargetSpec": "data",
    "TensorSource": "data",
    "TrainkitError": "errors",
    "evaluate_checkpoint": "run",
    "fit": "loop",
    "load": "experiment",
    "register": "registry",
    "register_model": "models",
    "resume": "run",
    "train": "run",
    "train_steps": "loop",
}

__all__ = ["__version__", *_homes]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _homes:
        raise AttributeError(f"module 'trainkit' has no attribute {name!r}")
    return getattr(import_module(f"trainkit.{_homes[name]}"), name)
