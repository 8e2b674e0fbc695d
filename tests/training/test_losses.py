from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Batch
from trainkit.tasks import Classification, MultiLabel, Regression, Task
from trainkit.training.losses import (
    BceWithLogitsConfig,
    CrossEntropyConfig,
    HuberConfig,
    L1Config,
    LossConfig,
    MseConfig,
    SmoothL1Config,
)

CLASSES = Classification(size=10)
BINARY = Classification(size=2)
LABELS = MultiLabel(size=3)
NUMBER = Regression(size=1)


def loss_of(config: LossConfig, target: Task, outputs: Any, targets: Any) -> float:
    outputs, targets = torch.tensor(outputs), torch.tensor(targets)
    batch = Batch(outputs, targets, torch.arange(len(outputs)))
    outcome = config.build(target)(nn.Identity(), batch)
    assert torch.equal(outcome.outputs, outputs)
    assert outcome.loss.shape == ()
    return outcome.loss.item()


def test_cross_entropy() -> None:
    config, three = CrossEntropyConfig(), Classification(size=3)
    assert loss_of(config, three, [[0.1, 0.2, 0.3]], [1]) == pytest.approx(1.1019, abs=5e-5)
    assert loss_of(config, CLASSES, [[0.0] * 10] * 4, [0, 3, 5, 9]) == pytest.approx(math.log(10))
    smooth = CrossEntropyConfig(label_smoothing=0.3)
    logits = torch.tensor([0.1, 0.2, 0.3])
    expected = -(torch.tensor([0.1, 0.8, 0.1]) * logits.log_softmax(0)).sum().item()
    assert loss_of(smooth, three, [logits.tolist()], [1]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (MseConfig(), 4 / 3),
        (L1Config(), 2 / 3),
        (SmoothL1Config(), 0.5),
        (SmoothL1Config(beta=4.0), 0.5 * 4 / 4 / 3),
        (HuberConfig(), 0.5),
        (HuberConfig(delta=0.5), 0.5 * (2 - 0.25) / 3),
        (HuberConfig(delta=4.0), 0.5 * 4 / 3),
    ],
)
def test_regression(config: LossConfig, expected: float) -> None:
    assert loss_of(config, NUMBER, [[1.0], [2.0], [3.0]], [[1.0], [2.0], [5.0]]) == pytest.approx(expected)


def test_class_weights() -> None:
    config, two = CrossEntropyConfig(weight=(1.0, 4.0)), Classification(size=2)
    # Equal logits cost log 2 each; the mean is over samples, not over the weights.
    assert loss_of(config, two, [[0.0, 0.0]] * 4, [0, 0, 0, 1]) == pytest.approx((3 + 4) / 4 * math.log(2))
    outputs, targets = torch.randn(7, 3), torch.tensor([0, 2, 1, 0, 0, 2, 1])
    weight, smoothing = (0.5, 1.0, 2.5), 0.2
    torchs = nn.functional.cross_entropy(outputs, targets, torch.tensor(weight), label_smoothing=smoothing)
    ours = loss_of(
        CrossEntropyConfig(weight=weight, label_smoothing=smoothing),
        Classification(size=3),
        outputs.tolist(),
        targets.tolist(),
    )
    assert ours * 7 / torch.tensor(weight)[targets].sum().item() == pytest.approx(torchs.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("config", "target"),
    [
        (CrossEntropyConfig(weight=(1.0, 9.0, 0.1)), Classification(size=3)),
        (BceWithLogitsConfig(pos_weight=(1.0, 9.0, 0.1)), LABELS),
    ],
)
def test_parts_of_a_batch_weighted_by_their_samples_are_the_batch(config: LossConfig, target: Task) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(8, 3)
    targets = torch.randint(3, (8,)) if target.name == "classification" else torch.randint(2, (8, 3)).float()
    parts = [
        len(part) * loss_of(config, target, outputs[part].tolist(), targets[part].tolist())
        for part in (torch.arange(5), torch.arange(5, 8))
    ]
    assert sum(parts) / 8 == pytest.approx(loss_of(config, target, outputs.tolist(), targets.tolist()), rel=1e-5)


