"""The first signal asks, the second insists."""

from __future__ import annotations

import os
import signal

import pytest

from trainkit.signals import stop_on_signal


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
