"""How far a run has come: the one value of a run that changes, and all of it goes into the checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, stack


@dataclass(slots=True)
class Progress:
    """Counts are of finished steps only: what a step in the middle has consumed does not count."""

    step: int = 0
    """Optimizer updates made."""
    epoch: int = 0
    """Epochs finished."""
    batch: int = 0
    """Batches consumed in the current epoch; at an epoch's end (epoch + 1, 0)."""
    evaluated: int = 0
    """The step of the last evaluation."""
    best: float | None = None
    """The best value of the monitored metric."""
    best_step: int = 0
    bad_evals: int = 0
    """Evaluations since the best, for early stopping."""
    stopped_early: bool = False
    window_loss: float = 0.0
    """Sum over samples since the last record."""
    window_samples: int = 0
    epoch_loss: float = 0.0
    """Sum over samples since the epoch began."""
    epoch_samples: int = 0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)


class Losses:
    """The losses of the latest steps: scalars on the device until `read` fetches all of them at once.

    Read before every record, evaluation and save; how often does not change any sum, because the host adds the same
    numbers in the same order.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._unread: list[tuple[Tensor, int]] = []

    def add(self, loss: Tensor, samples: int) -> None:
        """Count a step in: its mean loss, shape (), and its samples. Does not wait for the device."""
        self._unread.append((loss, samples))

    def read(self, *also: Tensor) -> tuple[int | None, list[float]]:
        """Fetch what is unread: the one host sync of an interval.

        Returns:
            The first step whose loss is not finite, and the values of the scalars in `also`.
        """
        if not self._unread and not also:
            return None, []
        values: list[float] = stack([*(loss for loss, _ in self._unread), *also]).tolist()
        first, bad = self.progress.step - len(self._unread) + 1, None
        for step, (_, samples) in enumerate(self._unread, first):
            value = values[step - first]
            if bad is None and not math.isfinite(value):
                bad = step
            self.progress.window_loss += value * samples
            self.progress.window_samples += samples
            self.progress.epoch_loss += value * samples
            self.progress.epoch_samples += samples
        also_values = values[len(self._unread) :]
        self._unread.clear()
        return bad, also_values

    def take_window(self) -> float:
        """The mean loss over the samples since the last record, which begins anew."""
        mean = self.progress.window_loss / max(self.progress.window_samples, 1)
        self.progress.window_loss, self.progress.window_samples = 0.0, 0
        return mean

    def take_epoch(self) -> float:
        """The mean loss over the samples of the epoch, which begins anew."""
        mean = self.progress.epoch_loss / max(self.progress.epoch_samples, 1)
        self.progress.epoch_loss, self.progress.epoch_samples = 0.0, 0
        return mean
