"""One run from beginning to end: open, build, resume, fit, close."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import trainkit
from trainkit import atomic, checkpoint, config, rundir, yamlfile
from trainkit import device as devices
from trainkit.checkpoint import Payload
from trainkit.data import Data, DataSpec
from trainkit.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    OutOfMemoryError,
    StoppedError,
    TrainkitError,
    WorkerError,
)
from trainkit.experiment import ExperimentConfig, build, build_eval, open_data, parse, warnings
from trainkit.loop import Parts, Plan, evaluate, fit
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
from trainkit.signals import Stop, stop_on_signal
from trainkit.sinks.console import ConsoleSink
from trainkit.sinks.jsonl import JsonlSink
from trainkit.yamlfile import Where

EXTENDABLE = ("train.epochs", "train.max_steps", "train.device")
"""What may differ when a run is resumed: how far it goes, and on which machine."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a finished run has to show."""

    run_dir: Path
    checkpoint: Path
    metrics: dict[str, float]
    """The best val metrics and the test metrics, such as `val/accuracy` and `test/loss`."""


def train(experiment: ExperimentConfig, *, run_dir: Path | None = None, quiet: bool = False) -> Result:
    """Train an experiment in a new run directory.

    Args:
        run_dir: where; by default a new directory below `runs/<name>/`.
        quiet: only warnings and the result.

    Raises:
        TrainkitError: with the reason and the exit code that `trainkit train` ends with.
    """
    rundir.writable(experiment.name, run_dir)
    device = devices.select(experiment.train.device)
    asked = experiment.data
    experiment, data, missing = open_data(experiment)
    parts, plan = build(experiment, data, device)
    notes = warnings(experiment, data, plan)
    if missing:
        used = experiment.to_plain()["data"]["name"]
        notes.insert(0, f"TRAINING ON {used!r} INSTEAD of {asked.to_plain()['name']!r}: {missing}")
    with rundir.create(experiment.name, run_dir) as directory:
        directory.tell(
            status="running",
            name=experiment.name,
            started_at=rundir.now(),
            fallback={"asked": asked.to_plain()["name"], "used": used, "why": missing} if missing else None,
            data=data.digests(),
            environment=rundir.environment(),
        )
        rundir.write_config(directory, yamlfile.dump(experiment.to_plain()))
        held_out = data.val.index.tolist() if data.val else []
        atomic.write_text(directory.path / "split.json", json.dumps({"val": held_out}) + "\n")
        return _run(experiment, data, parts, plan, directory, None, notes, quiet)


def resume(path: Path, overrides: Iterable[str] = (), *, device: str | None = None, quiet: bool = False) -> Result:
    """Go on with a run where its checkpoint stands, in the same directory.

    Args:
        path: a run directory, or one of its checkpoints.
        overrides: may only extend the run (`train.epochs=5`).

    Raises:
        TrainkitError: as `train`; CheckpointError when there is nothing to resume.
    """
    directory_path, checkpoint_path = rundir.locate(path)
    with rundir.reopen(directory_path) as directory:
        payload = checkpoint.load(checkpoint_path)
        experiment = _extended(checkpoint_path, payload, [*overrides, *([f"train.device={device}"] if device else [])])
        if directory.story.get("status") == "finished" and experiment == stored_experiment(checkpoint_path, payload):
            return _already_complete(directory, experiment, quiet)
        chosen = devices.select(experiment.train.device)
        _, data, missing = open_data(experiment)
        if missing:
            raise DataError(missing)
        if differing := [name for name, digest in data.digests().items() if payload["data"].get(name) != digest]:
            raise DataError(f"{checkpoint_path}: the run was trained on other data: {', '.join(differing)} differs")
        parts, plan = build(experiment, data, chosen)
        notes = [*_restore(checkpoint_path, payload, parts), *warnings(experiment, data, plan)]
        directory.tell(status="running", resumed_at=[*directory.story.get("resumed_at", []), rundir.now()])
        rundir.write_config(directory, yamlfile.dump(experiment.to_plain()))
        return _run(experiment, data, parts, plan, directory, payload, notes, quiet)


