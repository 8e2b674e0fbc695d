from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Batch
from trainkit.tasks import Classification, Regression, Segmentation
from trainkit.training.loss_sum import SumConfig
from trainkit.training.losses import CrossEntropyConfig, Given, LossConfig, LossOutput, MseConfig
from trainkit.training.segmentation_losses import DiceConfig, FocalConfig, dice_loss, focal_loss

THREE = Segmentation(size=3, counts=(50, 30, 20), samples=4)
EVERY: tuple[LossConfig, ...] = (
    CrossEntropyConfig(),
    CrossEntropyConfig(weight="balanced", label_smoothing=0.1),
    DiceConfig(),
    FocalConfig(),
    FocalConfig(gamma=0.5, weight=(1.0, 2.0, 3.0)),
    SumConfig.from_plain({"name": "sum", "of": [{"loss": "cross_entropy"}, {"loss": "dice", "weight": 0.5}]}),
)


def masks(seed: int = 0, ignored: float = 0.2, samples: int = 4) -> tuple[Tensor, Tensor]:
    """Logits and masks, some of whose pixels are ignored."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (samples, 5, 6), generator=generator).to(torch.uint8)
    targets[torch.rand(targets.shape, generator=generator) < ignored] = 255
    return torch.randn(samples, 3, 5, 6, generator=generator), targets


def of(loss: LossConfig, outputs: object, targets: Tensor, task: object = THREE) -> LossOutput:
    assert isinstance(task, Segmentation | Classification | Regression)
    index = torch.arange(len(targets))
    return loss.build(task)(Given(outputs), Batch(index, targets, index))


def test_cross_entropy_is_torchs_mean_over_the_pixels_that_count() -> None:
    outputs, targets = masks()
    found = of(CrossEntropyConfig(label_smoothing=0.1), outputs, targets)
    expected = functional.cross_entropy(outputs, targets.long(), ignore_index=255, label_smoothing=0.1)
    torch.testing.assert_close(found.loss, expected)
    assert found.count is not None
    assert int(found.count) == int((targets != 255).sum())


def test_weights_do_not_change_what_the_mean_is_over() -> None:
    outputs, targets = masks()
    each = functional.cross_entropy(
        outputs, targets.long(), torch.tensor([1.0, 2, 3]), ignore_index=255, reduction="none"
    )
    counts = targets != 255
    torch.testing.assert_close(
        of(CrossEntropyConfig(weight=(1, 2, 3)), outputs, targets).loss, each.sum() / counts.sum()
    )


def test_balanced_is_by_pixels() -> None:
    outputs, targets = masks()
    weight = tuple(100 / (3 * count) for count in (50, 30, 20))
    balanced = of(CrossEntropyConfig(weight="balanced"), outputs, targets).loss
    torch.testing.assert_close(balanced, of(CrossEntropyConfig(weight=weight), outputs, targets).loss)
    with pytest.raises(DataError, match="no training sample has the class '1'"):
        CrossEntropyConfig(weight="balanced").build(Segmentation(size=2, counts=(3, 0)))


def test_a_loss_of_pixels_in_parts_is_that_of_all() -> None:
    """So accumulation weighs them: by the pixels that count."""
    outputs, targets = masks()
    targets[:2, 2:] = 255
    for loss in (CrossEntropyConfig(weight=(1, 2, 3)), FocalConfig()):
        parts = [of(loss, *each) for each in zip(outputs.split(2), targets.split(2), strict=True)]
        total = sum(part.loss * part.count for part in parts if part.count is not None)
        count = sum(part.count for part in parts if part.count is not None)
        torch.testing.assert_close(total / count, of(loss, outputs, targets).loss)


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_that_is_all_ignored_costs_nothing(loss: LossConfig, dtype: torch.dtype) -> None:
    outputs, targets = masks(ignored=1)
    outputs = (100 * outputs).to(dtype).requires_grad_()
    found = of(loss, outputs, targets).loss
    found.backward()
    assert float(found.detach()) == 0
    assert outputs.grad is not None
    assert not outputs.grad.any()


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_gradients_are_finite(loss: LossConfig, size: float) -> None:
    """Also where a model is quite sure, right or wrong."""
    outputs, targets = masks()
    outputs = (size * outputs).requires_grad_()
    found = of(loss, outputs, targets).loss
    found.backward()
    assert math.isfinite(float(found.detach()))
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


@pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.name)
def test_a_constant_step_along_the_gradient_lowers_it(loss: LossConfig) -> None:
    outputs, targets = masks()
    outputs.requires_grad_()
    before = of(loss, outputs, targets).loss
    before.backward()
    assert outputs.grad is not None
    after = of(loss, (outputs - outputs.grad).detach(), targets).loss
    assert float(after) < float(before.detach())


def test_focal_of_two_classes_is_torchvisions() -> None:
    outputs, targets = torch.randn(7, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    ours = focal_loss(torch.stack([torch.zeros(7), outputs], 1), targets, 2.0, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(ours, sigmoid_focal_loss(outputs, targets.float(), alpha=0.25, gamma=2.0))


def test_focal_with_gamma_0_is_cross_entropy_and_mixed_samples_are_weighted() -> None:
    outputs, targets = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1, 0])
    ten, task = Batch(targets, targets, targets), Classification(size=3)
    plain = FocalConfig(gamma=0).build(task)(Given(outputs), ten).loss
    torch.testing.assert_close(plain, functional.cross_entropy(outputs, targets))
    shares = functional.one_hot(targets, 3).float()
    torch.testing.assert_close(focal_loss(outputs, shares, 2.0), focal_loss(outputs, targets, 2.0))


def test_dice_by_hand() -> None:
    """Of two pixels with p = (0.8, 0.4) for class 1, of which the first is of it; a third one is ignored."""
    chance = torch.tensor([0.8, 0.4, 0.9]).view(1, 1, 1, 3)
    outputs = torch.cat([(1 - chance).log(), chance.log()], 1)
    targets = torch.tensor([1, 0, 255], dtype=torch.uint8).view(1, 1, 3)
    ones, zeros = 2 * 0.8 / (1.2 + 1), 2 * 0.6 / (0.8 + 1)
    assert float(dice_loss(outputs, targets, 255)) == pytest.approx(1 - (ones + zeros) / 2)
    # A class that does not occur says nothing.
    three = torch.cat([outputs, torch.full((1, 1, 1, 3), -100.0)], 1)
    assert float(dice_loss(three, targets, 255)) == pytest.approx(1 - (ones + zeros) / 2)


@pytest.mark.parametrize("loss", [CrossEntropyConfig(), DiceConfig(), FocalConfig()], ids=lambda loss: loss.name)
def test_auxiliary_outputs_count_half(loss: LossConfig) -> None:
    outputs, targets = masks()
    other, _ = masks(seed=1)
    found = of(loss, {"out": outputs, "aux": other}, targets)
    assert found.outputs is outputs
    torch.testing.assert_close(found.loss, of(loss, outputs, targets).loss + 0.5 * of(loss, other, targets).loss)


def test_a_sum_asks_the_model_once() -> None:
    outputs, targets = masks()
    calls = []

    class Model(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            calls.append(inputs)
            return outputs

    index = torch.arange(4)
    found = EVERY[-1].build(THREE)(Model(), Batch(index, targets, index))
    assert len(calls) == 1
    torch.testing.assert_close(
        found.loss, of(CrossEntropyConfig(), outputs, targets).loss + 0.5 * of(DiceConfig(), outputs, targets).loss
    )
    assert not EVERY[-1].divisible
    assert found.count is None


def test_a_sum_of_losses_of_pixels_is_one() -> None:
    outputs, targets = masks()
    loss = SumConfig.from_plain({"of": [{"loss": "cross_entropy"}, {"loss": {"name": "focal", "gamma": 1}}]})
    assert loss.divisible
    found = of(loss, outputs, targets)
    assert found.count is not None
    assert int(found.count) == int((targets != 255).sum())


def test_a_sum_of_losses_in_standard_deviations() -> None:
    task = Regression(size=1, transform="standardize", mean=(10.0,), std=(4.0,), skewness=(0.0,))
    loss = SumConfig.from_plain({"of": [{"loss": "mse"}, {"loss": "l1", "weight": 2}]})
    assert loss.takes_transformed
    targets = torch.tensor([[14.0], [10.0]])
    found = of(loss, torch.zeros(2, 1), targets, task)
    assert float(found.loss) == pytest.approx(0.5 + 2 * 0.5)
    assert float(found.reported) == pytest.approx(8 + 2 * 2)
    torch.testing.assert_close(found.outputs, torch.full((2, 1), 10.0))


def test_what_does_not_go_together() -> None:
    with pytest.raises(
        ConfigError, match=r"loss: 'dice' needs a class for each pixel, the targets of the data are classes \(3\)"
    ):
        DiceConfig().num_outputs(Classification(size=3))
    with pytest.raises(ConfigError, match="different numbers of outputs: cross_entropy 2, bce_with_logits 1"):
        SumConfig.from_plain({"of": [{"loss": "cross_entropy"}, {"loss": "bce_with_logits"}]}).num_outputs(
            Classification(size=2)
        )
    with pytest.raises(ConfigError, match=r"loss\.weight: expected 3 values"):
        FocalConfig(weight=(1.0,)).num_outputs(THREE)
    assert MseConfig().divisible
