from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.conftest import MakeExperiment, weights
from tests.models.test_mlp import CIFAR, MNIST, parameters
from trainkit.data import DataSpec, TargetSpec
from trainkit.errors import ConfigError, DataError, TrainkitError
from trainkit.evaluation import evaluate_checkpoint
from trainkit.models.vision import TorchvisionModelConfig
from trainkit.run import resume, train

SMALL = "shufflenet_v2_x0_5"
PHOTOS = DataSpec(shape=(3, 224, 224), target=TargetSpec(kind="class", size=10), image=True)


def build(arch: str = SMALL, spec: DataSpec = CIFAR, num_outputs: int = 10, **options: Any) -> nn.Module:
    return TorchvisionModelConfig(arch=arch, **options).build(spec, num_outputs)


def problem(arch: str = SMALL, spec: DataSpec = CIFAR, **options: Any) -> str:
    with pytest.raises(TrainkitError) as caught:
        build(arch, spec, **options)
    return str(caught.value)


@pytest.fixture
def trained(tmp_path: Path) -> dict[str, Tensor]:
    """Weights with 1000 classes in w.pt, as torchvision gives them away."""
    state = build(num_outputs=1000).state_dict()
    torch.save(state, "w.pt")
    return state


@pytest.mark.parametrize(
    ("arch", "count", "head"),
    [
        ("resnet18", 11_181_642, "fc"),
        ("vgg16", 134_301_514, "classifier.6"),
        ("vit_b_16", 85_806_346, "heads.head"),
        ("squeezenet1_1", 727_626, "classifier.1"),
        ("densenet121", 6_964_106, "classifier"),
        ("googlenet", 5_610_154, "fc"),
        ("inception_v3", 21_806_058, "fc"),
        ("mobilenet_v3_small", 1_528_106, "classifier.3"),
    ],
)
def test_parameters(arch: str, count: int, head: str) -> None:
    with torch.device("meta"):
        model = build(arch, PHOTOS)
        assert parameters(model) == count
        last = model.get_submodule(head)
        assert (last.out_features if isinstance(last, nn.Linear) else last.out_channels) == 10
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 10)


