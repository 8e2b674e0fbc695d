"""Data sets without a length: their first samples in memory, to be looked at, and batches read one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch.utils.data import Dataset, IterableDataset

from trainkit.core.errors import DataError
from trainkit.core.seeding import derive, generators_restored, seed_global
from trainkit.data.base import Batch, Split
from trainkit.data.epoch_batches import EpochBatches
from trainkit.data.loader import Loader, pinned
from trainkit.data.sources.dataset_source import DatasetSource, Pair, pair_of, told
from trainkit.tasks import Kind

LOOKED_AT = 1024
"""Training samples at the beginning that are kept for all that looks at training samples."""
MOST_HELD_OUT = 100_000
"""Of a val stream that has no end, nobody could wait for it."""


def is_stream(dataset: object) -> bool:
    """Whether a data set, or a class of such, can only be read from its beginning."""
    kind = dataset if isinstance(dataset, type) else type(dataset)
    fetched = getattr(kind, "__getitem__", None) not in (None, Dataset.__getitem__, IterableDataset.__getitem__)
    return hasattr(kind, "__iter__") and not (fetched and hasattr(kind, "__len__"))


class Stream:
    """Samples from the beginning to the end, and then again. What they draw at random follows from where they stand.

    Args:
        make: makes another one, for the next pass over what is an iterator itself, such as a generator.
        held_out: so many samples at the beginning are the same in every pass and for every seed.
    """

    def __init__(
        self,
        dataset: Iterable[Any],
        make: Callable[[], Iterable[Any]],
        title: str,
        seed: int = 0,
        held_out: int = 0,
    ) -> None:
        self.dataset, self.make, self.title, self.seed, self.held_out = dataset, make, title, seed, held_out
        self.passes = 0
        """Finished ones."""
        self.number = 0
        """Samples read in this pass."""
        self._samples: Iterator[Any] | None = None

    def again(self) -> Iterable[Any]:
        """Another one, made as the first was, whatever it draws as it is made."""
        with generators_restored():
            seed_global(0)
            return self.make()

    def read(self) -> tuple[int, Pair] | None:
        """The next sample with its number in the pass; None once at the end of each pass.

        Raises:
            DataError: as `told` and `pair_of`.
        """
        number, where = self.number, f"{self.title}[{self.number}]"
        key = (0, "held out") if number < self.held_out else (self.seed, "stream", self.passes)
        seed_global(derive(*key, number))
        with told(where):
            if self._samples is None:
                if hasattr(self.dataset, "set_epoch") and not self.held_out:
                    self.dataset.set_epoch(self.passes)
                self._samples = iter(self.dataset)
            item = next(self._samples, self)
        if item is not self:
            self.number += 1
            return number, pair_of(where, item)
        self.passes, self.number, self._samples = self.passes + 1, 0, None
        if isinstance(self.dataset, Iterator):
            self.dataset = self.again()
        return None

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, with what the data set itself says of that; None where it has no `state_dict`."""
        state = None
        if hasattr(self.dataset, "state_dict") and hasattr(self.dataset, "load_state_dict"):
            with told(f"{self.title}.state_dict"):
                state = self.dataset.state_dict()
        return {"passes": self.passes, "number": self.number, "state": state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        with told(f"{self.title}.load_state_dict"):
            self.dataset.load_state_dict(state["state"])  # type: ignore[attr-defined]  # it has given one
        self.passes, self.number, self._samples = state["passes"], state["number"], None


class _Samples(list[Pair]):
    """Samples as a map-style data set."""

    classes: Any = ()


class StreamSource(DatasetSource):
    """The first samples of a stream, in memory.

    Args:
        most: how many; None: all that there are.
        kind, collate, names: as of `DatasetSource`.
    """

    def __init__(
        self,
        stream: Stream,
        most: int | None,
        kind: Kind | None,
        collate: Literal["stack", "pad"],
        names: tuple[str, ...] | None = None,
    ) -> None:
        self.stream, samples = stream, _Samples()
        samples.classes = getattr(stream.dataset, "classes", ())
        while len(samples) != most and (read := stream.read()):
            samples.append(read[1])
            if most is None and len(samples) > MOST_HELD_OUT:
                raise DataError(
                    f"{stream.title}: the val stream has no end within {MOST_HELD_OUT:,} samples; say how many of them "
                    "count, such as data.val=2000"
                )
        super().__init__(samples, kind, collate, names, stream.title)  # type: ignore[arg-type]  # as good as a Dataset

    def has(self, number: int, sample: Pair) -> bool:
        """Whether a sample has the input that was kept under its number."""
        return torch.equal(self._input(number, sample[0]), self.input(number))


@dataclass(frozen=True, slots=True)
class StreamSplit(Split):
    """Training samples from a stream: those of `index` are the first of them, all before are held out."""

    is_stream: ClassVar = True

    def loader(self, batch_size: int, batches: int, seed: int, *, pin_memory: bool) -> StreamLoader:
        """Batches of live samples, so many an epoch."""
        return StreamLoader(self, EpochBatches(batches * batch_size, batch_size, seed), pin_memory=pin_memory)


class StreamLoader(Loader):
    """Full batches of a stream, each epoch where the last one ended, the next pass where the stream ends."""

    def __init__(self, split: StreamSplit, batches: EpochBatches, *, pin_memory: bool) -> None:
        super().__init__(split, batches, num_workers=0, timeout=math.inf, pin_memory=pin_memory)
        assert isinstance(split.source, StreamSource)
        self._source = split.source
        self.notes: list[str] = []
        """What a person should know of how it goes on."""
        self._begin()

    def _begin(self) -> None:
        seen, seed = self._source.stream, derive(self.batches.seed or 0, "sample")
        self._stream, self.taken = Stream(seen.again(), seen.make, seen.title, seed, seen.held_out), 0

    def epoch(self, epoch: int = 0, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch number `start` on; what comes before is read, unless it has been."""
        batches = self._batches((epoch * len(self) + start) * self.batches.batch_size, len(self) - start)
        return map(pinned, batches) if self.pin_memory else batches

    def _batches(self, begin: int, count: int) -> Iterator[Batch]:
        if self.taken > begin:
            self._begin()
        with generators_restored():
            while self.taken < begin:
                self._next()
        size = self.batches.batch_size
        for _ in range(count):
            with generators_restored():
                index = torch.arange(self.taken, self.taken + size)
                batch = self._source.batch((self._next() for _ in range(size)), index)
            yield batch

    def _next(self) -> tuple[int, Pair]:
        ends = 0
        while True:
            read = self._stream.read()
            if read is None:
                ends += 1
                if ends == 2:
                    title, number = self._stream.title, self._stream.passes
                    raise DataError(f"{title}: no training samples in pass {number}; __iter__ has to begin anew")
            elif read[0] >= self._stream.held_out:
                self.taken += 1
                return read
            elif not self._source.has(*read):
                stream = self._stream
                raise DataError(
                    f"{stream.title}: the first {stream.held_out:,} samples are held out, and in pass "
                    f"{stream.passes + 1} sample {read[0]:,} is another one; give the same order in every pass, or "
                    "a val split of its own (split: str)"
                )

    def state_dict(self) -> dict[str, Any]:
        return {"taken": self.taken, **self._stream.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there. Without a state of the data set's own, the next epoch reads its way to where it begins."""
        if state["state"] is not None:
            self._stream.load_state_dict(state)
            self.taken = state["taken"]
        elif state["taken"]:
            again = f"{state['taken']:,} samples are read again to get to where the run stopped"
            self.notes = [f"the stream has no state_dict: {again}; it goes on exactly if they are the same ones"]
