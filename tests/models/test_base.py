from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.conftest import MakeExperiment, equal, weights
from tests.models.test_mlp import CIFAR
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.models import ModelConfig, register_model
from trainkit.models.mlp import MlpConfig
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {family: dict(classes) for family, classes in registry._families.items()}
    monkeypatch.setattr(registry, "_families", defaultdict(dict, copies))


class Net(nn.Module):
    """A test model."""

    def __init__(
        self,
        width: int,
        in_channels: int,
        num_classes: int,
        scale: float = 1,
        kind: Literal["a", "b"] = "a",
        sizes: tuple[int, ...] = (1, 2),
        depth: int = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None:
        super().__init__()
        self.arguments: tuple[object, ...] = (width, in_channels, num_classes, scale, kind, sizes, depth)
        self.layer = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs).mean((2, 3))
        return outputs


def registered(module_class: type[nn.Module]) -> type[ModelConfig]:
    assert register_model("mine")(module_class) is module_class
    config_class = registry.find("model", "mine")
    assert issubclass(config_class, ModelConfig)
    return config_class


def test_config_is_derived_from_the_constructor() -> None:
    config_class = registered(Net)
    assert list(config_class.model_fields) == [
        *("name", "weights", "freeze"),
        *("width", "scale", "kind", "sizes", "depth"),
    ]
    assert config_class.__doc__ == "A test model."
    config = config_class.from_plain({"name": "mine", "width": 5, "sizes": [3]})
    model = config.build(CIFAR, 10)
    assert isinstance(model, Net)
    assert model.arguments == (5, 3, 10, 1, "a", (3,), None)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert config_class.from_plain(config.to_plain()) == config


