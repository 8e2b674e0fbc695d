"""torchvision's segmentation models."""

from __future__ import annotations

import pytest
import torch

from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Pictures
from trainkit.models.library import TorchvisionModelConfig
from trainkit.models.torchvision_segmentation import TorchvisionSegmentationConfig
from trainkit.tasks import Classification


def spec(channels: int = 3) -> DataSpec:
    return DataSpec(input=Pictures(shape=(channels, 33, 47)), task=Classification(size=5))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_in_evaluation_of_the_size_of_the_inputs(channels: int) -> None:
    model = TorchvisionSegmentationConfig(arch="lraspp_mobilenet_v3_large").build(spec(channels), 5)
    for mode in (True, False):
        assert model.train(mode)(torch.randn(2, channels, 33, 47)).shape == (2, 5, 33, 47)


def test_auxiliary_outputs_in_training() -> None:
    model = TorchvisionSegmentationConfig(arch="deeplabv3_mobilenet_v3_large").build(spec(), 5)
    made = model.train()(torch.randn(2, 3, 33, 47))
    assert {name: tuple(one.shape) for name, one in made.items()} == {"out": (2, 5, 33, 47), "aux": (2, 5, 33, 47)}
    assert model.eval()(torch.randn(1, 3, 33, 47)).shape == (1, 5, 33, 47)
    plain = TorchvisionSegmentationConfig(arch="deeplabv3_mobilenet_v3_large", aux_loss=False).build(spec(), 5)
    assert plain.train()(torch.randn(2, 3, 33, 47)).shape == (2, 5, 33, 47)


def test_names() -> None:
    with pytest.raises(ConfigError, match="no segmentation model 'fcn_resnet5'; did you mean 'fcn_resnet50'"):
        TorchvisionSegmentationConfig(arch="fcn_resnet5").build(spec(), 5)
    with pytest.raises(ConfigError, match=r"sorts pixels into classes \(model.name=torchvision_segmentation\)"):
        TorchvisionModelConfig(arch="fcn_resnet50").build(spec(), 5)
