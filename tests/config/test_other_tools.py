"""What the words of other tools are told to be here: that the table is true, and what a user sees of it."""
# ruff: noqa: E501  # in a table, a row is a line

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import warm
from trainkit.config import merging, other_words, registry, yamlfile
from trainkit.config.base import Config
from trainkit.config.other_tools import hint_for_flag, hint_for_key, hint_for_value
from trainkit.core.errors import ConfigError
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import EarlyStoppingConfig, ExperimentConfig

ITEMS = {"model.layers": "layer", "data.augment": "transform"}
"""Lists of components, with their family."""


def keys_of(section: str) -> set[str]:
    """Every key that a section can have."""
    if section == "":
        return {*ExperimentConfig.model_fields, "extends"}
    if section == "train.early_stopping":
        return set(EarlyStoppingConfig.model_fields)
    family = ITEMS.get(section, section)
    if family in registry.FAMILIES:
        return {key for name in registry.names(family) for key in registry.find(family, name).model_fields}
    default = ExperimentConfig.model_fields[section].default
    assert isinstance(default, Config)
    return set(type(default).model_fields)


def test_every_key_exists() -> None:
    for answer in other_words.KEYS:
        key, _, value = answer.partition("=")
        section, _, last = key.partition(",")[0].rpartition(".")
        assert last in keys_of(section), answer
        if key in registry.FAMILIES and value:
            assert value in registry.names(key)
        for name in re.findall(r"\[(?:\{name: )?(\w+)", value):
            assert name in registry.names("transform")


def choices() -> set[str]:
    """Every word that is a value somewhere: names of components, and those of the JSON Schema."""
    found = {name for family in registry.FAMILIES for name in registry.names(family)}

    def walk(schema: object) -> None:
        if isinstance(schema, dict):
            found.update(word for word in schema.get("enum", ()) if isinstance(word, str))
            found.update(word for word in [schema.get("const")] if isinstance(word, str))
        for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
            walk(inner)

    walk(ExperimentConfig.model_json_schema())
    return found | {"cpu", "cuda", "mps"} | {f"val/{name}" for name in ["loss", *registry.names("metric")]}


def test_every_value_exists() -> None:
    assert other_words.VALUES.keys() - choices() == set()
    assert other_words.ARCHITECTURES.keys() <= set(registry.names("model"))


def test_what_is_said_instead_names_what_there_is() -> None:
    for text in other_words.NONE:
        for section, key in re.findall(
            r"\b(train|loader|optimizer|scheduler|loss|checkpoint|log|data|model)\.(\w+)", text
        ):
            assert key in keys_of(section) | {"name", "collate"}, text  # collate: of users' own data sets
        for command in re.findall(r"trainkit (\w[\w-]*)", text):
            assert command in ("train", "eval", "predict", "summary", "lr-find", "sweep", "list", "report")


