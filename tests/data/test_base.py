from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from trainkit.core.errors import DataError
from trainkit.data import Data, DataSpec, Split, TensorSource
from trainkit.data.inputs import Numbers
from trainkit.data.sources.synthetic import SyntheticConfig
from trainkit.tasks import Classification


def source(samples: int) -> TensorSource:
    return TensorSource(torch.arange(samples, dtype=torch.float32).unsqueeze(1), torch.arange(samples) % 3)


def divide(samples: TensorSource, val: float, seed: int) -> tuple[Split, Split | None]:
    return SyntheticConfig(val=val).divide(samples, seed)


def data(samples: int = 20, val: float = 4, seed: int = 0) -> Data:
    train, held_out = divide(source(samples), val, seed)
    spec = DataSpec(input=Numbers(shape=(1,)), task=Classification(size=3))
    return Data(spec, train, held_out, Split(source(5), torch.arange(5)))


@pytest.mark.parametrize(("val", "count"), [(5000, 5000), (0.1, 6000), (0.25, 15_000), (1e-9, 1)])
def test_val_is_disjoint_and_complete(val: float, count: int) -> None:
    train, held_out = divide(source(60_000), val, seed=42)
    assert held_out is not None
    assert len(held_out) == count
    both = torch.cat([train.index, held_out.index])
    assert torch.equal(both.sort().values, torch.arange(60_000))


def test_val_depends_on_seed_count_and_fraction_alone() -> None:
    def held_out(val: float, seed: int, samples: int = 100) -> list[int]:
        split = divide(source(samples), val, seed)[1]
        assert split is not None
        return list(split.index.tolist())

    assert held_out(10, 1) == held_out(10, 1) == held_out(0.1, 1)
    assert held_out(10, 1) != held_out(10, 2)
    assert set(held_out(10, 1)) < set(held_out(20, 1))


def test_val_0_keeps_everything_in_place() -> None:
    train, held_out = divide(source(7), 0, seed=1)
    assert held_out is None
    assert train.index.tolist() == [*range(7)]


def test_val_must_leave_something() -> None:
    for val in (60_000, 70_000):
        with pytest.raises(DataError, match=f"^data.val: {val}, but there are 60000 training samples$"):
            divide(source(60_000), val, seed=0)
    with pytest.raises(DataError, match="but there are 1 training samples"):
        divide(source(1), 0.1, seed=0)


def test_a_split_takes_from_its_own_samples_only() -> None:
    split = Split(source(10), torch.tensor([3, 5, 8]))
    batch = split.take(torch.tensor([2, 0]))
    assert batch.index.tolist() == [8, 3]
    assert batch.inputs.tolist() == [[8.0], [3.0]]
    assert batch.targets.tolist() == [2, 0]


def test_splits_by_name() -> None:
    assert len(data().split("val")) == 4
    with pytest.raises(DataError, match=r"^unknown split 'val'; available: train, test$"):
        data(val=0).split("val")


def test_digests_change_with_samples_and_split() -> None:
    first = data().digests()
    assert first == data().digests()
    assert set(first) == {"train", "val", "test"}
    assert len(set(first.values())) == 3

    other_split = data(seed=1).digests()
    assert (other_split["train"] != first["train"], other_split["val"] != first["val"]) == (True, True)
    assert other_split["test"] == first["test"]

    changed = source(20)
    changed.inputs[7] += 1
    assert changed.digest() != source(20).digest()
    assert TensorSource(changed.targets, changed.inputs).digest() != changed.digest()


def test_digest_sees_both_parts_of_complex_numbers() -> None:
    numbers, targets = torch.tensor([1 + 2j, 3 - 1j]), torch.tensor([0, 1])
    assert TensorSource(numbers, targets).digest() != TensorSource(numbers.conj().resolve_conj(), targets).digest()


def test_digest_sees_shape_and_type_and_not_memory_layout() -> None:
    numbers, targets = torch.arange(12.0), torch.arange(3)
    digest = TensorSource(numbers.view(3, 4), targets).digest()
    assert TensorSource(numbers.view(3, 2, 2), targets).digest() != digest
    assert TensorSource(numbers.view(3, 4), targets.int()).digest() != digest
    assert TensorSource(numbers.view(3, 4).t().contiguous().t(), targets).digest() == digest


def test_digest_is_the_same_on_every_machine() -> None:
    content = b"torch.float32 (2, 1)" + struct.pack("<2f", 1.5, -2.0) + b"torch.int64 (2,)" + struct.pack("<2q", 0, 1)
    ours = TensorSource(torch.tensor([[1.5], [-2.0]]), torch.tensor([0, 1]))
    assert ours.digest() == hashlib.sha256(content).hexdigest()


