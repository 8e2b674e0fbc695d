"""Samples of a user's map-style `Dataset`: what it returns made into tensors, checked, and collated to batches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError, TrainkitError, first_line, os_error_text, own_line
from trainkit.core.seeding import derive, generators_restored, seed_global
from trainkit.core.suggestions import did_you_mean
from trainkit.data.base import Batch, fingerprint, unless_pictures
from trainkit.data.images.decoding import UnreadableError, flattened
from trainkit.data.sample_checks import EXACTLY, lost_in_float32
from trainkit.data.sources.tensor_files import is_dense
from trainkit.tasks import Kind, TargetError, Task, suited_to, task_class

COMPARED = 256
"""Samples of which the inputs are compared before and after they become float32."""


TARGETS = ("label", "labels", "target", "targets", "class", "y")
"""By one of these names a dict has its target."""


Pair = tuple[object, object]
"""An input and its target, as a data set gives them."""


@contextmanager
def told(where: str) -> Iterator[None]:
    """Say of what a user's code raises for which sample.

    Raises:
        DataError: with that. A lack of memory stays as it is.
    """
    try:
        yield
    except OSError as error:  # of a file, as a rule
        file = f"{error.filename}: " if error.filename else ""
        raise DataError(f"{where}: {file}{os_error_text(error)}") from error
    except StopIteration:  # would end the epoch without a word
        raise DataError(f"{where}: raised StopIteration") from None
    except (TrainkitError, MemoryError):
        raise
    except Exception as error:
        if "allocate memory" in (text := first_line(error)):
            raise
        raise DataError(f"{where}: raised {type(error).__name__}: {text}{own_line(error)}") from error


def pair_of(where: str, item: Any) -> Pair:
    """The input and the target of a sample as a user's code gives it.

    Raises:
        DataError: it is something else; the message begins with `where`.
    """
    if isinstance(item, Mapping):
        targets, inputs = ([key for key in item if (key in TARGETS) is known] for known in (True, False))
        if len(targets) != 1 or len(inputs) != 1:
            there = ", ".join(map(str, item)) or "nothing"
            raise DataError(f"{where}: expected an input and one of {', '.join(TARGETS)}, got a dict of {there}")
        return item[inputs[0]], item[targets[0]]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(f"{where}: expected a pair (input, target), got {type(item).__name__}")
    return item[0], item[1]


class DatasetSource:
    """A map-style dataset whose samples are pairs (input, target), or dicts with one of each.

    Args:
        names: of the classes, where targets are words; by default those of the dataset.
        title: what messages call it; by default the name of its class.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        kind: Kind | None,
        collate: Literal["stack", "pad"],
        names: tuple[str, ...] | None = None,
        title: str | None = None,
    ) -> None:
        self.dataset, self.padded, self._names = dataset, collate == "pad", names
        self.title = title or type(dataset).__name__
        if len(self) == 0:
            raise DataError(f"{self.title}: has no samples")
        self.exact = torch.empty(0, 1)
        """Targets as they were given, shape (n, size), once `targets` has been asked for."""
        self.size: int | None = None
        """Of the task, against which each sample is held, once it is known."""
        self.asked = task_class(kind) if kind else suited_to(self.target(0).view(-1)[:1])

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # register_dataset has seen to it

    def _item(self, index: int) -> Pair:
        where = f"{self.title}[{index}]"
        with told(where):
            item = self.dataset[index]
        return pair_of(where, item)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the classes: the dataset's `classes`; else, of words, all that there are, in the order of the alphabet."""
        classes = getattr(self.dataset, "classes", ())
        if self._names is not None or (isinstance(classes, list | tuple) and classes):
            return self._names or tuple(map(str, classes))
        if not isinstance(self._item(0)[1], str):
            return ()
        return tuple(sorted({str(self._item(index)[1]) for index in range(len(self))}))

    def input(self, index: int) -> Tensor:
        """One input: a uint8 picture (channels, height, width), or float32 or int64 numbers of any shape."""
        return self._input(index, self._item(index)[0])

    def target(self, index: int) -> Tensor:
        """One target, shape () or (size,)."""
        return self._target(f"{self.title}[{index}]: the target", self._item(index)[1])

    def _target(self, where: str, value: object) -> Tensor:
        if not isinstance(value, str):
            return _number(where, value)
        if value not in self.names:
            hint = did_you_mean(value, self.names) or f"; known: {', '.join(self.names)}"
            raise DataError(f"{where} {value!r} is none of the classes{hint}")
        return torch.tensor(self.names.index(value))

    def _input(self, index: int, value: object) -> Tensor:
        where = f"{self.title}[{index}]: the input"
        tensor = _input(where, value)
        if not self.padded:
            return tensor
        tensor = tensor.unsqueeze(1) if tensor.ndim == 1 else tensor
        if tensor.dtype == torch.uint8 or tensor.ndim < 2:
            raise DataError(
                f"{where} has the shape {_form(tensor)}; data.collate=pad is for sequences (length, features) or "
                "(length,) of numbers"
            )
        return tensor

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        with generators_restored():
            return self.batch(self._drawn(index.tolist(), draw, repeat), index)

    def _drawn(self, numbers: Sequence[int], draw: int, repeat: Tensor | None) -> Iterator[tuple[int, Pair]]:
        before = [0] * len(numbers) if repeat is None else repeat.tolist()
        for number, times in zip(numbers, before, strict=True):
            seed_global(derive(draw, number, *([times] if times else [])))
            yield number, self._item(number)

    def batch(self, samples: Iterable[tuple[int, Pair]], index: Tensor) -> Batch:
        """A batch of samples, each with the number by which errors name it.

        Args:
            index: of the batch, shape (batch,), int64.
        """
        inputs, rows, indices = [], [], []
        for number, (one, target) in samples:
            indices.append(number)
            inputs.append(self._input(number, one))
            rows.append(self._target(f"{self.title}[{number}]: the target", target))
        if len({tensor.dtype for tensor in inputs} - {torch.uint8}) > 1:  # whole numbers in some samples only
            inputs = [tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32) for tensor in inputs]
        for number, tensor in zip(indices, inputs, strict=True):
            if tensor.shape[self.padded :] != inputs[0].shape[self.padded :] or tensor.dtype != inputs[0].dtype:
                raise DataError(
                    f"{self.title}: samples {indices[0]} and {number} have the shapes {_form(inputs[0])} and "
                    f"{_form(tensor)}; bring them to one shape in the data set, or use data.collate=pad for sequences"
                )
        targets = self._as_targets(rows, indices)
        if not self.padded:
            return Batch(torch.stack(inputs), targets, index)
        lengths = torch.tensor([len(one) for one in inputs])
        return Batch(pad_sequence(inputs, batch_first=True), targets, index, lengths)

    @cached_property
    def targets(self) -> Tensor:
        """Of all samples; read from an attribute `targets` of the dataset when it has one, which is much faster."""
        given = getattr(self.dataset, "targets", None)
        rows: list[Tensor] = []
        if isinstance(given, list | tuple | np.ndarray | Tensor) and len(given) == len(self):
            rows = [self._target(f"{self.title}.targets[{n}]", one) for n, one in enumerate(given)]
        # What __getitem__ says counts: it may have made something else of them.
        some = {0, len(self) // 2, len(self) - 1}
        if not rows or any(rows[n].tolist() != self.target(n).tolist() for n in some):
            rows = [self.target(index) for index in range(len(self))]
        targets = self._as_targets(rows, range(len(self)))
        self.exact = torch.stack(rows).view(len(rows), -1)
        return targets

    def lost_in_float32(self, index: Tensor) -> list[Diagnostic]:
        """What of the samples with these indices is no longer there in batches, as far as some of them tell."""
        lost: list[Diagnostic] = []
        first = self._exact_input(int(index[0]))
        if first.ndim <= 1 and first.dtype in (torch.float64, torch.int64):
            rows = [self._exact_input(number).view(-1) for number in index[:COMPARED].tolist()]
            if all(len(row) == len(rows[0]) for row in rows):
                lost += lost_in_float32(torch.stack(rows), "inputs")
        return lost + lost_in_float32(self.exact[index[:EXACTLY]], "targets")

    def _exact_input(self, index: int) -> Tensor:
        """An input as it is given; of a picture nothing."""
        value = self._item(index)[0]
        return torch.empty(0) if hasattr(value, "getbands") else _tensor(f"{self.title}[{index}]: the input", value)

    def _as_targets(self, rows: list[Tensor], indices: Sequence[int]) -> Tensor:
        """Targets of the samples with these indices, as batches have them."""
        for index, row in zip(indices, rows, strict=True):
            if row.shape != rows[0].shape or row.ndim > 1 or row.numel() == 0:
                raise DataError(
                    f"{self.title}: the targets differ in shape: one number, or as many, for every sample; "
                    f"samples {indices[0]} and {index} have {tuple(rows[0].shape)} and {tuple(row.shape)}"
                )
        try:
            return self.asked.as_targets(torch.stack(rows), self.size)
        except TargetError as error:
            if error.row is None:
                one_hot = "for one-hot rows row.argmax(), or data.target=multilabel"
                hint = one_hot if rows[0].ndim else "or data.target=regression"
                raise DataError(f"{self.title}: {error}; {hint}") from None
            raise DataError(f"{self.title}[{indices[error.row]}]: the target has {error}") from None

    def task(self) -> Task:
        """What the targets are for, with the names of the classes where the dataset has `classes`."""
        try:
            return self.asked.of(self.targets, self.names)
        except TargetError as error:
            raise DataError(f"{self.title}: {error}") from None

    def longest(self) -> int:
        return max(len(self.input(index)) for index in range(len(self)))

    def digest(self) -> str:
        """Of the targets and of a few inputs: reading all could take as long as an epoch."""
        sha = hashlib.sha256(fingerprint(self.targets, self.targets).encode())
        with generators_restored():
            for index in range(0, len(self), max(1, len(self) // 8)):
                seed_global(index)
                one = unless_pictures(self.input(index))
                sha.update(fingerprint(one, one).encode())
        return sha.hexdigest()


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)}{' uint8' * (tensor.dtype == torch.uint8)}"


def _input(where: str, value: Any) -> Tensor:
    if hasattr(value, "convert") and hasattr(value, "getbands"):  # a PIL picture
        try:
            value = np.array(flattened(value, "grey" if value.mode == "L" else "rgb", "white", None))
        except UnreadableError as error:
            raise DataError(f"{where} {error}; make an array of uint8 or of floating-point numbers of it") from None
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3):
        value = np.atleast_3d(value).transpose(2, 0, 1)  # from (height, width[, channels]), as PIL and OpenCV have it
    tensor = _tensor(where, value)
    if tensor.numel() == 0:
        raise DataError(f"{where} is empty, its shape {tuple(tensor.shape)}")
    if tensor.dtype == torch.uint8 and tensor.ndim:
        return tensor.contiguous()
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64).reshape(tensor.shape or (1,))


def _number(where: str, value: Any) -> Tensor:
    tensor = _tensor(where, value).squeeze()
    if tensor.dtype == torch.float64:  # to see what rounding loses
        return tensor
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.int64)


def _tensor(where: str, value: Any) -> Tensor:
    try:
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(np.ascontiguousarray(value))
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"{where} is a {type(value).__name__}; expected a tensor, an array, numbers or a PIL picture"
        ) from None
    if not is_dense(tensor) or tensor.is_complex():
        kind = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
        raise DataError(f"{where} is a tensor: {kind}; expected a dense one of real numbers, on the CPU")
    return tensor.detach()
