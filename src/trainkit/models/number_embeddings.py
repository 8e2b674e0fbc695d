"""What a network makes of the numbers of a table before its layers see them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

INITIAL_FREQUENCY = 0.1
"""Standard deviation of the frequencies at the beginning, in waves per unit of a scaled number: gently bent curves,
which learning may make steeper (as in RealMLP, arXiv:2407.04491)."""


class PeriodicEmbedding(nn.Module):
    """Every number as a short vector of the number itself and mixes of waves of it: [x, W cos(2 pi f x + b) + c].

    Frequencies f, shifts b, weights W and c are learned, and each column has its own. A layer after it can so bend each
    column as it needs, which one after the bare numbers cannot (Gorishniy et al., 2022, arXiv:2203.05556, who have
    sines and cosines without shifts; this form is PBLD of Holzmüller et al., 2024, arXiv:2407.04491, with 16 waves and
    vectors of 4).

    Args:
        numbers: how many there are.
        waves: of each number.
        dim: length of the vectors, at least 2.
        rate: factor on the learning rate.
    """

    def __init__(self, numbers: int, waves: int, dim: int, rate: float) -> None:
        super().__init__()
        self.rate = rate

        def between(limit: float, *shape: int) -> nn.Parameter:
            return nn.Parameter((2 * torch.rand(shape) - 1) * (limit / rate))

        self.frequency = nn.Parameter(torch.randn(numbers, waves) * (2 * math.pi * INITIAL_FREQUENCY / rate))
        self.shift = between(math.pi, numbers, waves)
        self.weight = between(1 / math.sqrt(waves), numbers, waves, dim - 1)
        self.bias = between(1 / math.sqrt(waves), numbers, dim - 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn (batch, numbers) into (batch, numbers * dim): the numbers first, then the mixes of each."""
        angles = torch.addcmul(self.shift * self.rate, inputs.unsqueeze(2), self.frequency * self.rate)
        mixes = torch.bmm(angles.cos().transpose(0, 1), self.weight * self.rate)  # (numbers, batch, dim - 1)
        return torch.cat([inputs, (mixes.transpose(0, 1) + self.bias * self.rate).flatten(1)], 1)
