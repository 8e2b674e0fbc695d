from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.conftest import MakeExperiment
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Numbers
from trainkit.data.tables.columns import Column
from trainkit.models.table import (
    Layout,
    Members,
    PeriodicEmbedding,
    TableModelConfig,
    TableNet,
    dropped,
    layout,
)
from trainkit.runs.run import train
from trainkit.tasks import Kind, Regression, task_class
from trainkit.training.losses import CrossEntropyConfig, MseConfig

COLUMNS = (
    Column(name="age"),
    Column(name="colour", kind="category", categories=("blue", "green", "red"), other=True),
    Column(name="income", marked=True),
    Column(name="town", kind="category", categories=tuple("abcdefghijk")),
    Column(name="smokes", kind="flag", marked=True),
    Column(name="since", kind="date", parts=("year", "month", "days"), marked=True),
)
INPUTS = 1 + 4 + 2 + 11 + 2 + 4


def spec(
    kind: Kind = "classification", size: int = 3, columns: tuple[Column, ...] = COLUMNS, inputs: int = INPUTS
) -> DataSpec:
    return DataSpec(input=Numbers(shape=(inputs,), columns=columns), task=task_class(kind)(size=size))


def build(data: DataSpec | None = None, num_outputs: int = 3, **options: Any) -> TableNet:
    model = TableModelConfig(**options).build(data or spec(), num_outputs)
    assert isinstance(model, TableNet)
    return model


def rows(count: int = 10) -> Tensor:
    """Rows in the layout of `COLUMNS`."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, INPUTS, generator=random)
    for start, width in ((1, 4), (7, 11)):
        words = torch.randint(width, (count,), generator=random)
        inputs[:, start : start + width] = functional.one_hot(words, width).float()
    for flag in (6, 18, 19, 23):
        inputs[:, flag] = (inputs[:, flag] > 0).float()
    return inputs


def test_layout() -> None:
    found = layout(COLUMNS, INPUTS, max_one_hot=8)
    assert found == Layout(numbers=(0, 5, 20, 21, 22), plain=(1, 2, 3, 4, 6, 18, 19, 23), categories=((7, 11),))
    assert layout(COLUMNS, INPUTS, max_one_hot=11).categories == ()
    assert layout(COLUMNS, INPUTS, max_one_hot=0).categories == ((1, 4), (7, 11))
    assert layout((), 3, max_one_hot=8) == Layout(numbers=(0, 1, 2), plain=(), categories=())


@pytest.mark.parametrize("columns", [COLUMNS, (), COLUMNS[:1], COLUMNS[1:2], COLUMNS[3:4], COLUMNS[4:5]])
@pytest.mark.parametrize(
    ("kind", "outputs"), [("classification", 3), ("classification", 1), ("regression", 2), ("multilabel", 4)]
)
def test_shapes_and_gradients(columns: tuple[Column, ...], kind: Kind, outputs: int) -> None:
    inputs = sum(column.width for column in columns) or 5
    model = build(spec(kind, max(outputs, 2), columns, inputs), outputs, hidden=(16, 8), members=2)
    given = torch.rand(6, inputs)
    answers = model(given)
    assert answers.shape == (6, 2, outputs)
    answers.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or not parameter.numel(), name
    assert model.eval()(given).shape == (6, outputs)
    assert model(given[:1]).shape == (1, outputs)


def test_inputs_of_any_shape_and_no_hidden_layer() -> None:
    data = DataSpec(input=Numbers(shape=(2, 4, 4)), task=Regression(size=2))
    model = build(data, 2, hidden=()).eval()
    assert model(torch.zeros(3, 2, 4, 4)).shape == (3, 2)


def test_an_unseen_word_is_no_word() -> None:
    model = build().eval()
    inputs = rows(4)
    inputs[:, 7:18] = 0
    assert model.features(inputs)[:, -8:].eq(0).all()


def test_a_mark_of_a_missing_number_is_no_number() -> None:
    model = build()
    marked, other = rows(4), rows(4)
    other[:, 6] = 1 - other[:, 6]
    differs = model.features(marked) != model.features(other)
    assert differs.sum(1).tolist() == [1, 1, 1, 1]


def test_parametrisation() -> None:
    """y = x W / sqrt(n) + b, whatever the rate: it shows only in how far a step of Adam goes."""
    inputs = torch.randn(2, 50, 16)
    moved = []
    for rate in (1.0, 10.0):
        torch.manual_seed(0)
        layer = Members(2, 16, 8, rate=rate, bias=1.0)
        outputs = layer(inputs, 1.0)
        torch.manual_seed(0)
        weight, bias = torch.randn(2, 16, 8), 2 * torch.rand(2, 1, 8) - 1
        torch.testing.assert_close(outputs, inputs @ weight / 4 + bias)
        torch.testing.assert_close(layer(inputs, 2.0), inputs @ weight / 2 + bias)
        outputs.sum().backward()
        torch.optim.Adam(layer.parameters(), lr=1e-3).step()
        moved.append(float((layer(inputs, 1.0) - outputs).detach().abs().mean()))
    assert moved[1] / moved[0] == pytest.approx(10, rel=1e-3)


def test_numbers_become_vectors_of_waves() -> None:
    embedding = PeriodicEmbedding(2, 5, 4, rate=0.5)
    inputs = torch.randn(6, 2)
    made = embedding(inputs)
    assert torch.equal(made[:, :2], inputs)
    frequency, shift, weight, bias = (0.5 * parameter for parameter in embedding.parameters())
    for number in range(2):
        waves = torch.cos(inputs[:, number : number + 1] * frequency[number] + shift[number])
        expected = waves @ weight[number] + bias[number]
        torch.testing.assert_close(made[:, 2 + 3 * number : 5 + 3 * number], expected)


def test_numbers_may_stay_as_they_are() -> None:
    model = build(spec(columns=(), inputs=5), number_dim=1)
    inputs = torch.randn(3, 5)
    assert torch.equal(model.features(inputs), inputs)


def test_dropped() -> None:
    torch.manual_seed(0)
    inputs = torch.ones(3, 333, 111)
    made = dropped(inputs, 0.15)
    assert made.unique().tolist() == [0, 1]
    assert float(made.mean()) == pytest.approx(1 - 38 / 256, abs=0.005)  # n = 110,889: five deviations of a coin
    assert float((made[0] * made[1]).mean()) == pytest.approx((1 - 38 / 256) ** 2, abs=0.015)
    torch.manual_seed(0)
    assert torch.equal(dropped(inputs, 0.15), made)


def test_ensemble_mean_has_the_mean_of_the_probabilities() -> None:
    answers = torch.randn(4, 5, 3)
    torch.testing.assert_close(
        task_class("classification")(size=3).combined(answers).softmax(1), answers.softmax(2).mean(0)
    )
    torch.testing.assert_close(task_class("multilabel")(size=3).combined(answers).sigmoid(), answers.sigmoid().mean(0))
    torch.testing.assert_close(
        task_class("classification")(size=2).combined(answers[..., :1]).sigmoid(), answers[..., :1].sigmoid().mean(0)
    )
    torch.testing.assert_close(task_class("regression")(size=3).combined(answers), answers.mean(0))


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_members_that_agree_are_left_alone(kind: Kind) -> None:
    task, answer = task_class(kind)(size=3), 20 * torch.randn(5, 3)
    torch.testing.assert_close(task.combined(answer.expand(4, 5, 3)), answer, rtol=1e-4, atol=1e-3)
    far = torch.tensor([[[500.0, -500.0, 0.0]]])
    assert task.combined(far).isfinite().all()


def test_members_learn_by_themselves() -> None:
    """The gradient of the loss is that of each member's own loss, over the number of members."""
    model = build(members=2, dropout=0.0)
    batch = Batch(rows(12), torch.arange(12) % 3, torch.arange(12))
    outcome = CrossEntropyConfig().build(spec().task)(model, batch)
    assert outcome.outputs.shape == (12, 3)
    alone = [functional.cross_entropy(model(batch.inputs)[:, member], batch.targets) for member in range(2)]
    torch.testing.assert_close(outcome.loss, (alone[0] + alone[1]) / 2)
    outcome.loss.backward()
    found = model.head.weight.grad
    assert found is not None
    (first,) = torch.autograd.grad(alone[0], model.head.weight)
    torch.testing.assert_close(found[0], first[0] / 2)
    numbers = Batch(rows(12), torch.randn(12, 3), torch.arange(12))
    regression = build(spec("regression"), members=2, dropout=0.0)
    loss = MseConfig().build(Regression(size=3))(regression, numbers).loss
    torch.testing.assert_close(loss, (regression(numbers.inputs) - numbers.targets.unsqueeze(1)).square().mean())


