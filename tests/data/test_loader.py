from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import transforms

from trainkit.core import nest, seeding
from trainkit.core.errors import DataError
from trainkit.core.nest import Nest
from trainkit.data import Batch, DataSpec, Split, TensorSource
from trainkit.data.base import BatchRequest
from trainkit.data.epoch_batches import EpochBatches, _drawn
from trainkit.data.inputs import Pictures
from trainkit.data.loader import Loader, LoaderConfig, _ToPin
from trainkit.data.sequences import SequenceSource
from trainkit.data.transforms.geometric import RandomCrop
from trainkit.data.transforms.pipeline import preparation
from trainkit.data.workers import Guarded
from trainkit.tasks import Classification

CPU = torch.device("cpu")

# Torch's remark about two workers on a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class CountingSource:
    """Remembers how it was asked."""

    def __init__(self, samples: int) -> None:
        self.source = TensorSource(torch.arange(samples).unsqueeze(1).float(), torch.arange(samples))
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(self.source)

    @property
    def targets(self) -> Nest:
        return self.source.targets

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        self.taken.append(len(index))
        return self.source.take(index)

    def digest(self) -> str:
        return self.source.digest()


def split(samples: int) -> Split:
    return Split(CountingSource(samples), torch.arange(samples))


def loader(samples: int, batch_size: int, seed: int = 0, num_workers: int = 0, **options: Any) -> Loader:
    return LoaderConfig(batch_size=batch_size, num_workers=num_workers, **options).train_loader(
        split(samples), seed, CPU
    )


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def indices(batches: Iterator[Batch]) -> list[list[int]]:
    return [batch.index.tolist() for batch in batches]


@pytest.mark.parametrize(
    ("samples", "batch_size", "count", "last"),
    [
        (1000, 32, 32, 8),
        (60_000, 64, 938, 32),
        (60_000, 32, 1875, 32),
        (55_000, 64, 860, 24),
        (55_000, 32, 1719, 24),
        (50_000, 64, 782, 16),
        (45_000, 64, 704, 8),
        (10_000, 64, 157, 16),
        (10_000, 1000, 10, 1000),
        (10_000, 4, 2500, 4),
        (10_000, 1, 10_000, 1),
        (3, 2, 2, 1),
        (3, 5, 1, 3),
    ],
)
def test_batches_per_epoch(samples: int, batch_size: int, count: int, last: int) -> None:
    batches = loader(samples, batch_size)
    assert len(batches) == count
    sizes = batches.sizes(0, count)
    assert sizes == [batch_size] * (count - 1) + [last]
    assert batches.sizes(count - 1, 5) == [last]
    assert batches.sizes(count, 5) == []


def test_an_epoch_is_every_sample_once_in_whole_batches() -> None:
    samples = split(1000)
    batches = list(LoaderConfig(batch_size=32, num_workers=0).train_loader(samples, 0, CPU).epoch())
    assert isinstance(samples.source, CountingSource)
    assert samples.source.taken == [32] * 31 + [8]  # the source is asked once per batch, not once per sample
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == [*range(1000)]
    for batch in batches:
        assert torch.equal(batch.targets, batch.index)
        assert torch.equal(batch.inputs[:, 0], batch.index.float())


def test_index_is_the_place_in_the_source() -> None:
    part = Split(CountingSource(100), torch.arange(40, 60))
    batches = list(LoaderConfig(batch_size=8).train_loader(part, 0, CPU).epoch())
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == [*range(40, 60)]
    assert all(torch.equal(batch.targets, batch.index) for batch in batches)


