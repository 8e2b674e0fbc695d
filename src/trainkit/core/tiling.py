"""Large pictures in overlapping tiles, of which each pixel belongs to one: the overlap-tile strategy of U-Net
(Ronneberger et al., 2015). The pixels that belong to another tile show a model what its own stand beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Patch:
    """One tile of a picture, in the picture's pixels. It may reach beyond a picture that is smaller."""

    top: int
    left: int
    own_top: int
    own_left: int
    own_bottom: int
    own_right: int
    """Which of its pixels belong to no other: those from `own_top` and `own_left` to before these."""

    @property
    def own(self) -> tuple[slice, slice]:
        """Rows and columns of its own pixels, in the tile."""
        return (
            slice(self.own_top - self.top, self.own_bottom - self.top),
            slice(self.own_left - self.left, self.own_right - self.left),
        )


def patches(size: tuple[int, int], shape: tuple[int, int], overlap: int) -> list[Patch]:
    """Tiles that cover a picture, spread evenly.

    Args:
        size: height and width of the picture.
        shape: those of a tile.
        overlap: how many rows and columns two neighbours have in common, at least.
    """
    down, across = (_spans(length, tile, overlap) for length, tile in zip(size, shape, strict=True))
    return [
        Patch(top, left, own_top, own_left, own_bottom, own_right)
        for top, own_top, own_bottom in down
        for left, own_left, own_right in across
    ]


def _spans(length: int, tile: int, overlap: int) -> list[tuple[int, int, int]]:
    """Along one side: where each tile begins, and where its own pixels begin and end."""
    gaps = max(0, -(-(length - tile) // (tile - overlap)))
    starts = [0] if not gaps else [round(number * (length - tile) / gaps) for number in range(gaps + 1)]
    borders = [0, *((left + right + tile) // 2 for left, right in pairwise(starts)), length]
    return list(zip(starts, borders, borders[1:], strict=False))


def joined(tiles: Tensor, found: Sequence[Patch]) -> Tensor:
    """A picture's mask out of those of its tiles, each pixel from the tile to which it belongs.

    Args:
        tiles: shape (tiles, height, width).
        found: which they are: all of a picture's, in their order.
    """
    mask = tiles.new_empty(found[-1].own_bottom, found[-1].own_right)
    for tile, patch in zip(tiles, found, strict=True):
        mask[patch.own_top : patch.own_bottom, patch.own_left : patch.own_right] = tile[patch.own]
    return mask
