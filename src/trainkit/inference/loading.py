"""A trained model out of its checkpoint, for which the file alone is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainkit.config import merging
from trainkit.core import device as devices
from trainkit.core.errors import DataError
from trainkit.data import Data, DataSpec
from trainkit.experiment.building import build_eval
from trainkit.experiment.schema import ExperimentConfig, parse
from trainkit.runs import checkpoint, run_state
from trainkit.runs.checkpoint_schema import Payload
from trainkit.runs.run_directory import RunDir
from trainkit.training.loop import EvalParts


@dataclass(frozen=True, slots=True)
class Stored:
    """What a checkpoint holds."""

    path: Path
    payload: Payload
    experiment: ExperimentConfig
    """As it was trained, with overrides."""
    spec: DataSpec
    """What the training data was; new samples are treated like it."""

    def check_fits(self, data: Data) -> None:
        """Raise DataError when the model was not made for such data."""
        spec, path = self.spec, self.path
        if data.spec.target.uncounted() != spec.target.uncounted():
            raise DataError(f"{path}: trained for {spec.target.size} {spec.target.plural}, this data has others")
        if data.spec.shape[spec.padded :] != spec.shape[spec.padded :]:  # sequences may be longer or shorter
            raise DataError(f"{path}: trained on inputs of shape {spec.shape}, this data has {data.spec.shape}")
        if (data.spec.image, data.spec.padded) != (spec.image, spec.padded):
            raise DataError(
                f"{path}: trained on inputs of another kind: pictures, numbers, or padded sequences of them"
            )

    def build(self, device: str = "auto") -> EvalParts:
        """The model with the weights that the run ended with: averaged ones, where it has any.

        Raises:
            CheckpointError: the weights do not fit.
            StorageError: there is no such device.
        """
        parts = build_eval(self.experiment.restored(), self.spec, devices.select(device))
        checkpoint.load_weights(self.path, parts.model, checkpoint.final_weights(self.payload))
        return parts


def open_checkpoint(path: Path, overrides: Iterable[str] = ()) -> Stored:
    """Read a checkpoint.

    Args:
        path: a checkpoint, or a run directory for the one to use in it.

    Raises:
        CheckpointError: it is damaged, or not for this trainkit.
        ConfigError: an override is wrong.
    """
    path = RunDir(path).chosen if path.is_dir() else path
    payload = checkpoint.load(path)
    run_state.experiment_of(path, payload)  # an error in it is the file's, not that of the overrides
    experiment = parse(merging.override(run_state.config_node(path, payload), overrides), beside=None)
    return Stored(path, payload, experiment, DataSpec.from_plain(payload["spec"]))


@dataclass(frozen=True, slots=True)
class Restored(Stored):
    """The same, ready to be used."""

    parts: EvalParts


def restore(path: Path, *, device: str = "auto", overrides: Iterable[str] = ()) -> Restored:
    """Read a checkpoint and build its model.

    Raises:
        CheckpointError, ConfigError, StorageError: as `open_checkpoint` and `Stored.build`.
    """
    stored = open_checkpoint(path, overrides)
    return Restored(stored.path, stored.payload, stored.experiment, stored.spec, stored.build(device))
