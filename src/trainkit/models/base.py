"""Model configs, and the two ways in which a user's own model becomes one."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_type_hints

from pydantic import Field, PydanticUserError, create_model
from torch import nn

from trainkit.config import Config
from trainkit.data import DataSpec
from trainkit.errors import ConfigError
from trainkit.registry import register

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

M = TypeVar("M", bound=type[nn.Module])


class ModelConfig(Config):
    """Base of every model: what the data gives (sizes, channels, classes) is never written into the config."""

    name: str

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "num_classes": "the number of classes comes from the data",
        "in_channels": "the number of channels comes from the data",
        "in_features": "the input size comes from the data",
        "input_shape": "the input size comes from the data",
    }

    @abstractmethod
    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        """Build a module that turns inputs of shape (batch, *spec.shape) into (batch, num_outputs).

        Raises:
            ConfigError: the model cannot take inputs of that shape.
        """

    def restored(self) -> Self:
        """The same architecture without weights from elsewhere: a checkpoint is about to bring its own."""
        return self


SUPPLIED: dict[str, Callable[[DataSpec, int], Any]] = {
    "num_outputs": lambda spec, num_outputs: num_outputs,
    "num_classes": lambda spec, num_outputs: num_outputs,
    "out_features": lambda spec, num_outputs: num_outputs,
    "input_shape": lambda spec, num_outputs: spec.shape,
    "in_channels": lambda spec, num_outputs: spec.shape[0],
    "in_features": lambda spec, num_outputs: math.prod(spec.shape),
}
"""What the data supplies to a constructor that names one of these as an argument."""


def register_model(name: str) -> Callable[[M], M]:
    """Class decorator: make a plain `nn.Module` a model that a YAML file can name.

    The config is derived from the constructor's typed arguments. Those that the data knows (`num_classes`,
    `num_outputs`, `out_features`, `in_channels`, `in_features`, `input_shape`) are supplied and are no config keys.

    Raises:
        ConfigError: the class has no forward method, or an argument has no type, or one that a YAML file cannot
            express, or a name that configs need for themselves.
    """

    def add(module_class: M) -> M:
        title = module_class.__qualname__
        if module_class.forward is nn.Module.forward:
            raise ConfigError(f"{title}: has no forward method")
        arguments = _arguments(module_class)
        fields = {key: field for key, field in arguments.items() if key not in SUPPLIED}
        tag: Any = (Literal[name], name)

        class DerivedConfig(ModelConfig):
            def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
                given = {key: getattr(self, key) for key in fields}
                supplied = {key: SUPPLIED[key](spec, num_outputs) for key in arguments if key in SUPPLIED}
                try:
                    return module_class(**given, **supplied)
                except AttributeError as error:
                    if "Module.__init__() call" in str(error):  # torch's words for an attribute that came too early
                        raise ConfigError(f"model: {title}.__init__ must begin with super().__init__()") from None
                    raise

        try:
            config_class: type[ModelConfig] = create_model(
                f"{module_class.__name__}Config",
                __base__=DerivedConfig,
                __doc__=inspect.getdoc(module_class) or f"The user's {title}.",
                __module__=module_class.__module__,
                **{"name": tag, **fields},
            )
            config_class.model_json_schema()  # what JSON cannot express, YAML cannot
        except PydanticUserError as error:
            raise ConfigError(f"{title}: {error.message.splitlines()[0]}") from None
        register("model")(config_class)
        return module_class

    return add


def _arguments(module_class: type[nn.Module]) -> dict[str, Any]:
    """Type and default of every argument of the constructor, as pydantic takes them."""
    if module_class.__init__ is nn.Module.__init__:
        return {}
    hints = get_type_hints(module_class.__init__)
    arguments: dict[str, Any] = {}
    for key, parameter in inspect.signature(module_class).parameters.items():
        title = f"{module_class.__qualname__}: argument {key!r}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ConfigError(f"{title}: a config can only give single arguments by name")
        if key not in hints and key not in SUPPLIED:
            raise ConfigError(f"{title} needs a type, such as {key}: int = 64")
        if key == "name" or key.startswith("_") or key in dir(ModelConfig):
            raise ConfigError(f"{title} needs another name: configs use this one themselves")
        hint, default = hints.get(key, Any), parameter.default
        # `width: int = None` means `int | None`.
        arguments[key] = (hint | None if default is None else hint, ... if default is parameter.empty else default)
    return arguments
