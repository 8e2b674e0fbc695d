"""One class of several for each pixel of a picture: semantic segmentation.

One file, since it answers all that is asked of a task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.nest import Nest
from trainkit.core.text import counted
from trainkit.core.tiling import Patch, joined
from trainkit.core.view import View
from trainkit.plots.figures import RGB, Legend, Tile
from trainkit.tasks.base import TargetError
from trainkit.tasks.categorical import Categorical
from trainkit.tasks.masks import IGNORED_COLOUR, MaskPrediction, mask_of, palette
from trainkit.tasks.pixel_scores import PixelTally
from trainkit.tasks.prediction import Cell, Prediction

MOST_PIXELS = 30_000
"""Of which the best constant outputs are found."""
OVERLAID = 0.5
"""How much of an overlay is the mask."""
AT_ONCE = 64
"""Masks that are counted together: each pixel takes eight bytes then."""

Channel = Annotated[int, Field(ge=0, le=255)]


@register("task")
class Segmentation(Categorical):
    """One class of several for each pixel. Targets: shape (batch, height, width), uint8, a class or `ignore_index`.
    Outputs: a logit for each class at each pixel, shape (batch, size, height, width); in training maybe a dict of
    them, of which `out` counts and the others are auxiliary."""

    name: Literal["segmentation"] = "segmentation"
    size: int = Field(ge=1, le=255)
    ignore_index: int = Field(255, ge=0, le=255)
    """The target of pixels that do not count."""
    colours: tuple[tuple[Channel, Channel, Channel], ...] = ()
    """Of the classes, in masks that are drawn or written; empty: those of a fixed palette."""

    noun: ClassVar = ("class", "classes")
    phrase: ClassVar = "a class for each pixel"
    default_loss: ClassVar = "cross_entropy"
    default_metrics: ClassVar = ("mean_iou",)
    memorised: ClassVar = "pixel_accuracy"
    missing: ClassVar = "has a pixel of the class"
    counted_in: ClassVar = "pixels"
    writes: ClassVar = "masks"
    drawn: ClassVar = "picture, truth and prediction"
    reading: ClassVar = None

    @model_validator(mode="after")
    def _classes_are_told_apart(self) -> Self:
        if len(self.colours) not in (0, self.size):
            raise ValueError("has too many or too few colours")
        if self.ignore_index < self.size:
            raise ValueError("ignore_index is one of the classes")
        return self

    # The targets

    @classmethod
    def of(cls, targets: Tensor, names: Sequence[str] = ()) -> Self:
        there = _pixels(targets)[:255].nonzero()
        found = int(there.max()) + 1 if len(there) else 0
        if names and found > len(names):
            raise TargetError(f"class {found - 1} in the masks, but classes has {len(names)} names")
        return cls(size=len(names) or max(2, found), names=tuple(names))

    @classmethod
    def as_targets(cls, values: Tensor, size: int | None = None) -> Tensor:
        if values.is_floating_point() or values.ndim != 3:
            raise TargetError("masks are whole numbers of shape (samples, height, width)")
        unknown = (values < 0) | (values > 255) | ((values >= (size or 255)) & (values != 255))
        if len(bad := unknown.flatten(1).any(1).nonzero()):
            row = int(bad[0])
            value = int(values[row][unknown[row]][0])
            raise TargetError(f"value {value} in a mask, which is neither a class nor 255 for what is ignored", row)
        return values.to(torch.uint8)

    @property
    def mask_fill(self) -> int:
        return self.ignore_index

    def check(self, targets: Tensor, split: str) -> None:
        pixels = _pixels(targets).tolist()
        problems = [
            f"data: the value {value} in masks of the {split} split, {counted(count, 'pixel')}; there are only the "
            f"classes 0 to {self.size - 1}, and {self.ignore_index} for what is ignored"
            for value, count in enumerate(pixels)
            if count and value >= self.size and value != self.ignore_index
        ]
        if problems:
            raise DataError(*problems)

    def count(self, targets: Tensor) -> tuple[int, ...]:
        return tuple(_pixels(targets)[: self.size].tolist())

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        yield from super().diagnostics(targets, pictures=pictures)
        if sum(count > 0 for count in self.counts) == 1:
            text = "data: all pixels of the training masks are of one class; there is nothing to tell apart"
            yield Diagnostic("one-class", text)
        empty = int((targets == self.ignore_index).flatten(1).all(1).sum())
        if empty:
            text = f"{counted(empty, 'training sample')} of {len(targets):,} have no pixel that counts"
            yield Diagnostic("ignored-pictures", f"data: {text}: all of the mask is {self.ignore_index}")

    # The outputs

    def output_shape(self, num_outputs: int, input_shape: Sequence[int]) -> tuple[int, ...]:
        return (num_outputs, *input_shape[-2:])

    def main(self, outputs: Nest) -> Nest:
        return outputs["out"] if isinstance(outputs, Mapping) and "out" in outputs else outputs

    def predicts(self, outputs: Nest) -> bool:
        return isinstance(outputs, Tensor) and outputs.ndim == 4 and outputs.shape[1] == self.size

    def kept(self, outputs: Tensor) -> Tensor:
        """The class of each pixel alone, shape (batch, height, width), uint8: the logits of a split may need more
        memory than there is."""
        return self.decisions(outputs).to(torch.uint8)

    def decisions(self, outputs: Tensor) -> Tensor:
        """The class of each pixel, shape (batch, height, width), of outputs as a model gives them, or kept ones."""
        return outputs.argmax(1) if outputs.ndim == 4 else outputs

    def constant(self, targets: Tensor, num_outputs: int) -> Tensor:
        if num_outputs != self.size:
            return super().constant(targets, num_outputs)
        return _pixels(targets)[: self.size].float().add(1).log()  # the best ones of a cross-entropy

    def constants(self, targets: Tensor, num_outputs: int) -> dict[str, Tensor]:
        if not self.answered_by(num_outputs):
            return {}
        logits = self.constant(targets, num_outputs)
        return {f"always {self.known_names[int(logits.argmax())]!r}": logits}

    def repeated(self, constant: Tensor, targets: Tensor) -> Tensor:
        return constant.view(1, -1, 1, 1).expand(len(targets), -1, *targets.shape[1:])

    def thinned(self, targets: Tensor) -> Tensor:
        step = max(1, round((targets.numel() / MOST_PIXELS) ** 0.5))
        return targets[:, ::step, ::step]

    # What a prediction is, and how good

    def words(self, value: Tensor) -> str:
        """The classes in a mask, the largest first."""
        return ", ".join(self._found(_pixels(value[None]))) or "nothing that counts"

    def _found(self, pixels: Tensor) -> tuple[str, ...]:
        """The classes of which there are pixels, the largest first."""
        pixels = pixels[: self.size]
        order = pixels.argsort(descending=True, stable=True)[: int((pixels > 0).sum())]
        return tuple(self.known_names[number] for number in order.tolist())

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The share of the pixels that count which are wrong; 0 where none counts."""
        counts = targets != self.ignore_index
        wrong = (self.decisions(outputs) != targets) & counts
        return wrong.flatten(1).sum(1) / counts.flatten(1).sum(1).clamp(min=1)

    def wrong(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.errors(outputs, targets) > 0

    @property
    def palette(self) -> tuple[RGB, ...]:
        """A colour for each class."""
        return self.colours or palette(self.size)

    @property
    def legend(self) -> Legend:
        return [*zip(self.known_names, self.palette, strict=True), ("ignored", IGNORED_COLOUR)]

    def coloured(self, masks: Tensor) -> Tensor:
        """Masks as pictures: uint8, shape (n, 3, height, width)."""
        table = torch.tensor(IGNORED_COLOUR, dtype=torch.uint8).repeat(256, 1)
        table[: self.size] = torch.tensor(self.palette, dtype=torch.uint8)
        return table[masks.cpu().long()].movedim(-1, 1)

    def labelled(self, pictures: Tensor, targets: Tensor) -> list[Tile]:
        """With the mask beside each picture."""
        masks = self.coloured(targets)
        return [
            Tile(picture, self.words(target), beside=(mask,))
            for picture, target, mask in zip(pictures, targets, masks, strict=True)
        ]

    def tiles(self, pictures: Tensor, outputs: Tensor, targets: Tensor) -> list[Tile]:
        """With the true and the predicted mask beside each picture, and the share of the pixels that is right."""
        decided = self.decisions(outputs)
        truths, predictions = self.coloured(targets), self.coloured(decided)
        return [
            Tile(picture, self.words(target), self.words(prediction), f"{1 - error:.0%}", beside=(truth, predicted))
            for picture, target, prediction, error, truth, predicted in zip(
                pictures,
                targets,
                decided,
                self.errors(decided, targets).tolist(),
                truths,
                predictions,
                strict=True,
            )
        ]

    def tally(self, device: torch.device) -> PixelTally:
        return PixelTally(self.known_names, self.decisions, self.ignore_index, device)

    # Predictions of new samples

    def predictions(self, inputs: Sequence[str], outputs: Tensor) -> list[Prediction]:
        """Each with its mask as it comes out of the model.

        Args:
            outputs: as a model gives them.
        """
        return list(self.predictions_in(inputs, outputs, [None] * len(inputs)))

    def predictions_in(
        self, inputs: Sequence[str], outputs: Tensor, views: Sequence[View | list[Patch] | None]
    ) -> list[MaskPrediction]:
        """Each with its mask at the picture's own size; what the model has not seen of it is ignored."""
        found = []
        for one, logits, view in zip(inputs, outputs, views, strict=True):
            mask = joined(logits, view).cpu() if isinstance(view, list) else mask_of(logits, view, self.ignore_index)
            pixels = _pixels(mask[None])[: self.size]
            shares = (pixels.double() / pixels.sum().clamp(min=1)).tolist()
            values = dict(zip(self.known_names, shares, strict=True))
            found.append(MaskPrediction(one, self, self._found(pixels), values, mask=mask))
        return found

    def files(self, prediction: Prediction, picture: Image.Image | None) -> dict[str, Image.Image | bytes]:
        """An indexed PNG with the colours of the classes; and a JPEG of the mask laid over the picture."""
        assert isinstance(prediction, MaskPrediction)
        mask = Image.fromarray(prediction.mask.numpy())
        colours = self.palette + (IGNORED_COLOUR,) * (256 - self.size)
        mask.putpalette([channel for colour in colours for channel in colour])
        if picture is None:
            return {".png": mask}
        return {".png": mask, "_overlay.jpg": Image.blend(picture, mask.convert("RGB"), OVERLAID)}

    def plain(self, prediction: Prediction, top: int | None) -> dict[str, Any]:
        return {"mask": prediction.file or None, "classes": prediction.answer, "shares": prediction.values}

    def heads(self, top: int | None, *, every: bool) -> list[str]:
        return ["mask", *(self.known_names if every else ["classes"])]

    def cells(self, prediction: Prediction, top: int | None, *, every: bool) -> list[Cell]:
        if every:
            return [prediction.file, *prediction.values.values()]
        shares = (f"{name} {self.text(prediction.values[name])}" for name in prediction.answer)
        return [prediction.file, ", ".join(shares)]


def _pixels(targets: Tensor) -> Tensor:
    """How many pixels have each value, shape (256,), int64, on the CPU."""
    pixels = torch.zeros(256, dtype=torch.int64)
    for some in targets.split(AT_ONCE):
        pixels += some.flatten().bincount(minlength=256).cpu()
    return pixels
