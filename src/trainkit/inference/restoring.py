"""A trained model out of its checkpoint, for which the file alone is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from trainkit.config import merging
from trainkit.core import device as devices
from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Data, DataSpec
from trainkit.experiment.building import build_eval
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs import checkpoint, run_state
from trainkit.runs.checkpoint_schema import Payload
from trainkit.runs.run_directory import RunDir
from trainkit.training.loop import EvalParts


@dataclass(frozen=True)
class Restored:
    """What a checkpoint holds, and the model that is built of it when it is first asked for."""

    path: Path
    payload: Payload
    experiment: ExperimentConfig
    """As it was trained, with overrides."""
    spec: DataSpec
    """What the training data was; new samples are treated like it."""
    device: str
    overrides: tuple[str, ...]

    @cached_property
    def parts(self) -> EvalParts:
        """The model with the weights that the run ended with: averaged ones, where it has any.

        Raises:
            CheckpointError: the weights do not fit, or inputs are no longer made as in training.
            StorageError: there is no such device.
        """
        self.spec.input.check()
        parts = build_eval(self.experiment.restored(), self.spec, devices.select(self.device))
        checkpoint.load_final(self.path, self.payload, parts)
        return parts

    def deciding_at(self, threshold: float | Literal["val"]) -> Restored:
        """The same, of two classes predicting the second above a probability; `val`: the one chosen on the val split.

        Raises:
            ConfigError: there are not two classes; or none was chosen.
        """
        task = self.spec.task
        if not task.binary:
            text = f"this model predicts {task.phrase} ({task.size})"
            raise ConfigError(f"command line: --threshold is for two classes, {text}")
        at = task.chosen_threshold if threshold == "val" else threshold
        if at is None:
            text = "that is done at the end of a run, for its best checkpoint, where the val split has both classes"
            raise ConfigError(f"{self.path}: no threshold was chosen: {text}")
        return replace(self, spec=self.spec.with_task(task.deciding_at(at)))

    def open_data(self) -> Data:
        """The data of the checkpoint, or what the overrides of `restore` put in its place.

        Raises:
            DataError: it is not there, or the model was not made for such data.
        """
        spec, path = self.spec, self.path
        data = run_state.open_data(self.experiment, spec, self.overrides)
        if data.spec.task.unmeasured() != spec.task.unmeasured():
            raise DataError(f"{path}: trained for {spec.task.size} {spec.task.noun[1]}, this data has others")
        if data.spec.input.name != spec.input.name:
            raise DataError(f"{path}: trained on {spec.input.name}, this data has {data.spec.input.name}")
        if not spec.input.goes_with(data.spec.input):
            raise DataError(f"{path}: trained on inputs of shape {spec.shape}, this data has {data.spec.shape}")
        return data


def open_checkpoint(path: Path, *, device: str = "auto", overrides: Iterable[str] = ()) -> Restored:
    """Read a checkpoint.

    Args:
        path: a checkpoint, or a run directory for the one to use in it.

    Raises:
        CheckpointError: it is damaged, or not for this trainkit.
        ConfigError: an override is wrong.
    """
    path, overrides = RunDir(path).chosen if path.is_dir() else path, tuple(overrides)
    payload = checkpoint.load(path)
    run_state.experiment_of(path, payload)  # an error in it is the file's, not that of the overrides
    experiment = parse(merging.override(run_state.config_node(path, payload), overrides), beside=None)
    return Restored(path, payload, experiment, run_state.spec_of(path, payload), device, overrides)


def restore(path: Path, *, device: str = "auto", overrides: Iterable[str] = ()) -> Restored:
    """Read a checkpoint and build its model at once. Raises as `open_checkpoint` and `Restored.parts`."""
    restored = open_checkpoint(path, device=device, overrides=overrides)
    _ = restored.parts
    return restored


def check_overrides(overrides: Iterable[str], where: str) -> None:
    """Raise ConfigError for those that would change what was trained.

    Args:
        where: the overrides are for, such as `an evaluation`.
    """
    if wrong := [item for item in overrides if item.partition("=")[0].partition(".")[0] not in ("data", "loader")]:
        raise ConfigError(*(f"command line: {item}: only data and loader can change in {where}" for item in wrong))
