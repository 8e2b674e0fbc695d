"""Targets of regression are learned in standard deviations; all that a person sees is in the user's unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainkit.checks.checking import check
from trainkit.checks.overfit import overfit
from trainkit.config import registry
from trainkit.config.base import Config
from trainkit.core.errors import DataError, TrainkitError
from trainkit.data import Batch, Data
from trainkit.experiment.building import agreed, build, open_data, open_experiment, warnings
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.runs import checkpoint
from trainkit.runs.checkpoint_schema import checked
from trainkit.runs.run import train
from trainkit.runs.summary_lines import baseline_loss
from trainkit.tasks import Regression, Task
from trainkit.tasks.target_scale import TargetScale, described, statistics
from trainkit.training.baseline_loss import constant_prediction, untrained
from trainkit.training.loop import train_steps
from trainkit.training.losses import (
    HuberConfig,
    L1Config,
    LossConfig,
    LossFn,
    LossOutput,
    MseConfig,
    SmoothL1Config,
    supervised,
)
from trainkit.training.progress import Progress

CPU = torch.device("cpu")
TWO = Regression(size=2, transform="standardize", mean=(100.0, 5.0), std=(10.0, 0.5), skewness=(0.0, 0.0))
LOG = Regression(size=1, transform="log", mean=(math.log(1000),), std=(math.log(10),), skewness=(3.4,))  # fmt: skip


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    for family in ("loss", "data"):
        monkeypatch.setitem(registry._families, family, dict(registry._families[family]))


def write(targets: Tensor, inputs: Tensor | None = None, path: str = "a.npz") -> None:
    if inputs is None:
        inputs = torch.randn(len(targets), 4, generator=torch.Generator().manual_seed(1))
    np.savez(path, inputs=inputs.numpy(), targets=targets.numpy())


def linear(count: int = 600, mean: float = 200_000.0, std: float = 50_000.0) -> Tensor:
    """Inputs and targets that a straight line explains; gives the inputs."""
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    score = inputs @ torch.tensor([1.0, -2.0, 0.5, 3.0])
    write(mean + std * score / score.std(), inputs)
    return inputs


def experiment(**sections: Any) -> ExperimentConfig:
    plain: dict[str, Any] = {
        "name": "numbers",
        "data": {"name": "tensors", "file": "a.npz", "target": "regression", "test": 0.2},
        "model": {"name": "mlp", "hidden": [16]},
        "loss": "mse",
        "metrics": ["r2", "mae"],
        "train": {"epochs": 2},
        "log": {"every": 2, "tensorboard": False},
    }
    for key, value in sections.items():
        merge = isinstance(value, dict) and isinstance(plain.get(key), dict) and "name" not in value
        plain[key] = {**plain[key], **value} if merge else value
    return ExperimentConfig.from_plain(plain)


def numbers(data: Data) -> Regression:
    assert isinstance(data.spec.task, Regression)
    return data.spec.task


def target_of(**sections: Any) -> Regression:
    return numbers(open_data(experiment(**sections))[1])


# What is measured


def test_mean_and_deviation_by_hand() -> None:
    found = statistics(torch.tensor([[1.0, 8.0], [3.0, 8.0], [5.0, 8.0]]), "auto")
    assert (found.transform, found.mean) == ("standardize", (3.0, 8.0))
    assert found.std == pytest.approx((math.sqrt(8 / 3), 1.0))  # what never changes is not divided by 0
    assert found.skewness == pytest.approx((0, 0), abs=1e-12)


def test_skewness_by_hand() -> None:
    # Deviations -1 (nine times) and 9: the variance is 9, the third moment (729 - 9) / 10.
    found = statistics(torch.tensor([[1.0]] * 9 + [[11.0]]), "standardize")
    assert found.skewness == pytest.approx((72 / 27,))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([[1.0] * 9 + [11.0]], "log"),
        ([[0.0] * 9 + [10.0]], "standardize"),  # as skew, but 0 has no logarithm
        ([[1.0] * 9 + [11.0], [1.0, 2.0] * 5], "standardize"),  # one column is not
        ([[11.0] * 9 + [1.0]], "standardize"),  # skewed to the other side
    ],
)
def test_auto(columns: list[list[float]], expected: str) -> None:
    assert statistics(torch.tensor(columns).T, "auto").transform == expected


def test_equal_numbers_have_no_deviation_however_they_are_rounded() -> None:
    found = statistics(torch.full((1001, 1), 0.1), "auto")
    assert found.std == (1.0,)
    assert statistics(torch.full((1001, 1), 0.1), "log").std == (1.0,)


def test_only_the_training_samples_are_measured() -> None:
    linear()
    _, data, _ = open_data(experiment())
    values = data.train.targets.double()
    assert numbers(data).mean == pytest.approx((float(values.mean()),))
    assert numbers(data).std == pytest.approx((float(values.std(correction=0)),))
    assert data.spec.task.unmeasured() == Regression(size=1)


# There and back


def test_there_and_back() -> None:
    scale, targets = TargetScale(TWO), torch.tensor([[110.0, 5.0], [80.0, 5.5]])
    assert scale.transform(targets).tolist() == [[1.0, 0.0], [-2.0, 1.0]]
    assert scale.undo(torch.tensor([[1.0, 0.0], [-2.0, 1.0]])).tolist() == targets.tolist()
    log = TargetScale(LOG)
    torch.testing.assert_close(log.transform(torch.tensor([[1000.0], [100.0]])), torch.tensor([[0.0], [-1.0]]))
    torch.testing.assert_close(log.undo(torch.tensor([[0.0], [-1.0]])), torch.tensor([[1000.0], [100.0]]))
    same = torch.ones(2, 1)
    assert Regression(size=1).untransform(same) is same


def test_logarithms_stay_finite() -> None:
    scale = TargetScale(LOG)
    # 20 deviations below the mean are as far as it goes: 10^-17
    assert scale.transform(torch.tensor([[0.0], [-3.0], [1e-30]])).tolist() == [[pytest.approx(-20, rel=1e-5)]] * 3
    said = scale.undo(torch.tensor([[1e9], [math.inf], [-1e9], [math.nan]]))
    assert said[:2].isfinite().all()
    assert said[2] == 0
    assert said[3].isnan()  # a model that says nothing is not hidden


def test_offsets_cost_no_digits() -> None:
    target = TWO.model_copy(update={"size": 1, "mean": (1e6 + 0.3,), "std": (0.25,), "skewness": (0.0,)})
    targets = torch.tensor([[1e6], [1e6 + 0.25], [1e6 + 0.5]])
    scale = TargetScale(target)
    assert scale.transform(targets).diff(dim=0).tolist() == [[1.0], [1.0]]
    assert scale.undo(scale.transform(targets)).tolist() == targets.tolist()


# The loss


def definition(config: LossConfig, errors: Sequence[float], unit: float) -> list[float]:
    """By hand, of errors in the user's unit; `beta` and `delta` are in deviations of so many units."""
    if isinstance(config, MseConfig):
        return [error**2 for error in errors]
    if isinstance(config, L1Config):
        return [abs(error) for error in errors]
    turn = unit * (config.beta if isinstance(config, SmoothL1Config) else 2.0)
    halves = [error**2 / 2 if abs(error) < turn else turn * (abs(error) - turn / 2) for error in errors]
    return [half / turn for half in halves] if isinstance(config, SmoothL1Config) else halves


