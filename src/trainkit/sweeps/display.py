"""What a sweep shows: its trials while they run, and in the end a table, pictures and TensorBoard's hparams."""

from __future__ import annotations

import csv
import io
import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainkit.core import atomic
from trainkit.core.terminal import print_line
from trainkit.core.text import aligned, format_duration, format_metric
from trainkit.experiment.grid import label, show
from trainkit.sinks import tensorboard
from trainkit.sweeps.trial import Trial

REDRAW_S = 0.5
STOPPING = "stopping: the running trials save and end; Ctrl-C ends them at once"


class View:
    """Progress on stderr: a live table on a terminal, elsewhere a line when a trial begins and one when it ends."""

    def __init__(self, trials: Sequence[Trial], monitor: str, *, quiet: bool) -> None:
        self.trials, self.monitor, self.quiet = trials, monitor, quiet
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._drawn_at = 0.0
        self._stopping = False

    def __enter__(self) -> View:
        if not self.quiet and self._console.is_terminal and not os.environ.get("CI"):
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            with suppress(OSError, ValueError):
                self._live.stop()

    def begins(self, trial: Trial) -> None:
        self.say(f"trial {trial.name}  begins  {label(trial.values)}")

    def ends(self, trial: Trial) -> None:
        value = trial.metrics.get(self.monitor)
        result = f"  {format_metric(self.monitor, value)}" if value is not None else ""
        self.say(f"trial {trial.name}  {outcome(trial)}{result}  {_duration(trial)}")

    def stops(self) -> None:
        """The trials were asked to end; said once."""
        if not self._stopping:
            self._stopping = True
            self.say(STOPPING)

    def say(self, text: str) -> None:
        if not self.quiet and not self._live:
            print_line(text, sys.stderr)

    def refresh(self) -> None:
        """Draw the table again, if it is time."""
        if self._live and time.monotonic() - self._drawn_at >= REDRAW_S:
            self._drawn_at = time.monotonic()
            with suppress(OSError, ValueError):
                self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        begun = [trial for trial in self.trials if trial.status not in ("waiting", "interrupted")]
        finished = sum(trial.status == "finished" for trial in begun)
        table = Table("trial", *self.trials[0].values, "status", "epoch", self.monitor, "time", box=None)
        hint = STOPPING if self._stopping else "Ctrl-C saves and stops"
        table.caption = f"{finished} of {len(self.trials)} finished; {hint}"
        begun.sort(key=lambda trial: trial.status == "running")
        for trial in begun[-max(1, self._console.height - 4) :]:
            epoch, value = trial.latest(self.monitor)
            cells = [trial.name, *map(show, trial.values.values()), outcome(trial)]
            cells += ["" if epoch is None else f"{epoch:.1f}", _number(self.monitor, value), _duration(trial)]
            table.add_row(*map(Text, cells))
        return table


def outcome(trial: Trial) -> str:
    """`finished`, `diverged`, `failed (reason)`, …; of what was interrupted the word of `trainkit runs`."""
    status = trial.told if trial.status == "interrupted" else trial.status
    if status == "killed" and trial.reason.startswith(status):  # by a signal
        return trial.reason
    return f"{status} ({trial.reason})" if trial.reason else status


def table(trials: Sequence[Trial], ranked: Sequence[Trial]) -> list[str]:
    """The ranked trials, then the others, as lines of text in columns."""
    metrics = _metrics(trials)
    rows = [["rank", "trial", *trials[0].values, *metrics, "time", "status"]]
    for place, trial in _in_order(trials, ranked):
        numbers = [_number(name, trial.metrics.get(name)) for name in metrics]
        rows.append([place, trial.name, *map(show, trial.values.values()), *numbers, _duration(trial), outcome(trial)])
    return aligned(rows)


def write_csv(sweep: Path, trials: Sequence[Trial], ranked: Sequence[Trial]) -> None:
    """The same table for other programs."""
    metrics = _metrics(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    known = [name for name in metrics if any(_constant(trial, name) for trial in trials)]
    heads = [*trials[0].values, "status", *metrics, *(f"constant/{name}" for name in known), "seconds"]
    writer.writerow(["rank", "trial", *heads, "directory"])
    for place, trial in _in_order(trials, ranked):
        numbers = [repr(trial.metrics[name]) if name in trial.metrics else "" for name in metrics]
        seconds = "" if trial.seconds is None else f"{trial.seconds:.1f}"
        numbers += [_constant(trial, name) for name in known]
        cells = [place, trial.name, *map(show, trial.values.values()), outcome(trial), *numbers, seconds]
        writer.writerow([*map(_harmless, cells), f"trials/{trial.name}"])
    atomic.write_text(sweep / "results.csv", text.getvalue())


def _constant(trial: Trial, name: str) -> str:
    """What a constant prediction gives by a metric; empty where that is not known."""
    constant = trial.yardsticks[name].constant if name in trial.yardsticks else None
    return "" if constant is None else repr(constant)


def _harmless(cell: str) -> str:
    """A spreadsheet must not take a text for a formula."""
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell


def write_pictures(
    sweep: Path, name: str, trials: Sequence[Trial], ranked: Sequence[Trial], monitor: str
) -> list[Path]:
    """One picture for every axis of numbers: the monitored metric against its values."""
    axes = list(trials[0].values) if ranked else []
    numeric = [key for key in axes if all(type(trial.values[key]) in (int, float) for trial in trials)]
    if numeric:
        from trainkit.plots.charts import against, wide, write_png  # matplotlib, only for those who need it
    for key in numeric:
        points = [(float(trial.values[key]), trial.metrics[monitor]) for trial in ranked]
        series = against(points, [float(trial.values[key]) for trial in _others(trials, ranked)])
        log = wide([float(trial.values[key]) for trial in trials])
        title = f"{name}: {monitor} against {key}"
        write_png(sweep / f"{key}.png", title, series, xlabel=key, ylabel=monitor, log=log)
    return [sweep / f"{key}.png" for key in numeric]


def write_hparams(directory: Path, trials: Sequence[Trial]) -> None:
    """Values and final metrics of the finished trials whose own runs do not tell TensorBoard, for its HPARAMS page."""
    shutil.rmtree(directory, ignore_errors=True)  # what a resumed sweep says replaces what it said before
    for trial in trials:
        if trial.metrics and not any(trial.run.tensorboard.glob(f"*{tensorboard.HPARAMS}")):
            tensorboard.write_hparams(directory / trial.name, trial.values, trial.metrics)


def _in_order(trials: Sequence[Trial], ranked: Sequence[Trial]) -> list[tuple[str, Trial]]:
    places = [(str(place), trial) for place, trial in enumerate(ranked, 1)]
    return places + [("", trial) for trial in _others(trials, ranked)]


def _others(trials: Sequence[Trial], ranked: Sequence[Trial]) -> list[Trial]:
    names = {trial.name for trial in ranked}
    return [trial for trial in trials if trial.name not in names]


def _metrics(trials: Sequence[Trial]) -> list[str]:
    """Without those of the test split, which nobody should choose by; they are in each trial's `run.json`."""
    names = dict.fromkeys(name for trial in trials for name in trial.metrics)
    return [name for name in names if not name.startswith("test/")]


def _number(name: str, value: float | None) -> str:
    return "" if value is None else format_metric(name, value).removeprefix(f"{name} ")


def _duration(trial: Trial) -> str:
    seconds = trial.elapsed_s()
    return "" if seconds is None else format_duration(seconds)
