"""Custom data sets: a user's `torch.utils.data.Dataset`, registered in two lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch.utils.data import Dataset, IterableDataset

from trainkit.config.from_constructor import OwnConfig, register_own
from trainkit.config.signature import constructor_of, title_of
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.seeding import generators_restored, seed_global
from trainkit.data.base import Data
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.inputs import InputKind, Numbers, Pictures, Sequences
from trainkit.data.sources.dataset_source import DatasetSource
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.normalize import statistics
from trainkit.tasks import Kind

D = TypeVar("D", bound=Callable[..., Dataset[Any]])

SUPPLIED = ("train", "split")
"""Arguments by which a constructor is told the split that it is to give: `train: bool`, or `split: str`, which is
`train` or `test`."""


class CustomDatasetConfig(ImageDataConfig):
    """Base of the configs of users' datasets."""

    target: Kind | None = None
    """What the targets are; by default classes when they are whole numbers, otherwise numbers."""
    collate: Literal["stack", "pad"] = "stack"
    """`pad`: the inputs are sequences (length, features) of different lengths, filled up with zeros in a batch."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the samples that is the test split, the same for every seed, when the class gives none itself."""

    @abstractmethod
    def dataset(self, split: Literal["train", "test"]) -> Dataset[Any] | None:
        """The samples from which train and val are taken, or those of the test split; None: it has none."""

    def build(self, seed: int) -> Data:
        with generators_restored():
            seed_global(0)  # what is drawn while looking at the samples is the same every time
            return self._build(seed)

    def _build(self, seed: int) -> Data:
        training, testing = self.dataset("train"), self.dataset("test")
        assert training is not None
        source = DatasetSource(training, self.target, self.collate)
        test = self.test if testing is None else DatasetSource(testing, self.target, self.collate, source.names)
        train, val, test_split = self.train_val_test(source, seed, test, task=source.asked)
        sources = [source, test] if isinstance(test, DatasetSource) else [source]
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
        task = source.task()
        for one in sources:
            one.size = task.size  # a loss on a GPU would read beyond its memory
        padded, whole = self.collate == "pad", first.dtype == torch.int64
        if image:
            known: InputKind = Pictures(shape=shape, mean=mean, std=std)
        else:
            known = (Sequences if padded else Numbers)(shape=shape, whole=whole)
        spec = DataSpec(input=known, task=task)
        lost = [] if padded else source.lost_in_float32(train.index)
        return Data(spec, train, val, test_split, found=tuple(lost))


class OwnDatasetConfig(OwnConfig, CustomDatasetConfig):
    """Base of the data sources that are made of a class, or by a function."""

    _section: ClassVar = "data"

    def dataset(self, split: Literal["train", "test"]) -> Dataset[Any] | None:
        if split == "test" and not self._constructor.facts:
            return None
        made: Dataset[Any] = self._make({"train": split == "train", "split": split}.__getitem__)
        _check_counted(made, title_of(self._constructor.owner))
        return made


def _check_counted(dataset: object, title: str) -> None:
    for method in ("__len__", "__getitem__"):
        found = getattr(dataset if isinstance(dataset, type) else type(dataset), method, None)
        if found in (None, Dataset.__getitem__, IterableDataset.__getitem__):
            raise ConfigError(f"{title}: has no {method} method, by which samples are counted and fetched by number")


def register_dataset(name: str) -> Callable[[D], D]:
    """Decorator: make a `torch.utils.data.Dataset`, or a function that returns one, a data source that a YAML file can
    name.

    Its samples are pairs: a tensor, an array or a PIL picture, and a class number, the word for a class, or numbers; or
    dicts of such an input and a `label` or `target`. The config's keys are the arguments with their types and defaults.
    What takes an argument `train: bool` or `split: str` is called a second time for the test split (`train=False`,
    `split="test"`); otherwise some of the samples are held out. Attributes `classes` (names) and `targets` (of all
    samples) are used when they are there.

    Raises:
        ConfigError: the class has no `__len__` or `__getitem__`, or an argument that a config cannot give.
    """

    def add(owner: D) -> D:
        if isinstance(owner, type):
            _check_counted(owner, owner.__qualname__)
        constructor = constructor_of(owner, SUPPLIED, base=CustomDatasetConfig)
        register_own("data", name, constructor, OwnDatasetConfig)
        return owner

    return add
