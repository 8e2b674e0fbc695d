"""What a person sees: a progress bar on a terminal, calm lines elsewhere, the same text in `train.log`."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from trainkit.config.registry import register
from trainkit.core.errors import os_error_text
from trainkit.core.records import (
    CheckpointRecord,
    EndRecord,
    EpochRecord,
    EvalRecord,
    NoteRecord,
    ProgressRecord,
    Record,
    StartRecord,
    TrainRecord,
)
from trainkit.core.terminal import print_line, silence
from trainkit.core.text import format_duration, format_metric, printable
from trainkit.sinks.base import SinkConfig, SinkContext
from trainkit.sinks.time_left import TimeLeft

LOG = "train.log"
CALM_S = 30.0
"""Without a terminal, at most one line of training in so many seconds."""
WAITING = 0.2
"""Waiting for data is worth a word when it takes more than this share of the time."""


class ConsoleSink:
    """Results to stdout, everything else to stderr. A stream that was closed is left alone; training goes on."""

    def __init__(self, *, quiet: bool = False, log: Path | None = None) -> None:
        self.quiet = quiet
        self._console = _PatientConsole(stderr=True, highlight=False, soft_wrap=True)
        self._bar: _Bar | None = None
        self._left: TimeLeft | None = None
        self._left_told_at = self._printed_at = time.monotonic()
        self._log: TextIO | None = None
        try:
            self._log = open(log, "a", encoding="utf-8") if log else None  # noqa: SIM115
        except OSError as error:
            self.write(NoteRecord(f"{log}: {os_error_text(error)}; what is printed here is not kept", "warning"))

    def write(self, record: Record) -> None:
        if self._left:
            self._left.write(record)
        match record:
            case StartRecord():
                for name, text in record.facts.items():
                    self._say(f"{name:<10} {text}")
            case ProgressRecord():
                self._left = TimeLeft(record)
                if not self.quiet and self._console.is_terminal and not os.environ.get("CI"):
                    self._bar = _Bar(self._console, record, self._left)
                    self._bar.live.start()
            case TrainRecord():
                latest = f"loss {record.loss:.4f}  {record.samples_per_s:,.0f} samples/s"
                if self._bar:
                    self._bar.latest = latest
                elif time.monotonic() - self._printed_at >= CALM_S:
                    self._say(f"step {record.step}  epoch {record.epoch:.2f}  {latest}{self._time_left()}")
            case EpochRecord():
                waiting = f"  {record.waiting:.0%} of it waiting for data" if record.waiting > WAITING else ""
                right = "" if record.accuracy is None else f"{format_metric('train/accuracy', record.accuracy)}  "
                self._say(
                    f"epoch {record.epoch}  step {record.step}  train/loss {record.loss:.4f}  {right}"
                    f"{record.samples_per_s:,.0f} samples/s  {format_duration(record.elapsed_s)}{waiting}"
                    f"{self._time_left()}"
                )
            case EvalRecord():
                numbers = "  ".join(format_metric(f"{record.split}/{k}", v) for k, v in record.metrics.items())
                self._say(f"  {numbers}{'  best so far' if record.best else ''}")
            case NoteRecord():
                self._say(f"warning: {record.text}" if record.level == "warning" else record.text, record.level)
            case CheckpointRecord():
                self._log_line(f"saved {record.path} at step {record.step}")
            case EndRecord():
                self._stop_bar()
                self._result(record.headline)
                for line in record.beside:
                    self._result(line)
                for line in record.curves:
                    self._result(f"{'diagnosis':<10} {line}")
                for name, command in record.commands.items():
                    self._result(f"{name:<10} {command}")

    def close(self) -> None:
        self._stop_bar()
        if self._log:
            with suppress(OSError):
                self._log.close()

    def _say(self, text: str, level: str = "info") -> None:
        text = printable(text)
        self._log_line(text)
        self._printed_at = time.monotonic()
        if not self.quiet or level == "warning":
            self._console.print(text, style="yellow" if level == "warning" else None, markup=False)

    def _time_left(self) -> str:
        """What a bar shows all the time, elsewhere is told once in a while."""
        if self._bar or time.monotonic() - self._left_told_at < CALM_S:
            return ""
        self._left_told_at = time.monotonic()
        return _left_text(self._left)

    def _result(self, text: str) -> None:
        text = printable(text)
        self._log_line(text)
        print_line(text, sys.stdout)

    def _log_line(self, text: str) -> None:
        if self._log:
            with suppress(OSError):  # a full disk must not end a run for want of its log
                self._log.write(text + "\n")
                self._log.flush()

    def _stop_bar(self) -> None:
        if self._bar:
            self._bar.live.stop()
            self._bar = None


class _PatientConsole(Console):
    """A console whose reader may go away; rich would end the process."""

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # a terminal that is gone is no broken pipe, but EIO
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        silence(sys.stderr)


class _Bar:
    """One line, drawn four times a second from rich's own thread: it reads the position, the loop spends nothing."""

    def __init__(self, console: Console, progress: ProgressRecord, left: TimeLeft) -> None:
        self.progress, self.left = progress, left
        # Room for the `^C` that a terminal echoes: a line that wraps could not be erased.
        self.width = console.width - 3
        self.latest = ""
        self.live = Live(get_renderable=self._line, console=console, refresh_per_second=4, transient=True)

    def _line(self) -> Table:
        step, max_steps = self.progress.position.step, self.progress.max_steps
        epochs = -(-max_steps // self.progress.steps_per_epoch)
        line = Table.grid(padding=(0, 1))
        line.width = self.width
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(
            f"epoch {min(self.progress.position.epoch + 1, epochs)}/{epochs}  step {step}/{max_steps}",
            ProgressBar(total=max_steps, completed=step),
            f"{self.latest}{_left_text(self.left)}",
        )
        return line


def _left_text(left: TimeLeft | None) -> str:
    seconds = left.seconds() if left else None
    return "" if seconds is None else f"  {format_duration(seconds)} left"


@register("sink")
class ConsoleConfig(SinkConfig):
    """Lines and a progress bar for people, also in `train.log`. Every run has it."""

    name: Literal["console"] = "console"
    takes_figures: ClassVar[bool] = False

    def open(self, context: SinkContext) -> ConsoleSink:
        return ConsoleSink(quiet=context.quiet, log=context.directory / LOG)
