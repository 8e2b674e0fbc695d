"""Tables: a CSV file of one's own, and the small real ones that ship inside scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.data.base import Column, Data, DataConfig, DataSpec, Kind, Split, TargetSpec, TensorSource
from trainkit.data.rows import Row, read_csv
from trainkit.errors import DataError
from trainkit.registry import register
from trainkit.seeding import permutation

FLOAT32 = torch.finfo(torch.float32)
MAX_CATEGORIES = 10_000
"""Of a column; each is a feature."""
MAX_LETTERS = 2_000_000
"""In all categories: they are kept in every checkpoint."""
MISSING = ("", "na", "nan", "n/a", "null", "none", "?")
"""What counts as no value in a CSV file, in any case."""


class TableConfig(DataConfig):
    """Base of the tables: vectors of numbers, standardised with what the training part says."""

    standardize: bool = True
    """Subtract the mean and divide by the standard deviation of each feature, both of the training samples alone."""

    def table(
        self,
        train: TensorSource,
        test: TensorSource,
        target: TargetSpec,
        split: tuple[Split, Split | None],
        columns: tuple[Column, ...] = (),
    ) -> Data:
        """Put the splits together, with the statistics of the training samples in the spec."""
        spec = DataSpec(shape=(train.inputs.shape[1],), target=target, columns=columns)
        if self.standardize:
            seen = train.inputs[split[0].index].double()
            # A feature that never changes, or hardly, has no deviation to divide by: it becomes 0, not infinite.
            std = seen.std(dim=0, correction=0)
            std = torch.where(std > FLOAT32.tiny, std, 1.0)
            mean = seen.mean(dim=0)
            spec = spec.model_copy(update={"mean": tuple(mean.tolist()), "std": tuple(std.tolist())})
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
    """A CSV file with a header: columns of numbers or words, one or several of them to be predicted."""

    name: Literal["csv"] = "csv"
    path: str
    """The file, relative to the directory in which the command runs; `~` is expanded."""
    target: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The column to be predicted, or several of them for numbers or labels."""
    task: Kind = "class"
    """What it holds: names of classes, numbers, or (`multilabel`) 0 or 1 in each of several columns."""
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

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to be predicted."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> Self:
        if both := [name for name in self.targets if name in (self.features or ())]:
            raise ValueError(f"features: {both[0]!r} is the target")
        if self.task == "class" and len(self.targets) > 1:
            raise ValueError("several target columns are for task=number or task=multilabel")
        return self

    def spec(self) -> None:
        return None

    def build(self, seed: int) -> Data:
        rows = self._read("path", self.path)
        columns = self._columns(rows)
        if isinstance(self.test, str):
            test_rows = self._read("test", self.test, columns)
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
        encoding = _encoding([rows[n] for n in train.index.tolist()], columns, self.categorical)
        source = TensorSource(_encoded(rows, encoding), targets)
        test = TensorSource(_encoded(test_rows, encoding), self._targets(test_rows, target))
        split = (Split(source, train.index), Split(source, val.index) if val else None)
        return self.table(source, test, target, split, encoding)

    def new_rows(self, name: str, columns: Sequence[Column]) -> list[Row]:
        """The rows of a file of new samples, in which the targets may be missing.

        Raises:
            DataError: it cannot be read, or a column is missing.
        """
        return read_csv(name, [column.name for column in columns], key="path", delimiter=self.delimiter)

    def vector(self, row: Row, columns: Sequence[Column]) -> Tensor:
        """A new row as the model takes it, before it is standardised. Shape (features,), float32.

        Raises:
            DataError: it has no value where a training row needed one, or a word for a number.
        """
        empty = next((column.name for column in columns if _missing(row, column.name)), None)
        if empty is not None and self.missing != "mean":
            raise DataError(
                f"{row.where}: no value for {empty!r}; the model was trained with data.missing={self.missing}"
            )
        return _encoded([row], columns)[0]

    def _columns(self, rows: Sequence[Row]) -> Sequence[str]:
        """What to predict from."""
        if self.features or not rows:
            return self.features or ()
        columns = [name for name in rows[0].fields if name not in self.targets]
        if not columns:
            raise DataError(f"{self.path}:1: no column beside {', '.join(self.targets)} to predict from")
        return columns

    def _read(self, key: str, name: str, columns: Sequence[str] = ()) -> list[Row]:
        """The rows of a file that are used, each with these columns."""
        needed = (*self.targets, *(self.features or ()), *self.categorical, *columns)
        rows = read_csv(name, needed, key=key, delimiter=self.delimiter)
        columns = columns or self._columns(rows)
        return [row for row in rows if self._is_complete(row, columns)]

    def _is_complete(self, row: Row, columns: Sequence[str]) -> bool:
        """Whether the row is used; False for one to drop."""
        empty = next((name for name in (*self.targets, *columns) if _missing(row, name)), None)
        if empty and self.missing == "drop":
            return False
        if empty and (self.missing == "error" or empty in self.targets):
            what = "data.missing=drop" if empty in self.targets else "data.missing=mean or drop"
            raise DataError(f"{row.where}: no value for {empty!r}; use {what}, or mend the file")
        return True

    def _target_spec(self, rows: list[Row]) -> TargetSpec:
        if self.task != "class":
            return TargetSpec(kind=self.task, size=len(self.targets), names=self.targets)
        names = sorted({row.fields[self.targets[0]] for row in rows})
        if len(names) < 2:
            raise DataError(f"{self.path}: every row has the class {names[0]!r}")
        return TargetSpec(kind="class", size=len(names), names=tuple(names))

    def _targets(self, rows: list[Row], target: TargetSpec) -> Tensor:
        if target.kind != "class":
            values = [[_number(row, name) for name in self.targets] for row in rows]
            for row, given in zip(rows, values, strict=True):
                if target.kind == "multilabel" and not set(given) <= {0, 1}:
                    raise DataError(f"{row.where}: labels are 0 or 1, got {', '.join(map(str, given))}")
            return torch.tensor(values, dtype=torch.float32).view(-1, target.size)
        numbers = {name: number for number, name in enumerate(target.names)}
        labels = [row.fields[self.targets[0]] for row in rows]
        for row, label in zip(rows, labels, strict=True):
            if label not in numbers and all(map(_is_number, numbers)):
                raise DataError(
                    f"data.task: class, but {label}, the {self.targets[0]!r} of {row.where}, is in no training row; "
                    "use data.task=number for numbers"
                )
            if label not in numbers:
                raise DataError(f"{row.where}: class {label!r} is not among the training rows")
        return torch.tensor([numbers[label] for label in labels], dtype=torch.int64)


