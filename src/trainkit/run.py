"""One run from beginning to end: open, build, resume, fit, close."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainkit import atomic, checkpoint, merging, registry, rundir, seeding, snapshot, yamlfile
from trainkit import device as devices
from trainkit.building import build, open_data, warnings
from trainkit.data import Data
from trainkit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    OutOfMemoryError,
    StoppedError,
    StorageError,
    TrainkitError,
    WorkerError,
)
from trainkit.experiment import ExperimentConfig, parse, seconds_of
from trainkit.loop import Parts, Plan, evaluate, fit
from trainkit.payload import Payload
from trainkit.progress import Progress
from trainkit.records import (
    CheckpointRecord,
    EndRecord,
    EvalRecord,
    NoteRecord,
    Sink,
    StartRecord,
    Tee,
    format_duration,
    format_metric,
)
from trainkit.rundir import RunDir
from trainkit.schedulers import PlateauConfig
from trainkit.signals import GRACE_S, OutOfGrace, Stop, stop_on_signal
from trainkit.sinks.console import ConsoleSink
from trainkit.sinks.jsonl import JsonlSink

FREE = (
    *("train.device", "train.max_minutes", "data.cache"),
    *("loader.num_workers", "loader.pin_memory", "loader.timeout", "checkpoint.every", "checkpoint.keep"),
)
"""What may differ when a run is resumed without another result: where it runs, for how long, how often it is saved."""
EXTENDABLE = ("train.epochs", "train.max_steps", *FREE)
"""What may differ when a run is resumed: that, and how far it goes."""
OUT_OF_TIME = "train.max_minutes is over"


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run has to show."""

    run_dir: Path
    checkpoint: Path
    """The best one; without a val split, the last."""
    metrics: Mapping[str, float]
    """The best val metric and the test metrics, such as `val/accuracy` and `test/loss`."""


@dataclass(frozen=True, slots=True)
class Job:
    """An experiment with everything that it was built into."""

    experiment: ExperimentConfig
    data: Data
    parts: Parts
    plan: Plan
    directory: RunDir
    digests: dict[str, str]
    """Fingerprints of the data."""
    progress: Progress
    quiet: bool


def train(experiment: ExperimentConfig, *, run_dir: Path | None = None, quiet: bool = False) -> Result:
    """Train an experiment in a new run directory.

    Args:
        run_dir: where; by default a new directory below `runs/<name>/`.
        quiet: say only warnings and the result.

    Raises:
        TrainkitError: with the reason, and the exit code that `trainkit train` ends with.
    """
    rundir.check_writable(experiment.name, run_dir)
    device = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
    asked = experiment.data.to_plain()["name"]
    experiment, data, missing = open_data(experiment)
    parts, plan = build(experiment, data, device)
    used = experiment.data.to_plain()["name"]
    fallback = {"asked": asked, "used": used, "why": missing} if missing else None
    digests = data.digests()
    with rundir.create(experiment.name, run_dir) as directory:
        directory.tell(
            status="running",
            name=experiment.name,
            started_at=rundir.now(),
            fallback=fallback,
            data=digests,
            notes=[note.text for note in data.notes],
            environment=rundir.environment(),
        )
        directory.write_config(yamlfile.dump(experiment.to_plain()))
        held_out = data.val.index.tolist() if data.val else []
        atomic.write_text(directory.path / "split.json", json.dumps({"val": held_out}) + "\n")
        return _run(Job(experiment, data, parts, plan, directory, digests, Progress(), quiet), None, [])


