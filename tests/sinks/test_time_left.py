"""The time left of a run, told beforehand and held against a run with a clock of its own."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import MakeExperiment
from trainkit.core.records import CheckpointRecord, EvalRecord, ProgressRecord, TrainRecord
from trainkit.runs.run import train
from trainkit.sinks import console
from trainkit.sinks.time_left import TimeLeft


@dataclass
class Position:
    step: int = 0
    epoch: int = 0


def told(
    *, steps: int = 400, step_s: float = 1.0, first_s: float = 60.0, eval_s: float = 30.0, max_s: float = math.inf
) -> list[tuple[float, float]]:
    """When which time was told to be left, of a run with an evaluation of `eval_s` and a save of 3 s each 100 steps."""
    now, position, found = 0.0, Position(), []
    progress = ProgressRecord(position, steps, 100, 100, 100, eval_s / step_s, max_s)
    left = TimeLeft(progress, lambda: now)

    def passes(seconds: float) -> None:
        nonlocal now
        for _ in range(10):
            now += seconds / 10
            if (told := left.seconds()) is not None:
                found.append((now, told))

    for step in range(1, steps + 1):
        passes(first_s if step == 1 else step_s)
        position.step = step
        if step % 20 == 0:
            left.write(TrainRecord(step, step / 100, 1.0, 0.1, 1.0, 10.0))
        if step % 100 == 0:
            passes(eval_s)
            left.write(EvalRecord(step, step / 100, "val", {}, False, eval_s))
            passes(3.0)
            left.write(CheckpointRecord(step, Path(), False, 3.0))
    return found


def test_it_is_right_from_the_second_step_on_and_never_jumps() -> None:
    found = told()
    end = found[-1][0]
    assert found[0][0] < 65
    for now, left in found:
        assert now + left == pytest.approx(end, abs=15)  # the saves, which nobody knows beforehand
    for (before, expected), (now, left) in pairwise(found):
        assert abs((now + left) - (before + expected)) < 15  # the first save tells of all four


def test_it_follows_a_run_that_gets_faster() -> None:
    now, position = 0.0, Position()
    left = TimeLeft(ProgressRecord(position, 1000, 100, 1000, 1000, 0.0, math.inf), lambda: now)
    for step in range(1, 401):
        now += 10.0 if step <= 100 else 1.0  # what was read once is in memory
        position.step = step
        left.write(TrainRecord(step, step / 100, 1.0, 0.1, 1.0, 10.0))
        left.seconds()
    assert left.seconds() == pytest.approx(600, rel=0.01)


def test_it_ends_with_the_minutes() -> None:
    assert told(max_s=200)[0][1] == pytest.approx(139, abs=1)


def test_what_is_left_of_a_resumed_run() -> None:
    now, position = 0.0, Position(150)
    left = TimeLeft(ProgressRecord(position, 300, 100, 100, 300, 20.0, math.inf), lambda: now)
    assert left.seconds() is None
    for position.step in (151, 152):
        now += 1.0
        seen = left.seconds()
    assert seen == pytest.approx(148 + 2 * 20)


def test_without_a_terminal_the_lines_have_it_once_in_a_while(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "CALM_S", 0.0)
    train(make(train={"epochs": 2}, log={"every": 3}))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("step", "epoch"))]
    assert all(re.search(r"  0:0\d left$", line) for line in lines[1:])
    monkeypatch.setattr(console, "CALM_S", 30.0)
    train(make(train={"epochs": 2}))
    assert " left" not in capsys.readouterr().err
