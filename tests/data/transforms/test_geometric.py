# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Pictures
from trainkit.data.transforms.base import PictureTransform, SampleRandom, TransformConfig
from trainkit.data.transforms.color import ColorJitter
from trainkit.data.transforms.geometric import (
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    _boxes,
)
from trainkit.data.transforms.pipeline import Prepare, preparation
from trainkit.data.transforms.rand_augment import RandAugment
from trainkit.experiment.loading import load
from trainkit.tasks import task_class

CPU = torch.device("cpu")
ALL = (
    RandomCrop(padding=2),
    RandomHorizontalFlip(),
    RandomVerticalFlip(),
    RandomRotation(degrees=30),
    RandomResizedCrop(),
    RandomErasing(),
    ColorJitter(brightness=0.5),
    ColorJitter(contrast=0.5),
    ColorJitter(saturation=0.5),
    ColorJitter(hue=0.2),
    RandAugment(),
)


def spec(shape: tuple[int, ...] = (1, 8, 8), kind: Any = "classification") -> DataSpec:
    return DataSpec(input=Pictures(shape=shape), task=task_class(kind)(size=10))


def smooth(count: int, shape: tuple[int, int, int] = (3, 20, 28)) -> Tensor:
    """Different pictures in which neighbours are alike, as in photographs."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, shape[0], 4, 4, generator=random)
    return (torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def draws(count: int, seed: int = 0, epoch: int = 0) -> SampleRandom:
    return SampleRandom(torch.arange(count), seed, epoch, CPU)


def labelled(pictures: Tensor) -> Batch:
    return Batch(pictures, torch.arange(len(pictures)) % 10, torch.arange(len(pictures)))


def same_pictures(count: int, side: int = 8) -> Batch:
    """One picture again and again, its pixels all different and none of them black."""
    picture = torch.arange(1, side * side + 1, dtype=torch.uint8).view(1, 1, side, side)
    return labelled(picture.repeat(count, 1, 1, 1))


def prepare_with(*augment: TransformConfig, seed: int = 0, shape: tuple[int, ...] = (1, 8, 8)) -> Prepare:
    return preparation(spec(shape), augment, seed, CPU)


def pixels(batch: Batch) -> Tensor:
    scaled: Tensor = batch.inputs * 255
    return scaled.round().to(torch.uint8)


def distance(one: Tensor, other: Tensor) -> int:
    """The largest difference of two pixels."""
    return int((one.int() - other.int()).abs().max())


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_each_sample_has_a_draw_of_its_own(transform: PictureTransform) -> None:
    pictures = smooth(1).repeat(200, 1, 1, 1)
    before = pictures.clone()
    transformed = transform.apply(pictures, draws(200))
    assert (transformed.shape, transformed.dtype) == (pictures.shape, torch.uint8)
    assert torch.equal(pictures, before)  # they may belong to a data set
    different = {tuple(picture.flatten().tolist()) for picture in transformed}
    assert len(different) >= {RandomHorizontalFlip: 2, RandomVerticalFlip: 2, RandomCrop: 25}.get(type(transform), 60)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_the_order_in_memory_changes_nothing(transform: PictureTransform) -> None:
    pictures, masks = smooth(40, (3, 20, 28)), torch.arange(40 * 560).view(40, 20, 28).remainder(200).to(torch.uint8)
    last = pictures.contiguous(memory_format=torch.channels_last)
    assert torch.equal(transform.apply(last, draws(40)), transform.apply(pictures, draws(40)))
    turned = masks.permute(0, 2, 1).contiguous().permute(0, 2, 1)
    moved = transform.apply_to_masks(masks, draws(40), 255)
    assert torch.equal(transform.apply_to_masks(turned, draws(40), 255), moved)


@pytest.mark.parametrize("transform", ALL, ids=repr)
def test_draws_depend_on_seed_epoch_and_index_alone(transform: PictureTransform) -> None:
    shape = (3, 20, 28)
    prepare, batch = prepare_with(transform, shape=shape), labelled(smooth(60, shape))
    whole = prepare(batch, 4)
    parts = [prepare(Batch(*(tensor[part] for tensor in batch[:3])), 4) for part in torch.chunk(torch.randperm(60), 9)]
    for part in parts:
        assert torch.equal(part.inputs, whole.inputs[part.index])
    assert torch.equal(prepare_with(transform, shape=shape)(batch, 4).inputs, whole.inputs)
    assert not torch.equal(prepare(batch, 5).inputs, whole.inputs)
    assert not torch.equal(prepare_with(transform, seed=1, shape=shape)(batch, 4).inputs, whole.inputs)
    assert torch.equal(pixels(prepare(batch, None)), batch.inputs)  # an evaluation sees the pictures as they are


@pytest.mark.parametrize(
    "transform",
    [
        RandomHorizontalFlip(p=0),
        RandomVerticalFlip(p=0),
        RandomRotation(degrees=0),
        RandomRotation(degrees=0, interpolation="nearest"),
        RandomResizedCrop(scale=(1, 1)),
        RandomErasing(p=0),
        ColorJitter(brightness=0),
        ColorJitter(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=(0, 0)),
        RandAugment(num_ops=0),
    ],
    ids=repr,
)
def test_settings_that_leave_pictures_as_they_are(transform: PictureTransform) -> None:
    square = smooth(50, (3, 24, 24))
    assert torch.equal(transform.apply(square, draws(50)), square)


def test_one_transform_does_not_move_the_draws_of_another() -> None:
    batch = same_pictures(100)
    alone = prepare_with(RandomHorizontalFlip())(batch, 0).inputs
    both = prepare_with(RandomCrop(padding=1), RandomHorizontalFlip())(batch, 0).inputs
    flipped_alone = alone[:, 0, 4, 0] > alone[:, 0, 4, 7]
    flipped_both = both[:, 0, 4, 3] > both[:, 0, 4, 4]
    assert torch.equal(flipped_alone, flipped_both)


def test_the_order_in_the_list_is_the_order_of_application() -> None:
    augment, batch = (RandomCrop(padding=3), RandomHorizontalFlip()), same_pictures(60)
    inputs = prepare_with(*augment)(batch, 4).inputs
    assert not torch.equal(prepare_with(*reversed(augment))(batch, 4).inputs, inputs)


def test_every_crop_is_a_window_and_all_are_as_likely() -> None:
    count, padding = 50_000, 2
    batch = same_pictures(count)
    cropped = RandomCrop(padding=padding).apply(batch.inputs, draws(count))
    padded = torch.nn.functional.pad(batch.inputs[:1], (padding,) * 4)[0, 0]
    found = 0
    for y in range(5):
        for x in range(5):
            hits = (cropped[:, 0] == padded[y : y + 8, x : x + 8]).all(2).all(1).sum().item()
            assert hits == pytest.approx(count / 25, rel=0.1)
            found += int(hits)
    assert found == count


def test_padding_must_leave_something_of_the_image() -> None:
    assert prepare_with(RandomCrop(padding=7))(same_pictures(100), 0).inputs.flatten(1).amax(1).min() > 0
    with pytest.raises(DataError, match=r"random_crop: padding 8 must be less than the images' sides \(8x8\)"):
        prepare_with(RandomCrop(padding=8))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize(("flip", "axis"), [(RandomHorizontalFlip, -1), (RandomVerticalFlip, -2)])
def test_flip_rate(flip: type[RandomHorizontalFlip | RandomVerticalFlip], axis: int, p: float) -> None:
    batch = same_pictures(20_000)
    flipped = flip(p=p).apply(batch.inputs, draws(20_000))
    mirrored = (flipped == batch.inputs.flip(axis)).flatten(1).all(1)
    assert (flipped == batch.inputs).flatten(1).all(1).logical_xor(mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(p, abs=0.015)


def test_the_two_flips_are_independent() -> None:
    batch = same_pictures(2000)
    flipped = prepare_with(RandomHorizontalFlip(), RandomVerticalFlip())(batch, 0).inputs[:, 0]
    assert flipped[:, 0, 0].unique(return_counts=True)[1].tolist() == pytest.approx([500] * 4, rel=0.15)


@pytest.mark.parametrize("fill", [0, 200])
@pytest.mark.parametrize("degrees", [30.0, (-180.0, 180.0), (10.0, 20.0)])
def test_rotation_equals_torchvision(degrees: float | tuple[float, float], fill: int) -> None:
    pictures = smooth(40)
    turned = RandomRotation(degrees=degrees, fill=fill).apply(pictures, draws(40))
    low, high = degrees if isinstance(degrees, tuple) else (-degrees, degrees)
    angles = draws(40)("rotation", low, high).tolist()
    assert low <= min(angles) < low + (high - low) * 0.1
    assert high >= max(angles) > low + (high - low) * 0.9
    for picture, angle, found in zip(pictures, angles, turned, strict=True):
        # With a fill of its own, torchvision weighs the pixels of an edge twice.
        expected = reference.rotate(picture.float() - fill, angle, InterpolationMode.BILINEAR) + fill
        assert distance(found, expected.round()) <= 1


def test_nearest_rotation_equals_torchvision() -> None:
    pictures = smooth(40, (1, 21, 21))
    turned = RandomRotation(degrees=60, interpolation="nearest", fill=7).apply(pictures, draws(40))
    angles = draws(40)("rotation", -60, 60).tolist()
    expected = [reference.rotate(one, angle, fill=[7]) for one, angle in zip(pictures, angles, strict=True)]
    # Where a place is just between two pixels, the last bit decides.
    assert (turned == torch.stack(expected)).float().mean() > 0.999


def test_a_quarter_turn_is_counterclockwise() -> None:
    square = smooth(3, (3, 24, 24))
    assert torch.equal(RandomRotation(degrees=(90, 90)).apply(square, draws(3)), square.rot90(1, (2, 3)))


def test_resized_crop_equals_torchvision() -> None:
    pictures, crop = smooth(60), RandomResizedCrop(scale=(0.05, 1))
    found = crop.apply(pictures, draws(60))
    boxes = _boxes(pictures.shape[-2:], draws(60), "resized crop", crop.scale, crop.ratio)
    for n, picture in enumerate(pictures):
        top, left, height, width = (int(part[n]) for part in boxes)
        expected = reference.resized_crop(picture, top, left, height, width, [20, 28])
        assert distance(found[n], expected) <= 1


@pytest.mark.parametrize("scale", [(0.2, 0.3), (0.08, 1.0), (1.0, 1.0)])
def test_boxes_have_the_area_and_the_ratio_asked_for(scale: tuple[float, float]) -> None:
    pictures = torch.empty(4000, 1, 240, 300, dtype=torch.uint8)
    box = _boxes(pictures.shape[-2:], draws(4000), "some", scale, (0.5, 2))
    share, ratio = box.height * box.width / (240 * 300), box.width / box.height
    assert scale[0] - 0.01 < share.min() <= share.max() < scale[1] + 0.01
    assert share.mean().item() == pytest.approx(sum(scale) / 2, abs=0.01)
    assert 0.49 < ratio.min() <= ratio.max() < 2.04
    assert box.top.min() == 0
    assert box.left.min() == 0
    assert (box.top + box.height).max() == 240
    assert (box.left + box.width).max() == 300
    if scale[1] < 0.5:  # everything of the ratio fits
        assert ratio.log().mean().item() == pytest.approx(0, abs=0.02)
    for one in (box.top, box.left, box.height, box.width):
        assert torch.equal(one, one.round())


def test_in_a_very_long_picture_the_box_is_the_longest_that_may_be() -> None:
    box = _boxes((10, 90), draws(100), "some", (1, 1), (0.5, 2))
    assert box.height.unique().tolist() == [10]
    assert box.width.unique().tolist() == [20]


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_erasing(p: float) -> None:
    pictures = torch.full((4000, 3, 40, 50), 9, dtype=torch.uint8)
    erased = RandomErasing(p=p, scale=(0.1, 0.3), ratio=(0.5, 3), fill=77).apply(pictures, draws(4000))
    assert erased.unique().tolist() == {0.0: [9], 0.25: [9, 77], 1.0: [9, 77]}[p]
    gone = (erased == 77).all(1)
    assert torch.equal(gone, (erased == 77).any(1))  # in all channels
    hit = gone.flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(p, abs=0.025)
    gone = gone[hit]
    height, width = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.flatten(1).sum(1), height * width)  # a box, in one piece
    if p:
        share, ratio = height * width / 2000, height / width
        assert share.mean().item() == pytest.approx(0.2, abs=0.01)
        assert 0.09 < share.min() <= share.max() < 0.32
        assert 0.45 < ratio.min() <= ratio.max() < 3.3
        assert ratio.log().mean().item() == pytest.approx(math.log(0.5 * 3) / 2, abs=0.06)


BAD = [
    ("{name: random_rotation}", ".degrees: value is missing"),
    ("{name: random_rotation, degrees: 200}", ".degrees: must be <= 180, got 200"),
    ("{name: random_rotation, degrees: [30, 10]}", ".degrees: expected [min, max], got [30, 10]"),
    ("{name: random_rotation, degrees: 5, fill: 300}", ".fill: must be <= 255, got 300"),
    ("{name: random_rotation, degrees: 5, expand: true}", ".expand: unknown key for 'random_rotation'; the pictures keep their size"),
    ("{name: random_erasing, scale: [0.1, 2]}", ".scale[1]: must be <= 1, got 2"),
    ("{name: random_erasing, scale: 0.3}", ".scale: expected a list, got 0.3; write [0.3]"),
    ("{name: random_erasing, ratio: [3, 1]}", ".ratio: expected [min, max], got [3, 1]"),
    ("{name: random_erasing, value: 0}", ".value: unknown key for 'random_erasing'; did you mean 'fill', a pixel value of 0 … 255?"),
    ("{name: random_horizontal_flip, probability: 1}", ".probability: unknown key for 'random_horizontal_flip'; did you mean 'p'?"),
    ("{name: random_resized_crop, size: 9}", ".size: unknown key for 'random_resized_crop'; the pictures keep their size, which data.size sets"),
    ("color_jitter", ": color_jitter: give brightness, contrast, saturation or hue; without, nothing changes"),
    ("{name: color_jitter, hue: 0.6}", ".hue: must be <= 0.5, got 0.6"),
    ("{name: color_jitter, brightness: [1.2, 0.8]}", ".brightness: expected [min, max], got [1.2, 0.8]"),
    ("{name: rand_augment, magnitude: 31}", ".magnitude: must be < 31, got 31"),
    ("{name: rand_augment, num_magnitude_bins: 9}", ".num_magnitude_bins: unknown key for 'rand_augment'; there are 31, magnitude goes from 0 to 30"),
    ("{name: mixup, alpha: 0}", ".alpha: must be > 0, got 0"),
    ("{name: cutmix, num_classes: 10}", ".num_classes: unknown key for 'cutmix'; the data tells it"),
    ("mix_up", ".name: unknown transform 'mix_up'; did you mean 'mixup'?"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "problem"), BAD)
def test_what_is_wrong_in_a_config(tmp_path: Path, written: str, problem: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"model: cnn\ndata:\n  name: digits\n  size: 28\n  augment: [{written}]\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [one.split(": ", 1)[1] for one in caught.value.problems] == [f"data.augment[0]{problem}"]