def resume(path: Path, overrides: Iterable[str] = (), *, device: str | None = None, quiet: bool = False) -> Result:
    """Go on with a run where its checkpoint stands, in the same directory.

    Args:
        path: a run directory, or one of its checkpoints.
        overrides: may only extend the run (`train.epochs=5`).

    Raises:
        TrainkitError: as `train`; CheckpointError when there is nothing to resume.
    """
    overrides = list(overrides)
    directory_path, checkpoint_path = rundir.locate(path)
    with rundir.reopen(directory_path) as directory:
        payload = _load(checkpoint_path)
        snapshot.use_threads(payload)
        stored = snapshot.experiment_of(checkpoint_path, payload)
        experiment = _extended(stored, [*overrides, *([f"train.device={device}"] if device else [])])
        out_of_time = directory.story.get("reason") == OUT_OF_TIME
        extends = any(getattr(experiment.train, key) != getattr(stored.train, key) for key in ("epochs", "max_steps"))
        if directory.story.get("status") == "finished" and not out_of_time and not extends:
            result = Result(directory.path, directory.chosen, directory.story["metrics"])
            ConsoleSink(quiet=quiet).write(_end(result, "already complete", stored, directory, None))
            return result
        chosen = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
        _, data, missing = open_data(experiment if snapshot.may_fetch(overrides) else experiment.restored())
        if missing:
            raise DataError(missing)
        parts, plan = build(experiment.restored(), data, chosen)
        digests = data.digests()
        notes = snapshot.restore(checkpoint_path, payload, digests, parts)
        del payload["model"], payload["ema"], payload["optimizer"]  # as much memory as the training itself takes
        progress = snapshot.progress_of(checkpoint_path, payload, plan)
        notes += _best_notes(directory, checkpoint_path, progress)
        directory.saved = progress.step, checkpoint_path
        if plan.max_steps < progress.step or (extends and not out_of_time):
            _check_extension(experiment, plan, progress)
        directory.tell(
            status="running",
            reason=None,
            exit_code=None,
            ended_at=None,
            resumed_at=[*directory.story.get("resumed_at", []), rundir.now()],
        )
        directory.write_config(yamlfile.dump(experiment.to_plain()))
        return _run(Job(experiment, data, parts, plan, directory, digests, progress, quiet), payload, notes)


def _load(path: Path) -> Payload:
    """Read the checkpoint to resume from.

    Raises:
        CheckpointError: it is damaged; names another one of the run that is whole.
    """
    try:
        return checkpoint.load(path)
    except CheckpointError as error:
        others = [hint for other in sorted(path.parent.glob("*.pt")) if (hint := _whole(other))]
        if not others:
            raise
        raise CheckpointError(*(f"{problem}; {others[0]}" for problem in error.problems)) from None


def _whole(path: Path) -> str | None:
    """How to go on from a checkpoint; None when it is damaged, too."""
    try:
        step = checkpoint.load(path)["progress"]["step"]
    except CheckpointError:
        return None
    return f"{path.name}, of step {step}, is whole: trainkit train --resume {path}"


def _best_notes(directory: RunDir, resumed_from: Path, progress: Progress) -> list[str]:
    """A warning when `best.pt` is not the best that the run remembers. A newer one is: the run had gone further."""
    if not progress.best_step or (directory.best.exists() and directory.best.samefile(resumed_from)):
        return []
    try:
        step = checkpoint.load(directory.best)["progress"]["step"]
    except CheckpointError as error:
        problem = str(error)
    else:
        if step >= progress.best_step:
            return []
        problem = f"{directory.best}: is of step {step}, the best was step {progress.best_step}"
    return [f"{problem}; the next better value writes a new one"]


def _extended(stored: ExperimentConfig, overrides: Iterable[str]) -> ExperimentConfig:
    """The stored config with overrides that only extend it."""
    node = yamlfile.from_plain(stored.to_plain(), yamlfile.COMMAND_LINE)
    given = parse(merging.override(node, overrides), beside=None)
    before, after = dict(_leaves(stored.to_plain())), dict(_leaves(given.to_plain()))
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    # Of a component that is another one, only that.
    others = tuple(key.removesuffix("name") for key in differing if key.endswith(".name"))
    differing = [key for key in differing if key.endswith(".name") or not key.startswith(others)]
    if refused := [key for key in differing if key not in EXTENDABLE]:
        show = yamlfile.show
        raise ConfigError(
            *(
                f"command line: {key} differs (stored {show(before.get(key))}, given {show(after.get(key))}); "
                "start a new run"
                for key in refused
            )
        )
    if set(differing) - set(FREE) and given.scheduler.depends_on_total:
        raise ConfigError(
            f"command line: {differing[0]}: the whole curve of this scheduler depends on it; start a new run"
        )
    return given


