from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.config import registry
from trainkit.core.errors import ConfigError, DataError, OutOfMemoryError
from trainkit.data import Data, DataConfig, register_dataset
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.dataset_source import DatasetSource

CPU = torch.device("cpu")

# Torch's remark about two workers on a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setitem(registry._families, "data", dict(registry._families["data"]))


def opened(dataset_class: Any, **options: Any) -> Data:
    """Register a class, and open the data of a config of it."""
    register_dataset("mine")(dataset_class)
    config = registry.find("data", "mine").model_validate({"name": "mine", **options})
    assert isinstance(config, DataConfig)
    return config.open(0)


class Points(Dataset[Any]):
    """Points above or below a line."""

    def __init__(self, count: int = 40, slope: float = 1.0) -> None:
        self.points = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
        self.slope = slope

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
        x, y = self.points[n].tolist()
        return self.points[n], int(y > self.slope * x)


def test_a_function_that_returns_a_dataset() -> None:
    def points(train: bool, count: int = 40) -> Dataset[Any]:
        return Points(count if train else 7)

    data = opened(points, count=50, val=10)
    assert data.test is not None
    assert [len(data.train), len(data.test)] == [40, 7]
    register_dataset("nothing")(lambda: object())  # type: ignore[type-var]
    with pytest.raises(ConfigError, match="has no __len__ method, by which samples are counted"):
        registry.find("data", "nothing")().open(0)  # type: ignore[attr-defined]


def test_a_class_in_two_lines() -> None:
    data = opened(Points, count=50, val=10)
    assert data.val is not None
    assert data.test is not None
    assert [len(split) for split in (data.train, data.val, data.test)] == [30, 10, 10]
    parts = [set(split.index.tolist()) for split in (data.train, data.val, data.test)]
    assert set.union(*parts) == set(range(50))
    assert data.spec.shape == (2,)
    assert (data.spec.task.name, data.spec.task.size, data.spec.input.drawable) == ("classification", 2, False)
    assert sum(data.spec.task.counts) == 30
    with pytest.raises(ValueError, match="extra"):
        opened(Points, counts=50)


class Halves(Points):
    """Told which samples to give."""

    classes = ("below", "above", "on the line")

    def __init__(self, split: str) -> None:
        super().__init__({"train": 30, "test": 6}[split])


def test_a_constructor_may_be_told_the_split() -> None:
    data = opened(Halves, val=0)
    assert data.val is None
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (30, 6)
    assert data.spec.task.names == ("below", "above", "on the line")


class Pictures(Dataset[Any]):
    """One of the forms in which pictures come."""

    def __init__(self, form: str = "pil") -> None:
        self.form = form
        self.pixels = np.arange(5 * 4 * 6 * 3, dtype=np.uint8).reshape(5, 4, 6, 3)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, n: int) -> tuple[Any, float]:
        pixels = self.pixels[n]
        forms = {
            "pil": Image.fromarray(pixels),
            "array": pixels,
            "tensor": torch.from_numpy(pixels.transpose(2, 0, 1)),
            "grey": Image.fromarray(pixels[..., 0]),
        }
        return forms[self.form], n / 2


@pytest.mark.parametrize("form", ["pil", "array", "tensor"])
def test_pictures_in_any_form(form: str) -> None:
    data = opened(Pictures, form=form, normalize="half", val=0, test=None)
    assert (data.spec.shape, data.spec.input.drawable, data.spec.input.mean) == ((3, 4, 6), True, (0.5, 0.5, 0.5))
    assert (data.spec.task.name, data.spec.task.size) == ("regression", 1)
    batch = data.train.take(torch.tensor([3]))
    assert torch.equal(batch.inputs[0], torch.from_numpy(Pictures().pixels[3].transpose(2, 0, 1)))
    assert batch.targets.tolist() == [[1.5]]


def test_a_grey_picture_has_one_channel() -> None:
    assert opened(Pictures, form="grey", val=0).spec.shape == (1, 4, 6)


class Drawn(Dataset[Any]):
    """A black picture of which nothing is to be seen, or of another mode."""

    targets = (0, 1)

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return Image.new(self.mode, (6, 4)), number


def test_pictures_with_transparency_or_more_bits() -> None:
    shown = opened(Drawn, mode="RGBA", val=0, test=None).train.take(torch.tensor([0]))
    assert shown.inputs.unique().tolist() == [255]
    for mode in ("I;16", "F"):
        with pytest.raises(DataError) as error:
            opened(Drawn, mode=mode, val=0, test=None)
        assert str(error.value) == (
            "Drawn[0]: the input has more than 8 bits a pixel, and which values are black and white is not known; make "
            "an array of uint8 or of floating-point numbers of it"
        )


class Words(Dataset[Any]):
    """Sequences of different lengths."""

    targets = (0, 1, 0, 1, 1)

    def __len__(self) -> int:
        return 5

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
        return torch.ones(n + 1, 3), self.targets[n]


