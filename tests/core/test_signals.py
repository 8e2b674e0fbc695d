"""The first signal asks, the second insists."""

from __future__ import annotations

import os
import signal

import pytest

from trainkit.core.signals import OutOfGrace, stop_on_signal


@pytest.mark.parametrize(
    ("sent", "meant"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGTERM), (signal.SIGHUP, signal.SIGTERM)],
)
def test_the_first_only_sets_a_flag(sent: int, meant: int) -> None:
    before = signal.getsignal(sent)
    with stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), sent)
        assert stop()
        assert stop.signum == meant
        assert signal.getsignal(sent) is before  # a second one would act at once
    assert signal.getsignal(sent) is before


def test_ctrl_c_twice_interrupts() -> None:
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_after_nohup_a_lost_terminal_changes_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_usr1_asks_only_for_a_checkpoint() -> None:
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.save_asked
        assert not stop()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_what_takes_too_long_after_sigterm_is_ended() -> None:
    def slow() -> None:
        with stop_on_signal(grace_s=0.05):
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    with pytest.raises(OutOfGrace):
        slow()
    with stop_on_signal(grace_s=0.05):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_every_handler_is_afterwards_as_it_was() -> None:
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)
    before = [signal.getsignal(signum) for signum in known]
    with stop_on_signal(grace_s=60):
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGALRM) is not before[-1]
    assert [signal.getsignal(signum) for signum in known] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
