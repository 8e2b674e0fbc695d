# ruff: noqa: E501  # in a table of columns, a row is a line
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command import warm
from trainkit.checks.dataset_summary import attainable, dataset_lines, duplicates, summarize_dataset
from trainkit.data import TensorSource
from trainkit.experiment.building import Opened, open_experiment
from trainkit.experiment.schema import ExperimentConfig
from trainkit.tasks import Classification, Regression


def opened(**sections: Any) -> Opened:
    return open_experiment(ExperimentConfig.from_plain({"model": "mlp", **sections}))


def tensors(inputs: torch.Tensor, targets: torch.Tensor, **options: Any) -> dict[str, Any]:
    torch.save({"inputs": inputs, "targets": targets}, "some.pt")
    return {"name": "tensors", "file": "some.pt", "val": 0, **options}


def test_the_digits() -> None:
    found = summarize_dataset(opened(data={"name": "digits", "normalize": "auto"}))
    assert found.splits == {"train": 1293, "val": 144, "test": 360}
    assert sum(found.counts["train"]) == 1293
    assert (found.shape, found.dtype, found.low, found.high) == ((1, 8, 8), "uint8", 0, 255)
    assert found.mean == found.configured_mean
    assert [found.prepared_mean, found.prepared_std] == pytest.approx([0, 1], abs=1e-5)
    assert (found.repeated, found.contradicting, found.findings) == (0, 0, ())
    assert "targets      10 classes" in dataset_lines(found)


def test_repeated_and_contradicting_samples_by_hand() -> None:
    inputs = torch.tensor([[1.0], [2], [1], [3], [2], [1]])
    targets = torch.tensor([0, 1, 0, 2, 0, 0])
    assert duplicates(TensorSource(inputs, targets), torch.arange(6)) == (3, 2)
    assert duplicates(TensorSource(inputs, targets), torch.tensor([0, 1, 3])) == (0, 0)


@pytest.mark.parametrize(
    ("normalize", "said"),
    [
        (
            {"mean": 0.9, "std": 0.3759},
            (
                "data.normalize: the training pictures have mean 0.3055 and standard deviation 0.3759, but 0.9 and 0.3759 are "
                "used; try 'data.normalize={mean: 0.3055, std: 0.3759}' or data.normalize=auto"
            ),
        ),
        (
            {"mean": 0.3, "std": 0.1},
            (
                "data.normalize: the training pictures have mean 0.3055 and standard deviation 0.3759, but 0.3 and 0.1 are "
                "used; try 'data.normalize={mean: 0.3055, std: 0.3759}' or data.normalize=auto"
            ),
        ),
        ("none", "data.normalize: the pictures are only scaled to 0 … 1; try data.normalize=auto"),
        ("half", None),
        ({"mean": 0.3, "std": 0.4}, None),
    ],
)
def test_the_normalisation_is_compared_with_what_is_measured(normalize: object, said: str | None) -> None:
    found = summarize_dataset(opened(data={"name": "digits", "normalize": normalize})).findings
    assert list(map(str, found)) == ([said] if said else [])


def test_imbalance() -> None:
    inputs = torch.cat([torch.zeros(2, 3), torch.randn(98, 3, generator=torch.Generator().manual_seed(0))])
    targets = torch.tensor([0, 1] + [0] * 90 + [1] * 8)
    data = tensors(inputs, targets)
    [imbalance] = summarize_dataset(opened(data=data)).findings
    assert imbalance.code == "imbalance"
    assert imbalance.text == (
        "data: 91 training samples of '0', 9 of '1'; try loader.sampler=balanced and 'metrics=[accuracy, f1]'"
    )
    assert summarize_dataset(opened(data=data, loader={"sampler": "balanced"})).findings == ()
    assert summarize_dataset(opened(data=data, loss={"name": "cross_entropy", "weight": "balanced"})).findings == ()