def test_sequences_are_padded_on_request() -> None:
    data = opened(Words, collate="pad", val=0, test=None)
    assert (data.spec.shape, data.spec.input.has_lengths) == ((5, 3), True)
    batch = data.train.take(torch.tensor([0, 2]))
    assert batch.inputs.shape == (2, 3, 3)
    assert batch.lengths is not None
    assert batch.lengths.tolist() == [1, 3]
    assert batch.inputs.sum((1, 2)).tolist() == [3, 9]
    with pytest.raises(DataError, match=r"samples 0 and 1 have the shapes \(1, 3\) and \(2, 3\); bring them to one sh"):
        opened(Words, val=0, test=None).train.take(torch.tensor([0, 1]))


class Noisy(Points):
    """Draws from every generator that people draw from."""

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
        noise = torch.tensor([random.random(), np.random.rand(), float(torch.rand(()))])
        return noise, n % 2


def test_what_is_random_follows_from_seed_epoch_and_sample() -> None:
    data = opened(Noisy, val=0, test=None)

    def epochs(workers: int, batch_size: int) -> list[dict[int, list[float]]]:
        loader = LoaderConfig(batch_size=batch_size, num_workers=workers).train_loader(data.train, 0, CPU)
        return [
            {
                n: row
                for batch in loader.epoch(epoch)
                for n, row in zip(batch.index.tolist(), batch.inputs.tolist(), strict=True)
            }
            for epoch in range(2)
        ]

    torch.manual_seed(1)
    alone = epochs(0, 7)
    assert float(torch.rand(())) == float(torch.rand((), generator=torch.Generator().manual_seed(1)))  # left alone
    assert alone == epochs(2, 16)
    assert len({value for epoch in alone for row in epoch.values() for value in row}) == 2 * 40 * 3


def test_what_a_dataset_lacks_is_named() -> None:
    class NoLength(Dataset[Any]):
        def __getitem__(self, n: int) -> tuple[int, int]:
            return n, n

    class NoItems(Dataset[Any]):
        def __len__(self) -> int:
            return 3

    with pytest.raises(ConfigError, match="NoLength: has no __len__ method"):
        register_dataset("no_length")(NoLength)
    with pytest.raises(ConfigError, match="NoItems: has no __getitem__ method"):
        register_dataset("no_items")(NoItems)


def gives(*items: Any) -> type[Dataset[Any]]:
    class Given(Dataset[Any]):
        def __len__(self) -> int:
            return len(items)

        def __getitem__(self, n: int) -> Any:
            return items[n]

    return Given


