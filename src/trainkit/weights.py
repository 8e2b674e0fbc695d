"""Weights from elsewhere: reading a file, fitting it to a model, and keeping all but the last layer as it is."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainkit.errors import ConfigError, did_you_mean_path

State = Mapping[str, Tensor]
"""What `state_dict()` gives."""


def head_of(model: nn.Module) -> str | None:
    """The name of the layer that gives the outputs: the last linear or convolutional one that the model declares."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # SqueezeNet ends with a convolution
    return next((name for name, module in reversed([*model.named_modules()]) if isinstance(module, kinds)), None)


def read(path: Path) -> State:
    """The weights in a file: a state_dict, a dict that holds one, or a checkpoint.

    Raises:
        ConfigError: there are none.
    """
    try:
        content = _load(path)
    except FileNotFoundError:
        hint = did_you_mean_path(path) or "; expected none, a file or, for torchvision and timm, DEFAULT"
        raise ConfigError(f"model.weights: no file {path.absolute()}{hint}") from None
    except ImportError as error:
        raise ConfigError(f"model.weights: {path} cannot be read here: {error}") from None
    except Exception:  # torch and safetensors leak many kinds, and their texts advise an unsafe load
        content = None
    state = content
    for key in ("state_dict", "model", "ema"):  # a checkpoint of a run that averages its weights has the last two
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            state = content[key]
    if not isinstance(state, Mapping) or not state or not all(_is_dense(value) for value in state.values()):
        raise ConfigError(f"model.weights: {path} has no state_dict, as torch.save(model.state_dict(), …) writes it")
    return state


def _load(path: Path) -> Any:
    if not stat.S_ISREG(path.stat().st_mode):
        return None  # a FIFO would block
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings(action="ignore"):  # of files that are refused anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_dense(value: object) -> bool:
    """Whether this is a tensor that can be copied into a weight: there are also sparse ones, and such without data."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def misfits(own: State, state: State) -> list[str]:
    """What keeps a state from being loaded into a model whose own is `own`: at most five keys of each kind."""
    differences = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "another shape": [
            f"{key} (stored {tuple(state[key].shape)}, model {tuple(own[key].shape)})"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ],
    }
    return [
        f"{kind}: {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        for kind, keys in differences.items()
        if keys
    ]


def fit(model: nn.Module, state: State, origin: str) -> list[str]:
    """Put weights into a model, all or none; a last layer of another size keeps the model's own.

    Returns:
        What the user should know.

    Raises:
        ConfigError: anything else differs.
    """
    own, name, notes = model.state_dict(), head_of(model), []
    head = {} if name is None else model.get_submodule(name).state_dict(prefix=f"{name}." if name else "")
    resized = [key for key, value in head.items() if key in state and state[key].shape != value.shape]
    if resized:
        key = resized[0]
        theirs, ours = tuple(state[key].shape), tuple(own[key].shape)
        notes.append(f"model.weights: the last layer begins anew: {key} is {theirs} in {origin}, {ours} here")
        state = {**state, **head}
    if problems := misfits(own, state):
        raise ConfigError(f"model.weights: {origin} does not fit the model: {'; '.join(problems)}")
    model.load_state_dict(state)
    return notes


def freeze_backbone(model: nn.Module, num_outputs: int) -> None:
    """Keep everything but the last layer as it is.

    Raises:
        ConfigError: the layer that the model declares last does not give the outputs.
    """
    name = head_of(model)
    if name is None:
        raise ConfigError("model.freeze: the model has no linear or convolutional layer to train")
    head = model.get_submodule(name)
    given = len(cast(Tensor, head.weight))
    if given != num_outputs:
        raise ConfigError(
            f"model.freeze: the last layer that the model declares, {name}, gives {given} numbers, the data needs "
            f"{num_outputs}; declare the layer that gives the outputs at the end"
        )
    model.requires_grad_(False)
    head.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_evaluate)  # train() on the model would undo an eval() done once


def _evaluate(module: nn.Module, _args: tuple[Tensor]) -> None:
    module.eval()
