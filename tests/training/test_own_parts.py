"""Losses, metrics, optimizers and schedulers of classes and functions, in whole runs."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torchmetrics.classification import MulticlassCohenKappa

from tests.conftest import MakeExperiment, equal, records, weights
from trainkit import Batch, LossOutput, register_loss, register_metric, register_optimizer, register_scheduler
from trainkit.config import registry
from trainkit.core.errors import CheckpointError, ConfigError
from trainkit.experiment.building import build, open_data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.training.baseline_loss import constant_prediction
from trainkit.training.optimizers import OptimizerConfig

CPU = torch.device("cpu")
HERE = Path(__file__).name


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {family: dict(classes) for family, classes in registry._families.items()}
    monkeypatch.setattr(registry, "_families", defaultdict(dict, copies))


def resumed_exactly(make: MakeExperiment, **sections: Any) -> Path:
    """A run, which is the same where it stopped in the middle of an epoch and went on."""
    sections = {**sections, "log": {"every": 5}, "train": {"eval_every": 5, **sections.get("train", {})}}
    longer, shorter = ({**sections["train"], "max_steps": steps} for steps in (8, 5))
    whole = train(make(**{**sections, "train": longer}), quiet=True).run_dir
    first = train(make(**{**sections, "train": shorter}), quiet=True).run_dir
    resume(first, ["train.max_steps=8"], quiet=True)
    for name in ("last.pt", "best.pt"):
        one, other = (checkpoint.load(run / "checkpoints" / name) for run in (whole, first))
        for key in ("model", "ema", "loss"):
            assert (one.get(key) is None) == (other.get(key) is None)
            assert one.get(key) is None or equal(one[key], other[key])
    assert records(first) == records(whole)
    return whole


def problem(experiment: ExperimentConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        build(*open_data(experiment)[:2], CPU)
    return str(caught.value)


def easy_left_out(outputs: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    each = functional.cross_entropy(outputs, targets, reduction="none")
    return ((1 - (-each).exp()) ** gamma * each).mean()


def test_a_loss_of_a_function(make: MakeExperiment) -> None:
    assert register_loss("mine")(easy_left_out) is easy_left_out
    parts, _ = build(*open_data(make(loss={"name": "mine", "gamma": 0.0}))[:2], CPU)
    plain, _ = build(*open_data(make(loss="cross_entropy"))[:2], CPU)
    batch = parts.prepare(next(iter(parts.train.epoch(0))), None)
    parts.model.eval()
    plain.model.load_state_dict(parts.model.eval().state_dict())
    assert torch.allclose(parts.loss_fn(parts.model, batch).loss, plain.loss_fn(plain.model.eval(), batch).loss)
    assert {*make(loss="mine").loss.to_plain()} == {"name", "gamma"}


def test_a_loss_of_parts(make: MakeExperiment) -> None:
    @register_loss("parts")
    def parts(outputs: Tensor, targets: Tensor, weight: float = 0.1) -> dict[str, Tensor]:
        return {"ce": functional.cross_entropy(outputs, targets), "size": weight * outputs.square().mean()}

    run = resumed_exactly(make, loss="parts", train={"accumulate": 2})
    recorded = [line for line in records(run) if line["kind"] in ("train", "eval")]
    for line in recorded:
        assert line["loss"] == pytest.approx(line["loss_ce"] + line["loss_size"], rel=1e-5)
    assert {line["split"] for line in recorded if line["kind"] == "eval"} == {"val", "test"}
    assert evaluate_checkpoint(run).metrics["loss_ce"] == pytest.approx(recorded[-1]["loss_ce"], rel=1e-5)


def test_parts_of_batches_are_weighed_as_the_loss_is(make: MakeExperiment) -> None:
    @register_loss("parts")
    def parts(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"all": functional.cross_entropy(outputs, targets)}

    run = train(make(loss="parts", train={"accumulate": 3, "epochs": 1}, loader={"batch_size": 50}), quiet=True).run_dir
    lines = [line for line in records(run) if line["kind"] in ("train", "eval")]
    assert len(lines) == 3
    assert all(line["loss_all"] == pytest.approx(line["loss"], rel=1e-6) for line in lines)


class Tempered(nn.Module):
    """Cross-entropy of outputs that are normalised and scaled."""

    def __init__(self, num_classes: int, start: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((num_classes,), start))
        self.norm = nn.BatchNorm1d(num_classes)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(self.norm(outputs) * self.scale, targets)


@pytest.mark.parametrize("loss", ["tempered", {"name": "sum", "of": [{"loss": "tempered"}, {"loss": "cross_entropy"}]}])
def test_a_loss_with_parameters_is_trained_and_stored(make: MakeExperiment, loss: Any) -> None:
    register_loss("tempered")(Tempered)
    sections = {"loss": loss, "optimizer": {"name": "adam", "lr": 0.01, "head_lr": 0.1}}
    run = resumed_exactly(make, **sections, train={"on_nonfinite": "skip", "max_skipped": 2})
    payload = checkpoint.load(run / "checkpoints" / "last.pt")
    [scale] = [value for key, value in payload["loss"].items() if key.endswith("scale")]
    assert (scale != 1).all()
    assert [name for name in payload["meta"]["parameters"] if name.startswith("loss.")]
    final = records(run)[-1]
    assert evaluate_checkpoint(run).metrics["loss"] == pytest.approx(final["loss"], rel=1e-5)

    parts, _ = build(*open_data(make(**sections))[:2], CPU)
    head = [one for group in parts.optimizer.param_groups if group["lr"] == 0.1 for one in group["params"]]
    assert {id(one) for one in head} <= {id(one) for one in parts.model.parameters()}
    assert len(head) == 2

    del payload["loss"]
    torch.save(payload, run / "checkpoints" / "last.pt")
    with pytest.raises(CheckpointError, match="the weights do not fit the loss: missing"):
        evaluate_checkpoint(run / "checkpoints" / "last.pt")


def test_the_baseline_of_a_loss_with_parameters_leaves_it_alone(make: MakeExperiment) -> None:
    register_loss("tempered")(Tempered)
    experiment, data, _ = open_data(make(loss="tempered"))
    parts, _ = build(experiment, data, CPU)
    assert isinstance(parts.loss_fn, nn.Module)
    before = {key: value.clone() for key, value in parts.loss_fn.state_dict().items()}
    assert constant_prediction(parts.loss_fn, data.train, data.spec.task, 4) is not None
    assert equal(before, parts.loss_fn.state_dict())


def test_a_loss_that_cannot_be_accumulated(make: MakeExperiment) -> None:
    register_loss("whole", divisible=False)(easy_left_out)
    assert problem(make(loss="whole", train={"accumulate": 2})).startswith(
        "train.accumulate: the loss 'whole' is one over"
    )


def test_a_loss_that_takes_the_model(make: MakeExperiment) -> None:
    @register_loss("twice")
    def twice(model: nn.Module, batch: Batch, weight: float = 0.5) -> LossOutput:
        one, other = model(batch.inputs), model(batch.inputs)
        return LossOutput(functional.cross_entropy(one, batch.targets) + weight * (one - other).square().mean(), one)

    result = train(make(loss={"name": "twice", "weight": 1.0}, train={"epochs": 1}), quiet=True)
    assert evaluate_checkpoint(result.checkpoint).metrics["loss"] == pytest.approx(result.metrics["test/loss"])


def test_losses_that_are_none(make: MakeExperiment) -> None:
    @register_loss("each")
    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    @register_loss("list")
    def listed(outputs: Tensor, targets: Tensor) -> list[Tensor]:
        return [outputs.mean()]

    @register_loss("raises")
    def raises(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs @ targets.float()

    wanted = "expected the mean over the batch, a tensor of shape (), or a dict of such"
    line = each.__code__.co_firstlineno
    assert problem(make(loss="each")).startswith(f"loss: {each.__qualname__} gives a tensor of shape (2,), {wanted} (")
    assert problem(make(loss="each")).endswith(f"{HERE}:{line})")
    assert problem(make(loss="list")).startswith(f"loss: {listed.__qualname__} gives a list of (), {wanted} (")
    with pytest.raises(ConfigError) as caught:
        train(make(loss="raises"), quiet=True)
    assert str(caught.value).startswith(f"loss: {raises.__qualname__} raised RuntimeError: ")
    assert str(caught.value).endswith(f"{HERE}:{raises.__code__.co_firstlineno + 2})")
    register_loss("detached")(lambda outputs, targets: (outputs.argmax(1) == targets).float().mean())
    assert "gives a loss without a gradient: it is detached, or" in problem(make(loss="detached"))
    with pytest.raises(ConfigError, match="its first arguments must be outputs and targets"):
        register_loss("short")(lambda outputs: outputs)


def test_metrics(make: MakeExperiment) -> None:
    @register_metric("sure")
    def sure(outputs: Tensor, targets: Tensor, least: float = 0.5) -> Tensor:
        return (outputs.softmax(1).amax(1) > least).float()

    @register_metric("spread", mode="min")
    def spread(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.std(1).mean()

    @register_metric("rows")
    def rows(outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs

    register_metric("kappa")(MulticlassCohenKappa)
    metrics = ["spread", {"name": "sure", "least": 0.0}, "kappa"]
    result = train(make(metrics=metrics, train={"epochs": 1}), quiet=True)
    assert result.metrics["test/sure"] == 1
    assert -1 <= result.metrics["test/kappa"] <= 1
    measured = evaluate_checkpoint(result.checkpoint).metrics
    assert measured["spread"] == pytest.approx(result.metrics["test/spread"])
    assert make(metrics=metrics).metrics[0].mode == "min"
    assert "rows gives shape (2, 4), expected a number for each sample" in problem(make(metrics=["rows"]))

    class Torn(MulticlassCohenKappa):
        def compute(self) -> Any:
            return {}

    register_metric("torn")(Torn)
    with pytest.raises(
        ConfigError, match=r"metrics: .*Torn raised TypeError: float\(\) argument must be .*, not 'dict' \("
    ):
        train(make(metrics=["torn"], train={"epochs": 1}), quiet=True)

    register_metric("empty")(type("Empty", (), {"update": None}))
    assert problem(make(metrics=["empty"])).startswith("metrics: Empty has no compute method")


class Sam(torch.optim.Optimizer):
    """Sharpness-aware minimisation (Foret et al., 2021, arXiv:2010.01412): its step evaluates the loss nearby."""

    def __init__(self, params: Any, lr: float = 0.1, rho: float = 0.05) -> None:
        super().__init__(params, {"lr": lr, "rho": rho})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert closure is not None
        for group in self.param_groups:
            for one in group["params"]:
                one.add_(one.grad, alpha=group["rho"])
            moved = [one.grad * group["rho"] for one in group["params"]]
            closure()
            for one, by in zip(group["params"], moved, strict=True):
                one.sub_(by).sub_(one.grad, alpha=group["lr"])


class Averaging(torch.optim.SGD):
    """In the way of schedule-free optimizers: what is evaluated lies between what is trained and an average."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)
        for group in self.param_groups:
            group["training"] = False

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert self.param_groups[0]["training"]
        super().step()
        for one in self._parameters():
            state = self.state[one]
            state["mean"] = one.detach().lerp(state.get("mean", one.detach()), 0.7)

    @torch.no_grad()
    def train(self) -> None:
        self._move(True, -9.0)

    @torch.no_grad()
    def eval(self) -> None:
        self._move(False, 0.9)

    def _move(self, training: bool, share: float) -> None:
        if self.param_groups[0]["training"] != training:
            for group in self.param_groups:
                group["training"] = training
            for one in self._parameters():
                if "mean" in self.state[one]:
                    one.lerp_(self.state[one]["mean"], share)

    def _parameters(self) -> list[nn.Parameter]:
        return [one for group in self.param_groups for one in group["params"]]