def _extended(path: Path, payload: Payload, overrides: Iterable[str]) -> ExperimentConfig:
    """The stored config with overrides that only extend it."""
    stored = stored_experiment(path, payload)
    node = config.override(yamlfile.from_plain(stored.to_plain(), Where(str(path))), overrides)
    given = parse(node, beside=None)
    before, after = dict(_leaves(stored.to_plain())), dict(_leaves(given.to_plain()))
    differing = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    if refused := [key for key in differing if key not in EXTENDABLE]:
        raise ConfigError(
            *(
                f"command line: {key} differs (stored {config.show(before.get(key))}, given "
                f"{config.show(after.get(key))}); start a new run"
                for key in refused
            )
        )
    if set(differing) & {"train.epochs", "train.max_steps"} and given.scheduler.depends_on_total:
        raise ConfigError(
            f"command line: {differing[0]}: the shape of this scheduler depends on the run's length; start a new run"
        )
    return given


def _leaves(plain: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(plain, dict) and plain:
        for name, value in plain.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
    else:
        yield key, plain


def stored_experiment(path: Path, payload: Payload) -> ExperimentConfig:
    """The experiment inside a checkpoint. It never imports from beside the file.

    Raises:
        CheckpointError: this trainkit does not accept it.
    """
    try:
        return parse(yamlfile.from_plain(payload["config"], Where(str(path))), beside=None)
    except ConfigError as error:
        raise CheckpointError(*error.problems) from None


def _restore(path: Path, payload: Payload, parts: Parts) -> list[str]:
    """Put a checkpoint's state into freshly built parts; gives what is not as it was."""
    meta = payload["meta"]
    names = [name for name, parameter in parts.model.named_parameters() if parameter.requires_grad]
    kind = type(parts.optimizer).__name__
    if meta["optimizer"] != kind or meta["parameters"] != names:
        raise CheckpointError(
            f"{path}: the optimizer's state is of {meta['optimizer']} with {len(meta['parameters'])} parameters, "
            f"the config builds {kind} with {len(names)}"
        )
    checkpoint.load_weights(path, parts.model, payload["model"])
    parts.optimizer.load_state_dict(payload["optimizer"])
    parts.scheduler.load_state_dict(payload["scheduler"])
    if parts.precision.scaler and payload["scaler"]:
        parts.precision.scaler.load_state_dict(payload["scaler"])
    here = _machine(parts.device)
    return [
        f"resumed with {key} {here[key]} instead of {meta[key]}: the result will not be the same to the last bit"
        for key in here
        if meta[key] != here[key]
    ]


def _machine(device: torch.device) -> dict[str, str | int]:
    """What the last bit of a result depends on."""
    return {"torch": str(torch.__version__), "device": str(device), "threads": torch.get_num_threads()}


def _run(
    experiment: ExperimentConfig,
    data: Data,
    parts: Parts,
    plan: Plan,
    directory: RunDir,
    payload: Payload | None,
    notes: list[str],
    quiet: bool,
) -> Result:
    """Train from a checkpoint's state, or from the beginning, and tell the run's story while it lasts."""
    progress = Progress()
    if payload:
        progress.load_state_dict(payload["progress"])
    with ExitStack() as stack:
        console = ConsoleSink(quiet=quiet, log=directory.log)
        stack.callback(console.close)
        jsonl = JsonlSink(directory.metrics, keep=payload["log"]["bytes"] if payload else None)
        stack.callback(jsonl.close)
        sinks: list[Sink] = [jsonl, console]
        if experiment.log.tensorboard:
            from trainkit.sinks.tensorboard import TensorBoardSink

            board = TensorBoardSink(directory.tensorboard, purge_step=progress.step + 1 if payload else None)
            stack.callback(board.close)
            sinks.insert(0, board)
        sink = Tee(tuple(sinks))
        for note in notes:
            sink.write(NoteRecord(note, "warning"))
        sink.write(StartRecord(_facts(experiment, data, parts, plan, directory), yamlfile.dump(experiment.to_plain())))
        if payload:
            where = f"step {progress.step} (epoch {progress.epoch}, batch {progress.batch})"
            sink.write(NoteRecord(f"resumed at {where}: weights, optimizer, scheduler, best value and data order"))

        def save(best: bool) -> None:
            state = _state(experiment, data, parts, progress, jsonl.sync())
            checkpoint.save(directory.checkpoints, state, best=best)
            sink.write(CheckpointRecord(progress.step, directory.last, best))

        stop = stack.enter_context(stop_on_signal())
        with _told(directory, progress, parts, experiment, stop):
            console.show_progress(progress, max_steps=plan.max_steps, steps_per_epoch=plan.steps_per_epoch)
            started = time.monotonic()
            fit(parts, plan, progress, sink=sink, save=save, stop=stop)
            if stop.signum is not None and not plan.finished(progress):
                raise StoppedError(stop.signum)
            elapsed_s = time.monotonic() - started
            result = _finish(experiment, data, parts, plan, progress, directory, sink, elapsed_s)
            directory.tell(status="finished", reason=None, exit_code=0, ended_at=rundir.now(), metrics=result.metrics)
        return result


@contextmanager
def _told(
    directory: RunDir, progress: Progress, parts: Parts, experiment: ExperimentConfig, stop: Stop
) -> Iterator[None]:
    """Turn what ends a run early into an error that says what is left of it, and write that into `run.json`."""
    batch_size = experiment.loader.batch_size
    try:
        try:
            yield
        except StoppedError as error:
            name = signal.Signals(error.exit_code - 128).name
            raise StoppedError(
                error.exit_code - 128,
                f"stopped by {name} at step {progress.step}, saved; go on with: trainkit train --resume {directory.path}",
            ) from None
        except DivergedError as error:
            good = f"last good checkpoint: {directory.last}" if directory.last.exists() else "nothing was saved yet"
            lower = experiment.optimizer.lr / 10
            raise DivergedError(
                f"{directory.path}: {error}; {good}; start a new run with a lower rate: optimizer.lr={lower:g}"
            ) from None
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise _out_of_memory(batch_size) from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):
                raise _out_of_memory(batch_size) from error
            if "DataLoader worker" in str(error):
                raise WorkerError(
                    f"a data worker died at step {progress.step}: {str(error).splitlines()[0]}"
                ) from error
            raise
    except BaseException as error:
        code = error.exit_code if isinstance(error, TrainkitError) else 1
        status = {7: "diverged", 130: "stopped", 143: "stopped"}.get(code, "failed")
        directory.tell(status=status, reason=str(error), exit_code=code, ended_at=rundir.now(), step=progress.step)
        raise


