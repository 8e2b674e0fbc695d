"""A user's own model, loss and metric beside the data: what works, and what is told before a run begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.conftest import MakeExperiment, equal, weights
from trainkit import register, register_model
from trainkit.checks.model_summary import summarize
from trainkit.config import registry
from trainkit.core.errors import CheckpointError, ConfigError
from trainkit.data import Batch
from trainkit.experiment.building import build, open_data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.runs.run import resume, train
from trainkit.tasks import Kind, Task
from trainkit.training.losses import LossConfig, LossFn, LossOutput, supervised
from trainkit.training.metrics import Mean, Metric, MetricConfig

pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"train": {"epochs": 1}, "data": {"samples": 64, "val": 16}}


@pytest.fixture(autouse=True)
def own_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_families", {family: dict(known) for family, known in registry._families.items()})


def problem(experiment: ExperimentConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        train(experiment, quiet=True)
    assert not Path("runs").exists()
    return str(caught.value)


class Scaled(nn.Module):
    """A linear classifier whose inputs are multiplied by numbers that it makes when it first needs them."""

    def __init__(self, in_features: int, num_classes: int, keeps: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)
        self.keeps = keeps
        self.scale: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        if self.scale is None or not self.keeps:
            self.scale = torch.linspace(0, 1, inputs[0].numel(), device=inputs.device)
        outputs: Tensor = self.layer(inputs.flatten(1) * self.scale)
        return outputs


def test_what_forward_has_made_in_an_evaluation_serves_in_training(make: MakeExperiment) -> None:
    register_model("scaled")(Scaled)
    kept, anew = (train(make(model={"name": "scaled", "keeps": keeps}, **SMALL), quiet=True) for keeps in (True, False))
    assert equal(weights(kept.checkpoint), weights(anew.checkpoint))
    assert kept.metrics == anew.metrics
    assert "warning" not in (kept.run_dir / "train.log").read_text()


class Lazy(nn.Module):
    """Layers that are told no input sizes."""

    def __init__(self, num_classes: int, aside: bool = False) -> None:
        super().__init__()
        self.first = nn.LazyLinear(5)
        self.norm: nn.Module = nn.LazyBatchNorm1d()
        self.last = nn.LazyLinear(num_classes)
        self.aside = nn.LazyLinear(3) if aside else None

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.norm(self.first(inputs.flatten(1))).relu())
        if self.aside is not None and self.training:
            outputs = outputs + self.aside(inputs.flatten(1)).mean()
        return outputs


def test_lazy_layers(make: MakeExperiment) -> None:
    register_model("lazy")(Lazy)
    experiment = make(model={"name": "lazy"}, **SMALL)
    assert summarize(experiment).parameters == (64 * 5 + 5) + (5 + 5) + (5 * 4 + 4)
    torch.manual_seed(0)
    first = train(experiment, quiet=True)
    torch.manual_seed(1)
    assert equal(weights(first.checkpoint), weights(train(experiment, quiet=True).checkpoint))
    longer = train(make(model={"name": "lazy"}, data=SMALL["data"], train={"epochs": 2}), quiet=True)
    resume(first.run_dir, ["train.epochs=2"], quiet=True)
    last = Path("checkpoints", "last.pt")
    assert equal(weights(first.run_dir / last), weights(longer.run_dir / last))
    assert problem_of_aside(make) == (
        "model: aside: lazy, and not reached in evaluation, so that no size is known; give it one"
    )


def problem_of_aside(make: MakeExperiment) -> str:
    experiment = make(model={"name": "lazy", "aside": True}, **SMALL)
    with pytest.raises(ConfigError) as caught:
        build(*open_data(experiment)[:2], CPU)
    return str(caught.value)


class Named(NamedTuple):
    logits: Tensor
    aux: Tensor


@dataclass
class Both:
    logits: Tensor
    loss: None


ANSWERS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda outputs: (outputs, outputs[:, :1]),
    "named": lambda outputs: Named(outputs, outputs * 0.5),
    "dict": lambda outputs: {"logits": outputs, "aux": [outputs * 0.5]},
    "dataclass": lambda outputs: Both(outputs, None),
    "fewer": lambda outputs: outputs[:, :3],
    "none": lambda outputs: None,
}


class Changing(nn.Module):
    """It has statistics, dropout, and another answer in training."""

    def __init__(self, in_features: int, num_classes: int, answer: str) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(in_features), nn.Dropout(), nn.Linear(in_features, num_classes)
        )
        self.answer = answer

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.layers(inputs)
        return ANSWERS[self.answer](outputs) if self.training and self.answer != "alike" else outputs


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            "none",
            (
                "model: in training it gives a NoneType, expected one tensor "
                "(batch, outputs), in training and in evaluation; let forward return that alone"
            ),
        ),
    ],
)
def test_models_that_answer_otherwise_in_training(make: MakeExperiment, answer: str, message: str) -> None:
    register_model("changing")(Changing)
    assert problem(make(model={"name": "changing", "answer": answer})) == message


class Viewing(nn.Module):
    """As tutorials write it."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.last = nn.Linear(4 * 6 * 6, num_classes)

    def forward(self, inputs: Tensor) -> Any:
        outputs = self.conv(inputs).relu()
        return self.last(outputs.view(outputs.size(0), -1))


