"""Tables: a CSV file of one's own, and the small real ones that ship inside scikit-learn."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.data.base import Data, DataConfig, DataSpec, Kind, Split, TargetSpec, TensorSource
from trainkit.errors import DataError
from trainkit.registry import register
from trainkit.seeding import permutation

MISSING = ("", "na", "nan", "n/a", "null", "none", "?")
"""What counts as no value in a CSV file, in any case."""


class TableConfig(DataConfig):
    """Base of the tables: vectors of numbers, standardised with what the training part says."""

    standardize: bool = True
    """Subtract the mean and divide by the standard deviation of each feature, both of the training samples alone."""

    def table(
        self, train: TensorSource, test: TensorSource, target: TargetSpec, split: tuple[Split, Split | None]
    ) -> Data:
        """Put the splits together, with the statistics of the training samples in the spec."""
        shape = (train.inputs.shape[1],)
        spec = DataSpec(shape=shape, target=target)
        if self.standardize:
            seen = train.inputs[split[0].index].double()
            # A feature that never changes has no deviation: it becomes 0, not infinite.
            std = seen.std(dim=0, correction=0)
            std = torch.where(std > 0, std, 1.0)
            spec = DataSpec(shape=shape, target=target, mean=tuple(seen.mean(dim=0).tolist()), std=tuple(std.tolist()))
        return Data(spec, *split, Split(test, torch.arange(len(test))) if len(test) else None)


class SklearnTableConfig(TableConfig):
    """Base of scikit-learn's embedded tables. A fifth of the rows is the test split, the same for every seed."""

    reader: ClassVar[str]
    kind: ClassVar[Kind] = "class"
    size: ClassVar[int]
    features: ClassVar[int]

    def spec(self) -> DataSpec:
        # Without the statistics, which only the training part can tell.
        return DataSpec(shape=(self.features,), target=TargetSpec(kind=self.kind, size=self.size))

    def build(self, seed: int) -> Data:
        import sklearn.datasets
        from sklearn.model_selection import train_test_split

        table = getattr(sklearn.datasets, self.reader)()
        inputs = torch.as_tensor(table.data, dtype=torch.float32)
        classes = self.kind == "class"
        targets = torch.as_tensor(table.target, dtype=torch.int64 if classes else torch.float32)
        names = tuple(str(name) for name in table.target_names) if classes else ("disease progression",)
        targets = targets if classes else targets.unsqueeze(1)
        stratify = table.target if classes else None
        rest, held_out = train_test_split(range(len(inputs)), test_size=0.2, random_state=0, stratify=stratify)
        train, test = (TensorSource(inputs[sorted(rows)], targets[sorted(rows)]) for rows in (rest, held_out))
        target = TargetSpec(kind=self.kind, size=self.size, names=names)
        return self.table(train, test, target, self.divide(train, seed))


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
    kind: ClassVar[Kind] = "number"
    size: ClassVar[int] = 1
    features: ClassVar[int] = 10


