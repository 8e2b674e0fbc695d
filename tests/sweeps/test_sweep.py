"""Sweeps: what is refused before anything starts, what a sweep leaves, and that a resumed one does what is missing."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

import trainkit
from tests.conftest import records
from trainkit.core.errors import BusyError, CheckpointError, ConfigError, StoppedError, SweepError
from trainkit.core.text import format_duration
from trainkit.experiment import grid, loading
from trainkit.reports import report_page
from trainkit.runs import reader
from trainkit.sweeps import display, trial
from trainkit.sweeps import sweep as sweeps
from trainkit.sweeps.study import Plan
from trainkit.sweeps.sweep import resume, sweep
from trainkit.sweeps.trial import Trial

CONFIG = """
name: tiny
data: {name: synthetic, shape: [4], size: 2, samples: 64, val: 16, test_samples: 16}
loader: {batch_size: 16}
model: {name: mlp, hidden: [4]}
optimizer: {name: sgd, lr: 0.1}
train: {epochs: 2}
log: {tensorboard: false}
"""


@dataclass(frozen=True)
class Done:
    directory: Path
    error: SweepError
    out: str
    err: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A sweep of three learning rates, of which the last diverges."""
    home = tmp_path_factory.mktemp("sweep")
    config = home / "tiny.yaml"
    config.write_text(CONFIG)
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINKIT_RUNS_DIR", str(home / "runs"))
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SweepError) as error:
            sweep(config, ["optimizer.lr=0.1,0.01,1e30", "seed=7"], jobs=2)
    [directory] = (home / "runs" / "tiny").iterdir()
    return Done(directory, error.value, out.getvalue(), err.getvalue())


@pytest.fixture
def moved(done: Done, tmp_path: Path) -> Path:
    """A copy of the sweep at another place."""
    return Path(shutil.copytree(done.directory, tmp_path / "moved", symlinks=True))


def table(directory: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((directory / "results.csv").read_text().splitlines()))


def states(directory: Path) -> list[str]:
    with closing(sqlite3.connect(directory / "study.db")) as database:
        return [state for (state,) in database.execute("SELECT state FROM trials ORDER BY number")]


def tell(trial: Path, **news: object) -> None:
    metadata = json.loads((trial / "run.json").read_text())
    (trial / "run.json").write_text(json.dumps(metadata | news))


def finish_all(directory: Path, **news: object) -> None:
    """Let the diverged trial look like a finished one."""
    shutil.rmtree(directory / "trials/002")
    shutil.copytree(directory / "trials/001", directory / "trials/002")
    tell(directory / "trials/002", **news)


def test_a_sweep_leaves_its_table_and_everything_else(done: Done) -> None:
    directory = done.directory
    assert directory.name.endswith("-sweep")
    assert done.error.exit_code == 9
    assert str(done.error) == f"1 of 3 trials failed: 002; see {directory}/logs"
    rows = table(directory)
    assert {row["trial"]: row["status"] for row in rows} == {"000": "finished", "001": "finished", "002": "diverged"}
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    assert float(rows[0]["val/accuracy"]) >= float(rows[1]["val/accuracy"])
    assert rows[2] | {"seconds": ""} == dict.fromkeys(rows[2], "") | {
        "trial": "002",
        "optimizer.lr": "1e+30",
        "status": "diverged",
        "directory": "trials/002",
    }
    assert str((directory / "best").readlink()) == rows[0]["directory"]
    assert (directory / "optimizer.lr.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (directory / "tb").iterdir()) == ["000", "001"]
    assert states(directory) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert "the loss is not finite" in (directory / "logs/002.log").read_text()


def test_what_a_sweep_says(done: Done) -> None:
    header, first, *_ = done.out.splitlines()
    assert " ".join(header.split()) == "rank trial optimizer.lr val/accuracy time status"
    assert first.startswith("1 ")
    best = (done.directory / "best").resolve()
    assert "constant   a constant prediction gives val/accuracy " in done.out
    assert f"evaluate   trainkit eval --ckpt {best}/checkpoints/best.pt" in done.out
    assert f"picture    {done.directory}/optimizer.lr.png" in done.out
    assert f"table      {done.directory}/results.csv" in done.out
    assert f"curves     tensorboard --logdir {done.directory}" in done.out
    said = done.err.splitlines()
    assert len(said) == 6
    assert "trial 000  begins  optimizer.lr=0.1" in said
    assert [line for line in said if line.startswith("trial 002  diverged")]


def test_the_stored_configs_repeat_the_sweep(done: Done) -> None:
    again = grid.read(done.directory / "sweep.yaml", [])
    assert again.points == [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.01}, {"optimizer.lr": 1e30}]
    for number, planned in enumerate(again.experiments):
        assert planned.seed == 7
        assert planned == loading.load(done.directory / f"configs/{number:03d}.yaml")
        assert planned == loading.load(done.directory / f"trials/{number:03d}/config.yaml")


