"""Values from a file, its parents and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainkit.config import merging
from trainkit.core.errors import ConfigError
from trainkit.experiment.loading import load


def plain(text: str, *overrides: str) -> dict[str, Any]:
    Path("cfg.yaml").write_text(text)
    return load(Path("cfg.yaml"), overrides).to_plain()


FULL = """\
name: full
data: {name: mnist, augment: [random_crop, {name: random_horizontal_flip, p: 0.1}]}
model: {name: cnn, channels: [4]}
optimizer: {name: adam, lr: 0.5, betas: [0.8, 0.9]}
loss: cross_entropy
train: {early_stopping: {patience: 3}, max_steps: 7}
"""
DECAY_PLAIN = {"head_lr": None, "weight_decay": 0.0, "decay_bias_and_norm": True}
ADAM_PLAIN = {"name": "adam", "lr": 0.5, **DECAY_PLAIN, "betas": [0.8, 0.9], "eps": 1e-8, "amsgrad": False}
SGD_PLAIN = {"name": "sgd", "lr": 0.01, **DECAY_PLAIN, "momentum": 0.0, "nesterov": False}


@pytest.mark.parametrize(
    ("overrides", "key", "value"),
    [
        (["train.early_stopping=null"], "train.early_stopping", None),
        (["train.max_steps=null"], "train.max_steps", None),
        (["train.early_stopping.patience=4"], "train.early_stopping", {"patience": 4, "min_delta": 0.0}),
        (["model.channels=[8,16]"], "model.channels", [8, 16]),
        (["name=other"], "model.channels", [4]),
        (["name=2024"], "name", "2024"),
        # A preset's name goes when its parts are given.
        (["data.normalize.mean=0.5", "data.normalize.std=0.2"], "data.normalize", {"mean": 0.5, "std": 0.2}),
        # A new name drops the old keys, and the order of the overrides is of no consequence.
        (["optimizer=sgd"], "optimizer", SGD_PLAIN),
        (["optimizer.name=sgd"], "optimizer", SGD_PLAIN),
        (["optimizer={name: sgd}"], "optimizer", SGD_PLAIN),
        (["optimizer.lr=0.7", "optimizer=sgd"], "optimizer", SGD_PLAIN | {"lr": 0.7}),
        (["optimizer.momentum=0.9", "optimizer.name=sgd"], "optimizer", SGD_PLAIN | {"momentum": 0.9}),
        (["optimizer=adam"], "optimizer", ADAM_PLAIN),
        (["optimizer={lr: 1.0}"], "optimizer", ADAM_PLAIN | {"lr": 1.0}),
        # A name is short for a mapping with nothing else.
        (["loss.label_smoothing=0.1"], "loss", {"name": "cross_entropy", "label_smoothing": 0.1, "weight": None}),
        (["metrics=[accuracy,f1]"], "metrics.1.name", "f1"),
        (["metrics=[{name: accuracy, top_k: 2}]", "metrics.0.top_k=3"], "metrics.0.top_k", 3),
        (["data.augment.0.padding=2"], "data.augment.0.padding", 2),
        (["data.augment[1].p=0.3"], "data.augment.1", {"name": "random_horizontal_flip", "p": 0.3}),
        (["optimizer.betas.0=0.5"], "optimizer.betas", [0.5, 0.9]),
    ],
)  # fmt: skip
def test_overrides(overrides: list[str], key: str, value: object) -> None:
    found: Any = plain(FULL, *overrides)
    for part in key.split("."):
        found = found[int(part)] if part.isdecimal() else found[part]
    assert found == value


def test_a_preset_in_parts_needs_all_of_them() -> None:
    with pytest.raises(ConfigError, match=r"^command line: data\.normalize\.std: value is missing$"):
        plain(FULL, "data.normalize.mean=0.5")


def test_there_is_no_item_beyond_the_list() -> None:
    with pytest.raises(ConfigError, match=r"^command line: optimizer\.betas: expected a list, got a mapping$"):
        plain(FULL, "optimizer.betas.2=0.5")


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/")).with_suffix(".yaml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_file_extends_its_parents_relative_to_itself() -> None:
    write(base=FULL, sub__middle="extends: ../base.yaml\nname: middle\nmodel: mlp\noptimizer: {lr: 0.25}\n")
    found = plain("extends: sub/middle.yaml\noptimizer: {eps: 1.0}\nloss: {label_smoothing: 0.5}\n")
    assert found["name"] == "middle"
    assert found["model"]["name"] == "mlp"
    assert found["optimizer"] == ADAM_PLAIN | {"lr": 0.25, "eps": 1.0}
    assert found["loss"]["label_smoothing"] == 0.5
    assert plain("extends: base.yaml\noptimizer: {name: sgd}\n")["optimizer"] == SGD_PLAIN


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("cats.yaml", "seed: 1", "cats"),
        ("my cats (2).yaml", "seed: 1", "my-cats-2-"),
        ("cats.yaml", "name: dogs", "dogs"),
        ("child.yaml", "extends: parent.yaml", "pets"),
        ("child.yaml", "extends: nameless.yaml", "child"),
    ],
)
def test_a_config_without_a_name_has_that_of_its_file(file: str, text: str, name: str) -> None:
    Path("parent.yaml").write_text("name: pets")
    Path("nameless.yaml").write_text("seed: 2")
    Path(file).write_text(text)
    assert merging.read(Path(file)).plain()["name"] == name