@register("data")
class CsvConfig(TableConfig):
    """A CSV file with a header: columns of numbers or words, one of them to be predicted."""

    name: Literal["csv"] = "csv"
    path: str
    """The file, relative to the directory in which the command runs; `~` is expanded."""
    target: str
    """The column to be predicted."""
    task: Literal["class", "number"] = "class"
    """What it holds: names of classes, or numbers."""
    features: tuple[str, ...] | None = None
    """The columns to predict it from; by default all others."""
    categorical: tuple[str, ...] = ()
    """Columns of numbers that are names, such as a postcode. Columns with any word in them are categorical anyway."""
    missing: Literal["error", "mean", "drop"] = "error"
    """An empty field: an error, the training samples' mean (a category of its own for words), or a dropped row."""
    test: str | Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """Another CSV file, or the fraction of the rows that is the test split, the same for every seed; null for none."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """What stands between the fields."""

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> Self:
        if self.target in (self.features or ()):
            raise ValueError(f"features: {self.target!r} is the target")
        return self

    def spec(self) -> None:
        return None

    def build(self, seed: int) -> Data:
        rows = self._read(self.path)
        if isinstance(self.test, str):
            test_rows = self._read(self.test)
        else:
            count = round(len(rows) * (self.test or 0))
            order = permutation(len(rows), 0, "test").tolist()
            test_rows, rows = [rows[n] for n in sorted(order[:count])], [rows[n] for n in sorted(order[count:])]
        if not rows:
            raise DataError(f"{self.path}: no rows to train on")
        target = self._target_spec(rows)
        targets = self._targets(rows, target)
        # Which rows train is needed before they can be encoded: categories and means are those of the training rows.
        places = TensorSource(torch.zeros(len(rows), 1), targets)
        train, val = self.divide(places, seed)
        encoder = _Encoder([rows[n] for n in train.index.tolist()], self._columns(rows[0]), self.categorical)
        source = TensorSource(encoder(rows), targets)
        test = TensorSource(encoder(test_rows), self._targets(test_rows, target))
        split = (Split(source, train.index), Split(source, val.index) if val else None)
        return self.table(source, test, target, split)

    def _columns(self, row: _Row) -> list[str]:
        return list(self.features) if self.features else [name for name in row.fields if name != self.target]

    def _read(self, name: str) -> list[_Row]:
        path = Path(name).expanduser()
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                rows = list(self._rows(name, csv.reader(file, delimiter=self.delimiter, strict=True)))
        except OSError as error:
            raise DataError(f"{path.absolute()}: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{name}: not UTF-8 at byte {error.start}") from None
        return rows

    def _rows(self, name: str, reader: Any) -> Iterator[_Row]:
        try:
            header = [field.strip() for field in next(reader, [])]
            if len(set(header)) < len(header):
                twice = next(column for column in header if header.count(column) > 1)
                raise DataError(f"{name}:1: column {twice!r} stands there twice")
            named = (self.target, *(self.features or ()), *self.categorical)
            if unknown := next((column for column in named if column not in header), None):
                raise DataError(f"{name}:1: no column {unknown!r}; there are: {', '.join(header)}")
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise DataError(f"{name}:{reader.line_num}: {len(fields)} fields, the header has {len(header)}")
                row = _Row(f"{name}:{reader.line_num}", dict(zip(header, map(str.strip, fields), strict=True)))
                used = (self.target, *(self.features or header))
                empty = next((column for column in used if row.missing(column)), None)
                if empty and self.missing == "drop":
                    continue
                if empty and (self.missing == "error" or empty == self.target):
                    what = "data.missing=mean or drop" if empty != self.target else "data.missing=drop"
                    raise DataError(f"{row.where}: no value for {empty!r}; use {what}, or mend the file")
                yield row
        except csv.Error as error:
            raise DataError(f"{name}:{reader.line_num}: {error}") from None

    def _target_spec(self, rows: list[_Row]) -> TargetSpec:
        if self.task == "number":
            return TargetSpec(kind="number", size=1, names=(self.target,))
        names = sorted({row.fields[self.target] for row in rows})
        if len(names) < 2:
            raise DataError(f"{self.path}: every row has the class {names[0]!r}")
        return TargetSpec(kind="class", size=len(names), names=tuple(names))

    def _targets(self, rows: list[_Row], target: TargetSpec) -> Tensor:
        if target.kind == "number":
            return torch.tensor([[row.number(self.target)] for row in rows], dtype=torch.float32).view(-1, 1)
        numbers = {name: number for number, name in enumerate(target.names)}
        if strange := next((row for row in rows if row.fields[self.target] not in numbers), None):
            label = strange.fields[self.target]
            raise DataError(f"{strange.where}: class {label!r} is not among the training rows")
        return torch.tensor([numbers[row.fields[self.target]] for row in rows], dtype=torch.int64)


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    fields: dict[str, str]

    def missing(self, column: str) -> bool:
        return self.fields.get(column, "").lower() in MISSING

    def number(self, column: str) -> float:
        try:
            number = float(self.fields[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise DataError(f"{self.where}: {column}: expected a number, got {self.fields[column]!r}")
        return number


class _Encoder:
    """Turns rows into vectors: a number as it is, a category as 0 or 1 for each that the training rows have."""

    def __init__(self, rows: Sequence[_Row], columns: Sequence[str], categorical: Sequence[str]) -> None:
        self.categories: dict[str, list[str]] = {}
        self.means: dict[str, float] = {}
        for column in columns:
            values = [row.fields[column] for row in rows if not row.missing(column)]
            if column in categorical or not all(map(_is_number, values)):
                self.categories[column] = sorted({row.fields[column] for row in rows})
            else:
                self.means[column] = math.fsum(map(float, values)) / max(len(values), 1)
        self.columns = columns

    def __call__(self, rows: Sequence[_Row]) -> Tensor:
        """Shape (rows, features), float32."""
        width = len(self.means) + sum(map(len, self.categories.values()))
        return torch.tensor([list(self._vector(row)) for row in rows], dtype=torch.float32).view(len(rows), width)

    def _vector(self, row: _Row) -> Iterator[float]:
        for column in self.columns:
            if column in self.categories:
                yield from (float(row.fields[column] == category) for category in self.categories[column])
            else:
                yield self.means[column] if row.missing(column) else row.number(column)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
