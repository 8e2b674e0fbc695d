"""The picture classifiers of torchvision and timm: their architectures and weights, with a head for our classes."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import torch
from torch import Tensor, nn

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.suggestions import did_you_mean
from trainkit.data import DataSpec
from trainkit.data.sources.torchvision import network, offline
from trainkit.models.base import ModelConfig
from trainkit.models.pretrained import State

SIDE_OUTPUTS = ("aux1.", "aux2.", "AuxLogits.")
"""Parts of GoogLeNet and Inception that add outputs in training, which no loss here takes."""


KINDS = {
    "detection": "finds objects",
    "segmentation": "sorts pixels into classes (model.name=torchvision_segmentation)",
    "video": "is for videos",
    "optical_flow": "tells how pixels move",
    "quantization": "computes with 8-bit numbers, for use after training",
}
"""What torchvision's models do that are no classifiers of pictures, by where they are."""

UPPER_SIZES = (224, 384, 512)
"""Sides that most models take."""
STRIDE = 32
"""By so much most models make a picture smaller: what takes a picture at all, takes multiples of it."""


class LibraryModelConfig(ModelConfig):
    """Base of the architectures and weights that come from a library."""

    arch: str
    """Its name in the library."""
    weights: str = "none"
    """Where training begins: `none` (random), `DEFAULT` (the library's own, downloaded when missing), or a file with a
    state_dict, such as a checkpoint. A head (last layer) of another size is re-initialised."""

    def initial(self, spec: DataSpec) -> State:
        return self.pretrained(spec) if self.weights == "DEFAULT" else super().initial(spec)

    def least_size(self, spec: DataSpec, num_outputs: int) -> int | None:
        """The side of the smallest square picture, no smaller than these are, that the model takes; None where it takes
        none, or they are not to blame. Found by trying, with tensors that have a shape and no numbers."""
        channels, *sides = spec.shape

        def takes(side: int) -> bool:
            square = spec.with_input(shape=(channels, side, side))
            try:
                with torch.device("meta"), torch.inference_mode():
                    self.build(square, num_outputs).eval()(torch.zeros(2, *square.shape))
            except (ConfigError, RuntimeError, AssertionError, ValueError):
                return False
            return True

        low = min(sides)
        high = next((side for side in UPPER_SIZES if side > low and takes(side)), None)
        if high is None:
            return None
        for side in range(low + -low % STRIDE, high, STRIDE):
            if takes(side):
                high = side
                break
            low = side
        while low + 1 < high:
            low, high = (low, middle) if takes(middle := (low + high) // 2) else (middle, high)
        return high

    @abstractmethod
    def pretrained(self, spec: DataSpec) -> State:
        """The weights that the library recommends, from its cache or the network.

        Raises:
            DataError: they are not there and cannot be fetched.
        """


@register("model")
class TorchvisionModelConfig(LibraryModelConfig):
    """Any picture classifier of torchvision, by torchvision's own name: resnet18, vgg16, vit_b_16 and so on.

    Grey pictures are shown to it as three equal channels.
    """

    name: Literal["torchvision"] = "torchvision"
    arch: str
    """Its name in torchvision, such as `resnet18`."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        from torchvision import models  # seconds, so only when one is built

        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise ConfigError(
                f"model: {self.arch} needs pictures with 1 or 3 channels (channels, height, width), "
                f"the data has shape {spec.shape}"
            )
        known = _torchvision_models()
        if self.arch not in known:
            near = did_you_mean(self.arch, known)
            if does := _what_it_does(self.arch):
                raise ConfigError(f"model.arch: {self.arch!r} {does}; expected a classifier of pictures{near}")
            hint = near or f"; known: {', '.join(known)}"
            if find_spec("timm") and self.arch in _timm().list_models():
                hint = "; timm has one: model.name=timm"
            raise ConfigError(f"model.arch: torchvision has no {self.arch!r}{hint}")
        channels, height, width = spec.shape
        options: dict[str, Any] = {}
        if self.arch in ("googlenet", "inception_v3"):
            # Their pretrained weights expect pixels of another scale, which transform_input makes of ours.
            options = {"aux_logits": False, "init_weights": True, "transform_input": True}
        elif self.arch.startswith("vit_"):
            options = {"image_size": height}
        elif self.arch.startswith("maxvit_"):
            options = {"input_size": (height, width)}
        with _sizes_explained(self.arch, spec):
            model: nn.Module = models.get_model(self.arch, weights=None, num_classes=num_outputs, **options)
            if self.arch.startswith("vit_") and height != width:
                raise ValueError("the pictures must be square")
        if channels == 1:
            model.register_forward_pre_hook(three_channels)  # a module in front would change the state_dict's keys
        return model

    def initial(self, spec: DataSpec) -> State:
        return {key: value for key, value in super().initial(spec).items() if not key.startswith(SIDE_OUTPUTS)}

    def adapted(self, state: State, model: nn.Module) -> State:
        from torchvision.models import VisionTransformer
        from torchvision.models.vision_transformer import interpolate_embeddings

        if not isinstance(model, VisionTransformer) or "encoder.pos_embedding" not in state:
            return state
        with suppress(ValueError):  # of no square, which does not fit
            state = interpolate_embeddings(model.image_size, model.patch_size, OrderedDict(state))
        return state

    def pretrained(self, spec: DataSpec) -> State:
        from torchvision import models

        weights = models.get_model_weights(self.arch).DEFAULT
        place = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(weights.url).path).name)
        missing = f"model.weights: no weights of {self.arch} in {place}"
        if not place.exists() and offline():
            raise DataError(f"{missing}; TRAINKIT_OFFLINE=1 forbids the download")
        with _failures_explained(missing, place):
            # Through a whole model, because old files have keys that only its builder can read.
            state: State = models.get_model(self.arch, weights=weights, progress=False).state_dict()
        return state


@register("model")
class TimmModelConfig(LibraryModelConfig):
    """Any picture classifier of timm, by timm's own name: convnext_tiny, efficientnet_b0 and so on. An extra:
    `pip install 'trainkit[timm]'`."""

    name: Literal["timm"] = "timm"
    arch: str
    """Its name in timm, such as `resnet18`; with a tag, such as `resnet18.a1_in1k`, `DEFAULT` means those weights."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        timm = _timm()
        if len(spec.shape) != 3:
            raise ConfigError(
                f"model: {self.arch} needs pictures (channels, height, width), the data has shape {spec.shape}"
            )
        known = timm.list_models()
        if self.arch not in known and self.arch not in timm.list_models(include_tags=True):
            if does := _what_it_does(self.arch):
                raise ConfigError(
                    f"model.arch: {self.arch!r} is a name of torchvision, and {does}; expected a classifier of pictures"
                )
            hint = did_you_mean(self.arch, known) or "; timm.list_models() gives all names"
            if self.arch in _torchvision_models():
                hint = "; torchvision has one: model.name=torchvision"
            raise ConfigError(f"model.arch: timm has no {self.arch!r}{hint}")
        with _sizes_explained(self.arch, spec):
            model: nn.Module = timm.create_model(self.arch, num_classes=num_outputs, **self._sizes(spec))
        return model

    def pretrained(self, spec: DataSpec) -> State:
        timm, hub = _timm(), import_module("huggingface_hub")
        source = timm.get_pretrained_cfg(self.arch)
        if source is None or not source.has_weights:
            raise ConfigError(f"model.weights: timm has no weights for {self.arch}; none or a file is expected")
        missing = f"model.weights: no weights of {self.arch} ({source.hf_hub_id or source.url}) on this machine"
        found = hub.try_to_load_from_cache(source.hf_hub_id, "model.safetensors") if source.hf_hub_id else None
        place = Path(found) if isinstance(found, str) else None
        if place is None and offline():
            raise DataError(f"{missing}; TRAINKIT_OFFLINE=1 forbids the download")
        # Otherwise timm asks the hub whether there is a newer file: half a minute where there is no network.
        overlay = {"file": str(place), "custom_load": False} if place else None
        with _failures_explained(missing, place):
            # With the head that they come with: `load_pretrained` leaves it out, and says so.
            model: nn.Module = timm.create_model(
                self.arch, pretrained=True, pretrained_cfg_overlay=overlay, **self._sizes(spec)
            )
        return model.state_dict()

    def adapted(self, state: State, model: nn.Module) -> State:
        own, positions = model.state_dict().get("pos_embed"), state.get("pos_embed")
        if own is None or positions is None or own.shape == positions.shape or own.ndim != 3:
            return state  # of the library's own weights, timm has resized them
        vit: Any = model
        with suppress(AttributeError, RuntimeError):  # it is another kind of model, or file
            grid, prefix = list(vit.patch_embed.grid_size), vit.num_prefix_tokens
            resample = import_module("timm.layers").resample_abs_pos_embed
            return {**state, "pos_embed": resample(positions, grid, num_prefix_tokens=prefix)}
        return state

    def _sizes(self, spec: DataSpec) -> dict[str, Any]:
        """The arguments that follow from the pictures."""
        source = _timm().get_pretrained_cfg(self.arch)
        fixed = {"img_size": spec.shape[1:]} if source is not None and source.fixed_input_size else {}
        return {"in_chans": spec.shape[0], **fixed}


def _torchvision_models() -> list[str]:
    """Classifiers of pictures."""
    from torchvision import models

    return list(models.list_models(module=models))


def _what_it_does(arch: str) -> str | None:
    """What a model of torchvision does instead of telling classes apart; None of those that do, and of other names."""
    from torchvision import models

    if arch not in models.list_models():
        return None
    return KINDS.get(models.get_model_builder(arch).__module__.split(".")[2])


def _timm() -> Any:
    try:
        return import_module("timm")  # seconds, so only when one is built
    except ModuleNotFoundError as error:
        raise ConfigError(f"model: timm needs an extra ({error}); pip install 'trainkit[timm]'") from None


@contextmanager
def _sizes_explained(arch: str, spec: DataSpec) -> Iterator[None]:
    try:
        yield
    except (AssertionError, ValueError) as error:
        _, height, width = spec.shape
        raise ConfigError(f"model: {arch} does not take pictures of {height}x{width}: {error}") from None


@contextmanager
def _failures_explained(missing: str, place: Path | None) -> Iterator[None]:
    """Turn what fails while weights are fetched or read into a DataError; `place` is where they lie afterwards."""
    try:
        with network():
            yield
    except Exception as error:  # two libraries, the network and two kinds of files
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        if place is not None and place.exists():
            raise DataError(f"model.weights: {place} is damaged ({reason}); delete it") from None
        raise DataError(f"{missing}; the download failed ({reason}); or name a file of your own") from None


def three_channels(_module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    """(batch, 1, height, width) to (batch, 3, height, width)."""
    return (args[0].expand(-1, 3, -1, -1),)
