"""The convolutional network of the tutorials: stages that halve the picture, then fully connected layers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import nn

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.models.base import Activation, Dropout, ModelConfig, Width, activations
from trainkit.models.mlp import dense


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError(f"must be odd, so that padding keeps the picture's size, got {size}")
    return size


# max(f(x)) = f(max(x)) for these: they may run after the pooling, on a quarter of the values.
MONOTONIC = ("relu", "leaky_relu", "elu", "tanh", "sigmoid", "none")


@register("model")
class CnnConfig(ModelConfig):
    """Stages of convolution, activation and pooling, then fully connected layers (LeCun et al., 1998)."""

    name: Literal["cnn"] = "cnn"
    channels: tuple[Width, ...] = Field((32, 64), min_length=1)
    """Output channels of the stages; their number is the number of stages."""
    kernel_size: Annotated[int, Field(ge=1, le=31), AfterValidator(_odd)] = 3
    """Side of the convolution kernels in pixels; padding keeps the picture's size."""
    norm: Literal["batch", "none"] = "none"
    """Normalisation between convolution and activation."""
    activation: Activation = "relu"
    """After every convolution and every hidden layer."""
    pool: Literal["max", "avg", "none"] = "max"
    """Pooling that ends each stage."""
    pool_size: int = Field(2, ge=2, le=8)
    """Side and stride of the pooling windows in pixels."""
    hidden: tuple[Width, ...] = (128,)
    """Widths of the fully connected layers between the last stage and the output."""
    dropout: Dropout = 0.0
    """Share of the hidden values set to zero in training."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        if len(spec.shape) != 3:
            raise ConfigError(f"model: cnn needs pictures (channels, height, width), the data has shape {spec.shape}")
        channels, height, width = spec.shape
        features: list[nn.Module] = []
        for out_channels in self.channels:
            features += self._stage(channels, out_channels)
            channels = out_channels
            if self.pool != "none":
                height, width = height // self.pool_size, width // self.pool_size
        if min(height, width) < 1:
            raise ConfigError(
                f"model.channels: {len(self.channels)} stages of pooling by {self.pool_size} leave nothing of a "
                f"{spec.shape[1]}x{spec.shape[2]} picture; use fewer stages or larger pictures"
            )
        head = dense(channels * height * width, self.hidden, num_outputs, self.activation, self.dropout)
        return nn.Sequential(*features, nn.Flatten(), *head)

    def _stage(self, in_channels: int, out_channels: int) -> list[nn.Module]:
        conv = nn.Conv2d(
            in_channels, out_channels, self.kernel_size, padding=self.kernel_size // 2, bias=self.norm == "none"
        )
        norm = [nn.BatchNorm2d(out_channels)] if self.norm == "batch" else []
        activation = activations[self.activation]()
        if self.pool == "none":
            return [conv, *norm, activation]
        if self.pool == "avg":
            return [conv, *norm, activation, nn.AvgPool2d(self.pool_size)]
        pool = nn.MaxPool2d(self.pool_size)
        return [conv, *norm, pool, activation] if self.activation in MONOTONIC else [conv, *norm, activation, pool]
