"""A user's own `torch.utils.data.Dataset`, registered in two lines."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, IterableDataset

from trainkit.config.from_constructor import arguments, config_class
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError, DataError, Diagnostic, os_error_text
from trainkit.core.seeding import derive, generators_restored, seed_global
from trainkit.data.base import (
    MAX_CLASSES,
    Batch,
    Data,
    DataSpec,
    Kind,
    Split,
    TargetSpec,
    fingerprint,
    hold_out,
    unless_pictures,
)
from trainkit.data.images.decoding import UnreadableError, flattened
from trainkit.data.sample_checks import EXACTLY, lost_in_float32
from trainkit.data.sources.tensor_files import is_dense
from trainkit.data.transforms.pipeline import ImageDataConfig, statistics

D = TypeVar("D", bound=type[Dataset[Any]])

SUPPLIED = ("train", "split")
"""Arguments by which a constructor is told the part that it is to give: `train: bool`, or `split: str`, which is
`train` or `test`."""


LOOKED_AT = 256
"""Samples that are read to see what becomes of their numbers."""


class CustomDatasetConfig(ImageDataConfig):
    """Base of the configs of users' datasets."""

    target: Kind | None = None
    """What the targets are; by default classes when they are whole numbers, otherwise numbers."""
    collate: Literal["stack", "pad"] = "stack"
    """`pad`: the inputs are sequences (length, features) of different lengths, filled up with zeros in a batch."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the samples that is the test split, the same for every seed, when the class gives none itself."""

    @abstractmethod
    def dataset(self, part: Literal["train", "test"]) -> Dataset[Any] | None:
        """The samples from which train and val are taken, or those of the test split; None: it has no such part."""

    def spec(self) -> None:
        return None

    def build(self, seed: int) -> Data:
        with generators_restored():
            seed_global(0)  # what is drawn while looking at the samples is the same every time
            return self._build(seed)

    def _build(self, seed: int) -> Data:
        training, testing = self.dataset("train"), self.dataset("test")
        assert training is not None
        source = DatasetSource(training, self.target, self.collate)
        if testing is None:
            test, rest = hold_out(source, self.test or 0)
            sources = [source]
        else:
            other = DatasetSource(testing, self.target, self.collate)
            test, rest = Split(other, torch.arange(len(other))), torch.arange(len(source))
            sources = [source, other]
        train, val = self.divide(source, seed, rest)
        first = source.input(0)
        image = first.dtype == torch.uint8
        if image and (first.ndim != 3 or first.shape[0] > 4 >= first.shape[2]):
            way = {2: "unsqueeze(0)", 3: "permute(2, 0, 1)"}.get(first.ndim, "float(), if it is none")
            raise DataError(
                f"{source.title}[0]: a uint8 tensor is a picture (channels, height, width), got {tuple(first.shape)}; "
                f"try tensor.{way}"
            )
        if self.normalize != "none" and not image:
            raise DataError("data.normalize: is for uint8 pictures, these inputs are numbers; normalise in the dataset")
        shape = tuple(first.shape)
        if self.collate == "pad":
            shape = (max(one.longest() for one in sources), *shape[1:])
        mean, std = statistics(self.normalize, shape[0]) if image else ((), ())
        target = source.target_spec()
        for one in sources:
            one.num_classes = target.size  # a loss on a GPU would read beyond its memory
        spec = DataSpec(
            shape=shape,
            target=target,
            image=image,
            whole=first.dtype == torch.int64,
            mean=mean,
            std=std,
            padded=self.collate == "pad",
        )
        found = [] if self.collate == "pad" else source.lost(train.index)
        return Data(spec, train, val, test if len(test) else None, found=tuple(found))