def test_a_model_that_calls_view_on_pictures(make: MakeExperiment) -> None:
    register_model("viewing")(Viewing)
    data = {"name": "synthetic", "shape": [3, 8, 8], "size": 4, "samples": 40, "val": 8, "test_samples": 8}
    result = train(make(model={"name": "viewing"}, data=data, train={"epochs": 1}), quiet=True)
    assert evaluate_checkpoint(result.checkpoint).metrics["loss"] == pytest.approx(result.metrics["test/loss"])


@pytest.mark.parametrize(("answer", "heads"), [("alike", 0), ("tuple", 0), ("dataclass", 0), ("named", 2), ("dict", 2)])
def test_outputs_are_taken_from_what_a_model_gives(make: MakeExperiment, answer: str, heads: int) -> None:
    register_model("changing")(Changing)
    experiment, data, _ = open_data(make(model={"name": "changing", "answer": answer}))
    parts, _ = build(experiment, data, CPU)
    batch = parts.prepare(next(iter(parts.train.epoch(0))), None)
    given = parts.model(batch.inputs)
    assert given.shape == ((16, heads, 4) if heads else (16, 4))
    parts.loss_fn(parts.model, batch).loss.backward()
    assert parts.model.eval()(batch.inputs).shape == (16, 4)


def test_models_that_say_less_in_training(make: MakeExperiment) -> None:
    register_model("changing")(Changing)
    assert problem(make(model={"name": "changing", "answer": "fewer"})) == (
        "model: in training it gives outputs of shape (2, 3), in evaluation (2, 4); they must be alike"
    )


def test_nothing_stays_of_the_trial_in_training(make: MakeExperiment) -> None:
    register_model("changing")(Changing)
    torch.manual_seed(0)
    parts, _ = build(*open_data(make(model={"name": "changing", "answer": "alike"}))[:2], CPU)
    drawn = torch.rand(3)
    state = parts.model.state_dict()
    assert int(state["layers.1.num_batches_tracked"]) == 0
    assert state["layers.1.running_mean"].eq(0).all()
    assert parts.model.training
    register_model("plain")(type("Plain", (Changing,), {"forward": lambda self, inputs: self.layers[3](inputs[:, 0])}))
    build(*open_data(make(model={"name": "changing", "answer": "alike"}))[:2], CPU)
    assert torch.equal(torch.rand(3), drawn)


class Arc(LossConfig):
    """Class centres beside the model's outputs."""

    name: Literal["arc"] = "arc"
    outputs: int = 6
    learns: bool = False
    answers: bool = False

    def num_outputs(self, target: Task) -> int:
        return self.outputs

    def build(self, target: Task) -> LossFn:
        centres: Tensor = torch.randn(target.size, self.outputs, generator=torch.Generator().manual_seed(0))
        centres = nn.Parameter(centres, requires_grad=self.learns)

        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            said = model(batch.inputs)
            logits = said @ centres.T
            return LossOutput(functional.cross_entropy(logits, batch.targets), logits if self.answers else said)

        return loss_fn


class Length(MetricConfig):
    """The mean length of outputs."""

    name: Literal["length"] = "length"
    kinds: ClassVar[tuple[Kind, ...]] = ("classification",)

    def build(self, target: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: outputs.norm(dim=1), device)


def test_a_loss_whose_outputs_are_no_answers(make: MakeExperiment) -> None:
    register("loss")(Arc)
    register("metric")(Length)
    assert problem(make(loss={"name": "arc"})) == (
        "metrics: 'accuracy' wants an output for each of the 4 classes, but the loss 'arc' gives (batch, 6); let its "
        "LossOutput have such outputs, or name metrics of your own"
    )
    result = train(make(loss={"name": "arc"}, metrics=[{"name": "length"}], **SMALL), quiet=True)
    assert (
        "warning: loss: 'arc' makes 6 outputs of the model, for 4 classes: trainkit predict cannot tell what they mean"
        in (result.run_dir / "train.log").read_text()
    )
    found = evaluate_checkpoint(result.checkpoint)
    assert found.metrics["length"] == pytest.approx(result.metrics["test/length"])
    assert (found.per_class, found.confusion) == ((), None)
    assert found.notes == ["the outputs are not one for each of the classes: there is nothing to say of each"]
    with pytest.raises(CheckpointError, match="the model gives 6 outputs for 4 classes: they are no predictions"):
        next(predict(result.checkpoint, "x.npy"))


def test_a_loss_that_makes_answers_of_other_outputs(make: MakeExperiment) -> None:
    register("loss")(Arc)
    result = train(make(loss={"name": "arc", "answers": True}, **SMALL), quiet=True)
    assert len(evaluate_checkpoint(result.checkpoint).per_class) == 4


