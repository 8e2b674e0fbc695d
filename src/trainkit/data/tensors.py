"""Samples that are tensors already: written into the YAML, or in an .npz or .pt file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.data.base import Data, DataConfig, DataSpec, Kind, Split, TargetSpec, TensorSource
from trainkit.errors import DataError
from trainkit.registry import register
from trainkit.seeding import permutation

Number = int | float
Numbers = tuple[Number | tuple[Number | tuple[Number | tuple[Number, ...], ...], ...], ...]


@register("data")
class TensorsConfig(DataConfig):
    """Tensors: `inputs` and `targets` as lists in the YAML, or from a file that holds them under these names."""

    name: Literal["tensors"] = "tensors"
    inputs: Numbers | None = None
    """One entry per sample: a list of numbers, or of lists of numbers."""
    targets: Numbers | None = None
    """One entry per sample: the number of a class, a number, or a list of them."""
    file: str | None = None
    """An .npz file, or a .pt file of a dict of tensors; with `test_inputs` and `test_targets` for a test split."""
    target: Kind | None = None
    """What the targets are; by default classes when they are whole numbers, labels when they are rows of 0 and 1."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The fraction of the samples that is the test split, the same for every seed, when the file has none."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.inputs is None) or (self.inputs is None) != (self.targets is None):
            raise ValueError("give either file, or inputs and targets")
        return self

    def spec(self) -> None:
        return None

    def build(self, seed: int) -> Data:
        tensors = self._read()
        where = self.file or "data"
        inputs, targets = tensors["inputs"], tensors["targets"]
        _check_lengths(where, inputs, targets)
        target = self._target_spec(where, targets)
        source = self._source(where, inputs, targets, target)
        order = permutation(len(source), 0, "test")
        test = Split(source, order[: round(len(source) * (self.test or 0))].sort().values)
        if "test_inputs" in tensors and "test_targets" in tensors:
            _check_lengths(where, tensors["test_inputs"], tensors["test_targets"])
            other = self._source(where, tensors["test_inputs"], tensors["test_targets"], target)
            test = Split(other, torch.arange(len(other)))
        elif len(test):
            kept = order[len(test) :].sort().values
            source, test = TensorSource(source.inputs[kept], source.targets[kept]), _whole(test)
        train, val = self.divide(source, seed)
        spec = DataSpec(shape=tuple(source.inputs.shape[1:]), target=target, image=source.inputs.dtype == torch.uint8)
        return Data(spec, train, val, test if len(test) else None)

    def _read(self) -> Mapping[str, Tensor]:
        if self.file is None:
            return {name: _from_list(name, getattr(self, name)) for name in ("inputs", "targets")}
        path = Path(self.file).expanduser()
        try:
            tensors = (
                _from_npz(path) if path.suffix == ".npz" else torch.load(path, weights_only=True, map_location="cpu")
            )
        except OSError as error:
            raise DataError(f"{path.absolute()}: {(error.strerror or str(error)).lower()}") from None
        except Exception:  # numpy and torch leak many kinds on other files; neither executes anything
            raise DataError(f"{path}: not an .npz file, or a .pt file of a dict of tensors, without objects") from None
        named = tensors if isinstance(tensors, dict) else {}
        if not all(isinstance(named.get(name), Tensor) for name in ("inputs", "targets")):
            there = ", ".join(map(str, named)) or "nothing of that kind"
            raise DataError(f"{path}: expected tensors called inputs and targets, got {there}")
        return named

    def _target_spec(self, where: str, targets: Tensor) -> TargetSpec:
        whole = not targets.is_floating_point()
        rows = targets.ndim == 2
        binary = rows and bool(((targets == 0) | (targets == 1)).all())
        kind = self.target or ("multilabel" if binary else "class" if whole and not rows else "number")
        if kind == "class":
            if rows or not whole or int(targets.min()) < 0:
                raise DataError(f"{where}: targets: classes are one whole number >= 0 per sample")
            return TargetSpec(kind="class", size=int(targets.max()) + 1)
        if kind == "multilabel" and not binary:
            raise DataError(f"{where}: targets: labels are a row of 0 and 1 per sample")
        return TargetSpec(kind=kind, size=targets.shape[1] if rows else 1)

    def _source(self, where: str, inputs: Tensor, targets: Tensor, target: TargetSpec) -> TensorSource:
        if inputs.ndim not in (2, 3, 4):
            raise DataError(
                f"{where}: inputs of shape {tuple(inputs.shape)}; expected (samples, features) and up to 4 axes"
            )
        # uint8 of four axes are pictures (samples, channels, height, width); everything else is numbers
        inputs = inputs if inputs.dtype == torch.uint8 and inputs.ndim == 4 else inputs.to(torch.float32)
        if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
            bad = int((~inputs.flatten(1).isfinite().all(1)).nonzero()[0])
            raise DataError(f"{where}: inputs: sample {bad} holds a value that is not finite")
        if target.kind == "class":
            if int(targets.max()) >= target.size or int(targets.min()) < 0:
                raise DataError(f"{where}: targets: a class outside 0 … {target.size - 1}")
            return TensorSource(inputs, targets.to(torch.int64))
        return TensorSource(inputs, targets.to(torch.float32).view(len(targets), -1))


def _check_lengths(where: str, inputs: Tensor, targets: Tensor) -> None:
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or len(inputs) == 0:
        raise DataError(f"{where}: inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)} do not go together")


def _whole(split: Split) -> Split:
    batch = split.source.take(split.index)
    return Split(TensorSource(batch.inputs, batch.targets), torch.arange(len(split)))


def _from_list(name: str, values: Any) -> Tensor:
    try:
        return torch.tensor(values)
    except (ValueError, TypeError):
        raise DataError(f"data.{name}: the samples differ in length") from None


def _from_npz(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
        return {name: torch.as_tensor(arrays[name]) for name in arrays.files}
