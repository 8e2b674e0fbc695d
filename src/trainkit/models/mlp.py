"""The multi-layer perceptron."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from trainkit.config.registry import register
from trainkit.data import DataSpec
from trainkit.models.base import Activation, Dropout, ModelConfig, Width, activations


def dense(
    in_features: int, hidden: tuple[int, ...], num_outputs: int, activation: Activation, dropout: float
) -> list[nn.Module]:
    """Linear layers with an activation and dropout between them, none after the last."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_features, width), activations[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
        in_features = width
    return [*layers, nn.Linear(in_features, num_outputs)]


@register("model")
class MlpConfig(ModelConfig):
    """Fully connected layers on the flattened input; without hidden layers, a linear model."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = (128,)
    """Widths of the hidden layers."""
    activation: Activation = "relu"
    """After every hidden layer."""
    dropout: Dropout = 0.0
    """Share of the hidden values set to zero in training."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        in_features = math.prod(spec.shape)
        return nn.Sequential(nn.Flatten(), *dense(in_features, self.hidden, num_outputs, self.activation, self.dropout))
