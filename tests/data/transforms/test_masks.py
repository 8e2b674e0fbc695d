"""Masks stay aligned with the pictures that random transforms move."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.data.transforms.test_geometric import CPU, draws
from trainkit.config import registry
from trainkit.core.errors import DataError
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Pictures
from trainkit.data.transforms.base import PictureTransform
from trainkit.data.transforms.color import ColorJitter
from trainkit.data.transforms.geometric import (
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from trainkit.data.transforms.mixup import CutMix, MixUp
from trainkit.data.transforms.pipeline import fitted, fitted_masks, preparation
from trainkit.data.transforms.rand_augment import RandAugment
from trainkit.tasks import Segmentation

FILL = 255
GEOMETRIC = (
    RandomCrop(padding=7),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomRotation(degrees=180),
    RandomRotation(degrees=30, interpolation="nearest", fill=90),
    RandomResizedCrop(),
    RandomErasing(p=1, fill=90),
)
OF_COLOUR = (ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.2),)
WITH_BOTH = (RandAugment(num_ops=1, magnitude=15), RandAugment(num_ops=3, magnitude=5))


def masks(count: int, height: int = 40, width: int = 56) -> Tensor:
    """Masks of two classes, all different, with a rectangle that touches none of the symmetries of a picture."""
    random = torch.Generator().manual_seed(1)
    made = torch.zeros(count, height, width, dtype=torch.uint8)
    for mask in made:
        top, left = (int(torch.randint(size // 2, (), generator=random)) for size in (height, width))
        mask[top : top + height // 3, left : left + width // 3] = 1
    return made


def pictures_of(masks: Tensor) -> Tensor:
    """0 or 200 by class, in RGB."""
    return (masks * 200)[:, None].repeat(1, 3, 1, 1)


def spec(shape: tuple[int, int, int]) -> DataSpec:
    return DataSpec(input=Pictures(shape=shape), task=Segmentation(size=2))


def test_every_transform_of_pictures_is_looked_at_here() -> None:
    known = {registry.find("transform", name) for name in registry.names("transform")}
    looked_at = {type(transform) for transform in (*GEOMETRIC, *OF_COLOUR, *WITH_BOTH)}
    assert {one for one in known if issubclass(one, PictureTransform) and "tests" not in one.__module__} == looked_at


@pytest.mark.parametrize("transform", GEOMETRIC, ids=repr)
def test_what_moves_pictures_moves_masks(transform: PictureTransform) -> None:
    before = masks(60)
    pictures = transform.apply(pictures_of(before), draws(60))[:, 0]
    moved = transform.apply_to_masks(before, draws(60), FILL)
    assert (moved.shape, moved.dtype) == (before.shape, torch.uint8)
    assert not torch.equal(moved, before)
    assert set(moved.unique().tolist()) <= {0, 1, FILL}
    # Where a picture is interpolated between two classes, either may be right.
    sure = ((pictures == 0) | (pictures == 200)) & (moved != FILL)
    assert torch.equal(pictures[sure], moved[sure] * 200)
    assert sure.float().mean() > 0.6
    assert not ((pictures == 200) & (moved == FILL)).any() or isinstance(transform, RandomRotation)


@pytest.mark.parametrize("transform", [*GEOMETRIC, *OF_COLOUR, *WITH_BOTH], ids=repr)
def test_a_class_has_one_colour_afterwards_as_before(transform: PictureTransform) -> None:
    before = masks(80)
    pictures = transform.apply(pictures_of(before), draws(80))
    moved = transform.apply_to_masks(before, draws(80), FILL)
    for picture, mask in zip(pictures, moved, strict=True):
        colours = []
        for number in (0, 1):
            inside = _eroded(mask == number)
            if inside.any():
                values = picture[:, inside]
                assert (values.amax(1) - values.amin(1)).max() <= 1
                colours.append(values[:, 0])
        if len(colours) == 2 and isinstance(transform, ColorJitter):
            assert not torch.equal(*colours)


def _eroded(chosen: Tensor) -> Tensor:
    """Those of which all neighbours two pixels around are chosen: nothing else was blended into them."""
    others = functional.pad(1 - chosen.float()[None], (2,) * 4, value=1)
    return functional.max_pool2d(others, 5, stride=1)[0] == 0


@pytest.mark.parametrize("transform", OF_COLOUR, ids=repr)
def test_what_changes_colours_leaves_masks(transform: PictureTransform) -> None:
    before = masks(5)
    assert transform.apply_to_masks(before, draws(5), FILL) is before


@pytest.mark.parametrize("transform", [RandomCrop(padding=7), RandomRotation(degrees=(45, 45)), RandomErasing(p=1)])
def test_where_a_picture_ends_the_mask_is_ignored(transform: PictureTransform) -> None:
    before = torch.ones(30, 20, 20, dtype=torch.uint8)
    moved = transform.apply_to_masks(before, draws(30), FILL)
    pictures = transform.model_copy(update={"interpolation": "nearest"}).apply(pictures_of(before), draws(30))[:, 0]
    assert torch.equal(moved == FILL, pictures == 0)
    assert (moved == FILL).any()


def test_a_shear_of_rand_augment_ignores_what_comes_into_view() -> None:
    before = torch.ones(200, 20, 20, dtype=torch.uint8)
    moved = RandAugment(num_ops=1, magnitude=20).apply_to_masks(before, draws(200), FILL)
    assert set(moved.unique().tolist()) == {1, FILL}
    assert 0.2 < (moved == FILL).flatten(1).any(1).float().mean() < 0.45  # 5 of 14 operations


def test_a_batch_on_its_way_to_the_model() -> None:
    before = masks(30)
    batch = Batch(pictures_of(before), before, torch.arange(30))
    augment = (RandomHorizontalFlip(), RandomCrop(padding=5), RandomRotation(degrees=30), ColorJitter(brightness=0.4))
    prepare = preparation(spec((3, 40, 56)), augment, 7, CPU)
    training, evaluation = prepare(batch, 3), prepare(batch, None)
    assert torch.equal(evaluation.targets, before)
    assert torch.equal(batch.targets, before)  # it belongs to the data
    bright = training.inputs[:, 0] > 0.7 * training.inputs[:, 0].flatten(1).amax(1)[:, None, None]
    known = training.targets != FILL
    assert (bright == training.targets.bool())[known].float().mean() > 0.99
    assert torch.equal(prepare(batch, 3).targets, training.targets)
    assert not torch.equal(prepare(batch, 4).targets, training.targets)
    part = prepare(Batch(*(tensor[10:20] for tensor in batch[:3])), 3)
    assert torch.equal(part.targets, training.targets[10:20])


@pytest.mark.parametrize("size", [(20, 28), (80, 100), (33, 70)])
def test_masks_are_brought_to_size_as_their_pictures(size: tuple[int, int]) -> None:
    before = masks(20)
    pictures = fitted(pictures_of(before), (3, *size))[:, 0]
    found = fitted_masks(before, (3, *size))
    assert found.shape == (20, *size)
    sure = (pictures == 0) | (pictures == 200)
    assert torch.equal(pictures[sure], found[sure] * 200)
    assert sure.float().mean() > 0.8


@pytest.mark.parametrize("mix", [MixUp(), CutMix()], ids=repr)
def test_there_is_no_mixture_of_masks(mix: MixUp | CutMix) -> None:
    with pytest.raises(DataError) as caught:
        preparation(spec((3, 8, 8)), (mix,), 0, CPU)
    assert str(caught.value) == (
        f"data.augment: {mix.name} needs classes or labels, the targets of the data are a class for each pixel; "
        "leave it out"
    )