def test_pos_weight() -> None:
    config = BceWithLogitsConfig(pos_weight=(3.0,))
    assert loss_of(config, BINARY, [[0.0], [0.0]], [1, 0]) == pytest.approx((3 + 1) / 2 * math.log(2))
    config = BceWithLogitsConfig(pos_weight=(3.0, 1.0, 5.0))
    ours = loss_of(config, LABELS, [[0.0, 0.0, 0.0]], [[1.0, 1.0, 0.0]])
    assert ours == pytest.approx((3 + 1 + 1) / 3 * math.log(2))


@pytest.mark.parametrize(
    ("config", "target"),
    [(CrossEntropyConfig(weight=(1.0, 2.0)), BINARY), (BceWithLogitsConfig(pos_weight=(2.0,)), BINARY)],
)
def test_weights_go_where_the_outputs_are(config: LossConfig, target: Task) -> None:
    outputs = torch.zeros(4, config.num_outputs(target), device="meta")
    batch = Batch(outputs, torch.zeros(4, dtype=torch.int64, device="meta"), torch.arange(4))
    assert config.build(target)(nn.Identity(), batch).loss.device.type == "meta"


@pytest.mark.parametrize("config", [MseConfig(), L1Config(), SmoothL1Config(), HuberConfig()])
def test_broadcasting_is_refused(config: LossConfig) -> None:
    with pytest.raises(DataError) as caught:
        loss_of(config, NUMBER, [[1.0], [2.0], [3.0]], [1.0, 2.0, 5.0])
    assert str(caught.value) == (
        "data: targets of shape (3,) for outputs of shape (3, 1); the source must give (batch, size)"
    )


def test_binary_with_one_output() -> None:
    outputs, targets = [[0.3], [-1.2], [2.0]], [1, 0, 0]
    probabilities = torch.sigmoid(torch.tensor([0.3, -1.2, 2.0]))
    expected = -(probabilities[0].log() + (1 - probabilities[1]).log() + (1 - probabilities[2]).log()) / 3
    assert loss_of(BceWithLogitsConfig(), BINARY, outputs, targets) == pytest.approx(expected.item())


