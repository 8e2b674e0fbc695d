"""Pictures: uint8, brought to one size, scaled and normalised on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.data.images.bit_depth import Limits
from trainkit.data.inputs.base import InputKind


@register("input")
class Pictures(InputKind):
    """uint8 pictures (channels, height, width); `mean` and `std` in units of 0 … 1."""

    name: Literal["pictures"] = "pictures"
    range: Limits | None = None
    """Of pictures in files with more than 8 bits a pixel: the values that are black and white; None where training knew
    of none."""

    drawable: ClassVar = True
    pictures: ClassVar = True
    bounded: ClassVar = True
    memory_format: ClassVar = torch.channels_last
    array: ClassVar = "an .npy array of uint8"
    _axis: ClassVar[int] = 0

    @model_validator(mode="after")
    def _three_axes(self) -> Self:
        if len(self.shape) != 3:
            raise ValueError("an input of this kind has another number of axes")
        return self

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        # (x / 255 - mean) / std as one multiply-add
        mean = torch.tensor(self.mean or (0.0,), dtype=torch.float64)
        std = torch.tensor(self.std or (1.0,), dtype=torch.float64)
        channels, _, width = self.shape
        # For each number in a row of pixels: of two or three channels alone, no vector instruction is filled.
        scale, shift = (
            value.float().expand(channels).repeat(width).to(device) for value in (1 / (std * 255), -mean / std)
        )

        def prepare(inputs: Tensor) -> Tensor:
            prepared = inputs.to(torch.float32, memory_format=torch.channels_last)
            rows = prepared.permute(0, 2, 3, 1).view(-1, width * channels)
            torch.addcmul(shift, rows, scale, out=rows)
            return prepared

        return prepare

    def pixels(self, inputs: Tensor) -> Tensor:
        mean, std = (
            torch.tensor(given or (none,)).view(-1, 1, 1) for given, none in ((self.mean, 0.0), (self.std, 1.0))
        )
        pictures = (inputs.float().cpu() * std + mean).clamp(0, 1).mul(255).round().byte()
        return pictures[:, : 3 if pictures.shape[1] >= 3 else 1]

    def takes(self, array: NDArray[Any]) -> bool:
        return array.shape == self.shape and array.dtype == np.uint8

    def from_array(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array))
