"""Whole runs: what they leave, that they repeat, and that a stopped one goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment, equal, records, weights
from trainkit import register_model
from trainkit.config import registry
from trainkit.core.device import Precision
from trainkit.core.errors import (
    BusyError,
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    StorageError,
    TrainkitError,
)
from trainkit.data import Batch, TargetSpec
from trainkit.data.workers import worker_failures
from trainkit.experiment import building, loading
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.training import loop
from trainkit.training.loop import StepOutput
from trainkit.training.losses import CrossEntropyConfig, LossFn, LossOutput

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


def test_a_run_leaves_what_a_user_needs(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    result = train(make(log={"tensorboard": True}))
    directory = result.run_dir
    assert directory.parent == Path("runs/tiny")
    assert {path.name for path in directory.iterdir()} == {
        ".lock", "checkpoints", "config.yaml", "metrics.jsonl", "run.json", "split.json", "tb", "train.log",
    }  # fmt: skip
    assert {path.name for path in (directory / "checkpoints").iterdir()} == {"last.pt", "best.pt"}
    metadata = json.loads((directory / "run.json").read_text())
    assert metadata["status"] == "finished"
    assert metadata["exit_code"] == 0
    assert metadata["metrics"] == result.metrics
    assert set(result.metrics) == {"val/accuracy", "test/loss", "test/accuracy"}
    out, err = capsys.readouterr()
    assert f"evaluate   trainkit eval --ckpt {result.checkpoint}" in out
    assert "tiny" in err.splitlines()[0]
    assert "\r" not in err
    assert "\x1b" not in err
    log = (directory / "train.log").read_text()
    assert all(line in log for line in (out + err).splitlines())


def test_the_records_add_up(make: MakeExperiment) -> None:
    directory = train(make()).run_dir
    train_records = [record for record in records(directory) if record["kind"] == "train"]
    # every 3 steps and at the end of each epoch of 8
    assert [record["step"] for record in train_records] == [3, 6, 8, 9, 12, 15, 16]
    epochs = [record for record in records(directory) if record["kind"] == "epoch"]
    first = [record for record in train_records if record["step"] <= 8]
    samples = [48, 48, 32]
    mean = sum(record["loss"] * count for record, count in zip(first, samples, strict=True)) / 128
    assert epochs[0]["loss"] == pytest.approx(mean, rel=1e-6)
    evaluated = [(record["split"], record["step"]) for record in records(directory) if record["kind"] == "eval"]
    assert evaluated[:2] == [("val", 8), ("val", 16)]
    assert [split for split, _ in evaluated].count("test") == 1
    assert all(torch.isfinite(torch.tensor(record["grad_norm"])) for record in train_records)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(make: MakeExperiment) -> None:
    one, two, other = train(make()), train(make()), train(make(seed=7))
    assert records(one.run_dir) == records(two.run_dir)
    assert equal(weights(one.checkpoint), weights(two.checkpoint))
    assert not equal(weights(one.checkpoint), weights(other.checkpoint))


def test_how_often_a_run_logs_saves_and_evaluates_does_not_change_it(make: MakeExperiment) -> None:
    quiet = train(make(log={"every": 1000}, checkpoint={"monitor": "val/loss"}))
    chatty = train(
        make(log={"every": 1}, checkpoint={"every": 1}, train={"eval_every": 3}, loader={"eval_batch_size": 7})
    )
    last = [weights(result.run_dir / "checkpoints/last.pt") for result in (quiet, chatty)]
    assert equal(*last)
    losses = [
        [record["loss"] for record in records(result.run_dir) if record["kind"] == "epoch"]
        for result in (quiet, chatty)
    ]
    assert losses[0] == losses[1]


def test_the_resolved_config_repeats_the_run(make: MakeExperiment) -> None:
    first = train(make())
    again = train(loading.load(first.run_dir / "config.yaml"))
    assert records(first.run_dir) == records(again.run_dir)
    assert (first.run_dir / "config.yaml").read_text().splitlines()[1:] == (
        again.run_dir / "config.yaml"
    ).read_text().splitlines()[1:]


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


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"min_steps": 20, "eval_every": "3 times"}, [7, 14, 20]),
        ({"min_steps": 5, "eval_every": "2 times"}, [4, 8]),
        ({"min_steps": 20, "max_steps": 10, "eval_every": "100 times"}, [*range(1, 11)]),
        ({"eval_every": "1 time"}, [8]),
    ],
)
def test_at_least_so_many_steps_and_evaluations_over_the_whole_run(
    make: MakeExperiment, options: dict[str, Any], steps: list[int]
) -> None:
    directory = train(make(train={"epochs": 1, **options})).run_dir  # 8 steps an epoch
    evaluated = [one for one in records(directory) if one["kind"] == "eval" and one["split"] == "val"]
    assert [one["step"] for one in evaluated] == steps


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


def test_weights_that_are_not_finite(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 2, "max_steps": 3}))
    last = result.run_dir / "checkpoints/last.pt"
    payload = torch.load(last, weights_only=True)
    first = next(iter(payload["model"]))
    payload["model"][first].view(-1)[0] = torch.nan
    torch.save(payload, last)
    with pytest.raises(CheckpointError, match=f"{first} holds NaN or infinite values; a run cannot go on from there"):
        resume(result.run_dir, ["train.max_steps=5"])
    assert evaluate_checkpoint(last, "val").notes == [f"{first} holds NaN or infinite values"]


def test_a_disk_without_room_is_said_before_anything_is_written(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StorageError) as error:
        train(make(), run_dir=Path("full"))
    assert "disk full: a checkpoint needs" in str(error.value)
    assert str(error.value).endswith("after step 8; nothing was saved yet")
    assert list(Path("full/checkpoints").iterdir()) == []
    assert json.loads(Path("full/run.json").read_text())["exit_code"] == 5


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


def test_improvements_too_small_for_min_delta_add_up(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([1.0, 0.992, 0.984, 0.976, 0.968, 0.96, 0.952, 0.944] + [0.944] * 9)
    monkeypatch.setattr(loop, "evaluate", lambda *_: {"loss": next(values), "accuracy": 0.0})
    stopping = {"patience": 3, "min_delta": 0.01}
    result = train(make(checkpoint={"monitor": "val/loss"}, train={"epochs": 17, "early_stopping": stopping}))
    evaluated = [r["loss"] for r in records(result.run_dir) if r["kind"] == "eval" and r["split"] == "val"]
    assert len(evaluated) == 10


def test_a_name_can_be_recorded_only_once(make: MakeExperiment) -> None:
    with pytest.raises(ConfigError, match="metrics: 'accuracy' is recorded already"):
        train(make(metrics=["accuracy", "accuracy"]))


def test_run_json_is_json_even_when_a_number_is_not(make: MakeExperiment) -> None:
    result = train(make(**NUMBERS | {"data": {**NUMBERS["data"], "val": 0, "test_samples": 1}}, metrics=["r2"]))
    metadata = (result.run_dir / "run.json").read_text()
    assert "NaN" not in metadata
    assert json.loads(metadata)["metrics"]["test/r2"] is None


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


def test_divergence_ends_the_run_and_names_the_last_good_checkpoint(make: MakeExperiment) -> None:
    with pytest.raises(DivergedError) as error:
        train(make(optimizer={"name": "sgd", "lr": 1e30}), run_dir=Path("bad"))
    assert str(error.value).startswith(
        "bad: the loss is not finite at step 2 (epoch 1, learning rate 1e+30, gradient norm "
    )
    assert "nothing was saved yet; start a new run with a lower rate, such as optimizer.lr=0.01" in str(error.value)
    assert not list(Path("bad/checkpoints").iterdir())
    assert json.loads(Path("bad/run.json").read_text())["status"] == "diverged"


def test_no_bad_state_is_ever_saved(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(parts: Any, plan: Any, progress: Any, **keywords: Any) -> None:
        loss_fn = parts.loss_fn

        def poisoned(model: Any, batch: Any) -> Any:
            outcome = loss_fn(model, batch)
            return outcome._replace(loss=outcome.loss * float("nan")) if progress.step == 10 else outcome

        object.__setattr__(parts, "loss_fn", poisoned)
        loop.fit(parts, plan, progress, **keywords)

    monkeypatch.setattr("trainkit.runs.run.fit", fit)
    with pytest.raises(DivergedError, match=r"at step 11 .* last good: step 10 in bad/checkpoints/last\.pt"):
        train(make(checkpoint={"every": 1}, log={"every": 1000}), run_dir=Path("bad"))
    last = checkpoint.load(Path("bad/checkpoints/last.pt"))
    assert last["progress"]["step"] == 10
    assert all(torch.isfinite(tensor).all() for tensor in last["model"].values())


def test_a_val_loss_that_is_no_number_is_divergence(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    far = make(model={"name": "mlp", "hidden": [8]}, optimizer={"name": "sgd", "lr": 1e30}, train={"max_steps": 1})
    with pytest.raises(DivergedError) as error:
        train(far, run_dir=Path("far"))
    assert str(error.value) == (
        "far: val/loss is nan after step 1 (epoch 0.125, learning rate 1e+30); nothing was saved yet; "
        "start a new run with a lower rate, such as optimizer.lr=0.01, or look for NaN in the val data"
    )
    assert not list(Path("far/checkpoints").iterdir())
    values = iter([1.0, float("inf")])
    monkeypatch.setattr(loop, "evaluate", lambda *_: {"loss": next(values), "accuracy": 1.0})
    with pytest.raises(DivergedError, match=r"val/loss is inf after step 16 .*last good: step 8 in bad/"):
        train(make(), run_dir=Path("bad"))
    assert checkpoint.load(Path("bad/checkpoints/best.pt"))["progress"]["step"] == 8
    assert [one["best"] for one in records(Path("bad")) if one["kind"] == "eval"] == [True, False]


def test_without_val_the_test_loss_tells(make: MakeExperiment) -> None:
    model, optimizer = {"name": "mlp", "hidden": [8]}, {"name": "sgd", "lr": 1e30}
    with pytest.raises(DivergedError, match=r"test/loss is nan after step 1; no checkpoint is good"):
        train(make(model=model, optimizer=optimizer, data={"val": 0}, train={"max_steps": 1}))


def test_weights_that_are_no_numbers_are_not_saved(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    original, count = Precision.update, 0

    def update(self: Precision, optimizer: Any, parameters: Any, *rest: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        made = original(self, optimizer, parameters, *rest, **options)
        if count == 3:
            parameters[0].data[0] = torch.inf
        return made

    monkeypatch.setattr(Precision, "update", update)
    with pytest.raises(DivergedError, match=r"weight holds NaN or infinite values after step 3; last good: step 2 "):
        train(make(data={"val": 0}, checkpoint={"every": 1}), run_dir=Path("bad"))


NUMBERS: dict[str, Any] = {
    "data": {"name": "synthetic", "shape": [3], "target": "regression", "samples": 65, "val": 1, "test_samples": 8},
    "model": {"name": "mlp", "hidden": [4]},
}


def test_a_metric_that_is_no_number_counts_for_nothing(
    make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    """R² of a single sample: 0 divided by 0."""
    experiment = make(
        **NUMBERS, metrics=["r2", "mae"], scheduler={"name": "plateau", "patience": 0},
        train={"epochs": 5, "early_stopping": {"patience": 1}}, optimizer={"name": "adam", "lr": 0.01},
    )  # fmt: skip
    result = train(experiment, run_dir=Path("run"))
    told = records(Path("run"))
    assert [one["best"] for one in told if one["kind"] == "eval" and one["split"] == "val"] == [False] * 5
    assert {one["lr"] for one in told if one["kind"] == "train"} == {0.01}
    out, err = capsys.readouterr()
    assert err.count("warning: val/r2 is nan at step 4; a value that is no number counts for nothing (is the") == 1
    assert err.count("val/r2 is nan at") == 1
    assert "(last.pt of step 20, since val/r2 never was a number; " in out
    assert result.checkpoint == Path("run/checkpoints/last.pt")


def poisoned(*steps: int) -> Callable[..., Any]:
    """An update that finds NaN among the gradients of these steps."""
    original, count = Precision.update, 0

    def update(self: Precision, optimizer: Any, parameters: Any, *rest: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count in steps:
            parameters[0].grad.fill_(torch.nan)
        return original(self, optimizer, parameters, *rest, **options)

    return update


def test_steps_that_are_not_finite_may_be_left_out(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "update", poisoned(3, 8))
        result = train(make(train={"epochs": 2, "on_nonfinite": "skip"}, checkpoint={"every": 1}))
    err = capsys.readouterr().err
    assert "warning: the loss or a gradient is not finite: step 8 is skipped, 2 in all" in err
    stored = checkpoint.load(result.run_dir / "checkpoints/last.pt")
    assert (stored["progress"]["step"], stored["progress"]["skipped"]) == (16, 2)
    assert all(bool(value.isfinite().all()) for value in stored["model"].values())
    # the optimizer has not seen the steps that were skipped
    assert {int(state["step"]) for state in stored["optimizer"]["state"].values()} == {14}
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "update", poisoned(*range(2, 9)))
        with pytest.raises(DivergedError, match=r"step 5 is skipped, 4 in all, more than train\.max_skipped"):
            train(make(train={"epochs": 1, "on_nonfinite": "skip", "max_skipped": 3}))


def test_a_run_that_has_left_out_most_of_its_steps_is_no_success(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip = {"epochs": 2, "on_nonfinite": "skip", "max_skipped": 1000}
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "update", poisoned(*range(2, 11)))
        with pytest.raises(DivergedError, match=r"not finite in 9 of 16 steps, which were skipped; last good: step 16"):
            train(make(train=skip), run_dir=Path("most"))
    assert json.loads(Path("most/run.json").read_text())["exit_code"] == 7
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "update", poisoned(*range(2, 10)))
        train(make(train=skip))


def test_fp16_leaves_out_a_loss_that_is_not_finite(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(parts: Any, plan: Any, progress: Any, **keywords: Any) -> None:
        loss_fn = parts.loss_fn

        def sometimes(model: Any, batch: Any) -> Any:
            outcome = loss_fn(model, batch)
            return (
                outcome._replace(loss=outcome.loss * torch.nan)
                if model.training and progress.step in (2, 9)
                else outcome
            )

        loop.fit(replace(parts, loss_fn=sometimes), plan, progress, **keywords)

    monkeypatch.setattr("trainkit.runs.run.fit", fit)
    result = train(make(train={"epochs": 2, "precision": "fp16", "on_nonfinite": "skip"}, log={"every": 1}))
    stored = checkpoint.load(result.run_dir / "checkpoints/last.pt")
    assert (stored["progress"]["step"], stored["progress"]["skipped"]) == (16, 2)
    assert stored["scaler"]["scale"] == 2**16  # which is not to blame
    assert {int(state["step"]) for state in stored["optimizer"]["state"].values()} == {14}


def test_early_stopping(make: MakeExperiment) -> None:
    experiment = make(
        train={"epochs": 50, "early_stopping": {"patience": 2}}, checkpoint={"monitor": "val/loss"},
        optimizer={"name": "sgd", "lr": 1e-20},
    )  # fmt: skip
    result = train(experiment)
    evaluated = [record for record in records(result.run_dir) if record["kind"] == "eval" and record["split"] == "val"]
    assert len(evaluated) == 3  # the first, and two that are no better


def test_without_val_the_last_checkpoint_counts(make: MakeExperiment) -> None:
    result = train(make(data={"val": 0}))
    assert result.checkpoint.name == "last.pt"
    assert not (result.run_dir / "checkpoints/best.pt").exists()
    assert set(result.metrics) == {"test/loss", "test/accuracy"}


def test_max_steps_ends_in_the_middle_of_an_epoch(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 2, "max_steps": 11}))
    assert checkpoint.load(result.run_dir / "checkpoints/last.pt")["progress"]["step"] == 11
    val = [
        record["step"] for record in records(result.run_dir) if record["kind"] == "eval" and record["split"] == "val"
    ]
    assert val == [8, 11]


def test_a_quick_try_uses_so_many_batches_of_everything(
    make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(make(train={"epochs": 2, "limit_batches": 3}, loader={"batch_size": 16, "eval_batch_size": 8}))
    assert [record["step"] for record in records(result.run_dir) if record["kind"] == "epoch"] == [3, 6]
    assert "train.limit_batches: only 3 batches an epoch; the results mean little" in capsys.readouterr().err
    # 24 of 32 samples: a whole number of 24ths
    assert result.metrics["test/accuracy"] * 24 == pytest.approx(round(result.metrics["test/accuracy"] * 24))


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


class Drawing(nn.Module):
    """A model that draws from the generators of Python and NumPy, in training and in evaluation."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.last = nn.Linear(in_features, num_outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.last(inputs.flatten(1))
        return outputs * (random.random() + float(np.random.rand()))


