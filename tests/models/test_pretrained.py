from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import equal
from trainkit.core.errors import ConfigError
from trainkit.models.pretrained import compare_with, freeze_backbone, heads_of, load_pretrained, mismatched_keys, read
from trainkit.training.optimizers import AdamConfig


def network(width: int = 3, num_outputs: int = 2, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, num_outputs, bias))


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (network(), ("3",)),
        (nn.Linear(2, 2), ("",)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv1d(2, 2, 1), nn.Flatten()), ("2",)),
        (nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), nn.LayerNorm(1)), ("0.1",)),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3)), ()),
    ],
)
def test_the_head_is_the_last_linear_or_convolutional_layer(model: nn.Module, head: tuple[str, ...]) -> None:
    assert heads_of(model) == head


STATE = network().state_dict()
AVERAGED = network().state_dict()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (STATE, STATE),
        ({"state_dict": STATE, "epoch": 3}, STATE),
        ({"model": STATE, "optimizer": {}}, STATE),
        ({"format": "trainkit-checkpoint", "model": STATE, "ema": None, "spec": {"shape": [4]}}, STATE),
        ({"format": "trainkit-checkpoint", "model": STATE, "ema": AVERAGED, "spec": {"shape": [4]}}, AVERAGED),
        ({"model": torch.zeros(2), "bias": torch.ones(2)}, {"model": torch.zeros(2), "bias": torch.ones(2)}),
    ],
)
def test_files_with_weights(content: Any, expected: dict[str, Tensor]) -> None:
    torch.save(content, "w.pth")
    assert equal(dict(read(Path("w.pth"))), expected)


def test_safetensors() -> None:
    save_file(STATE, "w.safetensors")
    assert equal(dict(read(Path("w.safetensors"))), dict(STATE))


