"""No command imports what it does not need: seconds, which nobody would notice in tests whose modules are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.command import ROOT

HEAVY = {
    "jinja2", "matplotlib", "networkx", "optuna", "pandas", "pyarrow", "scipy", "sklearn", "sqlalchemy", "sympy",
    "tensorboard.backend.application", "timm", "torch._dynamo.eval_frame", "torch._inductor", "torchmetrics",
    "torchvision", "werkzeug",
}  # fmt: skip
WITHOUT_TORCH = HEAVY | {"numpy", "PIL", "pydantic", "tensorboard", "torch"}
WITHOUT_CURVES = HEAVY | {"tensorboard"}

# One process that has torch already, and for each command a fork of it.
COMMANDS = """
import contextlib, io, json, os, sys
from trainkit.cli.main import main

def modules(words):
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        sys.argv[1:] = words
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                main()
            except SystemExit as ended:
                with open(writing, "w") as pipe:
                    json.dump([ended.code, sorted(sys.modules)], pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        return json.load(pipe)

first, second = json.loads(sys.argv[1])
found = [modules(words) for words in first]
import torch
print(json.dumps(found + [modules(words) for words in second]))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The modules that each command has imported when it ends."""
    place = tmp_path_factory.mktemp("start")
    Image.new("L", (28, 28)).save(place / "one.png")
    config, best = str(ROOT / "configs" / "smoke.yaml"), "run/checkpoints/best.pt"
    without_torch = [["--help"], ["runs", "."]]
    with_torch = [
        ["train", config, "train.epochs=1", "--run-dir", "run", "--quiet"],
        ["check", config],
        ["eval", "--ckpt", best],
        ["predict", "--ckpt", best, "one.png"],
    ]
    words = json.dumps([without_torch, with_torch])
    found = subprocess.run([sys.executable, "-c", COMMANDS, words], cwd=place, check=True, stdout=subprocess.PIPE)
    ended = json.loads(found.stdout)
    assert [code or 0 for code, _ in ended] == [0] * 6
    names = [command[0] for command in without_torch + with_torch]
    return {name: set(modules) for name, (_, modules) in zip(names, ended, strict=True)}


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("--help", WITHOUT_TORCH),
        ("runs", WITHOUT_TORCH - {"pydantic"}),
        ("train", HEAVY),
        ("check", WITHOUT_CURVES),
        ("eval", WITHOUT_CURVES),
        ("predict", WITHOUT_CURVES),
    ],
)
def test_imports_nothing_in_vain(imported: dict[str, set[str]], command: str, unwanted: set[str]) -> None:
    assert imported[command] & unwanted == set()


OWN_MODEL = """
import torch
from torch import Tensor, nn

from trainkit import register_model


@register_model("compiled")
class Compiled(nn.Module):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_features, num_classes)
        self.compiled = torch.compile(self._forward, backend="eager")

    @torch.compiler.disable
    def _seen(self, inputs: Tensor) -> Tensor:
        assert not torch.compiler.is_compiling()
        return inputs.flatten(1)

    def _forward(self, inputs: Tensor) -> Tensor:
        return self.head(self._seen(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.compiled(inputs)
"""


def test_a_model_that_compiles_itself(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(OWN_MODEL)
    config = "{imports: [nets], data: digits, model: compiled, train: {max_steps: 3, device: cpu}}"
    (tmp_path / "own.yaml").write_text(config)
    command = [sys.executable, "-m", "trainkit", "train", "own.yaml", "--quiet"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, f"imports nets ({tmp_path / 'nets.py'})\n")