def test_equal_pictures_with_other_labels() -> None:
    """Rows of a table may well be alike."""
    inputs = torch.randint(256, (100, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs[1] = inputs[0]
    [contradictions] = summarize_dataset(opened(data=tensors(inputs, torch.arange(100) % 2, test=None))).findings
    assert contradictions.text == (
        "data: 2 training samples are equal to one with another target; look at their labels"
    )


def test_what_can_be_right_by_hand() -> None:
    inputs = torch.tensor([[1.0], [1], [1], [2], [2], [3]])
    classes, index = TensorSource(inputs, torch.tensor([0, 0, 1, 1, 0, 2])), torch.arange(6)
    assert attainable(classes, index, Classification(size=3)) == pytest.approx(4 / 6)
    numbers = torch.tensor([0.5, 0.5, 1.5, 1.5, 0.5, 2.5])  # for each sample one that is no class
    assert attainable(TensorSource(inputs, numbers), index, Regression(size=1)) == 1


def test_a_val_split_larger_than_the_rest() -> None:
    [large] = summarize_dataset(opened(data={"name": "digits", "normalize": "auto", "val": 0.8})).findings
    assert large.text == "data.val: holds out 1,150 samples, more than the 287 to train on"


def test_numbers_to_predict() -> None:
    found = summarize_dataset(opened(data="diabetes", loss="mse"))
    assert found.counts == {}
    assert dataset_lines(found)[-1] == "duplicates   0 within train; 0 of val are in train; 0 of test are in train"
    said = "targets      1 numbers, disease progression: standardised (mean 152.5, deviation 78.33)"
    assert said in dataset_lines(found)


def pictures(count: int) -> None:
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(f"pets/{name}/{number}.png")


def test_the_command_draws_the_batch() -> None:
    pictures(6)
    Path("my.yaml").write_text(
        "name: pets\nmodel: mlp\n"
        "data: {name: image_folder, path: pets, size: 8, normalize: auto, augment: [random_horizontal_flip]}\n"
    )
    ended = warm.run(["data", "my.yaml"])
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[0] == "samples      9 train, 1 val, 2 test"
    assert "duplicates   0 within train; 0 of val are in train; 0 of test are in train" in ended.stdout
    assert ended.stdout.endswith("\npets-batch.png\n")
    with Image.open("pets-batch.png") as picture:
        assert picture.width == 8 * 128
    ended = warm.run(["data", "my.yaml", "--json", "--picture", "other.png"])
    plain = json.loads(ended.stdout)
    assert plain["picture"] == "other.png"
    assert plain["target"] == {"kind": "classification", "classes": ["cat", "dog"]}
    assert plain["splits"] == {"train": 9, "val": 1, "test": 2}
    assert Path("other.png").exists()


def test_data_that_stands_in_is_said_loudly() -> None:
    Path("my.yaml").write_text("data: {name: mnist, download: false, fallback: digits}\nmodel: mlp\n")
    ended = warm.run(["data", "my.yaml"])
    assert ended.code == 0
    assert ended.stderr.startswith("warning: ON DIGITS, NOT ON THE DATA ASKED FOR: ")


def test_the_columns_of_a_table() -> None:
    rows = [f"{n * n},{'red' if n % 3 else 'blue'},{n % 5 * 10}%,{'cat' if n % 2 else 'dog'}\n" for n in range(60)]
    Path("t.csv").write_text("id,colour,share,kind\n" + "".join([*rows, "7,red,10%,\n"]))
    Path("my.yaml").write_text("data: {name: csv, path: t.csv, target: kind}\nmodel: mlp\n")
    ended = warm.run(["data", "my.yaml"])
    assert ended.code == 0
    assert ended.stdout.splitlines()[-4:] == [
        "column  what it is                                         missing  different  values             inputs  what the model sees",
        "id      left out: an id: a number of its own in every row        0         61                          0  nothing",
        "colour  category: words                                          0          2  red 67%, blue 33%       2  0 or 1 for each of 2 words",
        "share   numbers, each with %                                     0          5  0 … 40                  1  the number, standardised",
    ]  # fmt: skip
    assert ended.stderr.splitlines() == [
        "t.csv: 1 row without kind, left out",
        "not used: id (an id: a number of its own in every row); data.columns may say otherwise",
        "read: share (numbers, each with %)",
    ]
    plain = json.loads(warm.run(["data", "my.yaml", "--json"]).stdout)
    assert [(column["name"], column["inputs"]) for column in plain["columns"]] == [
        ("id", 0),
        ("colour", 2),
        ("share", 1),
    ]


def test_the_data_is_shown_whatever_the_model_and_the_loader_make_of_it() -> None:
    for label in ("cat", "dog"):
        Path("pets", label).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(f"pets/{label}/{number}.png")
    config = "data: {name: image_folder, path: pets, size: 16}\nmodel: {name: torchvision, arch: alexnet}\n"
    Path("my.yaml").write_text(f"{config}loader: {{batch_size: 64, drop_last: true}}\n")
    ended = warm.run(["data", "my.yaml"])
    assert ended.code == 0
    assert "samples      9 train, 1 val, 2 test" in ended.stdout
    ended = warm.run(["check", "my.yaml"])
    assert "; the smallest pictures that alexnet takes are 63x63; data.size=63" in ended.stdout
    assert ended.code == warm.run(["train", "my.yaml"]).code == 2
