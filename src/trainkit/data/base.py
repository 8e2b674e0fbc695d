"""Batches, sources of samples, their train/val/test splits, and the config that every data source derives from.

One file, since each of these is defined by the next: a source makes batches, a split is some of a source, a config
builds splits.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.config.base import Config
from trainkit.config.yamlfile import show
from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError, OutOfMemoryError
from trainkit.core.nest import Nest
from trainkit.core.records import NoteRecord
from trainkit.data.spec import DataSpec
from trainkit.data.splitting import Keys, ascending, classes_of, held_out
from trainkit.data.tables.columns import ColumnFacts
from trainkit.tasks import Task

if TYPE_CHECKING:
    from trainkit.data.transforms.base import TransformConfig


class Batch(NamedTuple):
    """What one forward pass sees. A NamedTuple, because the DataLoader pins those and passes others by unpinned."""

    inputs: Nest
    """Shape (batch, *spec.shape); uint8 for images that are not yet normalised, int64 for what is whole numbers, else
    float32. Or a nest of tensors."""
    targets: Nest
    """Shape (batch,) int64 for classes; (batch, size) float32 for numbers and multi-label vectors. Or a nest of tensors
    (batch, …): a dict, tuple, named tuple or frozen dataclass of them, a list with one entry for each sample. None
    where they are not known."""
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which no one calls on a batch
    """Shape (batch,), int64: the samples' indices in their source, as many as there are samples. Random transforms are
    functions of it."""
    lengths: Tensor | None = None
    """Of sequences that were padded with zeros at their ends: how much of each is real. Shape (batch,), int64, always
    on the CPU, where torch's packing wants it."""
    repeat: Tensor | None = None
    """Where samples may come several times an epoch: how often each has come before. Shape (batch,), int64, on the CPU.
    Random transforms are functions of it, too."""
    shown: Nest = None
    """The targets, where the model is called with them as well; else None."""

    @property
    def arguments(self) -> tuple[Nest, ...]:
        """What a model is called with: inputs; lengths, where there are some, as only sequences have them; and targets,
        where it sees them."""
        inputs = (self.inputs,) if self.lengths is None else (self.inputs, self.lengths)
        return inputs if self.shown is None else (*inputs, self.shown)

    @property
    def form(self) -> str:
        """The shapes of what a model is called with, where that is more than a tensor and its lengths; else empty."""
        if self.shown is not None:
            return nest.shapes(self.arguments)
        return "" if isinstance(self.inputs, Tensor) else nest.shapes(self.inputs)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device, copied while the host goes on."""
        inputs, targets, index = (nest.to(part, device) for part in self[:3])
        return Batch(inputs, targets, index, self.lengths, self.repeat)


class Source(Protocol):
    """Samples by index. A source in memory hands out a whole batch for an index tensor."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> Nest:
        """Of all samples, in their order; shape (n,) or (n, size), or a nest of tensors (n, …)."""
        ...

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        """The samples with these indices, shape (batch,), int64. What is random in making one follows from `draw`, and
        from how often it has come before, where `repeat` tells that; shape (batch,)."""
        ...

    def digest(self) -> str:
        """A fingerprint of all samples, equal for equal data on any machine."""
        ...


@dataclass(frozen=True, slots=True)
class TensorSource:
    """Samples that fit in memory: `inputs` (n, *shape) and `targets` (n, …), or nests of such tensors."""

    inputs: Nest
    targets: Nest
    where: Callable[[int], str] | None = field(default=None, kw_only=True)
    """Gives the place of a sample in the user's files, such as `houses.csv:12`; None where it has none."""

    def __len__(self) -> int:
        return nest.num_samples(self.inputs)

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        return Batch(nest.take(self.inputs, index), nest.take(self.targets, index), index)

    def digest(self) -> str:
        return fingerprint(nest.map_tensors(unless_pictures, self.inputs), self.targets)


def fingerprint(*values: Nest) -> str:
    """A hash of numbers, their type and their shape, and of their names in a nest."""
    sha = hashlib.sha256()
    for name, leaf in (named for value in values for named in nest.named_leaves(value)):
        sha.update(name.encode())
        if isinstance(leaf, Tensor):
            sha.update(f"{leaf.dtype} {tuple(leaf.shape)}".encode())
            sha.update(leaf.contiguous().view(-1).view(torch.uint8).numpy().data)
        else:
            sha.update(repr(leaf).encode())
    return sha.hexdigest()


def unless_pictures(inputs: Tensor) -> Tensor:
    """Inputs in float32, unless they are pictures: so they went into fingerprints when no others were kept. Complex
    numbers stay whole."""
    return inputs if inputs.dtype == torch.uint8 or inputs.is_complex() else inputs.to(torch.float32)