def test_a_sample_has_the_same_answer_in_any_batch() -> None:
    model, inputs = build().eval(), rows(10)
    alone = torch.cat([model(inputs[place : place + 1]) for place in range(10)])
    torch.testing.assert_close(model(inputs), alone, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_a_checkpoint_brings_them_back() -> None:
    torch.manual_seed(1)
    model = build()
    torch.manual_seed(1)
    again = build()
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    other = build().eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(rows()), model.eval()(rows()))
    assert not {"numbers", "plain"} & model.state_dict().keys()


def test_at_the_beginning_answers_are_of_size_one() -> None:
    torch.manual_seed(0)
    model = build(spec("regression", 1), 1, members=64).eval()
    model.train()
    answers = model(rows(200))
    assert 0.1 < float(answers.detach().std()) < 2
    assert math.isfinite(float(answers.detach().sum()))


def mixed_rows(count: int) -> tuple[list[list[float]], list[int]]:
    """Rows whose class needs a product of two numbers: more than a linear model can tell."""
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(count, 4, generator=random)
    return inputs.tolist(), (inputs[:, 0] * inputs[:, 1] > 0).long().tolist()


def test_learns_what_no_linear_model_can(make: MakeExperiment, one_thread: None) -> None:
    inputs, targets = mixed_rows(600)
    experiment = make(
        data={"name": "tensors", "inputs": inputs, "targets": targets, "val": 0.2, "test": 0.2},
        model={"name": "table"},
        optimizer={"name": "adamw", "lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.05},
        scheduler="coslog",
        train={"epochs": 20},
    )
    assert train(experiment, quiet=True).metrics["test/accuracy"] > 0.8  # a linear model: about 0.5