def test_resume_does_exactly_what_is_missing(done: Done, moved: Path) -> None:
    tell(moved / "trials/000", status="running")  # as if it had been killed
    shutil.rmtree(moved / "trials/001")
    with pytest.raises(SweepError):
        resume(moved, jobs=2)
    assert "resumed at step 6" in (moved / "logs/000.log").read_text()
    assert records(moved / "trials/000") == records(done.directory / "trials/000")
    names = sorted(path.name for path in (moved / "trials").iterdir())
    assert names == ["000", "001", "002"]  # the diverged one would diverge again
    one, other = (table(path) for path in (done.directory, moved))
    assert [row["val/accuracy"] for row in one] == [row["val/accuracy"] for row in other]
    assert (moved / "best").readlink() == (done.directory / "best").readlink()


def test_a_sweep_that_is_complete_starts_nothing(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_all(moved, metrics={"val/accuracy": float("nan")})
    assert resume(moved) == moved
    captured = capsys.readouterr()
    assert captured.err == "nothing is missing: all 3 trials have ended\n"
    number, lr, value, _, _time, status = captured.out.splitlines()[3].split()
    assert (number, lr, value, status) == ("002", "1e+30", "nan", "finished")  # never the best
    assert states(moved) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "no database", "locked"])
def test_a_damaged_study_is_built_again_from_the_directories(
    damage: str, moved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish_all(moved)
    database = moved / "study.db"
    content = database.read_bytes()
    changed = bytearray(content)
    changed[4096:40960] = bytes(36864)
    files = {"cut": content[: len(content) // 2], "changed": bytes(changed), "no database": b"[]", "locked": content}
    database.write_bytes(files.get(damage, b""))
    if damage == "missing":
        database.unlink()
    with closing(sqlite3.connect(database if damage == "locked" else ":memory:")) as other:
        other.execute("BEGIN EXCLUSIVE")
        resume(moved, quiet=True)
    assert capsys.readouterr().err == f"warning: {database}: missing or damaged; rebuilt from the trials' directories\n"
    assert (moved / "study.db.old1").exists() == (damage != "missing")
    assert states(moved) == ["COMPLETE"] * 3


def test_two_drivers_do_not_share_a_sweep(moved: Path) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(moved / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(BusyError):
            resume(moved)
        other.communicate(b"\n")


def test_a_trial_that_a_killed_driver_left_behind_and_that_does_not_end(
    moved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "PATIENCE_S", 0.1)
    with open(moved / "logs/001.log", "ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="trials/001: still running"):
            resume(moved)


def test_a_signal_stops_the_trials_and_tells_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)

    def interrupt() -> None:
        while not list(tmp_path.glob("runs/tiny/*/logs/000.log")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    sender = threading.Thread(target=interrupt)
    sender.start()
    with pytest.raises(StoppedError) as error:
        sweep(tmp_path / "tiny.yaml", [], quiet=True)
    sender.join()
    [directory] = Path("runs/tiny").iterdir()
    assert error.value.exit_code == 143
    assert str(error.value) == f"stopped by SIGTERM; go on with: trainkit sweep --resume {directory}"
    Trial(directory, "000", {}).wait_until_idle()


BAD = {
    "optimizer.lr=": "command line: optimizer.lr: empty axis",
    "optimizer.lr=1e-1,,1e-2": "command line: optimizer.lr: empty value at place 2",
    "optimizer.lr=1e-1,": "command line: optimizer.lr: empty value at place 2",
    "optimizer.lr=1e-1,fast": "command line: optimizer.lr: expected a number, got 'fast' (trial optimizer.lr=fast)",
    "optimizer.lr=1e-1,-1": "command line: optimizer.lr: must be > 0, got -1 (trial optimizer.lr=-1)",
    "optimizer.learning_rate=1,2": (
        "command line: optimizer.learning_rate: unknown key for 'sgd'; did you mean 'lr'? "
        "(trial optimizer.learning_rate=1 and 1 more)"
    ),
    "optimizer.lr=1,'2": "command line: optimizer.lr: quote is not closed",
    "optimizer={name: sgd},{name: adam}": (
        "command line: optimizer: a mapping is no value of an axis; sweep optimizer.name and its keys"
    ),
    "name=a,b": "command line: name: may not be swept",
    "imports=[os],[sys]": "command line: imports: may not be swept",
    "extends=a.yaml,b.yaml": "command line: extends: may not be swept",
    "sweep.axes.seed=1,2": "command line: sweep.axes.seed: may not be swept",
    "sweep.timeout_minutes=0": "command line: sweep.timeout_minutes: must be > 0, got 0",
    "sweep.timeout=1": "command line: sweep.timeout: unknown key; did you mean 'timeout_minutes'?",
    "seed..x=1,2": "command line: empty key in 'seed..x'",
    "data.val=0": "command line: data.val: a sweep ranks its trials by the val split, got 0",
    "checkpoint.monitor=val/loss,val/accuracy": (
        "checkpoint.monitor: trials that are ranked by different metrics: min val/loss (trial "
        "checkpoint.monitor=val/loss), max val/accuracy (trial checkpoint.monitor=val/accuracy)"
    ),
}


@pytest.mark.parametrize("assignment", BAD)
def test_what_is_wrong_is_told_before_anything_is_made(assignment: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError) as error:
        sweep(tmp_path / "tiny.yaml", [assignment])
    assert error.value.problems[0].removesuffix(" (trial optimizer.lr=0.1 and 3 more)") == BAD[assignment]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_too_many_trials(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    thousand = ",".join(map(str, range(1, 1001)))
    axes = [f"{key}={thousand}" for key in ("seed", "loader.batch_size", "train.epochs")]
    with pytest.raises(ConfigError, match=r"^command line: 1000000000 trials \(limit 10000\)$"):
        sweep(tmp_path / "tiny.yaml", axes)


AXES = {
    "{}": "tiny.yaml:9:15: sweep.axes: no axis",
    "{seed: []}": "tiny.yaml:9:22: seed: empty axis",
    "{optimizer.lr: [0.1, -1]}": "tiny.yaml:9:36: optimizer.lr: must be > 0, got -1 (trial optimizer.lr=-1)",
    "{name: [a]}": "tiny.yaml:9:23: name: may not be swept",
}


@pytest.mark.parametrize("axes", AXES)
def test_axes_of_the_file_are_told_with_their_place(axes: str) -> None:
    Path("tiny.yaml").write_text(f"{CONFIG}sweep: {{axes: {axes}}}\n")
    with pytest.raises(ConfigError) as error:
        grid.read(Path("tiny.yaml"), [])
    assert error.value.problems == (AXES[axes],)


def test_axes_come_from_the_command_line_then_the_file_then_the_default() -> None:
    Path("tiny.yaml").write_text(CONFIG)
    Path("axes.yaml").write_text("extends: tiny.yaml\nname: other\nsweep: {axes: {seed: [0, 1]}}\n")
    assert [point["optimizer.lr"] for point in grid.read(Path("tiny.yaml"), []).points] == [0.1, 0.01, 0.001, 0.0001]
    assert grid.read(Path("axes.yaml"), []).points == [{"seed": 0}, {"seed": 1}]
    lists = grid.read(Path("axes.yaml"), ["model.hidden=[8],[16,4]", "train.clip_norm=null,1"])
    assert [(p["model.hidden"], p["train.clip_norm"]) for p in lists.points] == [
        ([8], None), ([8], 1), ([16, 4], None), ([16, 4], 1)
    ]  # fmt: skip
    assert lists.experiments[3].model.to_plain()["hidden"] == [16, 4]


def test_a_component_that_changes_keeps_what_is_set_for_every_trial() -> None:
    Path("tiny.yaml").write_text(CONFIG)
    found = grid.read(
        Path("tiny.yaml"), ["optimizer.lr=0.1,0.2", "optimizer.name=sgd,adam", "optimizer.weight_decay=3"]
    )
    optimizers = [planned.optimizer.to_plain() for planned in found.experiments]
    assert [(o["name"], o["lr"], o["weight_decay"]) for o in optimizers] == [
        ("sgd", 0.1, 3), ("adam", 0.1, 3), ("sgd", 0.2, 3), ("adam", 0.2, 3)
    ]  # fmt: skip


def test_double_values_are_tried_once() -> None:
    Path("tiny.yaml").write_text(CONFIG)
    found = grid.read(Path("tiny.yaml"), ["optimizer.lr=1e-1,0.1,1"])
    assert found.points == [{"optimizer.lr": 0.1}, {"optimizer.lr": 1}]
    assert found.warnings == ["command line: optimizer.lr: 0.1 is given twice and tried once"]


def test_only_a_sweep_can_be_resumed(done: Done) -> None:
    with pytest.raises(CheckpointError, match="no sweep here"):
        resume(done.directory / "trials")


def test_configs_that_were_changed(moved: Path) -> None:
    with (moved / "sweep.yaml").open("a") as file:
        file.write("seed: 1\n")
    (moved / "configs/001.yaml").write_text("")
    (moved / "configs/002.yaml").unlink()
    (moved / "configs/000.yaml~").touch()
    with pytest.raises(ConfigError) as error:
        resume(moved)
    assert error.value.problems == tuple(
        f"{moved}/{name}: was changed since the sweep began; begin a new sweep: trainkit sweep {moved}/sweep.yaml"
        for name in ("sweep.yaml", "configs/001.yaml", "configs/002.yaml")
    )


def test_another_version_and_another_commit(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["init"], ["-c", "user.name=a", "-c", "user.email=b", "commit", "--allow-empty", "-m", "c"]):
        subprocess.run(["git", *command], check=True, capture_output=True)
    now = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    finish_all(moved)
    plan = json.loads((moved / "sweep.json").read_text())
    (moved / "sweep.json").write_text(json.dumps(plan | {"version": "0.0.9", "commit": "a1b2"}))
    resume(moved, quiet=True)
    assert capsys.readouterr().err.splitlines() == [
        f"warning: begun with trainkit 0.0.9, goes on with {trainkit.__version__}",
        f"warning: begun with commit a1b2, goes on with {now}",
    ]


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    values = ["=1+1", "@x", "-1e-3", "plain"]
    trials = [Trial(tmp_path, str(number), {"data.root": value}) for number, value in enumerate(values)]
    display.write_csv(tmp_path, trials, [])
    assert [row["data.root"] for row in table(tmp_path)] == ["'=1+1", "'@x", "-1e-3", "plain"]


def test_trials_that_cannot_be_compared_are_told_before_and_not_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    axis = "loss.label_smoothing=0,0.1"
    reason = "val/loss cannot be compared between trials that differ in loss.label_smoothing; checkpoint.monitor"
    assert grid.read(config, [axis]).warnings == []
    assert grid.read(config, [axis, "checkpoint.monitor=val/loss"]).warnings == [
        f"{config}: not ranked: {reason} may name a metric"
    ]
    trials = [Trial(tmp_path, f"{n:03d}", {"loss.label_smoothing": n / 10}, "finished") for n in range(2)]
    for number, one in enumerate(trials):
        (one.run.path).mkdir(parents=True)
        one.metrics, one.judged_by = {"val/loss": 1.0 - number / 2}, {"loss.label_smoothing": number, "val": "a"}
    plan = Plan("tiny", "val/loss", "min", None, {}, None, "", None)
    sweeps._report(tmp_path, plan, trials, jobs=1)
    out = capsys.readouterr().out
    assert f"not ranked {reason} may name a metric" in out.splitlines()
    assert "best  " not in out
    assert [row["rank"] for row in table(tmp_path)] == ["", ""]
    assert not (tmp_path / "best").is_symlink()


OWN = """
import os, signal, time
import torch
from torch import nn
from trainkit import register_model
@register_model("moody")
class Moody(nn.Module):
    def __init__(self, in_features: int, num_classes: int, mood: str = "good"):
        super().__init__()
        self.last, self.mood, self.seen = nn.Linear(in_features, num_classes), mood, 0
    def forward(self, inputs):
        self.seen += self.training and len(inputs) > 3
        if self.seen > 4 and self.mood == "fails":
            raise ValueError("too much")
        if self.seen == 5 and self.mood == "stops":
            os.kill(os.getppid(), signal.SIGTERM)
            time.sleep(1)
        return self.last(inputs) * (float("nan") if self.seen > 4 and self.mood == "diverges" else 1)
"""


def test_all_who_tell_of_a_trial_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table, `trainkit runs` and the page: states, and times to a second."""
    Path("moods.py").write_text(OWN)
    Path("moods.yaml").write_text(CONFIG.replace("{name: mlp, hidden: [4]}", "moody") + "imports: [moods]\n")
    with pytest.raises(StoppedError):
        sweep(Path("moods.yaml"), ["model.mood=good,fails,diverges,stops,waits"], quiet=True)
    [directory] = Path("runs/tiny").iterdir()
    listed = reader.read_sweep(directory).trials
    states = [trial.status for trial in listed]
    assert states == ["finished", "failed", "diverged", "stopped", "waiting"]
    rows = sorted(table(directory), key=lambda row: row["trial"])
    assert [row["status"].partition(" ")[0] for row in rows] == states
    page = report_page.write(directory).path.read_text()
    for row, run in zip(rows, listed, strict=True):
        assert (row["seconds"] == "") == (run.seconds is None)
        assert row["seconds"] == "" or float(row["seconds"]) == pytest.approx(run.seconds, abs=0.1)
        time_of = "" if run.seconds is None else format_duration(run.seconds)
        cells = f'<td class="n">{time_of}</td><td>{run.status}'
        assert cells in page[page.index(f"<td>{row['trial']}</td>") :][:600]
    assert float(rows[0]["constant/val/accuracy"]) > 0