@pytest.mark.parametrize("config", [MseConfig(), L1Config(), SmoothL1Config(beta=1.5), HuberConfig(delta=2.0)])
def test_the_reported_loss_is_the_definition_in_the_users_unit(config: LossConfig) -> None:
    # In deviations the model is off by 1 and -4 (first column), by 0.5 and 3 (second): 10, -40, 0.25 and 1.5 units.
    outputs = torch.tensor([[1.0, 0.5], [-4.0, 3.0]], requires_grad=True)
    targets = torch.tensor([[100.0, 5.0], [100.0, 5.0]])
    outcome = config.build(TWO)(nn.Identity(), Batch(outputs, targets, torch.arange(2)))
    by_hand = [*definition(config, [10.0, -40.0], 10.0), *definition(config, [0.25, 1.5], 0.5)]
    assert float(outcome.reported) == pytest.approx(sum(by_hand) / 4)
    in_deviations = definition(config, [1.0, -4.0, 0.5, 3.0], 1.0)
    assert float(outcome.loss.detach()) == pytest.approx(sum(in_deviations) / 4)
    assert outcome.outputs.tolist() == [[110.0, 5.25], [60.0, 6.5]]
    # and is that of the ordinary criterion with these outputs, for those that have no turn
    if isinstance(config, MseConfig | L1Config):
        plain = config.build(TWO.untransformed())(nn.Identity(), Batch(outcome.outputs, targets, torch.arange(2)))
        assert float(outcome.reported) == pytest.approx(float(plain.reported))
    outcome.loss.backward()
    assert outputs.grad is not None
    assert not outcome.reported.requires_grad


