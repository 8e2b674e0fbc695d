"""Weights from elsewhere: reading a file, loading it into a model, and keeping all but the last layer as it is."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import did_you_mean_path

BatchNorm = nn.modules.batchnorm._BatchNorm

State = Mapping[str, Tensor]
"""What `state_dict()` gives."""
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""What models end with: SqueezeNet with a convolution."""


def tensors_of(state: State) -> State:
    """A state without what modules add to it by `get_extra_state`, which may be anything."""
    return {key: value for key, value in state.items() if not str(key).endswith("_extra_state")}


_wider: WeakKeyDictionary[nn.Module, Callable[[], nn.Module]] = WeakKeyDictionary()


def compare_with(model: nn.Module, wider: Callable[[], nn.Module]) -> None:
    """Let the heads of a model be found, should it be asked for them, beside the same model with one more output.

    Args:
        wider: builds that.
    """
    _wider[model] = wider


def heads_of(model: nn.Module) -> tuple[str, ...]:
    """The names of the layers that give the outputs: those that are larger in a model with one more output, of which
    there may be several. Where that cannot be found out, the last layer that the model declares."""
    names: list[str] = []
    with suppress(Exception), torch.device("meta"):  # not everything can be built without memory
        own, other = model.state_dict(), _wider[model]().state_dict()
        differing = [key for key in tensors_of(own) if key in other and own[key].shape != other[key].shape]
        names = list(dict.fromkeys(key.rpartition(".")[0] for key in differing))
    last = _last_layer(model)
    return tuple(names) or (() if last is None else (last,))


def _last_layer(model: nn.Module) -> str | None:
    """The name of the last linear or convolutional layer that the model declares."""
    return next((name for name, module in reversed([*model.named_modules()]) if isinstance(module, LAYERS)), None)


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
    if not isinstance(state, Mapping) or not state or not all(map(_is_dense, tensors_of(state).values())):
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


def mismatched_keys(own: State, state: State) -> list[str]:
    """What keeps a state from being loaded into a model whose own is `own`: at most five keys of each kind."""
    differences = {
        "missing": [key for key in own if key not in state],
        "unexpected": [key for key in state if key not in own],
        "another shape": [
            f"{key} (stored {tuple(state[key].shape)}, model {tuple(own[key].shape)})"
            for key in tensors_of(own)
            if key in state and state[key].shape != own[key].shape
        ],
    }
    return [
        f"{kind}: {', '.join(keys[:5])}" + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        for kind, keys in differences.items()
        if keys
    ]


def load_pretrained(model: nn.Module, state: State, origin: str) -> list[str]:
    """Put weights into a model, all or none; heads (last layers) of another size keep the model's own.

    Returns:
        What the user should know.

    Raises:
        ConfigError: anything else differs.
    """
    own = model.state_dict()
    resized = [key for key in tensors_of(own) if key in state and state[key].shape != own[key].shape]
    resized_heads: list[str] = []
    for name in heads_of(model) if resized else ():
        head = model.get_submodule(name).state_dict(prefix=f"{name}." if name else "")
        if key := next((key for key in resized if key in head), None):
            resized_heads.append(f"{key} is {tuple(state[key].shape)} in {origin}, {tuple(own[key].shape)} here")
            state = {**state, **head}
    which = "heads are" if resized_heads[1:] else "head is"
    notes = [f"model.weights: the {which} re-initialised: {'; '.join(resized_heads)}"] if resized_heads else []
    if problems := mismatched_keys(own, state):
        raise ConfigError(f"model.weights: {origin} does not fit the model: {'; '.join(problems)}")
    model.load_state_dict(state)
    return notes


def freeze_backbone(model: nn.Module, num_outputs: int) -> None:
    """Keep everything but the last layers as it is.

    Raises:
        ConfigError: the layer that the model declares last does not give the outputs.
    """
    names = heads_of(model)
    if not names:
        raise ConfigError("model.freeze: the model has no linear or convolutional layer to train")
    heads = [model.get_submodule(name) for name in names]
    for name, head in zip(names, heads, strict=True):
        if isinstance(head, LAYERS) and (given := len(head.weight)) != num_outputs:
            raise ConfigError(
                f"model.freeze: the last layer that the model declares, {name}, gives {given} numbers, the data needs "
                f"{num_outputs}; declare the layer that gives the outputs at the end"
            )
    model.requires_grad_(False)
    for head in heads:
        head.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.register_forward_pre_hook(_evaluate)  # train() on the model would undo an eval() done once


def learns(module: BatchNorm) -> bool:
    """Whether a BatchNorm in training mode takes its statistics from the batch."""
    return module.training and _evaluate not in module._forward_pre_hooks.values()


def _evaluate(module: nn.Module, _args: tuple[Tensor]) -> None:
    module.eval()
