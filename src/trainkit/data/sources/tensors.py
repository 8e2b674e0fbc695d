"""Tensors as data: written into the YAML, or in an .npz (NumPy) or .pt (torch) file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.data.base import Data, DataConfig, Source, Split, TensorSource
from trainkit.data.inputs import Numbers as NumbersKind
from trainkit.data.inputs import Pictures, Sequences
from trainkit.data.paths import file_at, unreadable
from trainkit.data.sample_checks import EXACTLY, lost_in_float32
from trainkit.data.sequences import SequenceSource
from trainkit.data.sources import tensor_files
from trainkit.data.spec import DataSpec
from trainkit.tasks import Kind, TargetError, Task, suited_to, task_class

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

    def build(self, seed: int) -> Data:
        tensors = self._read()
        where = self.file or "data"
        inputs, targets = _pair(where, tensors["inputs"], tensors["targets"])
        task = self._task(where, targets)
        source = _source(where, inputs, targets, task)
        test: Source | float | None = self.test
        spec = _spec(task, source)
        if "test_inputs" in tensors and "test_targets" in tensors:
            test = _source(where, *_pair(where, tensors["test_inputs"], tensors["test_targets"]), task)
            spec = _common(where, spec, _spec(task, test))
        train, val, test_split = self.train_val_test(source, seed, test, task=task)
        return Data(spec, train, val, test_split, found=tuple(_lost(inputs, targets, train)))

    def _read(self) -> Mapping[str, Inputs]:
        if self.file is None:
            return {name: _from_list(name, getattr(self, name)) for name in ("inputs", "targets")}
        path = file_at("file", self.file)
        try:
            tensors = tensor_files.read(path)
        except OSError as error:
            raise unreadable("file", path, error) from None
        named = {name: _plain(path, name, value) for name, value in tensors.items() if tensor_files.is_data(value)}
        for inputs, lengths in (("inputs", "lengths"), ("test_inputs", "test_lengths")):
            if inputs in named and lengths in named:
                named[inputs] = _cut(path, named[inputs], named[lengths])
        if not {"inputs", "targets"} <= named.keys():
            there = ", ".join(map(str, tensors)) or "nothing of that kind"
            raise DataError(f"{path}: expected tensors called inputs and targets, got {there}")
        return named

    def _task(self, where: str, targets: Tensor) -> Task:
        asked = task_class(self.target) if self.target else suited_to(targets)
        return asked.of(_targets(where, targets, asked))


def _lost(inputs: Inputs, targets: Tensor, train: Split) -> list[Diagnostic]:
    """What of the training samples is no longer there in batches. Nothing here is standardised by us, so that nothing
    could be subtracted before the numbers are rounded: that is left to whoever wrote the file."""
    some = train.index[:EXACTLY]
    lost: list[Diagnostic] = []
    if isinstance(inputs, list):
        steps = [inputs[n] for n in some.tolist()]
        lost += lost_in_float32(torch.cat([one.view(len(one), -1) for one in steps])[:EXACTLY], "inputs")
    elif inputs.ndim < 4:  # vectors, or sequences of one length
        lost += lost_in_float32(inputs[some].flatten(0, -2)[:EXACTLY], "inputs")
    return lost + lost_in_float32(targets[some].view(len(some), -1), "targets")


def _source(where: str, inputs: Inputs, targets: Tensor, task: Task) -> TensorSource | SequenceSource:
    targets = _targets(where, targets, type(task), task.size)
    if isinstance(inputs, list):
        return _sequences(where, inputs, targets)
    shape = tuple(inputs.shape)
    if inputs.ndim not in (2, 3, 4) or 0 in shape:
        raise DataError(f"{where}: inputs of shape {shape}; expected (samples, features) and up to 4 axes")
    # uint8 of four axes are pictures (samples, channels, height, width); everything else is numbers
    image = inputs.dtype == torch.uint8 and inputs.ndim == 4
    if image and shape[1] > 4 >= shape[3]:
        raise DataError(
            f"{where}: uint8 inputs of shape {shape}; expected pictures (samples, channels, height, width): "
            "try inputs.transpose(0, 3, 1, 2) in NumPy, inputs.permute(0, 3, 1, 2) in torch"
        )
    if not image:
        inputs = inputs.float() if inputs.is_floating_point() else inputs.long()
        _check_finite(f"{where}: inputs", inputs)
    return TensorSource(inputs, targets)


def _targets(where: str, values: Tensor, task: type[Task], size: int | None = None) -> Tensor:
    """The targets as batches have them; those of a test split must be like those of training."""
    try:
        return task.as_targets(values, size)
    except TargetError as error:
        which = "" if error.row is None else f"sample {error.row} has "
        raise DataError(f"{where}: targets: {which}{error}") from None


def _check_finite(what: str, rows: Tensor) -> None:
    if not bool(rows.isfinite().all()):
        bad = int((~rows.flatten(1).isfinite().all(1)).nonzero()[0])
        raise DataError(f"{what}: sample {bad} holds a value that is not finite")


def _sequences(where: str, inputs: list[Tensor], targets: Tensor) -> SequenceSource:
    rows = [sequence.unsqueeze(1) if sequence.ndim == 1 else sequence for sequence in inputs]
    for number, row in enumerate(rows):
        if row.ndim != 2 or 0 in row.shape or row.shape[1] != rows[0].shape[1]:
            raise DataError(
                f"{where}: inputs: sample {number} has shape {tuple(row.shape)}; "
                f"expected one step or more of {rows[0].shape[-1] if rows[0].ndim else 1} features"
            )
        if not bool(row.to(torch.float32).isfinite().all()):
            raise DataError(f"{where}: inputs: sample {number} holds a value that is not finite")
    return SequenceSource.of(rows, targets)


def _spec(task: Task, source: TensorSource | SequenceSource) -> DataSpec:
    if isinstance(source, SequenceSource):
        shape = (int(source.lengths.max()), source.values.shape[1])
        return DataSpec(input=Sequences(shape=shape, whole=source.values.dtype == torch.int64), task=task)
    dtype = source.inputs.dtype
    one = tuple(source.inputs.shape[1:])
    if dtype == torch.uint8:
        return DataSpec(input=Pictures(shape=one), task=task)
    return DataSpec(input=NumbersKind(shape=one, whole=dtype == torch.int64), task=task)


def _common(where: str, train: DataSpec, test: DataSpec) -> DataSpec:
    """The spec of both splits: sequences may be of different lengths."""
    if type(train.input) is type(test.input) and train.input.goes_with(test.input):
        return train.model_copy(update={"input": train.input.joined(test.input)})
    raise DataError(f"{where}: test_inputs of shape {test.shape} per sample do not go with inputs of {train.shape}")


def _pair(where: str, inputs: Inputs, targets: Inputs) -> tuple[Inputs, Tensor]:
    """Inputs and the targets that go with them."""

    def shape(data: Inputs) -> str:
        return f"of {len(data)} sequences" if isinstance(data, list) else str(tuple(data.shape))

    scalar = any(isinstance(data, Tensor) and data.ndim == 0 for data in (inputs, targets))
    if isinstance(targets, list) or scalar or len(inputs) != len(targets) or len(inputs) == 0:
        raise DataError(f"{where}: inputs {shape(inputs)} and targets {shape(targets)} do not go together")
    if targets.ndim > 2 or 0 in targets.shape:
        raise DataError(f"{where}: targets of shape {shape(targets)}; expected (samples,) or (samples, numbers)")
    return inputs, targets


def _plain(where: Path | str, name: str, data: Inputs) -> Inputs:
    """The same as numbers of few types: uint8 as it is, for pictures; others as int64, float32 or float64."""
    tensors = [*data] if isinstance(data, list) else [data]
    if any(tensor.is_complex() for tensor in tensors):
        raise DataError(f"{where}: {name}: complex numbers; give their parts as features")
    for number, tensor in enumerate(tensors):
        if tensor.dtype not in (torch.uint8, torch.float64):  # float64: to see what rounding loses
            tensors[number] = tensor.float() if tensor.is_floating_point() else tensor.long()
    return tensors if isinstance(data, list) else tensors[0]


def _cut(where: Path, steps: Inputs, lengths: Inputs) -> Inputs:
    """Sequences that stand one after the other."""
    if isinstance(steps, list) or isinstance(lengths, list) or lengths.ndim != 1 or steps.ndim == 0:
        raise DataError(f"{where}: lengths is one whole number per sequence, inputs all their steps")
    if lengths.is_floating_point() or len(lengths) == 0 or int(lengths.max()) > len(steps):
        raise DataError(f"{where}: lengths is one whole number per sequence, at most the {len(steps)} steps of inputs")
    if int(lengths.sum()) != len(steps) or int(lengths.min()) < 1:
        raise DataError(
            f"{where}: lengths add up to {int(lengths.sum())} with the shortest {int(lengths.min())}, "
            f"inputs has {len(steps)} steps"
        )
    return list(steps.split(lengths.tolist()))


def _from_list(name: str, values: Any) -> Inputs:
    with suppress(ValueError, TypeError, RuntimeError):
        tensor = torch.tensor(values)
        exact = torch.tensor(values, dtype=torch.float64) if tensor.is_floating_point() else tensor
        return _plain("data", name, exact)
    with suppress(ValueError, TypeError, RuntimeError):
        if name == "inputs":
            return [torch.tensor(sample) for sample in values]
    raise DataError(f"data.{name}: the samples differ in form")
