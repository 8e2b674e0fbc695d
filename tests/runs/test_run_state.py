"""From the content of a checkpoint to a run that goes on: all of it fits, or nothing is loaded."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.command import ROOT
from tests.conftest import MakeExperiment, equal, records, weights
from tests.runs.conftest import stopped
from trainkit import register_model
from trainkit.config import registry
from trainkit.core.errors import CheckpointError, ConfigError, DataError, StoppedError
from trainkit.data import Data
from trainkit.experiment import building
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.models.pretrained import read
from trainkit.runs import checkpoint, run_state
from trainkit.runs.run import resume, train
from trainkit.training.loop import Parts, Plan

PATH = ROOT / "tests/fixtures/checkpoint-schema-1.pt"
CPU = torch.device("cpu")

Payload = dict[str, Any]


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@cache
def stored() -> tuple[ExperimentConfig, Data]:
    experiment = run_state.experiment_of(PATH, checkpoint.load(PATH))
    return experiment, building.open_data(experiment)[1]


def built(**changes: Any) -> tuple[Parts, Plan]:
    """Fresh parts for the checkpoint, or for an experiment that differs in a section."""
    experiment, data = stored()
    experiment = ExperimentConfig.from_plain({**experiment.to_plain(), **changes})
    return building.build(experiment, data, CPU)


def restored(payload: Payload, parts: Parts) -> list[str]:
    return run_state.restore(Path("x.pt"), payload, stored()[1].digests(), parts)


def told(payload: Payload, parts: Parts | None = None) -> tuple[str, ...]:
    """What is said of a checkpoint that does not fit, of which nothing is loaded."""
    parts = parts or built()[0]
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        restored(payload, parts)
    assert equal(before, dict(parts.model.state_dict()))
    return error.value.problems


def test_everything_is_restored() -> None:
    payload, (parts, plan) = checkpoint.load(PATH), built()
    restored(payload, parts)
    assert parts.ema
    assert equal(dict(parts.model.state_dict()), payload["model"])
    assert equal(dict(parts.ema.model.state_dict()), payload["ema"])
    state = parts.optimizer.state_dict()
    assert state["param_groups"] == payload["optimizer"]["param_groups"]
    assert all(equal(state["state"][number], kept) for number, kept in payload["optimizer"]["state"].items())
    assert parts.scheduler.state_dict() == payload["scheduler"]
    progress = run_state.progress_of(PATH, payload, plan)
    assert progress.state_dict() == payload["progress"]
    assert (progress.step, progress.kept) == (37, [])  # the file is older than that


def test_another_model() -> None:
    parts, _ = built(model={"name": "cnn", "channels": [8, 9], "hidden": [13], "norm": "none"})
    fit = "x.pt: the weights do not fit the model: "
    assert told(checkpoint.load(PATH), parts) == (
        f"{fit}missing: 0.bias, 3.weight, 3.bias, 7.weight, 7.bias and 2 more",
        f"{fit}unexpected: 1.weight, 1.bias, 1.running_mean, 1.running_var, 1.num_batches_tracked and 4 more",
    )
    wider, _ = built(model={**stored()[0].model.to_plain(), "hidden": [13]})
    [shapes] = told(checkpoint.load(PATH), wider)
    assert shapes == (
        f"{fit}another shape: 5.weight (stored (12, 128), model (13, 128)), 5.bias (stored (12,), model (13,)), "
        "8.weight (stored (10, 12), model (10, 13))"
    )


@pytest.mark.parametrize("key", ["model", "ema"])
def test_weights_of_another_type_or_not_finite(key: str) -> None:
    payload = checkpoint.load(PATH)
    weight = payload[key]["8.bias"]
    payload[key]["8.bias"] = weight.double()
    same = "x.pt: the weights do not fit the model: 8.bias is of torch.float64, in the model of torch.float32"
    assert told(payload) == (same,)
    payload[key]["8.bias"] = weight * torch.inf
    assert told(payload) == ("x.pt: 8.bias holds NaN or infinite values; a run cannot go on from there",)


def test_other_data() -> None:
    payload, (parts, _) = checkpoint.load(PATH), built()
    same = payload["data"]
    for data, names in (({**same, "val": "0"}, "val"), ({**same, "more": "0"}, "more"), ({}, "train, val, test")):
        with pytest.raises(DataError, match=f"^x.pt: the run was trained on other data: {names} differs$"):
            restored({**payload, "data": data}, parts)


def test_parameters_in_another_order() -> None:
    payload = checkpoint.load(PATH)
    names = payload["meta"]["parameters"]
    payload["meta"]["parameters"] = [names[1], names[0], *names[2:]]
    [problem] = told(payload)
    assert problem == (
        "x.pt: the optimizer's state is of Adam with 7 parameters, the config builds Adam with 7; "
        "1.weight stands where 0.weight belongs"
    )
    payload["meta"]["parameters"] = names
    payload["optimizer"]["param_groups"][0]["params"] = [1, 0, 2, 3, 4, 5, 6]
    assert told(payload) == ("x.pt: damaged: the optimizer's state does not fit its parameters",)


def state_of(change: Callable[[Any], Any]) -> Payload:
    payload = checkpoint.load(PATH)
    states = payload["optimizer"]["state"]
    states[1] = change(states[1])
    return payload


@pytest.mark.parametrize(
    "change",
    [
        lambda state: 5,
        lambda state: {},
        lambda state: {key: state[key] for key in ("step", "exp_avg")},
        lambda state: {**state, "more": torch.zeros(8)},
        lambda state: {**state, "exp_avg": state["exp_avg"][:4]},
        lambda state: {**state, "exp_avg": torch.zeros(())},
        lambda state: {**state, "exp_avg": torch.zeros(8, 1)},
        lambda state: {**state, "exp_avg": torch.zeros(8, dtype=torch.float64)},
        lambda state: {**state, "exp_avg": [0.0] * 8},
        lambda state: {**state, "step": torch.zeros(8)},
        lambda state: {**state, "step": torch.zeros((), dtype=torch.int64)},
        lambda state: {**state, "step": 5},
        lambda state: {**state, "exp_avg": None},
    ],
)
def test_the_state_of_a_parameter_that_is_none(change: Callable[[Any], Any]) -> None:
    """Fused kernels would write beyond the end of a tensor that is too small."""
    assert told(state_of(change)) == ("x.pt: damaged: the optimizer's state does not fit its parameters",)


def test_the_state_of_parameters_that_are_not_there() -> None:
    payload = checkpoint.load(PATH)
    payload["optimizer"]["state"][7] = payload["optimizer"]["state"][6]
    assert told(payload) == ("x.pt: damaged: the optimizer's state does not fit its parameters",)
    twice = payload["optimizer"]["param_groups"] * 2
    without_rate: Any = [{"params": [*range(7)], "lr": float("nan")}]
    lists: list[Any] = [[], twice, [{"params": [0]}], without_rate]
    for groups in lists:
        changed = {**checkpoint.load(PATH)["optimizer"], "param_groups": groups}
        assert told({**checkpoint.load(PATH), "optimizer": changed}) == (
            "x.pt: damaged: the optimizer's state does not fit its parameters",
        )


def test_the_settings_of_the_optimizer_are_those_of_the_config() -> None:
    payload, (parts, _) = checkpoint.load(PATH), built()
    [group] = payload["optimizer"]["param_groups"]
    group.update(lr=0.125, betas=(0.5, 0.5), fused=None, differentiable=True, more="x")
    restored(payload, parts)
    [group] = parts.optimizer.param_groups
    assert (group["lr"], group["betas"], group["fused"], group["differentiable"]) == (0.125, (0.9, 0.999), True, False)
    assert "more" not in group


class Own(torch.optim.SGD):
    """Of a user."""


def test_the_form_of_a_users_own_optimizer_is_its_own_affair() -> None:
    payload, (parts, _) = checkpoint.load(PATH), built()
    parts = replace(parts, optimizer=Own(parts.model.parameters(), lr=0.1))
    payload["meta"]["optimizer"] = "Own"
    groups = [{**parts.optimizer.state_dict()["param_groups"][0], "seen": 3}]
    payload["optimizer"] = {"state": {0: {"factors": torch.ones(3)}}, "param_groups": groups}
    restored(payload, parts)
    assert parts.optimizer.param_groups[0]["seen"] == 3
    payload["optimizer"]["param_groups"] = []
    assert told_of_own(payload, parts) == "x.pt: the state of the optimizer cannot be read here"


def of_this_torch() -> Payload:
    """The checkpoint as the torch that is installed would have written it."""
    payload = checkpoint.load(PATH)
    payload["meta"]["torch"] = str(torch.__version__)
    payload["scheduler"] = copy.deepcopy(built()[0].scheduler.state_dict())
    return payload


def told_of_own(payload: Payload, parts: Parts) -> str:
    with pytest.raises(CheckpointError) as error:
        restored(payload, parts)
    return str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("curve", "last_epoch", "3"),
        ("curve", "base_lrs", [0.1, 0.1]),
        ("curve", "step", 1),
        ("plateau", "best", None),
        ("plateau", "optimizer", {}),
    ],
)
def test_another_scheduler(section: str, key: str, value: object) -> None:
    payload = of_this_torch()
    payload["scheduler"][section][key] = value
    [problem] = told(payload)
    assert problem.startswith(f"x.pt: damaged: scheduler.{section}")
    assert problem.endswith("is not what the config builds")
    del payload["scheduler"][section]
    assert told(payload) == (f"x.pt: damaged: scheduler.{section} is not what the config builds",)


def test_a_scaler_that_the_config_does_not_ask_for_and_the_other_way_round() -> None:
    payload = checkpoint.load(PATH)
    problem = "x.pt: damaged: scaler is not what the config builds"
    half, _ = built(train={**stored()[0].to_plain()["train"], "precision": "fp16"})
    assert told(payload, half) == (problem,)
    assert half.precision.scaler
    scale = half.precision.scaler.state_dict()
    assert told({**payload, "scaler": scale}) == (problem,)
    restored({**payload, "scaler": {**scale, "scale": 8.0}}, half)
    assert half.precision.scaler.get_scale() == 8


def test_averages_go_with_the_config() -> None:
    payload = checkpoint.load(PATH)
    with pytest.raises(CheckpointError, match=r"^x\.pt: damaged: averaged weights and train\.ema do not go together$"):
        run_state.experiment_of(Path("x.pt"), {**payload, "ema": None})
    payload["config"]["train"]["ema"] = None
    with pytest.raises(CheckpointError, match=r"^x\.pt: damaged: averaged weights and train\.ema do not go together$"):
        run_state.experiment_of(Path("x.pt"), payload)


def test_a_config_that_is_none() -> None:
    payload = checkpoint.load(PATH)
    payload["config"]["optimizer"]["lr"] = -1.0
    payload["config"]["trian"] = {}
    with pytest.raises(CheckpointError) as error:
        run_state.experiment_of(Path("x.pt"), payload)
    assert error.value.problems == (
        "x.pt: optimizer.lr: must be > 0, got -1.0",
        "x.pt: trian: unknown section; did you mean 'train'?",
    )


def test_what_may_change_the_last_bit_is_told_in_one_warning() -> None:
    payload, (parts, _) = checkpoint.load(PATH), built()
    here = {"torch": str(torch.__version__), "device": "cpu", "threads": torch.get_num_threads()}
    payload["meta"].update(here)
    assert restored(payload, parts) == []
    payload["meta"] |= {"torch": "1.0", "device": "cuda:7", "threads": 512, "processor": "abacus"}
    [warning] = restored(payload, built()[0])
    processor = torch.backends.cpu.get_cpu_capability()
    assert warning == (
        f"resumed with torch {torch.__version__} instead of 1.0, device cpu instead of cuda:7, "
        f"processor {processor} instead of abacus, threads {torch.get_num_threads()} instead of 512: "
        "the result will not be the same to the last bit"
    )


def test_another_torch_may_keep_more_or_less() -> None:
    payload, (parts, _) = of_this_torch(), built()
    del payload["scheduler"]["plateau"]["eps"]
    payload["scheduler"]["plateau"]["more"] = 1
    assert told(payload)
    payload["meta"]["torch"] = "2.10.0"
    assert restored(payload, parts)[0].startswith(f"resumed with torch {torch.__version__} instead of 2.10.0")
    assert parts.scheduler.plateau
    assert parts.scheduler.plateau.best == payload["scheduler"]["plateau"]["best"]
    del payload["scheduler"]["curve"]["lr_lambdas"]
    assert told_of_own(payload, built()[0]) == "x.pt: the state of the scheduler cannot be read here"


@pytest.mark.parametrize("where", [(37, 2, 4), (37, 1, 21), (37, 5, 0), (36, 2, 5)])
def test_a_place_that_is_none(where: tuple[int, int, int]) -> None:
    step, epoch, batch = where
    payload = checkpoint.load(PATH)
    payload["progress"] |= {"step": step, "epoch": epoch, "batch": batch}
    with pytest.raises(CheckpointError) as error:
        run_state.progress_of(Path("x.pt"), payload, built()[1])
    assert str(error.value) == f"x.pt: damaged: step {step} is not at batch {batch} of epoch {epoch}"


def test_a_resume_computes_with_as_many_threads(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, other = torch.get_num_threads(), 3 - torch.get_num_threads()
    monkeypatch.setattr(os, "cpu_count", lambda: max(here, other))
    stopped(make(), 3, Path("run"), monkeypatch)
    torch.set_num_threads(other)
    resume(Path("run"))
    err = capsys.readouterr().err
    assert f"best value, data order, {here} threads\n" in err
    assert "warning" not in err
    assert checkpoint.load(Path("run/checkpoints/last.pt"))["meta"]["threads"] == here
    assert torch.get_num_threads() == other  # afterwards as before


def test_with_fewer_processors_there_are_fewer_threads(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(make(), 3, Path("run"), monkeypatch)
    content = torch.load("run/checkpoints/last.pt", weights_only=True)
    content["meta"]["threads"] = 512
    torch.save(content, "run/checkpoints/last.pt")
    resume(Path("run"))
    said = f"warning: resumed with threads {torch.get_num_threads()} instead of 512: the result will not be the same"
    assert said in capsys.readouterr().err


def test_a_best_checkpoint_that_is_lost_or_old_is_written_again(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = make(train={"epochs": 2, "eval_every": 4}, checkpoint={"monitor": "val/loss"})
    whole = train(experiment, run_dir=Path("whole"))
    stopped(experiment, 9, Path("parts"), monkeypatch)
    best = Path("parts/checkpoints/best.pt")
    assert checkpoint.load(best)["progress"]["step"] == 8

    shutil.copytree("parts", "old")
    content = torch.load(best, weights_only=True)
    content["progress"]["step"] = 4
    torch.save(content, "old/checkpoints/best.pt")
    shutil.copytree("parts", "damaged")
    Path("damaged/checkpoints/best.pt").write_bytes(best.read_bytes()[:-1000])
    shutil.copytree("parts", "newer")
    content["progress"]["step"] = 12  # the run was killed between the two files
    torch.save(content, "newer/checkpoints/best.pt")
    best.unlink()

    capsys.readouterr()
    again = "; the next better value writes a new one"
    for name, problem in {
        "parts": f"no such file or directory{again}",
        "old": f"is of step 4, the best was step 8{again}",
        "damaged": f"truncated or damaged{again}",
        "newer": None,
    }.items():
        result = resume(Path(name))
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
        assert said == ([f"warning: {name}/checkpoints/best.pt: {problem}"] if problem else [])
        assert records(Path(name)) == records(whole.run_dir)
        assert equal(weights(result.checkpoint), weights(whole.checkpoint))


def test_without_a_better_value_the_last_checkpoint_takes_the_place_of_a_lost_best_one(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each evaluation is worse than the one before.
    optimizer = {"name": "sgd", "lr": 1e-20}
    experiment = make(train={"epochs": 2}, optimizer=optimizer, checkpoint={"monitor": "val/loss"})
    from trainkit.training.metrics import Mean

    values = iter([1.0, 2.0, 3.0])
    monkeypatch.setattr(Mean, "compute", lambda self: torch.tensor(0.5))
    monkeypatch.setattr("trainkit.training.loop.evaluate", lambda *arguments: {"loss": next(values), "accuracy": 0.5})
    stopped(experiment, 11, Path("run"), monkeypatch)
    Path("run/checkpoints/best.pt").unlink()
    result = resume(Path("run"))
    assert result.checkpoint.name == "last.pt"
    assert "(last.pt of step 16;" in capsys.readouterr().out
    [tested] = [record for record in records(Path("run")) if record.get("split") == "test"]
    assert tested["step"] == 16


def test_nothing_of_a_checkpoint_is_kept_while_training(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as large as the model and its optimizer's state."""
    stopped(make(), 3, Path("run"), monkeypatch)
    seen: list[Payload] = []
    load = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda path: seen.append(load(path)) or seen[-1])  # type: ignore[func-returns-value]

    def fit(*arguments: Any, **keywords: Any) -> None:
        assert not {"model", "ema", "optimizer"} & seen[0].keys()
        raise KeyboardInterrupt

    monkeypatch.setattr("trainkit.runs.run.fit", fit)
    with pytest.raises(StoppedError, match=r"interrupted at step 3; last good: step 3 in run/checkpoints/last\.pt"):
        resume(Path("run"))


