"""How far a run has come: the one value of a run that changes, and all of it goes into the checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from pydantic import Field

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Checked when a checkpoint is read."""
Amount = Count | Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Of samples, or of what else the loss counts, such as pixels."""


@dataclass(slots=True)
class Progress:
    """Counts are of finished steps only: what a step in the middle has consumed does not count."""

    step: Count = 0
    """Optimizer updates made."""
    epoch: Count = 0
    """Epochs finished."""
    batch: Count = 0
    """Batches consumed in the current epoch; at an epoch's end (epoch + 1, 0)."""
    evaluated: Count = 0
    """The step of the last evaluation."""
    best: float | None = None
    """The best value of the monitored metric."""
    best_step: Count = 0
    improved_to: float | None = None
    """The value of the last improvement that counted for early stopping."""
    bad_evals: Count = 0
    """Evaluations since the best, for early stopping."""
    stopped_early: bool = False
    kept: list[Count] = field(default_factory=list)
    """The steps of the checkpoints in the history, the oldest first."""
    skipped: Count = 0
    """Steps skipped because the loss or a gradient was not finite."""
    first_loss: float | None = None
    """The loss of the first step, before anything was learned."""
    undefined: list[str] = field(default_factory=list)
    """The metrics of which a value was no finite number, once."""
    window_loss: float = 0.0
    """Sum over samples since the last record."""
    window_samples: Amount = 0
    window_parts: dict[str, float] = field(default_factory=dict)
    """The same of each part of the loss."""
    epoch_loss: float = 0.0
    """Sum over samples since the epoch began."""
    epoch_samples: Amount = 0
    epoch_right: Amount = 0
    """How many samples were right in training since the epoch began…"""
    epoch_judged: Count = 0
    """…of so many."""

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)
