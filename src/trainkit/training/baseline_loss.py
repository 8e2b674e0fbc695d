"""Baseline losses: of predictions that look at no input, against which a loss is held."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy

import torch
from torch import Tensor, nn

from trainkit.core import nest
from trainkit.core.nest import Nest
from trainkit.core.seeding import generator, permutation
from trainkit.data import Batch, Split
from trainkit.data.splitting import balanced_weights
from trainkit.tasks import Task
from trainkit.training.losses import Given, LossFn, LossOutput

MOST_TARGETS = 10_000
MOST_NUMBERS = 10_000_000
"""In so many predictions; there may be very many classes."""


def constant_prediction(
    loss_fn: LossFn, split: Split, task: Task, num_outputs: int, *, balanced: bool = False
) -> float | None:
    """The loss of the best constant prediction, whatever the loss: found by L-BFGS, for a few numbers.

    Gives None for a loss that asks more of a model than outputs.

    Args:
        balanced: every class counts as if it were as frequent as the others, as with `loader.sampler=balanced`.
    """
    return constant_losses(loss_fn, {"train": split}, task, num_outputs, balanced=balanced).get("train")


def constant_losses(
    loss_fn: LossFn, splits: Mapping[str, Split], task: Task, num_outputs: int, *, balanced: bool = False
) -> dict[str, float]:
    """The same on several splits, for the prediction that is best on `train`; nothing instead of None."""
    split = splits["train"]
    targets = _some_targets(split, task, num_outputs)
    if balanced:
        weights = balanced_weights(targets, task)
        drawn = weights.multinomial(len(weights), replacement=True, generator=generator(0, "baseline"))
        targets = nest.take(targets, drawn)
    constant = nn.Parameter(task.constant(targets, num_outputs))
    search = torch.optim.LBFGS([constant], max_iter=50, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        search.zero_grad()
        loss = _loss_output(loss_fn, task, constant, targets).loss
        loss.backward()
        return loss

    loss_fn = _on_cpu(loss_fn)
    with suppress(Exception), torch.enable_grad():  # a user's loss may ask anything of a model, which is none here
        search.step(cost)
        found = {name: _some_targets(other, task, num_outputs) for name, other in splits.items() if other is not split}
        given = {"train": targets, **found}
        return {
            name: float(_loss_output(loss_fn, task, constant.detach(), some).reported.detach())
            for name, some in given.items()
        }
    return {}


def untrained(loss_fn: LossFn, split: Split, task: Task, num_outputs: int) -> float | None:
    """The loss of outputs that are all 0, as those of a fresh network nearly are: ln C for C classes, that of the
    mean as a constant prediction where targets are standardised; None as above."""
    with suppress(Exception):
        targets = _some_targets(split, task, num_outputs)
        return float(_loss_output(_on_cpu(loss_fn), task, torch.zeros(num_outputs), targets).reported.detach())
    return None


def _on_cpu(loss_fn: LossFn) -> LossFn:
    """A copy of a loss with parameters, where the targets lie."""
    return deepcopy(loss_fn).cpu() if isinstance(loss_fn, nn.Module) else loss_fn


def _some_targets(split: Split, task: Task, num_outputs: int) -> Nest:
    count = min(MOST_TARGETS, max(100, MOST_NUMBERS // num_outputs))
    return task.thinned(nest.take(split.targets, permutation(len(split), 0, "baseline")[:count]))


def _loss_output(loss_fn: LossFn, task: Task, constant: Tensor, targets: Nest) -> LossOutput:
    count = nest.num_samples(targets)
    return loss_fn(Given(task.repeated(constant, targets)), Batch(torch.zeros(count, 1), targets, torch.arange(count)))