@pytest.mark.parametrize(
    "wrong", [{}, {"width": "5"}, {"width": 5, "kind": "c"}, {"width": 5, "num_classes": 3}, {"width": 5, "wdith": 5}]
)
def test_derived_config_is_strict(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        registered(Net).from_plain(wrong)


def test_every_supplied_fact() -> None:
    class Greedy(nn.Module):
        def __init__(self, num_outputs, num_classes, out_features, in_channels, in_features, input_shape) -> None:  # type: ignore[no-untyped-def]
            super().__init__()
            self.facts = (num_outputs, num_classes, out_features, in_channels, in_features, input_shape)

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs

    model = registered(Greedy)().build(CIFAR, 7)  # type: ignore[call-arg]
    assert isinstance(model, Greedy)
    assert model.facts == (7, 7, 7, 3, 3072, (3, 32, 32))


def test_a_model_without_a_constructor() -> None:
    class PlusOne(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs + 1

    model = registered(PlusOne).from_plain({"name": "mine"}).build(CIFAR, 10)
    assert model(torch.tensor([1.0])).tolist() == [2.0]


def forward(self: nn.Module, inputs: Tensor) -> Tensor:
    return inputs


def module_class(constructor: Callable[..., None], **attributes: Any) -> type[nn.Module]:
    return type("Mine", (nn.Module,), {"__init__": constructor, "forward": forward, **attributes})


def test_constructors_that_a_config_cannot_call() -> None:
    def unsupported(self: Any, activation: nn.Module) -> None: ...
    def function(self: Any, activation: Callable[[Tensor], Tensor]) -> None: ...
    def positional(self: Any, width: int, /) -> None: ...
    def named(self: Any, name: str) -> None: ...
    def clashing(self: Any, build: int) -> None: ...
    def weighty(self: Any, weights: str) -> None: ...
    def icy(self: Any, freeze: bool) -> None: ...

    way = "; give it a default, or register a function that makes it of numbers and text"
    messages: dict[Callable[..., None], str] = {
        unsupported: f"Mine: argument 'activation' cannot be a key: a YAML file cannot give a Module{way} (",
        function: "Mine: argument 'activation' cannot be a key: a YAML file cannot give a ",
        positional: "Mine: argument 'width' cannot be a key: it has no name by which a config could give it",
        named: "Mine: argument 'name' needs another name: configs use this one themselves",
        clashing: "Mine: argument 'build' needs another name: configs use this one themselves",
        weighty: "Mine: argument 'weights' needs another name: configs use this one themselves",
        icy: "Mine: argument 'freeze' needs another name: configs use this one themselves",
    }
    for constructor, message in messages.items():
        with pytest.raises(ConfigError) as caught:
            register_model("mine")(module_class(constructor))
        assert str(caught.value).startswith(message)
        assert str(caught.value).endswith(f"test_base.py:{constructor.__code__.co_firstlineno})")
        assert "mine" not in registry.names("model")


@dataclass
class Sizes:
    depth: int
    heads: int = 2


class Public(nn.Module):
    """As other people write them."""

    def __init__(  # type: ignore[no-untyped-def]
        self,
        config: Sizes,
        patch,
        n_out=1000,
        dim=8,
        drop=0.0,
        attn_drop=0,
        stages=(3, 4),
        pool="cls",
        act_layer=nn.ReLU,
        norm: str | Callable[..., nn.Module] = "batch",
        weights=None,
        limit=math.inf,
        device=None,
        scale=None,
        *args,
        **options,
    ) -> None:
        super().__init__()
        self.arguments = {**locals()}
        self.layer = nn.Linear(3072, n_out)

    def forward(self, inputs: Tensor) -> Any:
        return self.layer(inputs.flatten(1))


def test_a_public_class_as_it_is() -> None:
    sizes = {"num_classes": "n_out", "image_size": "side"}
    register_model("mine", sizes=sizes)(Public)
    config_class = registry.find("model", "mine")
    assert issubclass(config_class, ModelConfig)
    keys = [key for key in config_class.model_fields if key not in ModelConfig.model_fields]
    assert keys == ["depth", "heads", "patch", "dim", "drop", "attn_drop", "stages", "pool", "norm", "scale"]
    config = config_class.from_plain({"name": "mine", "depth": 3, "patch": [4, 4], "attn_drop": 0.5, "stages": [1]})
    assert config_class.from_plain(config.to_plain()) == config
    model = config.build(CIFAR, 10)
    assert isinstance(model, Public)
    given = model.arguments
    assert given["config"] == Sizes(3, 2)
    assert [given[key] for key in ("patch", "n_out", "dim", "attn_drop", "stages")] == [(4, 4), 10, 8, 0.5, (1,)]
    assert [given[key] for key in ("act_layer", "norm", "weights", "device")] == [nn.ReLU, "batch", None, None]
    assert given["options"] == {"side": 32}
    for wrong in ({"dim": "8"}, {"drop": "0"}, {"norm": 3}, {"act_layer": "relu"}, {"heads": 1.5}):
        with pytest.raises(ValidationError):
            config_class.from_plain({"name": "mine", "depth": 3, "patch": 4, **wrong})
    assert config_class.unknown_key_hints["act_layer"] == (
        "Public keeps its default of it: a YAML file cannot give a type"
    )


def test_a_function_that_returns_a_module() -> None:
    def tiny(width: int = 4, **kwargs: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, kwargs["classes"]))

    register_model("mine", sizes={"num_classes": "classes"})(tiny)
    config = registry.find("model", "mine").model_validate({"width": 3})
    assert isinstance(config, ModelConfig)
    assert config.create(CIFAR, 7)[0](torch.zeros(2, 3, 32, 32)).shape == (2, 7)

    register_model("wrong")(lambda: "net")  # type: ignore[type-var]
    with pytest.raises(ConfigError, match=r"^model: .*<lambda> gives a str, expected a torch.nn.Module$"):
        registry.find("model", "wrong")().build(CIFAR, 7)  # type: ignore[attr-defined]


def test_sizes_and_types_that_are_wrong() -> None:
    for sizes, message in (
        ({"num_class": "width"}, "Net: sizes: nothing called 'num_class' is supplied; did you mean 'num_classes'?"),
        ({"num_classes": "widht"}, "Net: sizes: there is no argument 'widht'; did you mean 'width'? ("),
    ):
        with pytest.raises(ConfigError) as caught:
            register_model("mine", sizes=sizes)(Net)
        assert str(caught.value).startswith(message)

    class Untyped(nn.Module):
        def __init__(self, config) -> None:  # type: ignore[no-untyped-def]
            super().__init__()
            self.config = config

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs

    register_model("mine", types={"config": Sizes}, sizes={"num_classes": "heads"})(Untyped)
    model = registry.find("model", "mine").model_validate({"depth": 3}).build(CIFAR, 7)  # type: ignore[attr-defined]
    assert model.config == Sizes(3, 7)


def test_no_forward() -> None:
    class Silent(nn.Module):
        pass

    with pytest.raises(ConfigError, match=r"Silent: has no forward method$"):
        register_model("mine")(Silent)


def test_super_init_forgotten() -> None:
    def forgetful(self: Any, width: int = 3) -> None:
        self.layer = nn.Linear(width, width)

    config = registered(module_class(forgetful)).from_plain({})
    with pytest.raises(ConfigError, match=r"^model: Mine.__init__ must begin with super\(\).__init__\(\)$"):
        config.build(CIFAR, 10)


def test_a_users_own_attribute_error_is_not_explained_away() -> None:
    def buggy(self: Any) -> None:
        nn.Module.__init__(self)
        self.nothing.layer  # noqa: B018

    with pytest.raises(
        ConfigError, match=r"^model: Mine raised AttributeError: 'Mine' object has no attribute 'nothing' \(.*py:\d+\)$"
    ):
        registered(module_class(buggy)).from_plain({}).build(CIFAR, 10)


CONFIGS: list[dict[str, Any]] = [
    {"name": "cnn", "channels": [4], "norm": "batch", "hidden": []},
    {"name": "mlp", "hidden": [8]},
    {"name": "sequential", "layers": ["flatten", {"name": "linear", "out_features": 8}, "batch_norm1d", "linear"]},
    {"name": "mine", "width": 3},
]


@pytest.mark.parametrize("plain", CONFIGS)
def test_every_model_may_begin_with_weights_and_train_its_head_alone(plain: dict[str, Any]) -> None:
    registered(Net)
    config_class = registry.find("model", plain["name"])
    assert issubclass(config_class, ModelConfig)
    source, notes = config_class.from_plain(plain).create(CIFAR, 10)
    assert notes == []
    torch.save(source.state_dict(), "w.pt")

    config = config_class.from_plain({**plain, "weights": "w.pt", "freeze": "backbone"})
    model, notes = config.create(CIFAR, 10)
    assert notes == []
    assert equal(model.state_dict(), source.state_dict())
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == list(source.state_dict())[-2:]

    other, notes = config_class.from_plain({**plain, "weights": "w.pt"}).create(CIFAR, 3)
    theirs, ours = (tuple(one.get_parameter(trained[0]).shape) for one in (source, other))
    assert notes == [f"model.weights: the head is re-initialised: {trained[0]} is {theirs} in w.pt, {ours} here"]
    assert all(parameter.requires_grad for parameter in other.parameters())

    Path("w.pt").unlink()  # a checkpoint brings weights, and what was frozen stays so
    again, notes = config.restored().create(CIFAR, 10)
    assert notes == []
    assert [name for name, parameter in again.named_parameters() if parameter.requires_grad] == trained


def test_a_random_backbone_is_not_frozen() -> None:
    with pytest.raises(ValidationError, match="freeze=backbone needs weights: a random backbone would stay random"):
        MlpConfig(freeze="backbone")


def test_weights_of_another_architecture() -> None:
    torch.save(MlpConfig(hidden=(4,)).build(CIFAR, 10).state_dict(), "w.pt")
    with pytest.raises(ConfigError) as caught:
        MlpConfig(hidden=(5, 6), weights="w.pt").create(CIFAR, 10)
    assert str(caught.value) == (
        "model.weights: w.pt does not fit the model: missing: 5.weight, 5.bias; another shape: "
        "1.weight (stored (4, 3072), model (5, 3072)), 1.bias (stored (4,), model (5,)), "
        "3.weight (stored (10, 4), model (6, 5)), 3.bias (stored (10,), model (6,))"
    )


def test_a_run_begins_with_the_checkpoint_of_another(make: MakeExperiment) -> None:
    first = train(make(train={"max_steps": 3, "ema": 0.5}), quiet=True)
    payload = checkpoint.load(first.run_dir / "checkpoints" / "last.pt")
    assert not equal(payload["model"], payload["ema"])
    path = str((first.run_dir / "checkpoints" / "last.pt").rename("first.pt"))

    model = {"name": "cnn", "channels": [4], "hidden": [8], "dropout": 0.2, "weights": path, "freeze": "backbone"}
    second = train(make(model=model, data={"size": 3}, train={"epochs": 1}), quiet=True)
    state = weights(second.checkpoint)
    same = {key for key in state if torch.equal(state[key], payload["ema"][key])}
    assert {"0.weight", "0.bias", "4.weight", "4.bias"} == same
    said = (second.run_dir / "train.log").read_text()
    assert f"warning: model.weights: the head is re-initialised: 7.weight is (4, 8) in {path}, (3, 8) here" in said

    Path(path).unlink()
    metrics = evaluate_checkpoint(second.checkpoint).metrics
    assert metrics["loss"] == pytest.approx(second.metrics["test/loss"], rel=1e-5)
    resume(second.run_dir, ["train.epochs=2"], quiet=True)
    resumed = weights(second.run_dir / "checkpoints" / "last.pt")
    assert all(torch.equal(resumed[key], payload["ema"][key]) for key in same)
    assert not torch.equal(resumed["7.weight"], state["7.weight"])
