from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomInvert

from trainkit.config import registry
from trainkit.core.errors import ConfigError, DataError
from trainkit.data import DataSpec, register_transform
from trainkit.data.inputs import Pictures
from trainkit.data.transforms.base import PictureTransform, SampleRandom
from trainkit.tasks import Segmentation

PICTURES = torch.randint(256, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
DRAWS = SampleRandom(torch.arange(8), 0, 0, torch.device("cpu"))


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {family: dict(classes) for family, classes in registry._families.items()}
    monkeypatch.setattr(registry, "_families", defaultdict(dict, copies))


def transform(**options: Any) -> PictureTransform:
    config = registry.find("transform", "mine").model_validate({"name": "mine", **options})
    assert isinstance(config, PictureTransform)
    return config


def test_a_function_with_draws_of_its_own_for_each_picture() -> None:
    @register_transform("mine")
    def invert(pictures: Tensor, draws: SampleRandom, share: float = 0.5) -> Tensor:
        return torch.where((draws("invert") < share)[:, None, None, None], 255 - pictures, pictures)

    made = transform(share=0.4).apply(PICTURES, DRAWS)
    changed = (made != PICTURES).flatten(1).any(1)
    assert torch.equal(changed, DRAWS("invert") < 0.4)
    assert torch.equal(transform(share=1.0).apply(PICTURES, DRAWS), 255 - PICTURES)


def test_a_class_of_torchvision_picture_by_picture() -> None:
    register_transform("mine", each=True)(RandomInvert)
    torch.manual_seed(0)
    made = transform(p=0.5).apply(PICTURES, DRAWS)
    inverted = (made == 255 - PICTURES).flatten(1).all(1)
    assert 0 < int(inverted.sum()) < 8


def test_what_gives_something_else_is_told() -> None:
    @register_transform("mine")
    def scaled(pictures: Tensor) -> Tensor:
        return pictures / 255

    with pytest.raises(ConfigError, match=r"scaled gives torch.float32 \(8, 3, 4, 4\), expected torch.ui"):
        transform().apply(PICTURES, DRAWS)


def test_masks_would_stay_behind() -> None:
    spec = DataSpec(input=Pictures(shape=(3, 4, 4)), task=Segmentation(size=2))
    register_transform("mine")(lambda pictures: pictures.flip(3))
    with pytest.raises(DataError, match=r"^data.augment: mine moves pictures, but not their masks; say moves=False"):
        transform().check(spec)
    register_transform("mine", moves=False)(lambda pictures: 255 - pictures)
    transform().check(spec)
