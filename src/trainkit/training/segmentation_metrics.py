"""Metrics of segmentation: counts of pixels over a whole split, divided once."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from trainkit.config.registry import register
from trainkit.tasks import Segmentation, Task
from trainkit.training.metrics import ClassMean, Metric, MetricConfig, Ratio


class PixelMetricConfig(MetricConfig):
    """Base of the metrics of the classes of pixels. Those that are ignored do not count; where none counts, it is 0."""

    works_on: ClassVar = (Segmentation,)
    average: ClassVar[str] = "macro"
    ratio: ClassVar[Ratio]

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        assert isinstance(task, Segmentation)
        return ClassMean(task.tally(device), self.average, all_count=False, ratio=type(self).ratio)


@register("metric")
class MeanIouConfig(PixelMetricConfig):
    """Intersection over union (Jaccard index) of each class over the whole split, the mean over the classes.

    A class that has no pixel in the split and is predicted for none is left out of the mean; one that is predicted
    where it never is counts as 0.
    """

    name: Literal["mean_iou"] = "mean_iou"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (right, support + predicted - right))


@register("metric")
class MeanDiceConfig(PixelMetricConfig):
    """Dice coefficient (F1) of each class over the whole split, the mean over the classes; of those that never occur as
    `mean_iou`."""

    name: Literal["mean_dice"] = "mean_dice"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (2 * right, support + predicted))


@register("metric")
class PixelAccuracyConfig(PixelMetricConfig):
    """Share of the pixels of the whole split whose class is right."""

    name: Literal["pixel_accuracy"] = "pixel_accuracy"
    average: ClassVar[str] = "micro"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (right, support))
