"""The whole experiment as one value, the rules between its sections, and how it becomes parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field
from torch import nn

from trainkit import device as devices
from trainkit import merging, registry, seeding, validation
from trainkit.config import Component, Config
from trainkit.data import Data, DataConfig, DataSpec
from trainkit.data.loading import LoaderConfig
from trainkit.data.transforms import ImageDataConfig, preparation
from trainkit.device import Precision, PrecisionName
from trainkit.errors import ConfigError, DataError, did_you_mean
from trainkit.loop import EvalParts, Parts, Plan, evaluating
from trainkit.losses import CrossEntropyConfig, LossConfig
from trainkit.metrics import DEFAULT, MetricConfig
from trainkit.models import ModelConfig
from trainkit.optimizers import AdamConfig, OptimizerConfig
from trainkit.schedulers import ConstantConfig, PlateauConfig, SchedulerConfig
from trainkit.yamlfile import Node, Scalar


def _device_name(name: str) -> str:
    if not devices.valid_name(name):
        raise ValueError(f"expected auto, cpu, cuda, cuda:N or mps, got {name!r}")
    return name


def _run_name(name: str) -> str:
    if not 0 < len(name) <= 100 or name.strip(".") == "" or not set(name) <= _NAME_CHARACTERS:
        raise ValueError(f"only letters, digits, . _ - (at most 100), got {name[:100]!r}")
    return name


_NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

Count = Annotated[int, Field(ge=1, le=1_000_000)]


class EarlyStoppingConfig(Config):
    """Stop when the monitored metric (see `checkpoint.monitor`) no longer improves."""

    patience: Count = 5
    """Evaluations without improvement that end the training."""
    min_delta: float = Field(0.0, ge=0)
    """A smaller change is no improvement; in the metric's unit."""


class TrainConfig(Config):
    """How long and how to train."""

    epochs: Count = 10
    """Passes over the training samples."""
    max_steps: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Optimizer updates; with `epochs`, the earlier end counts."""
    eval_every: Count | None = None
    """Steps between evaluations on the val split; by default once per epoch."""
    accumulate: Count = 1
    """Batches per optimizer update: the gradient of a batch so many times as big."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest L2 norm of the gradient; longer ones are scaled down to it."""
    precision: PrecisionName = "fp32"
    """Arithmetic of the forward pass: `fp32`, or autocast to `bf16` or `fp16` (with loss scaling)."""
    device: Annotated[str, AfterValidator(_device_name)] = "auto"
    """`auto` (cuda, mps, cpu: the first that is there), `cpu`, `cuda`, `cuda:N` or `mps`."""
    early_stopping: EarlyStoppingConfig | None = None
    """Off by default."""


class LogConfig(Config):
    """What is recorded, and how often."""

    every: Count = 100
    """Steps between records of the training loss; also at the end of each epoch."""
    tensorboard: bool = True
    """Write event files for TensorBoard."""


class CheckpointConfig(Config):
    """When the run is saved, and what counts as its best."""

    every: Count | None = None
    """Steps between saves; by default once per epoch. A new best is always saved."""
    monitor: str | None = None
    """A metric of the val split such as `val/loss`; by default the first of `metrics`."""
    mode: Literal["min", "max"] | None = None
    """Whether the monitored metric should fall or rise; by default what the metric implies."""


AxisValue = Scalar | tuple[Scalar, ...]


class SweepConfig(Config):
    """What `trainkit sweep` varies; `trainkit train` ignores it."""

    axes: dict[str, tuple[AxisValue, ...]] = {"optimizer.lr": (1e-1, 1e-2, 1e-3, 1e-4)}
    """Keys with the values to try; all combinations are run."""


class ExperimentConfig(Config):
    """One experiment: one YAML file."""

    name: Annotated[str, AfterValidator(_run_name)] = "experiment"
    """Where runs go: `runs/<name>/`."""
    seed: int = Field(42, ge=0, le=2**63 - 1)
    """Every random stream follows from it."""
    imports: tuple[str, ...] = ()
    """Python modules that register your own components, beside the YAML file or installed. They are run."""
    data: Annotated[DataConfig, Component("data")]
    """What to learn from."""
    loader: LoaderConfig = LoaderConfig()
    """How samples become batches."""
    model: Annotated[ModelConfig, Component("model")]
    """What is trained."""
    loss: Annotated[LossConfig, Component("loss", CrossEntropyConfig)] = CrossEntropyConfig()
    """What is minimised."""
    metrics: tuple[Annotated[MetricConfig, Component("metric")], ...] = ()
    """What is measured besides the loss; by default what suits the kind of target."""
    optimizer: Annotated[OptimizerConfig, Component("optimizer", AdamConfig)] = AdamConfig()
    """How the weights are updated."""
    scheduler: Annotated[SchedulerConfig, Component("scheduler", ConstantConfig)] = ConstantConfig()
    """How the learning rate moves."""
    train: TrainConfig = TrainConfig()
    """How long and how to train."""
    log: LogConfig = LogConfig()
    """What is recorded."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When the run is saved."""
    sweep: SweepConfig = SweepConfig()
    """What a sweep varies."""

    def restored(self) -> Self:
        """The same experiment for weights from a checkpoint: files that training began with may be gone."""
        return self.model_copy(update={"model": self.model.restored()})


