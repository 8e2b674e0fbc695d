"""The spec of a data set: the shape of its inputs and the kind of its targets, from which a model gets its sizes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from torch import Tensor

from trainkit.config.base import Config
from trainkit.data.images.bit_depth import Limits
from trainkit.data.tables.columns import Column
from trainkit.data.target_scale import Transform


def current_kind(kind: object) -> object:
    """What a kind of target is called now that had another name in trainkit 0.1."""
    return {"class": "classification", "number": "regression"}.get(str(kind), kind)


Kind = Annotated[Literal["classification", "multilabel", "regression"], BeforeValidator(current_kind)]
"""What a target is: one class of several, any of several labels, or numbers."""
MAX_CLASSES = 1_000_000
"""More are not meant: the numbers of something else were taken for classes."""
MAX_SIZE = 100_000_000
"""Of one axis of an input; a damaged checkpoint's model is built before its weights are found not to fit."""


def _in_utf8(name: str) -> str:
    """A folder's name may be in another encoding, which Python keeps in half characters that no JSON takes."""
    return name.encode(errors="backslashreplace").decode()


class TargetSpec(Config):
    """What is to be predicted."""

    kind: Kind
    size: int = Field(ge=1)
    """How many classes, labels or numbers."""
    names: tuple[Annotated[str, AfterValidator(_in_utf8)], ...] = ()
    """Class or label names, in the order of the model's outputs; may be empty."""
    counts: tuple[int, ...] = ()
    """Training samples of each class or with each label; empty while they have not been read."""
    samples: int = 0
    """All training samples."""
    transform: Transform = "none"
    """What was done to numbers before a model learned them; its outputs have to be undone accordingly."""
    mean: tuple[float, ...] = ()
    """Of the training targets, or of their logarithms: one for each number; empty where nothing was done."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    skewness: tuple[float, ...] = ()
    """Of the training targets as they are, by which it was decided."""

    @model_validator(mode="after")
    def _one_of_each_number(self) -> Self:
        expected = 0 if self.transform == "none" else self.size
        if {len(self.mean), len(self.std), len(self.skewness)} != {expected} or (
            expected and self.kind != "regression"
        ):
            raise ValueError("what was measured of the targets does not go with them")
        return self

    def counted(self, targets: Tensor) -> TargetSpec:
        """The same with the counts of these targets."""
        counts: list[int] = []
        if self.kind == "classification":
            counts = targets.bincount(minlength=self.size).tolist()
        elif self.kind == "multilabel":
            counts = targets.sum(0).long().tolist()
        return self.model_copy(update={"counts": tuple(counts), "samples": len(targets)})

    @property
    def plural(self) -> str:
        """What several of them are called."""
        return {"classification": "classes", "multilabel": "labels", "regression": "numbers"}[self.kind]

    def answered_by(self, num_outputs: int) -> bool:
        """Whether so many outputs are predictions: one for each class, label or number, or one for two classes."""
        return num_outputs == self.size or (self.kind == "classification" and self.size == 2 and num_outputs == 1)

    def uncounted(self) -> TargetSpec:
        """What is the same for other samples of the same kind."""
        return self.unscaled().model_copy(update={"counts": (), "samples": 0})

    def scaled_like(self, other: TargetSpec) -> TargetSpec:
        """The same, learned in the way of another."""
        keys = ("transform", "mean", "std", "skewness")
        return self.model_copy(update={key: getattr(other, key) for key in keys})

    def unscaled(self) -> TargetSpec:
        """The same, learned as it is."""
        return self.scaled_like(TargetSpec(kind=self.kind, size=self.size))


class DataSpec(Config):
    """What the data tells the model, and what evaluation needs to treat new samples like the training ones."""

    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_SIZE)], ...], Field(min_length=1)]
    """One input, as the model sees it: (channels, height, width), (length, features) or (features,)."""
    padded: bool = False
    """Whether inputs are sequences of different lengths, `shape[0]` the longest; the model gets the lengths, too."""
    target: TargetSpec
    whole: bool = False
    """Whether inputs are whole numbers: a model that takes nothing else, such as an embedding, gets them as they are,
    any other one as float32."""
    image: bool = False
    """Whether inputs are uint8 pictures, to be scaled to 0 … 1 and normalised on the device."""
    mean: tuple[float, ...] = ()
    """Per channel of a picture, in units of 0 … 1, or per feature; empty: nothing is subtracted or divided."""
    std: tuple[float, ...] = ()
    range: Limits | None = None
    """Of pictures in files with more than 8 bits a pixel: the values that are black and white; None where training knew
    of none."""
    columns: tuple[Column, ...] = ()
    """Of a file of rows, in the order of their inputs; empty for other data, and in checkpoints from before they were
    kept."""

    @model_validator(mode="after")
    def _is_of_one_piece(self) -> Self:
        if (self.image and len(self.shape) != 3) or (self.padded and len(self.shape) < 2):
            raise ValueError("an input of this kind has another number of axes")
        if self.columns and (sum(column.width for column in self.columns),) != self.shape:
            raise ValueError("the columns make another number of features")
        return self