def test_stratified_parts_keep_the_proportions() -> None:
    targets = torch.tensor([0] * 80 + [1] * 16 + [2] * 4)
    samples = TensorSource(torch.zeros(100, 1), targets)
    train, val = SyntheticConfig(val=0.25, stratify=True, subset=50).divide(samples, seed=3)
    assert val is not None
    assert targets[val.index].bincount().tolist() == [20, 4, 1]
    assert [abs(count - share) <= 1 for count, share in zip(targets[train.index].bincount(), (40, 8, 2), strict=True)]
    assert not set(train.index.tolist()) & set(val.index.tolist())
    with pytest.raises(DataError, match=r"data\.stratify: the targets are no classes"):
        SyntheticConfig(stratify=True).divide(replace(samples, targets=torch.zeros(100, 2)), seed=3)


def test_a_subset_is_of_the_training_samples_and_leaves_val_alone() -> None:
    samples = source(100)
    whole = SyntheticConfig(val=20).divide(samples, seed=3)
    train, val = SyntheticConfig(val=20, subset=0.1).divide(samples, seed=3)
    assert val is not None
    assert whole[1] is not None
    assert torch.equal(val.index, whole[1].index)
    assert len(train) == 8
    assert set(train.index.tolist()) < set(whole[0].index.tolist())
    with pytest.raises(DataError, match=r"data\.subset: 81, but there are 80 training samples"):
        SyntheticConfig(val=20, subset=81).divide(samples, seed=3)


def test_a_class_beyond_the_spec_is_an_error() -> None:
    test = TensorSource(torch.zeros(2, 1), torch.tensor([1, 5]))
    with pytest.raises(DataError, match="data: class 5 in the test split, but there are only 0 to 2"):
        Classification(size=3).check(Split.whole(test).targets, "test")
    with pytest.raises(DataError, match="class 5 in the test split, but there are only 0 to 4; count classes from 0"):
        Classification(size=5).check(Split.whole(test).targets, "test")


@dataclass(frozen=True)
class Boxes:
    boxes: Tensor
    labels: Tensor


def nests(samples: int) -> TensorSource:
    """Inputs and targets of several parts, each of which tells the sample."""
    numbers = torch.arange(samples)
    inputs = {"picture": numbers.view(-1, 1, 1).expand(-1, 2, 2).to(torch.uint8), "size": numbers.float()}
    targets = (numbers, [Boxes(torch.full((n % 3, 4), float(n)), torch.tensor(n)) for n in range(samples)])
    return TensorSource(inputs, targets)


def test_a_source_of_nests() -> None:
    whole = nests(10)
    assert len(whole) == 10
    batch = whole.take(torch.tensor([7, 2]))
    assert batch.inputs["size"].tolist() == batch.targets[0].tolist() == [7, 2]
    assert [one.boxes.shape[0] for one in batch.targets[1]] == [1, 2]
    moved = batch.to(torch.device("meta"))
    assert moved.inputs["picture"].device.type == moved.targets[1][0].boxes.device.type == "meta"
    assert type(moved.targets[1][0]) is Boxes
    some = Split(whole, torch.tensor([9, 1]))
    assert some.targets[0].tolist() == [9, 1]
    assert [int(one.labels) for one in some.targets[1]] == [9, 1]


def test_digests_of_nests_tell_values_names_and_sizes() -> None:
    whole = nests(10)
    other = TensorSource(whole.inputs, (whole.targets[0], whole.targets[1][::-1]))
    renamed = TensorSource({"image": whole.inputs["picture"], "size": whole.inputs["size"]}, whole.targets)
    assert len({nests(10).digest(), whole.digest()}) == 1
    assert len({whole.digest(), other.digest(), renamed.digest(), nests(9).digest()}) == 4
    splits = [Split.whole(one).targets_digest() for one in (whole, other, renamed)]
    assert splits[0] == splits[2] != splits[1]
    assert len(splits[0]) == 16


def test_nests_are_divided_but_not_stratified() -> None:
    train, held_out = SyntheticConfig(val=3).divide(nests(10), 0)
    assert held_out is not None
    assert sorted([*train.targets[0].tolist(), *held_out.targets[0].tolist()]) == [*range(10)]
    with pytest.raises(DataError, match=r"data\.stratify: the targets are no classes"):
        SyntheticConfig(val=3, stratify=True).divide(nests(10), 0)
