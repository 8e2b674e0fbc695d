"""Numbers of one shape: rows of a table, vectors, series of one length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.data.inputs.base import InputKind
from trainkit.data.tables.columns import Column, rescaled


@register("input")
class Numbers(InputKind):
    """float32 or int64 numbers of one shape."""

    name: Literal["numbers"] = "numbers"
    whole: bool = False
    """Whether they are whole: a model that takes nothing else, such as an embedding, gets them as they are, any other
    one as float32."""
    columns: tuple[Column, ...] = ()
    """Of a file of rows, in the order of their inputs; empty for other data, and in checkpoints from before they were
    kept."""

    @model_validator(mode="after")
    def _columns_make_the_features(self) -> Self:
        if self.columns and (sum(column.width for column in self.columns),) != self.shape:
            raise ValueError("the columns make another number of features")
        return self

    def joined(self, other: Self) -> Self:
        return self.model_copy(update={"whole": self.whole and other.whole})

    def preparation(self, device: torch.device, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        if not self.mean:
            return lambda inputs: inputs.to(dtype)
        mean, std = (
            torch.tensor(values, dtype=torch.float64).view(1, -1) for values in (self.mean, self.std or (1.0,))
        )
        scale, shift = (1 / std).float().to(device), (-mean / std).float().to(device)
        return lambda inputs: torch.addcmul(shift, inputs.to(dtype), scale)

    def dtypes(self) -> tuple[torch.dtype, ...]:
        return (torch.float32, torch.int64) if self.whole else (torch.float32,)

    def from_array(self, array: NDArray[Any]) -> Tensor:
        with np.errstate(over="ignore"):  # what float32 has no room for becomes infinite
            if self.columns:
                array = rescaled(self.columns, np.array(array, dtype=np.float64))
            whole = self.whole and array.dtype.kind in "iu"  # which float32 may have no room for
            tensor = torch.from_numpy(np.array(array, dtype=np.int64 if whole else np.float32))
        if not bool(tensor.isfinite().all()):
            raise ValueError("holds a value that is not finite")
        return tensor