@pytest.mark.parametrize("target", [TWO, LOG])
def test_it_goes_where_the_outputs_are(target: Task) -> None:
    outputs = torch.zeros(4, target.size, device="meta")
    outcome = HuberConfig().build(target)(nn.Identity(), Batch(outputs, outputs, torch.arange(4)))
    assert {outcome.loss.device.type, outcome.outputs.device.type, outcome.reported.device.type} == {"meta"}


def test_the_loss_of_a_logarithm_is_its_own() -> None:
    outputs, targets = torch.tensor([[1.0], [0.0]]), torch.tensor([[1000.0], [100.0]])
    outcome = MseConfig().build(LOG)(nn.Identity(), Batch(outputs, targets, torch.arange(2)))
    assert float(outcome.reported) == pytest.approx(1.0)
    torch.testing.assert_close(outcome.outputs, torch.tensor([[10_000.0], [1000.0]]))


def test_what_is_not_finite_is_not_finite_in_any_unit() -> None:
    target = TWO.model_copy(update={"size": 1, "mean": (0.0,), "std": (1e-30,), "skewness": (0.0,)})
    for bad in (math.inf, math.nan):
        batch = Batch(torch.tensor([[bad]]), torch.tensor([[0.0]]), torch.arange(1))
        assert not MseConfig().build(target)(nn.Identity(), batch).reported.isfinite()


def test_shapes_that_would_be_broadcast_are_refused() -> None:
    batch = Batch(torch.zeros(3, 2), torch.zeros(3, 1), torch.arange(3))
    with pytest.raises(DataError, match=r"targets of shape \(3, 1\) for outputs of shape \(3, 2\)"):
        MseConfig().build(TWO)(nn.Identity(), batch)


def test_marks_are_those_of_the_reported_loss() -> None:
    linear()
    one = experiment()
    _, data, _ = open_data(one)
    variance = numbers(data).std[0] ** 2
    assert baseline_loss(one, data, one.loss.build(data.spec.task)) == pytest.approx(variance, rel=1e-3)
    # An untrained network says the mean.
    assert untrained(one.loss.build(data.spec.task), data.train, data.spec.task, 1) == pytest.approx(variance, rel=1e-3)
    l1 = L1Config()
    median = float((data.train.targets - data.train.targets.median()).abs().mean())
    guess = constant_prediction(l1.build(data.spec.task), data.train, data.spec.task, 1)
    assert guess == pytest.approx(median, rel=1e-2)


# A run


def test_targets_of_hundreds_of_thousands_are_learned(capsys: pytest.CaptureFixture[str]) -> None:
    inputs = linear()
    result = train(experiment(train={"epochs": 100}))
    assert result.metrics["test/r2"] > 0.9
    found = evaluate_checkpoint(result.checkpoint)
    assert found.metrics == {key: result.metrics[f"test/{key}"] for key in ("loss", "r2", "mae")}
    # Mean squared error and variance are of one unit.
    _, data, _ = open_data(experiment())
    assert data.test is not None
    targets = data.test.targets.double()
    explained = 1 - result.metrics["test/loss"] / float((targets - targets.mean()).square().mean())
    assert result.metrics["test/r2"] == pytest.approx(explained, rel=1e-4)
    # Predictions are in the user's unit, and those that the evaluation has seen.
    np.save("new.npy", inputs[data.test.index].numpy())
    said = torch.tensor([list(one.values.values()) for one in predict(result.checkpoint, "new.npy")])
    assert float((said - targets).abs().mean()) == pytest.approx(result.metrics["test/mae"], rel=1e-4)
    shown = capsys.readouterr().err
    assert "target     standardised (mean " in shown
    assert "warning" not in shown


