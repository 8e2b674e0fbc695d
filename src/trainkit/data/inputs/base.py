"""The interface of a kind of input: how samples become a batch, what a model gets of it, how a person sees it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Self

import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.base import Config

MAX_SIZE = 100_000_000
"""Of one axis; a damaged checkpoint's model is built before its weights are found not to fit."""


class InputKind(Config):
    """Base of every kind of input: what a model has to take, with what was learned from the training samples.

    It stands in checkpoints, so that other samples are treated like those of training.
    """

    name: str
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_SIZE)], ...], Field(min_length=1)]
    """One input, as the model sees it: (channels, height, width), (length, features) or (features,)."""
    mean: tuple[float, ...] = ()
    """Of each channel or feature, subtracted from it; empty: nothing is subtracted or divided."""
    std: tuple[float, ...] = ()
    """What each is divided by then."""

    drawable: ClassVar[bool] = False
    """Whether a person sees it as a picture: `pixels` gives that."""
    pictures: ClassVar[bool] = False
    """Whether a source gives pictures, uint8 (channels, height, width), which are brought to the size of `shape`: they
    may be in picture files and be transformed at random, and `mean` and `std` are in units of 0 … 1."""
    bounded: ClassVar[bool] = False
    """Whether values lie within known bounds, so that none is infinite or unusually large."""
    has_lengths: ClassVar[bool] = False
    """Whether inputs differ in length and are padded; the model then gets the lengths as its second argument."""
    memory_format: ClassVar[torch.memory_format | None] = None
    """In which a model is fastest."""

    @model_validator(mode="after")
    def _one_number_for_each(self) -> Self:
        if {len(self.mean), len(self.std)} - {0, 1, self.shape[self._axis]}:
            raise ValueError("has too many or too few numbers")
        return self

    _axis: ClassVar[int] = -1
    """Of what `mean` and `std` hold one number each."""

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Of texts the tokens, in the order of the numbers that an input consists of; else empty."""
        return ()

    @property
    def vocab_size(self) -> int | None:
        """Of texts, how many different tokens there are; else None."""
        return len(self.vocabulary) or None

    @property
    def sample_shape(self) -> tuple[int | str, ...]:
        """As a person would write it."""
        return self.shape

    def goes_with(self, other: InputKind) -> bool:
        """Whether a model for such inputs takes the other ones, too."""
        return self.shape == other.shape

    def joined(self, other: Self) -> Self:
        """What both kinds of samples are."""
        return self

    def collate(self, samples: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """A batch of these samples, and their lengths where they are padded, shape (batch,), int64."""
        return torch.stack(list(samples)), None

    @abstractmethod
    def preparation(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """What makes of a batch on the device what the model sees.

        Args:
            dtype: in which the model takes inputs that are whole numbers.
        """

    def dtypes(self) -> tuple[torch.dtype, ...]:
        """Those in which a model may take it, the usual one first."""
        return (torch.float32,)

    def two_samples(self, device: torch.device, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """What a model is called with for two placeholder samples."""
        return (torch.zeros(2, *self.shape, device=device, dtype=dtype),)

    def pixels(self, inputs: Tensor) -> Tensor:
        """The pictures that prepared inputs were made of: uint8, shape (batch, 1 or 3, height, width), on the CPU."""
        raise NotImplementedError

    def check(self) -> None:
        """Prove that inputs are made as in training.

        Raises:
            CheckpointError: they are not.
        """

    def of_text(self, text: str) -> Tensor:
        """A text as a data source gives it; where there is a vocabulary.

        Raises:
            ValueError: there is no token in it.
        """
        raise NotImplementedError

    def decoded(self, inputs: Tensor, lengths: Tensor) -> list[str]:
        """Roughly the texts of a batch, as far as the model sees them, where there is a vocabulary. Shapes (batch,
        length) and (batch,)."""
        raise NotImplementedError

    array: ClassVar[str] = "an .npy array"
    """What holds inputs that stand in no file of their own."""

    def takes(self, array: NDArray[Any]) -> bool:
        """Whether an array is of its type and, without a first axis for several, of its shape."""
        return array.shape == self.shape and array.dtype.kind in "biuf"

    @abstractmethod
    def from_array(self, array: NDArray[Any]) -> Tensor:
        """One input as a data source gives it. Raises ValueError with what is wrong."""
