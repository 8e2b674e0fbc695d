"""What a run says at its beginning and its end: what it is, what came of it, and what to type next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from trainkit.config import shell
from trainkit.core import device as devices
from trainkit.core.records import EndRecord, ProgressRecord
from trainkit.core.text import format_metric
from trainkit.data import Data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.base import count_parameters
from trainkit.runs import history, results, resuming
from trainkit.runs.context import RunContext
from trainkit.runs.history import History
from trainkit.runs.learning_curves import CurveDiagnosis, Rates, diagnose, no_better
from trainkit.runs.run_directory import RunDir
from trainkit.training import yardstick
from trainkit.training.baseline_loss import constant_losses
from trainkit.training.losses import LossFn
from trainkit.training.yardstick import Yardstick


def progress(job: RunContext) -> ProgressRecord:
    """What the time that is left can be told by."""
    plan, train, val = job.plan, job.parts.train, job.parts.val
    # Going backwards, too, takes three times as long as going forwards alone.
    eval_in_steps = sum(val.sizes(0, len(val))) / sum(train.sizes(0, plan.accumulate)) / 3 if val else 0.0
    max_s = 60 * (job.experiment.train.max_minutes or math.inf)
    return ProgressRecord(
        job.progress, plan.max_steps, plan.steps_per_epoch, plan.eval_every, plan.save_every, eval_in_steps, max_s
    )


def fallback_notes(directory: RunDir) -> list[str]:
    fallback = directory.metadata.get("fallback")
    if not fallback:
        return []
    return [f"TRAINING ON {fallback['used'].upper()}, NOT ON {fallback['asked'].upper()}: {fallback['why']}"]


def facts(job: RunContext) -> dict[str, str]:
    """The header: what is going to happen, in a few lines."""
    experiment, plan, data, parts = job.experiment, job.plan, job.data, job.parts
    plain = experiment.to_plain()
    sizes = {name: f"{len(split):,}" for name, split in data.splits.items()}
    sizes |= {"train": "a stream to"} if data.train.is_stream else {}
    counts = ", ".join(f"{size} {name}" for name, size in sizes.items())
    shape = "x".join(map(str, data.spec.shape))
    if columns := data.spec.columns:
        shape = f"{len(columns)} column{'s' * (len(columns) != 1)} that make {shape} inputs"
    parameters = count_parameters(parts.model.parameters())
    trained = count_parameters(parts.model.parameters(), trained=True)
    frozen = f", {trained:,} of them trained" if trained < parameters else ""
    length = f"{experiment.train.epochs} epochs of {plan.steps_per_epoch:,} steps"
    if plan.max_steps < experiment.train.epochs * plan.steps_per_epoch:
        length = f"{plan.max_steps:,} steps (train.max_steps ends it before {experiment.train.epochs} epochs)"
    elif plan.max_steps > experiment.train.epochs * plan.steps_per_epoch:
        epochs = f"{plan.epoch_at(plan.max_steps):.4g} epochs"
        length = f"{plan.max_steps:,} steps, {epochs} (train.min_steps asks for more than {experiment.train.epochs})"
    last = parts.train.sizes(len(parts.train) - 1, 1)[0]
    lr = f"{plain['optimizer']['name']} lr {experiment.optimizer.lr:g}"
    return {
        "run": str(job.directory.path),
        "device": f"{devices.describe(parts.device)}, {parts.precision.name}",
        "data": f"{plain['data']['name']}: {counts}; {shape}, {data.spec.task.size} {data.spec.task.noun[1]}",
        **({"target": data.spec.task.described} if data.spec.task.described else {}),
        "model": f"{plain['model']['name']}, {parameters:,} parameters{frozen}",
        "training": f"{length}, batch size {experiment.loader.batch_size} (last {last}), {lr}, seed {experiment.seed}",
    }


def last_lines(
    experiment: ExperimentConfig,
    directory: RunDir,
    metrics: Mapping[str, float],
    how: str,
    more: Mapping[str, Sequence[object]] = MappingProxyType({}),
) -> EndRecord:
    """The result, and what to type next.

    Args:
        how: it came to that.
        more: what else can be done, with the words that follow `trainkit train`.
    """
    numbers = "  ".join(format_metric(name, value) for name, value in metrics.items()) or "done"
    fallback = directory.metadata.get("fallback")
    instead = f"; on {fallback['used']}, not on {fallback['asked']}" if fallback else ""
    commands = {
        "evaluate": command(experiment, "eval", "--ckpt", directory.chosen),
        "curves": shell.command("tensorboard", "--logdir", directory.tensorboard),
        **{what: command(experiment, "train", *words) for what, words in more.items()},
    }
    curves = tuple(directory.metadata.get("curves", []))
    beside = tuple(yardstick.lines(results.stored(directory.metadata)))
    if threshold := directory.metadata.get("threshold"):
        beside += (f"threshold  {threshold:.4g} gives the best F1 on val: predict --threshold val",)
    return EndRecord(f"{numbers}  ({how}{instead})", beside, curves, commands)


def command(experiment: ExperimentConfig, *words: object) -> str:
    """What to type, with the PYTHONPATH that the experiment's own modules need."""
    return shell.command("trainkit", *words, modules_in=shell.homes(experiment.imports))


def diagnoses(
    job: RunContext, metrics: Mapping[str, float], beside: Mapping[str, Yardstick], baseline: float | None
) -> list[CurveDiagnosis]:
    """What results and curves say; nothing of a run that was a quick try."""
    if job.experiment.train.limit_batches:
        return []
    look = command(job.experiment, "doctor", job.directory.config)
    longer = resuming.longer(job.experiment, job.plan, job.progress)
    curves = diagnosed(history.read(job.directory.metrics), job.experiment, baseline, longer)
    return no_better(metrics, beside, job.plan.monitor, job.plan.mode, look) + curves


def baseline_loss(experiment: ExperimentConfig, data: Data, loss_fn: LossFn) -> float | None:
    """The loss of the best constant prediction, with the samples as they are drawn."""
    return baseline_losses(experiment, replace(data, val=None, test=None), loss_fn).get("train")


def baseline_losses(experiment: ExperimentConfig, data: Data, loss_fn: LossFn) -> dict[str, float]:
    """The same on every split, for the prediction that is best on `train`."""
    task, balanced = data.spec.task, experiment.loader.sampler == "balanced"
    splits = {"train": data.train} if balanced else data.splits  # elsewhere nothing is drawn
    return constant_losses(loss_fn, splits, task, experiment.loss.num_outputs(task), balanced=balanced)


def diagnosed(
    found: History, experiment: ExperimentConfig, baseline: float | None, longer: Sequence[str] | None = None
) -> list[CurveDiagnosis]:
    """What a history says of an experiment."""
    how = " ".join(longer or []) or "a longer run"
    stopping = experiment.train.early_stopping is not None
    return diagnose(found, baseline_loss=baseline, rates=rates(experiment), longer=how, stopping=stopping)


def rates(experiment: ExperimentConfig) -> Rates:
    """The learning rate among those that are usual for its optimizer."""
    optimizer = experiment.optimizer
    return Rates(optimizer.lr, optimizer.usual_lr, float(type(optimizer).model_fields["lr"].default))