def problem(path: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(Path(path))
    return str(caught.value)


def test_files_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem("w.pt") == (
        f"model.weights: no file {tmp_path / 'w.pt'}; expected none, a file or, for torchvision and timm, DEFAULT"
    )
    expected = "model.weights: w.pt has no state_dict, as torch.save(model.state_dict(), …) writes it"
    Path("w.pt").write_text("PK")
    assert problem("w.pt") == expected
    contents: list[Any] = [{}, {"model": {}}, {"weight": 1.0}, [torch.zeros(1)], nn.Linear(1, 1)]  # code is never run
    for content in contents:
        torch.save(content, "w.pt")
        assert problem("w.pt") == expected
    for odd in (torch.eye(2).to_sparse(), torch.empty(2, device="meta")):
        torch.save({"weight": odd}, "w.pt")
        assert problem("w.pt") == expected
    os.mkfifo("fifo.pt")  # nobody writes into it
    assert problem("fifo.pt") == expected.replace("w.pt", "fifo.pt")
    Path("folder.pt").mkdir()
    assert problem("folder.pt") == expected.replace("w.pt", "folder.pt")
    Path("w.safetensors").write_text("PK")
    assert problem("w.safetensors") == expected.replace("w.pt", "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert problem("w.safetensors").startswith(
        "model.weights: w.safetensors cannot be read here: import of safetensors"
    )


def test_what_does_not_fit_is_listed_with_its_shapes_and_nothing_is_loaded() -> None:
    model = network(width=5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = {**STATE, "extra": torch.zeros(1)}
    del state["1.bias"]
    with pytest.raises(ConfigError) as caught:
        load_pretrained(model, state, "w.pt")
    assert str(caught.value) == (
        "model.weights: w.pt does not fit the model: missing: 1.bias; unexpected: extra; another shape: "
        "0.weight (stored (3, 4), model (5, 4)), 0.bias (stored (3,), model (5,)), "
        "1.weight (stored (3,), model (5,)), 1.running_mean (stored (3,), model (5,)), "
        "1.running_var (stored (3,), model (5,))"
    )
    assert equal(model.state_dict(), before)


def test_at_most_five_keys_of_a_kind_are_listed() -> None:
    state = {str(n): torch.zeros(1) for n in range(7)}
    assert mismatched_keys({}, state) == ["unexpected: 0, 1, 2, 3, 4 and 2 more"]
    assert mismatched_keys(state, {}) == ["missing: 0, 1, 2, 3, 4 and 2 more"]
    assert mismatched_keys(state, state) == []


def test_a_heads_of_the_same_size_is_loaded() -> None:
    model = network()
    assert load_pretrained(model, STATE, "w.pt") == []
    assert equal(model.state_dict(), dict(STATE))


def test_a_heads_of_another_size_begins_anew_as_a_whole() -> None:
    model = network(num_outputs=7)
    head = {key: value.clone() for key, value in model.state_dict().items() if key.startswith("3.")}
    assert load_pretrained(model, STATE, "w.pt") == [
        "model.weights: the head is re-initialised: 3.weight is (2, 3) in w.pt, (7, 3) here"
    ]
    assert equal(model.state_dict(), {**STATE, **head})
    single = nn.Linear(3, 2)
    assert load_pretrained(single, nn.Linear(4, 2).state_dict(), "w.pt") == [
        "model.weights: the head is re-initialised: weight is (2, 4) in w.pt, (2, 3) here"
    ]


def test_a_head_that_is_missing_is_missing() -> None:
    state = {key: value for key, value in STATE.items() if not key.startswith("3.")}
    with pytest.raises(ConfigError, match=r"w\.pt does not fit the model: missing: 3\.weight, 3\.bias$"):
        load_pretrained(network(num_outputs=7), state, "w.pt")


def test_a_model_without_a_head_takes_weights() -> None:
    model = nn.LayerNorm(3)
    assert load_pretrained(model, {"weight": torch.full((3,), 2.0), "bias": torch.zeros(3)}, "w.pt") == []
    assert model.weight.tolist() == [2, 2, 2]


def test_a_frozen_backbone_stays_as_it_is() -> None:
    model = network()
    freeze_backbone(model, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["3.weight", "3.bias"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(8, 4)
    model.eval()
    expected = model(inputs)
    model.train()
    outputs = model(inputs)
    assert torch.equal(outputs, expected)
    outputs.square().sum().backward()
    optimizer.step()
    assert {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])} == {
        "3.weight",
        "3.bias",
    }


def test_what_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError) as caught:
        freeze_backbone(network(num_outputs=2), 10)
    assert str(caught.value) == (
        "model.freeze: the last layer that the model declares, 3, gives 2 numbers, the data needs 10; "
        "declare the layer that gives the outputs at the end"
    )
    with pytest.raises(ConfigError, match=r"^model\.freeze: the model has no linear or convolutional layer to train$"):
        freeze_backbone(nn.LayerNorm(3), 3)


class Distilled(nn.Module):
    """Two layers give the outputs, and the one that is declared last does not."""

    def __init__(self, num_outputs: int) -> None:
        super().__init__()
        self.backbone = nn.Linear(4, 3)
        self.heads = nn.ModuleDict({"own": nn.Linear(3, num_outputs), "teachers": nn.Linear(3, num_outputs)})
        self.aside = nn.Linear(4, 3)


def test_all_layers_that_give_outputs_are_heads() -> None:
    model = Distilled(2)
    assert heads_of(model) == ("aside",)
    compare_with(model, lambda: Distilled(3))
    assert heads_of(model) == ("heads.own", "heads.teachers")
    state = Distilled(5).state_dict()
    [note] = load_pretrained(model, state, "w.pt")
    assert note == (
        "model.weights: the heads are re-initialised: heads.own.weight is (5, 3) in w.pt, (2, 3) here; "
        "heads.teachers.weight is (5, 3) in w.pt, (2, 3) here"
    )
    assert torch.equal(model.backbone.weight, state["backbone.weight"])
    freeze_backbone(model, 2)
    trained = ["heads.own.weight", "heads.own.bias", "heads.teachers.weight", "heads.teachers.bias"]
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == trained


def test_a_model_that_cannot_be_built_without_memory_has_its_last_layer() -> None:
    def wider() -> nn.Module:
        raise RuntimeError

    model = Distilled(2)
    compare_with(model, wider)
    assert heads_of(model) == ("aside",)


def test_the_rate_of_all_heads() -> None:
    model = Distilled(2)
    compare_with(model, lambda: Distilled(3))
    rest, heads = AdamConfig(lr=1e-4, head_lr=1e-2).build(model, torch.device("cpu")).param_groups
    assert (rest["lr"], heads["lr"]) == (1e-4, 1e-2)
    assert {id(parameter) for parameter in heads["params"]} == {id(one) for one in model.heads.parameters()}
