"""The layers that `sequential` strings together: torch's own, under torch's argument names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema, create_model
from torch import nn

from trainkit.config import registry
from trainkit.config.base import Component, Config
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.models.base import Dropout, Width

Size = Annotated[int, Field(ge=1)]
Sizes = Size | tuple[Size, ...]
"""One number for all axes, or one per axis."""
Padding = Annotated[int, Field(ge=0)]
Paddings = Padding | tuple[Padding, ...]
Positive = Annotated[float, Field(gt=0)]


class LayerConfig(Config):
    """Base of whatever may stand in a list of layers."""

    name: str

    @abstractmethod
    def unrolled(self, place: str) -> Iterator[tuple[str, TorchLayerConfig]]:
        """The torch layers that this stands for, each with its place in the file."""


def _not_empty(layers: tuple[LayerConfig, ...]) -> tuple[LayerConfig, ...]:
    if not layers:
        raise ValueError("expected 1 or more layers, got []")
    return layers


any_layer = Component("layer")
Layers = Annotated[tuple[Annotated[LayerConfig, any_layer], ...], AfterValidator(_not_empty)]


class TorchLayerConfig(LayerConfig):
    """Base of the layers that torch has: every field is an argument of the constructor."""

    module_class: ClassVar[type[nn.Module]]
    axes: ClassVar[tuple[str, ...]] = ()
    """What the axes of one input must be; empty: anything goes."""

    def unrolled(self, place: str) -> Iterator[tuple[str, TorchLayerConfig]]:
        yield place, self

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        """The arguments that follow from the shape of one input, or from what the whole model must give."""
        return {}

    def build(self, shape: tuple[int, ...], num_outputs: int | None) -> nn.Module:
        """Build the layer for inputs of shape (batch, *shape).

        Raises:
            ConfigError: such inputs are not what it wants.
        """
        if self.axes and len(shape) != len(self.axes):
            raise ConfigError(f"{self.name} wants inputs ({', '.join(self.axes)}), {shape} came in")
        options = {key: getattr(self, key) for key in type(self).model_fields if key != "name"}
        for key, size in self.sizes(shape, num_outputs).items():
            given = options[key]
            if key.startswith("out_") and size is None and given is None:
                raise ConfigError(f"{self.name} needs {key}; only the last one takes it from the data")
            if isinstance(given, int) and key.startswith(("in_", "num_")) and given != size:
                raise ConfigError(f"{self.name} wants {given} {key.split('_')[1]}, {size} came in")
            options[key] = size if given is None else given
        return self.module_class(**options)


class PlainLayer(TorchLayerConfig):
    """Without options."""


class LinearLayer(TorchLayerConfig):
    """Weighted sums of the last axis."""

    in_features: Width | None = None
    """What comes in; by default whatever does."""
    out_features: Width | None = None
    """What goes out; the last linear layer takes it from the data."""
    bias: bool = True
    """Add a learned number to every output."""

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        return {"in_features": shape[-1], "out_features": num_outputs}


class ConvLayer(TorchLayerConfig):
    """Learned filters that slide over the axes after the channels."""

    in_channels: Width | None = None
    """What comes in; by default whatever does."""
    out_channels: Width
    """Number of filters."""
    kernel_size: Sizes
    """Side of the filters: one number, or one per axis."""
    stride: Sizes = 1
    """Step between two places of a filter."""
    padding: Paddings | Literal["same", "valid"] = 0
    """Zeros added on each side; `same` keeps the size."""
    dilation: Sizes = 1
    """Distance between the values under a filter."""
    groups: Size = 1
    """Groups of channels that do not see each other."""
    bias: bool = True
    """Add a learned number to every channel."""
    padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros"
    """What is added on the sides."""

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        return {"in_channels": shape[0]}


class PoolLayer(TorchLayerConfig):
    """One value for every window."""

    kernel_size: Sizes
    """Side of the windows: one number, or one per axis."""
    stride: Sizes | None = None
    """Step between two windows; by default their side."""
    padding: Paddings = 0
    """Added on each side; at most half the window."""
    ceil_mode: bool = False
    """Keep a last window that is not full."""


class MaxPoolLayer(PoolLayer):
    """The largest value of every window."""

    dilation: Sizes = 1
    """Distance between the values of a window."""


class AvgPoolLayer(PoolLayer):
    """The mean of every window."""

    count_include_pad: bool = True
    """Whether the zeros of the padding count in the mean."""


class AdaptivePoolLayer(TorchLayerConfig):
    """As many windows as are asked for, whatever the size of the input."""

    output_size: Sizes = 1
    """What comes out: one number, or one per axis."""


class NormLayer(TorchLayerConfig):
    """What the normalising layers share."""

    eps: Positive = 1e-5
    """Added to the variance."""


class BatchNormLayer(NormLayer):
    """Normalise every channel over the batch (Ioffe and Szegedy, 2015, arXiv:1502.03167)."""

    num_features: Width | None = None
    """Channels that come in; by default however many do."""
    momentum: Annotated[float, Field(gt=0, le=1)] | None = 0.1
    """Share of the new batch in the running statistics; none: their plain mean."""
    affine: bool = True
    """Learn a scale and a shift per channel."""
    track_running_stats: bool = True
    """Evaluate with running statistics instead of those of the batch."""

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        return {"num_features": shape[0]}


class GroupNormLayer(NormLayer):
    """Normalise groups of channels, sample by sample (Wu and He, 2018, arXiv:1803.08494)."""

    num_groups: Size
    """Groups into which the channels are divided."""
    num_channels: Width | None = None
    """What comes in; by default however many do."""
    affine: bool = True
    """Learn a scale and a shift per channel."""

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        return {"num_channels": shape[0]}


class LayerNormLayer(NormLayer):
    """Normalise the last axes, sample by sample (Ba et al., 2016, arXiv:1607.06450)."""

    normalized_shape: Width | tuple[Width, ...] | None = None
    """Sizes of the last axes that are normalised together; by default the last axis alone."""
    elementwise_affine: bool = True
    """Learn a scale and a shift per value."""
    bias: bool = True
    """Whether the shift is learned too."""

    def sizes(self, shape: tuple[int, ...], num_outputs: int | None) -> dict[str, int | None]:
        return {"normalized_shape": shape[-1]}


class DropoutLayer(TorchLayerConfig):
    """Set random values to zero in training (Srivastava et al., 2014)."""

    p: Dropout = 0.5
    """Share that is set to zero."""


class FlattenLayer(TorchLayerConfig):
    """Join axes; by default all but the batch."""

    start_dim: int = 1
    """The first axis to join; 0 is the batch, which must stay."""
    end_dim: int = -1
    """The last axis to join."""


class LeakyReluLayer(TorchLayerConfig):
    """The value, or a small part of it where it is negative."""

    negative_slope: float = 0.01
    """That part."""


class EluLayer(TorchLayerConfig):
    """The value, or an exponential curve where it is negative (Clevert et al., 2016, arXiv:1511.07289)."""

    alpha: float = 1.0
    """Minus what the curve ends at."""


class GeluLayer(TorchLayerConfig):
    """The value, weighted by the normal distribution up to it (Hendrycks and Gimpel, 2016, arXiv:1606.08415)."""

    approximate: Literal["none", "tanh"] = "none"
    """`tanh` is faster on some devices."""


class EmbeddingLayer(TorchLayerConfig):
    """A learned vector for every whole number."""

    num_embeddings: Width
    """How many numbers there are."""
    embedding_dim: Width
    """Length of the vectors."""
    padding_idx: Annotated[int, Field(ge=0)] | None = None
    """A number whose vector stays zero."""


_POSITIONS = {
    "1d": ("channels", "length"),
    "2d": ("channels", "height", "width"),
    "3d": ("channels", "depth", "height", "width"),
}


class _Documented(Config):
    """Mixed into made classes: their bases have the texts, and looking for more takes 20 ms a class."""

    model_config = ConfigDict(use_attribute_docstrings=False)


def _register(name: str, base: type[TorchLayerConfig], module_class: type[nn.Module], about: str = "") -> None:
    """Make a torch layer known under a name."""
    # BatchNorm1d takes vectors as well as sequences, and says so itself.
    free = base is BatchNormLayer and name.endswith("1d")
    axes = () if free else _POSITIONS.get(name[-2:], ())
    tag: Any = (Literal[name], name)
    bases: Any = (base, _Documented)
    about = f"{about or base.__doc__} `torch.nn.{module_class.__name__}`."
    title = f"{module_class.__name__}Layer"
    config_class = cast(Any, create_model(title, __base__=bases, __doc__=about, __module__=__name__, name=tag))
    config_class.module_class, config_class.axes = module_class, axes
    register("layer")(config_class)


_register("linear", LinearLayer, nn.Linear)
_register("conv1d", ConvLayer, nn.Conv1d)
_register("conv2d", ConvLayer, nn.Conv2d)
_register("conv3d", ConvLayer, nn.Conv3d)
_register("max_pool1d", MaxPoolLayer, nn.MaxPool1d)
_register("max_pool2d", MaxPoolLayer, nn.MaxPool2d)
_register("max_pool3d", MaxPoolLayer, nn.MaxPool3d)
_register("avg_pool1d", AvgPoolLayer, nn.AvgPool1d)
_register("avg_pool2d", AvgPoolLayer, nn.AvgPool2d)
_register("avg_pool3d", AvgPoolLayer, nn.AvgPool3d)
_register("adaptive_avg_pool1d", AdaptivePoolLayer, nn.AdaptiveAvgPool1d, "Means over so many windows.")
_register("adaptive_avg_pool2d", AdaptivePoolLayer, nn.AdaptiveAvgPool2d, "Means over so many windows.")
_register("adaptive_avg_pool3d", AdaptivePoolLayer, nn.AdaptiveAvgPool3d, "Means over so many windows.")
_register("adaptive_max_pool1d", AdaptivePoolLayer, nn.AdaptiveMaxPool1d, "Largest values of so many windows.")
_register("adaptive_max_pool2d", AdaptivePoolLayer, nn.AdaptiveMaxPool2d, "Largest values of so many windows.")
_register("adaptive_max_pool3d", AdaptivePoolLayer, nn.AdaptiveMaxPool3d, "Largest values of so many windows.")
_register("batch_norm1d", BatchNormLayer, nn.BatchNorm1d)
_register("batch_norm2d", BatchNormLayer, nn.BatchNorm2d)
_register("batch_norm3d", BatchNormLayer, nn.BatchNorm3d)
_register("group_norm", GroupNormLayer, nn.GroupNorm)
_register("layer_norm", LayerNormLayer, nn.LayerNorm)
_register("dropout", DropoutLayer, nn.Dropout)
_register("dropout2d", DropoutLayer, nn.Dropout2d, "Set whole channels to zero in training.")
_register("flatten", FlattenLayer, nn.Flatten)
_register("relu", PlainLayer, nn.ReLU, "The value, or zero where it is negative.")
_register("leaky_relu", LeakyReluLayer, nn.LeakyReLU)
_register("elu", EluLayer, nn.ELU)
_register("gelu", GeluLayer, nn.GELU)
_register("silu", PlainLayer, nn.SiLU, "The value, weighted by its sigmoid.")
_register("tanh", PlainLayer, nn.Tanh, "Hyperbolic tangent: -1 to 1.")
_register("sigmoid", PlainLayer, nn.Sigmoid, "The logistic curve: 0 to 1.")
_register("embedding", EmbeddingLayer, nn.Embedding)


@register("layer")
class RepeatConfig(LayerConfig):
    """The same layers several times over, each time with weights of their own."""

    name: Literal["repeat"] = "repeat"
    repeat: int = Field(ge=1, le=1000)
    """How many times."""
    # The schema of a list of layers would hold itself for ever.
    layers: Annotated[
        Layers, WithJsonSchema({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "object"}]}})
    ]
    """What is repeated."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        layer: f"write {{name: {layer}, …}}" for layer in registry.names("layer")
    }

    def unrolled(self, place: str) -> Iterator[tuple[str, TorchLayerConfig]]:
        for _ in range(self.repeat):
            for number, layer in enumerate(self.layers):
                yield from layer.unrolled(f"{place}.layers[{number}]")


any_layer.default = RepeatConfig  # what a mapping without a name is
