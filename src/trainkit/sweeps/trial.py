"""A trial: one point of a sweep's grid, run as a process of its own."""

from __future__ import annotations

import ctypes
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal

from trainkit.core.errors import BusyError, StorageError
from trainkit.core.signals import GRACE_S
from trainkit.runs import reader, results
from trainkit.runs.run_directory import RunDir
from trainkit.training.yardstick import Yardstick

Status = Literal["waiting", "interrupted", "running", "finished", "diverged", "failed"]
PATIENCE_S = GRACE_S + 5
"""For a process to end that was asked to: after `GRACE_S` it does so without saving, if it still can do anything."""
TAIL_BYTES = 16 * 1024


@dataclass(slots=True, eq=False)
class Trial:
    """Its run directory is the truth about it; the fields are what was last read there."""

    sweep: Path
    name: str
    """Its number, as in `trials/000`."""
    values: dict[str, Any]
    """Of the axes, by key."""
    status: Status = "waiting"
    told: str = "waiting"
    """What its run says of itself, such as `stopped` where the status is `interrupted`."""
    reason: str = ""
    """Why it failed, or why it must go on."""
    metrics: dict[str, float] = field(default_factory=dict)
    judged_by: Mapping[str, Any] = field(default_factory=dict)
    """What the metrics may be compared by."""
    yardsticks: Mapping[str, Yardstick] = field(default_factory=dict)
    """What the metrics are held against."""
    seconds: float | None = None
    _process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    """When its process was started, by the monotonic clock."""
    _lives: int = 0
    _kill_at: float = math.inf
    _timed_out: bool = False
    _log_begin: int = 0

    @property
    def finished(self) -> bool:
        """Whether running it again would tell nothing new: a diverged trial would diverge again."""
        return self.status in ("finished", "diverged")

    @property
    def run(self) -> RunDir:
        """Its run directory, which only its own process owns."""
        return RunDir(self.sweep / "trials" / self.name)

    @property
    def config(self) -> Path:
        return self.sweep / "configs" / f"{self.name}.yaml"

    @property
    def log(self) -> Path:
        return self.sweep / "logs" / f"{self.name}.log"

    def refresh(self) -> None:
        """Read what the run directory says."""
        run = reader.read_run(self.run.path)
        self.told, self.seconds = run.status, run.seconds
        match run.status, run.metadata.get("exit_code"):
            case "failed", StorageError.exit_code:
                self.status = "interrupted"  # it can go on when the disk has room again
            case "finished" | "diverged" | "failed" as status, _:
                self.status = status
            case _:
                self.status = "interrupted" if self.run.path.exists() else "waiting"
        self.reason = run.reason.partition("\n")[0] if run.status == "failed" else ""
        if self.status == "finished":
            self.judged_by, self.yardsticks = run.judged_by, results.stored(run.metadata)
            found = run.metadata["metrics"].items()
            self.metrics = {name: float(value) for name, value in found if value is not None}

    def begin(self, environment: Mapping[str, str]) -> None:
        """Start its process: go on where it was interrupted, or begin anew.

        Raises:
            BusyError: its last process does not end.
        """
        with self._own_log() as log:
            resume = self.status == "interrupted" and self.run.last.is_file()
            if not resume and self.run.path.exists():
                back_up(self.run.path)
            what = ["--resume", self.run.path] if resume else [self.config, "--run-dir", self.run.path]
            self._log_begin = log.tell()
            # In a session of its own, so that Ctrl-C reaches the driver alone.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trainkit", "train", *map(str, what)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_driver if sys.platform == "linux" else None,
            )
        self.status, self.reason, self.seconds = "running", "", None
        self._lives, self.began, self._kill_at, self._timed_out = self._lives + 1, time.monotonic(), math.inf, False

    def wait_until_idle(self) -> None:
        """Until no process that an earlier driver left behind is at work.

        Raises:
            BusyError: it does not end.
        """
        if self.log.exists():
            self._own_log().close()

    def _own_log(self) -> BinaryIO:
        """Open the log and lock it. The process inherits the lock, and holds it until it ends, whoever else dies."""
        log = open(self.log, "ab")  # noqa: SIM115  # handed to the caller
        try:
            import fcntl
        except ImportError:  # Windows
            return log
        give_up_at = time.monotonic() + PATIENCE_S  # what is left of a process that was killed ends, too
        while True:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return log
            except OSError:
                if time.monotonic() > give_up_at:
                    log.close()
                    raise BusyError(f"{self.run.path}: still running, started by a sweep that was killed") from None
            time.sleep(0.05)

    def ended(self) -> bool:
        """Whether the process has ended; if so, the fields say how.

        What was killed or has met a full disk is only interrupted at first: it may go on once. Then it has failed.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            if time.monotonic() > self._kill_at:
                self._process.kill()
            return False
        asked, self._process = self._kill_at < math.inf, None
        self.refresh()
        if self.seconds is None:
            self.seconds = time.monotonic() - self.began
        if self.finished:
            return True
        if self._timed_out:
            self.status, self.reason = "failed", "timeout"
        elif asked:
            self.status, self.reason = "interrupted", ""
        else:
            signum = {130: signal.SIGINT, 143: signal.SIGTERM}.get(code, -code)
            lost = signum > 0 or code == StorageError.exit_code
            self.status = "interrupted" if lost and self._lives == 1 else "failed"
            self.reason = (
                f"killed by {signal.Signals(signum).name}" if signum > 0 else self.reason or self._last_error(code)
            )
        return True

    def _last_error(self, code: int) -> str:
        """What its process has printed before it ended with this exit code."""
        log = self.log.read_bytes()[self._log_begin :].decode(errors="replace")
        # Without the place in a config that nobody has written.
        errors = re.findall(rf"^error: (?:{re.escape(str(self.config))}[:0-9]*: )?(.*)", log, re.M)
        return errors[-1] if errors else f"exit code {code}"

    def ask_to_stop(self, *, timed_out: bool = False) -> None:
        """Let the process save and end; it gets one SIGTERM, however often this is called."""
        if self._process and self._kill_at == math.inf:
            self._process.terminate()
            self._kill_at, self._timed_out = time.monotonic() + PATIENCE_S, timed_out

    def kill(self) -> None:
        """Leave nothing running."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def elapsed_s(self) -> float | None:
        """How long it took, or has been running."""
        return time.monotonic() - self.began if self.status == "running" else self.seconds

    def latest(self, monitor: str) -> tuple[float | None, float | None]:
        """The epoch and the value of a val metric that its records end with."""
        epoch = None
        with suppress(OSError), open(self.run.metrics, "rb") as file:
            file.seek(max(0, self.run.metrics.stat().st_size - TAIL_BYTES))
            for line in reversed(file.read().splitlines()):
                with suppress(ValueError):  # half a line at either end
                    record = json.loads(line)
                    epoch = record["epoch"] if epoch is None else epoch
                    if record.get("split") == "val":
                        return epoch, record.get(monitor.removeprefix("val/"))
        return epoch, None


def _end_with_driver() -> None:
    """In the new process: Linux will ask it to stop when the driver dies, in whatever way."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def back_up(path: Path) -> Path:
    """Rename something to the first free `….old1`, `….old2`, …; gives its new place."""
    names = (path.with_name(f"{path.name}.old{n}") for n in count(1))
    return path.rename(next(name for name in names if not name.exists()))
