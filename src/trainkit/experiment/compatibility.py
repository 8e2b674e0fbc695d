"""Whether a model goes with its data, its loss and its precision: tried with two samples before training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor, nn

from trainkit.config import registry
from trainkit.core import nest
from trainkit.core.device import Precision
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.nest import Nest
from trainkit.core.suggestions import did_you_mean
from trainkit.core.text import and_more
from trainkit.data import Batch, Data, DataSpec
from trainkit.experiment.rules import metrics_of
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models import ModelConfig, dry_run
from trainkit.models.dry_run import evaluating
from trainkit.models.library import LibraryModelConfig
from trainkit.models.pretrained import BatchNorm, learns
from trainkit.tasks import Task
from trainkit.training.loop import EvalParts, trained
from trainkit.training.losses import LossOutput
from trainkit.training.metrics import Mean


def check_outputs(model: nn.Module, spec: DataSpec, num_outputs: int, device: torch.device) -> torch.dtype:
    """Run two placeholder samples through the model; gives the type in which it takes its inputs.

    Raises:
        ConfigError: what comes out is not what the task asks for: one row of `num_outputs` numbers per sample, as a
            rule.
    """
    dry_run.check_takes_lengths(model, spec)
    dry_run.check_takes_targets(model, spec)
    dtype = dry_run.input_type(model, spec, device)
    inputs, *lengths = dry_run.two_samples(spec, device, dtype)
    one_tensor = spec.task.output_shape(num_outputs, spec.shape) is not None
    with evaluating(model), torch.no_grad():
        outputs = (dry_run.run_to_tensor if one_tensor else dry_run.run)(model, inputs, *lengths)
    spec.task.check_outputs(outputs, Batch(inputs, None, torch.arange(2), *lengths[:1]), num_outputs)
    return dtype


def in_memory_format(model: nn.Module, spec: DataSpec, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A model whose weights lie in memory as pictures do. One that calls `view` on what it has thought to lie otherwise
    stays as it is, and gets its inputs as it expects them, which takes longer."""
    wanted = spec.input.memory_format
    assert wanted is not None
    model = model.to(memory_format=wanted)
    inputs, *others = dry_run.two_samples(spec, device, dtype)
    try:
        with evaluating(model), torch.no_grad():
            model(inputs.contiguous(memory_format=wanted), *others)
    except RuntimeError as error:
        if "view size is not compatible" not in str(error):
            raise
        model = model.to(memory_format=torch.contiguous_format)
        model.register_forward_pre_hook(_in_order)
    return model


def _in_order(_module: nn.Module, args: tuple[Nest, ...]) -> tuple[Nest, ...]:
    return tuple(nest.map_tensors(lambda tensor: tensor.contiguous(), each) for each in args)


@contextmanager
def least_size_told(model: ModelConfig, spec: DataSpec, num_outputs: int) -> Iterator[None]:
    """Add to what is wrong with a model of a library that pictures are too small for it, where that is so."""
    try:
        yield
    except ConfigError as error:
        if not isinstance(model, LibraryModelConfig) or not spec.input.pictures:
            raise
        if (least := model.least_size(spec, num_outputs)) is None:
            raise
        *others, last = error.problems
        hint = f"the smallest pictures that {model.arch} takes are {least}x{least}; data.size={least}"
        raise ConfigError(*others, f"{last}; {hint}") from error


def check_precision(model: nn.Module, spec: DataSpec, precision: Precision, dtype: torch.dtype) -> None:
    """Run two placeholder samples through the model in lower precision, for which not every layer is made everywhere.

    Raises:
        ConfigError: one is not; names the layer.
    """
    if precision.name == "fp32":
        return
    try:
        with evaluating(model), torch.no_grad(), precision.autocast():
            dry_run.run(model, *dry_run.two_samples(spec, precision.device, dtype))
    except ConfigError as error:
        what = str(error).removeprefix("model: ").partition(". ")[0]
        other = "bf16 or fp32" if precision.name == "fp16" else "fp32"
        raise ConfigError(
            f"train.precision: in {precision.name} on {precision.device.type} {what}; use {other}"
        ) from error


def check_monitored(name: str, data: Data, parts: EvalParts) -> None:
    """Whether the loss has the part that is monitored, as in evaluation.

    Raises:
        ConfigError: it has not.
    """
    if not name.startswith("loss_") or name in parts.metrics:
        return
    batch = parts.prepare(data.train.take(torch.arange(min(len(data.train), 2))), None)
    with evaluating(trained(parts)), torch.no_grad(), parts.precision.autocast():
        made = [f"val/loss_{part}" for part in parts.loss_fn(parts.model, batch).parts]
    if f"val/{name}" not in made:
        available = [*made, "val/loss", *(f"val/{label}" for label in parts.metrics)]
        hint = did_you_mean(f"val/{name}", available)
        raise ConfigError(
            f"checkpoint.monitor: unknown metric 'val/{name}'{hint}; available: {', '.join(sorted(available))}"
        )


