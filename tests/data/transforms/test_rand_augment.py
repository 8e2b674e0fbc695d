from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from tests.data.transforms.test_geometric import CPU, draws, smooth, spec
from trainkit.core.errors import DataError
from trainkit.data.transforms.pipeline import preparation
from trainkit.data.transforms.rand_augment import BINS, RandAugment, operations

# The order of our table; torchvision's begins with Identity.
NAMES = (
    "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness",
    "Identity", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip


def expected(name: str, magnitude: int, picture: Tensor, *, negative: bool) -> Tensor:
    """What torchvision makes of a single picture."""
    transform: Any = v2.RandAugment(magnitude=magnitude)
    strengths, signed = transform._AUGMENTATION_SPACE[name]
    table = strengths(transform.num_magnitude_bins, *picture.shape[-2:])
    strength = 0.0 if table is None else float(table[magnitude]) * (-1 if signed and negative else 1)
    result: Tensor = transform._apply_image_or_video_transform(
        picture, name, strength, interpolation=transform.interpolation, fill=transform._fill
    )
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [0, 1, 9, 10, 17, BINS - 1])
def test_a_group_is_what_torchvision_makes_of_each_of_its_pictures(magnitude: int, channels: int) -> None:
    pictures = smooth(5, (channels, 33, 66))
    table = operations(magnitude, 33, 66)
    assert len(table) == len(NAMES)
    for name, pair in zip(NAMES, table, strict=True):
        for negative, operate in enumerate(pair):
            alone = [expected(name, magnitude, picture, negative=bool(negative)) for picture in pictures]
            assert torch.equal(operate(pictures), torch.stack(alone)), name


def test_every_table_of_torchvision_is_covered() -> None:
    assert set(v2.RandAugment._AUGMENTATION_SPACE) == set(NAMES)
    assert v2.RandAugment().num_magnitude_bins == BINS


def test_operations_follow_one_after_the_other() -> None:
    pictures = smooth(100, (3, 20, 24))
    augment = RandAugment(num_ops=2, magnitude=12)
    found = augment.apply(pictures, draws(100))
    for n, picture in enumerate(pictures):
        for number in range(2):
            name = NAMES[int(draws(100).on_host(f"rand_augment operation {number}")[n] * 14)]
            negative = bool(draws(100).on_host(f"rand_augment sign {number}")[n] < 0.5)
            picture = expected(name, 12, picture, negative=negative)
        assert torch.equal(found[n], picture)


def test_every_operation_and_sign_is_as_likely() -> None:
    picture = torch.tensor([10, 60, 90, 200], dtype=torch.uint8).view(1, 1, 2, 2).repeat(28_000, 1, 1, 1)
    shifted = RandAugment(num_ops=1, magnitude=30).apply(picture, draws(28_000))
    # brighter (x 1.9) and darker (x 0.1): a half of a fourteenth each
    for factor in (1.9, 0.1):
        made = (shifted == (picture[:1] * factor).clamp(0, 255).to(torch.uint8)).flatten(1).all(1)
        assert made.sum().item() == pytest.approx(1000, rel=0.1)


def test_other_channels() -> None:
    with pytest.raises(DataError, match=r"rand_augment is for pictures with 1 or 3 channels .*, the images have 2$"):
        preparation(spec((2, 8, 8)), (RandAugment(),), 0, CPU)