def _out_of_memory(batch_size: int) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"out of memory with loader.batch_size {batch_size}; try loader.batch_size={max(1, batch_size // 2)}"
    )


def _state(experiment: ExperimentConfig, data: Data, parts: Parts, progress: Progress, log_bytes: int) -> Payload:
    """Everything from which the run can go on."""
    names = [name for name, parameter in parts.model.named_parameters() if parameter.requires_grad]
    return {
        "meta": {
            "trainkit": trainkit.__version__,
            **_machine(parts.device),
            "optimizer": type(parts.optimizer).__name__,
            "parameters": names,  # torch matches optimizer state by position only
        },
        "config": experiment.to_plain(),
        "spec": data.spec.to_plain(),
        "data": data.digests(),
        "model": parts.model.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "scheduler": parts.scheduler.state_dict(),
        "scaler": parts.precision.scaler.state_dict() if parts.precision.scaler else None,
        "progress": progress.state_dict(),
        "log": {"bytes": log_bytes},
    }


def _facts(experiment: ExperimentConfig, data: Data, parts: Parts, plan: Plan, directory: RunDir) -> dict[str, str]:
    plain = experiment.to_plain()
    sizes = {"train": data.train, "val": data.val, "test": data.test}
    counts = ", ".join(f"{len(split):,} {name}" for name, split in sizes.items() if split is not None)
    shape = "x".join(map(str, data.spec.shape))
    targets = {"class": "classes", "multilabel": "labels", "number": "numbers"}[data.spec.target.kind]
    parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    last = parts.train.sizes(len(parts.train) - 1, 1)[0]
    ends = f"{experiment.train.epochs} epochs of {plan.steps_per_epoch:,} steps"
    if experiment.train.max_steps and plan.max_steps < experiment.train.epochs * plan.steps_per_epoch:
        ends = f"{plan.max_steps:,} steps (train.max_steps comes before train.epochs)"
    return {
        "run": str(directory.path),
        "device": f"{devices.describe(parts.device)}, {parts.precision.name}",
        "data": f"{plain['data']['name']}: {counts}; {shape}, {data.spec.target.size} {targets}",
        "model": f"{plain['model']['name']}, {parameters:,} parameters",
        "training": f"{ends}, batch size {experiment.loader.batch_size} (last {last}), {plain['optimizer']['name']} "
        f"lr {experiment.optimizer.lr:g}, seed {experiment.seed}",
    }


