"""The small real tables that ship inside scikit-learn."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from trainkit.config.registry import register
from trainkit.data.base import Data, DataConfig, DataSpec, Kind, Split, TargetSpec, TensorSource

FLOAT32 = torch.finfo(torch.float32)


class SklearnTableConfig(DataConfig):
    """Base of scikit-learn's embedded tables. A fifth of the rows is the test split, the same for every seed."""

    standardize: bool | Literal["robust"] = True
    """Subtract the mean and divide by the standard deviation of each feature, both of the training samples alone.
    `robust`: the median and the distance of the quartiles, bent to lie between -3 and 3."""

    default_model: ClassVar[str | None] = "table"
    reader: ClassVar[str]
    kind: ClassVar[Kind] = "classification"
    size: ClassVar[int]
    features: ClassVar[int]

    def spec(self) -> DataSpec:
        # Without the statistics, which only the training part can tell.
        return DataSpec(shape=(self.features,), target=TargetSpec(kind=self.kind, size=self.size))

    def build(self, seed: int) -> Data:
        import sklearn.datasets
        from sklearn.model_selection import train_test_split

        table = getattr(sklearn.datasets, self.reader)()
        classes = self.kind == "classification"
        targets = torch.as_tensor(table.target, dtype=torch.int64 if classes else torch.float32)
        names = tuple(str(name) for name in table.target_names) if classes else ("disease progression",)
        targets = targets if classes else targets.unsqueeze(1)
        stratify = table.target if classes else None
        rest, held_out = train_test_split(range(len(targets)), test_size=0.2, random_state=0, stratify=stratify)
        inputs = torch.as_tensor(table.data, dtype=torch.float32)
        rest, held_out = sorted(rest), sorted(held_out)
        train, val = self.divide(TensorSource(inputs[rest], targets[rest]), seed)
        spec = DataSpec(shape=(self.features,), target=TargetSpec(kind=self.kind, size=self.size, names=names))
        if self.standardize == "robust":
            from trainkit.data.tables.encoding import scaled  # brings pyarrow

            columns, numbers = scaled(table.data, map(str, table.feature_names), np.array(rest)[train.index], "robust")
            spec, inputs = spec.model_copy(update={"columns": columns}), torch.from_numpy(numbers)
            source = TensorSource(inputs[rest], targets[rest])
            train, val = Split(source, train.index), val and Split(source, val.index)
        elif self.standardize:
            seen = inputs[rest][train.index].double()
            # A feature that never changes, or hardly, has no deviation to divide by: it becomes 0, not infinite.
            std = seen.std(dim=0, correction=0)
            std = torch.where(std > FLOAT32.tiny, std, 1.0)
            spec = spec.model_copy(update={"mean": tuple(seen.mean(dim=0).tolist()), "std": tuple(std.tolist())})
        test = TensorSource(inputs[held_out], targets[held_out])
        return Data(spec, train, val, Split(test, torch.arange(len(test))))


@register("data")
class IrisConfig(SklearnTableConfig):
    """Flowers of 3 species by 4 lengths, 150 rows, embedded (Fisher, 1936)."""

    name: Literal["iris"] = "iris"
    reader: ClassVar[str] = "load_iris"
    size: ClassVar[int] = 3
    features: ClassVar[int] = 4


@register("data")
class WineConfig(SklearnTableConfig):
    """Wines of 3 growers by 13 chemical measurements, 178 rows, embedded (Forina et al., 1988)."""

    name: Literal["wine"] = "wine"
    reader: ClassVar[str] = "load_wine"
    size: ClassVar[int] = 3
    features: ClassVar[int] = 13


@register("data")
class BreastCancerConfig(SklearnTableConfig):
    """Benign and malignant tumours by 30 measurements of their cells, 569 rows, embedded (Street et al., 1993)."""

    name: Literal["breast_cancer"] = "breast_cancer"
    reader: ClassVar[str] = "load_breast_cancer"
    size: ClassVar[int] = 2
    features: ClassVar[int] = 30


@register("data")
class DiabetesConfig(SklearnTableConfig):
    """Progression of a disease by 10 measurements, 442 rows, a number between 25 and 346, embedded (Efron, 2004)."""

    name: Literal["diabetes"] = "diabetes"
    reader: ClassVar[str] = "load_diabetes"
    kind: ClassVar[Kind] = "regression"
    size: ClassVar[int] = 1
    features: ClassVar[int] = 10
