# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from trainkit import merging, validation, yamlfile
from trainkit.config import Config
from trainkit.errors import ConfigError, TrainkitError, did_you_mean
from trainkit.experiment import ExperimentConfig, load, parse
from trainkit.yamlfile import Where

BARE = "data: digits\nmodel: mlp\n"


def told(text: str, *overrides: str) -> list[str]:
    """What is said of a file; the file is only opened when there is something in it."""
    Path("cfg.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Path("cfg.yaml"), overrides)
    return list(caught.value.problems)


def plain(text: str, *overrides: str) -> dict[str, Any]:
    Path("cfg.yaml").write_text(text)
    return load(Path("cfg.yaml"), overrides).to_plain()


ADAM = "known: lr, head_lr, weight_decay, decay_bias_and_norm, betas, eps, amsgrad"
OPTIMIZERS = "known: sgd, adam, adamw, nadam, radam, adamax, rmsprop, adagrad, adadelta, muon"
SECTIONS = "known: name, seed, imports, data, loader, model, loss, metrics, optimizer, scheduler, train, log, checkpoint, sweep"
PRESETS = "mnist, fashion_mnist, cifar10, cifar100, imagenet, half, auto or none or a mapping"
NAME = "name: only letters, digits, . _ - (at most 100), got"
DIGITS = "9" * 60


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # Numbers
        ("optimizer: {lr: fast}", "3:17: optimizer.lr: expected a number, got 'fast'"),
        ("optimizer: {lr: 1e-3x}", "3:17: optimizer.lr: expected a number, got '1e-3x'"),
        ("optimizer: {lr: 10%}", "3:17: optimizer.lr: expected a number, got '10%'"),
        ("optimizer: {lr: '0,1'}", "3:17: optimizer.lr: expected a number, got '0,1'; use a decimal point"),
        ("optimizer: {lr: 0}", "3:17: optimizer.lr: must be > 0, got 0"),
        ("optimizer: {lr: -0.1}", "3:17: optimizer.lr: must be > 0, got -0.1"),
        ("optimizer: {lr: .inf}", "3:17: optimizer.lr: expected a number, got '.inf'; it must be finite"),
        ("optimizer: {lr: 1e400}", "3:17: optimizer.lr: expected a number, got '1e400'; it must be finite"),
        ("optimizer: {lr: .nan}", "3:17: optimizer.lr: expected a number, got '.nan'; it must be finite"),
        ("optimizer: {lr: }", "3:13: optimizer.lr: value is missing"),
        ("optimizer: {lr: null}", "3:17: optimizer.lr: expected a number, got null"),
        ("optimizer: {lr: [0.1]}", "3:17: optimizer.lr: expected a number, got a list"),
        ("optimizer: {lr: '${x}'}", "3:17: optimizer.lr: expected a number, got '${x}'"),
        ('optimizer: {lr: "1e-3"}', '3:17: optimizer.lr: expected a number, got the text "1e-3"; drop the quotes'),
        ("train: {epochs: 1.5}", "3:17: train.epochs: expected a whole number, got 1.5"),
        ("train: {epochs: true}", "3:17: train.epochs: expected a whole number, got true"),
        ("train: {epochs: 1:30}", "3:17: train.epochs: expected a whole number, got '1:30'; write decimal digits only"),
        ("train: {epochs: 0x10}", "3:17: train.epochs: expected a whole number, got '0x10'; write decimal digits only"),
        ("train: {epochs: 1_0}", "3:17: train.epochs: expected a whole number, got '1_0'; write decimal digits only"),
        ("train: {epochs: ١٢}", "3:17: train.epochs: expected a whole number, got '١٢'; write decimal digits only"),
        ("train: {epochs: 010}", "3:17: train.epochs: expected a whole number, got '010'; leading zero: write 10"),
        ("train: {epochs: -05}", "3:17: train.epochs: expected a whole number, got '-05'; leading zero: write -5"),
        ("train: {epochs: -1}", "3:17: train.epochs: must be >= 1, got -1"),
        ("train: {epochs: 0}", "3:17: train.epochs: must be >= 1, got 0"),
        ("train: {epochs: 99999999999999999999}", "3:17: train.epochs: must be <= 1000000, got 99999999999999999999"),
        (
            f"train: {{epochs: {'9' * 5000}}}",
            f"3:17: train.epochs: expected a whole number, got '{DIGITS}…'; it has 5000 digits (limit 20)",
        ),
        ("seed: -1", "3:7: seed: must be >= 0, got -1"),
        (f"seed: {2**64}", "3:7: seed: must be <= 9223372036854775807, got 18446744073709551616"),
        ("loader: {batch_size: 0}", "3:22: loader.batch_size: must be >= 1, got 0"),
        (
            'loader: {batch_size: "32"}',
            '3:22: loader.batch_size: expected a whole number, got the text "32"; drop the quotes',
        ),
        ("loader: {num_workers: -2}", "3:23: loader.num_workers: must be >= 0 or auto, got -2"),
        ("loader: {num_workers: 10000}", "3:23: loader.num_workers: must be <= 64 or auto, got 10000"),
        ("loader: {num_workers: aut}", "3:23: loader.num_workers: expected a whole number or auto, got 'aut'; did you mean 'auto'?"),
        # Booleans, texts and choices
        ("loader: {drop_last: yes}", "3:21: loader.drop_last: expected true or false, got 'yes'"),
        ("loader: {drop_last: on}", "3:21: loader.drop_last: expected true or false, got 'on'"),
        ("loader: {drop_last: 1}", "3:21: loader.drop_last: expected true or false, got 1"),
        ("loader: {drop_last: True}", "3:21: loader.drop_last: expected true or false, got 'True'; did you mean 'true'?"),
        ('loader: {drop_last: "true"}', '3:21: loader.drop_last: expected true or false, got the text "true"; drop the quotes'),
        ("name: a/b", f"3:7: {NAME} 'a/b'"),
        ("name: ../x", f"3:7: {NAME} '../x'"),
        ("name: ..", f"3:7: {NAME} '..'"),
        ('name: "a\\nb"', f"3:7: {NAME} 'a\\nb'"),
        (f"name: {'x' * 300}", f"3:7: {NAME} '{'x' * 100}'"),
        ("name: ${env:HOME}", f"3:7: {NAME} '${{env:HOME}}'"),
        ("name: null", "3:7: name: expected text, got null"),
        ("name:", "3:1: name: value is missing"),
        ("train: {device: cudaa}", "3:17: train.device: expected auto, cpu, cuda, cuda:N or mps, got 'cudaa'"),
        ("train: {precision: fp8}", "3:20: train.precision: expected fp32, bf16 or fp16, got 'fp8'"),
        ("train: {precision: FP16}", "3:20: train.precision: expected fp32, bf16 or fp16, got 'FP16'; did you mean 'fp16'?"),
        ("checkpoint: {mode: maximize}", "3:20: checkpoint.mode: expected min or max, got 'maximize'"),
        # Names of components
        ("optimizer: {name: admw}", "3:19: optimizer.name: unknown optimizer 'admw'; did you mean 'adamw'?"),
        ("optimizer: SGD", "3:12: optimizer.name: unknown optimizer 'SGD'; did you mean 'sgd'?"),
        ("optimizer: ../../evil", f"3:12: optimizer.name: unknown optimizer '../../evil'; {OPTIMIZERS}"),
        ("optimizer: os.system", f"3:12: optimizer.name: unknown optimizer 'os.system'; {OPTIMIZERS}"),
        ("metrics: [acc]", "3:11: metrics[0].name: unknown metric 'acc'; did you mean 'accuracy'?"),
        ("optimizer: {name: 5}", "3:19: optimizer.name: expected text, got 5"),
        ("optimizer: 5", "3:12: optimizer: expected a mapping or a name, got 5"),
        ("optimizer: []", "3:12: optimizer: expected a mapping or a name, got a list"),
        ("optimizer:", "3:1: optimizer: value is missing"),
        ("optimizer:\n  lr:0.1", f"4:3: optimizer.name: unknown optimizer 'lr:0.1'; {OPTIMIZERS}; a space is missing after ':'"),
        # Keys
        ("optimizer: {momentum: 0.9}", f"3:13: optimizer.momentum: unknown key for 'adam'; {ADAM}"),
        ("optimizer: {name: adam, learning_rate: 1}", "3:25: optimizer.learning_rate: unknown key for 'adam'; did you mean 'lr'?"),
        ("optimizer: {1: 2}", f"3:13: optimizer.1: unknown key for 'adam'; {ADAM}"),
        ("loss: {class_path: x.y}", "3:8: loss.class_path: unknown key for 'cross_entropy'; own code comes in through imports"),
        ("train: {num_epochs: 3}", "3:9: train.num_epochs: unknown key; did you mean 'epochs'?"),
        ("train: {batch_size: 3}", "3:9: train.batch_size: unknown key; did you mean 'loader.batch_size'?"),
        ("trian: {}", "3:1: trian: unknown section; did you mean 'train'?"),
        ("epochs: 3", "3:1: epochs: unknown section; did you mean 'train.epochs'?"),
        ("lr: 3", "3:1: lr: unknown section; did you mean 'optimizer.lr'?"),
        ("no: 3", f"3:1: no: unknown section; {SECTIONS}"),
        ("__class__: 3", f"3:1: __class__: unknown section; {SECTIONS}"),
        ("_target_: os.system", "3:1: _target_: unknown section; own code comes in through imports"),
        # Lists and mappings
        ("train: []", "3:8: train: expected a mapping, got a list"),
        ("train: epochs:3", "3:8: train: expected a mapping, got 'epochs:3'; a space is missing after ':'"),
        ("train:", "3:1: train: value is missing"),
        ("metrics: accuracy", "3:10: metrics: expected a list, got 'accuracy'; write [accuracy]"),
        ("optimizer: {betas: 0.9}", "3:20: optimizer.betas: expected a list, got 0.9; write [0.9]"),
        ("optimizer: {betas: [0.9]}", "3:20: optimizer.betas: expected 2 values, got 1"),
        ("optimizer: {betas: []}", "3:20: optimizer.betas: expected 2 values, got 0"),
        ("optimizer: {betas: [0.9, 0.9, 0.9]}", "3:20: optimizer.betas: expected 2 or fewer values, got 3"),
        ("optimizer: {betas: [0.9, 1.0]}", "3:26: optimizer.betas[1]: must be < 1, got 1.0"),
        ("train: {early_stopping: {patience: 0}}", "3:36: train.early_stopping.patience: must be >= 1, got 0"),
        # What validators raise
        ("optimizer: {name: sgd, nesterov: true}", "3:12: optimizer: nesterov needs momentum > 0"),
    ],
)  # fmt: skip
def test_one_wrong_line(line: str, expected: str) -> None:
    assert told(f"{BARE}{line}\n") == [f"cfg.yaml:{expected}"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{name: digits, val: 1.2}", ["1:27: data.val: must be < 1, got 1.2"]),
        ("{name: digits, val: -1}", ["1:27: data.val: must be >= 0, got -1"]),
        ("{name: digits, val: all}", ["1:27: data.val: expected a whole number or a number, got 'all'"]),
        ("{name: digits, normalize: mnst}", [f"1:33: data.normalize: expected {PRESETS}, got 'mnst'; did you mean 'mnist'?"]),
        ("{name: digits, normalize: 5}", [f"1:33: data.normalize: expected {PRESETS}, got 5"]),
        ("{name: digits, normalize: {mean: 0, std: 0}}", ["1:48: data.normalize.std: must be > 0, got 0"]),
        ("{name: digits, normalize: {mean: x}}", ["1:33: data.normalize.std: value is missing", "1:40: data.normalize.mean: expected a number or a list, got 'x'"]),
        ("{name: digits, normalize: {mean: 0, std: [1, -2]}}", ["1:52: data.normalize.std[1]: must be > 0, got -2"]),
        ("{name: digits, normalize: {mean: 0, std: 1, x: 1}}", ["1:51: data.normalize.x: unknown key; known: mean, std"]),
        ("{name: digits, augment: [{name: random_crop, padding: -3}]}", ["1:61: data.augment[0].padding: must be >= 1, got -3"]),
        ("{name: digits, augment: [random_crp, 7]}", ["1:32: data.augment[0].name: unknown transform 'random_crp'; did you mean 'random_crop'?", "1:44: data.augment[1]: expected a mapping or a name, got 7"]),
        ("{name: digits, augment: [random_crop, random_crop]}", ["1:31: data.augment: the same transform twice"]),
        ("5", ["1:7: data: expected a mapping or a name, got 5"]),
    ],
)  # fmt: skip
def test_wrong_data(value: str, expected: list[str]) -> None:
    assert told(f"data: {value}\nmodel: mlp\n") == [f"cfg.yaml:{line}" for line in expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{channels: [8]}", "2:8: model.name: value is missing; known: mlp, cnn"),
        ("{name: }", "2:14: model.name: value is missing; known: mlp, cnn"),
        ("{name: cnn, num_classes: 5}", "2:20: model.num_classes: unknown key for 'cnn'; the number of classes comes from the data"),
        ("{name: cnn, channels: []}", "2:30: model.channels: expected 1 or more values, got 0"),
        ("{name: cnn, _target_: os.system}", "2:20: model._target_: unknown key for 'cnn'; own code comes in through imports"),
    ],
)  # fmt: skip
def test_wrong_model(value: str, expected: str) -> None:
    (line,) = told(f"data: digits\nmodel: {value}\n")
    # Other tests may have registered models of their own.
    assert line.startswith(f"cfg.yaml:{expected}")


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = (
        "trian: {}\ntrain: {epochs: x, precision: fp8}\nmodel: {name: mlp, hiden: 3}\noptimizer: {name: sgd, lr: -1}\n"
    )
    assert told(text, "seed=-1") == [
        "cfg.yaml: data: section is missing",
        "cfg.yaml:1:1: trian: unknown section; did you mean 'train'?",
        "cfg.yaml:2:17: train.epochs: expected a whole number, got 'x'",
        "cfg.yaml:2:31: train.precision: expected fp32, bf16 or fp16, got 'fp8'",
        "cfg.yaml:3:20: model.hiden: unknown key for 'mlp'; did you mean 'hidden'?",
        "cfg.yaml:4:28: optimizer.lr: must be > 0, got -1",
        "command line: seed: must be >= 0, got -1",
    ]


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("name: no", "name", "no"),
        ("name: 2024-13-45", "name", "2024-13-45"),
        ("name: run #1", "name", "run"),
        ("name: 2024", "name", "2024"),
        ("name: 1.50", "name", "1.50"),
        ("name: true", "name", "true"),
        ("train: {epochs: 3, max_steps: 5}", "train.max_steps", 5),
        ("optimizer: {lr: 1e-3}", "optimizer.name", "adam"),
        ("optimizer: {lr: 1}", "optimizer.lr", 1.0),
        ("loss: {label_smoothing: 0.1}", "loss.name", "cross_entropy"),
    ],
)
def test_what_is_accepted(line: str, key: str, value: object) -> None:
    found: Any = plain(f"{BARE}{line}\n")
    for part in key.split("."):
        found = found[part]
    assert (type(found), found) == (type(value), value)


