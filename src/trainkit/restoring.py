"""A trained model out of its checkpoint, for which the file alone is needed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from trainkit import checkpoint, merging, snapshot
from trainkit import device as devices
from trainkit.building import build_eval
from trainkit.data import DataSpec
from trainkit.experiment import ExperimentConfig, parse
from trainkit.loop import EvalParts
from trainkit.payload import Payload
from trainkit.rundir import RunDir


@dataclass(frozen=True, slots=True)
class Restored:
    """What a checkpoint holds, ready to be used."""

    path: Path
    payload: Payload
    experiment: ExperimentConfig
    """As it was trained, with overrides."""
    spec: DataSpec
    """What the training data was; new samples are treated like it."""
    parts: EvalParts
    """With the weights that the run ended with: averaged ones, where it has any."""


def restore(path: Path, *, device: str = "auto", overrides: Iterable[str] = ()) -> Restored:
    """Build the model of a checkpoint and load its weights.

    Args:
        path: a checkpoint, or a run directory for the one to use in it.

    Raises:
        CheckpointError: it is damaged, or not for this trainkit.
        ConfigError: an override is wrong.
        StorageError: there is no such device.
    """
    path = RunDir(path).chosen if path.is_dir() else path
    payload = checkpoint.load(path)
    snapshot.experiment_of(path, payload)  # an error in it is the file's, not that of the overrides
    experiment = parse(merging.override(snapshot.config_node(path, payload), overrides), beside=None)
    spec = DataSpec.from_plain(payload["spec"])
    parts = build_eval(experiment.restored(), spec, devices.select(device))
    checkpoint.load_weights(path, parts.model, checkpoint.final_weights(payload))
    return Restored(path, payload, experiment, spec, parts)
