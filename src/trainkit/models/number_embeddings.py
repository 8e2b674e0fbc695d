"""What a network makes of the numbers of a table before its layers see them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

INITIAL_FREQUENCY = 0.1
"""Standard deviation of the frequencies at the beginning, in waves per unit of a scaled number: gently bent curves,
which learning may make steeper (as in RealMLP, arXiv:2407.04491)."""


class PeriodicEmbedding(nn.Module):
    """Every number with some waves of it: [x, cos(2 pi f_1 x + b_1), …], frequencies f and shifts b learned.

    A layer after it can bend each column in a way of its own, which one after the bare numbers cannot. Gorishniy et al.
    (2022, arXiv:2203.05556) have sin(2 pi f x) and cos(2 pi f x); Holzmüller et al. (2024, arXiv:2407.04491) one
    shifted wave instead, and x itself. Both mix the waves of a column by a linear layer of its own. Here the first
    layer of the network does, which takes a fraction of the time.

    Args:
        numbers: how many there are.
        waves: of each.
        rate: factor on the learning rate of frequencies and shifts.
    """

    def __init__(self, numbers: int, waves: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.frequency = nn.Parameter(torch.randn(numbers, waves) * (2 * math.pi * INITIAL_FREQUENCY / rate))
        self.shift = nn.Parameter((2 * torch.rand(numbers, waves) - 1) * (math.pi / rate))

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn (batch, numbers) into (batch, numbers * (1 + waves))."""
        angles = torch.addcmul(self.shift * self.rate, inputs.unsqueeze(2), self.frequency * self.rate)
        return torch.cat([inputs, angles.cos().flatten(1)], 1)
