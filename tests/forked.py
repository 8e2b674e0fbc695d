"""Trials of a sweep that are forked from its driver: milliseconds instead of the seconds that importing torch takes.

All else is as with `subprocess.Popen`: a child of the driver in a session of its own, with the same streams,
environment, arguments and exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from tests import failpoints


class Forked:
    """What a trial uses of a `subprocess.Popen`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: BinaryIO,
        env: Mapping[str, str],
        preexec_fn: Callable[[], None] | None,
        **ordinary: Any,
    ) -> None:
        self.returncode: int | None = None
        if (child := os.fork()) == 0:
            try:
                os.setsid()
                if preexec_fn:
                    preexec_fn()
                os._exit(_run(command, stdout, env))
            finally:
                os._exit(1)
        self.pid = child

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self) -> None:
        while self.poll() is None:
            time.sleep(0.002)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)


def _run(command: Sequence[str], stdout: BinaryIO, env: Mapping[str, str]) -> int:
    """`python -m trainkit …` in this process; gives its exit code."""
    from trainkit.__main__ import main

    for signum in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate((os.open(os.devnull, os.O_RDONLY), stdout.fileno(), stdout.fileno())):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(env)
    sys.orig_argv[:] = command
    sys.argv[:] = command[command.index("trainkit") :]
    failpoints.arm()
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        return ended.code if isinstance(ended.code, int) else 0