def test_words_are_many_and_none_is_ours_in_its_place() -> None:
    words = {
        word
        for table in (other_words.KEYS, other_words.VALUES, other_words.NONE)
        for line in table.values()
        for word in line.split()
    }
    assert len(words) > 2000
    for answer, line in other_words.KEYS.items():
        section = answer.partition("=")[0].rpartition(".")[0]
        own = keys_of(section) if section not in registry.FAMILIES and section not in ITEMS else set()
        assert not own & set(line.split()), answer


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        # Hugging Face
        ("train.num_train_epochs=3", "train.num_train_epochs: unknown key; did you mean 'epochs'?"),
        ("per_device_train_batch_size=8", "per_device_train_batch_size: unknown section; did you mean 'loader.batch_size'?"),
        ("optimizer=adamw_torch", "optimizer.name: unknown optimizer 'adamw_torch'; did you mean 'adamw'?"),
        ("train.warmup_ratio=0.1", "train.warmup_ratio: unknown key; did you mean 'scheduler.warmup_steps', in steps?"),
        ("train.load_best_model_at_end=true", "train.load_best_model_at_end: unknown key; the best checkpoint is always kept, as checkpoints/best.pt"),
        # Lightning
        ("trainer={max_epochs: 3, accelerator: gpu}", "trainer: unknown section; did you mean 'train'?; max_epochs is train.epochs; accelerator is train.device"),
        ("callbacks=[EarlyStopping, ModelCheckpoint]", "callbacks: unknown section; no callbacks: see checkpoint, train.early_stopping, train.ema and log.sinks; EarlyStopping is train.early_stopping; ModelCheckpoint is checkpoint"),
        ("train.precision=16-mixed", "train.precision: expected auto, fp32, tf32, bf16 or fp16, got '16-mixed'; did you mean 'fp16'?"),
        ("train.precision=16", "train.precision: expected auto, fp32, tf32, bf16 or fp16, got 16; did you mean 'fp16'?"),
        ("train.device=gpu", "train.device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'; did you mean 'cuda'?"),
        # Keras
        ("loss=SparseCategoricalCrossentropy", "loss.name: unknown loss 'SparseCategoricalCrossentropy'; did you mean 'cross_entropy'?"),
        ("model.units=64", "model.units: unknown key for 'mlp'; did you mean 'hidden'?"),
        # scikit-learn
        ("model.hidden_layer_sizes=[64]", "model.hidden_layer_sizes: unknown key for 'mlp'; did you mean 'hidden'?"),
        ("optimizer.nesterovs_momentum=true", "optimizer.nesterovs_momentum: unknown key for 'adam'; did you mean 'nesterov', of sgd, muon?"),
        # Ultralytics, timm, fastai
        ("data.imgsz=64", "data.imgsz: unknown key for 'digits'; did you mean 'size'?"),
        ("model=resnet50", "model.name: unknown model 'resnet50'; write name: torchvision, arch: resnet50"),
        ("scheduler=fit_one_cycle", "scheduler.name: unknown scheduler 'fit_one_cycle'; did you mean 'one_cycle'?"),
        # Hydra, MMEngine, Ludwig
        ("optimizer={_target_: torch.optim.AdamW}", "optimizer._target_: unknown key for 'adam'; write name: adamw"),
        ("model={type: MLP}", "model.name: value is missing, and 'type' is unknown; write name: mlp"),
        ("loss={type: mine}", "loss.type: unknown key for 'cross_entropy'; did you mean 'name'?"),
        # Detectron2, PaddlePaddle
        ("scheduler.STEPS=[3]", "scheduler.STEPS: unknown key for 'constant'; did you mean 'milestones', of multistep?"),
        ("scheduler.LR_SCHEDULER_NAME=WarmupCosineLR", "scheduler.LR_SCHEDULER_NAME: unknown key for 'constant'; did you mean 'name'?"),
        ("train.precision=O1", "train.precision: expected auto, fp32, tf32, bf16 or fp16, got 'O1'; did you mean 'fp16'?"),
        ("scheduler=LinearWarmup", "scheduler.name: unknown scheduler 'LinearWarmup'; every scheduler can warm up: scheduler.warmup_steps"),
        # Of another component, or of another kind
        ("optimizer={name: sgd, betas: [0.9, 0.99]}", "optimizer.betas: unknown key for 'sgd'; it is a key of adam, adamw, nadam, radam"),
        ("scheduler={name: cosine, gamma: 0.1}", "scheduler.gamma: unknown key for 'cosine'; it is a key of step, multistep, exponential"),
        ("optimizer={name: sgd, alpha: 0.9}", "optimizer.alpha: unknown key for 'sgd'; did you mean 'weight_decay'?"),
        ("train.early_stopping=true", "train.early_stopping: expected a mapping, got true; write {patience: 5}"),
        ("train.early_stopping=3", "train.early_stopping: expected a mapping, got 3; write {patience: 5}"),
        ("train.early_stopping=false", "train.early_stopping: expected a mapping, got false; leave it out"),
        ("sweep=true", "sweep: expected a mapping, got true; write {axes: …}"),
        # Near, or not
        ("optimizer.rate=0.1", "optimizer.rate: unknown key for 'adam'; did you mean 'lr'?"),
        ("checkpoint.monitor=valid_loss", "checkpoint.monitor: unknown metric 'valid_loss'; did you mean 'val/loss'?; available: val/accuracy, val/loss"),
        ("pretrained_=x", "pretrained_: unknown section; did you mean 'model.weights'?"),
        ("optimizer=qqq", "optimizer.name: unknown optimizer 'qqq'; known: sgd, adam, adamw, nadam, radam, adamax, rmsprop, adagrad, adadelta, muon"),
    ],
)  # fmt: skip
def test_a_word_of_another_tool(typed: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "cfg.yaml").write_text(
        "data: digits\n" if typed.startswith("model={") else "data: digits\nmodel: mlp\n"
    )
    ended = warm.run(["train", "cfg.yaml", typed], tmp_path)
    assert (ended.code, ended.stderr) == (2, f"error: command line: {expected}\n")


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--epochs", "3", "overrides are written train.epochs=3"),
        ("--lr", "0.1", "overrides are written optimizer.lr=0.1"),
        ("--gpus", "1", "overrides are written train.device=cuda"),
        ("--trainer.max_epochs", "3", "overrides are written train.epochs=3"),
        ("--optimizer", "AdamW", "overrides are written optimizer=adamw"),
        ("--fp16", None, "overrides are written train.precision=fp16"),
        ("--cache", None, "overrides are written data.cache=…"),
        ("-b", "64", "overrides are written loader.batch_size=64"),
        ("-e", "3", "overrides are written train.epochs=3"),
        ("-lr", "0.1", "overrides are written optimizer.lr=0.1"),
        ("--no-amp", None, "overrides are written train.precision=fp32"),
        ("--disable-amp", None, "overrides are written train.precision=fp32"),
        ("--no-ema", None, "overrides are written train.ema=null"),
        ("--no-pretrained", None, "overrides are written model.weights=none"),
        ("--no-shuffle", None, "training samples are shuffled, the others never are; loader.sampler has other orders"),
        ("--data_dir", "my data", "overrides are written data.path='my data'"),
        ("--output_dir", "x", "runs go to runs/<name>/; --run-dir DIR names another place"),
    ],
)  # fmt: skip
def test_a_flag_of_another_tool(flag: str, value: str | None, expected: str) -> None:
    assert hint_for_flag(flag, value) == f"; {expected}"


