"""What stands beside a result: a constant prediction, learned in training and judged on the split, and an interval."""

from __future__ import annotations

import pytest
import torch

from trainkit.tasks import Classification, MultiLabel, Regression, Segmentation, Task
from trainkit.training.metrics import MetricConfig, metric_of
from trainkit.training.segmentation_metrics import MeanIouConfig
from trainkit.training.yardstick import Yardstick, lines, wilson, yardsticks


@pytest.mark.parametrize(
    # Brown, Cai and DasGupta (2001) define it; these are by R 4.3, binom::binom.wilson.
    ("right", "samples", "low", "high"),
    [(18, 18, 0.8241, 1.0), (0, 10, 0.0, 0.2775), (352, 360, 0.9568, 0.9887), (1, 2, 0.0945, 0.9055)],
)
def test_the_interval_of_a_share(right: int, samples: int, low: float, high: float) -> None:
    assert wilson(right / samples, samples) == pytest.approx((low, high), abs=1e-4)


def found(
    task: Task, names: list[str | MetricConfig], train: torch.Tensor, split: torch.Tensor, num_outputs: int
) -> dict[str, Yardstick]:
    metrics = [metric_of(name) if isinstance(name, str) else name for name in names]
    return yardsticks({metric.label: 0.5 for metric in metrics}, metrics, task, num_outputs, train, split)


@pytest.mark.parametrize("num_outputs", [1, 2])
def test_of_classes_it_is_the_commonest_of_the_training(num_outputs: int) -> None:
    task = Classification(size=2, names=("no", "yes"))
    train, split = torch.tensor([1, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1])
    beside = found(task, ["accuracy", "f1", "auroc"], train, split, num_outputs)
    assert beside["accuracy"].answer == "always 'yes'"
    assert beside["accuracy"].constant == pytest.approx(2 / 5)
    assert beside["f1"].constant == pytest.approx((2 * 2 / 7) / 2)  # of `no` none is found
    assert beside["auroc"].constant == 0.5
    assert beside["accuracy"].low == pytest.approx(wilson(0.5, 5)[0])
    assert beside["f1"].low is None
    assert beside["accuracy"].samples == 5


def test_of_numbers_it_is_the_mean_or_the_median_whichever_is_better() -> None:
    train, split = torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([[2.0], [4.0]])
    beside = found(Regression(size=1), ["mae", "rmse", "r2"], train, split, 1)
    assert (beside["mae"].constant, beside["mae"].answer) == (1.0, "always the mean, 4")
    assert beside["rmse"].constant == pytest.approx(2**0.5)
    assert beside["r2"].constant == -1.0  # in training it is 0
    far = found(Regression(size=1), ["mae"], torch.tensor([[1.0], [2.0], [90.0]]), split, 1)
    assert far["mae"].said("mae") == "1 (always the median, 2)"


def test_of_labels_it_is_what_most_samples_have_or_all_of_them() -> None:
    train = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    beside = found(MultiLabel(size=2, names=("a", "b")), ["accuracy", "recall"], train, train, 2)
    assert beside["accuracy"].constant == pytest.approx(2 / 3)
    assert beside["accuracy"].answer == "always a"
    assert (beside["recall"].constant, beside["recall"].answer) == (1.0, "always all labels")
    assert beside["accuracy"].low is None  # several decisions about one sample are not independent


def test_of_masks_it_is_the_class_with_most_pixels() -> None:
    masks = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [1, 255]]], dtype=torch.uint8)
    beside = found(Segmentation(size=2, names=("grass", "cow")), [MeanIouConfig()], masks, masks, 2)
    assert beside["mean_iou"].constant == pytest.approx(5 / 7 / 2)
    assert beside["mean_iou"].answer == "always 'grass'"


def test_outputs_that_only_a_loss_understands_have_none() -> None:
    beside = found(Regression(size=1), ["mae"], torch.ones(3, 1), torch.ones(3, 1), 2)
    assert beside == {"mae": Yardstick(3)}
    assert beside["mae"].to_plain() == {"samples": 3}


def test_as_a_table() -> None:
    told = {"val/accuracy": Yardstick(18, 0.5, "always 'a'", 0.8241, 1.0), "test/loss": Yardstick(20, 0.6931)}
    assert lines(told) == [
        "              samples  95 % interval      a constant prediction gives",
        "val/accuracy       18  82.41 to 100.00 %  50.00 % (always 'a')",
        "test/loss          20                     0.6931",
    ]
    assert lines({"val/mae": Yardstick(3)}) == []
    assert lines({"val/mae": Yardstick(3, 0.5)}) == [
        "         samples  a constant prediction gives",
        "val/mae        3  0.5",
    ]
