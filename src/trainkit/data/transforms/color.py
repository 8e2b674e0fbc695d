"""Colour: conversion between grey and RGB, and colour jitter as an augmentation of training pictures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import PictureTransform, SampleRandom, ordered

Amount = Annotated[float, Field(ge=0)]
Turn = Annotated[float, Field(ge=-0.5, le=0.5)]
Jitter = Amount | Annotated[tuple[Amount, Amount], AfterValidator(ordered)]


def luma(pictures: Tensor) -> Tensor:
    """How bright RGB pictures look (ITU-R BT.601). Shape (batch, 1, height, width), float32, from 0 to 255."""
    red, green, blue = pictures.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def with_channels(pictures: Tensor, channels: int) -> Tensor:
    """uint8 pictures made grey, or grey ones repeated over the channels.

    Raises:
        DataError: neither leads from the one number of channels to the other.
    """
    there = pictures.shape[1]
    if there == channels:
        return pictures
    if there == 1:
        return pictures.expand(-1, channels, -1, -1)
    if (there, channels) == (3, 1):
        return luma(pictures).round_().to(torch.uint8)
    raise DataError(f"data: pictures with {there} channels among pictures with {channels}")


@register("transform")
class ColorJitter(PictureTransform):
    """Change brightness, contrast, saturation and hue, in this order, each by a random amount."""

    name: Literal["color_jitter"] = "color_jitter"
    brightness: Jitter = 0.0
    """Pixels are multiplied by a factor from 1 - brightness to 1 + brightness (but not below 0), or from [min, max]."""
    contrast: Jitter = 0.0
    """The same for their difference to the picture's mean grey."""
    saturation: Jitter = 0.0
    """The same for their difference to their own grey value. Only for RGB pictures."""
    hue: Annotated[float, Field(ge=0, le=0.5)] | Annotated[tuple[Turn, Turn], AfterValidator(ordered)] = 0.0
    """Turn of the colour wheel, from -hue to hue, or from [min, max]; 0.5 is half a turn. Only for RGB pictures."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not self.model_fields_set - {"name"}:
            raise ValueError("color_jitter: give brightness, contrast, saturation or hue; without, nothing changes")
        return self

    def check(self, spec: DataSpec) -> None:
        self.check_grey_or_rgb(spec)
        for key in ("saturation", "hue"):
            if spec.shape[0] == 1 and getattr(self, key) != 0:
                raise DataError(f"data.augment: color_jitter: grey images have no {key} to change; leave it out")

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        pixels = inputs.float()
        if self.brightness != 0:
            pixels = (pixels * _factor(self.brightness, draws, "brightness")).clamp_(0, 255)
        if self.contrast != 0:
            grey = luma(pixels) if pixels.shape[1] == 3 else pixels
            mean = grey.mean((1, 2, 3), keepdim=True)
            pixels = torch.lerp(mean, pixels, _factor(self.contrast, draws, "contrast")).clamp_(0, 255)
        if self.saturation != 0:
            pixels = torch.lerp(luma(pixels), pixels, _factor(self.saturation, draws, "saturation")).clamp_(0, 255)
        if self.hue != 0:
            low, high = self.hue if isinstance(self.hue, tuple) else (-self.hue, self.hue)
            pixels = _turned(pixels, draws("hue", low, high)[:, None, None])
        return pixels.round_().to(torch.uint8)


def _factor(jitter: Jitter, draws: SampleRandom, key: str) -> Tensor:
    """Shape (batch, 1, 1, 1)."""
    low, high = jitter if isinstance(jitter, tuple) else (max(0.0, 1 - jitter), 1 + jitter)
    return draws(key, low, high)[:, None, None, None]


def _turned(pixels: Tensor, turn: Tensor) -> Tensor:
    """RGB pictures with the hue of HSV shifted, 1 being a whole turn.

    The way back follows https://en.wikipedia.org/wiki/HSL_and_HSV#HSV_to_RGB_alternative.
    """
    red, green, blue = pixels.unbind(1)
    high, low = pixels.amax(1), pixels.amin(1)
    chroma = high - low
    # In sixths of a turn; where chroma is 0 there is no hue, and any will do.
    sextant = torch.where(
        high == red, green - blue, torch.where(high == green, blue - red + 2 * chroma, red - green + 4 * chroma)
    ) / chroma.clamp(min=1e-6)
    sextant = sextant + 6 * turn
    k = torch.stack([(sextant + start) % 6 for start in (5, 3, 1)], dim=1)
    return high[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp_(0, 1)
