"""The sinks of a run: those that every run has, and those that its config asks for."""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TypeVar

from trainkit.core.records import NoteRecord, Sink, Tee
from trainkit.core.signals import Stop
from trainkit.core.terminal import print_line
from trainkit.runs import history
from trainkit.runs.checkpoint_schema import Payload
from trainkit.runs.context import RunContext
from trainkit.runs.visuals import Visuals
from trainkit.sinks.base import Guarded, OpenSink, SinkContext
from trainkit.sinks.console import ConsoleConfig
from trainkit.sinks.jsonl import JsonlConfig, JsonlSink

OpenSinkT = TypeVar("OpenSinkT", bound=OpenSink)


def open_sinks(job: RunContext, resumed_from: Payload | None, stack: ExitStack, stop: Stop) -> tuple[JsonlSink, Sink]:
    """Open every sink of the run; gives metrics.jsonl, which the run goes on from, and all of them as one."""
    directory, log = job.directory, job.experiment.log
    sinks: list[Sink] = []
    tee = Tee(sinks)
    context = SinkContext(
        directory=directory.path,
        resumed_at=job.progress.step if resumed_from else None,
        earlier=lambda: history.records(directory.metrics),
        log_bytes=resumed_from["log"]["bytes"] if resumed_from else None,
        quiet=job.quiet,
        warn=lambda text: tee.write(NoteRecord(text, "warning")),
    )

    def enter(sink: OpenSinkT) -> OpenSinkT:
        stack.callback(sink.close)
        sinks.append(sink)
        return sink

    enter(Guarded(ConsoleConfig(), replace(context, warn=_warn_on_stderr)))  # it cannot tell of its own failure
    jsonl = enter(JsonlConfig().open(context))  # not guarded: a disk that does not take it ends the run
    for config in log.optional_sinks():
        enter(Guarded(config, context))
    if any(config.takes_figures for config in log.optional_sinks()):
        sinks.append(Visuals(job=job, stop=stop, sink=tee))
    return jsonl, tee


def _warn_on_stderr(text: str) -> None:
    with suppress(OSError):  # which may be what has failed
        print_line(f"warning: {text}", sys.stderr)
