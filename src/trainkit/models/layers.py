"""The layers that `sequential` strings together: torch's own, with options from their constructors."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, Field, WithJsonSchema
from torch import nn

from trainkit.config import registry
from trainkit.config.base import Component, Config
from trainkit.config.from_constructor import Options, OwnConfig, register_own, torch_config_class
from trainkit.config.registry import register
from trainkit.config.signature import constructor_of, title_of
from trainkit.core.errors import ConfigError
from trainkit.models.base import Dropout, Width

Size = Annotated[int, Field(ge=1)]
Sizes = Size | tuple[Size, ...]
"""One number for all axes, or one per axis."""
Padding = Annotated[int, Field(ge=0)]
Paddings = Padding | tuple[Padding, ...]
Positive = Annotated[float, Field(gt=0)]

SIZES: Mapping[str, Callable[[tuple[int, ...], int | None], int | None]] = {
    "in_features": lambda shape, num_outputs: shape[-1],
    "out_features": lambda shape, num_outputs: num_outputs,
    "in_channels": lambda shape, num_outputs: shape[0],
    "num_features": lambda shape, num_outputs: shape[0],
    "num_channels": lambda shape, num_outputs: shape[0],
    "normalized_shape": lambda shape, num_outputs: shape[-1],
}
"""The arguments that follow from the shape of one input, or from what the whole model must give."""

DEFAULTS: Mapping[str, Any] = {**dict.fromkeys(SIZES), "output_size": 1}
"""Where torch has none."""

AXES = {
    "1d": ("channels", "length"),
    "2d": ("channels", "height", "width"),
    "3d": ("channels", "depth", "height", "width"),
}


ARGUMENTS: Options = {
    "in_features": (Width | None, "What comes in; by default whatever does."),
    "out_features": (Width | None, "What goes out; the last linear layer takes it from the data."),
    "in_channels": (Width | None, "What comes in; by default whatever does."),
    "out_channels": (Width, "Number of filters."),
    "kernel_size": (Sizes, "Side of the filters or windows: one number, or one per axis."),
    "stride": (Sizes, "Step between two places of a filter."),
    "padding": (Paddings | Literal["same", "valid"], "Zeros added on each side; `same` keeps the size."),
    "dilation": (Sizes, "Distance between the values under a filter or in a window."),
    "groups": (Size, "Groups of channels that do not see each other."),
    "bias": (bool, "Add a learned number to every output."),
    "padding_mode": (Literal["zeros", "reflect", "replicate", "circular"], "What is added on the sides."),
    "ceil_mode": (bool, "Keep a last window that is not full."),
    "count_include_pad": (bool, "Whether the zeros of the padding count in the mean."),
    "output_size": (Sizes, "What comes out: one number, or one per axis."),
    "num_groups": (Size, "Groups into which the channels are divided."),
    "num_channels": (Width | None, "Channels that come in; by default however many do."),
    "num_features": (Width | None, "Channels that come in; by default however many do."),
    "normalized_shape": (
        Width | tuple[Width, ...] | None,
        "Sizes of the last axes that are normalised together; by default the last axis alone.",
    ),
    "eps": (Positive, "Added to the variance."),
    "momentum": (
        Annotated[float, Field(gt=0, le=1)] | None,
        "Share of the new batch in the running statistics; none: their plain mean.",
    ),
    "affine": (bool, "Learn a scale and a shift per channel."),
    "elementwise_affine": (bool, "Learn a scale and a shift per value."),
    "track_running_stats": (bool, "Evaluate with running statistics instead of those of the batch."),
    "p": (Dropout, "Share that is set to zero."),
    "start_dim": (int, "The first axis to join; 0 is the batch, which must stay."),
    "end_dim": (int, "The last axis to join."),
    "negative_slope": (float, "That part."),
    "alpha": (float, "Minus what the curve ends at."),
    "approximate": (Literal["none", "tanh"], "`tanh` is faster on some devices."),
    "num_embeddings": (Width, "How many numbers there are."),
    "embedding_dim": (Width, "Length of the vectors."),
    "padding_idx": (Annotated[int, Field(ge=0)] | None, "A number whose vector stays zero."),
}
"""What a config may give of torch's constructors."""

