from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from trainkit.data import Batch, DataSpec, TargetSpec
from trainkit.data.digits import DigitsConfig
from trainkit.data.transforms import (
    Normalize,
    Prepare,
    Preset,
    RandomCrop,
    RandomHorizontalFlip,
    TransformConfig,
    preparation,
    presets,
    statistics,
)
from trainkit.errors import DataError

CPU = torch.device("cpu")
CLASSES = TargetSpec(kind="class", size=10)


def spec(shape: tuple[int, ...] = (1, 8, 8), normalize: Preset | Normalize = "none") -> DataSpec:
    mean, std = statistics(normalize, shape[0])
    return DataSpec(shape=shape, target=CLASSES, image=True, mean=mean, std=std)


def same_pictures(count: int, side: int = 8) -> Batch:
    """One picture again and again, its pixels all different and none of them black."""
    picture = torch.arange(1, side * side + 1, dtype=torch.uint8).view(1, 1, side, side)
    return Batch(picture.repeat(count, 1, 1, 1), torch.zeros(count, dtype=torch.int64), torch.arange(count))


def prepare_with(*augment: TransformConfig, seed: int = 0, side: int = 8) -> Prepare:
    return preparation(spec((1, side, side)), augment, seed, CPU)


def pixels(batch: Batch) -> Tensor:
    return (batch.inputs * 255).round().to(torch.uint8)


def test_mnist_black_and_white() -> None:
    prepare = preparation(spec((1, 1, 2), "mnist"), (), 0, CPU)
    batch = Batch(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert prepare(batch, None).inputs.flatten().tolist() == pytest.approx([-0.4242, 2.8215], abs=5e-5)


@pytest.mark.parametrize("preset", ["mnist", "cifar10", "imagenet", "half", "none"])
def test_normalisation_equals_torchvision(preset: Preset) -> None:
    channels = 1 if preset == "mnist" else 3
    inputs = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, channels, 1, 1)
    steps: list[torch.nn.Module] = [v2.ToDtype(torch.float32, scale=True)]
    if preset != "none":
        steps.append(v2.Normalize(*statistics(preset, channels)))
    expected = v2.Compose(steps)(inputs)
    shape = (channels, 16, 16)
    prepared = preparation(spec(shape, preset), (), 0, CPU)(Batch(inputs, torch.zeros(1), torch.zeros(1)), None)
    assert prepared.inputs.dtype == torch.float32
    torch.testing.assert_close(prepared.inputs, expected, atol=1e-6, rtol=0)


def test_half_maps_to_plus_minus_one() -> None:
    assert statistics("half", 3) == ((0.5,) * 3, (0.5,) * 3)
    assert statistics(Normalize(mean=0.1, std=(0.2, 0.3)), 2) == ((0.1, 0.1), (0.2, 0.3))
    assert statistics("none", 3) == ((), ())


def test_every_preset_has_a_value_per_channel_or_one() -> None:
    for name, normalize in presets.items():
        for values in (normalize.mean, normalize.std):
            assert not isinstance(values, tuple) or len(values) == 3, name


def test_wrong_number_of_values() -> None:
    with pytest.raises(DataError, match=r"^data.normalize: mean has 3 values, the images have 1 channel$"):
        DigitsConfig(normalize="cifar10").spec()
    with pytest.raises(DataError, match=r"^data.normalize: std has 2 values, the images have 3 channels$"):
        statistics(Normalize(mean=0.5, std=(0.5, 0.5)), 3)


def test_other_inputs_pass_unchanged() -> None:
    prepare = preparation(DataSpec(shape=(4,), target=CLASSES), (), 0, CPU)
    batch = Batch(torch.randn(3, 4), torch.arange(3), torch.arange(3))
    assert all(torch.equal(a, b) for a, b in zip(prepare(batch, 0)[:3], batch[:3], strict=True))