def test_an_optimizer_of_torch_and_a_wrapped_one(make: MakeExperiment) -> None:
    register_optimizer("rms")(torch.optim.RMSprop)

    @register_optimizer("wrapped")
    def wrapped(params: Any, weight_decay: float = 0.5) -> torch.optim.Optimizer:
        return torch.optim.AdamW(params, weight_decay=weight_decay)

    optimizer = {"name": "rms", "alpha": 0.9, "weight_decay": 0.1, "decay_bias_and_norm": False, "head_lr": 0.5}
    experiment = make(optimizer=optimizer)
    parts, _ = build(*open_data(experiment)[:2], CPU)
    groups = [(group["lr"], group["weight_decay"], group["alpha"]) for group in parts.optimizer.param_groups]
    assert groups == [(0.01, 0.1, 0.9), (0.01, 0.0, 0.9), (0.5, 0.1, 0.9), (0.5, 0.0, 0.9)]
    resumed_exactly(make, optimizer=optimizer, scheduler={"name": "step", "step_size": 1})
    parts, _ = build(*open_data(make(optimizer={"name": "wrapped"}))[:2], CPU)
    assert parts.optimizer.param_groups[0]["weight_decay"] == 0.5
    assert problem(make(optimizer={"name": "wrapped", "lr": 0.3})) == (
        f"optimizer.lr: {wrapped.__qualname__} has no argument 'lr'"
    )
    for wrong in ({"lr": 0.0}, {"foreach": 1}, {"weight_decay": -1}):
        with pytest.raises(ValueError, match="optimizer"):
            make(optimizer={"name": "rms", **wrong})
    register_optimizer("none")(lambda params: "none")
    assert "gives a str, expected a torch.optim.Optimizer" in problem(make(optimizer={"name": "none"}))


