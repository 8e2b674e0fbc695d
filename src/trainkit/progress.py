"""How far a run has come: the one value of a run that changes, and all of it goes into the checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


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
    improved_to: float | None = None
    """The value of the last improvement that counted for early stopping."""
    bad_evals: int = 0
    """Evaluations since the best, for early stopping."""
    stopped_early: bool = False
    skipped: int = 0
    """Steps left out because the loss or a gradient was not finite."""
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
