"""What a finished run prints to go on goes on, and equals a run that was planned so from the beginning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import printed
from tests.conftest import MakeExperiment, equal, records, weights
from trainkit.config import merging, yamlfile
from trainkit.core.errors import ConfigError
from trainkit.experiment.loading import load, parse
from trainkit.runs.run import resume, train

STANDS_STILL = {"name": "sgd", "lr": 1e-20}


def steps(run: Path) -> int:
    return max(int(record["step"]) for record in records(run))


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({}, ["train.epochs=4"]),
        ({"train": {"max_steps": 11}}, ["train.epochs=3", "train.max_steps=22"]),
        ({"train": {"max_steps": 5}}, ["train.max_steps=10"]),
        ({"train": {"max_steps": 16}}, ["train.epochs=4", "train.max_steps=32"]),
        ({"train": {"max_steps": 20}}, ["train.epochs=4", "train.max_steps=32"]),
        ({"train": {"max_steps": 100}}, ["train.epochs=4"]),
        ({"train": {"min_steps": 20}}, ["train.epochs=5"]),
        ({"train": {"limit_batches": 3, "accumulate": 2}}, ["train.epochs=4"]),
        ({"train": {"early_stopping": {"patience": 9}}}, ["train.epochs=4"]),
        (
            {"train": {"epochs": 5, "early_stopping": {"patience": 2}}, "optimizer": STANDS_STILL},
            ["train.early_stopping.patience=4"],
        ),
        (
            {"train": {"epochs": 3, "early_stopping": {"patience": 2}}, "optimizer": STANDS_STILL},
            ["train.epochs=6", "train.early_stopping.patience=4"],
        ),
        (
            {
                "train": {"epochs": 5, "early_stopping": {"patience": 1}},
                "optimizer": STANDS_STILL,
                "scheduler": "cosine",
            },
            ["train.early_stopping.patience=2"],
        ),
    ],
)
def test_it_goes_on(
    changes: dict[str, Any], overrides: list[str], make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = make(**changes)
    train(experiment, run_dir=Path("run"))
    before = steps(Path("run"))
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("go on")]
    assert printed.words(line.removeprefix("go on"))[1:] == ["trainkit", "train", "--resume", "run", *overrides]
    resume(Path("run"), overrides)
    node = merging.override(yamlfile.from_plain(experiment.to_plain(), yamlfile.COMMAND_LINE), overrides)
    train(parse(node, beside=None), run_dir=Path("planned"))
    assert steps(Path("run")) == steps(Path("planned")) > before
    assert equal(weights(Path("run/checkpoints/last.pt")), weights(Path("planned/checkpoints/last.pt")))


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({"scheduler": "cosine"}, ["train.epochs=4"]),
        ({"train": {"eval_every": "4 times"}}, ["train.epochs=4"]),
        ({"train": {"eval_every": 7}, "scheduler": {"name": "plateau"}}, ["train.epochs=4"]),
        ({"scheduler": "cosine", "train": {"max_steps": 5}}, ["train.max_steps=10"]),
    ],
)
def test_where_a_longer_run_is_another_one_it_is_begun_anew(
    changes: dict[str, Any], overrides: list[str], make: MakeExperiment, capsys: pytest.CaptureFixture[str]
) -> None:
    train(make(**changes), run_dir=Path("run"))
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("go on", "longer"))]
    assert printed.words(line.removeprefix("longer"))[1:] == ["trainkit", "train", "run/config.yaml", *overrides]
    train(load(Path("run/config.yaml"), overrides), run_dir=Path("new"))
    assert steps(Path("new")) == 2 * steps(Path("run"))


@pytest.mark.parametrize(
    ("changes", "typed", "message"),
    [
        ({"train": {"max_steps": 11}}, ["train.epochs=9"],
            "adds nothing: the run ends at step 11; add train.max_steps=22"),
        ({"train": {"max_steps": 16}}, ["train.max_steps=99"],
            "adds nothing: the run ends at step 16; add train.epochs=4"),
        (
            {"train": {"epochs": 9, "early_stopping": {"patience": 1}}, "optimizer": STANDS_STILL},
            ["train.epochs=20"],
            "the run stopped early at step 16, and would do so again; add train.early_stopping.patience=2",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(changes: dict[str, Any], typed: list[str], message: str, make: MakeExperiment) -> None:
    train(make(**changes), run_dir=Path("run"))
    before = steps(Path("run"))
    with pytest.raises(ConfigError) as caught:
        resume(Path("run"), typed)
    assert str(caught.value) == f"command line: {message}"
    resume(Path("run"), [*typed, *printed.words(f"trainkit {message.rpartition(' add ')[2]}")[2:]])
    assert steps(Path("run")) > before


def test_the_patience_can_only_become_larger(make: MakeExperiment) -> None:
    train(make(train={"early_stopping": {"patience": 5}}), run_dir=Path("run"))
    with pytest.raises(ConfigError, match=r"train\.early_stopping\.patience: was 5, and can only become larger"):
        resume(Path("run"), ["train.early_stopping.patience=4", "train.epochs=9"])