MANY = "; several values are for trainkit sweep"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer.lr"], ["expected key=value, got 'optimizer.lr'"]),
        (["=1"], ["empty key in '=1'"]),
        (["optimizer..lr=1"], ["empty key in 'optimizer..lr=1'"]),
        (["name="], ["name: value is missing"]),
        (["name= "], ["name: value is missing"]),
        (["optimizer.lr=0.1", "optimizer.lr=0.2"], ["optimizer.lr given twice (0.1, 0.2)"]),
        (["metrics.0=f1", "metrics[0]=mae"], ["metrics[0] given twice (f1, mae)"]),
        (["seed=!!python/object:x 1"], ["seed: YAML tags are not allowed (!!python/object:x)"]),
        (["optimizer.lr=[1"], ["optimizer.lr: list opened at 1:1 is not closed"]),
        (["=", "a", "seed=*x"], ["empty key in '='", "expected key=value, got 'a'", "seed: anchors and aliases are not supported; use extends"]),
        ([f"{'a.' * 1000}b=1"], ["nested deeper than 32"]),
        (["optimizer.lr=abc"], ["optimizer.lr: expected a number, got 'abc'"]),
        (["optimizer.lrr=1"], ["optimizer.lrr: unknown key for 'adam'; did you mean 'lr'?"]),
        (["optimizerr.lr=1"], ["optimizerr: unknown section; did you mean 'optimizer'?"]),
        (["lr=1"], ["lr: unknown section; did you mean 'optimizer.lr'?"]),
        (["optimizer.lr.x=1"], ["optimizer.lr: expected a number, got a mapping"]),
        (["name=$(rm)"], [f"{NAME} '$(rm)'"]),
        (["name=#5"], [f"{NAME} '#5'"]),
        (["optimizer={name: sgd, lr: x}"], ["optimizer.lr: expected a number, got 'x'"]),
        (["optimizer.lr=1e-1,1e-2"], [f"optimizer.lr: expected a number, got '1e-1,1e-2'{MANY}"]),
        (["train.precision=fp32,bf16"], [f"train.precision: expected fp32, bf16 or fp16, got 'fp32,bf16'{MANY}"]),
        (["optimizer=rmsprop,adagrad"], [f"optimizer.name: unknown optimizer 'rmsprop,adagrad'; did you mean 'rmsprop'?{MANY}"]),
        (["name=a,b"], [f"{NAME} 'a,b'{MANY}"]),
        (["model.hidden=8,9"], ["model.hidden: expected a list, got '8,9'; write [8,9]"]),
        (["model.hidden=[8,x]"], ["model.hidden[1]: expected a whole number, got 'x'"]),
    ],
)  # fmt: skip
def test_wrong_overrides(overrides: list[str], expected: list[str]) -> None:
    assert told(BARE, *overrides) == [f"command line: {problem}" for problem in expected]


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
    assert told(FULL, "data.normalize.mean=0.5") == ["command line: data.normalize.std: value is missing"]