def _check_extension(experiment: ExperimentConfig, plan: Plan, progress: Progress) -> None:
    """Refuse a new end that the run has passed, and one that would not give the run planned that way from the start."""
    reacts = plan.patience is not None or isinstance(experiment.scheduler, PlateauConfig)
    if plan.max_steps < progress.step:
        problem = f"the run is at step {progress.step} already, and would end at step {plan.max_steps}"
    elif progress.stopped_early:
        problem = f"the run stopped early at step {progress.step}, and would do so again; start a new run"
    elif plan.max_steps == progress.step:
        problem = f"adds nothing: the run ends at step {plan.max_steps}; see train.epochs and train.max_steps"
    elif reacts and progress.evaluated == progress.step and progress.step % plan.eval_every:
        problem = "the evaluation at the old end would not have been there in a longer run; start a new run"
    else:
        return
    raise ConfigError(f"command line: {problem}")


def _leaves(plain: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(plain, dict) and plain:
        for name, value in plain.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
    else:
        yield key, plain


def _run(job: Job, resumed_from: Payload | None, notes: list[str]) -> Result:
    """Train from where the job's progress stands, and tell the run's story while it lasts."""
    experiment, directory, progress, plan = job.experiment, job.directory, job.progress, job.plan
    # From here on nothing ends the run without a word in its story, the slow imports below included.
    with stop_on_signal() as stop, _early_end_told(job), ExitStack() as stack:
        console = ConsoleSink(quiet=job.quiet, log=directory.log)
        stack.callback(console.close)
        jsonl = JsonlSink(directory.metrics, keep=resumed_from["log"]["bytes"] if resumed_from else None)
        stack.callback(jsonl.close)
        sinks: list[Sink] = [console, jsonl]
        if experiment.log.tensorboard:
            from trainkit.sinks.tensorboard import TensorBoardSink
            from trainkit.visuals import Visuals

            board = TensorBoardSink(
                directory.tensorboard,
                purge_step=progress.step + 1 if resumed_from else None,
                warn=lambda text: console.write(NoteRecord(text, "warning")),
            )
            stack.callback(board.close)
            visuals = Visuals(
                writer=board.writer,
                experiment=experiment,
                data=job.data,
                parts=job.parts,
                progress=progress,
                directory=directory,
                stop=stop,
                sink=console,
            )
            sinks += [board, visuals]
        sink = Tee(tuple(sinks))
        sink.write(StartRecord(_facts(job), yamlfile.dump(experiment.to_plain())))
        for note in [*notes, *_fallback_notes(directory), *warnings(experiment, job.data, job.parts, plan)]:
            sink.write(NoteRecord(note, "warning"))
        for record in job.data.notes:
            sink.write(record)
        if resumed_from:
            where = f"step {progress.step}, with {progress.batch} batches of epoch {progress.epoch + 1} done"
            state = f"weights, optimizer, scheduler, best value, data order, {torch.get_num_threads()} threads"
            sink.write(NoteRecord(f"resumed at {where}: {state}"))

        saved_at, save_every_s = (
            time.monotonic(),
            seconds_of(experiment.checkpoint.every or experiment.train.eval_every),
        )

        def save(best: bool) -> None:
            nonlocal saved_at
            keep, names = experiment.checkpoint.keep, ["best.pt"] if best else []
            if keep:
                # What falls out of the history leaves the list only in the next checkpoint: a kill in between must not
                # let it out of sight.
                progress.kept = list(dict.fromkeys([*progress.kept, progress.step]))
                names.insert(0, f"step-{progress.step}.pt")
            payload = snapshot.take(experiment, job.data.spec, job.digests, job.parts, progress, jsonl.sync())
            checkpoint.save(directory.checkpoints, payload, names=names)
            directory.saved = progress.step, directory.last
            while len(progress.kept) > keep:
                (directory.checkpoints / f"step-{progress.kept.pop(0)}.pt").unlink(missing_ok=True)
            saved_at, stop.save_asked = time.monotonic(), False
            sink.write(CheckpointRecord(progress.step, directory.last, best))

        console.show_progress(progress, max_steps=plan.max_steps, steps_per_epoch=plan.steps_per_epoch)
        if experiment.train.compile:
            job.parts.model.compile()  # in place: the names in its state_dict stay as they are
            sink.write(NoteRecord("train.compile: the first step and the first evaluation take a minute or so longer"))
        if resumed_from and resumed_from["rng"]:  # last: nothing may draw between here and the first step
            seeding.set_global_state(resumed_from["rng"])
        started = time.monotonic()
        limit = (experiment.train.max_minutes or math.inf) * 60
        fit(
            job.parts,
            plan,
            progress,
            sink=sink,
            save=save,
            stop=stop,
            save_asked=lambda: stop.save_asked or time.monotonic() > saved_at + save_every_s,
            out_of_time=lambda: time.monotonic() > started + limit,
        )
        metrics = _final_metrics(job, sink, stop)
        result = Result(directory.path, directory.chosen, metrics)
        reason = None if plan.finished(progress) else OUT_OF_TIME
        directory.tell(status="finished", reason=reason, exit_code=0, ended_at=rundir.now(), metrics=metrics)
        how = f"{directory.chosen.name} of step {_chosen_step(job)}"
        how += f", stopped early at step {progress.step}" if progress.stopped_early else ""
        how += f", {reason} at step {progress.step} of {plan.max_steps}" if reason else ""
        how += f"; {format_duration(time.monotonic() - started)}"
        longer = "" if reason else _longer(experiment, progress)
        sink.write(_end(result, how, experiment, directory, longer))
    return result


def _longer(experiment: ExperimentConfig, progress: Progress) -> str | None:
    """The override that makes a finished run twice as long; None where a longer run would be another one."""
    if progress.stopped_early or experiment.scheduler.depends_on_total:
        return None
    max_steps = experiment.train.max_steps
    return f"train.max_steps={2 * max_steps}" if max_steps else f"train.epochs={2 * experiment.train.epochs}"


def _final_metrics(job: Job, sink: Sink, stop: Stop) -> dict[str, float]:
    """The best val metric, and the chosen checkpoint measured on the test split: the only look at it."""
    progress = job.progress
    metrics = {} if progress.best is None else {f"val/{job.plan.monitor}": progress.best}
    tested = None
    started = time.perf_counter()
    if job.data.test is not None and not stop():
        # The weights of the last step have done their work.
        chosen = job.directory.chosen
        checkpoint.load_weights(chosen, job.parts.model, checkpoint.final_weights(checkpoint.load(chosen)))
        limit = job.experiment.train.limit_batches
        loader = job.experiment.loader.eval_loader(job.data.test, job.parts.device, limit)
        tested = evaluate(job.parts, loader, stop)
    if stop.signum is not None:
        raise StoppedError(stop.signum)
    if tested is not None:
        step = _chosen_step(job)
        sink.write(EvalRecord(step, job.plan.epoch_at(step), "test", tested, False, time.perf_counter() - started))
        metrics |= {f"test/{name}": value for name, value in tested.items()}
    return metrics


def _chosen_step(job: Job) -> int:
    return job.progress.best_step if job.directory.best.exists() else job.progress.step


@contextmanager
def _early_end_told(job: Job) -> Iterator[None]:
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
                status=status, reason=reason, exit_code=code, ended_at=rundir.now(), step=job.progress.step
            )
        if told is error:
            raise
        raise told from (None if isinstance(error, TrainkitError) else error)


