"""Checkpoints of released schemas load for ever."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT
from trainkit.data.sources.image_folder import ImageFolderConfig
from trainkit.experiment.loading import load
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.runs import checkpoint
from trainkit.runs.checkpoint_schema import with_old_pictures
from trainkit.runs.run import Result, resume

FIXTURES = ROOT / "tests/fixtures"
SCHEMA_1 = FIXTURES / "checkpoint-schema-1.pt"
NUMBERS_1 = FIXTURES / "checkpoint-schema-1-regression.pt"
SCHEMA_2 = FIXTURES / "checkpoint-schema-2.pt"
SCHEMA_3 = FIXTURES / "checkpoint-schema-3.pt"
TABLE_1 = FIXTURES / "checkpoint-schema-1-table.pt"


def test_there_is_one_of_every_schema() -> None:
    names = {path.name for path in SCHEMA_1.parent.glob("*.pt")}
    assert names == {f"checkpoint-schema-{number}.pt" for number in range(1, checkpoint.SCHEMA + 1)} | {
        NUMBERS_1.name,
        TABLE_1.name,
    }
    assert all(path.stat().st_size < 50_000 for path in SCHEMA_1.parent.glob("*.pt"))


def test_schema_1_is_evaluated_as_it_was_when_it_was_written() -> None:
    found = evaluate_checkpoint(SCHEMA_1)
    assert found.notes == []
    assert found.metrics == {
        "loss": pytest.approx(1.187429470486111, rel=1e-4),
        "accuracy": pytest.approx(0.6472222222222223, abs=0.01),
    }


def resumed(path: Path) -> Result:
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    shutil.copy(path, "run/checkpoints/last.pt")
    return resume(Path("run"), quiet=True)


def test_schema_1_goes_on_to_where_its_own_trainkit_took_it() -> None:
    result = resumed(SCHEMA_1)
    assert checkpoint.load(Path("run/checkpoints/last.pt"))["progress"]["step"] == 48
    assert result.metrics == {
        "val/accuracy": pytest.approx(0.6953125, abs=0.02),
        "test/loss": pytest.approx(0.9698942396375868, rel=1e-2),
        "test/accuracy": pytest.approx(0.6972222222222222, abs=0.02),
    }


@pytest.mark.parametrize(
    ("path", "split", "loss", "mae", "r2"),
    [
        (NUMBERS_1, "test", 2504.5856741573034, 135.10952861657304, -3.775266194586048),
        (NUMBERS_1, "val", 2166.782570422535, 118.23056503080986, -2.7016907556075394),
        (SCHEMA_2, "test", 1802.9626053370787, 50.19185612710674, 0.22981824606560786),
        (SCHEMA_2, "val", 1945.1261003521126, 53.148533780809856, 0.2513124507986877),
    ],
)
def test_numbers_are_evaluated_as_they_were_when_they_were_written(
    path: Path, split: str, loss: float, mae: float, r2: float
) -> None:
    """Before schema 2 targets were learned as they are, and `delta` was in their unit."""
    found = evaluate_checkpoint(path, split)
    assert found.notes == []
    assert found.metrics == {
        "loss": pytest.approx(loss, rel=1e-4),
        "mae": pytest.approx(mae, rel=1e-4),
        "r2": pytest.approx(r2, abs=1e-4),
    }


@pytest.mark.parametrize(
    ("path", "loss", "mae", "r2"),
    [
        (NUMBERS_1, 1836.7198033707866, 101.39826193820225, -1.9212579708143172),
        (SCHEMA_2, 1515.9431179775281, 45.21885696779813, 0.37340191758566055),
    ],
)
def test_numbers_go_on_to_where_their_own_trainkit_took_them(path: Path, loss: float, mae: float, r2: float) -> None:
    result = resumed(path)
    assert checkpoint.load(Path("run/checkpoints/last.pt"))["progress"]["step"] == 25
    assert result.metrics == {
        "val/loss": pytest.approx(checkpoint.load(Path("run/checkpoints/last.pt"))["progress"]["best"]),
        "test/loss": pytest.approx(loss, rel=1e-3),
        "test/mae": pytest.approx(mae, rel=1e-3),
        "test/r2": pytest.approx(r2, abs=1e-3),
    }
    stored = load(Path("run/config.yaml")).data.target_transform
    assert stored == ("none" if path is NUMBERS_1 else "auto")


@pytest.mark.parametrize(
    ("split", "loss", "accuracy", "f1"),
    [
        ("test", 0.7332125981648763, 0.7111111323038737, 0.6162161827087402),
        ("val", 0.7283220767974854, 0.8, 0.7958786487579346),
    ],
)
def test_labels_are_evaluated_as_they_were_when_they_were_written(
    split: str, loss: float, accuracy: float, f1: float
) -> None:
    found = evaluate_checkpoint(SCHEMA_3, split)
    assert found.notes == []
    assert found.metrics == {
        "loss": pytest.approx(loss, rel=1e-4),
        "accuracy": pytest.approx(accuracy, abs=0.01),
        "f1": pytest.approx(f1, abs=0.01),
    }


def test_labels_go_on_to_where_their_own_trainkit_took_them() -> None:
    result = resumed(SCHEMA_3)
    assert checkpoint.load(Path("run/checkpoints/last.pt"))["progress"]["step"] == 16
    assert result.metrics["test/loss"] == pytest.approx(0.6857195536295573, rel=1e-2)


@pytest.mark.parametrize(
    ("split", "loss", "accuracy"),
    [
        ("train", 0.7018376986185709, 0.4583333333333333),
        ("val", 0.6835755705833435, 0.5625),
        ("test", 0.6958416938781739, 0.6),
    ],
)
def test_a_table_is_evaluated_as_it_was_when_it_was_written(split: str, loss: float, accuracy: float) -> None:
    """The same rows in the same splits, and the same gaps, words and scales."""
    shutil.copy(TABLE_1.with_suffix(".csv"), "t.csv")
    found = evaluate_checkpoint(TABLE_1, split)
    assert found.notes == []
    assert found.metrics == {"loss": pytest.approx(loss, abs=1e-6), "accuracy": accuracy}


NEW_ROWS = """size,colour,code,note,y,price
,red,1020,x1,b,25.158
80,blue,1020,3,b,80.367
153,,1030,x2,a,87.103
137,NA,1020,3,a,56.051
84,blue,1010,3,b,99.868
"""


def test_new_rows_of_a_table_get_the_answers_of_then() -> None:
    Path("new.csv").write_text(NEW_ROWS + "n/a,blue,1020,3,a,28.603\n")
    found = [(each.input, *each.answer, max(each.values.values())) for each in predict(TABLE_1, "new.csv")]
    assert found == [
        ("new.csv:2", "a", pytest.approx(0.5425584316253662, abs=1e-6)),
        ("new.csv:3", "a", pytest.approx(0.5633711218833923, abs=1e-6)),
        ("new.csv:4", "a", pytest.approx(0.5174354910850525, abs=1e-6)),
        ("new.csv:5", "b", pytest.approx(0.5046537518501282, abs=1e-6)),
        ("new.csv:6", "a", pytest.approx(0.5299619436264038, abs=1e-6)),
        ("new.csv:7", "a", pytest.approx(0.5646768808364868, abs=1e-6)),
    ]


def test_pictures_are_read_as_they_were_before_there_was_more_to_say() -> None:
    payload: dict[str, Any] = {"config": {"data": {"name": "image_folder", "path": "pets"}}, "spec": {"image": True}}
    with_old_pictures(payload)
    assert payload["config"]["data"] == {"name": "image_folder", "path": "pets", "rules": 1}
    assert payload["spec"]["range"] == (0, 65535)
    source = ImageFolderConfig.from_plain(payload["config"]["data"]).source(Path(), [], [])
    assert (source.background, source.limits) == (None, (0, 65535))
    new = {"config": {"data": {"name": "image_folder", "rules": 2}}, "spec": {"image": True, "range": None}}
    with_old_pictures(new)
    assert new == {"config": {"data": {"name": "image_folder", "rules": 2}}, "spec": {"image": True, "range": None}}
