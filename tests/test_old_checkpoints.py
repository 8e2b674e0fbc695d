"""Checkpoints of released schemas load for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from trainkit import checkpoint
from trainkit.evaluation import evaluate_checkpoint
from trainkit.run import resume

SCHEMA_1 = Path(__file__).parent / "fixtures/checkpoint-schema-1.pt"


def test_there_is_one_of_every_schema() -> None:
    names = {path.name for path in SCHEMA_1.parent.glob("*.pt")}
    assert names == {f"checkpoint-schema-{number}.pt" for number in range(1, checkpoint.SCHEMA + 1)}
    assert all(path.stat().st_size < 50_000 for path in SCHEMA_1.parent.glob("*.pt"))


def test_schema_1_is_evaluated_as_it_was_when_it_was_written() -> None:
    found = evaluate_checkpoint(SCHEMA_1)
    assert found.notes == []
    assert found.metrics == {
        "loss": pytest.approx(1.187429470486111, rel=1e-4),
        "accuracy": pytest.approx(0.6472222222222223, abs=0.01),
    }


def test_schema_1_goes_on_to_where_its_own_trainkit_took_it() -> None:
    Path("run/checkpoints").mkdir(parents=True)
    Path("run/run.json").write_text("{}")
    shutil.copy(SCHEMA_1, "run/checkpoints/last.pt")
    result = resume(Path("run"))
    assert checkpoint.load(Path("run/checkpoints/last.pt"))["progress"]["step"] == 48
    assert result.metrics == {
        "val/accuracy": pytest.approx(0.6953125, abs=0.02),
        "test/loss": pytest.approx(0.9698942396375868, rel=1e-2),
        "test/accuracy": pytest.approx(0.6972222222222222, abs=0.02),
    }
