"""Preprocessing and augmentation of a batch between the loader and the model: on the device, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from trainkit.core.errors import DataError
from trainkit.core.seeding import derive
from trainkit.core.view import View
from trainkit.data.base import Batch
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import PictureTransform, SampleRandom, TransformConfig, numbered
from trainkit.data.transforms.color import with_channels
from trainkit.data.transforms.mixup import BatchMix


def fitted(pictures: Tensor, shape: tuple[int, ...]) -> Tensor:
    """uint8 pictures brought to (channels, height, width): scaled to cover the size, and cut to it around the centre.

    Bilinear with antialiasing, as torchvision's `v2.Resize` and `v2.CenterCrop`.
    """
    channels, *size = shape
    if pictures.shape[1] > channels:
        pictures = with_channels(pictures, channels)  # before there are more pixels
    if list(pictures.shape[-2:]) != size:
        pictures = _covering(pictures, size, mode="bilinear", antialias=True)
    return with_channels(pictures, channels)


def fitted_masks(masks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Masks (batch, height, width) brought to the size of their `fitted` pictures; each pixel is the nearest one."""
    size = list(shape[-2:])
    return masks if list(masks.shape[-2:]) == size else _covering(masks[:, None], size, mode="nearest-exact")[:, 0]


def fitted_view(size: tuple[int, int], shape: tuple[int, ...]) -> View:
    """What is left of a picture of this height and width that is `fitted` to a shape."""
    height, width = shape[-2:]
    covering, top, left = _scaled_and_cut(size, (height, width))
    down, right = size[0] / covering[0], size[1] / covering[1]
    return View(size, top * down, left * right, height * down, width * right)


def _covering(pictures: Tensor, size: Sequence[int], *, mode: str, antialias: bool = False) -> Tensor:
    """Scaled to cover a size, and cut to it around the centre."""
    height, width = size
    covering, top, left = _scaled_and_cut(pictures.shape[-2:], size)
    pictures = functional.interpolate(pictures.float(), covering, mode=mode, antialias=antialias)
    return pictures[:, :, top : top + height, left : left + width].round_().to(torch.uint8)


def _scaled_and_cut(old: Sequence[int], new: Sequence[int]) -> tuple[tuple[int, int], int, int]:
    """The height and width to which a size is scaled to cover another, and where that begins in it."""
    (height, width), (old_height, old_width) = new, old
    factor = max(height / old_height, width / old_width)
    covering = (max(height, round(old_height * factor)), max(width, round(old_width * factor)))
    return covering, round((covering[0] - height) / 2), round((covering[1] - width) / 2)


Prepare = Callable[[Batch, int | None], Batch]
"""Makes a loader's batch ready for the model. The epoch is given when training and None in evaluation."""


def check_augment(augment: tuple[TransformConfig, ...], spec: DataSpec) -> None:
    """Compare the random transforms with the data.

    Raises:
        DataError: one does not fit.
    """
    for transform in augment:
        if not spec.input.pictures:
            raise DataError(f"data.augment: {transform.name} is for images, the data has none")
        transform.check(spec)


def preparation(
    spec: DataSpec,
    augment: tuple[TransformConfig, ...],
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Prepare:
    """Build the `Prepare` of an experiment: move, bring to size, augment, scale, normalise and mix, all on the device.

    Args:
        dtype: in which the model takes inputs that are no pictures.

    Raises:
        DataError: a transform does not fit the data.
    """
    check_augment(augment, spec)
    transforms = [transform for transform in augment if isinstance(transform, PictureTransform)]
    mixes = [transform for transform in augment if isinstance(transform, BatchMix)]
    normalise, pictures = spec.input.preparation(device, dtype), spec.input.pictures
    fill, shape, sees_targets = spec.task.mask_fill, spec.shape, spec.task.model_sees_targets

    def prepare(batch: Batch, epoch: int | None) -> Batch:
        index = numbered(batch.index, batch.repeat)  # on the CPU, where reading it does not wait for the device
        if device.type != "cpu":
            batch = batch.to(device)
        inputs, targets = batch.inputs, batch.targets
        if pictures:
            if inputs.shape[1:] != shape:
                inputs = fitted(inputs, shape)
            outside = None if targets is None else fill  # of new pictures nobody knows the masks
            if outside is not None:
                targets = fitted_masks(targets, shape)
            if epoch is not None:
                draws = SampleRandom(index, seed, epoch, device)
                for transform in transforms:
                    inputs = transform.apply(inputs, draws)
                    if outside is not None:
                        targets = transform.apply_to_masks(targets, draws, outside)
        batch = batch._replace(inputs=normalise(inputs), targets=targets)
        if epoch is not None and mixes:
            random = Random(derive(seed, "mix", epoch, int(index[0])))
            batch = random.choice(mixes).mix(batch, spec.task, random)
        return batch._replace(shown=batch.targets) if sees_targets else batch

    return prepare
