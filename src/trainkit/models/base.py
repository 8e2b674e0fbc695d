"""Model configs, and the two ways in which a user's own model becomes one."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator
from torch import nn

from trainkit.config.base import Config
from trainkit.config.from_constructor import OwnConfig, register_own
from trainkit.config.registry import is_ours
from trainkit.config.signature import constructor_of, title_of
from trainkit.core.errors import ConfigError
from trainkit.core.seeding import generators_restored
from trainkit.data import DataSpec
from trainkit.data.paths import expanded
from trainkit.models import wrappers
from trainkit.models.dry_run import initialize_lazy
from trainkit.models.outputs import only_outputs
from trainkit.models.pretrained import State, compare_with, freeze_backbone, load_pretrained, read

Width = Annotated[int, Field(ge=1, le=1_000_000)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "tanh", "sigmoid", "none"]

activations: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}


def count_parameters(parameters: Iterable[nn.Parameter], *, trained: bool = False) -> int:
    """How many numbers they are; `trained`: those that take gradients."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad or not trained)


M = TypeVar("M", bound=Callable[..., nn.Module])


class ModelConfig(Config):
    """Base of every model: what the data gives (sizes, channels, classes) is never written into the config."""

    name: str
    weights: str = "none"
    """Where training begins: `none` (random), or a file with a state_dict, such as a checkpoint. A head (last
    layer) of another size is re-initialised."""
    freeze: Literal["none", "backbone"] = "none"
    """`backbone`: train the last layer alone, or all that give the outputs; statistics of BatchNorm stay as loaded."""

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What it wants of the other sections of a config that do not say otherwise."""

    @model_validator(mode="after")
    def _frozen_weights_mean_something(self) -> Self:
        if self.freeze == "backbone" and self.weights == "none":
            raise ValueError("freeze=backbone needs weights: a random backbone would stay random")
        return self

    @abstractmethod
    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        """Build a module with random weights that turns inputs of shape (batch, *spec.shape) into (batch, num_outputs).

        Where sequences are of different lengths (`spec.input.has_lengths`), it takes these as its second argument.

        Raises:
            ConfigError: the model cannot take inputs of that shape.
        """

    def create(self, spec: DataSpec, num_outputs: int) -> tuple[nn.Module, list[str]]:
        """Build the module, with the weights that training begins with.

        Returns:
            The module, and what the user should know of its weights.

        Raises:
            ConfigError: the model cannot take inputs of that shape, or the weights do not fit it.
            DataError: the weights cannot be fetched.
        """
        model = self.build(spec, num_outputs)
        each = spec.task.output_shape(num_outputs, spec.shape)
        if not is_ours(self) and each is not None:
            model.register_forward_hook(partial(only_outputs, each))
        initialize_lazy(model, spec)
        compare_with(model, partial(self._wider, spec, num_outputs))
        notes: list[str] = []
        if self.weights != "none":
            notes = load_pretrained(model, self.adapted(self.initial(spec), model), self.weights)
        if self.freeze == "backbone":
            freeze_backbone(model, num_outputs)
        return model, notes

    def initial(self, spec: DataSpec) -> State:
        """The weights that training begins with.

        Raises:
            ConfigError: the file has none.
        """
        return read(expanded(self.weights))

    def adapted(self, state: State, model: nn.Module) -> State:
        """The weights that training begins with in the sizes of the model, where these follow from its inputs."""
        return state

    def _wider(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        with generators_restored():
            return self.build(spec, num_outputs + 1)

    def restored(self) -> Self:
        """The same architecture without weights from elsewhere: a checkpoint is about to bring its own."""
        return self.model_copy(update={"weights": "none"})


SUPPLIED: dict[str, Callable[[DataSpec, int], Any]] = {
    "num_outputs": lambda spec, num_outputs: num_outputs,
    "num_classes": lambda spec, num_outputs: num_outputs,
    "out_features": lambda spec, num_outputs: num_outputs,
    "input_shape": lambda spec, num_outputs: spec.shape,
    "in_channels": lambda spec, num_outputs: spec.shape[0],
    "in_features": lambda spec, num_outputs: math.prod(spec.shape),
}
"""What the data supplies to a constructor that names one of these as an argument."""
SIZES: dict[str, Callable[[DataSpec, int], Any]] = {
    "image_size": lambda spec, num_outputs: spec.shape[1] if spec.shape[1] == spec.shape[2] else spec.shape[1:],
    "height_width": lambda spec, num_outputs: spec.shape[1:],
    "length": lambda spec, num_outputs: spec.shape[0],
    "vocab_size": lambda spec, num_outputs: spec.input.vocab_size,
}
"""What it can supply besides, to an argument that `sizes` names: the side of square pictures, or height and width;
these two always; the number of steps of a sequence."""


class OwnModelConfig(OwnConfig, ModelConfig):
    """Base of the models that are made of a class, or by a function."""

    _section: ClassVar = "model"

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        title = title_of(self._constructor.owner)
        try:
            model = self._make(lambda fact: {**SUPPLIED, **SIZES}[fact](spec, num_outputs))
        except ConfigError as error:
            if "Module.__init__() call" in str(error):  # torch's words for an attribute that came too early
                raise ConfigError(f"model: {title}.__init__ must begin with super().__init__()") from None
            raise
        if why := wrappers.advice(type(model)):
            raise ConfigError(f"model: what {title} gives {why}")
        if not isinstance(model, nn.Module):
            raise ConfigError(f"model: {title} gives a {type(model).__name__}, expected a torch.nn.Module")
        return model


def register_model(
    name: str, *, sizes: Mapping[str, str] | None = None, types: Mapping[str, Any] | None = None
) -> Callable[[M], M]:
    """Decorator: make a plain `nn.Module`, or a function that returns one, a model that a YAML file can name. Public
    ones need no decorator: `register_model("resnet")(ResNet)`.

    The config's keys are the arguments with their types and defaults. Those that the data knows (`num_classes`,
    `num_outputs`, `out_features`, `in_channels`, `in_features`, `input_shape`) are supplied and are no keys. What a
    YAML file cannot give, such as a function, keeps its default.

    Args:
        sizes: the arguments to which the data supplies something under another name, such as
            `{"num_classes": "n_out", "in_channels": "chans"}`; besides the above, `image_size`,
            `height_width` and `length`.
        types: of arguments that say none, such as `{"config": GPTConfig}`: a config object stands for its own fields.

    Raises:
        ConfigError: it is a model made already, or another framework's wrapper; the class has no forward method, or an
            argument without a default is one that a YAML file cannot give, or has a name that configs need for
            themselves.
    """

    def add(owner: M) -> M:
        if why := wrappers.advice(owner if inspect.isclass(owner) else type(owner)):
            raise ConfigError(f"register_model({name!r}): {title_of(owner)} {why}")
        if isinstance(owner, nn.Module):
            wanted = "give its class, or a function that makes one"
            raise ConfigError(f"register_model({name!r}): a {title_of(owner)} that is made already; {wanted}")
        if inspect.isclass(owner) and getattr(owner, "forward", nn.Module.forward) is nn.Module.forward:
            raise ConfigError(f"{owner.__qualname__}: has no forward method")
        constructor = constructor_of(owner, SUPPLIED, sizes, others=SIZES, base=ModelConfig, hints=types)
        register_own("model", name, constructor, OwnModelConfig)
        return owner

    return add
