"""The table of a run for spreadsheets: `metrics.csv`."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path

from tests.conftest import MakeExperiment, records
from trainkit.core.records import EvalRecord
from trainkit.runs import history
from trainkit.runs.run import resume, train
from trainkit.sinks.csv import CsvSink
from trainkit.sinks.jsonl import JsonlSink


def table(run_dir: Path) -> list[str]:
    return (run_dir / "metrics.csv").read_text().splitlines()


def test_a_row_for_every_epoch_and_evaluation(make: MakeExperiment) -> None:
    result = train(make(log={"sinks": ["csv"]}))
    found = [record for record in records(result.run_dir) if record["kind"] != "train"]
    expected = [
        [
            record["step"],
            float(record["epoch"]),
            record.get("split", "train"),
            record["loss"],
            record.get("accuracy", ""),
        ]
        for record in found
    ]
    header, *rows = table(result.run_dir)
    assert header == "step,epoch,split,loss,accuracy"
    assert rows == [",".join(map(str, row)) for row in expected]
    assert [row.split(",")[2] for row in rows] == ["train", "val", "train", "val", "test"]


def test_a_resumed_table_is_that_of_a_run_without_a_stop(make: MakeExperiment) -> None:
    whole = train(make(train={"epochs": 3}, log={"sinks": ["csv"]}))
    parts = train(make(train={"epochs": 2}, log={"sinks": ["csv"]}))
    with (parts.run_dir / "metrics.csv").open("a") as file:
        file.write("24,3.0,val,0.1,0.9\n24,3.0,te")  # of a step that the checkpoint knows nothing of, and torn
    resume(parts.run_dir, ["train.epochs=3"])
    assert table(parts.run_dir) == table(whole.run_dir)


def test_numbers_that_are_not_finite_are_the_same_in_a_resumed_table() -> None:
    with closing(CsvSink(Path("whole.csv"))) as whole, closing(JsonlSink(Path("metrics.jsonl"))) as log:
        for step, mape in enumerate([math.inf, math.nan, 0.5]):
            record = EvalRecord(step, 1.0, "val", {"loss": 1.0, "mape": mape}, False, 0.1)
            whole.write(record)
            log.write(record)
    CsvSink(Path("resumed.csv"), history.records(Path("metrics.jsonl"))).close()
    assert Path("resumed.csv").read_text() == Path("whole.csv").read_text()
    assert Path("whole.csv").read_text().splitlines()[1:] == ["0,1.0,val,1.0,", "1,1.0,val,1.0,", "2,1.0,val,1.0,0.5"]
