"""What samples are that is allowed, but usually a mistake."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainkit.config import registry
from trainkit.data import Data, DataSpec, Split, TensorSource, register_dataset, sample_checks
from trainkit.data.inputs import Numbers
from trainkit.data.sample_checks import lost_in_float32
from trainkit.data.sources.custom import CustomDatasetConfig
from trainkit.data.sources.table import TableConfig
from trainkit.data.sources.tensors import TensorsConfig
from trainkit.tasks import Classification


def diagnostics(data: Data) -> list[tuple[str, str]]:
    return [(one.code, str(one)) for one in sample_checks.diagnostics(data)]


def three_way(train: list[int], val: list[int], test: list[int]) -> Data:
    """Data whose samples are numbers of their own, and whose targets are these."""
    everything = torch.tensor([*train, *val, *test])
    samples = TensorSource(torch.randn(len(everything), 3, generator=torch.Generator().manual_seed(0)), everything)
    parts = torch.arange(len(everything)).split([len(train), len(val), len(test)])
    labels = torch.tensor(train)
    task = Classification(size=3, names=("a", "b", "c")).measured(labels, labels, "none")
    one, two, three = (Split(samples, part) for part in parts)
    return Data(DataSpec(input=Numbers(shape=(3,)), task=task), one, two, three)


def test_suspicious_samples_are_named() -> None:
    def texts(data: Data) -> list[str]:
        return [text for _, text in diagnostics(data)]

    assert texts(three_way([0, 1, 2], [0], [1])) == []
    assert texts(three_way([0, 2, 2], [0], [2])) == ["data: no training sample has the class 'b'"]
    unnamed = Classification(size=4).measured(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 3]), "none")
    text = "data: no training sample has the class 0; classes count from 0, do yours count from 1?"
    assert [found.text for found in unnamed.diagnostics(torch.tensor([1, 2, 3]), pictures=False)] == [text]
    same = texts(three_way([1, 1], [1], [1]))
    assert same[1:] == ["data: all training samples are of one class; there is nothing to tell apart"]
    data = three_way([0, 1, 2], [0, 1], [1, 2])
    leaked = replace(data, test=Split(data.train.source, torch.tensor([5, 0, 1])))
    assert texts(leaked) == ["data: 2 of the 3 test samples are also training samples"]


def tensors(targets: Tensor, inputs: Tensor | None = None, **options: Any) -> Data:
    if inputs is None:
        inputs = torch.randn(len(targets), 4, generator=torch.Generator().manual_seed(1))
    np.savez("a.npz", inputs=inputs.numpy(), targets=targets.numpy())
    return TensorsConfig.from_plain({"file": "a.npz", **options}).open(0)


def test_a_target_that_never_changes() -> None:
    expected = "data: the target is 3.5 for every training sample; there is nothing to learn"
    assert diagnostics(tensors(torch.full((50,), 3.5))) == [("constant-target", expected)]


def test_numbers_that_float32_cannot_tell_apart() -> None:
    seconds = 1.7e9 + torch.arange(400, dtype=torch.float64)
    noise = torch.randn(400, generator=torch.Generator().manual_seed(0))
    [(code, text)] = diagnostics(tensors(noise, torch.stack([seconds, torch.arange(400.0)], 1), val=0.5))
    assert code == "float32"
    assert text == (
        "data: 200 different numbers of the inputs 0 become 4 in float32; "
        "subtract an offset first, such as 1.7e+09, or make categories of them"
    )
    assert [code for code, _ in diagnostics(tensors(seconds))] == ["float32"]


@pytest.mark.parametrize(
    "exact",
    [
        torch.rand(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        1000 + torch.rand(1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[0.1 + 0.2], [0.3], [0.6]], dtype=torch.float64),  # differ by how they were computed
        torch.arange(1000).unsqueeze(1),
        1.7e9 + 3600 * torch.arange(1000, dtype=torch.float64).unsqueeze(1),
        torch.tensor([[1e9], [1e9]], dtype=torch.float32),
    ],
)
def test_numbers_that_lose_nothing_that_matters(exact: Tensor) -> None:
    assert lost_in_float32(exact, "inputs") == []


def test_numbers_of_a_dataset_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._families, "data", dict(registry._families["data"]))

    @register_dataset("ids")
    class Ids(Dataset[Any]):
        def __init__(self, wide: bool = True) -> None:
            self.wide = wide

        def __len__(self) -> int:
            return 60

        def __getitem__(self, number: int) -> tuple[Any, Any]:
            return np.array([2**24 + number if self.wide else number]), 1e9 + number if self.wide else float(number)

    config = registry.find("data", "ids")
    assert issubclass(config, CustomDatasetConfig)
    found = diagnostics(config.from_plain({}).open(0))
    assert [code for code, _ in found] == ["float32", "float32"]
    assert "of the inputs become" in found[0][1]
    assert "of the targets become" in found[1][1]
    assert diagnostics(config.from_plain({"wide": False}).open(0)) == []


def table(labels: list[str]) -> list[tuple[str, str]]:
    lines = [f"{number},{label}" for number, label in enumerate(labels * 8)]
    Path("a.csv").write_text("\n".join(["x,y", *lines]) + "\n")
    return diagnostics(TableConfig(path="a.csv", target="y", task="classification").open(0))


def test_classes_that_are_several_labels() -> None:
    assert table(["cat;dog", "dog;bird", "cat", "bird", "bird;cat;dog"]) == [
        (
            "labels-as-classes",
            (
                "data: 3 of 5 classes are words divided by ';', such as 'bird;cat;dog'; if each word is a label, say "
                "so (for pictures in a list, 'data.separator=\";\"')"
            ),
        )
    ]
    assert table(["Paris|France", "Lyon|Italy", "Rome"]) == []
    assert table(["cat;dog", "bird", "cat"]) == []


def test_classes_that_are_numbers() -> None:
    assert table(["12.3", "47.1", "9"]) == [
        (
            "numbers-as-classes",
            (
                "data: the targets are numbers (12.3, 47.1 …), but taken for 3 classes; "
                "predict them as numbers, unless they are names"
            ),
        )
    ]
    assert [code for code, _ in table([str(number) for number in range(60)])] == ["numbers-as-classes"]
    assert table([str(number) for number in range(10)]) == []
    assert table(["12.3", "cat"]) == []
    assert table(["1", "1.0", "2"]) == [
        ("class-names", "data: '1' and '1.0' are two classes, though they are the same number")
    ]