def test_batches_are_what_samples_one_by_one_would_be() -> None:
    pixels = torch.randint(0, 256, (70, 3, 4, 4), dtype=torch.uint8)
    images = Split(TensorSource(pixels, torch.arange(70)), torch.arange(69, 19, -1))
    spec = DataSpec(
        input=Pictures(shape=(3, 4, 4), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)), task=Classification(size=70)
    )
    prepare = preparation(spec, (), 0, CPU)
    order = seeding.permutation(50, 7, "order", 2)
    one_by_one = transforms.Compose([transforms.ToTensor(), transforms.Normalize(spec.input.mean, spec.input.std)])
    batches = [prepare(batch, 2) for batch in LoaderConfig(batch_size=16).train_loader(images, 7, CPU).epoch(2)]
    assert [len(batch.index) for batch in batches] == [16, 16, 16, 2]
    expected = [69 - position for position in order.tolist()]
    assert torch.cat([batch.targets for batch in batches]).tolist() == expected
    samples = [one_by_one(pixels[number].permute(1, 2, 0).numpy()) for number in expected]
    torch.testing.assert_close(torch.cat([batch.inputs for batch in batches]), torch.stack(samples))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    batches = loader(100, 16)
    first = indices(batches.epoch(0))
    second = indices(batches.epoch(1))
    assert first != second
    assert indices(batches.epoch(0)) == first
    assert indices(loader(100, 16).epoch(1)) == second
    assert indices(loader(100, 16, seed=1).epoch(0)) != first
    # Another batch size cuts the same order elsewhere.
    assert flat(indices(loader(100, 7).epoch(0))) == flat(first)


@pytest.mark.parametrize("workers", [0, 2])
def test_start_equals_skipping(workers: int) -> None:
    batches = loader(100, 16, num_workers=workers)
    whole = indices(batches.epoch(3))
    for start in (0, 1, 6, 7):
        assert indices(batches.epoch(3, start=start)) == whole[start:]


def test_a_later_epoch_does_not_disturb_an_earlier_one() -> None:
    batches = loader(100, 16)
    expected = indices(batches.epoch(0))
    earlier, later = batches.epoch(0), batches.epoch(1, start=2)
    assert indices(earlier) == expected
    assert len(indices(later)) == 5


def test_workers_change_nothing() -> None:
    alone, helped = loader(50, 8), loader(50, 8, num_workers=2)
    for epoch in range(2):
        pairs = list(zip(alone.epoch(epoch), helped.epoch(epoch), strict=True))
        assert len(pairs) == 7
        assert all(torch.equal(a, b) for one, other in pairs for a, b in zip(one[:3], other[:3], strict=True))