def test_without_a_transform_it_is_as_it_was() -> None:
    linear()
    one = experiment(data={"target_transform": "none"})
    _, data, _ = open_data(one)
    assert numbers(data).transform == "none"
    parts, plan = build(one, data, CPU)
    largest = f"{float(data.train.targets.abs().max()):.4g}"
    [found] = warnings(one, data, parts, plan)
    assert found.code == "large-targets"
    assert found.text == (
        f"data: targets reach {largest}, far from a network's first answers; try data.target_transform=auto"
    )
    outcome = parts.loss_fn(parts.model, parts.prepare(data.train.take(torch.arange(4)), None))
    assert outcome.reported is outcome.loss


def test_the_checkpoint_has_what_was_measured_and_others_do_not_count() -> None:
    linear()
    result = train(experiment(), quiet=True)
    before = evaluate_checkpoint(result.checkpoint)
    stored = checkpoint.load(result.checkpoint)["spec"]["task"]
    assert stored["transform"] == "standardize"
    # Of the same test samples, among others to train on.
    _, data, _ = open_data(experiment())
    assert data.test is not None
    arrays = np.load("a.npz")
    kept = data.test.index.numpy()
    np.savez(
        "b.npz",
        inputs=arrays["inputs"][:50],
        targets=arrays["targets"][:50] * 1000,
        test_inputs=arrays["inputs"][kept],
        test_targets=arrays["targets"][kept],
    )
    other = evaluate_checkpoint(result.checkpoint, overrides=["data.file=b.npz"])
    assert other.metrics == pytest.approx(before.metrics, rel=1e-6)


