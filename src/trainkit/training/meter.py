"""The arithmetic of reporting: losses that stay on the device until they are read, means, and samples per second."""

from __future__ import annotations

import math
import sys
import time
from itertools import islice

from torch import Tensor, stack

from trainkit.core.errors import DivergedError
from trainkit.core.records import EpochRecord, TrainRecord
from trainkit.training.progress import Progress
from trainkit.training.step import StepOutput

NOTHING = sys.float_info.min
"""What a step counts in which nothing does: its loss of 0 is known, but has no weight beside those of other steps."""


class Meter:
    """Counts steps in and gives records out.

    The sums live in `progress`, so that the first record after a resume is the one that the uninterrupted run would
    have written. How often they are read changes no sum: the host adds the same numbers in the same order.
    """

    def __init__(self, progress: Progress, batches_per_epoch: int) -> None:
        self.progress = progress
        self.batches_per_epoch = batches_per_epoch
        self._unread: list[StepOutput] = []
        self._lr = self._norm = 0.0
        self._recorded = math.nan
        self._started = 0.0
        self._window_s = self._epoch_s = self._epoch_waited_s = 0.0
        self._window_samples = self._epoch_samples = 0
        self._empty: int | None = None
        """The first step in which nothing counts; 0 once it has been told."""

    def start(self) -> None:
        """The clock runs from here to `add`; evaluation and saving are not training time."""
        self._started = time.perf_counter()

    def add(self, output: StepOutput, lr: float) -> None:
        """Count in what a step did with this learning rate. Does not wait for the device."""
        self._unread.append(output)
        self._lr = lr
        self._epoch_waited_s += output.waited_s
        self._window_samples += output.samples
        self._window_s += time.perf_counter() - self._started

    def read(self, grad_norm: Tensor, *, may_overflow: bool) -> float:
        """Fetch every unread loss and the gradient norm of the last step: the one host sync of an interval.

        Args:
            may_overflow: gradients may be infinite, because such steps are skipped.

        Raises:
            DivergedError: one of them is not finite; names the first such step.
        """
        if not self._unread:  # this step has been read already
            return self._norm
        started = time.perf_counter()
        counted = [one.count.float() for one in self._unread if one.count is not None]
        judged = [one.right.float() for one in self._unread if one.right is not None]
        pieces = [part for one in self._unread for part in one.parts.values()]
        *read, norm = stack([*[one.loss for one in self._unread], *counted, *judged, *pieces, grad_norm]).tolist()
        numbers = iter(read)
        losses = list(islice(numbers, len(self._unread)))
        counts, rights = (iter(list(islice(numbers, len(some)))) for some in (counted, judged))
        first = self.progress.step - len(losses) + 1
        if self.progress.first_loss is None and math.isfinite(losses[0]):
            self.progress.first_loss = losses[0]
        for step, (loss, output) in enumerate(zip(losses, self._unread, strict=True), first):
            if not math.isfinite(loss):
                raise self._diverged("loss", step, norm)
            count = output.samples if output.count is None else max(next(counts), NOTHING)
            if count == NOTHING and self._empty is None:
                self._empty = step
            self.progress.window_loss += loss * count
            self.progress.window_samples += count
            self.progress.epoch_loss += loss * count
            self.progress.epoch_samples += count
            if output.right is not None:
                self.progress.epoch_right += next(rights)
                self.progress.epoch_judged += output.samples
            for name in output.parts:
                before = self.progress.window_parts.get(name, 0.0)
                self.progress.window_parts[name] = before + next(numbers) * count
        if not math.isfinite(norm) and not may_overflow:
            raise self._diverged("gradient", self.progress.step, norm)
        self._unread.clear()
        self._window_s += time.perf_counter() - started
        self._norm = norm
        return self._norm

    def lasting_loss(self) -> float:
        """The mean loss of the epoch, or of its latest steps where that is lower: no single step has caused it. Call
        `read` first."""
        progress = self.progress
        latest = _mean(progress.window_loss, progress.window_samples) if progress.window_samples else self._recorded
        return min(_mean(progress.epoch_loss, progress.epoch_samples), latest)

    def empty_step(self) -> int:
        """The first step in which nothing counted, told once; else 0. Call `read` first."""
        step = self._empty or 0
        self._empty = 0 if step else self._empty
        return step

    def train_record(self, grad_norm: float) -> TrainRecord:
        """What happened since the last such record. Call `read` first."""
        progress = self.progress
        record = TrainRecord(
            step=progress.step,
            epoch=progress.epoch + progress.batch / self.batches_per_epoch,
            loss=_mean(progress.window_loss, progress.window_samples),
            lr=self._lr,
            grad_norm=grad_norm,
            samples_per_s=self._window_samples / max(self._window_s, 1e-9),
            parts={name: _mean(total, progress.window_samples) for name, total in progress.window_parts.items()},
        )
        progress.window_parts = {}
        self._recorded = record.loss
        progress.window_loss, progress.window_samples = 0.0, 0
        self._epoch_s += self._window_s
        self._epoch_samples += self._window_samples
        self._window_s, self._window_samples = 0.0, 0
        return record

    def epoch_record(self) -> EpochRecord:
        """What the epoch that has just ended came to. Call `train_record` first."""
        progress = self.progress
        record = EpochRecord(
            step=progress.step,
            epoch=progress.epoch,
            loss=_mean(progress.epoch_loss, progress.epoch_samples),
            samples_per_s=self._epoch_samples / max(self._epoch_s, 1e-9),
            elapsed_s=self._epoch_s,
            waiting=self._epoch_waited_s / max(self._epoch_s, 1e-9),
            accuracy=progress.epoch_right / progress.epoch_judged if progress.epoch_judged else None,
        )
        progress.epoch_loss, progress.epoch_samples = 0.0, 0
        progress.epoch_right, progress.epoch_judged = 0, 0
        self._epoch_s, self._epoch_waited_s, self._epoch_samples = 0.0, 0.0, 0
        return record

    def _diverged(self, what: str, step: int, norm: float) -> DivergedError:
        epoch = self.progress.epoch + (self.progress.batch > 0)
        return DivergedError(
            f"the {what} is not finite at step {step} (epoch {epoch}, learning rate {self._lr:g}, "
            f"gradient norm {norm:g})"
        )


def _mean(total: float, count: float) -> float:
    """NaN where every step was skipped."""
    return total / count if count else math.nan
