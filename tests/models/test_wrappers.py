"""What other frameworks wrap around a model."""

from __future__ import annotations

import pytest
from torch import nn

from trainkit import register_model
from trainkit.core.errors import ConfigError
from trainkit.models import wrappers


def made_by(module: str, name: str, *bases: type) -> type:
    """A class as one of another framework."""
    return type(name, bases or (object,), {"__module__": module})


def test_what_to_give_instead() -> None:
    net = made_by("skorch.net", "NeuralNet")
    assert wrappers.advice(type("Mine", (net,), {})) == f"is a NeuralNet of skorch: {wrappers.TRAINERS}"
    assert wrappers.advice(made_by("torch.jit._script", "RecursiveScriptModule", nn.Module))
    assert wrappers.advice(made_by("keras.src.layers.layer", "Layer"))
    assert wrappers.advice(nn.Linear) is None
    with pytest.raises(ConfigError, match=r"^register_model\('mine'\): NeuralNet is a NeuralNet of skorch: it trains"):
        register_model("mine")(net)


def test_a_lightning_module_needs_a_forward_method() -> None:
    base = made_by("lightning.pytorch.core.module", "LightningModule", nn.Module)
    assert "is a LightningModule without a forward method" in (wrappers.advice(type("Lit", (base,), {})) or "")
    assert wrappers.advice(type("Lit", (base,), {"forward": lambda self, inputs: inputs})) is None


def test_a_model_that_is_made_already() -> None:
    with pytest.raises(ConfigError, match="that is made already; give its class, or a function that makes one"):
        register_model("mine")(nn.Linear(2, 2))
