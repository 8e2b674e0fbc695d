"""U-Net: a class for every pixel, from features of several scales."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.models.base import Dropout, ModelConfig, Width


class UNet(nn.Module):
    """Encoder and decoder with connections between equal scales (Ronneberger et al., 2015, arXiv:1505.04597).

    Unlike theirs, convolutions are padded and normalised, and a picture whose sides the scales do not divide is
    extended by its border and cut afterwards: outputs have the size of the inputs.
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...], num_outputs: int, dropout: float) -> None:
        super().__init__()
        self.stem = _convolutions(in_channels, channels[0])
        self.down = nn.ModuleList(_convolutions(*pair) for pair in pairwise(channels))
        deepest_first = channels[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, wide, 2, stride=2) for deep, wide in pairwise(deepest_first))
        self.merge = nn.ModuleList(_convolutions(2 * wide, wide) for wide in deepest_first[1:])
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(channels[0], num_outputs, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn pictures (batch, channels, height, width) into (batch, num_outputs, height, width)."""
        height, width = inputs.shape[-2:]
        stride = 2 ** len(self.down)
        features = self.stem(functional.pad(inputs, (0, -width % stride, 0, -height % stride), mode="replicate"))
        scales = []
        for convolutions in self.down:
            scales.append(features)
            features = convolutions(functional.max_pool2d(features, 2))
        features = self.dropout(features)
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([scales.pop(), up(features)], 1))
        outputs: Tensor = self.head(features)[..., :height, :width]
        return outputs


def _convolutions(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


@register("model")
class UNetConfig(ModelConfig):
    """A small U-Net, for segmentation (Ronneberger et al., 2015, arXiv:1505.04597)."""

    name: Literal["unet"] = "unet"
    channels: Annotated[tuple[Width, ...], Field(min_length=2)] = (16, 32, 64, 128)
    """Of each scale, from the full size on; every further one has half the height and width."""
    dropout: Dropout = 0.0
    """Share of the channels of the smallest scale set to zero in training."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        if len(spec.shape) != 3:
            raise ConfigError(f"model: unet needs pictures (channels, height, width), the data has shape {spec.shape}")
        channels, height, width = spec.shape
        if (least := 2 ** (len(self.channels) - 1)) > min(height, width):
            raise ConfigError(
                f"model.channels: {len(self.channels)} scales need pictures of {least}x{least} or more, these are "
                f"{height}x{width}; use fewer"
            )
        return UNet(channels, self.channels, num_outputs, self.dropout)
