"""A stopped run goes on as if nothing had happened, or says why it cannot."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import MakeExperiment, equal, records, weights
from tests.runs.conftest import FULL, stop_at, stopped
from trainkit.core.device import Precision
from trainkit.core.errors import (
    BusyError,
    CheckpointError,
    ConfigError,
    DataError,
    TrainkitError,
)
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train


# The first and the last step of an epoch of 3 steps (8 batches in groups of 3), the middle, later epochs.
@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 8])
def test_stop_and_resume_equals_no_stop(make: MakeExperiment, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make(**FULL)
    whole = train(experiment, run_dir=Path("whole"))
    stopped(experiment, step, Path("parts"), monkeypatch)
    metadata = json.loads(Path("parts/run.json").read_text())
    assert (metadata["status"], metadata["step"]) == ("stopped", step)
    moved = Path("parts").rename("moved")
    again = resume(moved)
    assert records(again.run_dir) == records(whole.run_dir)
    for name in ("last.pt", "best.pt"):
        one, other = (checkpoint.load(path / "checkpoints" / name) for path in (again.run_dir, whole.run_dir))
        assert equal(one["model"], other["model"])
        assert equal(one["ema"], other["ema"])
        assert one["optimizer"]["state"].keys() == other["optimizer"]["state"].keys()
        for key, state in one["optimizer"]["state"].items():
            assert equal(state, other["optimizer"]["state"][key])
        assert one["progress"] == other["progress"]
    assert again.metrics == whole.metrics


@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": {"name": name}} for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta")),
        {"train": {"epochs": 2, "precision": "bf16"}},
        {"train": {"epochs": 2, "precision": "fp16"}},
        {"loader": {"batch_size": 16, "num_workers": 1}},
        {"loader": {"batch_size": 16, "sampler": "balanced"}},
        {"scheduler": {"name": "plateau", "patience": 0, "warmup_steps": 3}, "train": {"epochs": 2, "eval_every": 3}},
        {"train": {"epochs": 6, "early_stopping": {"patience": 1}}, "optimizer": {"name": "sgd", "lr": 1e-20}},
    ],
    ids=str,
)
def test_every_kind_of_state_is_restored(
    make: MakeExperiment, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = {"lr": 0.01, **({"momentum": 0.9} if changes.get("optimizer", {}).get("name") == "sgd" else {})}
    changes = {**changes, "optimizer": {"name": "adam", **optimizer, **changes.get("optimizer", {})}}
    experiment = make(**changes, data={"shape": [3, 8, 8]}, model={"name": "cnn", "channels": [8, 8], "norm": "batch"})
    whole = train(experiment, run_dir=Path("whole"))
    stopped(experiment, 13, Path("parts"), monkeypatch)
    resume(Path("parts"))
    assert records(Path("parts")) == records(whole.run_dir)
    assert equal(weights(Path("parts/checkpoints/last.pt")), weights(Path("whole/checkpoints/last.pt")))


def test_several_stops_in_one_epoch(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make(train={"epochs": 1}, loader={"num_workers": 0})
    whole = train(experiment, run_dir=Path("whole"))
    stopped(experiment, 2, Path("parts"), monkeypatch)
    for step in (3, 5, 7):
        with monkeypatch.context() as patch:
            stop_at(step, signal.SIGINT, patch)
            with pytest.raises(TrainkitError) as error:
                resume(Path("parts"))
        assert error.value.exit_code == 130
    resume(Path("parts"))
    assert records(Path("parts")) == records(whole.run_dir)
    assert equal(weights(Path("parts/checkpoints/last.pt")), weights(Path("whole/checkpoints/last.pt")))


def test_a_stop_during_evaluation_counts_nothing_half(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make(loader={"eval_batch_size": 8})
    train(experiment, run_dir=Path("whole"))
    from trainkit.training.metrics import Mean

    original = Mean.update

    def update(self: Mean, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Mean, "update", update)
        with pytest.raises(TrainkitError):
            train(experiment, run_dir=Path("parts"))
    assert not any(record["kind"] == "eval" for record in records(Path("parts")))
    resume(Path("parts"))
    assert records(Path("parts")) == records(Path("whole"))


def test_more_epochs_equal_one_long_run(make: MakeExperiment) -> None:
    train(make(train={"epochs": 5}), run_dir=Path("long"))
    train(make(train={"epochs": 3}), run_dir=Path("short"))
    resume(Path("short"), ["train.epochs=5"])
    assert equal(weights(Path("short/checkpoints/last.pt")), weights(Path("long/checkpoints/last.pt")))
    assert "epochs: 5" in Path("short/config.yaml").read_text()


def test_a_finished_run_says_so(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    first = train(make(train={"epochs": 1}))
    before = (first.run_dir / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    again = resume(first.run_dir)
    assert "already complete" in capsys.readouterr().out
    assert again.metrics == first.metrics
    assert (first.run_dir / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lr=1", "command line: optimizer.lr differs (stored 0.01, given 1); start a new run"),
        ("seed=1", "command line: seed differs (stored 42, given 1); start a new run"),
    ],
)
def test_resume_refuses_another_experiment(make: MakeExperiment, override: str, message: str) -> None:
    directory = train(make(train={"epochs": 1})).run_dir
    with pytest.raises(ConfigError) as error:
        resume(directory, [override])
    assert error.value.problems == (message,)


def test_a_curve_over_the_whole_run_cannot_be_extended(make: MakeExperiment) -> None:
    directory = train(make(train={"epochs": 1}, scheduler={"name": "cosine"})).run_dir
    with pytest.raises(ConfigError, match=r"train\.epochs: the whole curve of this scheduler depends on it"):
        resume(directory, ["train.epochs=2"])


def test_evaluations_over_the_whole_run_cannot_be_extended(make: MakeExperiment) -> None:
    directory = train(make(train={"epochs": 1, "eval_every": "2 times"})).run_dir
    with pytest.raises(ConfigError, match=r"train\.epochs: evaluations \(2 times\) would be at other steps"):
        resume(directory, ["train.epochs=2"])


def test_nothing_to_resume() -> None:
    with pytest.raises(CheckpointError, match="no run here"):
        resume(Path("nowhere"))
    Path("empty/checkpoints").mkdir(parents=True)
    Path("empty/run.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint yet; start anew: trainkit train empty/config\.yaml"):
        resume(Path("empty"))


def test_a_copied_checkpoint_is_no_run_and_nothing_beside_it_is_touched(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    Path("home/Downloads").mkdir(parents=True)
    Path("home/.tmp-precious").write_text("mine")
    Path("home/Downloads/best.pt").write_bytes(result.checkpoint.read_bytes())
    with pytest.raises(CheckpointError, match=r"home/Downloads/best\.pt: no run here"):
        resume(Path("home/Downloads/best.pt"))
    assert sorted(path.name for path in Path("home").iterdir()) == [".tmp-precious", "Downloads"]


def test_a_damaged_checkpoint_names_one_that_is_whole(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make(train={"epochs": 2})
    whole = train(experiment, run_dir=Path("whole"))
    stopped(experiment, 13, Path("parts"), monkeypatch)
    last, best = Path("parts/checkpoints/last.pt"), Path("parts/checkpoints/best.pt")
    last.write_bytes(last.read_bytes()[:-2000])
    with pytest.raises(CheckpointError) as error:
        resume(Path("parts"))
    [problem] = error.value.problems
    assert problem == f"{last}: truncated or damaged; best.pt, of step 8, is whole: trainkit train --resume {best}"
    resume(best)
    assert records(Path("parts")) == records(whole.run_dir)
    assert equal(weights(last), weights(whole.run_dir / "checkpoints/last.pt"))


@pytest.mark.parametrize(
    ("changes", "override", "message"),
    [
        ({}, "train.epochs=1", "the run is at step 16 already, and would end at step 8"),
        ({"train": {"epochs": 2, "max_steps": 11}}, "train.epochs=9", "adds nothing: the run ends at step 11"),
        (
            {"train": {"epochs": 9, "early_stopping": {"patience": 1}}, "optimizer": {"name": "sgd", "lr": 1e-20}},
            "train.epochs=20",
            "the run stopped early at step 16, and would do so again",
        ),
        (
            {"train": {"epochs": 2, "eval_every": 7}, "scheduler": {"name": "plateau"}},
            "train.epochs=4",
            "the evaluation at the old end would not have been there in a longer run",
        ),
    ],
)
def test_an_extension_that_would_not_be_one_is_refused(
    make: MakeExperiment, changes: dict[str, Any], override: str, message: str
) -> None:
    directory = train(make(**changes)).run_dir
    before = (directory / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=message):
        resume(directory, [override])
    assert (directory / "config.yaml").read_text() == before


def test_sigterm_to_the_whole_group_saves_even_with_workers() -> None:
    import subprocess
    import sys
    import time

    command = (
        "from trainkit import ExperimentConfig, train; from pathlib import Path\n"
        "train(ExperimentConfig.from_plain({'data': 'synthetic', 'model': 'mlp', 'train': {'epochs': 100000},"
        " 'loader': {'num_workers': 1}, 'log': {'tensorboard': False}}), run_dir=Path('run'))"
    )
    with subprocess.Popen([sys.executable, "-c", command], start_new_session=True, stderr=subprocess.PIPE) as process:
        while not Path("run/checkpoints/last.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=60)
    metadata = json.loads(Path("run/run.json").read_text())
    assert (metadata["status"], metadata["exit_code"]) == ("stopped", 143)


def test_resume_refuses_other_data(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(make(), 3, Path("parts"), monkeypatch)
    from trainkit.data.sources.synthetic import SyntheticConfig

    original = SyntheticConfig.build
    monkeypatch.setattr(SyntheticConfig, "build", lambda self, seed: original(self, seed + 1))
    with pytest.raises(DataError, match="the run was trained on other data: train, val, test differs"):
        resume(Path("parts"))


def test_one_owner(make: MakeExperiment) -> None:
    directory = train(make(train={"epochs": 1})).run_dir
    # A lock belongs to a process: another one must try.
    import subprocess
    import sys

    holder = (
        "import sys, time; from pathlib import Path; from trainkit.runs import run_directory\n"
        "owned = run_directory.reopen(Path(sys.argv[1])); print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", holder, directory], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BusyError, match=rf"run directory busy: pid {other.pid} on "):
            resume(directory)
        other.kill()
    resume(directory)  # the kernel has freed the lock


def test_a_run_ends_in_time_and_goes_on(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = make(train={"epochs": 2, "max_minutes": 1e-9}, scheduler="cosine")
    whole = train(make(scheduler="cosine"), run_dir=Path("whole"))
    train(experiment, run_dir=Path("parts"))
    metadata = json.loads(Path("parts/run.json").read_text())
    assert (metadata["status"], metadata["reason"], metadata["exit_code"]) == (
        "finished",
        "train.max_minutes is over",
        0,
    )
    assert "go on      trainkit train --resume parts" in capsys.readouterr().out.splitlines()
    resume(Path("parts"), ["train.max_minutes=100"])
    assert json.loads(Path("parts/run.json").read_text())["reason"] is None
    assert equal(weights(Path("parts/checkpoints/last.pt")), weights(whole.run_dir / "checkpoints/last.pt"))


@pytest.mark.parametrize("monitor", ["val/loss", "val/accuracy"])
def test_a_run_that_ends_in_time_is_the_one_that_was_never_stopped(make: MakeExperiment, monitor: str) -> None:
    """Out of time after every step: each time it is evaluated for whoever looks, and goes on as if it had not been."""
    plan: dict[str, Any] = {
        "scheduler": {"name": "plateau", "patience": 0, "factor": 0.5}, "checkpoint": {"monitor": monitor},
        "optimizer": {"name": "adam", "lr": 0.1},
    }  # fmt: skip
    often = {"epochs": 3, "eval_every": 5, "early_stopping": {"patience": 2}}
    train(make(**plan, train=often), run_dir=Path("whole"), quiet=True)
    train(make(**plan, train={**often, "max_minutes": 1e-9}), run_dir=Path("parts"), quiet=True)
    assert Path("parts/checkpoints/best.pt").exists()
    assert records(Path("parts"))[-2]["split"] == "val"
    while json.loads(Path("parts/run.json").read_text())["reason"]:
        resume(Path("parts"), quiet=True)
    assert records(Path("parts")) == records(Path("whole"))
    for name in ("last.pt", "best.pt"):
        part, whole = (checkpoint.load(Path(run, "checkpoints", name)) for run in ("parts", "whole"))
        assert equal(part["model"], whole["model"])
        assert part["progress"] == whole["progress"]
        assert part["scheduler"] == whole["scheduler"]
    assert not Path("parts/checkpoints/earlier-best.pt").exists()
    parts, whole = (json.loads(Path(run, "run.json").read_text()) for run in ("parts", "whole"))
    assert parts["metrics"] == whole["metrics"]


def test_random_numbers_of_foreign_code_go_on_where_they_were(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss of the user's that draws from the global generators of Python and NumPy."""
    backward = Precision.backward

    def noisy(precision: Precision, loss: torch.Tensor) -> None:
        backward(precision, loss * (random.random() + float(np.random.rand())))

    monkeypatch.setattr(Precision, "backward", noisy)
    whole = train(make(train={"epochs": 2}), run_dir=Path("whole"))
    train(make(train={"epochs": 1}), run_dir=Path("parts"))
    random.seed(1)
    np.random.seed(1)
    resume(Path("parts"), ["train.epochs=2"])
    assert equal(weights(Path("parts/checkpoints/last.pt")), weights(whole.run_dir / "checkpoints/last.pt"))
