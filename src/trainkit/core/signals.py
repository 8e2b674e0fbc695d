"""Ctrl-C and its relatives: the first asks, the second insists. SIGUSR1 only asks for a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE_S = 20.0
"""From SIGTERM to a forced end: schedulers kill after 30 s. Ctrl-C has no such end, because a person can insist."""


class OutOfGrace(BaseException):
    """The run has not ended within `GRACE_S`. No Exception: nothing on the way may catch it."""


class Stop:
    """Whether a signal has asked the run to end, and which."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self.save_asked = False
        """A signal has asked for a checkpoint; whoever writes it resets this."""

    def __call__(self) -> bool:
        return self.signum is not None


def _signals() -> list[signal.Signals]:
    asking = [signal.SIGINT, signal.SIGTERM]
    # nohup ignores SIGHUP; then so do we.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asking.append(signal.SIGHUP)
    return asking


@contextmanager
def stop_on_signal(grace_s: float | None = GRACE_S) -> Iterator[Stop]:
    """While entered, SIGINT, SIGTERM, SIGHUP and SIGUSR1 only set a flag, which the loop reads between steps.

    After the first one that ends the run the ordinary handlers are back, so that a second one acts at once.

    Args:
        grace_s: how long the end may take after SIGTERM; None: as long as it takes.

    Raises:
        OutOfGrace: it took longer.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may have handlers
        return
    before = {signum: signal.getsignal(signum) for signum in _signals()}

    def ask(signum: int, _frame: FrameType | None) -> None:
        # SIGHUP is a lost terminal: for the outside world a termination.
        stop.signum = signal.SIGINT if signum == signal.SIGINT else signal.SIGTERM
        _restore(before)
        if stop.signum == signal.SIGTERM and grace_s is not None and hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, grace_s)

    def end(_signum: int, _frame: FrameType | None) -> None:
        raise OutOfGrace

    def ask_to_save(_signum: int, _frame: FrameType | None) -> None:
        stop.save_asked = True

    alarm = {signal.SIGALRM: signal.getsignal(signal.SIGALRM)} if hasattr(signal, "SIGALRM") else {}
    for signum in before:
        signal.signal(signum, ask)
    usr1 = {signal.SIGUSR1: signal.signal(signal.SIGUSR1, ask_to_save)} if hasattr(signal, "SIGUSR1") else {}
    try:
        yield stop
    finally:
        if stop.signum == signal.SIGTERM and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        _restore(before | usr1 | alarm)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