def test_multilabel() -> None:
    outputs = [[0.3, -1.0, 0.0], [2.0, 0.5, -0.5]]
    targets = [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    expected = nn.functional.binary_cross_entropy(torch.sigmoid(torch.tensor(outputs)), torch.tensor(targets)).item()
    assert loss_of(BceWithLogitsConfig(), LABELS, outputs, targets) == pytest.approx(expected)
    whole = [[int(value) for value in row] for row in targets]
    assert loss_of(BceWithLogitsConfig(), LABELS, outputs, whole) == pytest.approx(expected)
    with pytest.raises(DataError, match=r"targets of shape \(2,\) for outputs of shape \(2, 3\)"):
        loss_of(BceWithLogitsConfig(), LABELS, outputs, [1.0, 0.0])


@pytest.mark.parametrize(
    ("config", "target", "num_outputs"),
    [
        (CrossEntropyConfig(), CLASSES, 10),
        (CrossEntropyConfig(), BINARY, 2),
        (BceWithLogitsConfig(), BINARY, 1),
        (BceWithLogitsConfig(), LABELS, 3),
        (MseConfig(), Regression(size=4), 4),
        (L1Config(), NUMBER, 1),
    ],
)
def test_outputs_follow_from_the_targets(config: LossConfig, target: Task, num_outputs: int) -> None:
    assert config.num_outputs(target) == num_outputs
    outputs = torch.randn(4, num_outputs, requires_grad=True)
    targets: Tensor = (
        torch.zeros(4, dtype=torch.int64) if target.name == "classification" else torch.zeros(4, target.size)
    )
    outcome = config.build(target)(nn.Identity(), Batch(outputs, targets, torch.arange(4)))
    outcome.loss.backward()
    assert outputs.grad is not None
    assert outputs.grad.shape == (4, num_outputs)


@pytest.mark.parametrize(
    ("config", "target", "message"),
    [
        (
            MseConfig(),
            CLASSES,
            (
                "loss: 'mse' needs numbers, the targets of the data are classes (10); "
                "use loss=cross_entropy, or change data"
            ),
        ),
        (
            CrossEntropyConfig(),
            NUMBER,
            (
                "loss: 'cross_entropy' needs classes, the targets of the data are numbers (1); "
                "use loss=mse, or change data"
            ),
        ),
        (
            CrossEntropyConfig(),
            LABELS,
            (
                "loss: 'cross_entropy' needs classes, the targets of the data are labels, any of them true (3); "
                "use loss=bce_with_logits, or change data"
            ),
        ),
        (
            BceWithLogitsConfig(),
            CLASSES,
            (
                "loss: 'bce_with_logits' needs labels or two classes, the targets of the data are classes (10); "
                "use loss=cross_entropy, or change data"
            ),
        ),
        (
            BceWithLogitsConfig(),
            NUMBER,
            (
                "loss: 'bce_with_logits' needs labels or two classes, the targets of the data are numbers (1); "
                "use loss=mse, or change data"
            ),
        ),
        (
            CrossEntropyConfig(weight=(1.0, 2.0)),
            CLASSES,
            "loss.weight: expected 10 values, one for each class, got 2",
        ),
        (
            BceWithLogitsConfig(pos_weight=(1.0,)),
            LABELS,
            "loss.pos_weight: expected 3 values, one for each label, got 1",
        ),
        (
            BceWithLogitsConfig(pos_weight=(1.0, 2.0)),
            BINARY,
            "loss.pos_weight: expected 1 value, one for each output, got 2",
        ),
        (
            SmoothL1Config(),
            LABELS,
            (
                "loss: 'smooth_l1' needs numbers, the targets of the data are labels, any of them true (3); "
                "use loss=bce_with_logits, or change data"
            ),
        ),
    ],
)
def test_misfits_name_loss_data_and_way_out(config: LossConfig, target: Task, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.num_outputs(target)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("config_class", "fields", "problem"),
    [
        (CrossEntropyConfig, {"weight": []}, "at least 1 item"),
        (CrossEntropyConfig, {"weight": [1, -1]}, "greater than or equal to 0"),
        (CrossEntropyConfig, {"label_smoothing": 1}, "less than 1"),
        (BceWithLogitsConfig, {"pos_weight": 2}, "valid array"),
        (HuberConfig, {"delta": 0}, "greater than 0"),
        (MseConfig, {"reduction": "sum"}, "Extra inputs are not permitted"),
    ],
)
def test_bad_values_are_refused(config_class: type[LossConfig], fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config_class.from_plain(fields)


@pytest.mark.parametrize(
    ("config", "by_hand", "seen"),
    [
        (CrossEntropyConfig(weight="balanced"), CrossEntropyConfig(weight=(4 / 6, 2.0)), [0, 0, 0, 1]),
        (BceWithLogitsConfig(pos_weight="balanced"), BceWithLogitsConfig(pos_weight=(3.0,)), [0, 0, 0, 1]),
        (
            BceWithLogitsConfig(pos_weight="balanced"),
            BceWithLogitsConfig(pos_weight=(0.0, 2.0)),
            [[1, 0], [1, 1], [1, 0]],
        ),
    ],
)
def test_balanced_weights_follow_the_training_samples(config: LossConfig, by_hand: LossConfig, seen: list[Any]) -> None:
    rows = isinstance(seen[0], list)
    samples = torch.tensor(seen)
    target: Task = (MultiLabel if rows else Classification)(size=2)
    target = target.measured(samples, samples, "none")
    outputs = [[0.5] * config.num_outputs(target)] * 2
    targets: list[Any] = [[1.0, 0.0], [0.0, 1.0]] if rows else [0, 1]
    assert loss_of(config, target, outputs, targets) == pytest.approx(loss_of(by_hand, target, outputs, targets))


def test_a_class_without_samples_cannot_be_balanced() -> None:
    target = Classification(size=3, names=("a", "b", "c"), counts=(1, 0, 1), samples=2)
    with pytest.raises(DataError, match="loss: balanced, but no training sample has the class 'b'"):
        CrossEntropyConfig(weight="balanced").build(target)
