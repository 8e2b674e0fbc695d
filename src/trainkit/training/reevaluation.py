"""Optimizers whose step evaluates the loss again: L-BFGS along a line, SAM at a point nearby."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps

import torch
from torch import Tensor

from trainkit.core import seeding
from trainkit.core.errors import ConfigError
from trainkit.data import Batch
from trainkit.training.loop import Parts, Plan


def reevaluating(parts: Parts, plan: Plan) -> Parts:
    """The same parts, whose optimizer gets with every step what evaluates the loss of its batch.

    Raises:
        ConfigError: a step is more than its batch and its gradients.
    """
    name = type(parts.optimizer).__name__
    refused = {
        "train.accumulate": plan.accumulate > 1,
        "train.clip_norm": plan.clip_norm is not None,
        "train.precision: fp16": parts.precision.scaler is not None,
    }
    if problems := [key for key, given in refused.items() if given]:
        raise ConfigError(
            *(f"{key}: {name} evaluates the loss of a step again, without it; leave it out" for key in problems)
        )
    seen: list[Batch] = []

    def prepare(batch: Batch, epoch: int | None) -> Batch:
        made = parts.prepare(batch, epoch)
        if epoch is not None:
            seen[:] = [made]
        return made

    @torch.enable_grad()
    def closure() -> Tensor:
        parts.optimizer.zero_grad()
        seeding.reseed_again(parts.device)  # the same dropout every time
        with parts.precision.autocast():
            loss = parts.loss_fn(parts.model, seen[0]).loss
        loss.backward()
        return loss.detach()

    once = parts.optimizer.step

    @wraps(once)
    def step() -> object:
        return once(closure)  # type: ignore[arg-type]  # torch says a number, and takes a tensor

    parts.optimizer.step = step  # type: ignore[assignment]  # as torch's schedulers do
    return replace(parts, prepare=prepare, cuda_graph=False)