def test_pictures_of_another_size() -> None:
    with torch.device("meta"):
        assert build("vit_b_16")(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert problem("vit_b_16", MNIST) == (
        "model: vit_b_16 does not take pictures of 28x28: Input shape indivisible by patch size!"
    )


def test_grey_pictures_are_three_equal_channels() -> None:
    grey, colour = build(spec=MNIST).eval(), build().eval()
    assert list(grey.state_dict()) == list(colour.state_dict())
    colour.load_state_dict(grey.state_dict())
    inputs = torch.rand(2, 1, 64, 64)
    assert torch.equal(grey(inputs), colour(inputs.repeat(1, 3, 1, 1)))
    assert torch.equal(copy.deepcopy(grey)(inputs), grey(inputs))


def test_weights_of_another_head(trained: dict[str, Tensor]) -> None:
    with pytest.warns(UserWarning, match="begin anew") as caught:
        state = build(weights="w.pt").state_dict()
    assert [str(warning.message) for warning in caught] == [
        "model.weights: fc.weight, fc.bias begin anew: (1000, 1024) in w.pt, (10, 1024) here"
    ]
    assert state.keys() == trained.keys()
    assert {key for key in state if not torch.equal(state[key], trained[key])} == {"fc.weight", "fc.bias"}


def test_weights_with_their_head(trained: dict[str, Tensor]) -> None:
    state = build(num_outputs=1000, weights="w.pt").state_dict()
    assert all(torch.equal(state[key], trained[key]) for key in trained)


def test_weights_that_do_not_fit(trained: dict[str, Tensor]) -> None:
    assert problem("squeezenet1_1", weights="w.pt") == (
        "model.weights: w.pt does not fit squeezenet1_1: missing features.0.weight, features.0.bias, "
        "features.3.squeeze.weight and 49 more; unknown conv1.0.weight, conv1.1.weight, conv1.1.bias and 335 more"
    )
    assert problem("shufflenet_v2_x1_0", weights="w.pt").startswith(
        "model.weights: w.pt does not fit shufflenet_v2_x1_0: size mismatch for stage2.0.branch1.2.weight: "
    )


def test_files_without_weights(tmp_path: Path) -> None:
    assert problem(weights="w.pt") == (
        f"model.weights: no file {tmp_path / 'w.pt'}; none, DEFAULT or a file is expected"
    )
    expected = "model.weights: w.pt is not a state_dict, as torch.save(model.state_dict(), …) writes it"
    Path("w.pt").write_text("PK")
    assert problem(weights="w.pt") == expected
    torch.save({"model": {}}, "w.pt")
    assert problem(weights="w.pt") == expected
    torch.save(nn.Linear(1, 1), "w.pt")  # code, which is never run
    assert problem(weights="w.pt") == expected


def test_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / "shufflenetv2_x0.5-f707e7126e.pth"
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    missing = f"model.weights: no weights of {SMALL} in {place}"
    with pytest.raises(DataError) as caught:
        build(weights="DEFAULT")
    assert str(caught.value) == f"{missing}; TRAINKIT_OFFLINE=1 forbids the download"
    monkeypatch.setenv("TRAINKIT_OFFLINE", "0")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr("urllib.request._opener", None)  # made at the first use, with the proxies of that time
    with pytest.raises(DataError) as caught:
        build(weights="DEFAULT")
    assert str(caught.value).startswith(f"{missing}; the download failed (")
    assert str(caught.value).endswith("Connection refused); or name a file of your own")
    assert not list(place.parent.glob("*"))

    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")  # what is there needs no network
    state = build(num_outputs=1000).state_dict()
    torch.save(state, place)
    loaded = build(num_outputs=1000, weights="DEFAULT").state_dict()
    assert all(torch.equal(state[key], loaded[key]) for key in state)
    place.write_text("PK")
    assert problem(weights="DEFAULT").startswith(f"model.weights: {place} is damaged (")


def test_frozen_backbone(trained: dict[str, Tensor]) -> None:
    model = build(num_outputs=1000, weights="w.pt", freeze="backbone")
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["fc.weight", "fc.bias"]
    inputs = torch.rand(4, 3, 64, 64)
    expected = model.eval()(inputs)
    assert torch.equal(model.train()(inputs), expected)
    assert all(torch.equal(value, trained[key]) for key, value in model.state_dict().items())


def test_a_random_backbone_is_not_frozen() -> None:
    with pytest.raises(ValidationError, match="freeze=backbone needs weights: a random backbone would stay random"):
        TorchvisionModelConfig(arch=SMALL, freeze="backbone")


@pytest.mark.filterwarnings("ignore:model.weights. fc.weight, fc.bias begin anew")
def test_trains_the_head_and_outlives_the_file_of_weights(make: MakeExperiment, trained: dict[str, Tensor]) -> None:
    model = {"name": "torchvision", "arch": SMALL, "weights": "w.pt", "freeze": "backbone"}
    experiment = make(model=model, data={"shape": [1, 32, 32], "samples": 64, "val": 16}, train={"epochs": 1})
    result = train(experiment, quiet=True)
    state = weights(result.checkpoint)
    changed = {key for key in trained if not key.startswith("fc.") and not torch.equal(state[key], trained[key])}
    assert not changed
    Path("w.pt").unlink()
    metrics, notes = evaluate_checkpoint(result.checkpoint)
    assert metrics["loss"] == pytest.approx(result.metrics["test/loss"], rel=1e-5)
    assert notes == []
    resume(result.run_dir, ["train.epochs=2"], quiet=True)


def test_learns(make: MakeExperiment) -> None:
    data = {"shape": [1, 16, 16], "size": 3, "samples": 300, "val": 0, "test_samples": 60}
    model = {"name": "torchvision", "arch": "resnet18"}
    result = train(make(model=model, data=data, optimizer={"lr": 3e-4}, train={"max_steps": 40}), quiet=True)
    assert result.metrics["test/accuracy"] > 0.9


@pytest.mark.parametrize(
    ("arch", "spec", "expected"),
    [
        ("resnet_18", CIFAR, "model.arch: torchvision has no 'resnet_18'; did you mean 'resnet18'?"),
        (
            "resnet18",
            DataSpec(shape=(4, 32, 32), target=CIFAR.target, image=True),
            (
                "model: resnet18 needs pictures with 1 or 3 channels (channels, height, width), "
                "the data has shape (4, 32, 32)"
            ),
        ),
        (
            "resnet18",
            DataSpec(shape=(20,), target=CIFAR.target),
            "model: resnet18 needs pictures with 1 or 3 channels (channels, height, width), the data has shape (20,)",
        ),
    ],
)
def test_what_torchvision_cannot_build(arch: str, spec: DataSpec, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(arch, spec)
    assert str(caught.value) == expected
    assert problem("nothing like it").startswith("model.arch: torchvision has no 'nothing like it'; known: alexnet, ")
