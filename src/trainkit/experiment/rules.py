"""The rules between the sections of an experiment, given what its data is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from trainkit.config import registry
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.records import NOT_METRICS
from trainkit.core.suggestions import did_you_mean
from trainkit.data import DataSpec
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.transforms.pipeline import check_augment
from trainkit.experiment.schema import ExperimentConfig
from trainkit.training.metrics import MetricConfig, default_metrics
from trainkit.training.schedulers import PlateauConfig, SchedulerConfig


def check(experiment: ExperimentConfig, spec: DataSpec) -> None:
    """The rules between sections, given what the data is.

    Raises:
        ConfigError, DataError: with every rule that is broken.
    """
    rules: list[Callable[[], object]] = [
        lambda: experiment.loss.num_outputs(spec.task),
        *(partial(metric.check, spec.task) for metric in experiment.metrics),
        lambda: _check_target_transform(experiment, spec),
        lambda: _check_labels(experiment, spec),
        lambda: monitored(experiment, spec),
        lambda: _check_val(experiment),
        lambda: _check_accumulate(experiment),
        lambda: _check_augment(experiment, spec),
    ]
    errors: list[ConfigError | DataError] = []
    for rule in rules:
        try:
            rule()
        except (ConfigError, DataError) as error:
            errors.append(error)
    if errors:
        raise type(errors[0])(*(problem for error in errors for problem in error.problems))


def check_direction(experiment: ExperimentConfig, spec: DataSpec) -> None:
    """The direction of the monitored metric, for a new run: what an old one was monitored by, it was.

    Raises:
        ConfigError: the worst checkpoint would be the best. Of a user's own metric nobody else knows which is better.
    """
    name, mode = monitored(experiment, spec)
    known: dict[str, Literal["min", "max"]] = {"loss": "min"}
    known |= {metric.label: metric.mode for metric in metrics_of(experiment, spec) if registry.is_ours(metric)}
    if mode != known.get(name, mode):
        better = "lower" if known[name] == "min" else "higher"
        raise ConfigError(
            f"checkpoint.mode: {mode} would keep the worst checkpoint: a {better} {name} is better; leave mode out"
        )


def _check_target_transform(experiment: ExperimentConfig, spec: DataSpec) -> None:
    wanted = experiment.data.target_transform
    if wanted in ("auto", "none"):
        return
    if not spec.task.can_transform:
        raise ConfigError(
            f"data.target_transform: {wanted} is for numbers, the targets of the data are {spec.task.noun[1]}; use auto"
        )
    if not experiment.loss.takes_transformed:
        name = experiment.loss.to_plain()["name"]
        raise ConfigError(
            f"data.target_transform: {wanted}, but the loss {name!r} takes targets as they are; use "
            "auto or none, or transform them in the loss"
        )


def _check_labels(experiment: ExperimentConfig, spec: DataSpec) -> None:
    labels = ["loss", *(metric.label for metric in metrics_of(experiment, spec))]
    if taken := next((label for label in labels if label in NOT_METRICS), None):
        others = ", ".join(NOT_METRICS)
        raise ConfigError(
            f"metrics: {taken!r} cannot be a metric's name: a record of an evaluation has its own value of that name "
            f"({others}); call it {taken}_value, say"
        )
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"metrics: {twice!r} is recorded already; one record holds one value of a name")


def _check_augment(experiment: ExperimentConfig, spec: DataSpec) -> None:
    if isinstance(experiment.data, ImageDataConfig):
        check_augment(experiment.data.augment, spec)


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


def _check_accumulate(experiment: ExperimentConfig) -> None:
    if experiment.train.accumulate > 1 and not experiment.loss.divisible:
        raise ConfigError(
            f"train.accumulate: the loss {experiment.loss.to_plain()['name']!r} is one over the whole batch, not the "
            "mean of those of smaller ones; use train.accumulate=1 or a larger loader.batch_size"
        )


def metrics_of(experiment: ExperimentConfig, spec: DataSpec) -> tuple[MetricConfig, ...]:
    """The metrics asked for, or those that suit the task."""
    return experiment.metrics or default_metrics(spec.task)


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
    # A part of a loss, of which only its outputs tell whether it is there: see `compatibility.check_monitored`.
    is_part = chosen.startswith("val/loss_") and not registry.is_ours(experiment.loss)
    if chosen not in available and not is_part:
        from trainkit.config.other_tools import hint_for_value  # a table of words that is only needed now

        hint = hint_for_value(chosen, available) or did_you_mean(chosen, available)
        raise ConfigError(
            f"checkpoint.monitor: unknown metric {chosen!r}{hint}; available: {', '.join(sorted(available))}"
        )
    name = chosen.removeprefix("val/")
    return name, experiment.checkpoint.mode or modes.get(name, "min")


FAINT = 1e-3
"""A step at such a share of the learning rate changes nothing that could be seen."""


def check_only_step(scheduler: SchedulerConfig) -> None:
    """Raise ConfigError when a curve leaves no rate to speak of to a run of a single step."""
    share = scheduler.lr_factor(max_steps=1, steps_per_epoch=1)(0)
    if share < FAINT:
        raise ConfigError(
            f"scheduler: {scheduler.name} needs 2 steps or more: the run's only one would have {share:.2g} of the "
            "learning rate"
        )