@pytest.mark.parametrize(
    ("items", "options", "message"),
    [
        ([], {}, "Given: has no samples"),
        ([1.0], {}, r"Given\[0\]: expected a pair \(input, target\), got float"),
        ([{"x": 1}], {}, r"Given\[0\]: expected an input and one of label, labels, .*, y, got a dict of x"),
        ([{"x": 1, "z": 2, "y": 0}], {}, r"Given\[0\]: expected an input and one of .*, got a dict of x, z, y"),
        ([("a text", 1)], {}, r"Given\[0\]: the input is a str; expected a tensor, an array, numbers or a PIL picture"),
        ([([1.0], 0), ([2.0], -1)], {}, r"Given\[1\]: the target has class -1, outside 0 … 999,999"),
        ([([1.0], [0.5, 1.0])], {"target": "multilabel"}, "Given: labels are a row of 0 and 1 per sample"),
        ([([1.0], 0), ([2.0], 1)], {"normalize": "half"}, "data.normalize: is for uint8 pictures"),
        ([([1.0], 0.5), ([2.0], float("nan"))], {}, r"Given\[1\]: the target has a value that is not finite"),
        (
            [([1.0], [0.5, 1]), ([2.0], [1.5])],
            {},
            r"the targets differ in shape: .*; samples 0 and 1 have \(2,\) and \(",
        ),
        ([([1.0], 0), ([2.0], 10**12)], {}, r"Given\[1\]: the target has class 1000000000000, outside 0 … 999,999"),
        (
            [([[1.0]], 0), ([], 1)],
            {"collate": "pad"},
            r"Given\[1\]: the input is empty, its shape \(0,\)",
        ),
        ([(torch.zeros(4, 4, dtype=torch.uint8), 0)], {}, r"a uint8 tensor is a picture \(channels, height, width\)"),
    ],
)
def test_bad_samples(items: list[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(gives(*items), val=0, test=None, **options)


def test_dicts_and_words_for_classes() -> None:
    words = ["dog", "cat", "dog", "bee"] * 5
    plain = opened(gives(*(([float(n)], ["bee", "cat", "dog"].index(word)) for n, word in enumerate(words))))
    dicts = opened(gives(*({"label": word, "image": [float(n)]} for n, word in enumerate(words))))
    assert dicts.spec.task.known_names == ("bee", "cat", "dog")
    assert torch.equal(dicts.train.targets, plain.train.targets)
    assert torch.equal(dicts.train.take(torch.arange(5)).inputs, plain.train.take(torch.arange(5)).inputs)


@pytest.mark.parametrize("tested", ["cat", "cats"])
def test_words_of_the_test_split_are_those_of_the_training(tested: str) -> None:
    def animals(train: bool) -> Dataset[Any]:
        words = ["ant", "bee", "cat"] if train else [tested]
        return gives(*(([0.0], word) for word in words * 4))()

    if tested == "cat":
        data = opened(animals)
        assert data.test is not None
        assert data.test.targets.tolist() == [2] * 4
        return
    with pytest.raises(DataError, match=r"Given\[0\]: the target 'cats' is none of the classes; did you mean 'cat'"):
        opened(animals)


def test_what_getitem_says_counts() -> None:
    class Shifted(Points):
        targets = [1, 2, 3] * 10  # as the files have them
        classes = 3  # no names

        def __init__(self) -> None:
            super().__init__(30)

        def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
            return self.points[n], self.targets[n] - 1

    data = opened(Shifted, val=0, test=None)
    assert (data.spec.task.size, data.spec.task.names, data.spec.task.counts) == (3, (), (10, 10, 10))
    assert data.train.take(torch.arange(3)).targets.tolist() == [0, 1, 2]


def test_more_classes_than_names() -> None:
    class Misnamed(Points):
        classes = ("only",)

    with pytest.raises(DataError, match="Misnamed: class 1 among the targets, but classes has 1 names"):
        opened(Misnamed)


def test_digest_tells_datasets_apart(tmp_path: Path) -> None:
    one, same, other = (opened(Points, slope=slope).digests() for slope in (1.0, 1.0, -3.0))
    assert one == same != other


def test_sequences_of_single_numbers() -> None:
    data = opened(gives(([1.0, 2.0], 0), ([3.0], 1)), collate="pad", val=0, test=None)
    assert data.spec.shape == (2, 1)
    assert data.train.take(torch.arange(2)).inputs.tolist() == [[[1], [2]], [[3], [0]]]


def test_sequences_must_have_the_same_features() -> None:
    data = opened(gives(([[1.0, 2.0]], 0), ([[3.0]], 1)), collate="pad", val=0, test=None)
    with pytest.raises(
        DataError, match=r"^Given: samples 0 and 1 have the shapes \(1, 2\) and \(1, 1\); bring them to"
    ):
        data.train.take(torch.arange(2))


def test_single_numbers_are_vectors_of_one() -> None:
    data = opened(gives((1.0, 0), (2.0, 1)), val=0, test=None)
    assert data.spec.shape == (1,)
    assert data.train.take(torch.arange(2)).inputs.tolist() == [[1], [2]]


class Failing(Points):
    """Well behaved while the data is opened."""

    targets = [0, 1, 2, 0]

    def __init__(self) -> None:
        super().__init__(4)
        self.error: Exception | None = None

    def __getitem__(self, n: int) -> tuple[torch.Tensor, int]:
        if n == 1 and self.error:
            raise self.error
        return self.points[n], 7 if n == 1 else self.targets[n]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), r"Failing\[1\]: a.png: no such file or directory"),
        (OSError("image file is truncated"), r"Failing\[1\]: image file is truncated"),
        (StopIteration(), r"Failing\[1\]: raised StopIteration"),
        (None, r"Failing\[1\]: the target has class 7, outside 0 … 2"),
    ],
)
def test_a_sample_that_fails_later_is_named(error: Exception | None, message: str) -> None:
    data = opened(Failing, val=0, test=None)
    assert isinstance(data.train.source, DatasetSource)
    assert isinstance(data.train.source.dataset, Failing)
    data.train.source.dataset.error = error
    with pytest.raises(DataError) as caught:
        list(LoaderConfig(batch_size=4).train_loader(data.train, 0, CPU).epoch())
    assert re.fullmatch(message, str(caught.value))


def test_more_than_fits_into_memory() -> None:
    class Huge(Points):
        def __init__(self) -> None:
            super().__init__()
            torch.empty(2**50)

    with pytest.raises(OutOfMemoryError, match=r"^data: the samples do not fit into memory$"):
        opened(Huge)


class Drawing(Dataset[Any]):
    """Draws what it gives."""

    targets = (*[0] * 15, 1)

    def __len__(self) -> int:
        return 16

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return torch.rand(3), self.targets[number]


def test_what_is_drawn_for_a_rare_sample_differs_each_time() -> None:
    data = opened(Drawing, val=0, test=None)

    def rare(sampler: str) -> list[list[float]]:
        config = LoaderConfig.from_plain({"batch_size": 5, "num_workers": 0, "sampler": sampler})
        batches = config.train_loader(data.train, 1, torch.device("cpu")).epoch(2)
        return [row for batch in batches for row in batch.inputs[batch.index == 15].tolist()]

    [plain], repeated = rare("shuffle"), rare("balanced")
    assert len(repeated) > 3
    assert repeated[0] == plain
    assert len({*map(tuple, repeated)}) == len(repeated)
    assert rare("balanced") == repeated
