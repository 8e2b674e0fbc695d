from __future__ import annotations

import math
from pathlib import Path

import pytest

from trainkit.core.errors import StorageError
from trainkit.core.records import EpochRecord, EvalRecord, TrainRecord
from trainkit.runs import history
from trainkit.sinks.jsonl import JsonlSink

RECORDS = (
    TrainRecord(3, 0.5, math.nan, 0.1, 2.0, 100.0),
    EpochRecord(6, 1, 0.7, 100.0, 0.25, 0.125, 0.625),
    EvalRecord(6, 1.0, "val", {"loss": 0.5, "accuracy": 0.75}, True, 0.5),
)


def test_what_the_sink_writes_is_read_back(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    for record in RECORDS:
        sink.write(record)
    sink.close()
    found = history.read(tmp_path / "metrics.jsonl")
    assert math.isnan(found.steps[0].loss)
    assert (found.steps[0].step, found.steps[0].lr, found.steps[0].grad_norm) == (3, 0.1, 2.0)
    assert found.epochs == RECORDS[1:2]
    assert found.evals == found.of("val") == RECORDS[2:]
    assert found.of("test") == ()


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    sink = JsonlSink(path)
    sink.write(RECORDS[1])
    sink.write(RECORDS[2])
    sink.close()
    path.write_bytes(path.read_bytes()[:-20])
    assert history.read(path) == history.History((), RECORDS[1:2], ())


def test_a_missing_file_is_named() -> None:
    with pytest.raises(StorageError, match=r"^gone/metrics.jsonl: no such file or directory$"):
        history.read(Path("gone/metrics.jsonl"))
