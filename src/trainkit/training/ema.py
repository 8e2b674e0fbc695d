"""An exponential moving average of the weights."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Ema:
    """A second model whose weights follow those of the first, smoothed (Polyak and Juditsky, 1992).

    Its buffers, such as the statistics of BatchNorm, are the first model's, also where `forward` puts new ones in their
    place.

    Args:
        decay: share of the average that a step keeps. The first steps keep less, (1 + step) / (10 + step), so that the
            random beginning is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).requires_grad_(False)
        self.decay = decay
        self._averages, self._weights = _paired(self.model, model)
        modules = zip(self.model.modules(), model.modules(), strict=True)
        self._buffers = [(copy._buffers, module._buffers, name) for copy, module in modules for name in module._buffers]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights as they are after so many steps. Does not wait for the device."""
        keep = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._weights, 1 - keep)
        copies: list[Tensor] = []
        current: list[Tensor] = []
        for theirs, ours, name in self._buffers:
            copy, buffer = theirs[name], ours[name]
            if buffer is None or copy is None or copy.shape != buffer.shape:
                theirs[name] = None if buffer is None else buffer.clone()
            else:
                copies.append(copy)
                current.append(buffer)
        if copies:
            torch._foreach_copy_(copies, current)


class OptimizerAverage:
    """The weights that an optimizer evaluates instead of those that it trains, as schedule-free ones do (Defazio et
    al., 2024, arXiv:2405.15682): its `eval()` puts them into the model, and `train()` takes them out again.

    Args:
        trained: all that it trains, the model among it.
    """

    def __init__(self, model: nn.Module, trained: nn.Module, optimizer: Any) -> None:
        self._model, self._trained, self._optimizer = model, trained, optimizer
        self._copy = deepcopy(model).requires_grad_(False)
        optimizer.train()

    def update(self, step: int) -> None:
        """Nothing: the optimizer follows by itself."""

    @property
    @torch.no_grad()
    def model(self) -> nn.Module:
        """A copy of the model with these weights, as they are now."""
        kept = [parameter.clone() for parameter in self._trained.parameters()]
        self._optimizer.eval()
        self._copy.load_state_dict(self._model.state_dict())
        self._optimizer.train()
        for parameter, before in zip(self._trained.parameters(), kept, strict=True):
            parameter.copy_(before)  # there and back again is not the same to the last bit
        return self._copy


def average_of(optimizer: Optimizer, model: nn.Module, trained: nn.Module) -> OptimizerAverage | None:
    """What an optimizer evaluates where that is not what it trains. Arguments as of `OptimizerAverage`."""
    has_phases = hasattr(optimizer, "train") and hasattr(optimizer, "eval")
    return OptimizerAverage(model, trained, optimizer) if has_phases else None


def _paired(one: nn.Module, other: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of both that the optimizer changes; frozen ones are equal for ever."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    changing = [(average, weight) for average, weight in pairs if weight.requires_grad]
    return [average for average, _ in changing], [weight for _, weight in changing]
