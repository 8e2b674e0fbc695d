"""Where `supervised` and `LossOutput` were before they could be had from `trainkit`; goes with the next release."""

import warnings

from trainkit.training.losses import LossOutput as Outcome
from trainkit.training.losses import supervised

__all__ = ["Outcome", "supervised"]

warnings.warn(
    "trainkit.losses: use trainkit.supervised, and trainkit.LossOutput for Outcome", DeprecationWarning, stacklevel=2
)
