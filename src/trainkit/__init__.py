"""trainkit: one YAML file describes an experiment, one command runs it.

The names below are what a user's own code may import. They are loaded when first used, because most of them need
torch, which takes seconds.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # that of `typing` takes 18 ms, in which nobody takes care of Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from trainkit.building import build as build
    from trainkit.building import open_data as open_data
    from trainkit.config import Config as Config
    from trainkit.data import Batch as Batch
    from trainkit.data import Data as Data
    from trainkit.data import DataConfig as DataConfig
    from trainkit.data import DataSpec as DataSpec
    from trainkit.data import Split as Split
    from trainkit.data import TargetSpec as TargetSpec
    from trainkit.data import TensorSource as TensorSource
    from trainkit.data import register_dataset as register_dataset
    from trainkit.errors import TrainkitError as TrainkitError
    from trainkit.evaluation import evaluate_checkpoint as evaluate_checkpoint
    from trainkit.experiment import ExperimentConfig as ExperimentConfig
    from trainkit.experiment import load as load
    from trainkit.loop import Parts as Parts
    from trainkit.loop import Plan as Plan
    from trainkit.loop import StepOutput as StepOutput
    from trainkit.loop import evaluate as evaluate
    from trainkit.loop import fit as fit
    from trainkit.loop import train_steps as train_steps
    from trainkit.losses import LossConfig as LossConfig
    from trainkit.metrics import MetricConfig as MetricConfig
    from trainkit.models import ModelConfig as ModelConfig
    from trainkit.models import register_model as register_model
    from trainkit.optimizers import OptimizerConfig as OptimizerConfig
    from trainkit.prediction import Prediction as Prediction
    from trainkit.prediction import predict as predict
    from trainkit.progress import Progress as Progress
    from trainkit.registry import register as register
    from trainkit.run import resume as resume
    from trainkit.run import train as train
    from trainkit.schedulers import SchedulerConfig as SchedulerConfig

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
    "Parts": "loop",
    "Plan": "loop",
    "Prediction": "prediction",
    "Progress": "progress",
    "SchedulerConfig": "schedulers",
    "Split": "data",
    "StepOutput": "loop",
    "TargetSpec": "data",
    "TensorSource": "data",
    "TrainkitError": "errors",
    "build": "building",
    "evaluate": "loop",
    "evaluate_checkpoint": "evaluation",
    "fit": "loop",
    "load": "experiment",
    "open_data": "building",
    "predict": "prediction",
    "register": "registry",
    "register_dataset": "data",
    "register_model": "models",
    "resume": "run",
    "train": "run",
    "train_steps": "loop",
}

__all__ = ["__version__", *_homes]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _homes:
        raise AttributeError(f"module 'trainkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"trainkit.{_homes[name]}"), name)
