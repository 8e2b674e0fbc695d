"""What may be compared by a number of the val split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeExperiment
from trainkit.experiment import ranking
from trainkit.experiment.ranking import judged_by, unlike
from trainkit.reports import comparing
from trainkit.runs import reader
from trainkit.runs.run import train

Told = dict[str, Any]


def told(make: MakeExperiment, val: str = "a", monitor: str = "val/loss", **sections: Any) -> Told:
    return judged_by(make(**sections), monitor, val)


SMOOTH = {"name": "cross_entropy", "label_smoothing": 0.1}
BALANCED = {"name": "cross_entropy", "weight": "balanced"}
DIGITS = {"name": "digits"}
AUGMENTED = {"name": "digits", "augment": ["random_horizontal_flip"]}


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ({}, {"optimizer": {"lr": 1.0}, "model": "mlp"}, []),
        ({}, {"loss": SMOOTH}, ["loss.label_smoothing"]),
        ({}, {"loss": BALANCED}, ["loss.weight"]),
        ({"monitor": "val/accuracy"}, {"monitor": "val/accuracy", "loss": SMOOTH}, []),
        ({}, {"monitor": "val/accuracy"}, ["checkpoint.monitor"]),
        (
            {"monitor": "val/f1", "metrics": ["f1"]},
            {"monitor": "val/f1", "metrics": [{"name": "f1", "average": "micro"}]},
            ["metrics"],
        ),
        ({"monitor": "val/f1", "metrics": ["f1"]}, {"monitor": "val/f1", "metrics": ["f1", "auroc"]}, []),
        ({}, {"data": {"val": 48}, "val": "b"}, ["data.val"]),
        ({"data": DIGITS}, {"data": AUGMENTED}, []),
        ({}, {"data": DIGITS, "val": "b"}, ["data.name"]),
        ({}, {"loss": "mse"}, ["loss.name"]),
        ({}, {"val": "b"}, ["the val samples"]),  # the files have changed
        ({}, {"seed": 1, "val": "b"}, []),
        ({}, {"train": {"limit_batches": 2}}, ["train.limit_batches"]),
        (
            {"train": {"limit_batches": 2}},
            {"train": {"limit_batches": 2}, "loader": {"eval_batch_size": 8}},
            ["train.limit_batches"],
        ),
        ({"data": DIGITS}, {"data": DIGITS | {"size": 16}, "seed": 1, "val": "b"}, []),
        ({"data": DIGITS}, {"data": AUGMENTED, "seed": 1, "val": "b"}, []),
        ({}, {"data": {"size": 7}, "val": "b"}, ["data.size"]),  # of made-up samples it is another task
        ({"data": DIGITS}, {"data": DIGITS | {"size": 16, "subset": 99}, "val": "b"}, ["data.subset"]),
    ],
)
def test_what_may_be_compared(one: Told, other: Told, differ: list[str], make: MakeExperiment) -> None:
    assert unlike([told(make, **one), told(make, **other), {}]) == differ


def test_what_differs_over_the_same_samples_makes_no_others(make: MakeExperiment) -> None:
    seeds: list[Told] = [{}, {"seed": 1, "val": "b"}]
    assert unlike(told(make, **seed, data=data) for seed in seeds for data in (DIGITS, AUGMENTED)) == []
    more = DIGITS | {"val": 0.3}
    others: list[Told] = [{"data": more, "val": "c"}, {"data": more, "seed": 1, "val": "d"}]
    assert unlike(told(make, **{"data": DIGITS} | one) for one in (*seeds, *others)) == ["data.val"]


def test_what_another_version_has_not_recorded_makes_no_others(make: MakeExperiment) -> None:
    new, other = told(make, data=DIGITS), told(make, data=DIGITS, seed=1, val="b")
    old = other | {"data.size": 8, "data.augment": []}
    assert unlike([new, old]) == []
    assert unlike([new, old | {"data.val": 0.3}]) == ["data.val"]
    assert unlike([new | {"data.columns": {}}, other | {"data.columns.a": "number"}]) == [
        "data.columns",
        "data.columns.a",
    ]


def test_runs_that_cannot_be_compared_are_not_ranked_and_that_is_said(make: MakeExperiment) -> None:
    plain: Told = {"checkpoint": {"monitor": "val/loss"}, "train": {"epochs": 1}}
    for number, loss in enumerate(["cross_entropy", SMOOTH]):
        train(make(**plain, loss=loss), run_dir=Path(f"runs/{number}"), quiet=True)
    found = reader.find(Path("runs"))
    assert comparing.table(found)[-1] == (
        "tiny: val cannot be compared between runs that differ in loss.label_smoothing"
    )
    trials = [one for one in found if isinstance(one, reader.Run)]
    assert ranking.ranked(trials, "val/loss", "min") == []
    assert len(ranking.ranked(trials[:1], "val/loss", "min")) == 1
    sweep = reader.Sweep(Path("s"), "finished", "", "tiny", "val/loss", "min", tuple(trials), ("loss.label_smoothing",))
    assert "not comparable" in comparing.table([sweep])[1]
    assert (sweep.to_plain()["best"], sweep.to_plain()["unlike"]) == (None, ["loss.label_smoothing"])


def test_the_same_samples_in_another_size_may_be_compared(make: MakeExperiment) -> None:
    for size in (8, 12):
        train(make(data=DIGITS | {"size": size, "subset": 64}, train={"max_steps": 1}), run_dir=Path(f"runs/{size}"))
    [small, large] = reader.find(Path("runs"))
    assert isinstance(small, reader.Run)
    assert isinstance(large, reader.Run)
    assert small.metadata["data"] != large.metadata["data"]
    assert unlike([small.judged_by, large.judged_by]) == []