class DatasetSource:
    """A map-style dataset whose samples are pairs (input, target)."""

    def __init__(self, dataset: Dataset[Any], kind: Kind | None, collate: Literal["stack", "pad"]) -> None:
        self.dataset, self.collate = dataset, collate
        self.title = type(dataset).__name__
        if len(self) == 0:
            raise DataError(f"{self.title}: has no samples")
        self.exact = torch.empty(0, 1)
        """Targets that are numbers as they were given, shape (n, size), once `targets` has been asked for."""
        self.num_classes = MAX_CLASSES
        """What each sample is held against; fewer once they have been counted."""
        self.kind: Kind = kind or ("regression" if self.target(0).is_floating_point() else "classification")

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # register_dataset has seen to it

    def _item(self, number: int) -> tuple[object, object]:
        where = f"{self.title}[{number}]"
        try:
            item = self.dataset[number]
        except OSError as error:  # of a file, as a rule
            file = f"{error.filename}: " if error.filename else ""
            raise DataError(f"{where}: {file}{os_error_text(error)}") from error
        except StopIteration:  # would end the epoch without a word
            raise DataError(f"{where}: __getitem__ raised StopIteration") from None
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{where}: expected a pair (input, target), got {type(item).__name__}")
        return item[0], item[1]

    def input(self, number: int) -> Tensor:
        """One input: a uint8 picture (channels, height, width), or float32 or int64 numbers of any shape."""
        return self._input(number, self._item(number)[0])

    def target(self, number: int) -> Tensor:
        """One target, shape () or (size,)."""
        return _number(f"{self.title}[{number}]: the target", self._item(number)[1])

    def _input(self, number: int, value: object) -> Tensor:
        where = f"{self.title}[{number}]: the input"
        tensor = _input(where, value)
        if self.collate == "stack":
            return tensor
        tensor = tensor.unsqueeze(1) if tensor.ndim == 1 else tensor
        if tensor.dtype == torch.uint8 or tensor.ndim < 2:
            raise DataError(
                f"{where} has the shape {_form(tensor)}; data.collate=pad is for sequences (length, features) or "
                "(length,) of numbers"
            )
        return tensor

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        inputs, rows = [], []
        with generators_restored():
            before = [0] * len(index) if repeat is None else repeat.tolist()
            for number, times in zip(index.tolist(), before, strict=True):
                seed_global(derive(draw, number, *([times] if times else [])))
                one, target = self._item(number)
                inputs.append(self._input(number, one))
                rows.append(_number(f"{self.title}[{number}]: the target", target))
        padded = self.collate == "pad"
        if len({tensor.dtype for tensor in inputs} - {torch.uint8}) > 1:  # whole numbers in some samples only
            inputs = [tensor if tensor.dtype == torch.uint8 else tensor.to(torch.float32) for tensor in inputs]
        for number, tensor in zip(index.tolist(), inputs, strict=True):
            if tensor.shape[padded:] != inputs[0].shape[padded:] or tensor.dtype != inputs[0].dtype:
                raise DataError(
                    f"{self.title}: samples {int(index[0])} and {number} have the shapes {_form(inputs[0])} and "
                    f"{_form(tensor)}; bring them to one shape in __getitem__, or use data.collate=pad for sequences"
                )
        targets = self._as_kind(rows, index.tolist())
        if not padded:
            return Batch(torch.stack(inputs), targets, index)
        lengths = torch.tensor([len(one) for one in inputs])
        return Batch(pad_sequence(inputs, batch_first=True), targets, index, lengths)

    @cached_property
    def targets(self) -> Tensor:
        """Of all samples; read from an attribute `targets` of the dataset when it has one, which is much faster."""
        given = getattr(self.dataset, "targets", None)
        rows: list[Tensor] = []
        if isinstance(given, list | tuple | np.ndarray | Tensor) and len(given) == len(self):
            rows = [_number(f"{self.title}.targets[{n}]", one) for n, one in enumerate(given)]
        # What __getitem__ says counts: it may have made something else of them.
        some = {0, len(self) // 2, len(self) - 1}
        if not rows or any(rows[n].tolist() != self.target(n).tolist() for n in some):
            rows = [self.target(number) for number in range(len(self))]
        targets = self._as_kind(rows, range(len(self)))
        if self.kind == "regression":
            self.exact = torch.stack(rows).view(len(rows), -1)
        return targets

    def lost(self, index: Tensor) -> list[Diagnostic]:
        """What of the samples with these numbers is no longer there in batches, as far as some of them tell."""
        found: list[Diagnostic] = []
        first = self._exact_input(int(index[0]))
        if first.ndim <= 1 and first.dtype in (torch.float64, torch.int64):
            rows = [self._exact_input(number).view(-1) for number in index[:LOOKED_AT].tolist()]
            if all(len(row) == len(rows[0]) for row in rows):
                found += lost_in_float32(torch.stack(rows), "inputs")
        if self.kind == "regression":
            found += lost_in_float32(self.exact[index[:EXACTLY]], "targets")
        return found

    def _exact_input(self, number: int) -> Tensor:
        """An input as it is given; of a picture nothing."""
        value = self._item(number)[0]
        if hasattr(value, "getbands"):
            return torch.empty(0)
        return _tensor(f"{self.title}[{number}]: the input", value)

    def _as_kind(self, rows: list[Tensor], numbers: Sequence[int]) -> Tensor:
        """Targets of the samples with these numbers, as batches have them."""
        for number, row in zip(numbers, rows, strict=True):
            if row.shape != rows[0].shape or row.ndim > 1 or row.numel() == 0:
                raise DataError(
                    f"{self.title}: the targets differ in shape: one number, or as many, for every sample; "
                    f"samples {numbers[0]} and {number} have {tuple(rows[0].shape)} and {tuple(row.shape)}"
                )
        if self.kind != "classification":
            targets = torch.stack(rows).to(torch.float32).view(len(rows), -1)
            if len(bad := (~targets.isfinite().all(1)).nonzero()):
                raise DataError(f"{self.title}[{numbers[int(bad[0])]}]: the target holds a value that is not finite")
            if self.kind == "multilabel" and not bool(((targets == 0) | (targets == 1)).all()):
                raise DataError(f"{self.title}: labels are a row of 0 and 1 per sample")
            return targets
        targets = torch.stack(rows)
        if targets.is_floating_point() or targets.ndim != 1:
            one_hot = "for one-hot rows row.argmax(), or data.target=multilabel"
            hint = one_hot if targets.ndim == 2 else "or data.target=regression"
            raise DataError(f"{self.title}: classes are one whole number >= 0 per sample; {hint}")
        targets = targets.long()
        if len(bad := ((targets < 0) | (targets >= self.num_classes)).nonzero()):
            worst = int(bad[0])
            raise DataError(
                f"{self.title}[{numbers[worst]}]: class {int(targets[worst])}, outside 0 … {self.num_classes - 1:,}"
            )
        return targets

    def target_spec(self) -> TargetSpec:
        classes = getattr(self.dataset, "classes", ())
        names = tuple(map(str, classes)) if isinstance(classes, list | tuple) else ()
        size = int(self.targets.max()) + 1 if self.kind == "classification" else self.targets.shape[1]
        if names and self.kind == "classification":
            if size > len(names):
                raise DataError(f"{self.title}: class {size - 1} among the targets, but classes has {len(names)} names")
            size = len(names)
        size = max(2, size) if self.kind == "classification" else size  # of one, there is nothing to learn
        return TargetSpec(kind=self.kind, size=size, names=names if len(names) == size else ())

    def longest(self) -> int:
        return max(len(self.input(number)) for number in range(len(self)))

    def digest(self) -> str:
        """Of the targets and of a few inputs: reading all could take as long as an epoch."""
        sha = hashlib.sha256(fingerprint(self.targets, self.targets).encode())
        with generators_restored():
            for number in range(0, len(self), max(1, len(self) // 8)):
                seed_global(number)
                one = unless_pictures(self.input(number))
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
    if tensor.dtype == torch.float64:  # for a look at what rounding takes away
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


def register_dataset(name: str) -> Callable[[D], D]:
    """Class decorator: make a `torch.utils.data.Dataset` a data source that a YAML file can name.

    Its samples are pairs: a tensor, an array or a PIL picture, and a class number or numbers. The config is derived
    from the constructor's typed arguments. A constructor with an argument `train: bool` or `split: str` is called a
    second time for the test split (`train=False`, `split="test"`); otherwise a part of the samples is held out.
    Attributes `classes` (names) and `targets` (of all samples) are used when they are there.

    Raises:
        ConfigError: the class has no `__len__` or `__getitem__`, or an argument that a config cannot give.
    """

    def add(dataset_class: D) -> D:
        title = dataset_class.__qualname__
        for method in ("__len__", "__getitem__"):
            if getattr(dataset_class, method, None) in (None, Dataset.__getitem__, IterableDataset.__getitem__):
                raise ConfigError(
                    f"{title}: has no {method} method, by which samples are counted and fetched by number"
                )
        found = arguments(dataset_class, SUPPLIED, dir(CustomDatasetConfig) + list(CustomDatasetConfig.model_fields))
        fields = {key: field for key, field in found.items() if key not in SUPPLIED}

        class DerivedConfig(CustomDatasetConfig):
            def dataset(self, part: Literal["train", "test"]) -> Dataset[Any] | None:
                told = {key: value for key, value in (("train", part == "train"), ("split", part)) if key in found}
                if part == "test" and not told:
                    return None
                return dataset_class(**{key: getattr(self, key) for key in fields}, **told)

        register("data")(config_class(dataset_class, name, DerivedConfig, fields))
        return dataset_class

    return add
