"""What measuring a checkpoint finds of each class."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.command import ROOT
from tests.conftest import MakeExperiment, records
from trainkit.core.errors import (
    ConfigError,
    DataError,
)
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs.run import train


def test_the_classes_add_up(make: MakeExperiment) -> None:
    result = train(make(data={"test_samples": 50}, loader={"eval_batch_size": 7}))
    found = evaluate_checkpoint(result.checkpoint)
    assert {f"test/{name}": value for name, value in found.metrics.items()}.items() <= result.metrics.items()
    assert found.confusion is not None
    assert [sum(row) for row in found.confusion] == [score.support for score in found.per_class]
    assert sum(map(sum, found.confusion)) == 50
    assert sum(score.true_positives for score in found.per_class) / 50 == pytest.approx(found.metrics["accuracy"])


def test_two_classes_with_one_output(make: MakeExperiment) -> None:
    result = train(make(data={"size": 2}, loss="bce_with_logits", metrics=["accuracy", "f1"]))
    found = evaluate_checkpoint(result.checkpoint, "val")
    assert found.confusion is not None
    assert len(found.confusion) == len(found.per_class) == 2
    assert sum(score.f1 for score in found.per_class) / 2 == pytest.approx(found.metrics["f1"])


def test_labels_have_scores_and_numbers_have_none(make: MakeExperiment) -> None:
    labels = {"target": "multilabel", "size": 3}
    result = train(make(data=labels, loss="bce_with_logits", metrics=["accuracy", "precision"]))
    found = evaluate_checkpoint(result.checkpoint)
    assert found.confusion is None
    assert found.to_plain().keys() == {"metrics", "notes", "yardsticks", "per_class"}
    assert sum(score.precision for score in found.per_class) / 3 == pytest.approx(found.metrics["precision"])
    result = train(make(data={"target": "regression", "size": 3}, loss="mse"))
    found = evaluate_checkpoint(result.checkpoint)
    assert found.to_plain().keys() == {"metrics", "notes", "yardsticks", "per_number"}
    assert math.isfinite(found.metrics["mae"])


def test_other_sequences_may_be_longer_or_shorter(make: MakeExperiment) -> None:
    data = {"name": "synthetic", "shape": [12, 3], "min_length": 4, "size": 4, "samples": 100, "val": 20}
    result = train(make(data=data, model={"name": "gru", "hidden_size": 8}))
    for length in (9, 20):
        found = evaluate_checkpoint(result.checkpoint, overrides=[f"data.shape=[{length},3]"])
        assert found.notes == ["these test samples are not the ones of the training run"]


@pytest.mark.parametrize(("padded", "kind"), [(False, "numbers"), (True, "sequences")])
def test_another_kind_of_inputs_of_the_same_shape(padded: bool, kind: str) -> None:
    content = torch.load(ROOT / "tests/fixtures/checkpoint-schema-1.pt", weights_only=True)
    content["spec"] |= {"image": False, "padded": padded}
    torch.save(content, "x.pt")
    with pytest.raises(DataError, match=rf"^x\.pt: trained on {kind}, this data has pictures"):
        evaluate_checkpoint(Path("x.pt"))


def test_eval_gives_what_training_logged(make: MakeExperiment) -> None:
    result = train(make(metrics=["accuracy", "f1"]))
    [best] = [r for r in records(result.run_dir) if r["kind"] == "eval" and r["split"] == "val" and r["best"]][-1:]
    found = evaluate_checkpoint(result.checkpoint, "val", device="cpu")
    metrics, notes = found.metrics, found.notes
    assert notes == []
    assert metrics == {name: best[name] for name in ("loss", "accuracy", "f1")}
    tested = evaluate_checkpoint(result.checkpoint).metrics
    assert {f"test/{name}": value for name, value in tested.items()}.items() <= dict(result.metrics).items()


def test_eval_needs_only_the_checkpoint(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    alone = result.checkpoint.rename("alone.pt")
    metrics = evaluate_checkpoint(alone, "test", overrides=["loader.eval_batch_size=5"]).metrics
    assert metrics["accuracy"] == result.metrics["test/accuracy"]
    whole = "data={name: synthetic, shape: [1, 8, 8], size: 4, samples: 160, val: 32, test_samples: 32}"
    assert evaluate_checkpoint(alone, "test", overrides=[whole]).metrics == pytest.approx(metrics)
    with pytest.raises(DataError, match="this data has others"):
        evaluate_checkpoint(alone, overrides=["data=digits"])
    for override in ("model.hidden=[3]", "database=1", "seed=1"):
        with pytest.raises(ConfigError, match="only data and loader can change"):
            evaluate_checkpoint(alone, overrides=[override])


def test_a_run_directory_stands_for_the_checkpoint_to_use_in_it(make: MakeExperiment) -> None:
    for val in (32, 0):
        result = train(make(data={"val": val}, train={"epochs": 1}))
        found = evaluate_checkpoint(result.run_dir)
        metrics, notes = found.metrics, found.notes
        assert metrics["loss"] == result.metrics["test/loss"]
        assert notes == []


def test_another_normalisation_is_not_used_and_that_is_said(make: MakeExperiment) -> None:
    result = train(make(data={"name": "digits", "normalize": "half"}, train={"epochs": 1, "max_steps": 2}))
    found = evaluate_checkpoint(result.checkpoint, overrides=["data.normalize=none"])
    metrics, notes = found.metrics, found.notes
    assert notes == ["the normalisation of the training run is used, not the one given"]
    assert metrics["loss"] == result.metrics["test/loss"]


def test_other_samples_are_named(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    notes = evaluate_checkpoint(result.checkpoint, "test", overrides=["data.test_samples=16"]).notes
    assert notes == ["these test samples are not the ones of the training run"]