def test_there_is_no_item_beyond_the_list() -> None:
    assert told(FULL, "optimizer.betas.2=0.5") == ["command line: optimizer.betas: expected a list, got a mapping"]


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
    ("text", "expected"),
    [
        ("extends: nope.yaml\n", ["nope.yaml: no such file (extended by cfg.yaml:1:10)"]),
        ("extends: bas.yaml\n", ["bas.yaml: no such file; did you mean base.yaml? (extended by cfg.yaml:1:10)"]),
        ("extends: [a]\n", ["cfg.yaml:1:10: extends: expected one path"]),
        ("extends:\n", ["cfg.yaml:1:9: extends: expected one path"]),
        ("extends: .\n", [".: is a directory (extended by cfg.yaml:1:10)"]),
        ("extends: cfg.yaml\n", ["cfg.yaml:1:10: extends: circle: cfg.yaml -> cfg.yaml"]),
        ("extends: a.yaml\n", ["b.yaml:1:10: extends: circle: cfg.yaml -> a.yaml -> b.yaml -> a.yaml"]),
        ("extends: broken.yaml\n", ["broken.yaml:2:1: list opened at 1:7 is not closed (extended by cfg.yaml:1:10)"]),
        ("extends: other.yaml\n", ["cfg.yaml: model: section is missing"]),
        (
            "extends: base.yaml\ntrain: {epochs: x}\n",
            [
                "cfg.yaml:2:17: train.epochs: expected a whole number, got 'x'",
                "base.yaml:3:17: optimizer.lr: expected a number, got 'fast' (extended by cfg.yaml)",
            ],
        ),
    ],
)
def test_parents_that_are_wrong(text: str, expected: list[str]) -> None:
    write(
        base=f"{BARE}optimizer: {{lr: fast}}\n",
        other="data: digits\n",
        broken="data: [\n",
        a="extends: b.yaml\n",
        b="extends: a.yaml\n",
    )
    assert told(text) == expected


