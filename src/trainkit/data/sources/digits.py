"""The 1,797 real scans of handwritten digits that ship inside scikit-learn: data that is always there."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.data.base import Data, DataSpec, Split, TargetSpec, TensorSource
from trainkit.data.transforms.pipeline import ImageDataConfig, statistics

Side = Annotated[int, Field(ge=1, le=1024)]
Size = Side | tuple[Side, Side]


def height_width(size: Size) -> tuple[int, int]:
    """Both sides of a size that may be given as one number."""
    return size if isinstance(size, tuple) else (size, size)


@register("data")
class DigitsConfig(ImageDataConfig):
    """Handwritten digits, 1,797 grey scans of 8 x 8 (Alpaydin and Kaynak, 1998). A fifth is the test split."""

    shown: ClassVar = ImageDataConfig.shown | {"size", "channels"}

    name: Literal["digits"] = "digits"
    size: Size = 8
    """Height and width in pixels; the scans are enlarged to it, bilinearly."""
    channels: int = Field(1, ge=1, le=16)
    """The grey value is repeated over the channels."""

    def spec(self) -> DataSpec:
        mean, std = statistics(self.normalize, self.channels)
        classes = TargetSpec(kind="classification", size=10, names=tuple("0123456789"))
        return DataSpec(shape=(self.channels, *height_width(self.size)), target=classes, image=True, mean=mean, std=std)

    def build(self, seed: int) -> Data:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        scans = load_digits()
        images = torch.as_tensor(scans.images, dtype=torch.float32).unsqueeze(1)  # 0 … 16
        images = functional.interpolate(images, height_width(self.size), mode="bilinear")
        # Halves occur; without the small addition, the last bit of a machine's interpolation would decide about them.
        images = (images * (255 / 16) + 1e-3).round().to(torch.uint8).expand(-1, self.channels, -1, -1).contiguous()
        targets = torch.as_tensor(scans.target, dtype=torch.int64)
        # The same test split whatever the seed, so that runs can be compared.
        rest, test = train_test_split(range(len(targets)), test_size=0.2, random_state=0, stratify=scans.target)
        train_source = TensorSource(images[sorted(rest)], targets[sorted(rest)])
        test_source = TensorSource(images[sorted(test)], targets[sorted(test)])
        train, val = self.divide(train_source, seed)
        return Data(self.spec(), train, val, Split(test_source, torch.arange(len(test_source))))