def test_a_shared_weight_is_stored_twice_and_loaded_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    stored_twice = checkpoint.plain(model.state_dict(), "model")
    assert stored_twice["0.weight"].data_ptr() != stored_twice["1.weight"].data_ptr()
    checkpoint.load_weights(Path("x.pt"), model, stored_twice)
    assert model[1].weight is model[0].weight


class Counting(nn.Module):
    """It counts its batches, and has a mask of infinite numbers; `keeps` says what it gives to be kept."""

    def __init__(self, in_features: int, num_classes: int, keeps: str = "counts") -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.register_buffer("mask", torch.full((num_classes, num_classes), -torch.inf).triu(1))
        self.keeps, self.batches = keeps, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.batches += self.training
        outputs: torch.Tensor = self.layer(inputs.flatten(1))
        return outputs

    def get_extra_state(self) -> Any:
        kept = {"batches": self.batches, "of": ["training"], "last": torch.tensor(self.batches)}
        return {"counts": kept, "set": {1}, "array": np.ones(2), "wrong": kept}[self.keeps]

    def set_extra_state(self, state: Any) -> None:
        if self.keeps == "wrong":
            raise RuntimeError("no")
        self.batches = state["batches"]
        assert int(state["last"]) == self.batches


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    register_model("counting")(Counting)


