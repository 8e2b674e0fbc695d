"""The U-Net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.models.unet import UNetConfig
from trainkit.tasks import Classification


def spec(height: int, width: int, channels: int = 3) -> DataSpec:
    return DataSpec(input=Pictures(shape=(channels, height, width)), task=Classification(size=4))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (8, 9)])
def test_outputs_have_the_size_of_the_inputs(height: int, width: int) -> None:
    model = UNetConfig(channels=(4, 8, 16, 32)).build(spec(height, width), 4).eval()
    assert model(torch.randn(2, 3, height, width)).shape == (2, 4, height, width)


def test_parameters() -> None:
    model = UNetConfig(channels=(4, 8)).build(spec(8, 8, channels=1), 3)

    def two(before: int, after: int) -> int:
        return 9 * before * after + 9 * after * after + 4 * after  # two convolutions without bias, two normalisations

    by_hand = two(1, 4) + two(4, 8) + (8 * 4 * 4 + 4) + two(8, 4) + (4 * 3 + 3)
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand


def test_what_is_added_to_a_picture_changes_little_beyond_its_border() -> None:
    """A picture that is extended to a size that divides gives what it gives without: the border is repeated."""
    torch.manual_seed(0)
    model = UNetConfig(channels=(4, 8)).build(spec(24, 24), 2).eval()
    picture = torch.randn(1, 3, 24, 24)
    repeated = nn.functional.pad(picture, (0, 1, 0, 1), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(model(picture)[..., :12, :12], model(repeated)[..., :12, :12])


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="4 scales need pictures of 8x8 or more, these are 4x16; use fewer"):
        UNetConfig().build(spec(4, 16), 4)
    numbers = DataSpec(input=Numbers(shape=(3,)), task=Classification(size=4))
    with pytest.raises(ConfigError, match="unet needs pictures"):
        UNetConfig().build(numbers, 4)
