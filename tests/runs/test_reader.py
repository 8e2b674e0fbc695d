"""The list of runs and the comparison of two: read from what real runs leave, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.command import bare
from tests.conftest import MakeExperiment
from trainkit.config import merging, yamlfile
from trainkit.config.yamlfile import Where
from trainkit.core.errors import BusyError, CheckpointError, DivergedError
from trainkit.experiment import grid
from trainkit.experiment.loading import parse
from trainkit.reports import comparing
from trainkit.runs import reader, run_directory
from trainkit.runs.reader import Run, Sweep
from trainkit.runs.run import resume, train
from trainkit.sweeps.study import Plan


def tell(run: Path, **news: object) -> None:
    """Change what stands in `run.json`."""
    metadata = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(metadata | news))


def make_sweep(make: MakeExperiment, directory: Path, axes: dict[str, list[Any]]) -> Path:
    """What a sweep leaves, its trials trained in this process."""
    base = make(train={"epochs": 1}).to_plain()
    base.pop("sweep")
    (directory / "trials").mkdir(parents=True)
    (directory / "logs").mkdir()
    digests = {"sweep.yaml": ""}
    for number, point in enumerate(grid.points_of(axes)):
        node = yamlfile.from_plain(base, Where("test"))
        values = {key: yamlfile.from_plain(value, Where("test")) for key, value in point.items()}
        experiment = parse(merging.assign(node, values), beside=None)
        digests[f"configs/{number:03d}.yaml"] = ""
        with suppress(DivergedError):
            train(experiment, run_dir=directory / f"trials/{number:03d}", quiet=True)
    (directory / "sweep.yaml").write_text(yamlfile.dump(base | {"sweep": {"axes": axes, "timeout_minutes": None}}))
    plan = Plan("tiny", "val/accuracy", "max", None, digests, None, "0.1.0", None)
    (directory / "sweep.json").write_text(json.dumps(asdict(plan)))
    return directory


@contextmanager
def owned(run: Path) -> Iterator[subprocess.Popen[str]]:
    """While another process is at work in a run directory."""
    code = "import sys; from pathlib import Path; from trainkit.runs import run_directory"
    code += "; run = run_directory.reopen(Path(sys.argv[1])); print('mine', flush=True); input()"
    command = [sys.executable, "-c", code, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "mine\n"
        yield process
        process.kill()


def test_the_table_says_how_runs_ended_and_in_what_they_differ(make: MakeExperiment) -> None:
    first = train(make(seed=1), quiet=True)
    second = train(make(seed=1, optimizer={"name": "sgd", "lr": 0.5}), quiet=True)
    for result, time in ((first, "10:00:00"), (second, "11:00:00")):
        tell(result.run_dir, started_at=f"2026-01-02T{time}+00:00", ended_at="2026-01-02T12:00:00+00:00")
    ended = bare.run(["runs"])
    assert (ended.code, ended.stderr, ended.imported_torch) == (0, "", False)
    head, *rows = ended.stdout.splitlines()
    assert head.split() == ["run", "status", "val", "test", "time", "began", "differs", "in"]
    assert [row.split()[0] for row in rows] == [str(first.run_dir), str(second.run_dir)]
    assert all(row.split()[1] == "finished" for row in rows)
    assert rows[0].endswith("optimizer=adam optimizer.lr=0.01")
    assert rows[1].endswith("optimizer=sgd optimizer.lr=0.5")
    assert f"accuracy {first.metrics['val/accuracy']:.2%}".replace("%", " %") in rows[0]
    assert f"accuracy {first.metrics['test/accuracy']:.2%}".replace("%", " %") in rows[0]
    assert "  2:00:00  " in rows[0]

    ended = bare.run(["runs", "runs/tiny", "--json"])
    assert not ended.imported_torch
    plain = json.loads(ended.stdout)
    assert [one["path"] for one in plain] == [str(first.run_dir), str(second.run_dir)]
    assert plain[0]["metrics"] == dict(first.metrics)
    assert (plain[0]["kind"], plain[0]["seconds"], plain[0]["began"]) == ("run", 7200, "2026-01-02T10:00:00+00:00")
    assert [one["differs"] for one in plain] == [
        {"optimizer": "adam", "optimizer.lr": 0.01}, {"optimizer": "sgd", "optimizer.lr": 0.5},
    ]  # fmt: skip


def test_the_runs_directory_may_be_elsewhere(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_RUNS_DIR", "elsewhere")
    assert bare.run(["runs"]).stdout == "no runs in elsewhere; trainkit train CONFIG makes one\n"
    assert bare.run(["runs", "--json"]).stdout == "[]\n"
    result = train(make(), quiet=True)
    assert bare.run(["runs"]).stdout.splitlines()[1].startswith(f"elsewhere/tiny/{result.run_dir.name}  finished")


def test_options_that_only_some_components_have_are_no_difference() -> None:
    def config(**optimizer: object) -> dict[str, Any]:
        return {"name": "a", "log": {"every": len(optimizer)}, "optimizer": optimizer, "seed": 1}

    one, two = config(name="sgd", lr=0.1, momentum=0.9), config(name="sgd", lr=0.2, momentum=0.9)
    other = config(name="adam", lr=0.1, eps=1e-8)
    assert comparing.differing([one, two]) == [{"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}]
    assert comparing.differing([one, other]) == [{"optimizer": "sgd"}, {"optimizer": "adam"}]
    assert comparing.differing([one, two, other]) == [
        {"optimizer": "sgd", "optimizer.lr": 0.1}, {"optimizer": "sgd", "optimizer.lr": 0.2},
        {"optimizer": "adam", "optimizer.lr": 0.1},
    ]  # fmt: skip
    assert comparing.differing([one, one]) == [{}, {}]
    foreign = {"name": "b", "seed": 2, "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}}
    assert comparing.differing([foreign, one, two]) == [{}, {"optimizer.lr": 0.1}, {"optimizer.lr": 0.2}]


def test_a_section_that_one_run_does_not_have_is_a_difference() -> None:
    configs = [{"train": {"ema": value}} for value in (None, {"decay": 0.9})]
    assert comparing.differing(configs) == [{"train.ema": None}, {"train.ema.decay": 0.9}]
    assert comparing.differing([{"data": {"normalize": "auto"}}, {"data": {"normalize": {"mean": 0.5}}}]) == [
        {"data.normalize": "auto"}, {"data.normalize.mean": 0.5},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"status": "finished"}', '{"status": 1, "started_at": 3}', "[" * 100_000]
)
def test_a_damaged_run_is_a_row_that_says_so(make: MakeExperiment, text: str) -> None:
    result = train(make(), quiet=True)
    bad = Path("runs/tiny/bad")
    bad.mkdir()
    (bad / "run.json").write_text(text)
    rows = comparing.table(reader.find(Path("runs")))
    assert rows[1].split(maxsplit=1) == ["runs/tiny/bad", "damaged (run.json: not what a run writes)"]
    assert "finished" in rows[2]
    with pytest.raises(CheckpointError, match=r"^runs/tiny/bad: damaged: run\.json: not what a run writes$"):
        comparing.diff(bad, result.run_dir)


def test_a_run_that_nobody_is_at_was_killed_and_a_living_one_is_left_alone(make: MakeExperiment) -> None:
    run = train(make(), quiet=True).run_dir
    tell(run, status="running", metrics=None, ended_at=None)
    assert reader.read_run(run).status == "killed"
    with owned(run) as process:
        for _ in range(3):
            assert reader.read_run(run).status == "running"
        with pytest.raises(BusyError, match=f"pid {process.pid}"):
            run_directory.reopen(run)
    assert reader.read_run(run).status == "killed"
    run_directory.reopen(run).close()
    (run / ".lock").unlink()
    assert reader.read_run(run).status == "killed"


def test_of_an_unfinished_run_the_best_so_far_is_told(make: MakeExperiment) -> None:
    result = train(make(checkpoint={"monitor": "val/loss"}), quiet=True)
    tell(result.run_dir, status="stopped", metrics=None)
    found = reader.read_run(result.run_dir)
    assert found.metrics == {"val/loss": result.metrics["val/loss"]}
    (result.run_dir / "metrics.jsonl").unlink()
    assert reader.read_run(result.run_dir).metrics == {}


def test_the_pause_before_a_resumption_is_no_time_it_took(make: MakeExperiment) -> None:
    result = train(make(), quiet=True)
    tell(result.run_dir, started_at="2020-01-01T00:00:00+00:00")
    assert (reader.read_run(result.run_dir).seconds or 0) > 1e8
    resume(result.run_dir, ["train.epochs=3"], quiet=True)
    assert 0 < (reader.read_run(result.run_dir).seconds or 0) < 60


def test_a_sweep_is_one_line_and_its_directory_lists_the_trials(make: MakeExperiment) -> None:
    sweep = make_sweep(make, Path("runs/tiny/a-sweep"), {"optimizer.lr": [0.01, 1e30], "seed": [0, 1]})
    [found] = reader.find(Path("runs"))
    assert isinstance(found, Sweep)
    assert found.status == "finished"
    assert [trial.status for trial in found.trials] == ["finished", "finished", "diverged", "diverged"]
    best = found.ranked[0]
    assert best.metrics["val/accuracy"] == max(trial.metrics.get("val/accuracy", 0) for trial in found.trials)
    lines = bare.run(["runs"]).stdout.splitlines()
    assert lines[1].startswith("runs/tiny/a-sweep  sweep, finished: 2 finished, 2 diverged  accuracy ")
    assert lines[1].endswith("  4 trials of optimizer.lr, seed")
    assert lines[2:] == ["", "The trials of a sweep: trainkit runs SWEEP"]
    [plain] = json.loads(bare.run(["runs", "--json"]).stdout)
    assert plain["kind"] == "sweep"
    assert plain["trials"] == {"finished": 2, "diverged": 2}
    assert plain["best"] == str(best.path)

    head, *rows = bare.run(["runs", str(sweep)]).stdout.splitlines()
    assert "test" not in head  # nobody should choose by it
    assert [row.split()[0] for row in rows] == [f"runs/tiny/a-sweep/trials/{number:03d}" for number in range(4)]
    assert rows[3].endswith("seed=1 optimizer.lr=1e+30")


def test_trials_that_never_began_or_failed_before_they_were_runs(make: MakeExperiment) -> None:
    sweep = make_sweep(make, Path("sweep"), {"seed": [0]})
    plan = json.loads((sweep / "sweep.json").read_text())
    plan["digests"] |= {"configs/001.yaml": "", "configs/002.yaml": ""}
    (sweep / "sweep.json").write_text(json.dumps(plan))
    (sweep / "logs/001.log").write_text("error: no\nerror: data: too few samples\n")
    (sweep / "trials/002").mkdir()
    found = reader.read_sweep(sweep)
    assert found.status == "unfinished"
    assert [comparing.outcome(trial) for trial in found.trials] == [
        "finished",
        "failed (data: too few samples)",
        "waiting",
    ]
    with owned(sweep):
        assert reader.read_sweep(sweep).status == "running"
    (sweep / "sweep.json").write_text("{}")
    assert comparing.outcome(reader.read_sweep(sweep)) == "damaged (sweep.json or sweep.yaml: not what a sweep writes)"


def test_what_cannot_be_printed_is_not() -> None:
    cell = comparing._columns([["a\x1b[31m\n", "b"]])
    assert cell == ["a\\x1b[31m\\n  b"]
    assert comparing.outcome(Run(Path("a"), "failed", "x" * 100)) == f"failed ({'x' * 60}…)"


DIFF = """A  one    finished
B  other  finished

