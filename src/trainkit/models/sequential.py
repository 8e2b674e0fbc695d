"""A model written layer by layer in the YAML file."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.models.base import ModelConfig
from trainkit.models.layers import Layers


@register("model")
class SequentialConfig(ModelConfig):
    """Torch layers one after the other, by their names in small letters; input sizes are found out."""

    name: Literal["sequential"] = "sequential"
    layers: Layers
    """Such as `[flatten, {name: linear, out_features: 64}, relu, linear]`: the last linear layer takes its
    `out_features` from the data. `{repeat: 3, layers: […]}` stands for its layers three times over."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Sequential:
        layers = [item for number, one in enumerate(self.layers) for item in one.unrolled(f"model.layers[{number}]")]
        last_linear = max((i for i, (_, layer) in enumerate(layers) if layer.module_class is nn.Linear), default=None)
        model = nn.Sequential()
        embeds = torch.int64 in spec.input.dtypes() and layers[0][1].module_class is nn.Embedding
        inputs = torch.zeros(2, *spec.shape, dtype=torch.int64 if embeds else torch.float32)
        for i, (place, layer) in enumerate(layers):
            shape = tuple(inputs.shape[1:])
            try:
                module = layer.build(shape, num_outputs if i == last_linear else None)
                # Evaluation leaves running statistics and the random stream alone.
                with torch.no_grad():
                    inputs = module.eval()(inputs)
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from None
            except (RuntimeError, ValueError, TypeError, IndexError) as error:  # torch's kinds for what does not fit
                reason = str(error).splitlines()[0]
                raise ConfigError(f"{place}: {layer.name} does not take inputs {shape}: {reason}") from error
            if inputs.shape[:1] != (2,):
                raise ConfigError(f"{place}: {layer.name} mixes the samples of a batch; the first axis must stay")
            model.append(module.train())
        return model
