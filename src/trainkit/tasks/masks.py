"""Masks: the colours of their classes, and predicted ones at the size of their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.core.view import View
from trainkit.plots.figures import RGB
from trainkit.tasks.prediction import Prediction

IGNORED_COLOUR = (224, 224, 192)
"""Of pixels that do not count, as in PASCAL VOC."""
MOST_NUMBERS = 10_000_000
"""Logits at the size of a picture that are made at once."""


def palette(size: int) -> tuple[RGB, ...]:
    """Colours that can be told apart, the first black: those of PASCAL VOC, whose channels take the bits of a class's
    number in turn."""

    def channel(number: int, first: int) -> int:
        return sum((number >> (3 * place + first) & 1) << (7 - place) for place in range(3))

    return tuple((channel(number, 0), channel(number, 1), channel(number, 2)) for number in range(size))


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskPrediction(Prediction):
    """What the model says of one picture."""

    mask: Tensor
    """The class of each pixel of the picture at its own size, shape (height, width), uint8; `ignore_index` where the
    model has not seen it."""


def mask_of(logits: Tensor, view: View | None, outside: int) -> Tensor:
    """The class of each pixel of a picture, from logits for what a model has seen of it, which are interpolated.

    Args:
        logits: shape (classes, height, width).
        view: what was seen; None for all, at the same size.
        outside: what stands for pixels that were not seen.

    Returns:
        shape `view.size`, uint8, on the CPU.
    """
    if view in (None, View.whole((logits.shape[1], logits.shape[2]))):
        return logits.argmax(0).to(torch.uint8).cpu()
    assert view is not None
    height, width = view.size
    # From -1 to 1 within the view, as grid_sample has it.
    y = (torch.arange(height, device=logits.device) + 0.5 - view.top) / view.height * 2 - 1
    x = (torch.arange(width, device=logits.device) + 0.5 - view.left) / view.width * 2 - 1
    mask = torch.full((height, width), outside, dtype=torch.uint8)
    rows = max(1, MOST_NUMBERS // (len(logits) * width))
    for start in range(0, height, rows):
        some = y[start : start + rows]
        grid = torch.stack(torch.meshgrid(x, some, indexing="xy"), 2)[None]
        at = functional.grid_sample(logits[None], grid, padding_mode="border", align_corners=False)[0].argmax(0)
        seen = (some.abs() <= 1)[:, None] & (x.abs() <= 1)
        mask[start : start + rows] = torch.where(seen, at.to(torch.uint8), outside).cpu()
    return mask
