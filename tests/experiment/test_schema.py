from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT
from trainkit.config import yamlfile
from trainkit.config.yamlfile import Where
from trainkit.core.errors import ConfigError, DataError
from trainkit.experiment.loading import load, parse
from trainkit.experiment.rules import check
from trainkit.experiment.schema import ExperimentConfig

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def experiment(text: str) -> ExperimentConfig:
    node = yamlfile.parse(text, Where("cfg.yaml", 1, 1))
    assert node is not None
    return parse(node, beside=None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_equals_itself_resolved_and_read_back(path: Path) -> None:
    loaded = load(path)
    if spec := loaded.data.spec():
        check(loaded, spec)
    resolved = Path("config.yaml")
    resolved.write_text(yamlfile.dump(loaded.to_plain()), encoding="utf-8")
    assert load(resolved) == loaded
    assert loaded.name == path.stem


def test_there_are_shipped_configs() -> None:
    assert "mnist_cnn" in [path.stem for path in CONFIGS]


def test_data_and_model_are_enough() -> None:
    bare = experiment("data: digits\nmodel: mlp\n")
    assert (bare.name, bare.seed) == ("experiment", 42)
    assert bare.to_plain()["loss"]["name"] == "cross_entropy"
    assert bare.to_plain()["optimizer"]["name"] == "adam"
    assert bare.to_plain()["scheduler"]["name"] == "constant"


def names_come_first(plain: Any) -> bool:
    if isinstance(plain, dict):
        return ("name" not in plain or next(iter(plain)) == "name") and all(map(names_come_first, plain.values()))
    return all(map(names_come_first, plain)) if isinstance(plain, list) else True


def test_in_plain_data_names_come_first() -> None:
    text = "data: {name: mnist, augment: [random_crop]}\nmodel: cnn\nmetrics: [f1]\noptimizer: sgd\n"
    plain = experiment(text).to_plain()
    assert names_come_first(plain)
    assert yamlfile.dump(plain["optimizer"]).startswith("{name: sgd, lr: 0.01, ")


BARE = "data: digits\nmodel: mlp\n"
CLASSES = "the targets of the data are classes (10)"
MONITOR = "checkpoint.monitor: unknown metric"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"{BARE}loss: mse\n",
            f"3:7: loss: 'mse' needs numbers, {CLASSES}; use loss=cross_entropy, or change data",
        ),
        (
            f"{BARE}checkpoint: {{monitor: val/acc}}\n",
            f"3:23: {MONITOR} 'val/acc'; did you mean 'val/accuracy'?; available: val/accuracy, val/loss",
        ),
        (
            f"{BARE}metrics: [f1]\ncheckpoint: {{monitor: accuracy}}\n",
            f"4:23: {MONITOR} 'accuracy'; available: val/f1, val/loss",
        ),
        (
            "data: {name: digits, val: 0}\nmodel: mlp\ntrain: {early_stopping: {}}\n",
            "3:25: train.early_stopping: early stopping needs validation samples, but data.val is 0",
        ),
        (
            "data: {name: digits, val: 0}\nmodel: mlp\nscheduler: plateau\n",
            "3:12: scheduler: plateau needs validation samples, but data.val is 0",
        ),
    ],
)
def test_sections_that_do_not_fit_each_other(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(text)
    assert caught.value.problems == (f"cfg.yaml:{expected}",)


def test_all_misfits_come_at_once() -> None:
    text = "data: {name: digits, val: 0}\nmodel: mlp\nloss: mse\nmetrics: [mae]\nscheduler: plateau\n"
    with pytest.raises(ConfigError) as caught:
        experiment(text)
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["cfg.yaml:3:7", "loss"],
        ["cfg.yaml:4:10", "metrics"],
        ["cfg.yaml:5:12", "scheduler"],
    ]


@pytest.mark.parametrize(
    ("target", "loss"), [("classification", "cross_entropy"), ("multilabel", "bce_with_logits"), ("regression", "mse")]
)
def test_a_loss_that_is_not_in_the_file_suits_the_data(target: str, loss: str) -> None:
    found = experiment(f"data: {{name: synthetic, target: {target}, size: 2}}\nmodel: mlp\n")
    assert found.to_plain()["loss"]["name"] == loss


def test_statistics_that_do_not_fit_the_pictures_are_an_error_of_the_data() -> None:
    with pytest.raises(DataError) as caught:
        experiment("data: {name: digits, normalize: {mean: [1, 2, 3], std: 1}}\nmodel: mlp\n")
    expected = "cfg.yaml:1:33: data.normalize: mean has 3 values, the images have 1 channel"
    assert caught.value.problems == (expected,)


def test_the_shipped_schema_is_the_one_of_the_code() -> None:
    shipped = json.loads((CONFIGS[0].parent / "trainkit.schema.json").read_text())
    command = [sys.executable, "-m", "trainkit", "schema"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert shipped == printed, "write it anew: trainkit schema > configs/trainkit.schema.json"