def _finish(
    experiment: ExperimentConfig,
    data: Data,
    parts: Parts,
    plan: Plan,
    progress: Progress,
    directory: RunDir,
    sink: Sink,
    elapsed_s: float,
) -> Result:
    """Measure the chosen checkpoint on the test split, once, and say what came out."""
    chosen = directory.best if directory.best.exists() else directory.last
    metrics: dict[str, float] = {}
    if progress.best is not None:
        metrics[f"val/{plan.monitor}"] = progress.best
    if data.test is not None:
        parts.model.load_state_dict(checkpoint.load(chosen)["model"])
        started = time.perf_counter()
        tested = evaluate(parts, experiment.loader.eval_loader(data.test, parts.device))
        assert tested is not None
        step = progress.best_step or progress.step
        sink.write(EvalRecord(step, step / plan.steps_per_epoch, "test", tested, False, time.perf_counter() - started))
        metrics |= {f"test/{name}": value for name, value in tested.items()}
    early = f", stopped early at step {progress.step}" if progress.stopped_early else ""
    how = f"{chosen.name} of step {progress.best_step or progress.step}{early}; {format_duration(elapsed_s)}"
    result = Result(directory.path, chosen, metrics)
    sink.write(_end(result, how, experiment))
    return result


def _end(result: Result, how: str, experiment: ExperimentConfig) -> EndRecord:
    numbers = "  ".join(format_metric(name, value) for name, value in result.metrics.items())
    return EndRecord(
        f"result     {numbers}  ({how})",
        {
            "evaluate": f"trainkit eval --ckpt {result.checkpoint}",
            "curves": f"tensorboard --logdir {result.run_dir / 'tb'}",
            "go on": f"trainkit train --resume {result.run_dir} train.epochs={experiment.train.epochs * 2}",
        },
    )


def _already_complete(directory: RunDir, experiment: ExperimentConfig, quiet: bool) -> Result:
    chosen = directory.best if directory.best.exists() else directory.last
    result = Result(directory.path, chosen, directory.story.get("metrics") or {})
    ConsoleSink(quiet=quiet).write(_end(result, "already complete", experiment))
    return result


def evaluate_checkpoint(
    path: Path, split: Literal["train", "val", "test"] = "test", *, device: str = "auto", overrides: Iterable[str] = ()
) -> tuple[dict[str, float], list[str]]:
    """Measure a checkpoint on a split of its data. Needs only the file and the data.

    Args:
        overrides: for keys of `data` and `loader`, such as `data.root=…` on another machine.

    Returns:
        `loss` and the metrics, and what a reader of them should know.

    Raises:
        TrainkitError: the checkpoint or its data cannot be used.
    """
    overrides = list(overrides)
    if wrong := [item for item in overrides if not item.startswith(("data.", "loader."))]:
        raise ConfigError(
            *(f"command line: {item}: only data and loader keys can change in an evaluation" for item in wrong)
        )
    payload = checkpoint.load(path)
    stored = stored_experiment(path, payload)
    node = config.override(yamlfile.from_plain(stored.to_plain(), Where(str(path))), overrides)
    experiment = parse(node, beside=None)
    chosen = devices.select(device)
    _, data, missing = open_data(experiment)
    if missing:
        raise DataError(missing)
    spec = DataSpec.from_plain(payload["spec"])
    if data.spec.target != spec.target:
        raise DataError(f"{path}: trained for {spec.target.size} {spec.target.kind} targets, this data has others")
    notes = []
    if data.digests().get(split) != payload["data"].get(split):
        notes.append(f"the {split} samples are not the ones of the training run")
    parts = build_eval(experiment, spec, chosen)
    checkpoint.load_weights(path, parts.model, payload["model"])
    metrics = evaluate(parts, experiment.loader.eval_loader(data.split(split), chosen))
    assert metrics is not None
    return metrics, notes
