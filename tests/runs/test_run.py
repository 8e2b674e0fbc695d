"""Whole runs: what they leave, that they repeat, and that a stopped one goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment, equal, records, weights
from trainkit import register_model
from trainkit.config import registry
from trainkit.core.errors import (
    ConfigError,
    DataError,
    StorageError,
)
from trainkit.data import Batch
from trainkit.data.workers import worker_failures
from trainkit.experiment import building, loading
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.tasks import Task
from trainkit.training import loop
from trainkit.training.losses import CrossEntropyConfig, LossFn, LossOutput
from trainkit.training.step import StepOutput


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
        def build(self, target: Task) -> LossFn:
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