def check_training(experiment: ExperimentConfig, data: Data, parts: EvalParts) -> None:
    """Run two samples through the model and its loss as in training.

    Raises:
        ConfigError: the model gives other outputs than in evaluation, or the loss and the metrics do not go with it.
    """
    two = data.train.take(torch.arange(min(len(data.train), 2)))
    batch = parts.prepare(two, 0)
    task, name = data.spec.task, experiment.loss.to_plain()["name"]
    num_outputs = experiment.loss.num_outputs(task)
    each = task.output_shape(num_outputs, data.spec.shape)
    with dry_run.training(trained(parts), parts.device), parts.precision.autocast():
        members = () if each is None else _shape_with_members(parts, batch, task, each)
        try:
            outcome = parts.loss_fn(parts.model, batch)
        except Exception as error:
            if isinstance(error, ConfigError) and error.__cause__ is None:
                raise
            if not members:
                return  # maybe only of two samples; what is wrong will show in the first step
            raise ConfigError(_of_members(name, members)) from error
    if not isinstance(outcome, LossOutput):
        raise ConfigError(f"loss: {name!r} gives a {type(outcome).__name__}, expected a LossOutput(loss, outputs)")
    outputs = outcome.outputs
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else ()
    if members and shape == members:
        raise ConfigError(_of_members(name, members))
    if own := dry_run.parameters_beside(trained(parts), outcome.loss):
        raise ConfigError(
            f"loss: {name!r} has parameters of its own, of shape {and_more([str(tuple(one.shape)) for one in own])}, "
            "which would not be trained; put them into the model, register the loss as an nn.Module with "
            "trainkit.register_loss, or requires_grad_(False) where they are to stay"
        )
    if each is None:
        batch = parts.prepare(two, None)
        with evaluating(trained(parts)), torch.no_grad(), parts.precision.autocast():
            outputs = parts.loss_fn(parts.model, batch).outputs
        task.check_outputs(outputs, batch, num_outputs)
    ours = [metric.label for metric in metrics_of(experiment, data.spec) if registry.is_ours(metric)]
    made = f"(batch, {', '.join(map(str, shape[1:]))})" if shape else nest.described(outputs)
    if ours and not task.predicts(outputs):
        raise ConfigError(
            f"metrics: {ours[0]!r} wants an output for each of the {task.size} {task.noun[1]}, but the loss "
            f"{name!r} gives {made}; let its LossOutput have such outputs, or name metrics of your own"
        )
    theirs = [metric.label for metric in metrics_of(experiment, data.spec) if not registry.is_ours(metric)]
    if tried := [parts.metrics[label] for label in theirs if isinstance(parts.metrics[label], Mean)]:
        batch = parts.prepare(two, None)
        with evaluating(trained(parts)), torch.no_grad(), parts.precision.autocast():
            outputs = parts.loss_fn(parts.model, batch).outputs
        for metric in tried:
            try:
                metric.update(outputs, batch.targets)
            except ConfigError as error:
                if error.__cause__ is None:  # else it may not go with two samples only
                    raise
            metric.reset()


def _shape_with_members(parts: EvalParts, batch: Batch, task: Task, each: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the model's outputs in training where these are of the members of an ensemble; else empty.

    Raises:
        ConfigError: they are others than in evaluation, where they are of shape (batch, *each).
    """
    expected = (len(batch.index), *each)
    with torch.no_grad():
        given = tuple(dry_run.run_to_tensor(parts.model, *batch.arguments, main=task.main).shape)
    if given == expected:
        return ()
    if len(given) == len(expected) + 1 and (given[0], *given[2:]) == expected:
        return given
    raise ConfigError(
        f"model: in training it gives outputs of shape {given}, in evaluation {expected}; they must be alike"
    )


def _of_members(loss: str, given: tuple[int, ...]) -> str:
    return (
        f"loss: {loss!r} cannot take what this model gives in training: (batch, {given[1]}, {given[2]}), an output of "
        f"each of its {given[1]} members; build it with trainkit.supervised, or use another model"
    )


def check_batch_norm(model: nn.Module, sizes: list[int], data: Data, device: torch.device) -> None:
    """Raise DataError where a batch of one sample would give BatchNorm a single value per channel."""
    if 1 not in sizes:
        return
    model.train()  # which leaves those as they are that their model keeps frozen
    learning = [name for name, module in model.named_modules() if isinstance(module, BatchNorm) and learns(module)]
    two = dry_run.two_samples(data.spec, device, dry_run.input_type(model, data.spec, device))
    with evaluating(model), torch.no_grad():
        name = dry_run.single_valued(model, learning, *two)
    if name is None:
        return
    samples = len(data.train)
    if samples == 1:
        raise DataError(f"data: 1 training sample is too few for BatchNorm ({name}), which needs 2 or more in a batch")
    larger = next(size for size in count(sizes[0] + 1) if samples % size != 1)
    if sizes[0] == 1:
        raise DataError(
            f"loader.batch_size: 1 sample is too few for BatchNorm ({name}); use loader.batch_size={larger}"
        )
    raise DataError(
        f"loader.batch_size: {sizes[0]} leaves a last batch of 1 sample, which BatchNorm ({name}) cannot normalise; "
        f"use loader.drop_last=true or loader.batch_size={larger}"
    )