def test_accumulated_batches_equal_one_big_batch() -> None:
    linear(150)
    losses = []
    weights = []
    # 108 samples: batches of 16 in groups of 2, the last one of 12.
    for batch_size, accumulate in ((16, 2), (32, 1)):
        one = experiment(
            loader={"batch_size": batch_size},
            train={"accumulate": accumulate},
            optimizer={"name": "sgd", "lr": 0.1},
        )
        opened = open_experiment(one)
        parts, plan = build(opened.experiment, opened.data, CPU)
        losses.append([float(output.loss) for output in islice(train_steps(parts, plan, Progress()), 8)])
        weights.append([parameter.detach() for parameter in parts.model.parameters()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for small, big in zip(*weights, strict=True):
        torch.testing.assert_close(small, big, rtol=1e-4, atol=1e-5)
    assert losses[0][0] > 1e6  # in the user's unit


def test_a_skewed_target_is_learned_as_a_logarithm() -> None:
    inputs = torch.randn(600, 4, generator=torch.Generator().manual_seed(0))
    score = inputs @ torch.tensor([1.0, -2.0, 0.5, 3.0])
    targets = torch.exp(12 + 1.2 * score / score.std())
    write(targets, inputs)
    assert target_of().transform == "log"
    result = train(experiment(train={"epochs": 20}, optimizer={"name": "adam", "lr": 0.01}), quiet=True)
    assert result.metrics["test/r2"] > 0.9
    assert result.metrics["test/loss"] < 0.1  # of a target with variance 1
    [said] = predict(result.checkpoint, saved(inputs[:1]))
    assert said.values["0"] == pytest.approx(float(targets[0]), rel=0.5)
    _, data, _ = open_data(experiment())
    assert f"log, then standardised (skewness {numbers(data).skewness[0]:.2g}); the loss is" in described(numbers(data))


def saved(inputs: Tensor) -> str:
    np.save("new.npy", inputs.numpy())
    return "new.npy"


def test_one_batch_is_memorised_in_the_users_unit() -> None:
    linear(100)
    opened = open_experiment(experiment(optimizer={"name": "adam", "lr": 0.01}))
    found = overfit(opened, samples=16, max_steps=1000)
    assert found.memorised
    assert found.start > 1e8
    assert found.baseline_loss is not None
    assert found.baseline_loss > 1e8


# Who takes it


class PoissonConfig(LossConfig):
    """A loss that wants counts."""

    name: Literal["poisson"] = "poisson"

    def num_outputs(self, target: Task) -> int:
        return target.size

    def build(self, target: Task) -> LossFn:
        return supervised(nn.PoissonNLLLoss())


class WeightedConfig(MseConfig):
    """Built upon one of trainkit's own, otherwise."""

    name: Literal["weighted"] = "weighted"  # type: ignore[assignment]

    def build(self, target: Task) -> LossFn:
        plain = super().build(target)

        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            loss, outputs = plain(model, batch)
            return LossOutput(2 * loss, outputs)

        return loss_fn


@pytest.mark.parametrize("config", [PoissonConfig, WeightedConfig])
def test_losses_of_users_get_targets_as_they_are(config: type[Config]) -> None:
    registry.register("loss")(config)
    name = config.model_fields["name"].default
    write(torch.arange(100.0) % 7 + 1)
    _, data, _ = open_data(experiment(loss=name))
    assert numbers(data).transform == "none"
    assert [note.text for note in data.notes] == [f"data.target_transform: the loss {name!r} takes targets as they are"]
    assert agreed(experiment(), data) is data
    result = train(experiment(loss=name, model={"name": "mlp", "hidden": [4]}), quiet=True)
    assert checkpoint.load(result.checkpoint)["spec"]["task"]["transform"] == "none"
    assert evaluate_checkpoint(result.checkpoint).metrics["loss"] == result.metrics["test/loss"]
    assert problem(loss=name, data={"target_transform": "standardize"}) == (
        f"data.target_transform: standardize, but the loss {name!r} takes targets as they are; use "
        "auto or none, or transform them in the loss"
    )


def problem(**sections: Any) -> str:
    with pytest.raises(TrainkitError) as caught:  # noqa: PT012  # some are found with the data, some when building
        opened = open_experiment(experiment(**sections))
        build(opened.experiment, opened.data, CPU)
    return str(caught.value)


def test_what_cannot_be() -> None:
    write(torch.tensor([3.0, 0.0, 5.0] * 20))
    assert problem(data={"target_transform": "log"}) == (
        "data.target_transform: log is for targets above 0, but the target of training sample 4 is 0; use standardize"
    )
    write(torch.arange(60) % 3)
    classes = {"name": "tensors", "file": "a.npz", "target_transform": "standardize"}
    assert problem(data=classes, loss="cross_entropy", metrics=["accuracy"]) == (
        "data.target_transform: standardize is for numbers, the targets of the data are classes; use auto"
    )
    for fine in ("auto", "none"):
        plain = {**classes, "target_transform": fine}
        assert not open_data(experiment(data=plain, loss="cross_entropy", metrics=["accuracy"]))[
            1
        ].spec.task.transformed


@pytest.mark.parametrize(
    "broken",
    [{"std": [0.0]}, {"std": [-1.0]}, {"mean": []}, {"transform": "none"}, {"transform": "root"}, {"skewness": [1, 2]}],
)
def test_a_checkpoint_with_other_numbers_is_damaged(broken: dict[str, Any]) -> None:
    linear()
    payload = checkpoint.load(train(experiment(), quiet=True).checkpoint)
    assert checked(payload, "x")
    payload["spec"]["task"].update(broken)
    with pytest.raises(TrainkitError, match=r"^x: spec\.task"):
        checked(payload, "x")


# What is told


def test_words() -> None:
    named = TWO.model_copy(update={"names": ("price", "rooms")})
    assert described(named) == "standardised (price: mean 100, deviation 10; rooms: mean 5, deviation 0.5)"
    assert described(LOG.model_copy(update={"names": ("price",)})) == (
        "price: log, then standardised (skewness 3.4); the loss is that of the logarithm"
    )
    assert described(Regression(size=1)) == "as they are"
    many = statistics(torch.randn(10, 5), "standardize")
    five = Regression(size=5, **many._asdict())
    assert described(five).endswith("; and 2 more)")


def test_a_target_that_never_changes_is_learned() -> None:
    write(torch.full((50,), 3.5))
    assert train(experiment(), quiet=True).metrics["test/mae"] < 10


def test_check_tells_as_well() -> None:
    write(torch.full((50,), 3.5))
    Path("my.yaml").write_text("data: {name: tensors, file: a.npz, target_transform: log}\nmodel: mlp\nloss: mse\n")
    assert "constant-target" in [finding.code for finding in check(Path("my.yaml"), [])]
