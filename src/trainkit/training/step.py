"""The arithmetic of an optimizer update: gradients of its batches, the update itself, and what it has to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.core.device import Precision
from trainkit.data import Batch
from trainkit.training.losses import LossFn, LossOutput

Share = Callable[[Tensor | None], float | Tensor]
"""By how much the mean loss of a batch counts in its step, given what the loss counts, shape (), where that is not
samples."""


class Step:
    """What a step does on the device, one operation after the other."""

    def __init__(
        self, model: nn.Module, loss_fn: LossFn, precision: Precision, optimizer: Optimizer, clip_norm: float | None
    ) -> None:
        self.model, self.loss_fn, self.precision, self.optimizer = model, loss_fn, precision, optimizer
        self.clip_norm = clip_norm
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, batch: Batch, share: Share | None) -> LossOutput:
        """Add the gradients of a prepared batch, times its share of the step; None for a batch that is all of it."""
        with self.precision.autocast():
            outcome = self.loss_fn(self.model, batch)
        self.precision.backward(outcome.loss if share is None else outcome.loss * share(outcome.count))
        return outcome

    def update(self, guard: Tensor | None) -> tuple[Tensor | None, bool]:
        """Change the parameters. Argument and result as of `Precision.update`."""
        return self.precision.update(self.optimizer, self.parameters, self.clip_norm, guard=guard)


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What one optimizer update did. The tensors are on the device; reading them waits for it."""

    loss: Tensor
    """Mean over the step's samples, or what else the loss counts, before the update, in the user's unit, shape ()."""
    samples: int
    count: Tensor | None
    """What the loss counts, shape (); None where that is samples."""
    grad_norm: Tensor | None
    """Global gradient norm (L2) before clipping, shape (); None when nothing is clipped."""
    waited_s: float
    """How long the data loader let the step wait."""
    right: Tensor | None
    """How many samples were right before the update, shape (); None where that is not told."""
    updated: bool
    """False for a step that was skipped because the loss or a gradient was not finite."""
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    """What the loss is made of, by its names, each as `loss` is."""