def test_optimizers_that_evaluate_the_loss_again(make: MakeExperiment) -> None:
    register_optimizer("lbfgs")(torch.optim.LBFGS)
    register_optimizer("sam", closure=True)(Sam)
    optimizer = {"name": "lbfgs", "lr": 0.5, "max_iter": 3, "line_search_fn": "strong_wolfe"}
    all_at_once = {"model": {"name": "mlp", "hidden": [8]}, "loader": {"batch_size": 128}, "train": {"epochs": 8}}
    run = resumed_exactly(make, optimizer=optimizer, **all_at_once)
    losses = [line["loss"] for line in records(run) if line["kind"] == "train"]
    assert losses[-1] < losses[0]
    resumed_exactly(make, optimizer={"name": "sam", "rho": 0.1})
    text = "Sam evaluates the loss of a step again, without it; leave it out"
    assert problem(make(optimizer={"name": "sam"}, train={"accumulate": 2, "clip_norm": 1.0})) == (
        f"train.accumulate: {text}\ntrain.clip_norm: {text}"
    )


def test_an_optimizer_that_evaluates_other_weights(make: MakeExperiment) -> None:
    register_optimizer("averaging")(Averaging)
    run = resumed_exactly(make, optimizer={"name": "averaging"})
    payload = checkpoint.load(run / "checkpoints" / "last.pt")
    assert not equal(payload["model"], payload["ema"])
    assert equal(weights(run / "checkpoints" / "last.pt"), payload["model"])
    often = train(make(optimizer={"name": "averaging"}, train={"max_steps": 8, "eval_every": 1}), quiet=True).run_dir
    assert equal(checkpoint.load(often / "checkpoints" / "last.pt")["model"], payload["model"])
    final = records(run)[-1]
    assert evaluate_checkpoint(run).metrics["loss"] == pytest.approx(final["loss"], rel=1e-5)
    assert problem(make(optimizer={"name": "averaging"}, train={"ema": 0.9})) == (
        "train.ema: Averaging averages the weights itself; leave it out"
    )


