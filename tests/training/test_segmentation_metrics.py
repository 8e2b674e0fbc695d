from __future__ import annotations

import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from trainkit.core.errors import ConfigError
from trainkit.tasks import Classification, Segmentation
from trainkit.training.metrics import MetricConfig, default_metrics
from trainkit.training.segmentation_metrics import MeanDiceConfig, MeanIouConfig, PixelAccuracyConfig

CPU = torch.device("cpu")
OTHERS = {
    "mean_iou": MulticlassJaccardIndex(num_classes=4, ignore_index=255),
    "mean_dice": MulticlassF1Score(num_classes=4, ignore_index=255, average="macro"),
    "pixel_accuracy": MulticlassAccuracy(num_classes=4, ignore_index=255, average="micro"),
}
METRICS: tuple[MetricConfig, ...] = (MeanIouConfig(), MeanDiceConfig(), PixelAccuracyConfig())


@pytest.mark.parametrize("classes", [4, 3, 1], ids=["all occur", "one never occurs", "one class alone"])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_it_is_that_of_torchmetrics(metric: MetricConfig, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    other, built = OTHERS[metric.name], metric.build(Segmentation(size=4), 4, CPU)
    other.reset()
    for samples in (3, 1, 2):
        targets = torch.randint(classes, (samples, 7, 5), generator=generator)
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = 255
        outputs = torch.randn(samples, 4, 7, 5, generator=generator)
        outputs[:, classes:] -= 100
        built.update(outputs, targets.to(torch.uint8))
        other.update(outputs.argmax(1), targets)
    assert float(built.compute()) == pytest.approx(float(other.compute()), abs=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_shares_of_a_split_merge(metric: MetricConfig) -> None:
    outputs, targets = torch.randn(6, 4, 3, 3), torch.randint(4, (6, 3, 3)).to(torch.uint8)
    targets[:2] = 255
    whole, one, two, empty = (metric.build(Segmentation(size=4), 4, CPU) for _ in range(4))
    whole.update(outputs, targets)
    one.update(outputs[:4], targets[:4])
    two.update(outputs[4:], targets[4:])
    for other in (two, empty):
        one.merge(other)  # type: ignore[attr-defined]  # torchmetrics have none
    assert one.compute() == whole.compute()


def test_a_class_that_is_only_predicted_counts_as_0() -> None:
    outputs = torch.zeros(1, 3, 1, 2)
    outputs[0, 0, 0, 0] = outputs[0, 1, 0, 1] = 1.0  # said to be 0 and 1
    targets = torch.zeros(1, 1, 2, dtype=torch.uint8)
    for metric, expected in ((MeanIouConfig(), (1 / 2 + 0) / 2), (MeanDiceConfig(), (2 / 3 + 0) / 2)):
        built = metric.build(Segmentation(size=3), 3, CPU)
        built.update(outputs, targets)
        assert float(built.compute()) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_where_nothing_counts_it_is_0(metric: MetricConfig) -> None:
    built = metric.build(Segmentation(size=3), 3, CPU)
    built.update(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255, dtype=torch.uint8))
    assert float(built.compute()) == 0


def test_the_monitored_one() -> None:
    assert default_metrics(Segmentation(size=3))[0] == MeanIouConfig()
    with pytest.raises(ConfigError, match="'mean_iou' is for segmentation targets, not classification"):
        MeanIouConfig().check(Classification(size=3))
