from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from tests.conftest import MakeExperiment, records, weights
from tests.models.test_mlp import CIFAR, MNIST, parameters
from trainkit.core.errors import ConfigError, DataError, TrainkitError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.models.library import TimmModelConfig, TorchvisionModelConfig
from trainkit.models.pretrained import load_pretrained
from trainkit.runs.run import resume, train
from trainkit.tasks import Classification
from trainkit.training.optimizers import AdamConfig

SMALL = "shufflenet_v2_x0_5"
FOUR = DataSpec(input=Pictures(shape=(4, 64, 32)), task=Classification(size=10))
PHOTOS = DataSpec(input=Pictures(shape=(3, 224, 224)), task=Classification(size=10))


def build(arch: str = SMALL, spec: DataSpec = CIFAR, num_outputs: int = 10, **options: Any) -> nn.Module:
    return TorchvisionModelConfig(arch=arch, **options).create(spec, num_outputs)[0]


def problem(arch: str = SMALL, spec: DataSpec = CIFAR, **options: Any) -> str:
    with pytest.raises(TrainkitError) as caught:
        build(arch, spec, **options)
    return str(caught.value)


def timm(arch: str = "test_resnet", spec: DataSpec = CIFAR, num_outputs: int = 10, **options: Any) -> nn.Module:
    return TimmModelConfig(arch=arch, **options).create(spec, num_outputs)[0]


def timm_problem(arch: str = "test_resnet", spec: DataSpec = CIFAR, **options: Any) -> str:
    with pytest.raises(TrainkitError) as caught:
        timm(arch, spec, **options)
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
    model, notes = TorchvisionModelConfig(arch=SMALL, weights="w.pt").create(CIFAR, 10)
    assert notes == ["model.weights: the head is re-initialised: fc.weight is (1000, 1024) in w.pt, (10, 1024) here"]
    state = model.state_dict()
    assert state.keys() == trained.keys()
    assert {key for key in state if not torch.equal(state[key], trained[key])} == {"fc.weight", "fc.bias"}


def test_weights_with_their_head(trained: dict[str, Tensor]) -> None:
    state = build(num_outputs=1000, weights="w.pt").state_dict()
    assert all(torch.equal(state[key], trained[key]) for key in trained)


def test_weights_that_do_not_fit(trained: dict[str, Tensor]) -> None:
    assert problem("squeezenet1_1", weights="w.pt") == (
        "model.weights: w.pt does not fit the model: missing: features.0.weight, features.0.bias, "
        "features.3.squeeze.weight, features.3.squeeze.bias, features.3.expand1x1.weight and 47 more; unexpected: "
        "conv1.0.weight, conv1.1.weight, conv1.1.bias, conv1.1.running_mean, conv1.1.running_var and 333 more"
    )


def test_side_outputs_are_left_out() -> None:
    state = build("googlenet", PHOTOS).state_dict()
    torch.save({**state, "aux1.conv.conv.weight": torch.zeros(1)}, "w.pt")
    loaded = build("googlenet", PHOTOS, weights="w.pt").state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


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


def test_trains_the_head_and_outlives_the_file_of_weights(make: MakeExperiment, trained: dict[str, Tensor]) -> None:
    model = {"name": "torchvision", "arch": SMALL, "weights": "w.pt", "freeze": "backbone"}
    experiment = make(model=model, data={"shape": [1, 32, 32], "samples": 64, "val": 16}, train={"epochs": 1})
    result = train(experiment, quiet=True)
    state = weights(result.checkpoint)
    changed = {key for key in trained if not key.startswith("fc.") and not torch.equal(state[key], trained[key])}
    assert not changed
    Path("w.pt").unlink()
    found = evaluate_checkpoint(result.checkpoint)
    metrics, notes = found.metrics, found.notes
    assert metrics["loss"] == pytest.approx(result.metrics["test/loss"], rel=1e-5)
    assert notes == []
    resume(result.run_dir, ["train.epochs=2"], quiet=True)


