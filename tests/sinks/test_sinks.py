"""What people and machines read: the console, metrics.jsonl and TensorBoard."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.command import ROOT
from tests.conftest import MakeExperiment, records
from trainkit.core.records import EvalRecord, TrainRecord
from trainkit.core.text import format_duration, format_metric
from trainkit.runs.run import resume, train
from trainkit.sinks import console
from trainkit.sinks.jsonl import JsonlSink
from trainkit.sinks.tensorboard import TensorBoardSink

STEP = TrainRecord(step=3, epoch=0.5, loss=1.5, lr=0.1, grad_norm=2.0, samples_per_s=100.0)


def test_jsonl_is_cut_to_what_the_checkpoint_knows() -> None:
    path = Path("metrics.jsonl")
    sink = JsonlSink(path)
    sink.write(STEP)
    known = sink.sync()
    sink.write(STEP)
    sink.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "tr')  # a line torn by a kill
    again = JsonlSink(path, keep=known)
    again.write(EvalRecord(4, 1.0, "val", {"loss": float("nan")}, False, 0.1))
    again.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "eval"]
    assert lines[1]["loss"] is None


class FullDisk:
    """In the place of a raw file: takes a few bytes, then none until there is room again."""

    def __init__(self, file: Any) -> None:
        self.file, self.room = file, 5

    def write(self, content: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken: int = self.file.write(content[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_records_wait_for_a_full_disk_and_the_next_save_insists() -> None:
    sink = JsonlSink(Path("metrics.jsonl"))
    disk = sink._file._file = FullDisk(sink._file._file)  # type: ignore[assignment]
    sink.write(STEP)
    sink.write(STEP)
    with pytest.raises(OSError, match="No space left"):
        sink.sync()
    assert Path("metrics.jsonl").stat().st_size == 5
    disk.room = 10**6
    assert sink.sync() == Path("metrics.jsonl").stat().st_size
    sink.close()
    assert [json.loads(line)["step"] for line in Path("metrics.jsonl").read_text().splitlines()] == [3, 3]


def test_curves_wait_for_a_full_disk_with_one_warning() -> None:
    warnings: list[str] = []
    sink = TensorBoardSink(Path("tb"), warn=warnings.append)
    file = sink.writer.file_writer.event_writer._file  # type: ignore[attr-defined]
    disk = file._file = FullDisk(file._file)
    for step in range(5):
        sink.write(replace(STEP, step=step))
    (warning,) = warnings
    assert "no space left on device; the curves wait, metrics.jsonl has every number, too" in warning
    disk.room = 10**6
    sink.write(replace(STEP, step=5))
    sink.close()
    events = EventAccumulator("tb")
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(6))


def test_a_log_that_cannot_be_written_ends_nothing(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LOG", "/dev/full")
    assert train(make(train={"epochs": 1})).metrics["test/loss"] > 0


def scalars(directory: Path) -> EventAccumulator:
    board = EventAccumulator(str(directory))
    board.Reload()
    return board


def test_tensorboard_has_the_curves(make: MakeExperiment) -> None:
    result = train(make(log={"tensorboard": True, "every": 3}))
    board = scalars(result.run_dir / "tb")
    assert set(board.Tags()["scalars"]) == {
        "train/loss", "train/grad_norm", "train/samples_per_s", "lr", "train/epoch_loss", "train/waiting",
        "train/accuracy", "val/loss", "val/accuracy",
        "test/loss", "test/accuracy", "final/val/accuracy", "final/test/loss", "final/test/accuracy",
    }  # fmt: skip
    logged = {record["step"]: record["loss"] for record in records(result.run_dir) if record["kind"] == "train"}
    seen = {event.step: event.value for event in board.Scalars("train/loss")}
    assert seen == pytest.approx(logged, rel=1e-6)
    text = board.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "name: tiny" in text
    resume(result.run_dir, ["train.epochs=3"])
    steps = [event.step for event in scalars(result.run_dir / "tb").Scalars("train/loss")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 24


def test_formats() -> None:
    assert format_metric("test/accuracy", 0.98765) == "test/accuracy 98.77 %"
    assert format_metric("val/loss", 0.0123456) == "val/loss 0.01235"
    assert [format_duration(s) for s in (7, 750, 3723)] == ["0:07", "12:30", "1:02:03"]


COMMAND = """
import sys; sys.path.insert(0, sys.argv[1])
from trainkit import ExperimentConfig, train
train(ExperimentConfig.from_plain({
    "name": "t", "data": {"name": "synthetic"}, "model": "mlp", "train": {"epochs": 60}, "log": {"every": 5},
}))
"""


def test_a_terminal_gets_a_bar_and_the_log_stays_plain() -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("CI", None)
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(ROOT)],
        stdout=subprocess.PIPE, stderr=child, env=environment, text=True,
    ) as process:  # fmt: skip
        os.close(child)
        screen = io.BytesIO()
        while True:
            try:
                if not (part := os.read(parent, 65536)):
                    break
            except OSError:  # the other side has closed
                break
            screen.write(part)
        out, _ = process.communicate()
    os.close(parent)
    assert process.returncode == 0
    shown = screen.getvalue().decode()
    assert "epoch" in shown
    assert "/60" in shown
    assert "samples/s" in shown
    assert "\x1b[" in shown
    assert "\x1b" not in out
    [run_dir] = Path("runs/t").iterdir()
    assert "\x1b" not in (run_dir / "train.log").read_text()


def test_a_reader_that_goes_away_does_not_stop_the_training() -> None:
    command = [sys.executable, "-c", COMMAND, str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.readline()
        process.stderr.close()
        process.stdout.close()
        assert process.wait() == 0
    [run_dir] = Path("runs/t").iterdir()
    assert json.loads((run_dir / "run.json").read_text())["status"] == "finished"