def test_schedulers(make: MakeExperiment) -> None:
    @register_scheduler("half")
    def half(step: int, max_steps: int, least: float = 0.1) -> float:
        return least + (1 - least) * (1 + math.cos(math.pi * step / max_steps)) / 2

    register_scheduler("cycle")(OneCycleLR)
    run = train(make(scheduler={"name": "half", "least": 0.5, "warmup_steps": 2}, log={"every": 1}), quiet=True).run_dir
    rates = [line["lr"] for line in records(run) if line["kind"] == "train"]
    assert rates[:4] == pytest.approx([0.01 / 3, 0.02 / 3, 0.01, 0.01 * half(1, 14, 0.5)])
    assert make(scheduler="half").scheduler.depends_on_total

    sections = {"scheduler": {"name": "cycle", "max_lr": 0.5, "total_steps": 9}}
    with pytest.raises(ValueError, match="total_steps"):
        make(**sections)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(make(scheduler={"name": "cycle", "max_lr": 0.5}, log={"every": 1}), quiet=True).run_dir
    rates = [line["lr"] for line in records(run) if line["kind"] == "train"]
    assert max(rates) == pytest.approx(0.5, rel=0.05)
    assert problem(make(scheduler={"name": "cycle", "max_lr": 0.5, "warmup_steps": 1})) == (
        "scheduler.warmup_steps: is for curves over the steps, which OneCycleLR is not"
    )
    register_scheduler("lost")(lambda step: math.nan)
    assert "gives nan at step 0, expected a factor of at least 0" in problem(make(scheduler={"name": "lost"}))
    register_scheduler("flat")(ReduceLROnPlateau)
    assert "expected a torch.optim.lr_scheduler.LRScheduler that is stepped without a metric" in problem(
        make(scheduler={"name": "flat"})
    )


