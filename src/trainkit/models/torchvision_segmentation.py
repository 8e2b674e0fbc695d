"""torchvision's segmentation models, by name: FCN, DeepLabV3 and LR-ASPP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import did_you_mean
from trainkit.data import DataSpec
from trainkit.models.library import TorchvisionModelConfig, three_channels
from trainkit.models.pretrained import State


@register("model")
class TorchvisionSegmentationConfig(TorchvisionModelConfig):
    """Any segmentation model of torchvision, by torchvision's own name: fcn_resnet50, deeplabv3_resnet50,
    lraspp_mobilenet_v3_large and so on. Grey pictures are shown to it as three equal channels."""

    name: Literal["torchvision_segmentation"] = "torchvision_segmentation"  # type: ignore[assignment]
    arch: str
    """Its name in torchvision, such as `deeplabv3_mobilenet_v3_large`."""
    aux_loss: bool = True
    """Let FCN and DeepLabV3 predict from an earlier layer as well while they train, which the loss counts with a weight
    of 0.5 (Zhao et al., 2017, arXiv:1612.01105)."""

    def build(self, spec: DataSpec, num_outputs: int) -> nn.Module:
        from torchvision import models  # seconds, so only when one is built

        if len(spec.shape) != 3 or spec.shape[0] not in (1, 3):
            raise ConfigError(
                f"model: {self.arch} needs pictures with 1 or 3 channels (channels, height, width), "
                f"the data has shape {spec.shape}"
            )
        known = list(models.list_models(module=models.segmentation))
        if self.arch not in known:
            hint = did_you_mean(self.arch, known) or f"; known: {', '.join(known)}"
            raise ConfigError(f"model.arch: torchvision has no segmentation model {self.arch!r}{hint}")
        options: dict[str, Any] = {} if self.arch.startswith("lraspp") else {"aux_loss": self.aux_loss}
        model: nn.Module = models.get_model(
            self.arch, weights=None, weights_backbone=None, num_classes=num_outputs, **options
        )
        if spec.shape[0] == 1:
            model.register_forward_pre_hook(three_channels)  # a module in front would change the state_dict's keys
        model.register_forward_hook(_outputs)
        return model

    def initial(self, spec: DataSpec) -> State:
        state = super().initial(spec)
        unused = () if self.aux_loss else ("aux_classifier.",)
        return {key: value for key, value in state.items() if not key.startswith(unused)}


def _outputs(module: nn.Module, _inputs: object, outputs: Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
    """Of the outputs that a model names, in evaluation those that count; in training the auxiliary ones as well."""
    return dict(outputs) if module.training and len(outputs) > 1 else outputs["out"]
