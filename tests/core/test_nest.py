from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from trainkit.core import nest
from trainkit.core.errors import DataError


class Pair(NamedTuple):
    mask: Tensor
    weight: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Boxes:
    boxes: Tensor
    labels: Tensor
    kind: str = "xyxy"
    area: Tensor = field(init=False)

    def __post_init__(self) -> None:
        assert self.boxes.ndim == 2
        object.__setattr__(self, "area", self.boxes.prod(1))


def ragged(sample: int) -> dict[str, Tensor]:
    return {"boxes": torch.full((sample % 3, 4), float(sample)), "label": torch.tensor(sample)}


def everything(samples: int = 5) -> dict[str, Any]:
    """A nest of every kind, of which each sample holds its own number."""
    numbers = torch.arange(samples)
    return {
        "dict": {"b": numbers, "a": numbers.float().unsqueeze(1)},
        "tuple": (numbers, numbers.double()),
        "named": Pair(numbers > 2),
        "dataclass": Boxes(numbers.view(-1, 1).expand(-1, 4).half(), numbers),
        "list": [ragged(sample) for sample in range(samples)],
    }


def same(one: Any, other: Any) -> bool:
    left, right = [*nest.named_leaves(one)], [*nest.named_leaves(other)]
    return [name for name, _ in left] == [name for name, _ in right] and all(
        type(a) is type(b) and (a.dtype == b.dtype and torch.equal(a, b) if isinstance(a, Tensor) else a == b)
        for (_, a), (_, b) in zip(left, right, strict=True)
    )


def test_a_change_reaches_every_tensor_and_keeps_the_form() -> None:
    value = everything()
    doubled = nest.map_tensors(lambda tensor: tensor * 2, value)
    assert type(doubled["named"]) is Pair
    assert type(doubled["dataclass"]) is Boxes
    assert doubled["named"].weight is None
    assert doubled["dataclass"].kind == "xyxy"
    assert doubled["dataclass"].area.tolist() == (value["dataclass"].area * 2).tolist()
    assert doubled["list"][4]["label"] == 8
    assert len(nest.tensors(doubled)) == len(nest.tensors(value)) == 8 + 10
    assert nest.map_tensors(torch.neg, torch.ones(2)).tolist() == [-1, -1]


def test_tensors_have_an_order_and_names() -> None:
    names = [name for name, _ in nest.named_leaves(everything(1))]
    assert names[:4] == ["dict.b", "dict.a", "tuple.0", "tuple.1"]
    assert names[-4:] == ["dataclass.kind", "dataclass.area", "list.0.boxes", "list.0.label"]
    assert [*nest.named_leaves(torch.ones(1))] == [("", torch.ones(1))]


def test_samples_are_taken_and_joined() -> None:
    value, index = everything(), torch.tensor([4, 0, 0])
    taken = nest.take(value, index)
    assert taken["dict"]["b"].tolist() == taken["dataclass"].labels.tolist() == [4, 0, 0]
    assert [sample["label"].item() for sample in taken["list"]] == [4, 0, 0]
    assert nest.num_samples(taken) == 3
    parts = [nest.take(value, some) for some in torch.arange(5).split(2)]
    assert same(nest.cat(parts), value)
    assert same(nest.cat([value]), value)
    with pytest.raises(ValueError, match="zip"):
        nest.cat([(torch.ones(1), torch.ones(1)), (torch.ones(1),)])


def test_dicts_are_joined_by_their_keys() -> None:
    joined = nest.cat([{"a": torch.zeros(1), "b": torch.ones(1)}, {"b": torch.ones(1), "a": torch.zeros(1)}])
    assert {key: part.tolist() for key, part in joined.items()} == {"a": [0, 0], "b": [1, 1]}


@pytest.mark.parametrize(
    ("value", "shapes"),
    [
        ({"boxes": torch.ones(4, 4), "labels": torch.ones(3)}, "{boxes: (4, 4), labels: (3,)}"),
        ({"boxes": torch.ones(4, 4), "labels": [torch.ones(1)]}, "{boxes: (4, 4), labels: [(1,)]}"),
        ((None, {}), "(NoneType, {})"),
    ],
)
def test_parts_of_other_samples_are_refused(value: Any, shapes: str) -> None:
    with pytest.raises(DataError) as caught:
        nest.num_samples(value)
    assert str(caught.value) == f"data: {shapes}: every part must hold the same samples"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.ones(2, 3), "(2, 3)"),
        ((torch.ones(2), torch.tensor(1)), "((2,), ())"),
        (Pair(torch.ones(2)), "{mask: (2,), weight: NoneType}"),
        ([{"boxes": torch.ones(n, 4)} for n in range(2)], "[{boxes: (0, 4)}, {boxes: (1, 4)}]"),
        ([torch.ones(n) for n in range(9)], "[(0,), (1,), (2,), …]"),
    ],
)
def test_shapes_as_text(value: Any, text: str) -> None:
    assert nest.shapes(value) == text


def test_what_is_no_tensor_is_described() -> None:
    assert nest.described(OrderedDict(a=torch.ones(2), b=[1])) == "an OrderedDict of a (2,), b list"
    assert nest.described(Pair(torch.ones(2))) == "a Pair of mask (2,), weight NoneType"
    assert nest.described([torch.ones(2), 1]) == "a list of (2,), int"
    assert nest.described(None) == "a NoneType"


def test_to_the_cpu_without_gradients() -> None:
    weight = torch.ones(2, requires_grad=True)
    value = nest.cpu({"a": weight * 2, "b": [weight]})
    assert not any(tensor.requires_grad for tensor in nest.tensors(value))
    assert nest.nbytes(value) == 16
    assert nest.to(value, torch.device("meta"))["b"][0].device.type == "meta"


def test_a_packed_nest_is_one_tensor_in_shared_memory() -> None:
    value = {**everything(), "transposed": torch.arange(6.0).view(2, 3).T, "bool": torch.tensor([True])}
    packed = nest.Packed.of(value)
    assert packed.buffer.is_shared()
    assert same(packed.unpacked(), value)
    assert nest.tensors(packed) == [packed.buffer]


def test_one_sample_after_the_other() -> None:
    words = {"words": torch.tensor([[1, 2], [3, 4]]), "boxes": [torch.zeros(3, 4), torch.zeros(0, 4)]}
    first, second = nest.samples(words)
    assert (first["words"].tolist(), second["words"].tolist()) == ([1, 2], [3, 4])
    assert (len(first["boxes"]), len(second["boxes"])) == (3, 0)
    assert [int(one) for one in nest.samples(torch.tensor([5, 6]))] == [5, 6]


def test_floats_are_float32_and_others_stay() -> None:
    made = nest.floats([{"score": torch.zeros(1, dtype=torch.bfloat16), "label": torch.zeros(1, dtype=torch.int64)}])
    assert [tensor.dtype for tensor in nest.tensors(made)] == [torch.float32, torch.int64]


def test_channels_that_lie_side_by_side_stay_so() -> None:
    pictures = torch.arange(2 * 4 * 5 * 3).view(2, 4, 5, 3).permute(0, 3, 1, 2)
    for same in (nest.take(pictures, torch.arange(2)), nest.Packed.of({"x": pictures}).unpacked()["x"]):
        assert torch.equal(same, pictures)
        assert same.stride() == pictures.stride()
    first = nest.take(pictures.contiguous(), torch.tensor([0]))
    assert first.stride() == (60, 20, 5, 1)
