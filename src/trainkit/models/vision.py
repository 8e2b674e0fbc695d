"""The picture classifiers of torchvision: its architectures and weights, with a head for our classes."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlparse

import torch
from pydantic import model_validator
from torch import Tensor, nn

from trainkit.data import DataSpec
from trainkit.data.vision import network, offline
from trainkit.errors import ConfigError, DataError, did_you_mean
from trainkit.models.base import ModelConfig
from trainkit.registry import register

SIDE_OUTPUTS = ("aux1.", "aux2.", "AuxLogits.")
"""Parts of GoogLeNet and Inception that add outputs in training, which no loss here takes."""


@register("model")
class TorchvisionModelConfig(ModelConfig):
    """Any picture classifier of torchvision, by torchvision's own name: resnet18, vgg16, vit_b_16 and so on.

    Grey pictures are shown to it as three equal channels.
    """

    name: Literal["torchvision"] = "torchvision"
    arch: str
    """Its name in torchvision, such as `resnet18`."""
    weights: str = "none"
    """Where training begins: `none` (random), `DEFAULT` (torchvision's best, downloaded when missing), or a file with
    a state_dict. A last layer of another size is left out."""
    freeze: Literal["none", "backbone"] = "none"
    """`backbone`: train the last layer alone; statistics of BatchNorm stay as loaded."""

    @model_validator(mode="after")
    def _frozen_weights_mean_something(self) -> Self:
        if self.freeze == "backbone" and self.weights == "none":
            raise ValueError("freeze=backbone needs weights: a random backbone would stay random")
        return self

    def restored(self) -> Self:
        return self.model_copy(update={"weights": "none"})

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise ConfigError(
                f"model: {self.arch} needs pictures with 1 or 3 channels (channels, height, width), "
                f"the data has shape {spec.shape}"
            )
        model = self._fresh(spec, num_outputs)
        head = _head(model)
        if self.weights == "DEFAULT":
            self._load(model, head, _pretrained(self.arch))
        elif self.weights != "none":
            self._load(model, head, _read(Path(self.weights).expanduser()))
        if self.freeze == "backbone":
            _freeze(model, model.get_submodule(head))
        if spec.shape[0] == 1:
            model.register_forward_pre_hook(_three_channels)  # a module in front would change the state_dict's keys
        return model

    def _fresh(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        from torchvision import models  # seconds, so only when one is built

        known = models.list_models(module=models)
        if self.arch not in known:
            hint = did_you_mean(self.arch, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"model.arch: torchvision has no {self.arch!r}{hint}")
        options: dict[str, Any] = {}
        if self.arch in ("googlenet", "inception_v3"):
            # Their pretrained weights expect pixels of another scale, which transform_input makes of ours.
            options = {"aux_logits": False, "init_weights": True, "transform_input": True}
        elif self.arch.startswith("vit_"):
            options = {"image_size": spec.shape[1]}
        elif self.arch.startswith("maxvit_"):
            options = {"input_size": spec.shape[1:]}
        try:
            model: nn.Module = models.get_model(self.arch, weights=None, num_classes=num_outputs, **options)
            if self.arch.startswith("vit_") and spec.shape[1] != spec.shape[2]:
                raise ValueError("the pictures must be square")
        except (AssertionError, ValueError) as error:
            _, height, width = spec.shape
            raise ConfigError(f"model: {self.arch} does not take pictures of {height}x{width}: {error}") from None
        return model

    def _load(self, model: nn.Module, head: str, state: Mapping[str, Tensor]) -> None:
        """Put pretrained weights into the model, but for a head of another size."""
        own = model.state_dict()
        resized = [
            key for key in own if key.startswith(f"{head}.") and key in state and state[key].shape != own[key].shape
        ]
        kept = {key: value for key, value in state.items() if key not in resized and not key.startswith(SIDE_OUTPUTS)}
        try:
            keys = model.load_state_dict(kept, strict=False)
            missing = [key for key in keys.missing_keys if key not in resized]
            problems = [
                f"{what} {listed}"
                for what, listed in (("missing", _some(missing)), ("unknown", _some(keys.unexpected_keys)))
                if listed
            ]
        except RuntimeError as error:  # torch's kind for other shapes; its first line only says whose
            problems = [str(error).splitlines()[1].strip().rstrip(".")]
        if problems:
            raise ConfigError(f"model.weights: {self.weights} does not fit {self.arch}: {'; '.join(problems)}")
        if resized:
            theirs, ours = (tuple(there[resized[0]].shape) for there in (state, own))
            warnings.warn(
                f"model.weights: {', '.join(resized)} begin anew: {theirs} in {self.weights}, {ours} here", stacklevel=2
            )


def _head(model: nn.Module) -> str:
    """The name of the layer that gives the outputs: the last linear one or, in SqueezeNet, the last convolution."""
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return names[-1]


def _freeze(model: nn.Module, head: nn.Module) -> None:
    """Keep everything but the head as it is."""
    model.requires_grad_(False)
    head.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.register_forward_pre_hook(_evaluate)  # train() on the model would undo an eval() done once


def _evaluate(module: nn.Module, _args: tuple[Tensor]) -> None:
    module.eval()


def _three_channels(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    """(batch, 1, height, width) to (batch, 3, height, width)."""
    return (args[0].expand(-1, 3, -1, -1),)


def _pretrained(arch: str) -> Mapping[str, Tensor]:
    """The weights that torchvision recommends, from its cache or the network.

    Raises:
        DataError: they are not there and cannot be fetched.
    """
    from torchvision import models

    weights = models.get_model_weights(arch).DEFAULT
    place = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
    missing = f"model.weights: no weights of {arch} in {place}"
    if not place.exists() and offline():
        raise DataError(f"{missing}; TRAINKIT_OFFLINE=1 forbids the download")
    try:
        with network():
            # Through a whole model, because old files have keys that only its builder can read.
            state: Mapping[str, Tensor] = models.get_model(arch, weights=weights, progress=False).state_dict()
    except (OSError, RuntimeError, EOFError, HTTPException, pickle.UnpicklingError) as error:
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        if place.exists():
            raise DataError(f"model.weights: {place} is damaged ({reason}); delete it") from None
        raise DataError(f"{missing}; the download failed ({reason}); or name a file of your own") from None
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    """A state_dict from a file.

    Raises:
        ConfigError: there is none.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"model.weights: no file {path.absolute()}; none, DEFAULT or a file is expected") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError):
        state = None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"model.weights: {path} is not a state_dict, as torch.save(model.state_dict(), …) writes it")
    return state


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
