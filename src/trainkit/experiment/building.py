"""From an experiment to parts: data, model, loss, optimizer, scheduler, metrics, and the plan of a run."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from trainkit.config import registry
from trainkit.core import device as devices
from trainkit.core import nest, seeding
from trainkit.core.device import Precision
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.lazy_dynamo import defer_dynamo
from trainkit.core.records import NoteRecord
from trainkit.core.text import and_more
from trainkit.data import Data, DataSpec, sample_checks
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.loader import keep_on_device
from trainkit.data.transforms.mixup import BatchMix
from trainkit.data.transforms.pipeline import preparation
from trainkit.experiment import compatibility, streaming
from trainkit.experiment.rules import check, check_direction, check_only_step, metrics_of, monitored
from trainkit.experiment.schema import ExperimentConfig, steps_of
from trainkit.models import dry_run, lint
from trainkit.models.dry_run import evaluating
from trainkit.models.library import LibraryModelConfig
from trainkit.training.cuda_graph import why_not
from trainkit.training.ema import Ema, average_of
from trainkit.training.loop import EvalParts, Parts, Plan, trained
from trainkit.training.metrics import Score
from trainkit.training.reevaluation import reevaluating
from trainkit.training.schedulers import StepDecayConfig


def open_data(experiment: ExperimentConfig, like: DataSpec | None = None) -> tuple[ExperimentConfig, Data, str | None]:
    """Read the data, or what the config names to stand in for it.

    Gives the experiment as it will really be run, the data, and the reason when it is not the data asked for.

    Args:
        like: what the training data was, where a checkpoint tells it: the data is read as that was, and its model has
            learned targets in its own way, whatever could be measured of this data.

    Raises:
        DataError: the data is missing and nothing may stand in for it.
    """
    config, missing = experiment.data, None
    try:
        if like is None:
            data = config.open(experiment.seed)
        else:
            data = config.model_copy(update={"target_transform": "none"}).reopen(experiment.seed, like)
    except DataError as error:
        fallback_config = config.fallback_config()
        if fallback_config is None:
            raise
        # From here on the run is one on the stand-in: its config, its resume, its evaluation.
        experiment, missing = experiment.model_copy(update={"data": fallback_config}), str(error)
        data = fallback_config.open(experiment.seed)
    experiment = streaming.suited(experiment, data)
    if like is None or missing:
        return experiment, agreed(experiment, data), missing
    task = data.spec.task
    if task.unmeasured() == like.task.unmeasured():
        task = task.transformed_like(like.task)
    return experiment, replace(data, spec=data.spec.with_task(task)), None


def agreed(experiment: ExperimentConfig, data: Data) -> Data:
    """The data with its targets as the loss takes them; only those that trainkit has can undo a transform."""
    task = data.spec.task
    if not task.transformed or experiment.loss.takes_transformed:
        return data
    name = experiment.loss.to_plain()["name"]
    note = NoteRecord(f"data.target_transform: the loss {name!r} takes targets as they are")
    return replace(data, spec=data.spec.with_task(task.untransformed()), notes=(*data.notes, note))


def placeholder_data(experiment: ExperimentConfig) -> tuple[ExperimentConfig, Data]:
    """The data for a look at an experiment, made up where its config tells what it is, and the experiment with what it
    leaves to the data.

    Raises:
        DataError: it has to be read, and is missing or damaged.
    """
    data = experiment.data.placeholder(experiment.seed)
    experiment = streaming.suited(experiment, data)
    return experiment, agreed(experiment, data)


@dataclass(frozen=True, slots=True)
class Opened:
    """An experiment with its data, ready to be built."""

    experiment: ExperimentConfig
    """As it will really be run: with the data and the precision that are used."""
    data: Data
    device: torch.device
    missing: str | None
    """Why it is not the data asked for; None where it is."""


def open_experiment(experiment: ExperimentConfig) -> Opened:
    """Choose the device, read the data, and decide what was left open.

    Raises:
        StorageError: there is no such device.
        DataError: the data is missing and nothing may stand in for it.
        ConfigError: the worst checkpoint would be kept.
    """
    device = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
    experiment, data, missing = open_data(experiment)
    check_direction(experiment, data.spec)
    precision = devices.choose_precision(experiment.train.precision, device)
    return Opened(experiment.with_precision(precision), data, device, missing)


LARGE = 50.0
"""Inputs beyond this are worth a warning."""


def build_eval(experiment: ExperimentConfig, spec: DataSpec, device: torch.device) -> EvalParts:
    """Build what evaluation needs: the model with fresh weights, its loss and its metrics.

    Raises:
        ConfigError: the model does not fit the data.
    """
    num_outputs = experiment.loss.num_outputs(spec.task)
    seeding.seed_global(seeding.derive(experiment.seed, "init"))
    with compatibility.least_size_told(experiment.model, spec, num_outputs):
        model, notes = experiment.model.create(spec, num_outputs)
        model = model.to(device)
        attributes = lint.attributes(model)
        dtype = compatibility.check_outputs(model, spec, num_outputs, device)
    precision = Precision(experiment.train.precision, device)
    compatibility.check_precision(model, spec, precision, dtype)
    if spec.input.memory_format and registry.is_ours(experiment.model):
        model = model.to(memory_format=spec.input.memory_format)
    elif spec.input.memory_format:
        model = compatibility.in_memory_format(model, spec, device, dtype)
    augment = experiment.data.augment if isinstance(experiment.data, ImageDataConfig) else ()
    loss_fn = experiment.loss.build(spec.task)
    return EvalParts(
        model=model,
        loss_fn=loss_fn.to(device) if isinstance(loss_fn, nn.Module) else loss_fn,
        metrics={metric.label: metric.build(spec.task, num_outputs, device) for metric in metrics_of(experiment, spec)},
        prepare=preparation(spec, augment, experiment.seed, device, dtype),
        precision=precision,
        device=device,
        notes=tuple(notes),
        attributes=attributes,
    )


def build(experiment: ExperimentConfig, data: Data, device: torch.device) -> tuple[Parts, Plan]:
    """Build everything that a run consists of.

    Raises:
        ConfigError, DataError: parts do not fit each other.
    """
    check(experiment, data.spec)
    common = build_eval(experiment, data.spec, device)
    loader, train = experiment.loader, experiment.train
    train_split, augment = experiment.data.for_training(data.train)
    if train_split is not data.train:
        common = replace(common, prepare=preparation(data.spec, augment, experiment.seed, device))
    train_loader = streaming.train_loader(experiment, train_split, device, data.spec.task)
    val_loader = loader.eval_loader(data.val, device, train.limit_batches) if data.val else None
    keep_on_device([train_loader, *([val_loader] if val_loader else [])], device)
    compatibility.check_batch_norm(common.model, train_loader.sizes(0, len(train_loader)), data, device)
    name, mode = monitored(experiment, data.spec)
    steps_per_epoch = -(-len(train_loader) // train.accumulate)
    max_steps = min(max(train.epochs * steps_per_epoch, train.min_steps or 0), train.max_steps or 10**12)
    eval_every = steps_of(train.eval_every, steps_per_epoch, max_steps)
    stopping = train.early_stopping
    plan = Plan(
        max_steps=max_steps,
        batches_per_epoch=len(train_loader),
        accumulate=train.accumulate,
        clip_norm=train.clip_norm,
        log_every=experiment.log.every,
        eval_every=eval_every,
        save_every=steps_of(experiment.checkpoint.every or train.eval_every, steps_per_epoch, max_steps),
        monitor=name,
        mode=mode,
        patience=stopping.patience if stopping else None,
        min_delta=stopping.min_delta if stopping else 0.0,
        max_skipped=train.max_skipped if train.on_nonfinite == "skip" else None,
    )
    if not any(parameter.requires_grad for parameter in common.model.parameters()):
        raise ConfigError("model: has no parameters to train; are its layers in a plain list? use nn.ModuleList")
    if not data.spec.input.bounded and not all(bool(one.isfinite().all()) for one in _first_inputs(data, common)):
        raise DataError("data: among the first inputs are NaN or infinite values")
    compatibility.check_training(experiment, data, common)
    compatibility.check_monitored(name, data, common)
    if max_steps == 1 and not train.limit_batches:  # which is a quick try
        check_only_step(experiment.scheduler)
    defer_dynamo()
    optimizer = experiment.optimizer.build(trained(common), device)
    if train.ema and hasattr(optimizer, "train"):
        raise ConfigError(f"train.ema: {type(optimizer).__name__} averages the weights itself; leave it out")
    parts = Parts(
        **{field.name: getattr(common, field.name) for field in fields(common)},
        optimizer=optimizer,
        scheduler=experiment.scheduler.build(
            optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode=mode
        ),
        train=train_loader,
        val=val_loader,
        ema=Ema(common.model, train.ema) if train.ema else average_of(optimizer, common.model, trained(common)),
        seed=experiment.seed,
        cuda_graph=train.cuda_graph and not why_not(common.precision, plan.max_skipped),
        right=None if any(isinstance(one, BatchMix) for one in augment) else _running(experiment, data.spec),
    )
    return reevaluating(parts, plan) if experiment.optimizer.needs_closure(optimizer) else parts, plan


def _running(experiment: ExperimentConfig, spec: DataSpec) -> Score | None:
    scores = [metric.running(spec.task) for metric in metrics_of(experiment, spec)]
    return next((score for score in scores if score), None)


def warnings(experiment: ExperimentConfig, data: Data, parts: Parts, plan: Plan) -> list[Diagnostic]:
    """What is allowed but probably not meant."""
    found = [*(Diagnostic("weights", note) for note in parts.notes), *sample_checks.diagnostics(data)]

    def warn(code: str, text: str) -> None:
        found.append(Diagnostic(code, text))

    batch = parts.prepare(data.train.take(torch.arange(min(len(data.train), 2))), None)
    two = batch.arguments
    with evaluating(parts.model), torch.no_grad():
        if not isinstance(experiment.model, LibraryModelConfig):  # whose authors know what they do
            diagnostics = lint.diagnostics(parts.model, *two, before=parts.attributes)
            logits = data.spec.task.logits  # other outputs may well lie between 0 and 1
            found += [one for one in diagnostics if logits or one.code != "no-logits"]
            found += lint.frozen(parts.model) if experiment.model.freeze == "none" else []
        unused = lint.unreached(parts.model, *two)
        if unused:
            with dry_run.training(parts.model, parts.device):  # there may be auxiliary outputs there
                unused = [name for name in lint.unreached(parts.model, *two) if name in unused]
        if unused:
            text = f"in evaluation the outputs do not depend on {and_more(unused)}, which may not be trained"
            warn("no-gradient", f"model: {text}")
    task, num_outputs = data.spec.task, experiment.loss.num_outputs(data.spec.task)
    if not task.answered_by(num_outputs):
        text = f"{experiment.loss.to_plain()['name']!r} makes {num_outputs} outputs of the model, for {task.size}"
        warn("no-answers", f"loss: {text} {task.noun[1]}: trainkit predict cannot tell what they mean")
    embeds = any(isinstance(module, nn.Embedding) for module in parts.model.modules())  # whose inputs are no quantities
    calm = data.spec.input.bounded or embeds
    sizes = [] if calm else [float(one.abs().max()) for one in _first_inputs(data, parts)]
    if (largest := max(sizes, default=0.0)) > LARGE:
        text = f"inputs reach {largest:.4g}; bring them to numbers around 0 of size 1, such as by dividing them"
        warn("large-inputs", f"data: {text}")
    if experiment.train.limit_batches:
        text = f"only {plan.batches_per_epoch} batches an epoch; the results mean little"
        warn("limit-batches", f"train.limit_batches: {text}")
    if experiment.train.cuda_graph and (why := why_not(parts.precision, plan.max_skipped)):
        warn("no-cuda-graph", f"train.cuda_graph: {why}; each operation is launched by itself")
    low, high = experiment.optimizer.usual_lr
    if not low <= experiment.optimizer.lr <= high:
        name = type(experiment.optimizer).model_fields["name"].default
        text = f"{experiment.optimizer.lr:g} is unusual for {name} ({low:g} to {high:g})"
        warn("unusual-lr", f"optimizer.lr: {text}")
    if experiment.loader.batch_size > len(data.train) and not data.train.is_stream:
        text = f"{experiment.loader.batch_size} exceeds the {len(data.train)} samples"
        warn("batch-size", f"loader.batch_size: {text}")
    if experiment.loader.batch_size == 1:
        warn("batch-size", "loader.batch_size: 1 is slow and noisy; 32 to 256 is usual for small inputs")
    factor = experiment.scheduler.lr_factor(max_steps=plan.max_steps, steps_per_epoch=plan.steps_per_epoch)
    middle = factor(plan.max_steps * 3 // 4)
    if middle < 1e-4:
        text = f"a quarter before the end the learning rate is down to {middle:.0e} of its start"
        warn("vanishing-lr", f"scheduler: {text}")
    if isinstance(experiment.scheduler, StepDecayConfig) and factor(plan.max_steps - 1) == 1:
        warn("idle-scheduler", f"scheduler: the run ends after {_length(plan)}, before the learning rate first drops")
    if (warmup := experiment.scheduler.warmup_steps) > plan.max_steps // 2:
        text = f"{warmup} of the run's {plan.max_steps} steps; a tenth or less is usual"
        warn("long-warmup", f"scheduler.warmup_steps: {text}")
    evaluations = -(-plan.max_steps // plan.eval_every)
    if plan.patience is not None and plan.patience >= evaluations:
        many = f"{evaluations} evaluation{'s' * (evaluations != 1)}"
        text = f"the run has {many}, so that a patience of {plan.patience} never ends it"
        warn("idle-early-stopping", f"train.early_stopping: {text}")
    return found


def _length(plan: Plan) -> str:
    epochs = plan.epoch_at(plan.max_steps)
    return f"{epochs:g} epoch{'s' * (epochs != 1)} ({plan.max_steps:,} steps)"


def _first_inputs(data: Data, parts: EvalParts) -> list[Tensor]:
    """The numbers in a few training samples as the model will see them."""
    batch = parts.prepare(data.train.take(torch.arange(min(len(data.train), 64))), None)
    return [tensor.float() for tensor in nest.tensors(batch.inputs)]
