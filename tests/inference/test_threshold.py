"""The threshold between two classes: chosen on the val split, kept with the checkpoint, used when asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.command import warm
from tests.conftest import MakeExperiment
from trainkit.core.errors import ConfigError, StorageError
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.inference.restoring import restore
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train
from trainkit.tasks.binary_scores import best_threshold
from trainkit.training.predictions import predictions_of


def test_two_classes(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"inputs": torch.randn(90, 3), "targets": (torch.rand(90) < 0.4).long()}, "two.pt")
    data = {"name": "tensors", "file": "two.pt", "val": 40}
    result = train(make(data=data, model={"name": "mlp", "hidden": [4]}), run_dir=Path("run"), quiet=True)
    stored = json.loads(Path("run/run.json").read_text())["threshold"]
    assert f"threshold  {stored:.4g} gives the best F1 on val: predict --threshold val" in capsys.readouterr().out
    restored = restore(result.checkpoint)
    assert restored.spec.task.chosen_threshold == stored
    val = restored.open_data().val
    assert val is not None
    loader = restored.experiment.loader.eval_loader(val, torch.device("cpu"))
    predictions = predictions_of(restored.parts, loader, restored.spec.task)
    assert predictions is not None
    margins = predictions.outputs[:, 1] - predictions.outputs[:, 0]
    assert stored == best_threshold(margins, predictions.targets == 1)
    found = evaluate_checkpoint(result.checkpoint, "val").to_plain()["positive"]
    assert [one["threshold"] for one in found["thresholds"]] == [0.5, stored]
    assert found["thresholds"][1]["f1"] >= found["thresholds"][0]["f1"]

    np.save("new.npy", np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    for threshold, at in ((None, 0.5), ("val", stored), (0.2, 0.2)):
        for one in predict(result.checkpoint, "new.npy", threshold=threshold):  # type: ignore[arg-type]
            assert one.answer == ("1" if one.values["1"] > at else "0",)
    ended = warm.run(["predict", "--ckpt", "run", "new.npy", "--threshold", "1e-6"])
    assert {line.split()[1] for line in ended.stdout.splitlines()[1:]} == {"1"}
    for wrong in ("1", "best", "0"):
        ended = warm.run(["predict", "--ckpt", "run", "new.npy", "--threshold", wrong])
        assert ended.stderr == (
            f"error: command line: --threshold: expected val or a number between 0 and 1, got {wrong!r}\n"
        )

    again = resume(Path("run"), ["train.epochs=3"], quiet=True)
    assert checkpoint.load(again.checkpoint)["spec"]["task"]["threshold"] is not None


def test_what_has_none(make: MakeExperiment) -> None:
    result = train(make(data={"size": 4}, train={"max_steps": 1}), quiet=True)
    with pytest.raises(ConfigError, match="--threshold is for two classes, this model predicts classes \\(4\\)"):
        restore(result.checkpoint).deciding_at("val")
    result = train(make(data={"size": 2, "val": 0}, train={"max_steps": 1}), quiet=True)
    with pytest.raises(ConfigError, match=r"last\.pt: no threshold was chosen: that is done at the end of a run"):
        restore(result.checkpoint).deciding_at("val")
    assert restore(result.checkpoint).deciding_at(0.9).spec.task.deciding_at(0.9)


def test_a_full_disk_costs_the_threshold_alone(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, change: object) -> None:
        raise StorageError(f"{path}: no space left on device")

    monkeypatch.setattr(checkpoint, "amend", full)
    result = train(make(data={"size": 2}, train={"epochs": 1}), run_dir=Path("run"), quiet=True)
    metadata = json.loads(Path("run/run.json").read_text())
    assert (metadata["status"], metadata.get("threshold")) == ("finished", None)
    assert " is not kept: run/checkpoints/best.pt: no space left on device" in capsys.readouterr().err
    assert restore(result.checkpoint).spec.task.chosen_threshold is None