def test_what_a_scheduler_moves_besides_the_rate_is_resumed(make: MakeExperiment) -> None:
    register_scheduler("cycle")(lambda optimizer, max_lr=0.5: OneCycleLR(optimizer, max_lr, total_steps=12))
    resumed_exactly(make, scheduler={"name": "cycle"})


def two_parts(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    return {"right": functional.cross_entropy(outputs, targets), "size": 0.01 * outputs.square().mean()}


def test_a_part_of_a_loss_is_monitored(make: MakeExperiment) -> None:
    register_loss("two")(two_parts)
    monitored = {"loss": "two", "checkpoint": {"monitor": "val/loss_size"}}
    stopping = {"train": {"max_steps": 6, "eval_every": 2, "early_stopping": {"patience": 1}}}
    run = train(make(**monitored, **stopping, scheduler="plateau"), quiet=True)
    values = [one["loss_size"] for one in records(run.run_dir) if one["kind"] == "eval" and one["split"] == "val"]
    assert run.metrics["val/loss_size"] == min(values)
    wrong = problem(make(loss="two", checkpoint={"monitor": "val/loss_sise"}))
    assert "unknown metric 'val/loss_sise'; did you mean 'val/loss_size'" in wrong
    assert "unknown metric 'val/loss_size'" in problem(make(checkpoint=monitored["checkpoint"]))


def test_what_own_parts_raise_while_training(make: MakeExperiment) -> None:
    class Stepping(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise KeyError("momentum")

    class Falling(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self) -> Any:
            return [1 / (2 - self.last_epoch) for _ in self.optimizer.param_groups]

    class Uncounted:
        def reset(self) -> None:
            raise ValueError("no counts")

        update = compute = reset

    register_optimizer("stepping")(Stepping)
    register_scheduler("falling")(Falling)
    register_metric("uncounted")(Uncounted)
    for sections, text in (
        ({"optimizer": "stepping"}, "optimizer: .*Stepping raised KeyError: 'momentum'"),
        ({"scheduler": "falling"}, "scheduler: .*Falling raised ZeroDivisionError: division by zero"),
        ({"metrics": ["uncounted"]}, "metrics: .*Uncounted raised ValueError: no counts"),
    ):
        with pytest.raises(ConfigError, match=rf"^{text} \(.*{HERE}:\d+\)$"):
            train(make(**sections, train={"max_steps": 4}), quiet=True)


@pytest.mark.parametrize("give", [float, lambda mean: mean.reshape(1), lambda mean: mean.numpy()[()]])
def test_a_metric_may_be_a_plain_number(give: Any, make: MakeExperiment) -> None:
    register_metric("own")(lambda outputs, targets: give((outputs.argmax(1) == targets).float().mean()))
    run = train(make(metrics=["own", "accuracy"], train={"max_steps": 2, "eval_every": 2}), quiet=True)
    found = evaluate_checkpoint(run.checkpoint)
    assert found.metrics["own"] == pytest.approx(found.metrics["accuracy"])


def test_a_direction_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"^register_metric\('own'\): mode: expected 'max' where larger values are"):
        register_metric("own", mode="biggest")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="got 'maxx'; did you mean 'max'"):
        register_metric("own", mode="maxx")  # type: ignore[arg-type]


def test_a_step_that_a_function_has_set_is_taken() -> None:
    calls: list[int] = []

    def counted(params: Any, lr: float = 0.1) -> torch.optim.SGD:
        optimizer = torch.optim.SGD(params, lr=lr)
        before = optimizer.step

        def step(closure: Any = None) -> Any:
            calls.append(1)
            return before(closure)

        optimizer.step = step  # type: ignore[method-assign]
        return optimizer

    register_optimizer("counted_steps")(counted)
    config_class = registry.find("optimizer", "counted_steps")
    assert issubclass(config_class, OptimizerConfig)
    model = torch.nn.Linear(2, 1)
    optimizer = config_class(name="counted_steps").build(model, torch.device("cpu"))
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert calls == [1]
