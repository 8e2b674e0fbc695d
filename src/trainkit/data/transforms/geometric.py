"""Geometric augmentation of training pictures: crops, flips, rotation, erasing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.core.nest import selected
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import PictureTransform, SampleRandom, ordered

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Angle = Annotated[float, Field(ge=-360, le=360)]
Pixel = Annotated[int, Field(ge=0, le=255)]


@register("transform")
class RandomCrop(PictureTransform):
    """Pad with black, then cut a window of the old size at a random place."""

    name: Literal["random_crop"] = "random_crop"
    padding: int = Field(4, ge=1)
    """Pixels added on each side."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "size": "the window has the images' own size",
        "fill": "the padding is black",
        "padding_mode": "the padding is black",
        "pad_if_needed": "the window has the images' own size",
    }

    def check(self, spec: DataSpec) -> None:
        height, width = spec.shape[-2:]
        if self.padding >= min(height, width):
            raise DataError(
                f"data.augment: random_crop: padding {self.padding} must be less than the images' sides "
                f"({height}x{width}), or some windows would be black"
            )

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return self._window(functional.pad(inputs, (self.padding,) * 4), draws)

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        padded = functional.pad(masks.unsqueeze(1), (self.padding,) * 4, value=fill)
        return self._window(padded, draws).squeeze(1)

    def _window(self, padded: Tensor, draws: SampleRandom) -> Tensor:
        offsets = 2 * self.padding + 1
        y = (draws("crop y") * offsets).long()
        x = (draws("crop x") * offsets).long()
        size = (padded.shape[1], *(side - 2 * self.padding for side in padded.shape[-2:]))
        of_sample, *steps = padded.stride()
        rest = sum((length - 1) * step for length, step in zip(size, steps, strict=True))
        # Every number begins a window, most of which are none: to take whole windows is ten times as fast as `windows[
        # sample, y, x]`.
        windows = padded.as_strided((padded.numel() - rest, *size), (1, *steps))
        start = torch.arange(len(padded), device=padded.device) * of_sample + y * steps[1] + x * steps[2]
        return selected(windows, start)


class _Flip(PictureTransform):
    """Base of the flips."""

    p: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are mirrored."""

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        return self.apply(masks.unsqueeze(1), draws).squeeze(1)

    def _flipped(self, inputs: Tensor, draw: Tensor, axis: int) -> Tensor:
        index = torch.arange(len(inputs), device=inputs.device)
        # Whole pictures: to choose pixel by pixel, as torch.where does, takes several times as long.
        both = torch.cat([inputs, inputs.flip(axis)])
        return selected(both, torch.where(draw < self.p, index + len(inputs), index))


@register("transform")
class RandomHorizontalFlip(_Flip):
    """Mirror left and right. Not for digits or text."""

    name: Literal["random_horizontal_flip"] = "random_horizontal_flip"

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return self._flipped(inputs, draws("flip"), -1)


@register("transform")
class RandomVerticalFlip(_Flip):
    """Mirror top and bottom: for pictures without an up, such as those from a microscope or a satellite."""

    name: Literal["random_vertical_flip"] = "random_vertical_flip"

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return self._flipped(inputs, draws("vertical flip"), -2)


@register("transform")
class RandomRotation(PictureTransform):
    """Turn about the centre; what was outside of the picture has the colour `fill`."""

    name: Literal["random_rotation"] = "random_rotation"
    degrees: Annotated[float, Field(ge=0, le=180)] | Annotated[tuple[Angle, Angle], AfterValidator(ordered)]
    """The largest angle in either direction, or [min, max]; counterclockwise is positive. Every angle in between is as
    likely."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How a pixel follows from those around its place in the old picture. (torchvision's default is `nearest`.)"""
    fill: Pixel = 0
    """Pixel value outside of the picture; 0 is black."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "expand": "the pictures keep their size",
        "center": "pictures are turned about their centre",
    }

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return _sampled(inputs, *self._old_positions(inputs, draws), self.interpolation, self.fill)

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        return _sampled(masks.unsqueeze(1), *self._old_positions(masks, draws), "nearest", fill).squeeze(1)

    def _old_positions(self, inputs: Tensor, draws: SampleRandom) -> tuple[Tensor, Tensor]:
        """Where the pixels come from: x and y, each of shape (batch, height, width)."""
        low, high = self.degrees if isinstance(self.degrees, tuple) else (-self.degrees, self.degrees)
        angle = draws("rotation", low, high).deg2rad()[:, None, None]
        height, width = inputs.shape[-2:]
        middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
        y = torch.arange(height, device=inputs.device)[:, None] - middle_y
        x = torch.arange(width, device=inputs.device) - middle_x
        old_x = angle.cos() * x - angle.sin() * y + middle_x
        old_y = angle.sin() * x + angle.cos() * y + middle_y
        return old_x, old_y


def _sampled(inputs: Tensor, x: Tensor, y: Tensor, interpolation: str = "bilinear", fill: int = 0) -> Tensor:
    """Pictures whose pixels come from given positions of the old ones; (0, 0) is the middle of the first pixel.

    Args:
        x: shape (batch, height, width), like `y`, or 1 in the place of a size.
    """
    height, width = inputs.shape[-2:]
    # What grid_sample wants: -1 … 1 from the first pixel's outer edge to that of the last one.
    grid = torch.stack(torch.broadcast_tensors((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)
    around = inputs.float() - fill  # because grid_sample puts zeros around a picture
    new = functional.grid_sample(around, grid, interpolation, "zeros", align_corners=False) + fill
    return new.round_().to(torch.uint8)


class Boxes(NamedTuple):
    """A rectangle in each picture, in whole pixels. Each of shape (batch,), float32."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def _boxes(
    size: Sequence[int], draws: SampleRandom, key: str, scale: tuple[float, float], ratio: tuple[float, float]
) -> Boxes:
    """Draw a box for each picture of this height and width.

    Its share of the area is even over `scale`, the logarithm of its width / height even over as much of `ratio` as fits
    into the picture with that area. (torchvision draws both anew until the box fits, which favours small boxes.) Where
    nothing of `ratio` fits, as in a very long picture, the box is smaller.
    """
    height, width = size
    share = draws(f"{key} area", *scale)
    # As wide as the picture is the most, as high as the picture the least.
    least, most = ((width / height * bound).clamp(*ratio).log() for bound in (share, 1 / share))
    across = (least + (most - least) * draws(f"{key} ratio")).exp()
    box_width = (share * across * (height * width)).sqrt()
    box_height = box_width / across
    fitting = torch.minimum(width / box_width, height / box_height).clamp(max=1)
    box_width = (box_width * fitting).round().clamp(min=1)
    box_height = (box_height * fitting).round().clamp(min=1)
    top = (draws(f"{key} y") * (height - box_height + 1)).floor()
    left = (draws(f"{key} x") * (width - box_width + 1)).floor()
    return Boxes(top, left, box_height, box_width)