def _missing(row: Row, column: str) -> bool:
    return row.fields[column].lower() in MISSING


def _number(row: Row, column: str) -> float:
    text = row.fields[column]
    if not _is_number(text):
        raise DataError(f"{row.where}: {column}: expected a number, got {text!r}")
    if abs(number := float(text)) > FLOAT32.max:
        raise DataError(f"{row.where}: {column}: {text} is too large; at most {FLOAT32.max:.1e}")
    return number


def _encoding(rows: Sequence[Row], names: Iterable[str], categorical: Sequence[str]) -> tuple[Column, ...]:
    """How the columns with these names become numbers, going by the training rows."""
    columns = []
    for name in names:
        present = [row for row in rows if not _missing(row, name)]
        if name in categorical or not all(_is_number(row.fields[name]) for row in present):
            columns.append(Column(name=name, categories=_words(rows, name)))
        else:
            mean = math.fsum(_number(row, name) for row in present) / max(len(present), 1)
            columns.append(Column(name=name, mean=mean))
    if (letters := sum(map(len, chain(*(column.categories or () for column in columns))))) > MAX_LETTERS:
        raise DataError(
            f"{rows[0].where}: the words of all columns have {letters:,} letters, too many for categories (at most "
            f"{MAX_LETTERS:,}); choose columns with data.features"
        )
    return tuple(columns)


def _words(rows: Sequence[Row], column: str) -> tuple[str, ...]:
    words = sorted({row.fields[column] for row in rows})
    if len(words) > MAX_CATEGORIES:
        raise DataError(
            f"{rows[0].where}: {column}: {len(words):,} different words are too many for categories (at most "
            f"{MAX_CATEGORIES:,}); choose columns with data.features"
        )
    return tuple(words)


def _encoded(rows: Sequence[Row], columns: Sequence[Column]) -> Tensor:
    """A number as it is, a category as 0 or 1 for each that the training rows have. Shape (rows, features), float32."""
    width = sum(column.width for column in columns)
    return torch.tensor([list(_vector(row, columns)) for row in rows], dtype=torch.float32).view(len(rows), width)


def _vector(row: Row, columns: Sequence[Column]) -> Iterator[float]:
    for column in columns:
        if column.categories is not None:
            yield from (float(row.fields[column.name] == category) for category in column.categories)
        else:
            yield column.mean if _missing(row, column.name) else _number(row, column.name)


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and not math.isnan(float(text))  # Python reads 1_2 as 12
    except ValueError:
        return False
