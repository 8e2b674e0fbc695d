"""Why a run has ended early, in words, and what is left of it."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch

from trainkit.core.errors import (
    ConfigError,
    DivergedError,
    OutOfMemoryError,
    StoppedError,
    StorageError,
    TrainkitError,
    WorkerError,
    os_error_text,
)
from trainkit.core.signals import GRACE_S, OutOfGrace
from trainkit.runs import checkpoint, run_directory
from trainkit.runs.context import RunContext
from trainkit.runs.learning_curves import DIVERGED
from trainkit.runs.summary_lines import command, rates
from trainkit.training.loop import evaluate


@contextmanager
def early_end_recorded(job: RunContext) -> Iterator[None]:
    """Write into `run.json` how a run ended early, and turn that into an error which says what is left of it."""
    try:
        yield
    except BaseException as error:
        shown = _explained(error, job)
        code = (
            shown.exit_code if isinstance(shown, TrainkitError) else 130 if isinstance(shown, KeyboardInterrupt) else 1
        )
        status = {7: "diverged", 130: "stopped", 143: "stopped"}.get(code, "failed")
        reason = str(shown) or type(shown).__name__
        with suppress(StorageError):  # a full disk or a vanished directory must not hide why the run ended
            job.directory.update_metadata(
                status=status, reason=reason, exit_code=code, ended_at=run_directory.now(), step=job.progress.step
            )
        if shown is error:
            raise
        raise shown from (None if isinstance(error, TrainkitError) else error)


def _explained(error: BaseException, job: RunContext) -> BaseException:
    directory, step, batch_size = job.directory, job.progress.step, job.experiment.loader.batch_size
    text = str(error)
    good, go_on = "nothing was saved yet", ""
    if directory.saved:
        saved, path = directory.saved
        good = f"last good: step {saved} in {path}"
        run = directory.path if path == directory.last else path
        go_on = f"; go on with: {command(job.experiment, 'train', '--resume', run)}"
    if isinstance(error, StoppedError):
        signum = error.exit_code - 128
        what = f"saved{go_on}" if directory.saved else "before anything was saved"
        return StoppedError(signum, f"stopped by {signal.Signals(signum).name} at step {step}, {what}")
    if isinstance(error, KeyboardInterrupt) and directory.saved:
        unsaved = "" if directory.saved[0] == step else ", which was not saved"
        return StoppedError(signal.SIGINT, f"interrupted at step {step}{unsaved}; {good}{go_on}")
    if isinstance(error, OutOfGrace):
        late = f"stopped by SIGTERM at step {step}, which was not saved within {GRACE_S:g} s; {good}{go_on}"
        return StoppedError(signal.SIGTERM, late)
    if isinstance(error, DivergedError):
        lower = rates(job.experiment).times(1 / 10) or job.experiment.optimizer.lr / 10
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
            text = f"{error.filename or directory.path}: {os_error_text(error)}"
        return StorageError(f"{text} after step {step}; {good}{go_on}")
    if isinstance(error, WorkerError):
        return WorkerError(f"{text}; after step {step}, {good}{go_on}")
    return error


def _last_good(job: RunContext) -> str:
    """Which checkpoint a diverged run has left that still gives an ordinary loss: the latest such one."""
    directory = job.directory
    if not directory.saved:
        return "nothing was saved yet"
    kept = [*directory.checkpoints.glob("step-*.pt"), *filter(Path.exists, [directory.last, directory.best])]
    for path in sorted(kept, key=lambda path: path.stat().st_mtime_ns, reverse=True):  # those of one step are one file
        with suppress(Exception):  # what cannot be tried is not called good
            payload = checkpoint.load(path)
            job.parts.model.load_state_dict(payload["model"])
            if isinstance(job.parts.loss_fn, torch.nn.Module):
                job.parts.loss_fn.load_state_dict(payload["loss"])
            if _has_ordinary_loss(job):
                return f"last good: step {payload['progress']['step']} in {path}"
    return "no checkpoint is good"


def _has_ordinary_loss(job: RunContext) -> bool:
    """Of a batch of the val or of the training split: one of them may hold NaN."""
    loader, most = job.experiment.loader, DIVERGED * (job.progress.first_loss or math.inf)
    for split in filter(None, (job.data.val, job.data.train)):
        found = evaluate(replace(job.parts, metrics={}), loader.eval_loader(split, job.parts.device, 1))
        if found and math.isfinite(found["loss"]) and (most <= 0 or found["loss"] <= most):
            return True
    return False