@pytest.mark.parametrize("words", [["--epochs", "3"], ["--epochs=3"]])
def test_a_flag_is_told_as_an_override(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "cfg.yaml").write_text("data: digits\nmodel: mlp\n")
    ended = warm.run(["train", "cfg.yaml", *words], tmp_path)
    told = "error: command line: no option '--epochs'; overrides are written train.epochs=3\n"
    assert (ended.code, ended.stderr) == (2, told)


def test_what_is_off_is_a_key() -> None:
    for key in (*other_words.OFF, *other_words.SHORT_FLAGS):
        section, _, last = key.rpartition(".")
        assert last in keys_of(section), key


def test_a_short_flag_is_told_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "cfg.yaml").write_text("data: digits\nmodel: mlp\n")
    ended = warm.run(["train", "cfg.yaml", "-lr", "0.1"], tmp_path)
    told = "error: command line: no option '-lr'; overrides are written optimizer.lr=0.1\n"
    assert (ended.code, ended.stderr) == (2, told)


WORDS = Path(__file__).with_name("words_of_two_tools.txt")
"""Of Detectron2 and PaddlePaddle, listed with what their answers must name before any of them was in the table; 66 %
were answered then."""


def test_the_words_of_two_more_tools_are_answered() -> None:
    lines = [line for line in WORDS.read_text().splitlines() if not line.startswith("#")]
    node = yamlfile.from_plain({"data": "digits", "model": "mlp"}, yamlfile.Where("cfg"))
    wrong = []
    for line in lines:
        typed, _, names = line.partition(" | ")
        with pytest.raises(ConfigError) as error:
            parse(merging.override(node, [typed]), beside=None)
        answer = error.value.problems[0].partition("; known:")[0].partition(": ")[2].partition(": ")[2]
        if not (";" in answer or "expected" in answer) or not re.search(names, answer.partition(";")[2] or answer):
            wrong.append(line)
    assert len(wrong) <= 0.05 * len(lines), wrong


@pytest.mark.parametrize("word", ["", "x", "1", "???", "zzz_size", "my_path", "a-b-c"])
def test_words_that_are_like_nothing(word: str) -> None:
    for loosely in (False, True):
        assert hint_for_key(word, "", lambda key: True, loosely=loosely) == ""
        assert hint_for_value(word, ["adam", "sgd"], loosely=loosely) == ""


def test_the_table_is_read_when_there_is_an_error() -> None:
    program = "import sys, trainkit.cli.main, trainkit.experiment.loading; sys.exit('trainkit.config.other_words' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