config          A     B
  optimizer.lr  0.01  0.5

final metrics    A        B
  val/accuracy   50.00 %  0.2500000001
  test/loss      1        1
  test/accuracy  50.00 %  -

environment     A       B
  cpu.count     2       4
  git.commit    abc     -
  git           -       null

data   A    B
  val  123  456
"""


def test_two_runs_side_by_side(make: MakeExperiment) -> None:
    one, other = Path("one"), Path("other")
    train(make(), run_dir=one, quiet=True)
    train(make(optimizer={"lr": 0.5}), run_dir=other, quiet=True)
    common = {"python": "3.11", "command": "a"}
    tell(
        one, metrics={"val/accuracy": 0.5, "test/loss": 1.0, "test/accuracy": 0.5},
        environment=common | {"cpu": {"count": 2}, "git": {"commit": "abc"}}, data={"train": "9", "val": "123"},
    )  # fmt: skip
    tell(
        other, metrics={"val/accuracy": 0.25, "test/loss": 1.0}, data={"train": "9", "val": "456"},
        environment=common | {"cpu": {"count": 4}, "git": None, "command": "b"},
    )  # fmt: skip
    ended = bare.run(["runs", "diff", "one", "other"])
    assert (ended.code, ended.stderr, ended.imported_torch) == (0, "", False)
    shown = [line.split() for line in ended.stdout.splitlines()]
    assert shown == [line.replace("0.2500000001", "25.00 %").split() for line in DIFF.splitlines()]
    plain = json.loads(bare.run(["runs", "diff", "one", "other", "--json"]).stdout)
    assert plain["config"] == {"optimizer.lr": {"a": 0.01, "b": 0.5}}
    assert plain["metrics"]["test/accuracy"] == {"a": 0.5}
    assert plain["environment"]["git"] == {"b": None}
    assert plain["data"] == {"val": {"a": "123", "b": "456"}}
    assert plain["a"]["status"] == "finished"

    tell(other, metrics={"val/accuracy": 0.5000000001})
    assert "  val/accuracy   0.5      0.5000000001" in comparing.diff(one, other).lines()


def test_no_difference(make: MakeExperiment) -> None:
    for name in ("one", "other"):
        train(make(), run_dir=Path(name), quiet=True)
    said = bare.run(["runs", "diff", "one", "other"]).stdout.splitlines()
    assert said[3::2] == [
        "config: no difference", "final metrics: no difference", "environment: no difference", "data: no difference",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        ("runs nowhere", 4, "error: nowhere: no such directory"),
        ("runs on", 4, "error: on: no such directory; did you mean one?"),
        ("runs one other", 2, "error: command line: one directory, got two; 'other' is not needed"),
        ("runs diff one", 2, "error: command line: diff compares two runs, got 1; usage: trainkit runs diff A B"),
        ("runs diff one on", 4, "error: on: no such file or run; did you mean one?"),
        ("runs diff one sweep", 4, "error: sweep: is a sweep; name one of its trials, such as sweep/trials/000"),
        ("runs diff one broken", 2, "error: broken/config.yaml: no such file"),
    ],
)
def test_errors(make: MakeExperiment, words: str, code: int, error: str) -> None:
    train(make(train={"epochs": 1}), run_dir=Path("one"), quiet=True)
    Path("sweep").mkdir()
    Path("sweep/sweep.yaml").touch()
    Path("broken").mkdir()
    Path("broken/run.json").write_text(Path("one/run.json").read_text())
    ended = bare.run(words.split())
    assert (ended.code, ended.stdout) == (code, "")
    assert ended.stderr.splitlines() == [error]
