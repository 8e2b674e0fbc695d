"""Where `trainkit.supervised` and `trainkit.LossOutput` (then `Outcome`) were; goes with the next release."""

import warnings

from trainkit.training.losses import LossOutput as Outcome
from trainkit.training.losses import supervised

__all__ = ["Outcome", "supervised"]

# A DeprecationWarning would only be shown to code in `__main__`, and this one is for the modules of `imports`.
warnings.warn(
    "trainkit.losses: use trainkit.supervised, and trainkit.LossOutput for Outcome", FutureWarning, stacklevel=2
)
