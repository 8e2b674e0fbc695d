"""A trial: one point of a sweep's grid, run as a process of its own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Literal

from trainkit.errors import BusyError
from trainkit.rundir import RunDir

Status = Literal["waiting", "interrupted", "running", "finished", "diverged", "failed"]
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
    reason: str = ""
    """Why it failed."""
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    _process: subprocess.Popen[bytes] | None = None
    _began: float = 0.0
    _log_begin: int = 0

    @property
    def over(self) -> bool:
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

    def look(self) -> None:
        """Read what the run directory says."""
        story: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            story = json.loads((self.run.path / "run.json").read_text())
        match story.get("status"):
            case "finished" | "diverged" | "failed" as status:
                self.status = status
            case _:
                self.status = "interrupted" if self.run.path.exists() else "waiting"
        self.reason = str(story.get("reason") or "").partition("\n")[0]
        if self.status == "finished":
            self.metrics = {key: float(value) for key, value in story["metrics"].items() if value is not None}
        if self.status not in ("interrupted", "waiting"):
            began, ended = (datetime.fromisoformat(story[key]) for key in ("started_at", "ended_at"))
            self.seconds = (ended - began).total_seconds()

    def begin(self, environment: Mapping[str, str]) -> None:
        """Start its process: go on where it was interrupted, or begin anew.

        Raises:
            BusyError: its last process is still alive.
        """
        with self._own_log() as log:
            resume = self.status == "interrupted" and self.run.last.is_file()
            if not resume and self.run.path.exists():
                set_aside(self.run.path)
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
            )
        self.status, self.reason, self.seconds, self._began = "running", "", None, time.monotonic()

    def check_idle(self) -> None:
        """Raise BusyError while a process that an earlier driver left behind is still at work."""
        if self.log.exists():
            self._own_log().close()

    def _own_log(self) -> BinaryIO:
        """Open the log and lock it. The process inherits the lock, and holds it until it ends, whoever else dies."""
        log = open(self.log, "ab")  # noqa: SIM115  # handed to the caller
        try:
            import fcntl
        except ImportError:  # Windows
            return log
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            log.close()
            raise BusyError(f"{self.run.path}: still running, started by a sweep that was killed") from None
        return log

    def ended(self) -> bool:
        """Whether the process has ended; if so, the fields say how."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            return False
        self._process = None
        self.look()
        if self.seconds is None:
            self.seconds = time.monotonic() - self._began
        if not self.over:
            said = re.findall(r"^error: (.*)", self.log.read_bytes()[self._log_begin :].decode(errors="replace"), re.M)
            killed = f"killed by {signal.Signals(-code).name}" if code < 0 else ""
            told = self.reason if self.status == "failed" else ""
            self.status, self.reason = "failed", killed or told or (said[-1] if said else f"exit code {code}")
        return True

    def ask_to_stop(self) -> None:
        """Let the process save and end."""
        if self._process:
            self._process.terminate()

    def wait(self) -> None:
        """Until the process has ended; the fields say how far it came."""
        if self._process:
            self._process.wait()
            self._process = None
            self.look()

    def kill(self) -> None:
        """Leave nothing running."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def elapsed_s(self) -> float | None:
        """How long it took, or has been running."""
        return time.monotonic() - self._began if self.status == "running" else self.seconds

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


def set_aside(path: Path) -> Path:
    """Rename something to the first free `….old1`, `….old2`, …; gives its new place."""
    names = (path.with_name(f"{path.name}.old{n}") for n in count(1))
    return path.rename(next(name for name in names if not name.exists()))
