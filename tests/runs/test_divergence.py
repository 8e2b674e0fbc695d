"""A training loss that is a number and yet says that nothing can be learned any more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment, records
from trainkit.core.errors import DivergedError
from trainkit.data import Batch
from trainkit.experiment import building
from trainkit.runs import checkpoint
from trainkit.runs.context import RunContext
from trainkit.runs.divergence import judge
from trainkit.runs.run import train
from trainkit.runs.run_directory import RunDir
from trainkit.training import loop
from trainkit.training.losses import LossOutput
from trainkit.training.progress import Progress

Change = Callable[[LossOutput], torch.Tensor] | None


def job(make: MakeExperiment, first: float | None = 1.4, change: Change = None) -> RunContext:
    """Four classes, so that an untrained model costs about ln 4 = 1.39, as a constant prediction does."""
    opened = building.open_experiment(make())
    parts, plan = building.build(opened.experiment, opened.data, opened.device)
    loss_fn = parts.loss_fn

    def changed(model: nn.Module, batch: Batch) -> LossOutput:
        outcome = loss_fn(model, batch)
        return outcome._replace(loss=change(outcome)) if change else outcome

    parts, progress = replace(parts, loss_fn=changed), Progress(first_loss=first)
    return RunContext(opened.experiment, opened.data, parts, plan, RunDir(Path()), {}, progress, quiet=True)


def never() -> bool:
    return False


def test_ten_times_what_an_untrained_model_and_a_constant_prediction_cost(make: MakeExperiment) -> None:
    judge(job(make), 13.0, never)
    with pytest.raises(
        DivergedError, match=r"is still 14\.5 at step 0 .*: the untrained model had 1\.\d+, a constant prediction"
    ):
        judge(job(make), 14.5, never)


@pytest.mark.parametrize(
    ("first", "change"),
    [
        (200.0, None),  # it began far above, and comes down
        (None, None),
        (1.4, lambda outcome: outcome.loss * 1000),  # its scale has been turned up since, as of a weight that rises
        (1.4, lambda outcome: outcome.loss - 1.5),  # of a loss that may be negative, ten times says nothing
        (1.4, lambda outcome: outcome.loss * 0),
        (0.0, None),
        (-1.4, None),
    ],
)
def test_a_healthy_loss_has_not_diverged(first: float | None, change: Change, make: MakeExperiment) -> None:
    judge(job(make, first, change), 1000.0, never)


def test_numbers_that_are_nearly_the_same(make: MakeExperiment) -> None:
    """Always saying the mean costs 1e-8, far less than each epoch does; the untrained model costs 25."""
    torch.save({"inputs": torch.randn(64, 3), "targets": 5 + 1e-4 * torch.randn(64, 1)}, "numbers.pt")
    data = {"name": "tensors", "file": "numbers.pt", "val": 8, "target_transform": "none"}
    train(make(data=data, model={"name": "mlp", "hidden": [4]}, loss="mse"), quiet=True)


def test_a_loss_without_a_constant_answer(make: MakeExperiment) -> None:
    opened = job(make)

    def asks_more(model: nn.Module, batch: Batch) -> LossOutput:
        assert any(True for _ in model.children())  # which a constant has not
        return opened.parts.loss_fn(model, batch)

    other = replace(opened, parts=replace(opened.parts, loss_fn=asks_more))
    judge(other, 13.0, never)
    with pytest.raises(DivergedError, match=r"the untrained model had 1\.\d+$"):
        judge(other, 1000.0, never)


def ruined(step: int, monkeypatch: pytest.MonkeyPatch, *, mended: int | None = None) -> None:
    """After a step the weights are so large that the loss stays high; after another one they are as before."""

    def fit(parts: Any, plan: Any, progress: Any, **keywords: Any) -> None:
        update = parts.precision.update

        def updating(*arguments: Any, **options: Any) -> Any:
            made = update(*arguments, **options)
            factor = {step: 1e4, mended: 1e-4}.get(progress.step + 1, 1.0)
            with torch.no_grad():
                for parameter in parts.model.parameters():
                    parameter *= factor
            return made

        parts.precision.update = updating
        loop.fit(parts, plan, progress, **keywords)

    monkeypatch.setattr("trainkit.runs.run.fit", fit)


SLOW: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 1e-20}}


def test_it_is_told_at_the_first_epoch_that_is_with_a_checkpoint_that_is_good(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    ruined(11, monkeypatch)
    with pytest.raises(DivergedError, match=r"at step 16 .*; last good: step 9 in bad/checkpoints/step-9\.pt; start"):
        train(make(**SLOW, train={"epochs": 9}, checkpoint={"every": 3, "keep": 3}), run_dir=Path("bad"))
    assert [one["step"] for one in records(Path("bad")) if one["kind"] == "epoch"] == [8, 16]
    assert checkpoint.load(Path("bad/checkpoints/last.pt"))["progress"]["step"] == 15  # finite, but not good


def test_a_run_that_ends_in_the_middle_of_an_epoch(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    ruined(3, monkeypatch)
    with pytest.raises(DivergedError, match=r"at step 6 .*; no checkpoint is good"):
        train(make(**SLOW, train={"max_steps": 6}, data={"val": 0}))


def test_a_spike_that_is_over_is_none(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    ruined(2, monkeypatch, mended=4)
    result = train(make(**SLOW))
    assert [one["loss"] > 100 for one in records(result.run_dir) if one["kind"] == "epoch"] == [True, False]


def test_a_run_whose_losses_stay_high_has_diverged(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """By less than ten times, which no single epoch would be ended for."""
    limit = building.build

    def high(*arguments: Any) -> Any:
        parts, plan = limit(*arguments)
        loss_fn, calls = parts.loss_fn, iter(range(10**6))

        def changed(model: nn.Module, batch: Batch) -> LossOutput:
            outcome = loss_fn(model, batch)
            return outcome._replace(loss=outcome.loss * (4 if next(calls) > 2 else 1))

        return replace(parts, loss_fn=changed), plan

    monkeypatch.setattr("trainkit.runs.run.build", high)
    monkeypatch.setattr("trainkit.runs.summary_lines.constant_losses", lambda *arguments, **keywords: {"train": 1.4})
    with pytest.raises(DivergedError, match=r"train/loss is never below \d\.\d+ in the second half"):
        train(make(**SLOW, train={"epochs": 3}, log={"every": 2}), run_dir=Path("high"))
    assert json.loads(Path("high/run.json").read_text())["status"] == "diverged"
    train(make(**SLOW, train={"epochs": 3, "limit_batches": 4}, log={"every": 1}))  # a quick try