def test_learns(make: MakeExperiment) -> None:
    # One batch, whose loss falls whatever the processor; what a few samples teach about others is a matter of luck.
    experiment = make(
        model={"name": "torchvision", "arch": "resnet18"},
        data={"shape": [1, 16, 16], "size": 3, "samples": 16, "val": 0, "test_samples": 8},
        optimizer={"lr": 3e-4},
        train={"epochs": 10},
        log={"every": 1},
    )
    result = train(experiment, quiet=True)
    losses = [record["loss"] for record in records(result.run_dir) if record["kind"] == "train"]
    assert len(losses) == 10
    assert losses[-1] < 0.1 * losses[0]  # about 0.001 of it


@pytest.mark.parametrize(
    ("arch", "spec", "expected"),
    [
        ("resnet_18", CIFAR, "model.arch: torchvision has no 'resnet_18'; did you mean 'resnet18'?"),
        (
            "resnet18",
            DataSpec(input=Pictures(shape=(4, 32, 32)), task=CIFAR.task),
            (
                "model: resnet18 needs pictures with 1 or 3 channels (channels, height, width), "
                "the data has shape (4, 32, 32)"
            ),
        ),
        (
            "resnet18",
            DataSpec(input=Numbers(shape=(20,)), task=CIFAR.task),
            "model: resnet18 needs pictures with 1 or 3 channels (channels, height, width), the data has shape (20,)",
        ),
    ],
)
def test_what_torchvision_cannot_build(arch: str, spec: DataSpec, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(arch, spec)
    assert str(caught.value) == expected
    assert problem("nothing like it").startswith("model.arch: torchvision has no 'nothing like it'; known: alexnet, ")


@pytest.mark.parametrize(
    ("arch", "spec"),
    [
        ("test_resnet", CIFAR),
        ("test_resnet", MNIST),
        ("test_efficientnet.r160_in1k", FOUR),
        ("vit_tiny_patch16_224", CIFAR),  # asks for the size of the pictures
        ("swin_tiny_patch4_window7_224", FOUR),
    ],
)
def test_timm_models_fit_the_pictures(arch: str, spec: DataSpec) -> None:
    with torch.device("meta"):
        assert timm(arch, spec).eval()(torch.zeros(2, *spec.shape)).shape == (2, 10)


@pytest.mark.parametrize(("arch", "count"), [("resnet18", 11_181_642), ("vgg16", 134_301_514)])
def test_timm_parameters(arch: str, count: int) -> None:
    with torch.device("meta"):
        assert parameters(timm(arch, PHOTOS)) == count


def test_timm_weights_and_a_frozen_backbone() -> None:
    state = timm(num_outputs=7).state_dict()
    torch.save(state, "w.pt")
    model, notes = TimmModelConfig(arch="test_resnet", weights="w.pt", freeze="backbone").create(CIFAR, 10)
    assert notes == ["model.weights: the head is re-initialised: fc.weight is (7, 96) in w.pt, (10, 96) here"]
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["fc.weight", "fc.bias"]
    model.train()(torch.rand(4, 3, 32, 32))
    loaded = model.state_dict()
    assert {key for key in state if not torch.equal(state[key], loaded[key])} == {"fc.weight", "fc.bias"}


def test_timm_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    missing = "model.weights: no weights of test_resnet (timm/test_resnet.r160_in1k) on this machine"
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    assert timm_problem(weights="DEFAULT") == f"{missing}; TRAINKIT_OFFLINE=1 forbids the download"
    assert timm_problem("test_vit4", weights="DEFAULT") == (
        "model.weights: timm has no weights for test_vit4; none or a file is expected"
    )

    # What is there needs no network. This is how the hub's own package keeps it.
    state = timm(num_outputs=1000, spec=PHOTOS).state_dict()
    place = tmp_path / "models--timm--test_resnet.r160_in1k" / "snapshots" / "1" / "model.safetensors"
    place.parent.mkdir(parents=True)
    save_file(state, place)
    (place.parents[2] / "refs").mkdir()
    (place.parents[2] / "refs" / "main").write_text("1")
    loaded = timm(num_outputs=1000, weights="DEFAULT").state_dict()
    assert all(torch.equal(state[key], loaded[key]) for key in state)
    model, notes = TimmModelConfig(arch="test_resnet", weights="DEFAULT").create(MNIST, 10)
    assert notes == ["model.weights: the head is re-initialised: fc.weight is (1000, 96) in DEFAULT, (10, 96) here"]
    differing = {key for key, value in model.state_dict().items() if not torch.equal(value, state[key])}
    assert differing == {"conv1.0.weight", "fc.weight", "fc.bias"}  # timm adds the filters of the three colours up
    place.write_text("PK")
    assert timm_problem(weights="DEFAULT").startswith(f"model.weights: {place} is damaged (")

    def unreachable(*arguments: Any, **options: Any) -> None:
        raise OSError("no route to host")

    place.unlink()
    monkeypatch.setenv("TRAINKIT_OFFLINE", "0")
    monkeypatch.setattr("timm.create_model", unreachable)  # the hub's package tries again for most of a minute
    with pytest.raises(DataError) as caught:
        TimmModelConfig(arch="test_resnet", weights="DEFAULT").initial(CIFAR)
    assert str(caught.value) == f"{missing}; the download failed (no route to host); or name a file of your own"


@pytest.mark.parametrize(
    ("arch", "shape", "expected"),
    [
        ("resnet_18", (3, 32, 32), "model.arch: timm has no 'resnet_18'; did you mean 'resnet18'?"),
        ("resnet18.of_mine", (3, 32, 32), "model.arch: timm has no 'resnet18.of_mine'; did you mean 'resnet18'?"),
        ("hf-hub:me/it", (3, 32, 32), "model.arch: timm has no 'hf-hub:me/it'; timm.list_models() gives all names"),
        ("resnet18", (20,), "model: resnet18 needs pictures (channels, height, width), the data has shape (20,)"),
        (
            "twins_svt_small",
            (3, 64, 48),
            (
                "model: twins_svt_small does not take pictures of 64x48: "
                "img_size (4, 3) should be divided by patch_size (2, 2)."
            ),
        ),
    ],
)
def test_what_timm_cannot_build(arch: str, shape: tuple[int, ...], expected: str) -> None:
    assert timm_problem(arch, DataSpec(input=Numbers(shape=shape), task=CIFAR.task)) == expected


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert timm_problem() == (
        "model: timm needs an extra (import of timm halted; None in sys.modules); pip install 'trainkit[timm]'"
    )


def test_a_timm_model_trains_and_comes_back(make: MakeExperiment) -> None:
    model = {"name": "timm", "arch": "test_resnet"}
    result = train(make(model=model, data={"shape": [1, 16, 16]}, train={"max_steps": 2}), quiet=True)
    metrics = evaluate_checkpoint(result.checkpoint).metrics
    assert metrics["loss"] == pytest.approx(result.metrics["test/loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("arch", "heads"),
    [
        ("levit_128s", ["head.linear", "head_dist.linear"]),
        ("deit_tiny_distilled_patch16_224", ["head", "head_dist"]),
        ("crossvit_9_240", ["head.0", "head.1"]),
        ("test_vit", ["head"]),
    ],
)
def test_timm_models_with_several_heads(arch: str, heads: list[str]) -> None:
    spec = DataSpec(input=Pictures(shape=(3, 240, 240) if "240" in arch else (3, 224, 224)), task=CIFAR.task)
    with torch.device("meta"):
        state = timm(arch, spec, num_outputs=7).state_dict()
        model, notes = Given(arch=arch, weights="w.pt", freeze="backbone", state=state).create(spec, 10)
    assert [name.rpartition(".")[0] for name, one in model.named_parameters() if one.requires_grad][::2] == heads
    assert all(f"{head}.weight is (7, " in notes[0] for head in heads)
    optimizer = AdamConfig(head_lr=0.1).build(model, torch.device("cpu"))
    assert len(optimizer.param_groups) == 1  # nothing else is trained
    assert len(optimizer.param_groups[0]["params"]) == 2 * len(heads)


class Given(TimmModelConfig):
    """Weights that need no file."""

    state: Any

    def initial(self, spec: DataSpec) -> dict[str, Tensor]:
        return dict(self.state)


def test_positions_are_resized_to_the_pictures() -> None:
    sizes = {"patch_size": 8, "num_layers": 1, "num_heads": 1, "hidden_dim": 4, "mlp_dim": 4, "num_classes": 10}
    stored, model = (VisionTransformer(image_size=size, **sizes) for size in (32, 64))
    nn.init.normal_(stored.encoder.pos_embedding)
    state = stored.state_dict()
    adapted = TorchvisionModelConfig(arch="vit_b_16").adapted(state, model)
    load_pretrained(model, adapted, "w.pt")
    small, large = stored.encoder.pos_embedding[0], model.encoder.pos_embedding[0]
    assert torch.equal(large[0], small[0])  # of the class token
    corners = [0, 3, 12, 15], [0, 7, 56, 63]
    assert torch.allclose(large[1:][corners[1]], small[1:][corners[0]], atol=1e-6)
    assert state["encoder.pos_embedding"].shape == (1, 17, 4)  # the stored ones are left alone


def test_positions_of_timm_are_resized_to_the_pictures() -> None:
    large = DataSpec(input=Pictures(shape=(3, 96, 96)), task=CIFAR.task)
    stored = timm("test_vit", CIFAR)
    stored.pos_embed.data.fill_(3.0)  # type: ignore[operator]
    torch.save(stored.state_dict(), "w.pt")
    model = timm("test_vit", large, weights="w.pt")
    positions = model.get_parameter("pos_embed")
    assert positions.shape[1] == 1 + 6 * 6
    assert torch.allclose(positions, torch.full_like(positions, 3.0), atol=1e-4)


@pytest.mark.parametrize(("arch", "side", "least"), [("alexnet", 28, 63), ("vgg11", 28, 32), ("vit_b_16", 28, 32)])
def test_the_smallest_pictures_are_found_by_trying(arch: str, side: int, least: int) -> None:
    spec = PHOTOS.with_input(shape=(3, side, side))
    assert TorchvisionModelConfig(arch=arch).least_size(spec, 10) == least


def test_the_smallest_pictures_of_timm() -> None:
    spec = PHOTOS.with_input(shape=(1, 20, 24))
    assert TimmModelConfig(arch="test_vit").least_size(spec, 10) == 32
    assert TorchvisionModelConfig(arch="nothing").least_size(spec, 10) is None


@pytest.mark.parametrize(
    ("arch", "does"),
    [
        ("fasterrcnn_resnet50_fpn", "finds objects"),
        ("deeplabv3_resnet50", "sorts pixels into classes (model.name=torchvision_segmentation)"),
        ("r3d_18", "is for videos"),
        ("raft_small", "tells how pixels move"),
        ("quantized_resnet18", "computes with 8-bit numbers, for use after training"),
    ],
)
def test_models_for_something_else_say_what_it_is(arch: str, does: str) -> None:
    assert problem(arch).startswith(f"model.arch: {arch!r} {does}; expected a classifier of pictures")
    assert timm_problem(arch) == (
        f"model.arch: {arch!r} is a name of torchvision, and {does}; expected a classifier of pictures"
    )


def test_a_name_of_the_other_library() -> None:
    assert problem("test_vit") == "model.arch: torchvision has no 'test_vit'; timm has one: model.name=timm"
    assert timm_problem("alexnet") == "model.arch: timm has no 'alexnet'; torchvision has one: model.name=torchvision"
