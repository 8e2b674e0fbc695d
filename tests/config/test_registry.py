# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from trainkit import ExperimentConfig, load, register
from trainkit.config import registry
from trainkit.config.base import Config
from trainkit.core.errors import ConfigError

USER_CODE = '''
import math
from typing import Literal

from torch import nn
from trainkit import DataSpec, ModelConfig, register, register_model


@register("model")
class LinearConfig(ModelConfig):
    """One layer."""

    name: Literal["user_linear"] = "user_linear"
    bias: bool = True
    """Whether it has one."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(spec.shape), num_outputs, bias=self.bias))


@register_model("user_net")
class Net(nn.Module):
    def __init__(self, num_classes: int, in_features: int, width: int = 8):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, width), nn.Linear(width, num_classes))

    def forward(self, inputs):
        return self.layers(inputs)
'''

NET = """
from torch import nn
from trainkit import register_model

@register_model("{name}")
class Net(nn.Module):
    def __init__(self, {argument}):
        super().__init__()
"""
FORWARD = "    def forward(self, inputs):\n        return inputs\n"


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules and names of one test must not be there in the next."""
    families = {family: known.copy() for family, known in registry._families.items()}
    modules, paths = set(sys.modules), sys.path.copy()
    monkeypatch.setattr(registry, "_families", families)
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if not name.startswith(("torch", "trainkit")):
            del sys.modules[name]


def experiment(imports: str, model: str, **modules: str) -> ExperimentConfig:
    folder = Path("experiments")
    folder.mkdir()
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "cfg.yaml").write_text(f"imports: {imports}\ndata: digits\nmodel: {model}\n")
    return load(folder / "cfg.yaml")


def told(imports: str, **modules: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        experiment(imports, "mlp", **modules)
    here = str(Path.cwd())
    return [problem.replace(here, "HERE") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("model", "key", "value"),
    [("{name: user_linear, bias: false}", "bias", False), ("{name: user_net, width: 4}", "width", 4)],
)
def test_models_of_ones_own_lie_beside_the_file(model: str, key: str, value: object) -> None:
    built = experiment("[my_models]", model, my_models=USER_CODE)
    assert built.model.to_plain()[key] == value
    spec = built.data.spec()
    assert spec is not None
    assert sum(parameter.numel() for parameter in built.model.build(spec, 10).parameters()) > 0


def test_unknown_keys_of_ones_own_models_are_told() -> None:
    with pytest.raises(ConfigError) as caught:
        experiment("[my_models]", "{name: user_net, widht: 4}", my_models=USER_CODE)
    expected = "experiments/cfg.yaml:3:25: model.widht: unknown key for 'user_net'; did you mean 'width'?"
    assert caught.value.problems == (expected,)


@pytest.mark.parametrize(
    ("imports", "modules", "expected"),
    [
        ("[missing]", {}, ["1:11: imports: no module 'missing' (looked in HERE/experiments, HERE and what is installed)"]),
        ("[os.pathx]", {}, ["1:11: imports: no module 'os.pathx' (looked in HERE/experiments, HERE and what is installed)"]),
        ("[json]", {}, ["1:11: imports: 'json' registers no config"]),
        ("[nothing]", {"nothing": "x = 1\n"}, ["1:11: imports: 'nothing' registers no config"]),
        ("[./x, .x, '']", {}, [f"1:{at}: imports: expected a module name, got {name}" for at, name in ((11, "'./x'; write x"), (16, "'.x'"), (20, "''"))]),
        ("[net.py]", {"net": "1 / 0"}, ["1:11: imports: expected a module name, got 'net.py'; write net"]),
        ("[./my/net.py]", {}, ["1:11: imports: expected a module name, got './my/net.py'; write my.net"]),
        ("net.py", {}, ["1:10: imports: expected a list, got 'net.py'; write [net]"]),
        ("json", {}, ["1:10: imports: expected a list, got 'json'; write [json]"]),
        ("[a, [b]]", {}, ["1:11: imports: no module 'a' (looked in HERE/experiments, HERE and what is installed)", "1:14: imports: expected a module name, got ''"]),
        ("[m]", {"m": NET.format(name="m", argument="width: int = 8")}, ["1:11: imports: Net: has no forward method"]),
        ("[m]", {"m": NET.format(name="m", argument="freeze") + FORWARD}, ["1:11: imports: Net: argument 'freeze' needs another name: configs use this one themselves (experiments/m.py:7)"]),
        ("[m]", {"m": NET.format(name="mlp", argument="width: int = 8") + FORWARD}, ["1:11: imports: model 'mlp' is registered twice: by trainkit.models.mlp.MlpConfig and m.NetConfig"]),
        ("[m]", {"m": "from trainkit import register\nregister('modle')\n"}, ["1:11: imports: unknown family 'modle'; did you mean 'model'?"]),
        ("[m]", {"m": "from trainkit import *\nregister('model')(ModelConfig)\n"}, ['1:11: imports: ModelConfig: needs a field such as name: Literal["my_model"] = "my_model"']),
    ],
)  # fmt: skip
def test_imports_that_are_wrong(imports: str, modules: dict[str, str], expected: list[str]) -> None:
    assert told(imports, **modules) == [f"experiments/cfg.yaml:{problem}" for problem in expected]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 / 0\n", ZeroDivisionError),
        ("def f(:\n", SyntaxError),
        ("import numpyy\n", ModuleNotFoundError),
    ],
)
def test_what_a_module_raises_is_its_own_affair(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        experiment("[m]", "mlp", m=text)


def test_a_module_may_import_its_neighbours_later() -> None:
    late = USER_CODE.replace(
        "        return nn.Sequential", "        import neighbour\n        return nn.Sequential", 1
    )
    built = experiment("[my_models]", "user_linear", my_models=late, neighbour="", random="1 / 0\n")
    spec = built.data.spec()
    assert spec is not None
    built.model.build(spec, 10)
    assert "neighbour" in sys.modules
    assert sys.path[-2:] == [str(Path("experiments").resolve()), str(Path.cwd())]


def test_a_second_load_finds_what_the_first_registered() -> None:
    first = experiment("[my_models]", "user_net", my_models=USER_CODE)
    assert load(Path("experiments/cfg.yaml")) == first


def test_names_and_classes() -> None:
    @register("loss")
    class OwnLoss(Config):
        """A loss."""

        name: Literal["own"] = "own"

    assert "own" in registry.names("loss")
    assert registry.find("loss", "own") is OwnLoss
    with pytest.raises(ConfigError, match=r"^unknown loss 'owm'; did you mean 'own'\?$"):
        registry.find("loss", "owm")
