"""Data sets without a length."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from trainkit.config import registry
from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Data, DataConfig, register_dataset
from trainkit.data.streams import MOST_HELD_OUT, StreamLoader, StreamSplit, is_stream
from trainkit.experiment.building import open_data
from trainkit.experiment.schema import ExperimentConfig


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setitem(registry._families, "data", dict(registry._families["data"]))


def opened(owner: Any, **options: Any) -> Data:
    """Register a class or function, and open the data of a config of it."""
    name = owner.__name__
    register_dataset(name)(owner)
    config = registry.find("data", name).model_validate({"name": name, **options})
    assert isinstance(config, DataConfig)
    return config.open(0)


def loader(data: Data, batch_size: int = 4, batches: int = 3, seed: int = 0) -> StreamLoader:
    assert isinstance(data.train, StreamSplit)
    return data.train.loader(batch_size, batches, seed, pin_memory=False)


def seen(batches: Iterator[Any]) -> list[float]:
    return [number for batch in batches for number in batch.inputs[:, 0].tolist()]


def numbers(split: str, count: int = 10) -> Iterator[tuple[Tensor, int]]:
    first = 0 if split == "train" else 100
    for n in range(first, first + count):
        yield torch.tensor([float(n), random.random()]), n % 2


class Own(IterableDataset[Any]):
    """Knows where it stands."""

    def __init__(self, count: int = 10) -> None:
        self.count, self.at, self.begun = count, 0, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.begun, start, self.at = self.begun + 1, self.at, 0
        for n in range(start, self.count):
            self.at = n + 1
            yield {"x": [float(n)], "label": n % 2}
        self.at = 0

    def state_dict(self) -> dict[str, int]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.at = state["at"]


def test_what_is_a_stream() -> None:
    class Sized(IterableDataset[Any]):
        def __len__(self) -> int:
            return 3

    assert is_stream(Own)
    assert is_stream(Own())
    assert is_stream(Sized)
    assert is_stream(numbers("train"))
    assert not is_stream([1])
    assert not is_stream(Dataset)


def test_epochs_follow_one_another_and_passes_too() -> None:
    data = opened(numbers)
    assert data.val is not None
    assert data.test is None
    assert [len(data.train), len(data.val)] == [10, 10]
    assert seen(iter([data.val.take(torch.arange(2))])) == [100, 101]
    assert data.found == ()
    assert "a stream" in data.notes[0].text
    live = loader(data)
    assert len(live) == 3
    assert live.sizes(0, 9) == [4, 4, 4]
    assert seen(live.epoch(0)) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    batch = next(live.epoch(1))
    assert batch.inputs[:, 0].tolist() == [2, 3, 4, 5]
    assert batch.index.tolist() == [12, 13, 14, 15]  # none comes twice: random transforms follow from it
    assert batch.targets.tolist() == [0, 1, 0, 1]


def test_what_samples_draw_follows_from_their_place() -> None:
    data = opened(numbers)
    before = random.getstate()
    drawn = [[batch.inputs[:, 1].tolist() for batch in loader(data, seed=seed).epoch()] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == before
    assert drawn[0][0][0] != drawn[0][2][2]  # the first sample in both passes


def test_any_place_is_reached_by_reading() -> None:
    data = opened(numbers)
    all_of_it = [batch.inputs.tolist() for epoch in range(3) for batch in [*loader(data, batches=9).epoch(epoch)][3:5]]
    live = loader(data, batches=9)
    again = [batch.inputs.tolist() for epoch in range(3) for batch in [*live.epoch(epoch, start=3)][:2]]
    assert again == all_of_it
    assert seen(live.epoch(0))[:2] == [0, 1]  # before where it stands: from the beginning


@pytest.mark.parametrize("taken", [1, 2, 5, 7])
def test_a_state_of_its_own_is_gone_on_from(taken: int) -> None:
    data = opened(Own, val=0)
    live = loader(data, batch_size=2, batches=20)
    batches = live.epoch()
    for _ in range(taken):
        next(batches)
    state = live.state_dict()
    resumed = loader(data, batch_size=2, batches=20)
    resumed.load_state_dict(state)
    assert resumed.notes == []
    assert seen(resumed.epoch(0, start=taken)) == seen(batches)
    assert isinstance(resumed._stream.dataset, Own)
    assert resumed._stream.dataset.begun <= 1 + 40 // 10 - taken // 5


def test_without_a_state_it_says_what_it_reads_again() -> None:
    live = loader(opened(numbers))
    next(live.epoch())
    state = live.state_dict()
    assert state == {"taken": 4, "passes": 0, "number": 4, "state": None}
    resumed = loader(opened(numbers))
    resumed.load_state_dict(state)
    [note] = resumed.notes
    assert note.startswith("the stream has no state_dict: 4 samples are read again to get to where the run stopped")


def test_the_first_samples_are_held_out_of_every_pass() -> None:
    def shuffled(count: int = 10) -> Iterator[tuple[Tensor, int]]:
        order = list(range(count))
        random.shuffle(order)
        for n in order:
            yield torch.tensor([float(n)]), n % 2

    data = opened(shuffled, val=3)
    assert data.val is not None
    held_out = set(seen(iter([data.val.take(torch.arange(3))])))
    assert len(data.train) == 7
    live = loader(data, batch_size=7, batches=2, seed=5)
    for _ in range(2):
        assert set(seen(iter([next(live.epoch(0))]))) == set(range(10)) - held_out
    free = loader(opened(shuffled, val=0), batch_size=10, batches=2)
    first, second = [batch.inputs[:, 0].tolist() for batch in free.epoch()]
    assert first != second
    assert sorted(first) == sorted(second)


def test_set_epoch_is_told_the_pass() -> None:
    class Told(Own):
        def set_epoch(self, epoch: int) -> None:
            self.told = [*getattr(self, "told", []), epoch]

    live = loader(opened(Told, val=0), batches=6)
    assert len(seen(live.epoch())) == 24
    assert isinstance(live._stream.dataset, Told)
    assert live._stream.dataset.told == [0, 1, 2]


def test_so_many_of_a_val_stream() -> None:
    data = opened(numbers, val=4)
    assert data.val is not None
    assert len(data.val) == 4
    assert opened(numbers, val=0).val is None

    def endless(train: bool) -> Iterator[tuple[float, int]]:
        while True:
            yield 1.0, 0

    with pytest.raises(DataError, match=f"the val stream has no end within {MOST_HELD_OUT:,} samples; say how many"):
        opened(endless)
    data = opened(endless, val=2)
    assert data.val is not None
    assert len(data.val) == 2


def unfit(train: bool) -> Iterator[Any]:
    for n in range(1100):
        yield (float(n), n % 2) if n < 1050 else (float(n), 7) if train else "one"


class Spent(Own):
    """Gives its samples once."""

    def __iter__(self) -> Iterator[Any]:
        while self.at < self.count:
            self.at += 1
            yield [1.0], self.at % 2


def test_what_is_wrong_names_the_sample() -> None:
    live = loader(opened(unfit, val=5), batch_size=100, batches=20)
    with pytest.raises(DataError, match=r"^unfit\[1050\]: the target has class 7, outside 0 … 1$"):
        list(live.epoch())
    with pytest.raises(DataError, match=r"^unfit \(val\)\[1050\]: expected a pair \(input, target\), got str$"):
        opened(unfit)

    def failing() -> Iterator[Any]:
        yield 1.0, 0
        raise KeyError("gone")

    with pytest.raises(DataError, match=r"failing\[1\]: raised KeyError: 'gone' \(.*test_streams.py:\d+\)$"):
        opened(failing, val=0)
    with pytest.raises(DataError, match=r"^Spent: no training samples in pass 2; __iter__ has to begin anew$"):
        list(loader(opened(Spent, val=0)).epoch())
    with pytest.raises(DataError, match="has no samples"):
        opened(lambda: iter([]), val=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "data.val: 0.1 is a fraction, and Own, a stream, has no length: say how many samples"),
        ({"val": 10}, "data.val: 10, but the stream has 10 samples"),
        ({"subset": 5}, "data.subset: 5 needs a number of samples, and a stream has none; leave it out"),
        ({"stratify": True}, "data.stratify: true needs a number of samples"),
    ],
)
def test_what_needs_a_length(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(Own, **options)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, r"train.steps_per_epoch: is missing: the data is a stream.*use such as train.steps_per_epoch=1000"),
        (
            {"loader": {"num_workers": 2}},
            "loader.num_workers: 2, but a stream is read by the run itself",
        ),
        ({"loader": {"sampler": "balanced"}}, "loader.sampler: balanced needs all samples at once"),
        ({"data": "digits", "train": {"steps_per_epoch": 3}}, "train.steps_per_epoch: is for streams; an epoch is all"),
    ],
)
def test_what_an_experiment_has_to_say(sections: dict[str, Any], message: str) -> None:
    register_dataset("own")(Own)
    experiment = ExperimentConfig.from_plain({"data": {"name": "own", "val": 2}, "model": "mlp", **sections})
    with pytest.raises(ConfigError, match=message):
        open_data(experiment)


class Drawn(IterableDataset[Any]):
    """Draws its order when it is made."""

    def __init__(self, count: int = 12) -> None:
        self.order = random.sample(range(count), count)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        yield from ((torch.tensor([float(n)]), n % 2) for n in self.order)


def test_an_order_that_is_drawn_when_it_is_made_is_the_same_every_time() -> None:
    random.seed(1)
    data = opened(Drawn, val=4)
    assert data.val is not None
    held_out = {*seen(iter([data.val.take(torch.arange(4))]))}
    random.seed(2)
    first = seen(loader(data, batches=6).epoch(0))
    assert not held_out & {*first}
    random.seed(3)
    assert seen(loader(data, batches=6).epoch(0)) == first


def test_held_out_samples_that_change_are_told() -> None:
    class Turning(Drawn):
        passes = 0

        def __iter__(self) -> Iterator[tuple[Tensor, int]]:
            type(self).passes += 1
            yield from ((torch.tensor([float((n + self.passes) % 12)]), n % 2) for n in range(12))

    message = r"the first 4 samples are held out, and in pass 1 sample 0 is another one; give the same order"
    data = opened(Turning, val=4)
    with pytest.raises(DataError, match=message):
        list(loader(data).epoch(0))
