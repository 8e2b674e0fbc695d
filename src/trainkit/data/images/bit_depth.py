"""Grey pictures of 16 and 32 bits a pixel: which of their values are black and white, and their 256 levels between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import AfterValidator, Field

Finite = Annotated[float, Field(allow_inf_nan=False)]


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] >= limits[1]:
        raise ValueError(f"expected [black, white], got [{limits[0]:g}, {limits[1]:g}]")
    return limits


Limits = Annotated[tuple[Finite, Finite], AfterValidator(_ascending)]
"""The values that become black and white."""

PHOTOMETRIC = 262
"""The tag of a TIFF that tells what its values mean."""
SIXTEEN_BITS: Limits = (0.0, 65535.0)
TAIL = 0.001
"""Of a picture's pixels, so many are too few to decide over its grey levels."""
LOOKED_AT = 100_000
"""Pixels of a picture, for its tails."""


def is_deep(picture: Image.Image) -> bool:
    """Whether its pixels are whole numbers of 16 or 32 bits, or floating-point numbers."""
    return picture.mode.startswith("I") or picture.mode == "F"


def white_is_zero(picture: Image.Image) -> bool:
    """Whether a deep TIFF says that its smallest value is white, which Pillow heeds for 8 bits alone."""
    return is_deep(picture) and getattr(picture, "tag_v2", {}).get(PHOTOMETRIC) == 0


def eight_bits(values: NDArray[np.generic], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """256 steps of equal width from the one limit to the other, both included; what lies beyond them, and what is no
    number, is black or white."""
    low, high = limits
    width = high - low + (1 if values.dtype.kind in "iu" else 0)  # whole numbers from 0 to 255 stay as they are
    with np.errstate(invalid="ignore", over="ignore"):
        levels = (values.astype(np.float64) - low) * 256 / width
    return np.nan_to_num(levels, nan=0.0).clip(0, 255).astype(np.uint8)


class Spread(NamedTuple):
    """Of the pixels of a picture or several: the smallest and largest, and those of all but the tails."""

    low: float
    high: float
    usual_low: float
    usual_high: float

    @property
    def limits(self) -> tuple[float, float]:
        return (self.low, self.high if self.high > self.low else self.low + 1)

    @property
    def usual_levels(self) -> int:
        """How many of the 256 grey levels are left to all pixels but the tails."""
        low, high = self.limits
        return max(1, round(256 * (self.usual_high - self.usual_low) / (high - low)))


def spread(values: NDArray[np.generic]) -> Spread | None:
    """Of one picture; None where no pixel is a finite number."""
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    if not finite.size:
        return None
    usual = np.quantile(finite[:: -(-finite.size // LOOKED_AT)].astype(np.float64), (TAIL, 1 - TAIL))
    return Spread(float(finite.min()), float(finite.max()), float(usual[0]), float(usual[1]))


def together(spreads: Iterable[Spread]) -> Spread:
    """Of all of them."""
    lows, highs, usual_lows, usual_highs = zip(*spreads, strict=True)
    return Spread(min(lows), max(highs), min(usual_lows), max(usual_highs))