def load(path: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read a YAML file, apply overrides, import what it names, and validate the whole.

    Raises:
        ConfigError: with every problem found.
    """
    return parse(merging.override(merging.read(path), overrides), beside=path.parent)


def parse(node: Node, *, beside: Path | None) -> ExperimentConfig:
    """Validate a tree of nodes. `beside` is where modules named in `imports` may lie, besides what is installed."""
    imports = node.child("imports")
    problems: list[str] = []
    for module in imports.value if imports and isinstance(imports.value, list) else []:
        try:
            registry.load_module(module.text, beside)
        except ConfigError as error:
            problems += [f"{module.where}: imports: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    experiment = validation.validate(ExperimentConfig, node)
    try:
        if spec := experiment.data.spec():
            check(experiment, spec)
    except (ConfigError, DataError) as error:
        raise type(error)(*(_with_position(problem, node) for problem in error.problems)) from None
    return experiment


def _with_position(problem: str, node: Node) -> str:
    """Put the place of `section.key` in front of a problem that begins with it."""
    here = node
    for part in problem.split(":", 1)[0].split("."):
        here = here.child(part) or here
    return f"{here.where if here is not node else node.where.source}: {problem}"


def check(experiment: ExperimentConfig, spec: DataSpec) -> None:
    """The rules between sections, given what the data is.

    Raises:
        ConfigError: with every rule that is broken.
    """
    rules: list[Callable[[], object]] = [
        lambda: experiment.loss.num_outputs(spec.target),
        *(partial(metric.check, spec.target) for metric in experiment.metrics),
        lambda: _check_labels(experiment, spec),
        lambda: monitored(experiment, spec),
        lambda: _check_val(experiment),
    ]
    problems: list[str] = []
    for rule in rules:
        try:
            rule()
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(*problems)


def _check_labels(experiment: ExperimentConfig, spec: DataSpec) -> None:
    labels = ["loss", *(metric.label for metric in metrics_of(experiment, spec))]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"metrics: {twice!r} is recorded already; one record holds one value of a name")


def _check_val(experiment: ExperimentConfig) -> None:
    needed_by = {
        "train.early_stopping: early stopping": experiment.train.early_stopping is not None,
        "scheduler: plateau": isinstance(experiment.scheduler, PlateauConfig),
    }
    if experiment.data.val == 0:
        problems = [
            f"{what} needs validation samples, but data.val is 0" for what, needed in needed_by.items() if needed
        ]
        if problems:
            raise ConfigError(*problems)


def metrics_of(experiment: ExperimentConfig, spec: DataSpec) -> tuple[MetricConfig, ...]:
    """The metrics asked for, or the one that suits the kind of target."""
    return experiment.metrics or (DEFAULT[spec.target.kind],)


def monitored(experiment: ExperimentConfig, spec: DataSpec) -> tuple[str, Literal["min", "max"]]:
    """The metric that decides which checkpoint is the best, without its split, and its direction.

    Raises:
        ConfigError: no metric of the val split has that name.
    """
    metrics = metrics_of(experiment, spec)
    modes: dict[str, Literal["min", "max"]] = {"loss": "min"}
    modes |= {metric.label: metric.mode for metric in metrics}
    chosen = experiment.checkpoint.monitor or f"val/{metrics[0].label}"
    available = [f"val/{label}" for label in modes]
    if chosen not in available:
        hint = did_you_mean(chosen, available)
        raise ConfigError(
            f"checkpoint.monitor: unknown metric {chosen!r}{hint}; available: {', '.join(sorted(available))}"
        )
    name = chosen.removeprefix("val/")
    return name, experiment.checkpoint.mode or modes[name]


def open_data(experiment: ExperimentConfig) -> tuple[ExperimentConfig, Data, str | None]:
    """Read the data, or what the config names to stand in for it.

    Gives the experiment as it will really be run, the data, and the reason when it is not the data asked for.

    Raises:
        DataError: the data is missing and nothing may stand in for it.
    """
    try:
        return experiment, experiment.data.build(experiment.seed), None
    except DataError as error:
        stand_in = experiment.data.stand_in()
        if stand_in is None:
            raise
        # From here on the run is one on the stand-in: its config, its resume, its evaluation.
        used = experiment.model_copy(update={"data": stand_in})
        return used, stand_in.build(experiment.seed), str(error)


def build_eval(experiment: ExperimentConfig, spec: DataSpec, device: torch.device) -> EvalParts:
    """Build what evaluation needs: the model with fresh weights, its loss and its metrics.

    Raises:
        ConfigError: the model does not fit the data.
    """
    num_outputs = experiment.loss.num_outputs(spec.target)
    seeding.reseed(torch.device("cpu"), experiment.seed, "init")
    model = experiment.model.build(spec, num_outputs)
    _check_outputs(model, spec, num_outputs)
    model = model.to(device)
    if spec.image:
        model = model.to(memory_format=torch.channels_last)
    augment = experiment.data.augment if isinstance(experiment.data, ImageDataConfig) else ()
    return EvalParts(
        model=model,
        loss_fn=experiment.loss.build(spec.target),
        metrics={
            metric.label: metric.build(spec.target, num_outputs, device) for metric in metrics_of(experiment, spec)
        },
        prepare=preparation(spec, augment, experiment.seed, device),
        precision=Precision(experiment.train.precision, device),
        device=device,
    )


def build(experiment: ExperimentConfig, data: Data, device: torch.device) -> tuple[Parts, Plan]:
    """Build everything that a run consists of.

    Raises:
        ConfigError, DataError: parts do not fit each other.
    """
    check(experiment, data.spec)
    common = build_eval(experiment, data.spec, device)
    loader, train = experiment.loader, experiment.train
    train_loader = loader.train_loader(data.train, experiment.seed, device)
    _check_batch_norm(common.model, train_loader.sizes(0, len(train_loader)))
    name, mode = monitored(experiment, data.spec)
    steps_per_epoch = -(-len(train_loader) // train.accumulate)
    max_steps = min(train.epochs * steps_per_epoch, train.max_steps or 10**12)
    eval_every = train.eval_every or steps_per_epoch
    stopping = train.early_stopping
    plan = Plan(
        max_steps=max_steps,
        batches_per_epoch=len(train_loader),
        accumulate=train.accumulate,
        clip_norm=train.clip_norm,
        log_every=experiment.log.every,
        eval_every=eval_every,
        save_every=experiment.checkpoint.every or eval_every,
        monitor=name,
        mode=mode,
        patience=stopping.patience if stopping else None,
        min_delta=stopping.min_delta if stopping else 0.0,
    )
    if not any(parameter.requires_grad for parameter in common.model.parameters()):
        raise ConfigError("model: has no parameters to train; are its layers in a plain list? use nn.ModuleList")
    optimizer = experiment.optimizer.build(common.model, device)
    parts = Parts(
        **{field.name: getattr(common, field.name) for field in fields(common)},
        optimizer=optimizer,
        scheduler=experiment.scheduler.build(
            optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode=mode
        ),
        train=train_loader,
        val=loader.eval_loader(data.val, device) if data.val else None,
        seed=experiment.seed,
    )
    return parts, plan


def warnings(experiment: ExperimentConfig, data: Data, plan: Plan) -> list[str]:
    """What is allowed but probably not meant."""
    found: list[str] = []
    low, high = experiment.optimizer.usual_lr
    if not low <= experiment.optimizer.lr <= high:
        name = type(experiment.optimizer).model_fields["name"].default
        found.append(f"optimizer.lr: {experiment.optimizer.lr:g} is unusual for {name} ({low:g} to {high:g})")
    if experiment.loader.batch_size > len(data.train):
        found.append(f"loader.batch_size: {experiment.loader.batch_size} exceeds the {len(data.train)} samples")
    if experiment.loader.batch_size == 1:
        found.append("loader.batch_size: 1 is slow and noisy; 32 to 256 is usual for small inputs")
    factor = experiment.scheduler.lr_factor(max_steps=plan.max_steps, steps_per_epoch=plan.steps_per_epoch)
    middle = factor(plan.max_steps * 3 // 4)
    if middle < 1e-4:
        found.append(f"scheduler: a quarter before the end the learning rate is down to {middle:.0e} of its start")
    return found


def _check_outputs(model: nn.Module, spec: DataSpec, num_outputs: int) -> None:
    """Run two made-up samples through the model.

    Raises:
        ConfigError: what comes out is not one row of `num_outputs` numbers per sample.
    """
    with evaluating(model), torch.inference_mode():
        try:
            outputs = model(torch.zeros(2, *spec.shape))
        except RuntimeError as error:  # torch's kind for sizes that do not fit
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"model: a trial batch of shape {(2, *spec.shape)} does not pass through: {reason}"
            ) from error
    if not isinstance(outputs, torch.Tensor):
        raise ConfigError(f"model: gives a {type(outputs).__name__}, expected a tensor")
    if tuple(outputs.shape) != (2, num_outputs):
        raise ConfigError(
            f"model: two samples of shape {spec.shape} give outputs of shape {tuple(outputs.shape)}, but loss and "
            f"data need (2, {num_outputs}); change the model's last layer, the loss, or the data"
        )


def _check_batch_norm(model: nn.Module, sizes: list[int]) -> None:
    normalizes = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    if normalizes and 1 in sizes:
        raise DataError(
            f"loader.batch_size: {sizes[0]} leaves a last batch of 1 sample, which BatchNorm cannot normalise; "
            f"use loader.drop_last=true or loader.batch_size={sizes[0] + 1}"
        )
