"""A sweep: a study of trials, each an ordinary run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import trainkit
from trainkit.config import merging, shell, yamlfile
from trainkit.core import atomic
from trainkit.core.errors import CheckpointError, ConfigError, StoppedError, StorageError, SweepError, os_error_text
from trainkit.core.signals import stop_on_signal
from trainkit.core.terminal import print_line
from trainkit.core.text import format_metric
from trainkit.experiment import grid
from trainkit.experiment.ranking import comparable, not_ranked, ranked, unlike
from trainkit.runs import run_directory
from trainkit.runs.run_directory import RunDir
from trainkit.sweeps import display
from trainkit.sweeps.display import View
from trainkit.sweeps.study import Plan, choice, enqueue, is_intact, open_study, tell_result
from trainkit.sweeps.trial import Trial, back_up

if TYPE_CHECKING:
    import optuna

POLL_S = 0.1


def sweep(path: Path, assignments: Sequence[str], *, jobs: int = 1, quiet: bool = False) -> Path:
    """Train every combination of the axes' values in a new directory, and rank the trials.

    Args:
        path: the config.
        assignments: `key=v1,v2` is an axis, `key=value` holds for every trial; without any axis, those of the config.
        jobs: trials at a time.
        quiet: only warnings and the result.

    Returns:
        The sweep's directory.

    Raises:
        ConfigError: something is wrong with a trial; none was started, and no directory made.
        SweepError: all trials have ended, and some of them failed.
        StoppedError: a signal came; all trials have saved and ended.
    """
    planned = grid.read(path, assignments)
    for warning in planned.warnings:
        _warn(warning)
    with run_directory.create(planned.experiments[0].name, kind="sweep") as home:
        trials = _trials(home.path, planned.points)
        for inner in ("configs", "logs"):
            (home.path / inner).mkdir()
        for trial, experiment in zip(trials, planned.experiments, strict=True):
            trial.config.write_text(yamlfile.dump(experiment.to_plain()), encoding="utf-8")
        source = home.path / "sweep.yaml"
        again = shell.command("trainkit", "sweep", source, modules_in=shell.homes(planned.experiments[0].imports))
        atomic.write_text(source, f"# {again}\n{yamlfile.dump(planned.base)}")
        files = [source, *(trial.config for trial in trials)]
        plan = Plan(
            name=planned.experiments[0].name,
            monitor=planned.monitor,
            mode=planned.mode,
            timeout_minutes=planned.timeout_minutes,
            digests={str(file.relative_to(home.path)): _digest(file) for file in files},
            beside=os.path.relpath(path.parent, home.path) if planned.experiments[0].imports else None,
            version=trainkit.__version__,
            commit=_commit(),
        )
        # Last: with it, the sweep can be resumed.
        atomic.write_text(home.path / "sweep.json", json.dumps(asdict(plan), indent=2) + "\n")
        return _run(home, plan, trials, jobs=jobs, quiet=quiet)


def resume(directory: Path, *, jobs: int = 1, quiet: bool = False) -> Path:
    """Finish what is missing of a sweep: finished trials are kept, interrupted ones go on, failed ones run again.

    Returns:
        The sweep's directory.

    Raises:
        CheckpointError: there is no sweep here.
        ConfigError: its configs were changed.
        BusyError: the sweep is still running, or a trial that it left behind does not end.
        TrainkitError: as `sweep`.
    """
    source = directory / "sweep.yaml"
    if not source.is_file():
        raise CheckpointError(f"{directory}: no sweep here (expected a directory with sweep.yaml)")
    anew = f"begin a new sweep: {run_directory.again('sweep', source)}"
    with run_directory.reopen(directory) as home:
        try:
            plan = Plan(**json.loads((directory / "sweep.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            raise CheckpointError(f"{directory / 'sweep.json'}: missing or damaged; {anew}") from None
        if changed := [name for name, digest in plan.digests.items() if _digest(directory / name) != digest]:
            raise ConfigError(*(f"{directory / name}: was changed since the sweep began; {anew}" for name in changed))
        axes = merging.read(source).plain()["sweep"]["axes"]
        trials = _trials(directory, grid.points_of(axes))
        for trial in trials:
            trial.wait_until_idle()
            trial.refresh()
        for what, then, now in (("trainkit", plan.version, trainkit.__version__), ("commit", plan.commit, _commit())):
            if then and now and then != now:
                _warn(f"begun with {what} {then}, goes on with {now}")
        database = directory / "study.db"
        if not is_intact(database, plan, len(trials)):
            for file in (database, database.with_name("study.db-journal")):
                if file.exists():
                    back_up(file)
            _warn(f"{database}: missing or damaged; rebuilt from the trials' directories")
        if all(trial.finished for trial in trials) and not quiet:
            print_line(f"nothing is missing: all {len(trials)} trials have ended", sys.stderr)
        return _run(home, plan, trials, jobs=jobs, quiet=quiet)


def _trials(directory: Path, points: Sequence[dict[str, object]]) -> list[Trial]:
    return [Trial(directory, f"{index:03d}", point) for index, point in enumerate(points)]


def _run(home: RunDir, plan: Plan, trials: Sequence[Trial], *, jobs: int, quiet: bool) -> Path:
    """Run what is not finished, and report."""
    try:
        _run_trials(home, plan, trials, jobs=jobs, quiet=quiet)
        _report(home.path, plan, trials, jobs)
    except KeyboardInterrupt:  # a second Ctrl-C: what ran has ended where it last saved
        way_on = f"go on with: {_resume_command(home.path, jobs)}"
        raise StoppedError(signal.SIGINT, f"interrupted; {way_on}") from None
    except (OSError, StorageError) as error:
        what = str(error)
        if isinstance(error, OSError) and error.strerror:
            what = f"{error.filename or home.path}: {os_error_text(error)}"
        raise StorageError(f"{what}; go on with: {_resume_command(home.path, jobs)}") from error
    return home.path


def _run_trials(home: RunDir, plan: Plan, trials: Sequence[Trial], *, jobs: int, quiet: bool) -> None:
    """Run what is not finished, `jobs` at a time.

    Raises:
        StoppedError: a signal came before all had ended.
    """
    environment = _environment(home.path, plan, jobs)
    choices = {key: list(dict.fromkeys(choice(trial.values[key]) for trial in trials)) for key in trials[0].values}
    limit_s = 60 * (plan.timeout_minutes or math.inf)
    running: list[tuple[Trial, optuna.Trial]] = []
    with ExitStack() as stack:
        study = stack.enter_context(open_study(home.path / "study.db", plan))
        waiting = enqueue(study, trials, plan)
        view = stack.enter_context(View(trials, plan.monitor, quiet=quiet))
        stop = stack.enter_context(stop_on_signal(grace_s=None))
        stack.callback(_kill, running)  # whatever happens, none outlives the driver
        while running or (waiting and not stop()):
            if waiting and len(running) < jobs and not stop():
                waiting -= 1
                asked = study.ask()
                trial = trials[asked.user_attrs["index"]]
                for key, values in choices.items():
                    asked.suggest_categorical(key, values)
                if trial.finished:
                    tell_result(study, asked, trial, plan)
                    continue
                running.append((trial, asked))
                trial.begin(environment)
                view.begins(trial)
            if stop():
                view.stops()
            for trial, asked in running.copy():
                if stop():
                    trial.ask_to_stop()
                elif time.monotonic() > trial.began + limit_s:
                    trial.ask_to_stop(timed_out=True)
                if not trial.ended():
                    continue
                running.remove((trial, asked))
                tell_result(study, asked, trial, plan)
                view.ends(trial)
                display.write_csv(home.path, trials, ranked(trials, plan.monitor, plan.mode))
                if trial.status == "interrupted":
                    waiting += 1
                    study.enqueue_trial(asked.params, user_attrs=asked.user_attrs)
            view.refresh()
            time.sleep(POLL_S)
    if waiting:
        assert stop.signum is not None
        for line in display.table(trials, ranked(trials, plan.monitor, plan.mode)):
            print_line(line, sys.stdout)
        name = signal.Signals(stop.signum).name
        raise StoppedError(stop.signum, f"stopped by {name}; go on with: {_resume_command(home.path, jobs)}")


def _kill(running: Sequence[tuple[Trial, optuna.Trial]]) -> None:
    for trial, _ in running:
        trial.kill()


def _report(directory: Path, plan: Plan, trials: Sequence[Trial], jobs: int) -> None:
    """Write what the whole sweep says, and print it.

    Raises:
        SweepError: some trials failed.
    """
    order = ranked(trials, plan.monitor, plan.mode)
    display.write_csv(directory, trials, order)
    display.write_hparams(directory / "tb", trials)
    lines = display.table(trials, order)
    if differ := unlike(trial.judged_by for trial in comparable(trials, plan.monitor)):
        lines.append(f"not ranked {not_ranked(plan.monitor, differ)}")
    if order:
        best = order[0]
        _link(directory / "best", Path("trials", best.name))
        result = format_metric(plan.monitor, best.metrics[plan.monitor])
        lines.append(f"best       trial {best.name}: {grid.label(best.values)}  {result}")
        if (known := best.yardsticks.get(plan.monitor)) and (constant := known.said(plan.monitor)):
            lines.append(f"constant   a constant prediction gives {plan.monitor} {constant}")
        beside = [directory / plan.beside] if plan.beside else []
        lines.append(f"evaluate   {shell.command('trainkit', 'eval', '--ckpt', best.run.chosen, modules_in=beside)}")
    pictures = display.write_pictures(directory, plan.name, trials, order, plan.monitor)
    lines += [f"picture    {path}" for path in pictures]
    curves = shell.command("tensorboard", "--logdir", directory)
    lines += [f"table      {directory / 'results.csv'}", f"curves     {curves}"]
    for line in lines:
        print_line(line, sys.stdout)
    if failed := [trial.name for trial in trials if trial.status != "finished"]:
        raise SweepError(
            f"{len(failed)} of {len(trials)} trials failed: {', '.join(failed)}; see {directory / 'logs'}"
            + ("" if all(trial.finished for trial in trials) else f"; go on with: {_resume_command(directory, jobs)}")
        )


def _resume_command(directory: Path, jobs: int) -> str:
    return shell.command("trainkit", "sweep", "--resume", directory, *(["--jobs", jobs] if jobs > 1 else []))


def _link(link: Path, target: Path) -> None:
    """Make a symbolic link, or change where it leads, in one step."""
    temporary = link.with_name(f"{atomic.PREFIX}{link.name}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:  # not every file system has them
        _warn(f"{link}: no link to the best trial: {os_error_text(error)}")


def _environment(directory: Path, plan: Plan, jobs: int) -> dict[str, str]:
    environment = dict(os.environ)
    if jobs > 1:
        environment["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // jobs))
    if plan.beside:
        beside = str((directory / plan.beside).resolve())
        environment["PYTHONPATH"] = os.pathsep.join([beside, *filter(None, [os.environ.get("PYTHONPATH")])])
    return environment


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "missing"


def _commit() -> str | None:
    git: dict[str, str] | None = run_directory.environment()["git"]
    return git["commit"] if git else None


def _warn(text: str) -> None:
    print_line(f"warning: {text}", sys.stderr)