def test_a_stored_config_names_its_checkpoint() -> None:
    node = yamlfile.from_plain({"data": "digits", "model": "mlp", "seed": -1}, Where("last.pt"))
    with pytest.raises(ConfigError) as caught:
        parse(node, beside=None)
    assert caught.value.problems == ("last.pt: seed: must be >= 0, got -1",)


KEYS = """
    name seed data data.val data.normalize data.normalize.mean model model.hidden model.hidden.0 imports metrics
    metrics.0.name optimizer optimizer.name optimizer.lr train train.early_stopping extends a.b.c [
"""
PIECES = [*"01.,-+e[]{}: '\"#&*!|~\n\t\x00\udc00", "null", "true", "mlp", "sgd", "lr: ", "name: ", "json"]
keys = st.sampled_from(["", *KEYS.split()])
words = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.lists(st.tuples(keys, words).map("=".join) | st.text(), max_size=4))
def test_only_trainkit_errors_leave_the_overrides(overrides: list[str]) -> None:
    base = yamlfile.parse(BARE, Where("cfg.yaml", 1, 1))
    assert base is not None
    try:
        experiment = parse(merging.override(base, overrides), beside=None)
    except TrainkitError:
        return
    assert ExperimentConfig.from_plain(experiment.to_plain()) == experiment


