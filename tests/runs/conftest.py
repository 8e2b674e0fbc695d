"""What tests of whole runs share: runs that are stopped at a step."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from trainkit.core.errors import (
    TrainkitError,
)
from trainkit.runs.run import train
from trainkit.training import loop

FULL: dict[str, Any] = {
    "train": {"epochs": 3, "accumulate": 3, "clip_norm": 1.0, "ema": 0.9, "early_stopping": {"patience": 50}},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9},
    "scheduler": {"name": "step", "step_size": 1, "gamma": 0.5, "warmup_steps": 2},
    "checkpoint": {"every": 2},
}
"""State in every place: momentum, schedule, accumulation with a short last group, dropout, averages, early stopping."""


def stop_at(step: int, signum: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process a signal in the middle of a step, as a user would."""

    def fit(*arguments: Any, **keywords: Any) -> None:
        parts, _, progress = arguments
        update = parts.precision.update

        def updating(*inner: Any, **options: Any) -> Any:
            if progress.step + 1 == step:
                os.kill(os.getpid(), signum)
            return update(*inner, **options)

        parts.precision.update = updating
        loop.fit(*arguments, **keywords)

    monkeypatch.setattr("trainkit.runs.run.fit", fit)


def stopped(experiment: Any, step: int, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_at(step, signal.SIGTERM, patch)
        with pytest.raises(TrainkitError) as error:
            train(experiment, run_dir=run_dir)
    assert error.value.exit_code == 143
    assert error.value.problems == (
        f"stopped by SIGTERM at step {step}, saved; go on with: trainkit train --resume {run_dir}",
    )