class BatchRequest(NamedTuple):
    """What a loader asks a split for: the samples of one batch."""

    positions: NDArray[np.int64]
    """Shape (batch,). An array: on its way to a worker, a tensor would need shared memory."""
    seed: int
    """For what is random in making a sample; another one in every epoch."""
    repeats: NDArray[np.int64] | None = None
    """How often each has been drawn in the epoch before; None where each comes once."""

    def first(self, count: int) -> BatchRequest:
        """The first samples of it."""
        return BatchRequest(self.positions[:count], self.seed, None if self.repeats is None else self.repeats[:count])


@dataclass(frozen=True, slots=True)
class Split(Dataset[Batch]):
    """Some samples of a source, in the order of `index` (shape (n,), int64)."""

    source: Source
    index: Tensor
    is_stream: ClassVar[bool] = False
    """Whether these are only the first samples of a stream."""

    @classmethod
    def whole(cls, source: Source) -> Split:
        """All samples of a source."""
        return cls(source, torch.arange(len(source)))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, request: BatchRequest) -> Batch:
        positions = torch.from_numpy(request.positions)
        if request.repeats is None:
            return self.take(positions, request.seed)
        repeat = torch.from_numpy(request.repeats)
        return self.source.take(self.index[positions], request.seed, repeat)._replace(repeat=repeat)

    def take(self, positions: Tensor, draw: int = 0) -> Batch:
        """The batch at these positions of `index`, shape (batch,), int64."""
        return self.source.take(self.index.index_select(0, positions), draw)

    @property
    def targets(self) -> Nest:
        """Shape (n,) or (n, size), or a nest of tensors (n, …)."""
        return nest.take(self.source.targets, self.index)

    def targets_digest(self) -> str:
        """A fingerprint of the targets alone: equal for the same samples, also where inputs are made otherwise."""
        targets = self.targets
        if isinstance(targets, Tensor):  # as it was when there was nothing else
            return hashlib.sha256(targets.contiguous().numpy().tobytes()).hexdigest()[:16]
        return fingerprint(targets)[:16]


