"""One run from beginning to end: open, build, resume, fit, close."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainkit.config import shell, yamlfile
from trainkit.core import atomic, seeding
from trainkit.core import device as devices
from trainkit.core.errors import ConfigError, DivergedError, StoppedError, StorageError
from trainkit.core.records import CheckpointRecord, EvalRecord, NoteRecord, Sink, StartRecord
from trainkit.core.signals import Stop, stop_on_signal
from trainkit.core.text import format_duration
from trainkit.data.workers import worker_failures
from trainkit.experiment.building import build, open_experiment, warnings
from trainkit.experiment.ranking import judged_by
from trainkit.experiment.schema import ExperimentConfig, seconds_of
from trainkit.runs import checkpoint, failures, results, resuming, run_directory, run_state, summary_lines
from trainkit.runs.checkpoint_schema import Payload
from trainkit.runs.context import RunContext
from trainkit.runs.divergence import judge, judge_whole
from trainkit.runs.learning_curves import longer_helps
from trainkit.runs.open_sinks import open_sinks
from trainkit.sinks.console import ConsoleSink
from trainkit.training.loop import evaluate, fit, trained, validate
from trainkit.training.predictions import predictions_of
from trainkit.training.progress import Progress

OUT_OF_TIME = "train.max_minutes is over"


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run has to show."""

    run_dir: Path
    checkpoint: Path
    """The best one; without a val split, the last."""
    metrics: Mapping[str, float]
    """The best val metric and the test metrics, such as `val/accuracy` and `test/loss`."""


@devices.settings_restored()
@seeding.generators_restored()
@worker_failures.unwatched()
def train(experiment: ExperimentConfig, *, run_dir: Path | None = None, quiet: bool = False) -> Result:
    """Train an experiment in a new run directory.

    Args:
        run_dir: where; by default a new directory below `runs/<name>/`.
        quiet: say only warnings and the result.

    Raises:
        TrainkitError: with the reason, and the exit code that `trainkit train` ends with.
    """
    run_directory.check_writable(experiment.name, run_dir)
    asked = experiment.data.to_plain()["name"]
    opened = open_experiment(experiment)
    experiment, data = opened.experiment, opened.data
    parts, plan = build(experiment, data, opened.device)
    used = experiment.data.to_plain()["name"]
    fallback = {"asked": asked, "used": used, "why": opened.missing} if opened.missing else None
    digests = data.digests()
    run_state.check_readable(experiment, data.spec, digests, parts)
    with run_directory.create(experiment.name, run_dir) as directory:
        directory.update_metadata(
            status="running",
            name=experiment.name,
            started_at=run_directory.now(),
            fallback=fallback,
            data=digests,
            judged_by=judged_by(experiment, f"val/{plan.monitor}", data.val.targets_digest() if data.val else None),
            notes=[note.text for note in data.notes],
            environment=run_directory.environment(),
        )
        directory.write_config(yamlfile.dump(experiment.to_plain()), modules_in=shell.homes(experiment.imports))
        held_out = data.val.index.tolist() if data.val else []
        atomic.write_text(directory.path / "split.json", json.dumps({"val": held_out}) + "\n")
        return _run(RunContext(experiment, data, parts, plan, directory, digests, Progress(), quiet), None, [])


@devices.settings_restored()
@seeding.generators_restored()
@worker_failures.unwatched()
def resume(path: Path, overrides: Iterable[str] = (), *, device: str | None = None, quiet: bool = False) -> Result:
    """Go on with a run where its checkpoint stands, in the same directory.

    Args:
        path: a run directory, or one of its checkpoints.
        overrides: may only extend the run (`train.epochs=5`).

    Raises:
        TrainkitError: as `train`; CheckpointError when there is nothing to resume.
    """
    overrides = list(overrides)
    directory_path, checkpoint_path = run_directory.locate(path)
    with run_directory.reopen(directory_path) as directory:
        payload = resuming.load(checkpoint_path)
        run_state.use_threads(payload)
        stored = run_state.experiment_of(checkpoint_path, payload)
        experiment = resuming.extended(stored, [*overrides, *([f"train.device={device}"] if device else [])])
        out_of_time = directory.metadata.get("reason") == OUT_OF_TIME
        extends = any(
            getattr(experiment.train, key) != getattr(stored.train, key)
            for key in ("epochs", "max_steps", "early_stopping")
        )
        if directory.metadata.get("status") == "finished" and not out_of_time and not extends:
            result = Result(directory.path, directory.chosen, directory.metadata["metrics"])
            ConsoleSink(quiet=quiet).write(
                summary_lines.last_lines(stored, directory, result.metrics, "already complete")
            )
            return result
        like = run_state.spec_of(checkpoint_path, payload)
        chosen = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
        data = run_state.open_data(experiment, like, overrides)
        parts, plan = build(experiment.restored(), data, chosen)
        digests = data.digests()
        notes = run_state.restore(checkpoint_path, payload, digests, parts)
        del payload["model"], payload["ema"], payload["optimizer"]  # as much memory as the training itself takes
        progress = run_state.progress_of(checkpoint_path, payload, plan)
        directory.return_best(known=progress.best is not None or checkpoint_path.name == directory.best.name)
        progress.stopped_early = plan.patience is not None and progress.bad_evals >= plan.patience
        notes += resuming.best_notes(directory, checkpoint_path, progress)
        directory.saved = progress.step, checkpoint_path
        if plan.max_steps < progress.step or (extends and not out_of_time):
            resuming.check_extension(experiment, plan, progress)
        directory.update_metadata(
            status="running",
            reason=None,
            exit_code=None,
            ended_at=None,
            resumed_at=[*directory.metadata.get("resumed_at", []), run_directory.now()],
        )
        directory.write_config(yamlfile.dump(experiment.to_plain()), modules_in=shell.homes(experiment.imports))
        return _run(RunContext(experiment, data, parts, plan, directory, digests, progress, quiet), payload, notes)


