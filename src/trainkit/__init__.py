"""trainkit: one YAML file describes an experiment, one command runs it.

The names below are what a user's own code may import. They are loaded when first used, because most of them need
torch, which takes seconds.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # that of `typing` takes 18 ms, in which nobody takes care of Ctrl-C
if TYPE_CHECKING:
    from typing import Any

    from trainkit.config.base import Config as Config
    from trainkit.config.registry import register as register
    from trainkit.core.errors import TrainkitError as TrainkitError
    from trainkit.data import Batch as Batch
    from trainkit.data import Data as Data
    from trainkit.data import DataConfig as DataConfig
    from trainkit.data import DataSpec as DataSpec
    from trainkit.data import Split as Split
    from trainkit.data import TensorSource as TensorSource
    from trainkit.data import register_dataset as register_dataset
    from trainkit.data import register_transform as register_transform
    from trainkit.experiment.building import build as build
    from trainkit.experiment.building import open_data as open_data
    from trainkit.experiment.loading import load as load
    from trainkit.experiment.schema import ExperimentConfig as ExperimentConfig
    from trainkit.inference.evaluation import evaluate_checkpoint as evaluate_checkpoint
    from trainkit.inference.prediction import predict as predict
    from trainkit.models import ModelConfig as ModelConfig
    from trainkit.models import register_layer as register_layer
    from trainkit.models import register_model as register_model
    from trainkit.runs.run import resume as resume
    from trainkit.runs.run import train as train
    from trainkit.sinks.base import SinkConfig as SinkConfig
    from trainkit.sinks.base import SinkContext as SinkContext
    from trainkit.tasks import Classification as Classification
    from trainkit.tasks import MultiLabel as MultiLabel
    from trainkit.tasks import Prediction as Prediction
    from trainkit.tasks import Regression as Regression
    from trainkit.tasks import Task as Task
    from trainkit.tasks.earlier import TargetSpec as TargetSpec
    from trainkit.training.loop import Parts as Parts
    from trainkit.training.loop import Plan as Plan
    from trainkit.training.loop import evaluate as evaluate
    from trainkit.training.loop import fit as fit
    from trainkit.training.loop import train_steps as train_steps
    from trainkit.training.losses import LossConfig as LossConfig
    from trainkit.training.losses import LossOutput as LossOutput
    from trainkit.training.losses import supervised as supervised
    from trainkit.training.metrics import MetricConfig as MetricConfig
    from trainkit.training.optimizers import OptimizerConfig as OptimizerConfig
    from trainkit.training.own_parts import register_loss as register_loss
    from trainkit.training.own_parts import register_metric as register_metric
    from trainkit.training.own_parts import register_optimizer as register_optimizer
    from trainkit.training.own_parts import register_scheduler as register_scheduler
    from trainkit.training.progress import Progress as Progress
    from trainkit.training.schedulers import SchedulerConfig as SchedulerConfig
    from trainkit.training.step import StepOutput as StepOutput

_homes = {
    "Batch": "data",
    "Classification": "tasks",
    "Config": "config.base",
    "Data": "data",
    "DataConfig": "data",
    "DataSpec": "data",
    "ExperimentConfig": "experiment.schema",
    "LossConfig": "training.losses",
    "LossOutput": "training.losses",
    "MetricConfig": "training.metrics",
    "ModelConfig": "models",
    "MultiLabel": "tasks",
    "OptimizerConfig": "training.optimizers",
    "Parts": "training.loop",
    "Plan": "training.loop",
    "Prediction": "tasks",
    "Progress": "training.progress",
    "Regression": "tasks",
    "SchedulerConfig": "training.schedulers",
    "SinkConfig": "sinks.base",
    "SinkContext": "sinks.base",
    "Split": "data",
    "StepOutput": "training.step",
    "TargetSpec": "tasks.earlier",
    "Task": "tasks",
    "TensorSource": "data",
    "TrainkitError": "core.errors",
    "build": "experiment.building",
    "evaluate": "training.loop",
    "evaluate_checkpoint": "inference.evaluation",
    "fit": "training.loop",
    "load": "experiment.loading",
    "open_data": "experiment.building",
    "predict": "inference.prediction",
    "register": "config.registry",
    "register_dataset": "data",
    "register_layer": "models",
    "register_loss": "training.own_parts",
    "register_metric": "training.own_parts",
    "register_model": "models",
    "register_optimizer": "training.own_parts",
    "register_scheduler": "training.own_parts",
    "register_transform": "data",
    "resume": "runs.run",
    "supervised": "training.losses",
    "train": "runs.run",
    "train_steps": "training.loop",
}

__all__ = ["__version__", *_homes]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _homes:
        raise AttributeError(f"module 'trainkit' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"trainkit.{_homes[name]}"), name)
