"""Which part of a picture a model sees, so that what it says of its input can be said of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class View:
    """A picture brought to the size that a model takes: scaled, cut, or with something beside it."""

    size: tuple[int, int]
    """Height and width of the picture as it is shown, in its pixels."""
    top: float
    left: float
    height: float
    width: float
    """The part of the picture that fills the model's input, in the picture's pixels; where the input was padded, it
    reaches beyond the picture."""

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Self:
        """All of a picture, whatever its size has become."""
        return cls(size, 0.0, 0.0, *size)

    def then(self, other: View) -> View:
        """What is seen where the other view is one of what this one shows."""
        down, right = self.height / other.size[0], self.width / other.size[1]
        return View(
            self.size,
            self.top + other.top * down,
            self.left + other.left * right,
            other.height * down,
            other.width * right,
        )
