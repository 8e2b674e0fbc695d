"""RandAugment: an augmentation of several operations from a fixed table, drawn for every sample, of one strength."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainkit.config.registry import register
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import PictureTransform, SampleRandom

Operation = Callable[[Tensor], Tensor]
Table = list[tuple[Operation, Operation]]

BINS = 31
"""Strengths that `magnitude` can choose between, torchvision's `num_magnitude_bins`."""
GEOMETRIC = 5
"""Operations that move pixels, the first of the table."""


@register("transform")
class RandAugment(PictureTransform):
    """A few of 14 operations on place and colour, drawn for every sample (Cubuk et al., 2020, arXiv:1909.13719)."""

    name: Literal["rand_augment"] = "rand_augment"
    num_ops: int = Field(2, ge=0)
    """Operations one after the other; an operation may come twice."""
    magnitude: int = Field(9, ge=0, lt=BINS)
    """Strength of all operations."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "num_magnitude_bins": f"there are {BINS}, magnitude goes from 0 to {BINS - 1}",
        "interpolation": "it is nearest",
        "fill": "what was outside of a picture is black",
    }

    def check(self, spec: DataSpec) -> None:
        self.check_grey_or_rgb(spec)

    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        return self._operated(inputs, draws, operations(self.magnitude, *inputs.shape[-2:]))

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        height, width = masks.shape[-2:]
        table = operations(self.magnitude, height, width, fill)
        colours = len(table) - GEOMETRIC
        return self._operated(masks.unsqueeze(1), draws, table[:GEOMETRIC] + [(_same, _same)] * colours).squeeze(1)

    def _operated(self, inputs: Tensor, draws: SampleRandom, table: Table) -> Tensor:
        for step in range(self.num_ops):
            operation = (draws.on_host(f"rand_augment operation {step}") * len(table)).long().tolist()
            negative = (draws.on_host(f"rand_augment sign {step}") < 0.5).tolist()
            groups: dict[Operation, list[int]] = {}
            for row, (one, minus) in enumerate(zip(operation, negative, strict=True)):
                groups.setdefault(table[one][minus], []).append(row)
            outputs = torch.empty_like(inputs)
            for operate, members in groups.items():
                rows = torch.tensor(members).to(inputs.device, non_blocking=True)
                outputs[rows] = operate(inputs[rows])
            inputs = outputs
        return inputs


def _same(pictures: Tensor) -> Tensor:
    return pictures


def operations(magnitude: int, height: int, width: int, fill: int | None = None) -> Table:
    """The table of torchvision's `v2.RandAugment`: each operation with a positive and a negative strength, the
    geometric ones first.

    Where strength has no sign, both are the same.

    Args:
        fill: of what was outside of a picture; None is black.
    """
    from torchvision.transforms.v2 import functional as f  # seconds, so only when it is used

    def up_to(most: float) -> float:
        return float(torch.linspace(0.0, most, BINS)[magnitude])

    def signed(operate: Callable[[Tensor, float], Tensor], strength: float) -> tuple[Operation, Operation]:
        return lambda pictures: operate(pictures, strength), lambda pictures: operate(pictures, -strength)

    filled = None if fill is None else [float(fill)]
    affine = partial(f.affine, angle=0.0, scale=1.0, fill=filled)
    about_corner = partial(affine, translate=[0, 0], center=[0, 0])
    moved = partial(affine, shear=[0.0, 0.0])

    def slope(strength: float) -> float:
        return math.degrees(math.atan(strength))

    colour, shear = up_to(0.9), up_to(0.3)
    bits = round(8 - magnitude / ((BINS - 1) / 4))
    threshold = 255 * float(torch.linspace(1.0, 0.0, BINS)[magnitude])
    unsigned: list[Operation] = [
        _same,
        lambda pictures: f.posterize(pictures, bits),
        lambda pictures: f.solarize(pictures, threshold),
        f.autocontrast,
        f.equalize,
    ]
    return [
        signed(lambda pictures, by: about_corner(pictures, shear=[slope(by), 0.0]), shear),
        signed(lambda pictures, by: about_corner(pictures, shear=[0.0, slope(by)]), shear),
        signed(lambda pictures, by: moved(pictures, translate=[int(by), 0]), up_to(150 / 331 * width)),
        signed(lambda pictures, by: moved(pictures, translate=[0, int(by)]), up_to(150 / 331 * height)),
        signed(lambda pictures, by: f.rotate(pictures, by, fill=filled), up_to(30.0)),
        signed(lambda pictures, by: f.adjust_brightness(pictures, 1 + by), colour),
        signed(lambda pictures, by: f.adjust_saturation(pictures, 1 + by), colour),
        signed(lambda pictures, by: f.adjust_contrast(pictures, 1 + by), colour),
        signed(lambda pictures, by: f.adjust_sharpness(pictures, 1 + by), colour),
        *((operate, operate) for operate in unsigned),
    ]