@register("transform")
class RandomResizedCrop(PictureTransform):
    """Cut out a random box and enlarge it to the old size, bilinearly (Szegedy et al., 2015, arXiv:1409.4842)."""

    name: Literal["random_resized_crop"] = "random_resized_crop"
    scale: Annotated[tuple[Share, Share], AfterValidator(ordered)] = (0.08, 1.0)
    """Share of the picture's area that the box has: [min, max]."""
    ratio: Annotated[tuple[Positive, Positive], AfterValidator(ordered)] = (3 / 4, 4 / 3)
    """Width / height of the box: [min, max]."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "size": "the pictures keep their size, which data.size sets",
        "interpolation": "it is bilinear",
        "antialias": "the box is only ever enlarged",
    }

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return _sampled(inputs, *self._old_positions(inputs, draws))

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        return _sampled(masks.unsqueeze(1), *self._old_positions(masks, draws), "nearest").squeeze(1)

    def boxes(self, size: Sequence[int], draws: SampleRandom) -> Boxes:
        """What is cut out of each picture of this height and width."""
        return _boxes(size, draws, "resized crop", self.scale, self.ratio)

    def _old_positions(self, inputs: Tensor, draws: SampleRandom) -> tuple[Tensor, Tensor]:
        """Where the pixels come from: x, shape (batch, 1, width), and y, shape (batch, height, 1)."""
        box = self.boxes(inputs.shape[-2:], draws)
        y = _source_positions(inputs.shape[-2], box.top, box.height)[:, :, None]
        x = _source_positions(inputs.shape[-1], box.left, box.width)[:, None, :]
        return x, y


def _source_positions(pixels: int, start: Tensor, length: Tensor) -> Tensor:
    """Where the pixels of an enlarged stretch come from; never from outside of it. Shape (batch, pixels)."""
    middles = (torch.arange(pixels, device=start.device) + 0.5) / pixels
    start, length = start[:, None], length[:, None]
    return torch.clamp(start + middles * length - 0.5, start, start + length - 1)


@register("transform")
class RandomErasing(PictureTransform):
    """Paint over a random box (Zhong et al., 2020, arXiv:1708.04896)."""

    name: Literal["random_erasing"] = "random_erasing"
    p: float = Field(0.5, ge=0, le=1)
    """Share of the samples in which something is erased."""
    scale: Annotated[tuple[Share, Share], AfterValidator(ordered)] = (0.02, 0.33)
    """Share of the picture's area that is erased: [min, max]."""
    ratio: Annotated[tuple[Positive, Positive], AfterValidator(ordered)] = (0.3, 3.3)
    """Height / width of the box: [min, max]."""
    fill: Pixel = 0
    """Pixel value of the box, 0 … 255; 0 is black."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "inplace": "pictures are always copied",
    }

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return inputs.masked_fill(self._erased(inputs, draws)[:, None], self.fill)

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        return masks.masked_fill(self._erased(masks, draws), fill)

    def _erased(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        """Which pixels are painted over. Shape (batch, height, width), bool."""
        box = _boxes(inputs.shape[-2:], draws, "erasing", self.scale, (1 / self.ratio[1], 1 / self.ratio[0]))
        rows = _inside(inputs.shape[-2], box.top, box.height)[:, :, None]
        columns = _inside(inputs.shape[-1], box.left, box.width)[:, None, :]
        chosen = (draws("erasing") < self.p)[:, None, None]
        return rows & columns & chosen


def _inside(pixels: int, start: Tensor, length: Tensor) -> Tensor:
    """Which pixels of a line are in a stretch. Shape (batch, pixels), bool."""
    positions = torch.arange(pixels, device=start.device)
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])
