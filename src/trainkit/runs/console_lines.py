"""What a run says of itself: its first lines, its last ones, and why it ended early."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch

from trainkit.config import shell
from trainkit.core import device as devices
from trainkit.core.errors import (
    ConfigError,
    DivergedError,
    OutOfMemoryError,
    StoppedError,
    StorageError,
    TrainkitError,
    WorkerError,
)
from trainkit.core.records import EndRecord
from trainkit.core.signals import GRACE_S, OutOfGrace
from trainkit.core.text import format_metric
from trainkit.data import Data
from trainkit.data.target_scale import described
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs import checkpoint, history, resuming, run_directory
from trainkit.runs.context import RunContext
from trainkit.runs.history import History
from trainkit.runs.learning_curves import DIVERGED, Rates, diagnose
from trainkit.runs.run_directory import RunDir
from trainkit.training.baseline_loss import constant_prediction
from trainkit.training.loop import evaluate
from trainkit.training.losses import LossFn


@contextmanager
def early_end_told(job: RunContext) -> Iterator[None]:
    """Write into `run.json` how a run ended early, and turn that into an error which says what is left of it."""
    try:
        yield
    except BaseException as error:
        told = _early_end(error, job)
        code = told.exit_code if isinstance(told, TrainkitError) else 130 if isinstance(told, KeyboardInterrupt) else 1
        status = {7: "diverged", 130: "stopped", 143: "stopped"}.get(code, "failed")
        reason = str(told) or type(told).__name__
        with suppress(StorageError):  # a full disk or a vanished directory must not hide why the run ended
            job.directory.tell(
                status=status, reason=reason, exit_code=code, ended_at=run_directory.now(), step=job.progress.step
            )
        if told is error:
            raise
        raise told from (None if isinstance(error, TrainkitError) else error)


def _early_end(error: BaseException, job: RunContext) -> BaseException:
    directory, step, batch_size = job.directory, job.progress.step, job.experiment.loader.batch_size
    text = str(error)
    good, go_on = "nothing was saved yet", ""
    if directory.saved:
        saved, path = directory.saved
        good = f"last good: step {saved} in {path}"
        run = directory.path if path == directory.last else path
        go_on = f"; go on with: {_command(job.experiment, 'train', '--resume', run)}"
    if isinstance(error, StoppedError):
        signum = error.exit_code - 128
        what = f"saved{go_on}" if directory.saved else "before anything was saved"
        return StoppedError(signum, f"stopped by {signal.Signals(signum).name} at step {step}, {what}")
    if isinstance(error, OutOfGrace):
        late = f"stopped by SIGTERM at step {step}, which was not saved within {GRACE_S:g} s; {good}{go_on}"
        return StoppedError(signal.SIGTERM, late)
    if isinstance(error, DivergedError):
        lower = _rates(job.experiment).times(1 / 10) or job.experiment.optimizer.lr / 10
        advice = f"start a new run with a lower rate, such as optimizer.lr={lower:g}"
        if " at step 1 (" in text:  # no update has been made yet
            advice = "no rate mends that: look for NaN in the data, and for log, sqrt and division in the model"
        elif text.startswith("val/loss"):
            advice += ", or look for NaN in the val data"
        return DivergedError(f"{directory.path}: {error}; {_last_good(job)}; {advice}")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        less = f"loader.batch_size={batch_size // 2}" if batch_size > 1 else "a smaller model, or smaller samples"
        return OutOfMemoryError(f"out of memory with loader.batch_size {batch_size}; try {less}")
    if "deterministic" in text and job.experiment.train.deterministic:
        return ConfigError(f"train.deterministic: {text.splitlines()[0]}")
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return ConfigError(f"train.compile: torch.compile failed ({text.splitlines()[0]}); use train.compile=false")
    if "backward through the graph a second time" in text:
        return ConfigError("model: keeps a result with its graph from one batch to the next; keep result.detach()")
    if isinstance(error, OSError | StorageError):
        if isinstance(error, OSError) and error.strerror:
            text = f"{error.filename or directory.path}: {error.strerror.lower()}"
        return StorageError(f"{text} after step {step}; {good}{go_on}")
    if isinstance(error, WorkerError):
        return WorkerError(f"{text}; after step {step}, {good}{go_on}")
    return error


def _last_good(job: RunContext) -> str:
    """Which checkpoint a diverged run has left that still answers with an ordinary loss."""
    directory = job.directory
    if not directory.saved:
        return "nothing was saved yet"
    found: dict[int, Path] = {}
    for path in (directory.best, *directory.checkpoints.glob("step-*.pt"), directory.last):
        with suppress(Exception):  # what cannot be tried is not called good
            payload = checkpoint.load(path)
            job.parts.model.load_state_dict(payload["model"])
            if _answers_well(job):
                found[payload["progress"]["step"]] = path
    return f"last good: step {max(found)} in {found[max(found)]}" if found else "no checkpoint is good"


def _answers_well(job: RunContext) -> bool:
    """Whether the loss of a batch of the val or of the training split is ordinary: one of them may hold NaN."""
    loader, most = job.experiment.loader, DIVERGED * (job.progress.first_loss or math.inf)
    for split in filter(None, (job.data.val, job.data.train)):
        found = evaluate(replace(job.parts, metrics={}), loader.eval_loader(split, job.parts.device, 1))
        if found and math.isfinite(found["loss"]) and (most <= 0 or found["loss"] <= most):
            return True
    return False


def fallback_notes(directory: RunDir) -> list[str]:
    fallback = directory.metadata.get("fallback")
    if not fallback:
        return []
    return [f"TRAINING ON {fallback['used'].upper()}, NOT ON {fallback['asked'].upper()}: {fallback['why']}"]


def facts(job: RunContext) -> dict[str, str]:
    """The header: what is going to happen, in a few lines."""
    experiment, plan, data, parts = job.experiment, job.plan, job.data, job.parts
    plain = experiment.to_plain()
    sizes = {"train": data.train, "val": data.val, "test": data.test}
    counts = ", ".join(f"{len(split):,} {name}" for name, split in sizes.items() if split is not None)
    shape = "x".join(map(str, data.spec.shape))
    if columns := data.spec.columns:
        shape = f"{len(columns)} column{'s' * (len(columns) != 1)} that make {shape} inputs"
    targets = {"classification": "classes", "multilabel": "labels", "regression": "numbers"}[data.spec.target.kind]
    parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    trained = sum(parameter.numel() for parameter in parts.model.parameters() if parameter.requires_grad)
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
        "data": f"{plain['data']['name']}: {counts}; {shape}, {data.spec.target.size} {targets}",
        **({"target": described(data.spec.target)} if data.spec.target.kind == "regression" else {}),
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
        "evaluate": _command(experiment, "eval", "--ckpt", directory.chosen),
        "curves": shell.command("tensorboard", "--logdir", directory.tensorboard),
        **{what: _command(experiment, "train", *words) for what, words in more.items()},
    }
    curves = tuple(directory.metadata.get("curves", []))
    return EndRecord(f"{numbers}  ({how}{instead})", curves, commands)


def _command(experiment: ExperimentConfig, *words: object) -> str:
    return shell.command("trainkit", *words, modules_in=shell.homes(experiment.imports))


def verdicts(job: RunContext) -> list[str]:
    """What the curves say, in words; nothing of a run that was a quick try."""
    if job.experiment.train.limit_batches:
        return []
    told, parts = history.read(job.directory.metrics), job.parts
    longer = resuming.longer(job.experiment, job.plan, job.progress)
    return diagnosed(told, job.experiment, mark(job.experiment, job.data, parts.loss_fn), longer)


def mark(experiment: ExperimentConfig, data: Data, loss_fn: LossFn) -> float | None:
    """What guessing costs, with the samples as they are drawn."""
    target, balanced = data.spec.target, experiment.loader.sampler == "balanced"
    return constant_prediction(loss_fn, data.train, target, experiment.loss.num_outputs(target), balanced=balanced)


def diagnosed(
    told: History, experiment: ExperimentConfig, guess: float | None, longer: Sequence[str] | None = None
) -> list[str]:
    """What a history says of an experiment, in words."""
    how = " ".join(longer or []) or "a longer run"
    return list(map(str, diagnose(told, constant_prediction=guess, rates=_rates(experiment), longer=how)))


def _rates(experiment: ExperimentConfig) -> Rates:
    optimizer = experiment.optimizer
    return Rates(optimizer.lr, optimizer.usual_lr, float(type(optimizer).model_fields["lr"].default))
