"""The shipped configs: what their heads say, and that the templates train once the data that they ask for is there."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command import ROOT
from tests.data.sources.test_text_folder import reviews
from trainkit.data import DataSpec
from trainkit.data.inputs import Pictures
from trainkit.experiment.loading import load
from trainkit.runs.run import train
from trainkit.tasks import Classification

CONFIGS = ROOT / "configs"
QUICK = ["train.epochs=1", "train.limit_batches=2", "loader.num_workers=0", "log.tensorboard=false"]


def heads() -> dict[str, str]:
    """The comments at the top of each config, by its name."""
    return {
        path.stem: " ".join(line[2:] for line in path.read_text().splitlines() if line.startswith("# "))
        for path in sorted(CONFIGS.glob("*.yaml"))
    }


COUNTS = {name: found[1] for name, head in heads().items() if (found := re.search(r"([\d,]+) parameters", head))}


def test_the_experiments_of_the_tutorials_state_their_parameters() -> None:
    assert {
        "mnist_cnn": "421,642", "mnist_mlp": "101,770", "mnist_convnet5": "3,199,106", "mnist_mlp500": "397,510",
        "mnist_tiny_cnn": "63,050", "cifar10_quick": "145,578", "cifar10_linear": "30,730",
        "cifar10_half_norm": "145,578", "image_txt_resnet18": "11,181,642",
    }.items() <= COUNTS.items()  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_stated(name: str) -> None:
    experiment = load(CONFIGS / f"{name}.yaml")
    spec = experiment.data.spec() or DataSpec(input=Pictures(shape=(3, 224, 224)), task=Classification(size=10))
    with torch.device("meta"):
        model = experiment.model.build(spec, experiment.loss.num_outputs(spec.task))
    assert f"{sum(parameter.numel() for parameter in model.parameters()):,}" == COUNTS[name]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def classes_in_folders() -> None:
    for label in ("cat", "dog"):
        for number in range(12):
            picture(Path(f"data/pictures/{label}/{number}.jpg"))


def names_and_labels(file: str, row: str, first: str = "") -> None:
    for number in range(24):
        picture(Path(f"data/pictures/a picture {number}.png"))
    rows = [row.format(name=f"a picture {number}.png", label=number % 3) for number in range(24)]
    Path(file).write_text("\n".join([first, *rows]) + "\n")


def table(file: str, columns: list[str], cells: Callable[[random.Random], list[object]]) -> None:
    draws = random.Random(0)
    rows = [",".join(map(str, cells(draws))) for _ in range(80)]
    Path(file).write_text("\n".join([",".join(columns), *rows]) + "\n")


def houses() -> None:
    def house(draws: random.Random) -> list[object]:
        rooms = draws.randint(1, 6)
        return [rooms, draws.choice(["north", "south", ""]), rooms + draws.random()]

    table("data/houses.csv", ["rooms", "side", "price"], house)


def symptoms() -> None:
    def patient(draws: random.Random) -> list[object]:
        fever = draws.random()
        return [round(36 + 4 * fever, 1), int(fever > 0.5), int(fever > 0.8), int(draws.random() < 0.1)]

    table("data/symptoms.csv", ["temperature", "fever", "cough", "rash"], patient)


def film_reviews() -> None:
    for split in ("train", "test"):
        reviews(f"data/aclImdb/{split}", 10)


@pytest.mark.parametrize(
    ("name", "prepare", "overrides"),
    [
        ("image_txt_resnet18", lambda: names_and_labels("data/labels.txt", "{name} {label}"), ["data.size=64"]),
        ("image_list", lambda: names_and_labels("data/labels.csv", "{name},{label}", "path,label"), []),
        (
            "pictures_pretrained",
            classes_in_folders,
            ["data.size=64", "model.weights=none", "scheduler.warmup_steps=0", "loader.batch_size=4"],
        ),
        ("csv_regression", houses, []),
        ("csv_table", houses, []),
        ("labels_imbalanced", symptoms, ["loader.batch_size=16"]),
        ("text_folder", film_reviews, ["loader.batch_size=4"]),
    ],
)
def test_a_template_trains_on_the_data_that_it_asks_for(
    name: str, prepare: Callable[[], None], overrides: list[str]
) -> None:
    Path("data").mkdir()
    prepare()
    result = train(load(CONFIGS / f"{name}.yaml", [*QUICK, *overrides]))
    assert result.checkpoint.exists()
    assert any(key.startswith("test/") for key in result.metrics)
