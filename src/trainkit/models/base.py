"""Model configs, and the two ways in which a user's own model becomes one."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

from pydantic import Field, PydanticSchemaGenerationError, create_model
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


def facts(spec: DataSpec, num_outputs: int) -> dict[str, Any]:
    """What the data supplies to a constructor that names one of these as an argument."""
    in_features = 1
    for size in spec.shape:
        in_features *= size
    return {
        "num_outputs": num_outputs,
        "num_classes": num_outputs,
        "out_features": num_outputs,
        "input_shape": spec.shape,
        "in_channels": spec.shape[0],
        "in_features": in_features,
    }


SUPPLIED = ("num_outputs", "num_classes", "out_features", "input_shape", "in_channels", "in_features")


def register_model(name: str) -> Callable[[M], M]:
    """Class decorator: make a plain `nn.Module` a model that a YAML file can name.

    The config is derived from the constructor's typed arguments. Those that the data knows (`num_classes`,
    `num_outputs`, `out_features`, `in_channels`, `in_features`, `input_shape`) are supplied and are no config keys.

    Raises:
        ConfigError: an argument has no type, or one that a YAML file cannot express.
    """

    def add(module_class: M) -> M:
        if module_class.forward is nn.Module.forward:
            raise ConfigError(f"{module_class.__qualname__}: has no forward method")
        supplied = [key for key in inspect.signature(module_class).parameters if key in SUPPLIED]
        fields = _fields(module_class)

        class DerivedConfig(ModelConfig):
            def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
                known = facts(spec, num_outputs)
                arguments = {key: getattr(self, key) for key in fields} | {key: known[key] for key in supplied}
                return module_class(**arguments)

        try:
            config_class = create_model(
                f"{module_class.__name__}Config",
                __base__=DerivedConfig,
                __doc__=inspect.getdoc(module_class) or f"The user's {module_class.__qualname__}.",
                __module__=module_class.__module__,
                name=(Literal[name], name),
                **fields,
            )
        except PydanticSchemaGenerationError as error:
            raise ConfigError(f"{module_class.__qualname__}: {error.message.splitlines()[0]}") from None
        register("model")(config_class)
        return module_class

    return add


def _fields(module_class: type[nn.Module]) -> dict[str, Any]:
    hints = get_type_hints(module_class.__init__)
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(module_class).parameters.items():
        if key in SUPPLIED:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or key not in hints:
            raise ConfigError(f"{module_class.__qualname__}: argument {key!r} needs a type, such as {key}: int = 64")
        fields[key] = (hints[key], ... if parameter.default is parameter.empty else parameter.default)
    return fields
