"""A run's state as the content of a checkpoint, and back.

One file, since what is restored is what was taken, key by key.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

import trainkit
from trainkit.config import registry, yamlfile
from trainkit.config.validation import validate
from trainkit.config.yamlfile import Node, Where
from trainkit.core import seeding
from trainkit.core.errors import CheckpointError, ConfigError, DataError
from trainkit.core.text import and_more
from trainkit.data import Data, DataSpec
from trainkit.data.streams import StreamLoader
from trainkit.experiment import building
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.pretrained import tensors_of
from trainkit.runs import checkpoint, checkpoint_schema
from trainkit.runs.checkpoint_schema import Payload
from trainkit.training.loop import Parts, Plan
from trainkit.training.progress import Progress

COUNTERS = ("step", "mu_product")
"""What torch's optimizers keep as one number for each parameter; all else has the parameter's shape."""
KEPT_WITH = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg", "momentum": "momentum_buffer"}
"""What they keep only with an option, and then rely on."""


class Stateful(Protocol):
    """What keeps something from step to step."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> object: ...


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
    own = {"loss": parts.loss_fn.state_dict()} if isinstance(parts.loss_fn, nn.Module) else {}
    own |= {"stream": parts.train.state_dict()} if isinstance(parts.train, StreamLoader) else {}
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
        "rng": seeding.global_state(),
        **own,
    }


def check_readable(experiment: ExperimentConfig, spec: DataSpec, digests: dict[str, str], parts: Parts) -> None:
    """Take a state and restore it, as if from a file, so that no long run ends with one that nobody can read.

    Raises:
        ConfigError: it cannot be saved, or not be read again.
    """
    where = Path("checkpoint")
    try:
        payload = checkpoint.read_back(where, take(experiment, spec, digests, parts, Progress(), 0))
        validate(ExperimentConfig, config_node(where, payload))
        spec_of(where, payload)
        restore(where, payload, digests, parts)
    except (CheckpointError, ConfigError) as error:
        extra = [key for key in parts.model.state_dict() if key not in tensors_of(parts.model.state_dict())]
        hint = f"; see get_extra_state and set_extra_state, which give {and_more(extra)}" if extra else ""
        problems = [problem.removeprefix(f"{where}: ") for problem in error.problems]
        raise ConfigError(*(f"a checkpoint could not be read again: {one}{hint}" for one in problems)) from None


def restore(path: Path, payload: Payload, digests: dict[str, str], parts: Parts) -> list[str]:
    """Put a checkpoint's state into freshly built parts.

    Returns:
        What is not as it was, so that the result may differ in the last bits, and how a stream gets to its place.

    Raises:
        CheckpointError: the state is of another model or optimizer.
        DataError: the run was trained on other data.
    """
    stored_digests = payload["data"]
    if differing := [name for name in {**digests, **stored_digests} if stored_digests.get(name) != digests.get(name)]:
        raise DataError(f"{path}: the run was trained on other data: {', '.join(differing)} differs")
    if bad := checkpoint.not_finite(payload):
        raise CheckpointError(f"{path}: {bad} holds NaN or infinite values; a run cannot go on from there")
    models = {"model": parts.model, **({"ema": parts.ema.model} if parts.ema else {})}
    models |= {"loss": parts.loss_fn} if isinstance(parts.loss_fn, nn.Module) else {}
    for name, model in models.items():
        checkpoint.check_weights(path, model, payload.get(name) or {}, name)
    meta, here = payload["meta"], _machine(parts.device)
    stateful: dict[str, Stateful | None] = {"scheduler": parts.scheduler, "scaler": parts.precision.scaler}
    states = {**payload, "optimizer": _optimizer_state(path, payload, parts)}
    for name, part in stateful.items():
        _check_form(f"{path}: damaged: {name}", part and part.state_dict(), payload[name], meta)
    stream = parts.train if isinstance(parts.train, StreamLoader) else None
    # All fits: nothing is loaded by half.
    for name, part in {**models, "optimizer": parts.optimizer, **stateful, "stream": stream}.items():
        try:
            if part:
                part.load_state_dict(states[name])
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):  # of another torch, or a user's own
            raise CheckpointError(f"{path}: the state of the {name} cannot be read here") from None
    for parameter, state in parts.optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # Fused kernels walk raw memory: the state must lie there as its weight does, maybe channels_last.
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    differing = [f"{key} {here[key]} instead of {meta[key]}" for key in here if meta[key] not in (None, here[key])]
    text = f"resumed with {', '.join(differing)}: the result will not be the same to the last bit"
    return (stream.notes if stream else []) + [text] * bool(differing)