def _early_end(error: BaseException, job: Job) -> BaseException:
    directory, step, batch_size = job.directory, job.progress.step, job.experiment.loader.batch_size
    text = str(error)
    good, go_on = "nothing was saved yet", ""
    if directory.saved:
        saved, path = directory.saved
        good = f"last good: step {saved} in {path}"
        run = directory.path if path == directory.last else path
        go_on = f"; go on with: {registry.python_path(job.experiment.imports)}trainkit train --resume {run}"
    if isinstance(error, StoppedError):
        signum = error.exit_code - 128
        what = f"saved{go_on}" if directory.saved else "before anything was saved"
        return StoppedError(signum, f"stopped by {signal.Signals(signum).name} at step {step}, {what}")
    if isinstance(error, OutOfGrace):
        late = f"stopped by SIGTERM at step {step}, which was not saved within {GRACE_S:g} s; {good}{go_on}"
        return StoppedError(signal.SIGTERM, late)
    if isinstance(error, DivergedError):
        advice = f"start a new run with a lower rate, such as optimizer.lr={job.experiment.optimizer.lr / 10:g}"
        if " at step 1 (" in text:  # no update has been made yet
            advice = "no rate mends that: look for NaN in the data, and for log, sqrt and division in the model"
        return DivergedError(f"{directory.path}: {error}; {good}; {advice}")
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in text:
        half = f"loader.batch_size={max(1, batch_size // 2)}"
        return OutOfMemoryError(f"out of memory with loader.batch_size {batch_size}; try {half}")
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


