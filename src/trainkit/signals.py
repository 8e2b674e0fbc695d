"""Ctrl-C and its relatives: the first asks, the second insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether a signal has asked the run to end, and which."""

    def __init__(self) -> None:
        self.signum: int | None = None

    def __call__(self) -> bool:
        return self.signum is not None


def _signals() -> list[signal.Signals]:
    asking = [signal.SIGINT, signal.SIGTERM]
    # nohup ignores SIGHUP; then so do we.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asking.append(signal.SIGHUP)
    return asking


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """While entered, SIGINT, SIGTERM and SIGHUP only set a flag, which the loop reads between steps.

    After the first one the ordinary handlers are back, so that a second one ends the process at once.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may have handlers
        return
    before = {signum: signal.getsignal(signum) for signum in _signals()}

    def ask(signum: int, _frame: FrameType | None) -> None:
        # SIGHUP is a lost terminal: for the outside world a termination.
        stop.signum = signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM
        for each, handler in before.items():
            signal.signal(each, handler)

    for signum in before:
        signal.signal(signum, ask)
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