@dataclass(frozen=True, slots=True)
class Data:
    """The splits of one data set. Only `train` is always there."""

    spec: DataSpec
    train: Split
    val: Split | None
    test: Split | None
    notes: tuple[NoteRecord, ...] = ()
    """What a person should know about how the samples were read."""
    columns: tuple[ColumnFacts, ...] = ()
    """Of a file of rows: all of its columns, those left out as well."""
    found: tuple[Diagnostic, ...] = ()
    """What only reading them could show, and is usually a mistake."""

    @property
    def splits(self) -> dict[str, Split]:
        """Those that are there, by their names."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    def split(self, name: str) -> Split:
        """A split by its name.

        Raises:
            DataError: the data has no such split.
        """
        splits = self.splits
        if name not in splits:
            raise DataError(f"unknown split {name!r}; available: {', '.join(splits)}")
        return splits[name]

    def digests(self) -> dict[str, str]:
        """A fingerprint of every split: of its samples and of which they are."""
        sources = {id(split.source): split.source for split in self.splits.values()}
        digests = {key: source.digest().encode() for key, source in sources.items()}
        return {
            name: hashlib.sha256(digests[id(split.source)] + split.index.numpy().tobytes()).hexdigest()[:16]
            for name, split in self.splits.items()
        }


class DataConfig(Config):
    """Base of every data source."""

    default_model: ClassVar[str | None] = None
    """What learns from it where the config names no model."""
    read_by_check: ClassVar[tuple[str, str]] = ("all", "equal samples with different targets")
    """What `trainkit check` reads, and what it cannot find so."""
    shown: ClassVar[frozenset[str]] = frozenset()
    """Keys that say how samples are shown to a model, not which they are or what they mean."""

    name: str
    val: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Held out of the training samples for validation: a count, or a fraction (at least 1 sample). 0 for none. A source
    with a val split of its own is not divided."""

    stratify: bool = False
    """Take `val` and `subset` so that the classes keep their proportions."""
    subset: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] | None = None
    """For quick tries: train on so many of the training samples, or on this fraction of them."""
    target_transform: Literal["auto", "none", "standardize", "log"] = "auto"
    """For targets that are numbers: what a model has to learn instead of them. `standardize`: by how many standard
    deviations a target differs from the mean, both of the training samples; `log`: the same of its logarithm; `none`:
    the target as it is; `auto`: `log` where all training targets are above 0 and have a skewness above 2, else
    `standardize`. Losses of your own get targets as they are. Metrics and predictions are in your unit in any case,
    and so is the loss, except with `log`."""

    @classmethod
    def model_for(cls, _given: Mapping[str, object], /) -> str | None:
        """What learns from it where the config names no model, by its keys, which are not checked yet."""
        return cls.default_model

    def spec(self) -> DataSpec | None:
        """What this config alone tells of the data; None where only the data itself can tell."""
        return None

    def absent(self) -> str:
        """What of the data is not there yet, and what follows; empty where all of it is, or opening it tells.

        Raises:
            DataError: it is not there, and training would not fetch it.
        """
        return ""

    def fallback_config(self) -> DataConfig | None:
        """What to use instead when the data is missing; None, unless the config says otherwise."""
        return None

    def restored(self) -> Self:
        """The same data for a config out of a checkpoint, which does not decide where files are written."""
        return self

    @abstractmethod
    def build(self, seed: int) -> Data:
        """Read the data and split it.

        Raises:
            DataError: the data is missing or damaged.
        """

    def placeholder(self, seed: int) -> Data:
        """Data to inspect an experiment with: placeholder samples where the config alone tells what they are.

        Raises:
            DataError: they have to be read, and are missing or damaged; there are fewer of them than are held out.
        """
        return self.open(seed)

    def open(self, seed: int) -> Data:
        """Build, and measure on the training samples what the spec is to tell about them.

        Raises:
            DataError: the data is missing or damaged.
            OutOfMemoryError: it is too large.
            WorkerError: a worker that decoded pictures died.
        """
        return self._counted(lambda: self.build(seed))

    def _counted(self, build: Callable[[], Data]) -> Data:
        try:
            data = build()
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
                raise
            raise OutOfMemoryError("data: the samples do not fit into memory") from error
        task, training = data.spec.task, data.train.targets  # asked for once: of masks, it is a copy of all of them
        task.check(training, "train")
        measured = task.measured(training, data.train.index, self.target_transform)
        del training
        for name, split in data.splits.items():
            if name != "train":
                task.check(split.targets, name)
        found = data.found
        if self.val and data.val is None:
            text = f"data.val: {show(self.val)}, but none of the {len(data.train):,} training samples is held out: "
            text += "samples of one group, or of one picture, stay together"
            found += (Diagnostic("no-val", text),)
        return replace(data, spec=data.spec.with_task(measured), found=found)

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        """The data for a model that was trained on such: read as its training data was, whatever is in it now.

        Raises:
            DataError: as `open`.
        """
        return self.open(seed)

    def for_training(self, train: Split) -> tuple[Split, tuple[TransformConfig, ...]]:
        """The training samples as a run takes them, and the random transforms that are left for their batches."""
        return train, ()

    def train_val_test(
        self,
        source: Source,
        seed: int,
        test: Source | float | None = None,
        val: Source | None = None,
        *,
        labels: Tensor | None = None,
        keys: Keys | None = None,
        task: Task | type[Task] | None = None,
    ) -> tuple[Split, Split | None, Split | None]:
        """Train, val and test, disjoint: `source` divided as the config says, and the samples that stand apart already.

        Args:
            test: the samples of the test split; or the fraction of `source` that is held out for it, the same for every
                seed, so that runs can be compared.
            val: the samples of the val split, where it stands apart; the key `val` then does not count.
            labels, keys: as of `splitting.held_out`, the labels for the test split alone.
            task: as of `divide`.

        Raises:
            DataError: as `divide`.
        """
        among = None
        if test is None or isinstance(test, float):
            total = len(source)
            held, rest = held_out(round(total * (test or 0)), total, 0, "test", labels=labels, keys=keys)
            tested, among = Split(source, ascending(held, total)), ascending(rest, total)
        else:
            tested = Split.whole(test)
        if val is None:
            train, validated = self.divide(source, seed, among, keys, task)
        else:
            train, _ = self.model_copy(update={"val": 0}).divide(source, seed, among, task=task)
            validated = Split.whole(val)
        return train, validated, tested if len(tested) else None

    def divide(
        self,
        source: Source,
        seed: int,
        among: Tensor | None = None,
        keys: Keys | None = None,
        task: Task | type[Task] | None = None,
    ) -> tuple[Split, Split | None]:
        """Divide the training samples into train and val: disjoint, and a function of the seed.

        Args:
            among: which samples of the source are for training, shape (n,); by default all.
            keys: of all samples of the source; with them nothing is stratified.
            task: says by which classes the samples are stratified; by default, the targets' shape does.

        Raises:
            DataError: there are not so many samples, or the targets are no classes to stratify by.
        """
        among = torch.arange(len(source)) if among is None else among
        total = len(among)
        count = _count(self.val, total)
        if count >= total:
            raise DataError(f"data.val: {show(self.val)}, but there are {total} training samples")
        keys = Keys() if keys is None else keys.at(among)
        labels = None
        if self.stratify and keys.given is None:
            labels = classes_of(nest.take(source.targets, among), task, "data.stratify: the targets")
        val, rest = held_out(count, total, seed, "split", labels=labels, keys=keys)
        kept = len(rest) if self.subset is None else _count(self.subset, len(rest))
        if kept > len(rest):
            raise DataError(f"data.subset: {show(self.subset)}, but there are {len(rest)} training samples")
        train = Split(source, among[ascending(rest[:kept], total)])
        return train, Split(source, among[ascending(val, total)]) if len(val) else None


def _count(amount: float, total: int) -> int:
    """A count, or a fraction of a total: at least 1."""
    return max(1, round(total * amount)) if isinstance(amount, float) else amount
