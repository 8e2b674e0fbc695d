"""Faults that are made on purpose, each of which has to be found; and experiments without any."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from tests.command import warm
from tests.conftest import MakeExperiment
from trainkit import register_model
from trainkit.checks import doctor
from trainkit.checks.doctor import doctor_lines, examine, wrong
from trainkit.config import registry
from trainkit.core.diagnostics import Diagnostic
from trainkit.experiment.building import build, open_data, open_experiment
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs.run import train

pytestmark = pytest.mark.usefixtures("one_thread")
DIGITS = {"name": "digits", "normalize": "auto"}


@pytest.fixture(autouse=True)
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, 64)
        self.last = nn.Linear(64, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(self.first(inputs.flatten(1)).relu())
        return outputs


class Frozen(Net):
    """Its first layer takes no gradients."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.first.requires_grad_(False)


class Cut(Net):
    """No gradient comes through to its first layer in training."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.first(inputs.flatten(1)).relu()
        outputs: Tensor = self.last(hidden.detach() if self.training else hidden)
        return outputs


class TwiceSoft(Net):
    """Ends with a softmax, before a loss that applies another."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).softmax(1)


class Sure(Net):
    """Begins with answers of which it is very sure."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 100 * super().forward(inputs)


def examined(**sections: Any) -> list[Diagnostic]:
    plain = {"data": DIGITS, "model": "mlp", "optimizer": {"name": "adam", "lr": 1e-3}}
    return examine(open_experiment(ExperimentConfig.from_plain({**plain, **sections})))


def codes(found: list[Diagnostic]) -> set[str]:
    return {one.code for one in wrong(found)}


def test_nothing_is_wrong_with_the_digits() -> None:
    found = examined()
    assert wrong(found) == []
    assert len([one for one in found if one.level == "fine"]) == 9


@pytest.mark.parametrize(
    ("module", "code", "seen"),
    [
        (Frozen, "frozen", "model: first takes no gradients"),
        (Cut, "no-gradient", "model: in three steps the gradient of first.weight and 1 more was 0"),
        (
            TwiceSoft,
            "no-logits",
            "model: ends with a softmax, but losses here take logits and apply it themselves",
        ),
    ],
)
def test_faults_of_a_model(module: type[nn.Module], code: str, seen: str) -> None:
    register_model("faulty")(module)
    found = {one.code: one.text for one in wrong(examined(model="faulty"))}
    assert found[code] == seen


def test_a_start_that_is_too_sure() -> None:
    register_model("faulty")(Sure)
    found = next(one for one in wrong(examined(model="faulty")) if one.code == "start")
    assert found.text.startswith("model: the loss at the start is ")
    assert found.text.endswith(", where outputs of 0 would cost 2.3")


def test_a_wrong_normalisation() -> None:
    found = examined(data={"name": "digits", "normalize": {"mean": 0.1, "std": 0.01}})
    assert {"normalize", "start"} <= codes(found)
    assert wrong(found)[0].change == "'data.normalize={mean: 0.3055, std: 0.3759}' or data.normalize=auto"


@pytest.mark.parametrize(
    ("lr", "seen"),
    [
        (1e-9, "optimizer.lr: with 1e-09 the loss goes from 2.3"),
        (10.0, "optimizer.lr: with 10 the loss goes from 2.3"),
    ],
)
def test_a_learning_rate_far_off(lr: float, seen: str) -> None:
    """And only that: what follows is tried with the rate that is suggested."""
    found = examined(optimizer={"name": "adam", "lr": lr})
    assert codes(found) == {"lr"}
    [told] = [one for one in wrong(found) if one.code == "lr"]
    assert told.text.startswith(seen)
    assert 1e-4 <= float(told.change.removeprefix("optimizer.lr=")) <= 0.1


def test_labels_that_got_mixed_up() -> None:
    digits = load_digits()
    inputs = torch.as_tensor(digits.images[:600], dtype=torch.float32) / 16
    targets = torch.as_tensor(digits.target[:600])[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    torch.save({"inputs": inputs.flatten(1), "targets": targets}, "mixed.pt")
    assert "labels" in codes(examined(data={"name": "tensors", "file": "mixed.pt", "val": 200}))
    torch.save({"inputs": inputs.flatten(1), "targets": torch.as_tensor(digits.target[:600])}, "right.pt")
    assert codes(examined(data={"name": "tensors", "file": "right.pt", "val": 200})) == set()


def test_a_split_that_leaks(tmp_path: Path) -> None:
    """Files, which have to be decoded to be compared, and are named otherwise."""
    from PIL import Image

    digits = load_digits()
    for number in range(60):
        part, name = ("train", "test")[number % 3 == 0], str(digits.target[number] % 2)
        path = Path("pets", part, name, f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype("uint8")).save(path)
    data = {"name": "image_folder", "path": "pets", "size": 8, "mode": "grey", "normalize": "auto", "val": 6}
    sections = {"data": data, "loader": {"num_workers": 0, "batch_size": 16}}
    assert "shared-samples" not in codes(examined(**sections))
    for number, path in enumerate(sorted(Path("pets/train/0").iterdir())[:5]):
        shutil.copy(path, f"pets/test/0/copy{number}.png")
    [leak] = [one for one in wrong(examined(**sections)) if one.code == "shared-samples"]
    assert leak.text.endswith("test samples are also training samples")


def test_activations_that_died() -> None:
    class Dead(Net):
        """Its hidden layer begins where ReLU gives only 0."""

        def __init__(self, in_features: int, num_classes: int) -> None:
            super().__init__(in_features, num_classes)
            self.relu = nn.ReLU()
            nn.init.constant_(self.first.bias[4:].detach(), -100.0)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.last(self.relu(self.first(inputs.flatten(1))))
            return outputs

    register_model("faulty")(Dead)
    [dead] = [one for one in wrong(examined(model="faulty")) if one.code == "dead-activations"]
    told = "model: after 200 steps 95% of the channels of layer relu (ReLU) are 0 for every sample"
    assert dead.text == told


@pytest.mark.parametrize("config", ["digits_cnn", "wine_mlp", "diabetes_mlp"])
def test_nothing_is_wrong_with_the_shipped_configs(config: str) -> None:
    from tests.command import ROOT
    from trainkit.experiment.loading import load

    found = examine(open_experiment(load(ROOT / f"configs/{config}.yaml")))
    assert [one for one in wrong(found) if one.code != "normalize"] == []


def imbalanced(**loader: object) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    targets = (torch.arange(1000) % 50 == 0).long()
    inputs = torch.randn(1000, 5, generator=random) + 4 * targets[:, None]
    torch.save({"inputs": inputs, "targets": targets}, "rare.pt")
    return {"data": {"name": "tensors", "file": "rare.pt", "val": 200}, "loader": loader}


def test_rare_classes_are_named_and_nothing_else() -> None:
    assert codes(examined(**imbalanced())) == {"imbalance"}
    assert codes(examined(**imbalanced(sampler="balanced"))) == set()


def test_a_few_val_samples_and_a_model_that_knows_already(make: MakeExperiment) -> None:
    """Going on from a good checkpoint with a low rate is no illness, and 20 samples prove nothing."""
    run = train(make(data=DIGITS, model={"name": "mlp"}, train={"epochs": 8}, optimizer={"name": "adam", "lr": 1e-3}))
    model = {"name": "mlp", "weights": str(run.checkpoint)}
    found = examined(data=DIGITS | {"val": 20}, model=model, optimizer={"name": "adam", "lr": 1e-4})
    assert codes(found) == set()


def test_legal_batches_stay_legal_for_a_part_of_the_data() -> None:
    """A part has other numbers of batches, and other last ones."""
    assert codes(examined(loader={"batch_size": 1200, "drop_last": True})) <= {"by-heart"}
    model = {"name": "cnn", "channels": [4], "norm": "batch", "hidden": []}
    assert codes(examined(model=model, loader={"batch_size": 76, "drop_last": True})) == set()
    late = {"name": "cosine", "warmup_steps": 90}
    assert codes(examined(scheduler=late, train={"epochs": 10})) == set()


def test_the_command() -> None:
    Path("my.yaml").write_text("data: {name: digits, normalize: auto}\nmodel: mlp\n")
    ended = warm.run(["doctor", "my.yaml"])
    assert (ended.code, ended.stdout.splitlines()[0]) == (0, "nothing to change")
    first, second = ended.stderr.splitlines()[:2]
    told = r"at most 1,450 steps, about \d+:\d\d, and \d+:\d\d more where other learning rates have to be tried"
    assert re.fullmatch(told, first)
    assert second == "looking at: data"
    ended = warm.run(["doctor", "my.yaml", "data.normalize=none", "--json"])
    plain = json.loads(ended.stdout)
    assert ended.code == 1
    assert plain["symptoms"] == [
        {
            "code": "normalize",
            "seen": "data.normalize: the pictures are only scaled to 0 … 1",
            "why": "networks learn fastest from numbers around 0 of size 1",
            "change": "data.normalize=auto",
        }
    ]


def test_the_text() -> None:
    found = examined(data="digits")
    assert doctor_lines(found)[:5] == [
        "[normalize] data.normalize: the pictures are only scaled to 0 … 1",
        "    why     networks learn fastest from numbers around 0 of size 1",
        "    change  data.normalize=auto",
        "",
        "1 thing to change",
    ]


@pytest.mark.parametrize(
    ("shape", "stuck"), [((8,), 0.0), ((8, 4), 0.5), ((8, 3, 4), 0.5), ((8, 4, 2, 2), 0.5), ((8, 4, 2, 2, 2), 0.5)]
)
def test_activations_of_any_shape(make: MakeExperiment, shape: tuple[int, ...], stuck: float) -> None:
    """Of four channels two are always 0; that of a vector of all samples is not."""

    class Shaped(nn.Module):
        def __init__(self, in_features: int, num_classes: int) -> None:
            super().__init__()
            self.last = nn.Linear(in_features, num_classes)
            self.relu = nn.ReLU()

        def forward(self, inputs: Tensor) -> Tensor:
            values = torch.ones(shape)
            channel = 1 if len(shape) > 3 else len(shape) - 1
            if channel:
                values.movedim(channel, 0)[:2] = -1
            self.relu(values)
            outputs: Tensor = self.last(inputs.flatten(1))
            return outputs

    register_model("shaped")(Shaped)
    experiment, data, _ = open_data(make(model={"name": "shaped"}))
    parts, _ = build(experiment, data, torch.device("cpu"))
    found = doctor._activations(parts, data)
    assert list(map(str, found)) == [f"at most {stuck:.0%} of the channels of an activation are stuck"]


def test_a_model_that_is_no_better_than_a_constant_is_told_first() -> None:
    torch.manual_seed(0)
    torch.save({"inputs": torch.randn(400, 3), "targets": torch.randn(400, 1)}, "noise.pt")
    found = examined(data={"name": "tensors", "file": "noise.pt", "val": 150}, loss="mse")
    assert found[0].code == "constant"
    assert re.fullmatch(
        r"after 200 steps val/mae [\d.]+; a constant prediction gives [\d.]+ \(always the me(an|dian), -?[\d.]+\); "
        r"a linear model gives [\d.]+",
        found[0].text,
    )
