"""The small real data sets that ship inside scikit-learn, always there without a download: digits, iris, wine and more.

A fifth of each is the test split, the same for every seed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.data.base import Data, DataConfig, TensorSource
from trainkit.data.images.config import ImageDataConfig, Size, height_width
from trainkit.data.inputs import Numbers
from trainkit.data.sources.sklearn_files import embedded, feature_names, train_test_rows
from trainkit.data.spec import DataSpec
from trainkit.tasks import Classification, Regression, Task

FLOAT32 = torch.finfo(torch.float32)


def digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The scans, shape (1797, 8, 8), from 0 to 16, and their labels."""
    table = embedded("digits")
    return table.data.reshape(-1, 8, 8), table.target


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
        return self.image_spec(
            (self.channels, *height_width(self.size)), Classification(size=10, names=tuple("0123456789"))
        )

    def build(self, seed: int) -> Data:
        scans, labels = digits()
        images = torch.as_tensor(scans, dtype=torch.float32).unsqueeze(1)
        images = functional.interpolate(images, height_width(self.size), mode="bilinear")
        # Halves occur; without the small addition, the last bit of a machine's interpolation would decide about them.
        images = (images * (255 / 16) + 1e-3).round().to(torch.uint8).expand(-1, self.channels, -1, -1).contiguous()
        targets = torch.as_tensor(labels, dtype=torch.int64)
        train, test = (TensorSource(images[rows], targets[rows]) for rows in train_test_rows(labels))
        return Data(self.spec(), *self.train_val_test(train, seed, test))


class Known(NamedTuple):
    """What is known of a table before it is read."""

    features: int
    size: int
    """Classes, or numbers to be predicted."""
    task: type[Task] = Classification
    names: tuple[str, ...] = ()
    """Of what is to be predicted, where scikit-learn has none."""


class SklearnTableConfig(DataConfig):
    """Base of scikit-learn's embedded tables. A fifth of the rows is the test split, the same for every seed."""

    standardize: bool | Literal["robust"] = True
    """Subtract the mean and divide by the standard deviation of each feature, both of the training samples alone.
    `robust`: the median and the distance of the quartiles, bent to lie between -3 and 3."""

    default_model: ClassVar[str | None] = "table"
    known: ClassVar[Known]

    def spec(self) -> DataSpec:
        # Without the statistics, which only the training samples can tell.
        return DataSpec(input=Numbers(shape=(self.known.features,)), task=self.known.task(size=self.known.size))

    def build(self, seed: int) -> Data:
        table = embedded(self.name)
        targets = self.known.task.as_targets(torch.as_tensor(table.target))
        rest, held_out = train_test_rows(table.target, stratify=self.known.task.balance_key(targets) is not None)
        inputs = torch.as_tensor(table.data, dtype=torch.float32)
        names = self.known.names or table.target_names
        spec = DataSpec(
            input=Numbers(shape=(self.known.features,)), task=self.known.task(size=self.known.size, names=names)
        )

        def divided(inputs: Tensor) -> Data:
            train, test = (TensorSource(inputs[rows], targets[rows]) for rows in (rest, held_out))
            return Data(spec, *self.train_val_test(train, seed, test, task=spec.task))

        data = divided(inputs)
        if self.standardize == "robust":
            from trainkit.data.tables.encoding import scaled  # brings pyarrow

            rows = np.array(rest)[data.train.index]
            columns, numbers = scaled(table.data, feature_names(self.name), rows, "robust")
            spec = spec.with_input(columns=columns)
            return divided(torch.from_numpy(numbers))
        if self.standardize:
            seen = inputs[rest][data.train.index].double()
            # A feature that never changes, or hardly, has no deviation to divide by: it becomes 0, not infinite.
            std = seen.std(dim=0, correction=0)
            std = torch.where(std > FLOAT32.tiny, std, 1.0)
            spec = spec.with_input(mean=tuple(seen.mean(dim=0).tolist()), std=tuple(std.tolist()))
        return replace(data, spec=spec)


@register("data")
class IrisConfig(SklearnTableConfig):
    """Flowers of 3 species by 4 lengths, 150 rows, embedded (Fisher, 1936)."""

    name: Literal["iris"] = "iris"
    known: ClassVar = Known(features=4, size=3)


@register("data")
class WineConfig(SklearnTableConfig):
    """Wines of 3 growers by 13 chemical measurements, 178 rows, embedded (Forina et al., 1988)."""

    name: Literal["wine"] = "wine"
    known: ClassVar = Known(features=13, size=3)


@register("data")
class BreastCancerConfig(SklearnTableConfig):
    """Benign and malignant tumours by 30 measurements of their cells, 569 rows, embedded (Street et al., 1993)."""

    name: Literal["breast_cancer"] = "breast_cancer"
    known: ClassVar = Known(features=30, size=2)


@register("data")
class DiabetesConfig(SklearnTableConfig):
    """Progression of a disease by 10 measurements, 442 rows, a number between 25 and 346, embedded (Efron, 2004)."""

    name: Literal["diabetes"] = "diabetes"
    known: ClassVar = Known(features=10, size=1, task=Regression, names=("disease progression",))
