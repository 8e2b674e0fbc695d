"""Runs that end early: what they say of it, and what they leave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import MakeExperiment, records
from trainkit.core.device import Precision
from trainkit.core.errors import (
    CheckpointError,
    DivergedError,
    StoppedError,
    StorageError,
)
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.training import loop


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


def test_a_second_ctrl_c_says_how_to_go_on(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **keywords: Any) -> None:
        raise KeyboardInterrupt

    train(make(train={"epochs": 1}), run_dir=Path("job"))
    monkeypatch.setattr(loop, "evaluate", interrupted)
    with pytest.raises(StoppedError) as error:
        resume(Path("job"), ["train.epochs=2"])
    assert str(error.value) == (
        "interrupted at step 16, which was not saved; last good: step 8 in job/checkpoints/last.pt; "
        "go on with: trainkit train --resume job"
    )
    assert json.loads(Path("job/run.json").read_text())["status"] == "stopped"


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


def test_a_vanished_directory_is_the_reason_that_is_told(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = loop.evaluate

    def vanish(*arguments: Any) -> Any:
        shutil.rmtree("gone")
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "evaluate", vanish)
    with pytest.raises(StorageError, match="gone/checkpoints: the run directory vanished"):
        train(make(), run_dir=Path("gone"))
    assert not Path("gone").exists()