def test_looking_at_a_model_that_draws_does_not_change_it(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    register_model("drawing")(Drawing)
    looks: list[dict[str, Any]] = [
        {},
        {"train": {"epochs": 2, "eval_every": 3}},
        {"loader": {"batch_size": 16, "eval_batch_size": 5}},
        {"log": {"every": 3, "tensorboard": True, "graph": True, "histograms": True}},
        {"data": {"test_samples": 8}},
    ]
    states = []
    for number, change in enumerate(looks):
        random.seed(number)
        np.random.seed(number)
        run = train(make(model={"name": "drawing"}, **change), quiet=True).run_dir
        states.append(weights(run / "checkpoints/last.pt"))
    assert all(equal(state, states[0]) for state in states[1:])


def test_a_model_that_draws_in_evaluation_is_evaluated_as_training_logged(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    register_model("drawing")(Drawing)
    result = train(make(model={"name": "drawing"}), quiet=True)
    logged = [record for record in records(result.run_dir) if record["kind"] == "eval" and record["best"]][-1]
    assert evaluate_checkpoint(result.checkpoint, "val").metrics["loss"] == logged["loss"]
    assert evaluate_checkpoint(result.checkpoint).metrics["loss"] == result.metrics["test/loss"]


def test_an_evaluation_at_the_end_of_the_time_ends_no_patience(
    make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = {"epochs": 2, "max_minutes": 1e-9, "early_stopping": {"patience": 1, "min_delta": 100.0}, "eval_every": 8}
    train(make(train=patient, checkpoint={"monitor": "val/loss"}), run_dir=Path("run"), quiet=True)
    for _ in range(8):  # the first of its own evaluations improves on nothing; the next is one of the clock's
        resume(Path("run"), quiet=True)
    said = capsys.readouterr().out
    assert "train.max_minutes is over at step 9 of 16" in said
    assert "stopped early" not in said
    assert said.splitlines()[-1] == "go on      trainkit train --resume run"


def test_a_rhythm_in_minutes_saves_and_changes_nothing_else(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(make(checkpoint={"every": "10 minutes"}), run_dir=Path("whole"))
    log = (whole.run_dir / "train.log").read_text()
    assert "at step 7" not in log
    monkeypatch.setattr("trainkit.runs.run.seconds_of", lambda every: {"10 minutes": 0.0}[every])
    often = train(make(checkpoint={"every": "10 minutes"}), run_dir=Path("often"))
    assert (often.run_dir / "train.log").read_text().count("saved ") == 16
    assert records(often.run_dir) == records(whole.run_dir)


def test_a_history_of_checkpoints(make: MakeExperiment) -> None:
    result = train(make(checkpoint={"every": 3, "keep": 3}))
    found = sorted(path.name for path in (result.run_dir / "checkpoints").iterdir())
    assert found == ["best.pt", "last.pt", "step-12.pt", "step-15.pt", "step-16.pt"]
    resume(result.run_dir, ["train.epochs=3", "checkpoint.keep=2"])
    found = sorted(path.name for path in (result.run_dir / "checkpoints").iterdir())
    assert found == ["best.pt", "last.pt", "step-21.pt", "step-24.pt"]
    assert checkpoint.load(result.run_dir / "checkpoints/step-21.pt")["progress"]["step"] == 21


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


def test_averaged_weights_are_what_is_evaluated(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 2, "ema": 0.5}))
    stored = torch.load(result.checkpoint, weights_only=True)
    assert not equal(stored["ema"], stored["model"])
    metrics = evaluate_checkpoint(result.checkpoint, "val").metrics
    [best] = [r for r in records(result.run_dir) if r["kind"] == "eval" and r["split"] == "val" and r["best"]][-1:]
    assert metrics == {name: best[name] for name in ("loss", "accuracy")}
    # Averaging changes what is measured, not how the weights move.
    plain = train(make(train={"epochs": 2}))
    last = [weights(one.run_dir / "checkpoints/last.pt") for one in (result, plain)]
    assert equal(*last)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_has_the_same_checkpoint(make: MakeExperiment) -> None:
    options: dict[str, Any] = {"model": {"name": "mlp", "hidden": [8]}, "train": {"epochs": 1, "compile": False}}
    plain = train(make(**options))
    options["train"]["compile"] = True
    compiled = train(make(**options))
    one, other = (weights(result.checkpoint) for result in (plain, compiled))
    assert one.keys() == other.keys()
    assert all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)


def test_deterministic_operations_are_asked_for(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    evaluate = loop.evaluate

    def looking(*arguments: Any) -> Any:
        asked.append(torch.are_deterministic_algorithms_enabled())
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "evaluate", looking)
    train(make(train={"epochs": 1, "deterministic": True}))
    train(make(train={"epochs": 1}))
    assert asked == [True, False]


@pytest.mark.parametrize(("every", "steps"), [(5, [5, 10, 15, 16]), ("2 epochs", [16]), ("6 steps", [6, 12, 16])])
def test_evaluation_in_steps_or_epochs(make: MakeExperiment, every: object, steps: list[int]) -> None:
    result = train(make(train={"epochs": 2, "eval_every": every}))
    evaluated = [record for record in records(result.run_dir) if record["kind"] == "eval"]
    assert [record["step"] for record in evaluated if record["split"] == "val"] == steps


def test_eval_gives_what_training_logged(make: MakeExperiment) -> None:
    result = train(make(metrics=["accuracy", "f1"]))
    [best] = [r for r in records(result.run_dir) if r["kind"] == "eval" and r["split"] == "val" and r["best"]][-1:]
    found = evaluate_checkpoint(result.checkpoint, "val", device="cpu")
    metrics, notes = found.metrics, found.notes
    assert notes == []
    assert metrics == {name: best[name] for name in ("loss", "accuracy", "f1")}
    tested = evaluate_checkpoint(result.checkpoint).metrics
    assert {f"test/{name}": value for name, value in tested.items()}.items() <= dict(result.metrics).items()


def test_eval_needs_only_the_checkpoint(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    alone = result.checkpoint.rename("alone.pt")
    metrics = evaluate_checkpoint(alone, "test", overrides=["loader.eval_batch_size=5"]).metrics
    assert metrics["accuracy"] == result.metrics["test/accuracy"]
    whole = "data={name: synthetic, shape: [1, 8, 8], size: 4, samples: 160, val: 32, test_samples: 32}"
    assert evaluate_checkpoint(alone, "test", overrides=[whole]).metrics == pytest.approx(metrics)
    with pytest.raises(DataError, match="this data has others"):
        evaluate_checkpoint(alone, overrides=["data=digits"])
    for override in ("model.hidden=[3]", "database=1", "seed=1"):
        with pytest.raises(ConfigError, match="only data and loader can change"):
            evaluate_checkpoint(alone, overrides=[override])


def test_a_run_directory_stands_for_the_checkpoint_to_use_in_it(make: MakeExperiment) -> None:
    for val in (32, 0):
        result = train(make(data={"val": val}, train={"epochs": 1}))
        found = evaluate_checkpoint(result.run_dir)
        metrics, notes = found.metrics, found.notes
        assert metrics["loss"] == result.metrics["test/loss"]
        assert notes == []


def test_another_normalisation_is_not_used_and_that_is_said(make: MakeExperiment) -> None:
    result = train(make(data={"name": "digits", "normalize": "half"}, train={"epochs": 1, "max_steps": 2}))
    found = evaluate_checkpoint(result.checkpoint, overrides=["data.normalize=none"])
    metrics, notes = found.metrics, found.notes
    assert notes == ["the normalisation of the training run is used, not the one given"]
    assert metrics["loss"] == result.metrics["test/loss"]


def test_a_vanished_directory_is_the_reason_that_is_told(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = loop.evaluate

    def vanish(*arguments: Any) -> Any:
        shutil.rmtree("gone")
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "evaluate", vanish)
    with pytest.raises(StorageError, match="gone/checkpoints: the run directory vanished"):
        train(make(), run_dir=Path("gone"))
    assert not Path("gone").exists()


def test_other_samples_are_named(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    notes = evaluate_checkpoint(result.checkpoint, "test", overrides=["data.test_samples=16"]).notes
    assert notes == ["these test samples are not the ones of the training run"]


def test_nothing_is_written_when_the_run_cannot_begin(make: MakeExperiment) -> None:
    with pytest.raises(ConfigError):
        train(make(model={"name": "cnn", "channels": [4, 4, 4, 4, 4]}))
    with pytest.raises(DataError):
        train(make(data={"val": 160}))
    with pytest.raises(StorageError, match=r"no CUDA device found|there are only"):
        train(make(train={"device": "cuda:99"}))
    assert list(Path().iterdir()) == []
    Path("runs").write_text("")
    with pytest.raises(StorageError, match="runs: is a file"):
        train(make())


def test_a_directory_is_never_used_twice(make: MakeExperiment) -> None:
    train(make(train={"epochs": 1}), run_dir=Path("here"))
    with pytest.raises(StorageError, match="here: is there already"):
        train(make(), run_dir=Path("here"))


def test_the_stand_in_is_loud_and_recorded(
    make: MakeExperiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    data = {"name": "mnist", "fallback": "digits", "val": 5000}
    result = train(make(data=data, train={"epochs": 1, "max_steps": 2}))
    out, err = capsys.readouterr()
    assert "TRAINING ON DIGITS, NOT ON MNIST" in err
    assert "on digits, not on mnist" in out
    metadata = json.loads((result.run_dir / "run.json").read_text())
    assert (metadata["fallback"]["asked"], metadata["fallback"]["used"]) == ("mnist", "digits")
    assert "name: digits" in (result.run_dir / "config.yaml").read_text()
    evaluate_checkpoint(result.checkpoint)
    with pytest.raises(DataError, match="TRAINKIT_OFFLINE=1 forbids the download"):
        train(make(data={"name": "mnist"}))


def test_step_outputs_stay_on_the_device(make: MakeExperiment) -> None:
    """The generator can be driven by a user's own loop."""
    from trainkit.training.loop import train_steps
    from trainkit.training.progress import Progress

    experiment = make()
    _, data, _ = building.open_data(experiment)
    parts, plan = building.build(experiment, data, torch.device("cpu"))
    steps = train_steps(parts, plan, Progress())
    outputs: list[StepOutput] = [next(steps) for _ in range(10)]
    assert all(output.loss.grad_fn is None for output in outputs)
    assert {output.samples for output in outputs} == {16}


def test_a_loss_that_asks_more_of_a_model_than_outputs_still_ends_well(make: MakeExperiment) -> None:
    """What its curves say is then judged without knowing the baseline loss."""

    class Penalised(CrossEntropyConfig):
        def build(self, target: TargetSpec) -> LossFn:
            plain = super().build(target)

            def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
                loss, outputs = plain(model, batch)
                return LossOutput(loss + 1e-3 * next(model.parameters()).square().sum(), outputs)

            return loss_fn

    result = train(make().model_copy(update={"loss": Penalised()}))
    metadata = json.loads((result.run_dir / "run.json").read_text())
    assert metadata["status"] == "finished"
    assert metadata["facts"]["device"].startswith("cpu")
    assert isinstance(metadata["curves"], list)


def test_a_run_leaves_its_process_as_it_was(make: MakeExperiment) -> None:
    def state() -> list[object]:
        generators = random.getstate(), str(np.random.get_state(legacy=True)), torch.get_rng_state().tolist()
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
        settings = (
            torch.are_deterministic_algorithms_enabled(),
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.backends.cudnn.flags,
            np.float32(1e-40) * np.float32(0.5) > 0,
            [*warnings.filters],
            {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
            Path.cwd(),
        )
        return [*generators, *signals, *settings]

    before = state()
    result = train(make(train={"epochs": 1, "deterministic": True}), quiet=True)
    assert state() == before
    resume(result.run_dir, ["train.epochs=2"], quiet=True)
    evaluate_checkpoint(result.checkpoint)
    assert state() == before
    with pytest.raises(ConfigError):
        train(make(train={"deterministic": True}, model={"name": "mlp", "weights": "no.pt"}), quiet=True)
    assert state() == before


def test_the_handler_of_dead_workers_ends_with_its_run(make: MakeExperiment) -> None:
    for _ in range(2):
        train(make(train={"max_steps": 1}, data={"val": 0}, loader={"num_workers": 1}), quiet=True)
        assert signal.getsignal(signal.SIGCHLD) is not worker_failures
        assert worker_failures.handler is None
