"""Samples that are tensors already: written into the YAML, or in an .npz or .pt file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.data.base import Data, DataConfig, DataSpec, Kind, Source, Split, TargetSpec, TensorSource, hold_out
from trainkit.data.sequences import SequenceSource
from trainkit.errors import DataError
from trainkit.registry import register

Number = int | float
Inputs = Tensor | list[Tensor]
"""Samples of one shape, or sequences of different lengths."""

Numbers = tuple[Number | tuple[Number | tuple[Number | tuple[Number, ...], ...], ...], ...]


@register("data")
class TensorsConfig(DataConfig):
    """Tensors: `inputs` and `targets` as lists in the YAML, or from a file that holds them under these names."""

    name: Literal["tensors"] = "tensors"
    inputs: Numbers | None = None
    """One entry per sample: a list of numbers, or of lists of numbers. Samples of different lengths are sequences:
    lists of steps, each a number or a list of features."""
    targets: Numbers | None = None
    """One entry per sample: the number of a class, a number, or a list of them."""
    file: str | None = None
    """An .npz file, or a .pt file of a dict of tensors; with `test_inputs` and `test_targets` for a test split.
    Sequences of different lengths are a list of tensors in a .pt file; in an .npz file they stand one after the other
    in `inputs`, (all steps, features), with `lengths` (and `test_lengths`)."""
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
        inputs, targets = _pair(where, tensors["inputs"], tensors["targets"])
        target = self._target_spec(where, targets)
        source = self._source(where, inputs, targets, target)
        test, rest = hold_out(source, self.test or 0)
        if "test_inputs" in tensors and "test_targets" in tensors:
            other = self._source(where, *_pair(where, tensors["test_inputs"], tensors["test_targets"]), target)
            test, rest = Split(other, torch.arange(len(other))), torch.arange(len(source))
        train, val = self.divide(source, seed, rest)
        return Data(_spec(target, source, test.source), train, val, test if len(test) else None)

    def _read(self) -> Mapping[str, Inputs]:
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
        found = tensors if isinstance(tensors, dict) else {}
        named: dict[str, Inputs] = {name: value for name, value in found.items() if _is_data(value)}
        for part in ("", "test_"):
            if f"{part}lengths" in named and f"{part}inputs" in named:
                named[f"{part}inputs"] = _cut(path, named[f"{part}inputs"], named[f"{part}lengths"])
        if not {"inputs", "targets"} <= named.keys():
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

    def _source(self, where: str, inputs: Inputs, targets: Tensor, target: TargetSpec) -> TensorSource | SequenceSource:
        targets = _as_target(where, targets, target)
        if isinstance(inputs, list):
            return _sequences(where, inputs, targets)
        if inputs.ndim not in (2, 3, 4):
            raise DataError(
                f"{where}: inputs of shape {tuple(inputs.shape)}; expected (samples, features) and up to 4 axes"
            )
        # uint8 of four axes are pictures (samples, channels, height, width); everything else is numbers
        inputs = inputs if inputs.dtype == torch.uint8 and inputs.ndim == 4 else inputs.to(torch.float32)
        if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
            bad = int((~inputs.flatten(1).isfinite().all(1)).nonzero()[0])
            raise DataError(f"{where}: inputs: sample {bad} holds a value that is not finite")
        return TensorSource(inputs, targets)


def _as_target(where: str, targets: Tensor, target: TargetSpec) -> Tensor:
    if target.kind != "class":
        return targets.to(torch.float32).view(len(targets), -1)
    if int(targets.max()) >= target.size or int(targets.min()) < 0:
        raise DataError(f"{where}: targets: a class outside 0 … {target.size - 1}")
    return targets.to(torch.int64)


def _sequences(where: str, inputs: list[Tensor], targets: Tensor) -> SequenceSource:
    rows = [sequence.unsqueeze(1) if sequence.ndim == 1 else sequence for sequence in inputs]
    for number, row in enumerate(rows):
        if row.ndim != 2 or len(row) == 0 or row.shape[1] != rows[0].shape[1]:
            raise DataError(
                f"{where}: inputs: sample {number} has shape {tuple(row.shape)}; "
                f"expected one step or more of {rows[0].shape[-1]} features"
            )
        if not bool(row.isfinite().all()):
            raise DataError(f"{where}: inputs: sample {number} holds a value that is not finite")
    return SequenceSource.of(rows, targets)


def _spec(target: TargetSpec, *sources: Source) -> DataSpec:
    first = sources[0]
    if isinstance(first, SequenceSource):
        longest = max(int(source.lengths.max()) for source in sources if isinstance(source, SequenceSource))
        return DataSpec(shape=(longest, first.values.shape[1]), target=target, padded=True)
    assert isinstance(first, TensorSource)
    return DataSpec(shape=tuple(first.inputs.shape[1:]), target=target, image=first.inputs.dtype == torch.uint8)


def _pair(where: str, inputs: Inputs, targets: Inputs) -> tuple[Inputs, Tensor]:
    """Inputs and the targets that go with them."""

    def shape(data: Inputs) -> str:
        return f"of {len(data)} sequences" if isinstance(data, list) else str(tuple(data.shape))

    scalar = any(isinstance(data, Tensor) and data.ndim == 0 for data in (inputs, targets))
    if isinstance(targets, list) or scalar or len(inputs) != len(targets) or len(inputs) == 0:
        raise DataError(f"{where}: inputs {shape(inputs)} and targets {shape(targets)} do not go together")
    return inputs, targets


def _is_data(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, Tensor) for item in value)
    )


def _cut(where: Path, steps: Inputs, lengths: Inputs) -> Inputs:
    """Sequences that stand one after the other."""
    if isinstance(steps, list) or isinstance(lengths, list) or lengths.ndim != 1 or steps.ndim == 0:
        raise DataError(f"{where}: lengths is one whole number per sequence, inputs all their steps")
    if int(lengths.sum()) != len(steps) or int(lengths.min()) < 1:
        raise DataError(
            f"{where}: lengths add up to {int(lengths.sum())} with the shortest {int(lengths.min())}, "
            f"inputs has {len(steps)} steps"
        )
    return list(steps.split(lengths.tolist()))


def _from_list(name: str, values: Any) -> Inputs:
    with suppress(ValueError, TypeError):
        return torch.tensor(values)
    with suppress(ValueError, TypeError):
        if name == "inputs":
            return [torch.tensor(sample, dtype=torch.float32) for sample in values]
    raise DataError(f"data.{name}: the samples differ in form")


def _from_npz(path: Path) -> dict[str, Tensor]:
    with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
        return {name: torch.as_tensor(arrays[name]) for name in arrays.files}