def test_transforms_are_for_images() -> None:
    with pytest.raises(DataError, match=r"^data.augment: random_horizontal_flip is for images, the data has none$"):
        preparation(DataSpec(shape=(4,), target=CLASSES), (RandomHorizontalFlip(),), 0, CPU)


def test_identical_pictures_come_out_different() -> None:
    prepared = pixels(prepare_with(RandomCrop(padding=2), RandomHorizontalFlip())(same_pictures(500), 0))
    assert prepared.shape == (500, 1, 8, 8)
    assert len({tuple(picture.flatten().tolist()) for picture in prepared}) == 2 * 5 * 5


def test_every_crop_is_a_window_and_all_are_as_likely() -> None:
    count, padding = 50_000, 2
    batch = same_pictures(count)
    cropped = RandomCrop(padding=padding).apply(batch.inputs, batch.index, 0, 0)
    padded = torch.nn.functional.pad(batch.inputs[:1], (padding,) * 4)[0, 0]
    found = 0
    for y in range(5):
        for x in range(5):
            hits = (cropped[:, 0] == padded[y : y + 8, x : x + 8]).all(2).all(1).sum().item()
            assert hits == pytest.approx(count / 25, rel=0.1)
            found += int(hits)
    assert found == count


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_flip_rate(p: float) -> None:
    batch = same_pictures(20_000)
    flipped = RandomHorizontalFlip(p=p).apply(batch.inputs, batch.index, 0, 0)
    mirrored = (flipped == batch.inputs.flip(-1)).flatten(1).all(1)
    assert (flipped == batch.inputs).flatten(1).all(1).logical_xor(mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(p, abs=0.015)


def test_draws_depend_on_seed_epoch_and_index_alone() -> None:
    augment = (RandomCrop(padding=3), RandomHorizontalFlip())
    prepare, batch = prepare_with(*augment), same_pictures(60)
    whole = prepare(batch, 4)
    parts = [prepare(Batch(*(tensor[part] for tensor in batch[:3])), 4) for part in torch.chunk(torch.randperm(60), 9)]
    for part in parts:
        assert torch.equal(part.inputs, whole.inputs[part.index])
    assert torch.equal(prepare_with(*augment)(batch, 4).inputs, whole.inputs)
    assert not torch.equal(prepare(batch, 5).inputs, whole.inputs)
    assert not torch.equal(prepare_with(*augment, seed=1)(batch, 4).inputs, whole.inputs)
    # The order in the list is the order of application; the draws of each stay the same.
    assert not torch.equal(prepare_with(*reversed(augment))(batch, 4).inputs, whole.inputs)


def test_one_transform_does_not_move_the_draws_of_another() -> None:
    batch = same_pictures(100)
    alone = prepare_with(RandomHorizontalFlip())(batch, 0).inputs
    both = prepare_with(RandomCrop(padding=1), RandomHorizontalFlip())(batch, 0).inputs
    flipped_alone = alone[:, 0, 4, 0] > alone[:, 0, 4, 7]
    flipped_both = both[:, 0, 4, 3] > both[:, 0, 4, 4]
    assert torch.equal(flipped_alone, flipped_both)


def test_evaluation_never_augments() -> None:
    batch = same_pictures(50)
    prepared = prepare_with(RandomCrop(padding=3), RandomHorizontalFlip(p=1.0))(batch, None)
    assert torch.equal(pixels(prepared), batch.inputs)


def test_padding_must_leave_something_of_the_image() -> None:
    assert prepare_with(RandomCrop(padding=7))(same_pictures(100), 0).inputs.flatten(1).amax(1).min() > 0
    with pytest.raises(DataError, match=r"random_crop: padding 8 must be less than the images' sides \(8x8\)"):
        prepare_with(RandomCrop(padding=8))


def test_the_same_transform_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the same transform twice"):
        DigitsConfig.from_plain({"augment": ["random_crop", {"name": "random_crop", "padding": 1}]})