def _fallback_notes(directory: RunDir) -> list[str]:
    fallback = directory.story.get("fallback")
    if not fallback:
        return []
    return [f"TRAINING ON {fallback['used'].upper()}, NOT ON {fallback['asked'].upper()}: {fallback['why']}"]


def _facts(job: Job) -> dict[str, str]:
    """The header: what is going to happen, in a few lines."""
    experiment, plan, data, parts = job.experiment, job.plan, job.data, job.parts
    plain = experiment.to_plain()
    sizes = {"train": data.train, "val": data.val, "test": data.test}
    counts = ", ".join(f"{len(split):,} {name}" for name, split in sizes.items() if split is not None)
    shape = "x".join(map(str, data.spec.shape))
    targets = {"class": "classes", "multilabel": "labels", "number": "numbers"}[data.spec.target.kind]
    parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    trained = sum(parameter.numel() for parameter in parts.model.parameters() if parameter.requires_grad)
    frozen = f", {trained:,} of them trained" if trained < parameters else ""
    length = f"{experiment.train.epochs} epochs of {plan.steps_per_epoch:,} steps"
    if plan.max_steps < experiment.train.epochs * plan.steps_per_epoch:
        length = f"{plan.max_steps:,} steps (train.max_steps ends it before {experiment.train.epochs} epochs)"
    last = parts.train.sizes(len(parts.train) - 1, 1)[0]
    lr = f"{plain['optimizer']['name']} lr {experiment.optimizer.lr:g}"
    return {
        "run": str(job.directory.path),
        "device": f"{devices.describe(parts.device)}, {parts.precision.name}",
        "data": f"{plain['data']['name']}: {counts}; {shape}, {data.spec.target.size} {targets}",
        "model": f"{plain['model']['name']}, {parameters:,} parameters{frozen}",
        "training": f"{length}, batch size {experiment.loader.batch_size} (last {last}), {lr}, seed {experiment.seed}",
    }


def _end(result: Result, how: str, experiment: ExperimentConfig, directory: RunDir, longer: str | None) -> EndRecord:
    numbers = "  ".join(format_metric(name, value) for name, value in result.metrics.items()) or "done"
    fallback = directory.story.get("fallback")
    instead = f"; on {fallback['used']}, not on {fallback['asked']}" if fallback else ""
    python_path = registry.python_path(experiment.imports)
    commands = {
        "evaluate": f"{python_path}trainkit eval --ckpt {result.checkpoint}",
        "curves": f"tensorboard --logdir {directory.tensorboard}",
    }
    if longer is not None:
        commands["go on"] = f"{python_path}trainkit train --resume {directory.path} {longer}".rstrip()
    return EndRecord(f"{numbers}  ({how}{instead})", commands)