@pytest.mark.usefixtures("counting")
def test_a_state_that_a_module_adds_is_kept(make: MakeExperiment) -> None:
    result = train(make(model={"name": "counting"}, train={"epochs": 1, "ema": 0.5}), quiet=True)
    last = result.run_dir / "checkpoints" / "last.pt"
    once = checkpoint.load(last)["model"]["_extra_state"]["batches"]
    assert evaluate_checkpoint(last).notes == []
    resume(result.run_dir, ["train.epochs=2"], quiet=True)
    assert checkpoint.load(last)["model"]["_extra_state"]["batches"] == once + 8
    assert "layer.weight" in read(last)


SET = "checkpoint.model._extra_state: set cannot go into a checkpoint"


@pytest.mark.usefixtures("counting")
@pytest.mark.parametrize(
    ("keeps", "problem"),
    [
        ("set", SET),
        ("array", "checkpoint.model._extra_state: ndarray cannot go into a checkpoint"),
        ("wrong", "the state of the model cannot be read here"),
    ],
)
def test_a_state_that_cannot_be_kept_is_told_before_training(make: MakeExperiment, keeps: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train(make(model={"name": "counting", "keeps": keeps}), quiet=True)
    message = (
        "a checkpoint could not be read again: checkpoint.model._extra_state: set cannot go into a checkpoint; see "
        "get_extra_state and set_extra_state, which give _extra_state"
    )
    assert str(caught.value) == message.replace(SET, problem)
    assert not Path("runs").exists()