def test_a_loss_with_parameters(make: MakeExperiment) -> None:
    register("loss")(Arc)
    assert problem(make(loss={"name": "arc", "learns": True, "answers": True})) == (
        "loss: 'arc' has parameters of its own, of shape (4, 6), which would not be trained; put them into the model, "
        "register the loss as an nn.Module with trainkit.register_loss, or requires_grad_(False) where they are to stay"
    )


class Own(LossConfig):
    """Cross-entropy in ways of one's own."""

    name: Literal["own"] = "own"
    way: Literal["supervised", "plain", "tensor", "dict"]

    def num_outputs(self, target: Task) -> int:
        return target.size

    def build(self, target: Task) -> LossFn:
        usual = supervised(functional.cross_entropy)

        def loss_fn(model: nn.Module, batch: Batch) -> Any:
            if self.way == "supervised":
                outcome = usual(model, batch)
                return LossOutput(outcome.loss + 0.0, outcome.outputs)
            said = model(batch.inputs)
            loss = functional.cross_entropy(said, batch.targets)
            if self.way == "dict":
                return LossOutput(loss, {"logits": said, "norm": said.norm(dim=1)})
            return loss if self.way == "tensor" else LossOutput(loss, said)

        return loss_fn


def test_own_losses_and_a_model_of_several_members(make: MakeExperiment) -> None:
    register("loss")(Own)
    table = {"name": "table", "hidden": [4], "members": 3}
    assert problem(make(loss={"name": "own", "way": "plain"}, model=table)) == (
        "loss: 'own' cannot take what this model gives in training: (batch, 3, 4), an output of each of its 3 members; "
        "build it with trainkit.supervised, or use another model"
    )
    assert problem(make(loss={"name": "own", "way": "tensor"})) == (
        "loss: 'own' gives a Tensor, expected a LossOutput(loss, outputs)"
    )
    train(make(loss={"name": "own", "way": "supervised"}, model=table, **SMALL), quiet=True)
    train(make(loss={"name": "own", "way": "plain"}, **SMALL), quiet=True)


class Norm(Length):
    """The mean of what the loss calls so."""

    name: Literal["norm"] = "norm"  # type: ignore[assignment]

    def build(self, target: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: outputs["norm"], device)


def test_a_loss_whose_outputs_are_a_nest(make: MakeExperiment) -> None:
    register("loss")(Own)
    register("metric")(Norm)
    own = {"name": "own", "way": "dict"}
    assert problem(make(loss=own)) == (
        "metrics: 'accuracy' wants an output for each of the 4 classes, but the loss 'own' gives a dict of logits "
        "(2, 4), norm (2,); let its LossOutput have such outputs, or name metrics of your own"
    )
    log = {"tensorboard": True, "confusion_matrix": True}
    result = train(make(loss=own, metrics=["norm"], log=log, **SMALL), quiet=True)
    told = (result.run_dir / "train.log").read_text()
    assert "the loss gives a dict of logits (16, 4), norm (16,), which are no predictions" in told
    found = evaluate_checkpoint(result.checkpoint)
    assert found.metrics["norm"] == pytest.approx(result.metrics["test/norm"])
    assert found.notes == ["the outputs are not one for each of the classes: there is nothing to say of each"]


@pytest.mark.parametrize("name", ["kind", "split", "step", "epoch", "best", "wall"])
def test_metrics_named_like_a_key_of_their_record(make: MakeExperiment, name: str) -> None:
    class Taken(Length):
        name: Literal["taken"] = "taken"  # type: ignore[assignment]

        @property
        def label(self) -> str:
            return name

    register("metric")(Taken)
    message = (
        "metrics: 'step' cannot be a metric's name: a record of an evaluation has its own value of that name (kind, "
        "split, step, epoch, best, wall); call it step_value, say"
    )
    message = message.replace("'step'", repr(name)).replace("step_value", f"{name}_value")
    assert problem(make(metrics=[{"name": "taken"}])) == message


class Embedding(nn.Module):
    """A vector for each number, and their mean."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(10, 1)
        self.last = nn.Linear(1, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.vectors(inputs % 10).mean(1))
        return outputs


@pytest.mark.parametrize(("model", "dtype"), [("embedding", torch.int64), ("mlp", torch.float32)])
def test_whole_numbers_reach_a_model_that_takes_nothing_else(
    make: MakeExperiment, model: str, dtype: torch.dtype
) -> None:
    register_model("embedding")(Embedding)
    rows = [[2**24 + 1, 3], [2**24, 4], [5, 6], [7, 8]]
    experiment = make(
        data={"name": "tensors", "inputs": rows, "targets": [0, 1, 0, 1], "val": 0},
        model={"name": model},
        optimizer={"name": "sgd"},
    )
    experiment, data, _ = open_data(experiment)
    parts, _ = build(experiment, data, CPU)
    inputs = parts.prepare(data.train.take(torch.arange(4)), None).inputs
    assert inputs.dtype == dtype
    assert torch.equal(inputs, torch.tensor(rows, dtype=dtype)[data.train.index])
