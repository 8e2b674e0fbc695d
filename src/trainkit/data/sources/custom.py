"""Custom data sets: a user's `torch.utils.data.Dataset`, registered in two lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch.utils.data import Dataset

from trainkit.config.from_constructor import OwnConfig, register_own
from trainkit.config.signature import constructor_of, title_of
from trainkit.config.yamlfile import show
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.records import NoteRecord
from trainkit.core.seeding import generators_restored, seed_global
from trainkit.data.base import Data, Split
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.inputs import InputKind, Numbers, Pictures, Sequences
from trainkit.data.sources.dataset_source import DatasetSource
from trainkit.data.spec import DataSpec
from trainkit.data.streams import LOOKED_AT, Stream, StreamSource, StreamSplit, is_stream
from trainkit.data.transforms.normalize import statistics
from trainkit.tasks import Kind

D = TypeVar("D", bound=Callable[..., Dataset[Any] | Iterable[Any]])

SUPPLIED = ("train", "split")
"""Arguments by which a constructor is told the split that it is to give: `train: bool`, or `split: str`, which is
`train` or `test`."""


class CustomDatasetConfig(ImageDataConfig):
    """Base of the configs of users' datasets."""

    read_by_check: ClassVar = ("its first samples", "samples further on")

    target: Kind | None = None
    """What the targets are; by default classes when they are whole numbers, otherwise numbers."""
    collate: Literal["stack", "pad"] = "stack"
    """`pad`: the inputs are sequences (length, features) of different lengths, filled up with zeros in a batch."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the samples that is the test split, the same for every seed, when the class gives none itself."""

    @abstractmethod
    def dataset(self, split: Literal["train", "val", "test"]) -> Any:
        """The samples from which train and val are taken, or those of the test split; None: it has none. Of streams,
        those of train or val."""

    def build(self, seed: int) -> Data:
        with generators_restored():
            seed_global(0)  # what is drawn while looking at the samples is the same every time
            return self._build(seed)

    def _build(self, seed: int) -> Data:
        training = self.dataset("train")
        assert training is not None
        if is_stream(training):
            return self._build_stream(training)
        source, testing = DatasetSource(training, self.target, self.collate), self.dataset("test")
        test = self.test if testing is None else DatasetSource(testing, self.target, self.collate, source.names)
        train, val, test_split = self.train_val_test(source, seed, test, task=source.asked)
        sources = [source, test] if isinstance(test, DatasetSource) else [source]
        return self._of(sources, train, val, test_split)

    def _build_stream(self, training: Iterable[Any]) -> Data:
        for key in ("subset", "stratify"):
            if given := getattr(self, key):
                raise DataError(
                    f"data.{key}: {show(given)} needs a number of samples, and a stream has none; leave it out"
                )
        title, apart = self._title(training), self.dataset("val")
        most = self.val if isinstance(self.val, int) else None
        if apart is None and most is None:
            raise DataError(
                f"data.val: {show(self.val)} is a fraction, and {title}, a stream, has no length: say how many samples "
                "from its beginning are held out, such as data.val=1000, or 0"
            )
        held_out = most or 0 if apart is None else 0
        stream = Stream(training, partial(self.dataset, "train"), title, held_out=held_out)
        source = StreamSource(stream, held_out + LOOKED_AT, self.target, self.collate)
        if len(source) <= held_out:
            raise DataError(f"data.val: {held_out}, but the stream has {len(source):,} samples")
        train = StreamSplit(source, torch.arange(held_out, len(source)))
        sources, val = [source], Split(source, torch.arange(held_out)) if held_out else None
        if apart is not None and most != 0:
            beside = Stream(apart, partial(self.dataset, "val"), f"{title} (val)", 1)
            sources.append(StreamSource(beside, most, self.target, self.collate, source.names))
            val = Split.whole(sources[1])
        text = f"data: {stream.title} is a stream: what looks at training samples sees its first {len(train):,}"
        return self._of(sources, train, val, None, notes=(NoteRecord(text),))

    def _title(self, dataset: object) -> str:
        return type(dataset).__name__

    def _of(
        self,
        sources: Sequence[DatasetSource],
        train: Split,
        val: Split | None,
        test_split: Split | None,
        notes: tuple[NoteRecord, ...] = (),
    ) -> Data:
        """Data of these splits, and what they tell of it."""
        source, first = sources[0], sources[0].input(0)
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
        return Data(spec, train, val, test_split, notes, found=tuple(lost))


class OwnDatasetConfig(OwnConfig, CustomDatasetConfig):
    """Base of the data sources that are made of a class, or by a function."""

    _section: ClassVar = "data"

    def dataset(self, split: Literal["train", "val", "test"]) -> Any:
        if split != "train" and not self._constructor.facts:
            return None
        made = self._make({"train": split == "train", "split": split}.__getitem__)
        _check_readable(made, title_of(self._constructor.owner))
        return made

    def _title(self, dataset: object) -> str:
        # A generator has no name of its own.
        own = title_of(self._constructor.owner).rpartition(".")[2]
        return own if isinstance(dataset, Iterator) else super()._title(dataset)


def _check_readable(dataset: object, title: str) -> None:
    for method in () if is_stream(dataset) else ("__len__", "__getitem__"):
        found = getattr(dataset if isinstance(dataset, type) else type(dataset), method, None)
        if found in (None, Dataset.__getitem__):
            raise ConfigError(f"{title}: has no {method} method, by which samples are counted and fetched by number")


def register_dataset(name: str) -> Callable[[D], D]:
    """Decorator: make a `torch.utils.data.Dataset`, or a function that returns one, a data source that a YAML file can
    name.

    Its samples are pairs: a tensor, an array or a PIL picture, and a class number, the word for a class, or numbers; or
    dicts of such an input and a `label` or `target`. The config's keys are the arguments with their types and defaults.
    What takes an argument `train: bool` or `split: str` is called a second time for the test split (`train=False`,
    `split="test"`); otherwise some of the samples are held out. Attributes `classes` (names) and `targets` (of all
    samples) are used when they are there.

    What has only `__iter__` is a stream, and so is what a generator function gives: `train.steps_per_epoch` says how
    long an epoch is, and at its end it is read again. It is called a second time for the val split (`train=False`,
    `split="val"`), which is read to its end or to `data.val` samples, and kept; otherwise the first `data.val` samples
    are held out. With `state_dict` and `load_state_dict`, a resumed run goes on there without reading what came before:
    what they say has to have moved on before a sample is given. `set_epoch` is told the pass, unless samples are held
    out, which have to be the same in every pass.

    Raises:
        ConfigError: the class has no `__len__` or `__getitem__`, and no `__iter__`; or an argument that a config cannot
            give.
    """

    def add(owner: D) -> D:
        if isinstance(owner, type):
            _check_readable(owner, owner.__qualname__)
        constructor = constructor_of(owner, SUPPLIED, base=CustomDatasetConfig)
        register_own("data", name, constructor, OwnDatasetConfig)
        return owner

    return add
