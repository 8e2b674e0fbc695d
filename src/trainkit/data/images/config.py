"""What all sources of pictures have in common: size, normalisation and augmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from trainkit.config.base import Component
from trainkit.data.base import Data, DataConfig, Split
from trainkit.data.inputs import Pictures
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import TransformConfig
from trainkit.data.transforms.normalize import Normalize, Preset, measured, statistics
from trainkit.tasks import Task

Side = Annotated[int, Field(ge=1, le=1024)]
Size = Side | tuple[Side, Side]


def height_width(size: Size) -> tuple[int, int]:
    """Both sides of a size that may be given as one number."""
    return size if isinstance(size, tuple) else (size, size)


def _distinct(augment: tuple[TransformConfig, ...]) -> tuple[TransformConfig, ...]:
    if len({type(transform) for transform in augment}) < len(augment):
        raise ValueError("the same transform twice")  # it would draw the same numbers twice
    return augment


class ImageDataConfig(DataConfig):
    """Base of the sources that hand out uint8 pictures."""

    shown: ClassVar = frozenset({"normalize", "augment"})

    normalize: Preset | Normalize = "none"
    """A preset's name, or `{mean: …, std: …}` in units of 0 … 1; `auto` measures both on the training samples (on 1,000
    of them where they have to be decoded), `none` only scales the pixels to 0 … 1."""
    augment: Annotated[tuple[Annotated[TransformConfig, Component("transform")], ...], AfterValidator(_distinct)] = ()
    """Random transforms, applied to training batches only, in this order; `mixup` and `cutmix` come after the
    normalisation wherever they stand."""

    def for_training(self, train: Split) -> tuple[Split, tuple[TransformConfig, ...]]:
        return train, self.augment

    def _counted(self, build: Callable[[], Data]) -> Data:
        data = super()._counted(build)
        if self.normalize != "auto" or not data.spec.input.pictures:
            return data
        mean, std = measured(data.train, data.spec.shape[0])
        return replace(data, spec=data.spec.with_input(mean=mean, std=std))

    def image_spec(self, shape: tuple[int, int, int], task: Task) -> DataSpec:
        """Of pictures (channels, height, width)."""
        mean, std = statistics(self.normalize, shape[0])
        return DataSpec(input=Pictures(shape=shape, mean=mean, std=std), task=task)