def _run(job: RunContext, resumed_from: Payload | None, notes: list[str]) -> Result:
    """Train from where the job's progress stands, and tell the sinks and `run.json` of it while it lasts."""
    experiment, directory, progress, plan = job.experiment, job.directory, job.progress, job.plan
    # From here on nothing ends the run without a word in `run.json`, the slow imports of sinks included.
    with stop_on_signal() as stop, failures.early_end_recorded(job), ExitStack() as stack:
        stack.enter_context(seeding.generators_restored(job.parts.device))
        for loader in filter(None, (job.parts.train, job.parts.val)):
            stack.callback(loader.close)
        jsonl, sink = open_sinks(job, resumed_from, stack, stop)
        facts = summary_lines.facts(job)
        directory.update_metadata(facts={key: text for key, text in facts.items() if key != "run"})
        sink.write(StartRecord(facts, yamlfile.dump(experiment.to_plain())))
        notes += summary_lines.fallback_notes(directory)
        for note in [*notes, *map(str, warnings(experiment, job.data, job.parts, plan))]:
            sink.write(NoteRecord(note, "warning"))
        for record in job.data.notes:
            sink.write(record)
        if resumed_from:
            where = f"step {progress.step}, with {progress.batch} batches of epoch {progress.epoch + 1} done"
            state = f"weights, optimizer, scheduler, best value, data order, {torch.get_num_threads()} threads"
            sink.write(NoteRecord(f"resumed at {where}: {state}"))

        saved_at = time.monotonic()
        save_every_s = seconds_of(experiment.checkpoint.every or experiment.train.eval_every)

        def save(best: bool) -> None:
            nonlocal saved_at
            began = time.monotonic()
            parameters = dict(trained(job.parts).named_parameters())
            if bad := checkpoint.first_not_finite(parameters, parameters):
                raise DivergedError(f"{bad} holds NaN or infinite values after step {progress.step}")
            keep, names = experiment.checkpoint.keep, ["best.pt"] if best else []
            if keep:
                # What falls out of the history leaves the list only in the next checkpoint: a kill in between must not
                # let it out of sight.
                progress.kept = list(dict.fromkeys([*progress.kept, progress.step]))
                names.insert(0, f"step-{progress.step}.pt")
            payload = run_state.take(experiment, job.data.spec, job.digests, job.parts, progress, jsonl.sync())
            checkpoint.save(directory.checkpoints, payload, names=names)
            directory.saved = progress.step, directory.last
            while len(progress.kept) > keep:
                (directory.checkpoints / f"step-{progress.kept.pop(0)}.pt").unlink(missing_ok=True)
            saved_at, stop.save_asked = time.monotonic(), False
            sink.write(CheckpointRecord(progress.step, directory.last, best, saved_at - began))

        sink.write(summary_lines.progress(job))
        if experiment.train.compile:
            devices.compile_in_place(job.parts.model)
            sink.write(NoteRecord("train.compile: the first step and the first evaluation take a minute or so longer"))
        # Last: whatever was drawn before, by a graph or a trial batch, changes nothing from here on.
        if resumed_from and resumed_from["rng"]:
            seeding.set_global_state(resumed_from["rng"])
        else:
            seeding.seed_global(seeding.derive(experiment.seed, "train"))
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
            judge=lambda loss: judge(job, loss, stop),
        )
        losses = {} if stop() else summary_lines.baseline_losses(experiment, job.data, job.parts.loss_fn)
        judge_whole(job, losses.get("train"))
        reason = None if plan.finished(progress) else OUT_OF_TIME
        # The run goes on from its last checkpoint, which knows nothing of an evaluation that only the clock has made.
        if job.parts.val and progress.evaluated < progress.step and validate(job.parts, plan, progress, sink, stop):
            directory.lend_best()
        progress.stopped_early &= reason is None  # as little as of the patience that it may have ended
        metrics = _final_metrics(job, sink, stop)
        threshold = _choose_threshold(job, sink, stop)
        result = Result(directory.path, directory.chosen, metrics)
        beside = results.of_run(experiment, job.data, metrics, losses)
        diagnoses = summary_lines.diagnoses(job, metrics, beside, losses.get("train"))
        directory.update_metadata(
            status="finished",
            reason=reason,
            exit_code=0,
            ended_at=run_directory.now(),
            metrics=metrics,
            yardsticks={name: one.to_plain() for name, one in beside.items()},
            curves=list(map(str, diagnoses)),
            **({} if threshold is None else {"threshold": threshold}),
        )
        how = f"{directory.chosen.name} of step {_chosen_step(job)}"
        how += f", since val/{plan.monitor} never was a number" if job.parts.val and progress.best is None else ""
        how += f", stopped early at step {progress.step}" if progress.stopped_early else ""
        how += f", {reason} at step {progress.step} of {plan.max_steps}" if reason else ""
        how += f"; {format_duration(time.monotonic() - started)}"
        ways_on = _ways_on(job) if reason or longer_helps(diagnoses) else {}
        sink.write(summary_lines.last_lines(experiment, directory, metrics, how, ways_on))
    return result


