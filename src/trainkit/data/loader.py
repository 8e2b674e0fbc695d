"""The data loader: batches with workers or without, in page-locked memory or on the device."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import DataLoader

from trainkit.config.base import Config
from trainkit.core import nest
from trainkit.core.errors import DataError
from trainkit.data import workers
from trainkit.data.base import Batch, Source, Split, TensorSource
from trainkit.data.epoch_batches import EpochBatches
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.crops import RandomCrops
from trainkit.data.images.kept import KeptPictures
from trainkit.data.sequences import SequenceSource
from trainkit.data.splitting import balanced_weights
from trainkit.tasks import Task

BatchSize = Annotated[int, Field(ge=1, le=10_000_000)]


class LoaderConfig(Config):
    """How samples become batches."""

    batch_size: BatchSize = 64
    """Training samples per batch."""
    eval_batch_size: BatchSize = 256
    """Samples per batch in evaluation; no effect on the result."""
    num_workers: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = "auto"
    """Worker processes. `auto`: none for data in memory, which comes in whole batches without them; one for each core
    (at most 8) for files."""
    timeout: Annotated[float, Field(gt=0, le=1_000_000)] = 600.0
    """Seconds that a run waits for a batch from its workers before it takes one for hanging and ends with exit code 10.
    Without workers, it waits as long as it takes."""
    pin_memory: bool = True
    """Page-locked memory for faster copies to a GPU; no effect without CUDA."""
    drop_last: bool = False
    """Leave out the last training batch of an epoch when it is smaller than the others."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """`shuffle`: every training sample once an epoch. `balanced`: as many draws, but each class as often as the others:
    samples of rare classes come several times, some of the frequent ones not at all. Random transforms follow from the
    seed, the epoch, the sample and how often it was drawn before, so that it is another picture each time."""

    group_by_length: bool | Literal["auto"] = "auto"
    """Whether training samples of like lengths share a batch, so that little is padded: the order of an epoch is cut
    into pieces of 50 batches, and each is sorted. `auto`: for texts. No effect on samples of one length."""

    def train_loader(
        self, split: Split, seed: int, device: torch.device, limit: int | None = None, task: Task | None = None
    ) -> Loader:
        """Shuffled batches, at most `limit` of them an epoch.

        Args:
            task: says by which classes samples are balanced; by default, the targets' shape does.

        Raises:
            DataError: there would be no batch at all, or nothing by which to balance.
        """
        samples = len(split)
        if samples < self.batch_size and self.drop_last:
            raise DataError(
                f"loader.drop_last: {samples} samples, batch_size {self.batch_size}, drop_last: 0 batches; "
                f"use loader.batch_size={max(min(samples, 2), samples // 2)} or loader.drop_last=false"
            )
        return self._loader(split, self.batches(split, seed, task, drop_last=self.drop_last, limit=limit), device)

    def batches(
        self,
        split: Split,
        seed: int,
        task: Task | None = None,
        *,
        drop_last: bool = False,
        limit: int | None = None,
    ) -> EpochBatches:
        """The training batches as positions. Arguments as of `train_loader`."""
        weights = balanced_weights(split.targets, task) if self.sampler == "balanced" else None
        lengths = None
        if isinstance(split.source, SequenceSource):
            grouped = split.source.is_text if self.group_by_length == "auto" else self.group_by_length
            lengths = split.source.lengths[split.index] if grouped else None
        return EpochBatches(len(split), self.batch_size, seed, drop_last, weights=weights, lengths=lengths, limit=limit)

    def eval_loader(self, split: Split, device: torch.device, limit: int | None = None) -> Loader:
        """Every sample once, in order; of the first `limit` batches."""
        return self._loader(split, EpochBatches(len(split), self.eval_batch_size, limit=limit), device)

    def _loader(self, split: Split, batches: EpochBatches, device: torch.device) -> Loader:
        if self.num_workers != "auto":
            num_workers = self.num_workers
        elif _is_in_memory(split.source, device) or sys.platform == "win32":
            num_workers = 0
        else:
            num_workers = min(workers.cores(), 8)
        # Only then: elsewhere torch warns and does not pin.
        pin_memory = self.pin_memory and device.type == "cuda"
        return Loader(split, batches, num_workers=num_workers, timeout=self.timeout, pin_memory=pin_memory)


def _is_in_memory(source: Source, device: torch.device) -> bool:
    """Whether its batches are there without work that is better done ahead."""
    if isinstance(source, RandomCrops):
        return isinstance(source.pictures, CachedSource) and device.type == "cpu"
    return isinstance(source, TensorSource | SequenceSource | KeptPictures)


def _as_it_is(batch: Any) -> Any:
    return batch


@dataclass(frozen=True, slots=True)
class _ToPin:
    """What a loader gives on its way into page-locked memory: torch would pass by the dataclasses in it."""

    batch: Any

    def pin_memory(self) -> Any:
        return pinned(self.batch)


def pinned(batch: Any) -> Any:
    """The same batch in page-locked memory."""
    return nest.map_tensors(Tensor.pin_memory, batch)


class Loader:
    """Batches of one split, epoch by epoch."""

    def __init__(
        self, split: Split, batches: EpochBatches, *, num_workers: int, timeout: float, pin_memory: bool
    ) -> None:
        self.batches, self.num_workers, self.pin_memory = batches, num_workers, pin_memory
        self._split = split
        self._loader: DataLoader[Batch | nest.Packed | Exception] | None = None
        if num_workers:
            self._loader = DataLoader(
                workers.Guarded(split),
                batch_size=None,  # a split makes whole batches
                # By default, torch searches all of it for something to convert.
                collate_fn=_ToPin if pin_memory else _as_it_is,
                sampler=batches,
                num_workers=num_workers,
                timeout=timeout,
                pin_memory=pin_memory,
                persistent_workers=True,
                worker_init_fn=workers.begin,
                # Its own generator: otherwise every epoch would draw from the global stream.
                generator=torch.Generator(),
            )

    def __len__(self) -> int:
        return len(self.batches)

    def sizes(self, start: int, count: int) -> list[int]:
        """The sizes of the next `count` batches of an epoch, fewer at its end."""
        return [self.batches.size(batch) for batch in range(start, min(start + count, self.batches.count))]

    def epoch(self, epoch: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch number `start` on.

        Raises:
            WorkerError: a worker died or hangs.
            RemoteError: what a user's code raised in a worker.
        """
        self.batches.epoch, self.batches.start = epoch, start
        if self._loader is None:  # whole batches are made where they are asked for, with nothing in between
            batches = map(self._split.__getitem__, self.batches)
            return map(pinned, batches) if self.pin_memory else batches
        with workers.left_alone():
            packed = iter(self._loader)
        return workers.results(packed)

    @property
    def source(self) -> Source:
        """Where the samples come from."""
        return self._split.source

    def take_from(self, copy: Source) -> None:
        """Take the samples from a copy of their source that lies on the device."""
        self._split, self.pin_memory = replace(self._split, source=copy), False

    def close(self) -> None:
        """End the workers; the next epoch would start new ones. Left to the garbage collector, as after an error, they
        may end in disorder: it closes pipes that a thread of theirs still has to close. torch has no public way."""
        if self._loader is not None and (iterator := self._loader._iterator) is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._loader._iterator = None


def keep_on_device(loaders: Iterable[Loader], device: torch.device) -> None:
    """Copy samples that are tensors in memory to a CUDA device, each source once, if it takes at most half of what is
    free there."""
    copies: dict[int, TensorSource] = {}
    for loader in loaders if device.type == "cuda" else ():
        source = loader.source
        if loader.num_workers or type(source) is not TensorSource:
            continue
        if id(source) not in copies:
            if nest.nbytes((source.inputs, source.targets)) > torch.cuda.mem_get_info(device)[0] // 2:
                continue
            copies[id(source)] = TensorSource(nest.to(source.inputs, device), nest.to(source.targets, device))
        loader.take_from(copies[id(source)])