def test_an_epoch_may_be_abandoned() -> None:
    batches = loader(100, 16, num_workers=2)
    whole = indices(batches.epoch(0))
    next(batches.epoch(0))
    assert indices(batches.epoch(0)) == whole


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_stream_is_untouched(workers: int) -> None:
    batches = loader(100, 16, num_workers=workers)
    state = torch.get_rng_state()
    list(batches.epoch(0))
    list(batches.epoch(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_drop_last() -> None:
    batches = loader(100, 16, drop_last=True)
    assert len(batches) == 6
    assert batches.sizes(0, 100) == [16] * 6
    assert [len(batch) for batch in indices(batches.epoch())] == [16] * 6
    with pytest.raises(DataError, match=r"10 samples, batch_size 64, drop_last: 0 batches; use loader\.batch_size=5"):
        loader(10, 64, drop_last=True)


def test_evaluation_is_in_order_and_complete() -> None:
    batches = LoaderConfig(eval_batch_size=30, drop_last=True).eval_loader(split(100), CPU)
    assert flat(indices(batches.epoch())) == [*range(100)]
    assert batches.sizes(0, 9) == [30, 30, 30, 10]


def test_pinning_asked_for_without_cuda_is_silent() -> None:
    assert len(list(loader(10, 5, pin_memory=True).epoch())) == 2  # torch's warning would be an error here


def test_balanced_draws_give_every_class_its_share() -> None:
    source = TensorSource(torch.zeros(1000, 1), (torch.arange(1000) % 10 == 0).long())
    drawn = LoaderConfig(batch_size=100, sampler="balanced").train_loader(Split(source, torch.arange(1000)), 0, CPU)
    rare = [int(batch.targets.sum()) for epoch in range(20) for batch in drawn.epoch(epoch)]
    assert sum(rare) / len(rare) == pytest.approx(50, abs=2)  # the standard error is 0.35
    one, again, other = (flat(indices(drawn.epoch(epoch))) for epoch in (3, 3, 4))
    assert one == again != other
    assert len(one) == 1000
    numbers = Split(TensorSource(torch.zeros(4, 1), torch.zeros(4, 1)), torch.arange(4))
    with pytest.raises(DataError, match=r"loader\.sampler: balanced needs classes"):
        LoaderConfig(sampler="balanced").train_loader(numbers, 0, CPU)


def test_a_limit_leaves_batches_out() -> None:
    limited = LoaderConfig(batch_size=8).train_loader(split(50), 0, CPU, 3)
    assert len(limited) == 3
    assert [len(batch) for batch in indices(limited.epoch(1))] == [8, 8, 8]
    assert limited.sizes(0, 9) == [8, 8, 8]
    assert flat(indices(limited.epoch(1))) == flat(indices(loader(50, 8).epoch(1)))[:24]


def test_a_rare_sample_is_another_picture_each_time() -> None:
    """A function of seed, epoch, sample and how often it was drawn before."""
    labels = torch.cat([torch.zeros(95, dtype=torch.int64), torch.ones(5, dtype=torch.int64)])
    pixels = torch.randint(0, 256, (100, 3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pictures = Split(TensorSource(pixels, labels), torch.arange(100))
    spec = DataSpec(input=Pictures(shape=(3, 6, 6)), task=Classification(size=2))
    prepare = preparation(spec, (RandomCrop(padding=3),), 0, CPU)

    def epoch(number: int, workers: int = 0, start: int = 0, size: int = 16) -> dict[tuple[int, int], Tensor]:
        config = LoaderConfig(batch_size=size, num_workers=workers, sampler="balanced")
        made = {}
        for batch in config.train_loader(pictures, 5, CPU).epoch(number, start=start):
            assert batch.repeat is not None
            inputs = prepare(batch, number).inputs
            for index, repeat, picture in zip(batch.index.tolist(), batch.repeat.tolist(), inputs, strict=True):
                assert (index, repeat) not in made
                made[index, repeat] = picture
        return made

    first = epoch(0)
    times = [repeat for index, repeat in first if index == 97]
    assert times == [*range(len(times))]
    assert len(times) > 5
    rare = torch.stack([first[97, repeat] for repeat in times]).flatten(1)
    assert len(rare.unique(dim=0)) > len(times) // 2  # of 49 windows
    for other in (epoch(0, workers=1), epoch(0, size=7), epoch(0, start=2)):
        assert all(torch.equal(picture, first[key]) for key, picture in other.items())
    # The first time, it is what it would be without the sampler.
    plain = prepare(pictures.take(torch.tensor([97])), 0).inputs[0]
    assert torch.equal(first[97, 0], plain)
    assert not torch.equal(epoch(1)[97, 0], plain)


def test_more_samples_than_multinomial_takes() -> None:
    """It draws of at most 2^24 categories."""
    weights = torch.ones(2**24 + 2, dtype=torch.float64)
    weights[-1] = 2.0**24
    drawn = _drawn(weights, 2000, seeding.generator(0, "order", 0))
    assert 900 < int((drawn == len(weights) - 1).sum()) < 1100
    assert int(drawn.min()) >= 0
    assert 0.4 < float((drawn[drawn < len(weights) - 1] / len(weights)).mean()) < 0.6


@dataclass(frozen=True)
class Boxes:
    boxes: Tensor
    label: Tensor


def nested(samples: int) -> Split:
    numbers = torch.arange(samples)
    targets = [Boxes(torch.full((n % 3, 4), float(n)), torch.tensor(n)) for n in range(samples)]
    return Split.whole(TensorSource({"a": numbers.float(), "b": (numbers, None)}, targets))


def test_workers_hand_over_nests_as_they_are() -> None:
    """More tensors than there are open files, and the same from the middle of an epoch on."""

    def batches(num_workers: int, start: int = 0) -> list[Batch]:
        config = LoaderConfig(batch_size=400, num_workers=num_workers)
        return list(config.train_loader(nested(2000), 3, CPU).epoch(1, start=start))

    request = BatchRequest(torch.arange(400).numpy(), 0)
    assert isinstance(Guarded(nested(2000))[request], nest.Packed)
    alone, together, resumed = batches(0), batches(2), batches(2, start=3)
    assert [len(batch.index) for batch in together] == [400] * 5
    for one, other in zip(alone + alone[3:], together + resumed, strict=True):
        assert type(other.targets[0]) is Boxes
        assert other.inputs["b"][1] is None
        for (name, leaf), (same, there) in zip(nest.named_leaves(one), nest.named_leaves(other), strict=True):
            assert name == same
            assert leaf is there is None or (leaf.dtype == there.dtype and torch.equal(leaf, there))


def test_every_tensor_of_a_nest_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.data._utils.pin_memory import pin_memory

    pinned: list[int] = []

    def pin(tensor: Tensor) -> Tensor:
        pinned.append(id(tensor))
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    batch = nested(5).take(torch.arange(5))
    assert type(pin_memory(_ToPin(batch))) is Batch
    assert pinned == [id(tensor) for tensor in nest.tensors(batch)]
    error = DataError("of a worker")
    assert pin_memory(_ToPin(error)) is error


def test_nests_cannot_be_balanced() -> None:
    with pytest.raises(DataError, match=r"loader\.sampler: balanced needs classes"):
        LoaderConfig(sampler="balanced").train_loader(nested(5), 0, CPU)


def test_a_loader_that_is_closed_has_no_workers_until_the_next_epoch() -> None:
    batches, before = loader(12, 2, num_workers=1), set(multiprocessing.active_children())
    begun = batches.epoch(0)
    first = next(begun)
    assert set(multiprocessing.active_children()) - before
    for _ in range(2):
        batches.close()
        assert set(multiprocessing.active_children()) == before
    assert torch.equal(next(batches.epoch(0)).inputs, first.inputs)
    batches.close()


def test_samples_of_like_lengths_share_a_batch() -> None:
    lengths = torch.randint(20, 400, (5000,), generator=torch.Generator().manual_seed(0))
    padded: dict[bool, int] = {}
    orders: dict[int, list[int]] = {}
    for grouped in (False, True):
        batches = EpochBatches(len(lengths), 32, seed=1, lengths=lengths if grouped else None)
        parts = [torch.from_numpy(request.positions) for request in batches]
        assert sorted(torch.cat(parts).tolist()) == list(range(5000))
        assert [len(part) for part in parts] == [32] * 156 + [8]
        padded[grouped] = sum(len(part) * int(lengths[part].max()) for part in parts)
    assert padded[True] < 1.05 * int(lengths.sum()) < padded[False] / 1.5
    for epoch in (0, 1):
        batches.epoch, batches.start = epoch, 0
        orders[epoch] = [number for request in batches for number in request.positions.tolist()]
    assert orders[0] != orders[1]
    batches.epoch, batches.start = 1, 100
    assert [number for request in batches for number in request.positions.tolist()] == orders[1][3200:]


def test_texts_are_grouped_and_other_sequences_only_on_request() -> None:
    texts = Split.whole(SequenceSource(torch.arange(60, dtype=torch.int32), torch.tensor([10, 20, 30]), torch.zeros(3)))
    others = Split.whole(SequenceSource.of([torch.zeros(length, 2) for length in (1, 2)], torch.zeros(2)))
    assert LoaderConfig().batches(texts, 0).lengths is not None
    assert LoaderConfig(group_by_length=False).batches(texts, 0).lengths is None
    assert LoaderConfig().batches(others, 0).lengths is None
    assert LoaderConfig(group_by_length=True).batches(others, 0).lengths is not None
    assert LoaderConfig(group_by_length=True).batches(split(5), 0).lengths is None
