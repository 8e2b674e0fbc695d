"""What is printed to be typed works when it is typed, whatever the names of files and columns are."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import printed
from tests.command import Ended, warm
from trainkit.config import merging, yamlfile
from trainkit.config.shell import command, homes, typed

ODD = "it's my [first] $HOME run; #1"

NET = """
from torch import nn
from trainkit import register_model

@register_model("net")
class Net(nn.Module):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, num_classes))

    def forward(self, inputs):
        return self.layers(inputs)
"""
CONFIG = """
imports: [net]
data: {name: digits, val: 100}
model: net
train: {epochs: 1, limit_batches: 4, eval_every: 2}
log: {tensorboard: false}
sweep: {axes: {seed: [0]}}
"""


@pytest.fixture
def config() -> str:
    folder = Path('experiments of "mine"')
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "job.yaml").write_text(CONFIG)
    return str(folder / "job.yaml")


def trainkit(*words: str, failpoints: str = "") -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAILPOINTS", failpoints)
        return warm.run(words)


def typed_again(said: str, *, expected: int) -> None:
    lines = printed.commands(said)
    assert len(lines) == expected, said
    for line in lines:
        assert printed.run(line).code == 0, line


def test_after_a_run(config: str) -> None:
    ended = trainkit("train", config, "--run-dir", ODD, "log.tensorboard=true", "log.pictures=false")
    assert ended.code == 0, ended
    typed_again(ended.stdout, expected=3)
    typed_again(Path(ODD, "config.yaml").read_text(), expected=1)


def test_after_a_run_that_ended_early(config: str) -> None:
    ended = trainkit("train", config, "--run-dir", ODD, failpoints="step.after_optimizer=int@3")
    assert ended.code == 130, ended
    typed_again(ended.stderr, expected=1)


def test_where_nothing_was_saved(config: str) -> None:
    assert trainkit("train", config, "--run-dir", ODD, failpoints="step.after_optimizer=kill@1").code == -9
    ended = trainkit("train", "--resume", ODD)
    assert "no checkpoint yet; start anew: " in ended.stderr
    typed_again(ended.stderr, expected=1)
    moved = Path(ODD).rename("moved")
    assert trainkit("train", "--resume", str(moved)).stderr.endswith(": trainkit train moved/config.yaml\n")


def test_where_a_checkpoint_is_damaged(config: str) -> None:
    assert trainkit("train", config, "--run-dir", ODD).code == 0
    last = Path(ODD, "checkpoints/last.pt")
    last.unlink()  # it may be the same file as best.pt
    last.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(config).parent))
        ended = trainkit("train", "--resume", ODD)
        assert ", is whole: " in ended.stderr
        typed_again(ended.stderr, expected=1)


def test_after_a_sweep(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_RUNS_DIR", ODD)
    ended = trainkit("sweep", config, failpoints="fork=")
    assert ended.code == 0, ended
    typed_again(ended.stdout, expected=2)
    [sweep] = Path(ODD).glob("*/*-sweep")
    typed_again((sweep / "sweep.yaml").read_text().replace("trainkit sweep", "trainkit check"), expected=1)
    ended = trainkit("sweep", "--resume", str(sweep), failpoints="fork=")
    typed_again(ended.stdout, expected=2)
    (sweep / "sweep.json").unlink()
    said = trainkit("sweep", "--resume", str(sweep)).stderr
    assert printed.commands(said) == printed.commands((sweep / "sweep.yaml").read_text())


def test_weights_that_are_no_checkpoint() -> None:
    torch.save({"1.weight": torch.zeros(10, 64), "1.bias": torch.zeros(10)}, f"{ODD}.pt")
    Path("job.yaml").write_text("data: digits\nmodel: {name: mlp, hidden: []}\n")
    [said] = printed.settings(trainkit("eval", "--ckpt", f"{ODD}.pt").stderr)
    ended = printed.run(f"trainkit train job.yaml train.max_steps=1 log.tensorboard=false {said}")
    assert "model.weights" not in ended.stderr or f"{ODD}.pt" in ended.stderr


def test_the_option_that_is_missing() -> None:
    said = trainkit("eval", "the best.pt").stderr
    assert said == "error: command line: --ckpt FILE is missing; write --ckpt 'the best.pt'\n"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "data.x=a"),
        ("../my data/a.csv", "'data.x=\"../my data/a.csv\"'"),
        ("../data/a-1.csv", "data.x=../data/a-1.csv"),
        ("it's", "'data.x=\"it'\"'\"'s\"'"),
        ("true", "'data.x=\"true\"'"),
        ("1e-3", "'data.x=\"1e-3\"'"),
        ("~", "'data.x=\"~\"'"),
        (0.25, "data.x=0.25"),
        (None, "data.x=null"),
        (True, "data.x=true"),
        ([1, "a, b"], "'data.x=[1, \"a, b\"]'"),
        ({"a b": {"kind": "date"}}, "'data.x={\"a b\": {kind: date}}'"),
    ],
)
def test_a_value(value: Any, expected: str) -> None:
    """A shell and the config read it back as it is."""
    assert typed("data.x", value) == expected
    [_, *words] = printed.words(f"trainkit {expected}")
    node = merging.override(yamlfile.from_plain({}, yamlfile.COMMAND_LINE), words[1:])
    assert node.plain() == {"data": {"x": value}}
    assert printed.settings(f"use {expected} or more") == [expected]


def test_a_command() -> None:
    assert command("trainkit", "eval", Path("a/b.pt"), 3) == "trainkit eval a/b.pt 3"
    assert command("trainkit", ODD) == f"trainkit {shlex.quote(ODD)}"
    here = [Path(), Path("a"), Path("a"), Path.cwd() / "b c"]
    assert command("trainkit", modules_in=here) == f"PYTHONPATH='a{os.pathsep}b c' trainkit"


def test_where_modules_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("lib")
    for name in ("lib/alone.py", "lib/package/__init__.py", "lib/package/inner.py", "lib/folder/inner.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for module in ("alone", "package.inner", "folder.inner"):
        assert [home.resolve() for home in homes([module])] == [Path("lib").resolve()], module
    assert homes(["torch", "missing", "sys", "__main__"]) == []
