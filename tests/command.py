"""The real command in a process of its own, forked from one that has imported already what the command will.

Importing torch takes seconds, a fork milliseconds. All else is as in a shell: arguments, directory, environment,
streams, exit code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests import failpoints

ROOT = Path(__file__).parent.parent


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Minus the number of the signal, where one killed it; -14 is that of the timeout."""
    stdout: str
    stderr: str
    imported_torch: bool


class Command:
    """Runs `trainkit`, one command at a time. The first one waits until the modules have been imported."""

    def __init__(self, *modules: str) -> None:
        self.modules = modules
        self._parent: subprocess.Popen[str] | None = None

    def run(self, words: Sequence[str], cwd: Path | None = None, *, timeout_s: int = 60) -> Ended:
        """Run `trainkit` with these words and this process's environment; by default in the current directory.

        Neither the command nor what it has started is alive afterwards.
        """
        if self._parent is None:
            # Ends by itself with this process, which holds the other end of its standard input.
            command = [sys.executable, "-B", "-m", "tests.command", *self.modules]
            pipe = subprocess.PIPE
            self._parent = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
        assert self._parent.stdin
        assert self._parent.stdout
        with tempfile.TemporaryDirectory() as place:
            job = {
                "words": list(words),
                "cwd": str((cwd or Path()).absolute()),
                "environment": dict(os.environ),
                "timeout_s": timeout_s,
                "place": place,
            }
            print(json.dumps(job), file=self._parent.stdin, flush=True)
            code = int(self._parent.stdout.readline())
            stdout, stderr = (Path(place, name).read_text("utf-8") for name in ("stdout", "stderr"))
            return Ended(code, stdout, stderr, Path(place, "torch").exists())


bare = Command("trainkit.cli.main", "trainkit.config.merging", "trainkit.sinks.console", "pydantic.type_adapter")
"""Without torch: for what is judged before torch is needed."""
warm = Command(
    "trainkit.cli.main", "trainkit.checks.checking", "trainkit.checks.doctor", "trainkit.checks.model_summary",
    "trainkit.inference.evaluation", "trainkit.inference.output",
    "trainkit.runs.run", "trainkit.sweeps.sweep", "torch.utils.tensorboard", "tensorboard.summary.writer.record_writer",
    "torch._dynamo", "sklearn.datasets", "sklearn.model_selection",
    "alembic.command", "optuna.storages._rdb.models", "sqlalchemy.dialects.sqlite", "matplotlib.backends.backend_agg",
)  # fmt: skip
"""With torch, and with what optimizers, the digits and sweeps import when they are made."""


def _next_command() -> Path | None:
    """Fork for every line of standard input and tell its exit code; returns in each child, and when the parent ends.

    In a child, everything is as the command is to find it; gives the place for what is to be told.
    """
    for line in sys.stdin:
        job = json.loads(line)
        place = Path(job["place"])
        if (child := os.fork()) == 0:
            os.setsid()
            os.chdir(job["cwd"])
            os.environ.clear()
            os.environ.update(job["environment"])
            sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
            sys.argv[:] = ["trainkit", *job["words"]]
            for number, path in enumerate((Path(os.devnull), place / "stdout", place / "stderr")):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
            failpoints.arm()
            return place
        deadline, ended, status = time.monotonic() + job["timeout_s"], 0, signal.SIGALRM.value
        while not ended and time.monotonic() < deadline:
            time.sleep(0.002)
            ended, status = os.waitpid(child, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if not ended:
            os.waitpid(child, 0)
            status = signal.SIGALRM.value
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


if __name__ == "__main__":
    from trainkit.__main__ import main

    for module in sys.argv[1:]:
        importlib.import_module(module)
    gc.freeze()  # else collections in the children would copy all memory
    if place := _next_command():
        try:
            main()
        except SystemExit as ended:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            if "torch" in sys.modules:
                (place / "torch").touch()
            os._exit(ended.code if isinstance(ended.code, int) else 0)  # taking torch apart takes half a second
    os._exit(0)
