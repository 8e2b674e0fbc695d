"""The meter: means of losses, each step's weighed by what its loss counts."""

from __future__ import annotations

import pytest
import torch

from trainkit.training.meter import Meter
from trainkit.training.progress import Progress
from trainkit.training.step import StepOutput


def output(loss: float, samples: int, count: int | None = None, right: int | None = None) -> StepOutput:
    counted, judged = (None if one is None else torch.tensor(one) for one in (count, right))
    return StepOutput(torch.tensor(loss), samples, counted, None, 0.0, judged, updated=True)


def epoch_loss(*steps: tuple[float, int, int | None]) -> float:
    """Of steps with their losses, samples, and what they count instead."""
    progress = Progress()
    meter = Meter(progress, batches_per_epoch=len(steps))
    for loss, samples, count in steps:
        progress.step += 1
        meter.start()
        meter.add(output(loss, samples, count), 0.1)
    meter.read(torch.tensor(1.0), may_overflow=False)
    loss = meter.train_record(1.0).loss
    assert meter.epoch_record().loss == loss
    return loss


def test_a_step_is_weighed_by_its_samples_or_by_what_its_loss_counts() -> None:
    assert epoch_loss((1.0, 4, None), (2.0, 2, None)) == pytest.approx(8 / 6)
    assert epoch_loss((1.0, 4, 100), (2.0, 4, 300)) == 1.75
    assert epoch_loss((0.0, 4, 0), (2.0, 4, 300)) == 2.0


def test_a_loss_that_counts_nothing_is_0() -> None:
    assert epoch_loss((0.0, 4, 0), (0.0, 4, 0)) == 0.0


def test_the_first_step_in_which_nothing_counts_is_told_once() -> None:
    progress = Progress()
    meter = Meter(progress, batches_per_epoch=9)
    told = []
    for count in (3, 0, 0, 2, 0):
        progress.step += 1
        meter.add(output(1.0, 4, count), 0.1)
        meter.read(torch.tensor(1.0), may_overflow=False)
        told.append(meter.empty_step())
    assert told == [0, 2, 0, 0, 0]


def test_accuracy_is_of_the_samples_that_were_judged() -> None:
    progress = Progress()
    meter = Meter(progress, batches_per_epoch=3)
    for right, samples in ((3, 4), (None, 4), (1, 2)):
        progress.step += 1
        count = 50  # a loss over pixels is no other accuracy
        meter.add(output(1.0, samples, count, right), 0.1)
    meter.read(torch.tensor(1.0), may_overflow=False)
    assert meter.epoch_record().accuracy == 4 / 6
    assert meter.epoch_record().accuracy is None
