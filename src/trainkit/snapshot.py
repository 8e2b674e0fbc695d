"""A run's state as the content of a checkpoint, and back."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import trainkit
from trainkit import checkpoint, yamlfile
from trainkit.checkpoint import Payload
from trainkit.data import DataSpec
from trainkit.errors import CheckpointError, ConfigError, DataError
from trainkit.experiment import ExperimentConfig, parse
from trainkit.loop import Parts
from trainkit.progress import Progress
from trainkit.yamlfile import Node, Where


def take(
    experiment: ExperimentConfig,
    spec: DataSpec,
    digests: dict[str, str],
    parts: Parts,
    progress: Progress,
    log_bytes: int,
) -> Payload:
    """Everything from which a run can go on. `log_bytes` is the length of its metrics.jsonl."""
    scaler = parts.precision.scaler
    return {
        "meta": {
            "trainkit": trainkit.__version__,
            **_machine(parts.device),
            "optimizer": type(parts.optimizer).__name__,
            "parameters": _parameter_names(parts),
        },
        "config": experiment.to_plain(),
        "spec": spec.to_plain(),
        "data": digests,
        "model": parts.model.state_dict(),
        "ema": parts.ema.model.state_dict() if parts.ema else None,
        "optimizer": parts.optimizer.state_dict(),
        "scheduler": parts.scheduler.state_dict(),
        "scaler": scaler.state_dict() if scaler else None,
        "progress": progress.state_dict(),
        "log": {"bytes": log_bytes},
    }


def restore(path: Path, payload: Payload, digests: dict[str, str], parts: Parts) -> list[str]:
    """Put a checkpoint's state into freshly built parts.

    Returns:
        What is not as it was, so that the result may differ in the last bits.

    Raises:
        CheckpointError: the state is of another model or optimizer.
        DataError: the run was trained on other data.
    """
    if differing := [name for name in digests if payload["data"].get(name) != digests[name]]:
        raise DataError(f"{path}: the run was trained on other data: {', '.join(differing)} differs")
    if bad := checkpoint.not_finite(payload):
        raise CheckpointError(f"{path}: {bad} holds NaN or infinite values; a run cannot go on from there")
    meta, kind, names = payload["meta"], type(parts.optimizer).__name__, _parameter_names(parts)
    # torch matches optimizer state by position alone and says nothing when the parameters are others
    if meta["optimizer"] != kind or meta["parameters"] != names:
        raise CheckpointError(
            f"{path}: the optimizer's state is of {meta['optimizer']} with {len(meta['parameters'])} parameters, "
            f"the config builds {kind} with {len(names)}"
        )
    checkpoint.load_weights(path, parts.model, payload["model"])
    if parts.ema:
        checkpoint.load_weights(path, parts.ema.model, payload["ema"])
    parts.optimizer.load_state_dict(payload["optimizer"])
    for parameter, state in parts.optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused kernels walk raw memory: the state must lie there as its weight does, maybe channels_last.
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    parts.scheduler.load_state_dict(payload["scheduler"])
    if parts.precision.scaler and payload["scaler"]:
        parts.precision.scaler.load_state_dict(payload["scaler"])
    here = _machine(parts.device)
    return [
        f"resumed with {key} {here[key]} instead of {meta[key]}: the result will not be the same to the last bit"
        for key in here
        if meta[key] != here[key]
    ]


def config_node(path: Path, payload: Payload) -> Node:
    """The config inside a checkpoint, for overrides."""
    return yamlfile.from_plain(payload["config"], Where(str(path)))


def experiment_of(path: Path, payload: Payload) -> ExperimentConfig:
    """The experiment inside a checkpoint. It never imports modules from beside the file.

    Raises:
        CheckpointError: this trainkit does not accept it.
    """
    try:
        return parse(config_node(path, payload), beside=None)
    except ConfigError as error:
        raise CheckpointError(*error.problems) from None


def _parameter_names(parts: Parts) -> list[str]:
    """The names of what the optimizer updates, in its own order: that of its groups, not of the model."""
    names = {parameter: name for name, parameter in parts.model.named_parameters()}
    return [names[parameter] for group in parts.optimizer.param_groups for parameter in group["params"]]


def _machine(device: torch.device) -> dict[str, str | int]:
    """What the last bit of a result depends on."""
    return {"torch": str(torch.__version__), "device": str(device), "threads": torch.get_num_threads()}