POOLING: Options = {
    "stride": (Sizes | None, "Step between two windows; by default their side."),
    "padding": (Paddings, "Added on each side; at most half the window."),
}


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

    def build(self, shape: tuple[int, ...], num_outputs: int | None) -> nn.Module:
        """Build the layer for inputs of shape (batch, *shape).

        Raises:
            ConfigError: such inputs are not what it wants.
        """
        if self.axes and len(shape) != len(self.axes):
            raise ConfigError(f"{self.name} wants inputs ({', '.join(self.axes)}), {shape} came in")
        options = {key: getattr(self, key) for key in type(self).model_fields if key != "name"}
        for key in [key for key in options if key in SIZES]:
            given, size = options[key], SIZES[key](shape, num_outputs)
            if key.startswith("out_") and size is None and given is None:
                raise ConfigError(f"{self.name} needs {key}; only the last one takes it from the data")
            if isinstance(given, int) and key.startswith(("in_", "num_")) and given != size:
                raise ConfigError(f"{self.name} wants {given} {key.split('_')[1]}, {size} came in")
            options[key] = size if given is None else given
        return self.module_class(**options)


def _register(about: str, *module_classes: type[nn.Module], instead: Options | None = None) -> None:
    """Make torch layers known under their names in snake case, with the defaults of their constructors.

    Args:
        instead: what some of the arguments are here.
    """
    known = {**ARGUMENTS, **(instead or {})}
    for module_class in module_classes:
        title = module_class.__name__
        name = re.sub("(?<=[a-z])(?=[A-Z])", "_", title.replace("LU", "lu")).lower()
        text = f"{about} `torch.nn.{title}`."
        layer = torch_config_class(module_class, f"{title}Layer", name, TorchLayerConfig, text, known, DEFAULTS)
        layer.module_class = module_class
        # BatchNorm1d takes vectors as well as sequences, and says so itself.
        layer.axes = () if module_class is nn.BatchNorm1d else AXES.get(name[-2:], ())
        register("layer")(layer)


_register("Weighted sums of the last axis.", nn.Linear)
_register("Learned filters that slide over the axes after the channels.", nn.Conv1d, nn.Conv2d, nn.Conv3d)
_register("The largest value of every window.", nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, instead=POOLING)
_register("The mean of every window.", nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, instead=POOLING)
_register("Means over so many windows.", nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
_register("Largest values of so many windows.", nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_register(
    "Normalise every channel over the batch (Ioffe and Szegedy, 2015, arXiv:1502.03167).",
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)
_register("Normalise groups of channels, sample by sample (Wu and He, 2018, arXiv:1803.08494).", nn.GroupNorm)
_register(
    "Normalise the last axes, sample by sample (Ba et al., 2016, arXiv:1607.06450).",
    nn.LayerNorm,
    instead={"bias": (bool, "Whether the shift is learned too.")},
)
_register("Set random values to zero in training (Srivastava et al., 2014).", nn.Dropout)
_register("Set whole channels to zero in training.", nn.Dropout2d)
_register("Join axes; by default all but the batch.", nn.Flatten)
_register("The value, or zero where it is negative.", nn.ReLU)
_register("The value, or a small part of it where it is negative.", nn.LeakyReLU)
_register("The value, or an exponential curve where it is negative (Clevert et al., 2016, arXiv:1511.07289).", nn.ELU)
_register(
    "The value, weighted by the normal distribution up to it (Hendrycks and Gimpel, 2016, arXiv:1606.08415).", nn.GELU
)
_register("The value, weighted by its sigmoid.", nn.SiLU)
_register("Hyperbolic tangent: -1 to 1.", nn.Tanh)
_register("The logistic curve: 0 to 1.", nn.Sigmoid)
_register("A learned vector for every whole number.", nn.Embedding)


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


class OwnLayer(OwnConfig, TorchLayerConfig):
    """Base of the layers that are made of a class or a function."""

    _section: ClassVar = ""
    module_class: ClassVar[type[nn.Module]] = nn.Module

    def build(self, shape: tuple[int, ...], num_outputs: int | None) -> nn.Module:
        made = self._make(lambda fact: SIZES[fact](shape, num_outputs))
        if not isinstance(made, nn.Module):
            title = title_of(self._constructor.owner)
            raise ConfigError(f"{title} gives a {type(made).__name__}, expected a torch.nn.Module")
        return made


F = TypeVar("F", bound=Callable[..., nn.Module])


def register_layer(name: str, *, sizes: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Decorator: make an `nn.Module`, or a function that returns one, a layer that `sequential` can name. Public ones
    need no decorator: `register_layer("mish")(torch.nn.Mish)`.

    `in_features`, `in_channels`, `num_features`, `num_channels` and `normalized_shape` are supplied from what comes in;
    the other arguments are the keys of the layer.

    Args:
        sizes: the arguments to which they are supplied under another name, such as `{"in_channels": "dim"}`.

    Raises:
        ConfigError: a config cannot give an argument that has no default.
    """

    def add(owner: F) -> F:
        supplied = [key for key in SIZES if key != "out_features"]
        register_own("layer", name, constructor_of(owner, supplied, sizes, base=TorchLayerConfig), OwnLayer)
        return owner

    return add
