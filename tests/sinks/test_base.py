"""Sinks as a family: named in the config, told everything through one interface, and never the end of a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import ValidationError

from tests.conftest import MakeExperiment, records
from trainkit import SinkConfig, SinkContext, register
from trainkit.config import registry
from trainkit.core.errors import ConfigError, StorageError
from trainkit.core.records import HparamsRecord, ImageRecord, NoteRecord, Record
from trainkit.experiment.loading import load
from trainkit.experiment.schema import LogConfig
from trainkit.runs.run import resume, train
from trainkit.sinks import console, jsonl


class Listener:
    """A sink that only remembers, and may fail at one of its records, when opened or when closed."""

    def __init__(self, fails: int | str | None) -> None:
        self.fails, self.heard, self.closed = fails, list[Record](), 0

    def write(self, record: Record) -> None:
        self.heard.append(record)
        if len(self.heard) == self.fails:
            raise RuntimeError("the server is gone\nand a second line")

    def close(self) -> None:
        self.closed += 1
        if self.fails == "close":
            raise RuntimeError("not to be closed")


class ListenerConfig(SinkConfig):
    """A sink of one's own."""

    name: Literal["listener"] = "listener"
    fails: int | Literal["open", "close"] | None = None
    """Where."""

    opened: ClassVar[list[tuple[SinkContext, Listener]]] = []

    def open(self, context: SinkContext) -> Listener:
        if self.fails == "open":
            raise ConnectionError
        self.opened.append((context, Listener(self.fails)))
        return self.opened[-1][1]


class ForgetfulConfig(ListenerConfig):
    name: Literal["forgetful"] = "forgetful"  # type: ignore[assignment]

    def open(self, context: SinkContext) -> None:  # type: ignore[override]
        super().open(context)


@pytest.fixture(autouse=True)
def listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._families, "sink", dict(registry._families["sink"]))
    monkeypatch.setattr(ListenerConfig, "opened", [])
    register("sink")(ListenerConfig)
    register("sink")(ForgetfulConfig)


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]


def test_a_sink_of_ones_own_is_told_everything_and_when_a_resumed_run_begins(make: MakeExperiment) -> None:
    result = train(make(log={"sinks": ["listener"], "confusion_matrix": True, "histograms": True, "graph": True}))
    [(context, sink)] = ListenerConfig.opened
    assert (context.directory, context.resumed_at) == (result.run_dir, None)
    assert sink.closed == 1
    kinds = Counter(type(record).__name__.removesuffix("Record") for record in sink.heard)
    assert set(kinds) == {
        "Start", "Progress", "Train", "Epoch", "Eval", "Checkpoint", "End", "Image", "Histogram", "Graph", "Hparams",
    }  # fmt: skip
    assert (kinds["Start"], kinds["Epoch"], kinds["Eval"], kinds["Hparams"]) == (1, 2, 3, 1)
    images = [record for record in sink.heard if isinstance(record, ImageRecord)]
    assert [image.name for image in images][:2] == ["pictures/train", "confusion_matrix/val"]
    assert all(image.pixels.dtype == "uint8" and image.pixels.shape[2] == 3 for image in images)
    assert isinstance(last := sink.heard[-1], HparamsRecord)
    assert (last.step, last.metrics, last.values["optimizer"]["lr"]) == (16, result.metrics, 0.01)
    assert not (result.run_dir / "tb").exists()

    resume(result.run_dir, ["train.epochs=3"])
    context, sink = ListenerConfig.opened[-1]
    assert context.resumed_at == 16
    assert len(list(context.earlier())) == len(records(result.run_dir))


@pytest.mark.parametrize(
    ("fails", "reason", "heard"),
    [(3, "the server is gone", 3), ("open", "ConnectionError", None), ("close", "not to be closed", 20)],
)
def test_a_sink_that_fails_warns_once_and_the_run_goes_on(
    fails: int | str, reason: str, heard: int | None, make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = train(make())
    result = train(make(log={"sinks": [{"name": "listener", "fails": fails}, "csv"]}))
    assert records(result.run_dir) == records(silent.run_dir)
    assert (result.run_dir / "metrics.csv").exists()
    assert warnings(capsys) == [f"warning: sink listener: {reason}; the run goes on without it"]
    if heard is None:
        assert not ListenerConfig.opened
        return
    [(_, sink)] = ListenerConfig.opened
    assert sink.closed == 1
    assert len(sink.heard) == heard or (fails == "close" and len(sink.heard) > 3)


def test_a_sink_whose_open_forgets_to_return_it(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    train(make(log={"sinks": ["forgetful"]}))
    said = "TypeError: open gives None; it must return what has write and close"
    assert warnings(capsys) == [f"warning: sink forgetful: {said}; the run goes on without it"]


def test_other_sinks_are_told_of_a_failure(make: MakeExperiment) -> None:
    train(make(log={"sinks": ["listener", "csv"]}), run_dir=Path("run"))
    Path("run/metrics.csv").unlink()
    Path("run/metrics.csv").mkdir()
    resume(Path("run"), ["train.epochs=3"])
    _, sink = ListenerConfig.opened[-1]
    notes = [record.text for record in sink.heard if isinstance(record, NoteRecord) and record.level == "warning"]
    assert notes == ["sink csv: is a directory; the run goes on without it"]


def test_a_console_without_a_place_for_its_log(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    train(make(), run_dir=Path("run"))
    Path("run/train.log").unlink()
    Path("run/train.log").mkdir()
    capsys.readouterr()
    resume(Path("run"), ["train.epochs=3"])
    out, err = capsys.readouterr()
    [warning] = [line for line in err.splitlines() if line.startswith("warning")]
    assert warning == "warning: run/train.log: is a directory; what is printed here is not kept"
    assert "epoch 3" in err
    assert "test/accuracy" in out


def test_a_console_that_fails_tells_stderr(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(text: str, stream: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console, "print_line", refused)
    result = train(make())
    assert result.metrics["test/loss"] > 0
    assert warnings(capsys) == ["warning: sink console: no space left on device; the run goes on without it"]


def test_a_run_that_cannot_write_its_records_ends(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not be resumed."""

    def refused(self: jsonl.JsonlSink) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jsonl.JsonlSink, "sync", refused)
    with pytest.raises(StorageError, match="no space left on device after step 8"):
        train(make())


def test_which_sinks_a_run_has() -> None:
    def names(**log: object) -> list[str]:
        return [sink.name for sink in LogConfig.from_plain(log).optional_sinks()]

    assert names() == ["tensorboard"]
    assert names(sinks=["csv", "console", "jsonl", "tensorboard"]) == ["tensorboard", "csv"]
    assert names(tensorboard=False) == []
    assert names(tensorboard=False, sinks=[{"name": "csv"}]) == ["csv"]
    with pytest.raises(ValidationError, match="'csv' is there twice"):
        LogConfig.from_plain({"sinks": ["csv", "csv"]})


def test_a_sink_that_nobody_knows() -> None:
    Path("my.yaml").write_text("data: digits\nmodel: mlp\nlog: {sinks: [cvs, {name: csv, sep: 1}]}\n")
    with pytest.raises(ConfigError) as caught:
        load(Path("my.yaml"))
    assert caught.value.problems == (
        "my.yaml:3:15: log.sinks[0].name: unknown sink 'cvs'; did you mean 'csv'?",
        "my.yaml:3:32: log.sinks[1].sep: unknown key for 'csv'; known: ",
    )