class Inner(Config):
    """For tests of what no shipped config has."""

    size: int = Field(1, multiple_of=2)
    code: str = Field("aa", pattern="^[a-z]+$", max_length=3)
    pair: tuple[int, int] | int = 0


class Outer(Config):
    """For tests of what no shipped config has."""

    kind: Literal["x"] = "x"
    parts: dict[str, Inner] = {}
    several: tuple[Annotated[Inner, "documented"], ...] = ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("several: [{size: 3}]", "1:18: several[0].size: expected a multiple of 2, got 3"),
        ("several: [{}, {sice: 3}]", "1:16: several[1].sice: unknown key; did you mean 'size'?"),
        ("parts: {a: {code: A1}}", "1:19: parts.a.code: expected text that matches ^[a-z]+$, got 'A1'"),
        ("parts: {a: {code: abcd}}", "1:19: parts.a.code: expected at most 3 characters, got 'abcd'"),
        ("parts: {a: {cod: 1}}", "1:13: parts.a.cod: unknown key; did you mean 'code'?"),
        ("parts: {a: {pair: [1]}}", "1:19: parts.a.pair: expected 2 values, got 1"),
        ("parts: {a: {pair: [1, x]}}", "1:23: parts.a.pair[1]: expected a whole number, got 'x'"),
        ("parts: {a: {pair: x}}", "1:19: parts.a.pair: expected a list or a whole number, got 'x'"),
    ],
)
def test_configs_of_other_shapes(text: str, expected: str) -> None:
    node = yamlfile.parse(text, Where("cfg.yaml", 1, 1))
    assert node is not None
    with pytest.raises(ConfigError) as caught:
        validation.validate(Outer, node)
    assert caught.value.problems == (f"cfg.yaml:{expected}",)


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Inner().size = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("admw", ["adam", "adamw"], "adamw"),
        ("Adam", ["sgd", "adam"], "adam"),
        ("learning_rate", ["momentum", "lr"], "lr"),
        ("num_epochs", ["epochs"], "epochs"),
        ("epochs", ["train.epochs"], "train.epochs"),
        ("acc", ["loss", "accuracy"], "accuracy"),
        ("--quite", ["--quiet"], "--quiet"),
        ("xyz", ["adam"], None),
        ("", ["adam"], None),
    ],
)
def test_the_nearest_name(wrong: str, known: list[str], expected: str | None) -> None:
    assert did_you_mean(wrong, known) == (f"; did you mean {expected!r}?" if expected else "")