def open_data(experiment: ExperimentConfig, like: DataSpec, overrides: Iterable[str]) -> Data:
    """Open the data of a stored experiment as it was then.

    Args:
        overrides: of the experiment: only with these may data be fetched, or be where the stored config did not say.

    Raises:
        DataError: it is not there.
    """
    asked = any(override.startswith(("data.root=", "data.download=")) for override in overrides)
    _, data, missing = building.open_data(experiment if asked else experiment.restored(), like)
    if missing:
        raise DataError(missing)
    return data


def use_threads(payload: Payload) -> None:
    """Compute with as many threads as the run did, if the machine has them: with others, sums are rounded otherwise."""
    if (threads := payload["meta"]["threads"]) <= (os.cpu_count() or 1):
        torch.set_num_threads(threads)


def progress_of(path: Path, payload: Payload, plan: Plan) -> Progress:
    """Where the run stands.

    Raises:
        CheckpointError: that is no place in this plan.
    """
    progress = Progress(**payload["progress"])
    place = progress.epoch, -(-progress.batch // plan.accumulate)
    if divmod(progress.step, plan.steps_per_epoch) != place:
        where = f"batch {progress.batch} of epoch {progress.epoch}"
        raise CheckpointError(f"{path}: damaged: step {progress.step} is not at {where}")
    return progress


def _optimizer_state(path: Path, payload: Payload, parts: Parts) -> dict[str, Any]:
    """What the optimizer is to load.

    Raises:
        CheckpointError: it is of another one: torch would take it, and fail at a later step.
    """
    meta, kind, names = payload["meta"], type(parts.optimizer).__name__, _parameter_names(parts)
    # torch matches by position alone, and says nothing when the parameters are others.
    if meta["optimizer"] != kind or meta["parameters"] != names:
        swapped = [pair for pair in zip(meta["parameters"], names, strict=False) if pair[0] != pair[1]]
        raise CheckpointError(
            f"{path}: the optimizer's state is of {meta['optimizer']} with {len(meta['parameters'])} parameters, "
            f"the config builds {kind} with {len(names)}"
            + "".join(f"; {stored} stands where {own} belongs" for stored, own in swapped[:1])
        )
    states, stored = payload["optimizer"]["state"], payload["optimizer"]["param_groups"]
    module = type(parts.optimizer).__module__.partition(".")[0]
    if module not in ("torch", "trainkit") or not _is_ours(payload, "optimizer"):
        return {**payload["optimizer"]}  # nobody else knows the form of a user's own
    own = parts.optimizer.state_dict()["param_groups"]
    numbers = [group["params"] for group in own]
    fits = numbers == [group["params"] for group in stored] and states.keys() <= set(chain(*numbers))
    for group, of_group in zip(parts.optimizer.param_groups, numbers, strict=True):
        pairs = zip(group["params"], map(states.get, of_group), strict=True)
        kept = [(parameter, state) for parameter, state in pairs if state is not None]
        fits = fits and all(_is_state_of(parameter, state, like=kept[0][1]) for parameter, state in kept)
        needed = {key for option, key in KEPT_WITH.items() if group.get(option)}
        fits = fits and all(needed <= state.keys() for _, state in kept)
    if not fits or not all(isinstance(group.get("lr"), float) and math.isfinite(group["lr"]) for group in stored):
        raise CheckpointError(f"{path}: damaged: the optimizer's state does not fit its parameters")
    # Only the rate moves while training, with a user's own scheduler maybe more; the config gives the rest, and the
    # device the kernels.
    moving = ("lr",) if _is_ours(payload, "scheduler") else ("lr", "betas", "momentum", "weight_decay")
    groups = [
        {**group, **{key: moved[key] for key in moving if key in group}}
        for group, moved in zip(own, stored, strict=True)
    ]
    return {"state": states, "param_groups": groups}


def _is_ours(payload: Payload, family: str) -> bool:
    """Whether a component is one that trainkit has, as the default is."""
    given = payload["config"].get(family)
    name = given.get("name") if isinstance(given, dict) else given
    return name is None or registry.is_ours(registry.find(family, name))


def _is_state_of(parameter: Tensor, state: Any, like: Any) -> bool:
    """Whether torch can go on from a parameter's state, which has the keys of another one's."""

    def fits(key: str, value: Any) -> bool:
        if not isinstance(value, Tensor):
            return value is None and key == "momentum_buffer"  # of an SGD without momentum
        if key in COUNTERS:
            return value.shape == () and value.is_floating_point()
        # Fused kernels walk raw memory by the size of the parameter: a smaller tensor would let them write beyond it.
        return (value.shape, value.dtype) == (parameter.shape, parameter.dtype)

    return isinstance(state, dict) and state.keys() == like.keys() and all(fits(*item) for item in state.items())


def _check_form(where: str, own: object, stored: object, meta: dict[str, Any]) -> None:
    """Raise CheckpointError when a stored state has other keys, lengths or types than the one that it replaces."""
    ours, theirs = _form(own), _form(stored)
    # What another torch keeps more or less is no fault.
    keys = ours.keys() | theirs.keys() if meta["torch"] == str(torch.__version__) else ours.keys() & theirs.keys()
    if odd := [key for key in sorted(keys) if ours.get(key) != theirs.get(key)]:
        raise CheckpointError(f"{where}{odd[0]} is not what the config builds")


def _form(state: object, place: str = "") -> dict[str, type]:
    """The types of what is in a state, by their places."""
    if isinstance(state, dict | list | tuple) and state:
        items = state.items() if isinstance(state, dict) else enumerate(state)
        return {place: type(state)} | {k: v for key, item in items for k, v in _form(item, f"{place}.{key}").items()}
    return {place: float if isinstance(state, int) and not isinstance(state, bool) else type(state)}


def config_node(path: Path, payload: Payload) -> Node:
    """The config inside a checkpoint, for overrides."""
    return yamlfile.from_plain(payload["config"], Where(str(path)))


def experiment_of(path: Path, payload: Payload) -> ExperimentConfig:
    """The experiment inside a checkpoint. It never imports modules from beside the file.

    Raises:
        CheckpointError: this trainkit does not accept it.
    """
    try:
        experiment = parse(config_node(path, payload), beside=None)
    except ConfigError as error:
        raise CheckpointError(*error.problems) from None
    averaged = payload["ema"] is not None
    if averaged != (experiment.train.ema is not None) and not (averaged and not _is_ours(payload, "optimizer")):
        raise CheckpointError(f"{path}: damaged: averaged weights and train.ema do not go together")
    return experiment


def spec_of(path: Path, payload: Payload) -> DataSpec:
    """What the training data was. Call `experiment_of` first, which imports what the task may be of.

    Raises:
        CheckpointError: it is damaged.
    """
    return checkpoint_schema.spec_of(payload, f"{path}: damaged")


def _parameter_names(parts: Parts) -> list[str]:
    """The names of what the optimizer updates, in its own order: that of its groups, not of the model."""
    names = {parameter: name for name, parameter in parts.model.named_parameters()}
    if isinstance(parts.loss_fn, nn.Module):
        names |= {parameter: f"loss.{name}" for name, parameter in parts.loss_fn.named_parameters()}
    return [names[parameter] for group in parts.optimizer.param_groups for parameter in group["params"]]


def _machine(device: torch.device) -> dict[str, str | int]:
    """What the last bit of a result depends on."""
    is_gpu = device.type == "cuda"
    return {
        "torch": str(torch.__version__),
        "device": str(device),
        "processor": torch.cuda.get_device_name(device) if is_gpu else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
