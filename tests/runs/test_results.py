"""What the results of a run are held against, in its run.json and in its last lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import MakeExperiment
from trainkit.runs import results
from trainkit.runs.run import resume, train
from trainkit.training.yardstick import Yardstick, wilson


def test_a_run_keeps_them(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(make(), run_dir=Path("run"), quiet=True)
    said = capsys.readouterr().out.splitlines()
    metadata = json.loads(Path("run/run.json").read_text())
    beside = results.stored(metadata)
    assert beside.keys() == result.metrics.keys() == {"val/accuracy", "test/loss", "test/accuracy"}
    accuracy = beside["test/accuracy"]
    assert accuracy.samples == 32
    assert (accuracy.low, accuracy.high) == wilson(result.metrics["test/accuracy"], 32)
    assert accuracy.answer.startswith("always '")
    assert beside["test/loss"].constant == pytest.approx(1.39, abs=0.1)
    assert [line.split()[0] for line in said[2:5]] == list(beside)
    resume(Path("run"), quiet=True)  # it is complete
    assert capsys.readouterr().out.splitlines()[1:5] == said[1:5]


def test_of_a_quick_try_they_are_those_of_the_batches_that_were_measured(make: MakeExperiment) -> None:
    train(make(train={"epochs": 1, "limit_batches": 1}, loader={"eval_batch_size": 8}), run_dir=Path("try"), quiet=True)
    beside = results.stored(json.loads(Path("try/run.json").read_text()))
    assert beside["test/accuracy"].samples == 8
    assert "test/loss" not in beside  # which would be that of all


@pytest.mark.parametrize("damaged", [{}, {"yardsticks": None}, {"yardsticks": {"a": {"of": 1}}}, {"yardsticks": [1]}])
def test_a_damaged_file_has_none(damaged: dict[str, object]) -> None:
    assert results.stored(damaged) == {}
    assert results.stored({"yardsticks": {"a": {"samples": 3}}}) == {"a": Yardstick(3)}
