"""What a config leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from trainkit.experiment.defaults import filled
from trainkit.models.mlp import MlpConfig

TABLE = {"name": "csv", "path": "t.csv", "target": "y"}


@pytest.fixture
def wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """An mlp with wishes."""
    wishes: Mapping[str, Mapping[str, Any]] = {
        "data": {"standardize": "robust", "val": 0.2},
        "optimizer": {"name": "adamw", "lr": 0.04},
        "train": {"epochs": 256},
        "loader": {},
    }
    monkeypatch.setattr(MlpConfig, "defaults", wishes)


@pytest.mark.parametrize(
    "data", [TABLE, {"name": "table"}, "csv", "iris", {"name": "diabetes"}], ids=lambda data: str(data)
)
def test_a_table_brings_its_model(data: object) -> None:
    assert filled({"data": data})["model"] == "table"


@pytest.mark.parametrize("data", ["digits", {"name": "image_folder", "path": "x"}, {"name": "nothing"}, {}, 7, None])
def test_other_data_does_not(data: object) -> None:
    assert filled({"data": data}) == {"data": data}


def test_a_model_that_is_named_stays() -> None:
    plain = {"data": TABLE, "model": "mlp"}
    assert filled(plain) == plain
    assert filled({"model": {"name": "unheard of"}}) == {"model": {"name": "unheard of"}}
    assert filled({}) == {}


@pytest.mark.usefixtures("wants")
def test_what_a_model_wants_is_below_what_is_said() -> None:
    plain = {"data": {**TABLE, "val": 0.1}, "model": {"name": "mlp"}, "optimizer": {"lr": 1e-3}, "train": {"seed": 1}}
    assert filled(plain) == {
        "data": {**TABLE, "val": 0.1, "standardize": "robust"},
        "model": {"name": "mlp"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "train": {"seed": 1, "epochs": 256},
    }
    assert plain["optimizer"] == {"lr": 1e-3}  # nothing is written to


@pytest.mark.usefixtures("wants")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"name": "adamw", "lr": 0.04}),
        ("adamw", {"name": "adamw", "lr": 0.04}),
        ({"name": "adamw", "weight_decay": 0.1}, {"name": "adamw", "lr": 0.04, "weight_decay": 0.1}),
        ("sgd", "sgd"),
        ({"name": "sgd"}, {"name": "sgd"}),
        ({"name": "sgd", "lr": 0.1}, {"name": "sgd", "lr": 0.1}),
        (7, 7),
    ],
)
def test_another_component_is_given_as_a_whole(given: object, expected: object) -> None:
    plain = {"data": TABLE, "model": "mlp"} | ({} if given is None else {"optimizer": given})
    assert filled(plain)["optimizer"] == expected


@pytest.mark.usefixtures("wants")
def test_data_is_asked_only_for_what_it_has() -> None:
    assert filled({"data": {"name": "digits"}, "model": "mlp"})["data"] == {"name": "digits", "val": 0.2}
    assert "data" not in filled({"model": "mlp"})
    assert "loader" not in filled({"data": TABLE, "model": "mlp"})


def test_data_by_its_name_alone_is_scaled_as_the_model_wants_it() -> None:
    assert filled({"data": "wine"})["data"] == {"name": "wine", "standardize": "robust"}


def test_epochs_that_are_written_are_not_overruled() -> None:
    assert filled({"data": TABLE})["train"]["min_steps"] == 250
    assert "min_steps" not in filled({"data": TABLE, "train": {"epochs": 2}})["train"]
    both = {"epochs": 2, "min_steps": 9}
    assert filled({"data": TABLE, "train": both})["train"].items() >= both.items()
