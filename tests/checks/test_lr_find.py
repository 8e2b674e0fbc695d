from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command import warm
from trainkit.checks.lr_find import LrCurve, Tried, losses_with, lr_find, lr_find_lines, rates, suggest, with_lr
from trainkit.experiment.building import Opened, open_experiment
from trainkit.experiment.schema import ExperimentConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def opened(**sections: Any) -> Opened:
    plain = {"data": {"name": "digits", "normalize": "auto"}, "model": "mlp", "optimizer": {"name": "adam", "lr": 1e-3}}
    return open_experiment(ExperimentConfig.from_plain({**plain, **sections}))


def tried(*losses: float, first: float = 1e-5) -> tuple[Tried, ...]:
    return tuple(Tried(first * 10**number, loss, loss) for number, loss in enumerate(losses))


def test_rates() -> None:
    assert rates(1e-3, 1e-1) == [1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1]
    assert rates(3e-3, 3e-2) == [3e-3, 5e-3, 1e-2, 2e-2, 3e-2]
    assert rates(3e-4, 4e-4) == [3e-4, 4e-4]


@pytest.mark.parametrize(
    ("losses", "suggestion", "reason"),
    [
        (
            (2.3, 1.0, 0.52, 0.5, 2.9),
            1e-3,
            "the smallest rate that brings the loss nearly as far down as 0.01, the lowest of the smoothed curve",
        ),
        (
            (2.3, 2.29, 2.28, 2.3, math.inf),
            None,
            (
                "no rate brought the loss down by 5% from 2.3; try more steps, or look for a mistake with "
                "trainkit overfit CONFIG"
            ),
        ),
        ((0.4, 1.0, 2.3), 1e-5, "the best of those tried lies at the end of the range; lower ones may do as well"),
        ((2.3, 2.0, 0.4), 1e-3, "the best of those tried lies at the end of the range; higher ones may do as well"),
        (
            (math.nan, math.inf),
            None,
            "no rate gave a finite loss; look for NaN in the data and for log, sqrt and division in the model",
        ),
    ],
)
def test_what_is_suggested(losses: tuple[float, ...], suggestion: float | None, reason: str) -> None:
    found, why = suggest(tried(*losses), 2.3)
    assert (found, why) == (pytest.approx(suggestion) if suggestion else None, reason)


def test_a_curve_of_the_digits() -> None:
    """A rate that is known to be good lies within a decade of the suggestion; the ends of the curve show nothing."""
    curve = lr_find(opened(), low=1e-6, high=100, steps=20)
    assert curve.suggestion is not None
    assert 1e-3 <= curve.suggestion <= 3e-2
    assert curve.tried[0].loss == pytest.approx(curve.start, rel=0.05)
    assert not curve.tried[-1].loss < curve.start


def test_rates_beyond_saving_are_not_tried() -> None:
    heard: list[float] = []
    curve = lr_find(opened(), low=1e-3, high=1e6, steps=4, report=lambda lr, loss: heard.append(loss))
    assert len(heard) == len(curve.tried) < len(rates(1e-3, 1e6))
    assert all(loss > 4 * curve.start for loss in heard[-2:])
    assert not heard[-3] > 4 * curve.start


def test_every_rate_begins_with_the_same_weights_and_batches() -> None:
    one = opened()
    first = {losses_with(one, lr, 3)[0] for lr in (1e-5, 1e-3, 1.0)}
    assert len(first) == 1
    assert losses_with(one, 1e-3, 5) == losses_with(one, 1e-3, 5)
    assert losses_with(opened(optimizer={"name": "sgd", "lr": 0.1}), 1e30, 5) == []


def test_the_random_state_is_untouched() -> None:
    """Models and optimizers are its own; the generators are everybody's."""
    one = opened(model={"name": "mlp", "dropout": 0.5})

    def state() -> list[Any]:
        return [random.getstate(), str(np.random.get_state()), torch.default_generator.get_state().tolist()]

    before = state()
    lr_find(one, low=1e-3, high=1e-1, steps=5)
    assert state() == before


def test_the_head_keeps_its_proportion() -> None:
    experiment = opened(optimizer={"name": "adam", "lr": 1e-4, "head_lr": 1e-3}).experiment
    other = with_lr(experiment, 1e-2).optimizer
    assert [other.lr, other.head_lr] == pytest.approx([1e-2, 1e-1])


CONFIG = "name: mine\ndata: {name: digits, normalize: auto}\nmodel: mlp\n"


def test_the_command_leaves_a_table_a_picture_and_events() -> None:
    Path("my.yaml").write_text(CONFIG)
    ended = warm.run(["lr-find", "my.yaml", "--low", "1e-3", "--high", "1e-1", "--steps", "10", "--json"])
    assert ended.code == 0
    plain = json.loads(ended.stdout)
    table, picture = map(Path, plain["files"])
    assert table.parent.name.endswith("-lr-find")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["lr"]) for row in rows] == [one["lr"] for one in plain["tried"]] == rates(1e-3, 1e-1)
    assert [float(row["loss"]) for row in rows] == [one["loss"] for one in plain["tried"]]
    with Image.open(picture) as image:
        assert image.size == (840, 504)
    assert list((table.parent / "tb").glob("events*"))
    assert ended.stderr.splitlines()[0].startswith("at most 7 rates of 10 steps, about 0:")
    assert ended.stderr.splitlines()[1].startswith("lr 0.001  loss ")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--low", "0"], "--low: expected a number above 0, got '0'"),
        (["--high", "nan"], "--high: expected a number above 0, got 'nan'"),
        (["--low", "1", "--high", "0.1"], "--low: must be < --high, got 1 and 0.1"),
    ],
)
def test_wrong_words(words: list[str], problem: str) -> None:
    Path("my.yaml").write_text(CONFIG)
    ended = warm.run(["lr-find", "my.yaml", *words])
    assert (ended.code, ended.stderr) == (2, f"error: command line: {problem}\n")


def test_the_text() -> None:
    assert lr_find_lines(LrCurve((), 5, 2.3, None, "because"), 1e-3) == ["no suggestion: because"]
    assert lr_find_lines(LrCurve((), 5, 2.3, 0.01, "because"), 1e-3) == [
        "optimizer.lr=0.01 (configured: 0.001): because"
    ]


def test_where_no_rate_gives_a_number_that_is_said_and_drawn() -> None:
    Path("nan.py").write_text(
        "import torch\nfrom trainkit import register_model\n@register_model('nan_net')\nclass Net(torch.nn.Linear):\n"
        "    def __init__(self, in_features: int, num_classes: int) -> None:\n"
        "        super().__init__(in_features, num_classes)\n"
        "    def forward(self, inputs):\n"
        "        return super().forward(inputs) * (float('nan') if self.training else 1)\n"
    )
    Path("my.yaml").write_text("imports: [nan]\ndata: iris\nmodel: nan_net\n")
    ended = warm.run(["lr-find", "my.yaml", "--low", "1e-3", "--high", "1e-2", "--steps", "3"])
    assert ended.code == 0
    assert ended.stdout.startswith("no suggestion: no rate gave a finite loss; look for NaN in the data")
    assert ended.stdout.rstrip().endswith("lr_find.png")