def _ways_on(job: RunContext) -> dict[str, list[object]]:
    """How to go on: with the same run where it can be longer, else with a new one."""
    overrides = resuming.longer(job.experiment, job.plan, job.progress)
    if overrides is not None:
        return {"go on": ["--resume", job.directory.path, *overrides]}
    return {"longer": [job.directory.config, *resuming.twice_as_long(job.experiment, job.plan)]}


def _final_metrics(job: RunContext, sink: Sink, stop: Stop) -> dict[str, float]:
    """The best val metric, and the chosen checkpoint measured on the test split: the only look at it."""
    progress = job.progress
    metrics = {} if progress.best is None else {f"val/{job.plan.monitor}": progress.best}
    tested = None
    started = time.perf_counter()
    if job.data.test is not None and not stop():
        # The weights of the last step have done their work.
        chosen = job.directory.chosen
        checkpoint.load_final(chosen, checkpoint.load(chosen), job.parts)
        limit = job.experiment.train.limit_batches
        loader = job.experiment.loader.eval_loader(job.data.test, job.parts.device, limit)
        tested = evaluate(job.parts, loader, stop)
    if stop.signum is not None:
        raise StoppedError(stop.signum)
    if tested is not None:
        loss = tested["loss"]
        if job.parts.val is None and not math.isfinite(loss):
            raise DivergedError(f"test/loss is {loss} after step {progress.step}")
        step = _chosen_step(job)
        sink.write(EvalRecord(step, job.plan.epoch_at(step), "test", tested, False, time.perf_counter() - started))
        metrics |= {f"test/{name}": value for name, value in tested.items()}
    return metrics


def _choose_threshold(job: RunContext, sink: Sink, stop: Stop) -> float | None:
    """Of two classes: the probability of the second above which the chosen checkpoint finds it best on the val split,
    which goes into that checkpoint. One more pass over that split."""
    task, chosen = job.data.spec.task, job.directory.chosen
    if job.parts.val is None or not task.binary or job.experiment.train.limit_batches:
        return None
    with suppress(ConfigError):  # where only the loss knows what the outputs mean
        checkpoint.load_weights(chosen, job.parts.model, checkpoint.final_weights(checkpoint.load(chosen)))
        predictions = predictions_of(replace(job.parts, metrics={}), job.parts.val, task, stop)
        if predictions and (threshold := task.best_threshold(predictions.outputs, predictions.targets)):
            try:
                checkpoint.amend(chosen, lambda payload: payload["spec"]["task"].update(threshold=threshold))
                return threshold
            except StorageError as error:
                sink.write(NoteRecord(f"the threshold {threshold:.4g} is not kept: {error}", "warning"))
    return None


def _chosen_step(job: RunContext) -> int:
    return job.progress.best_step if job.directory.best.exists() else job.progress.step
