"""Tables in files: columns of numbers, words and dates, one or several of them to be predicted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from trainkit.config.registry import register
from trainkit.data.base import Data, DataConfig
from trainkit.data.spec import DataSpec
from trainkit.data.tables.columns import Asked, ColumnConfig
from trainkit.data.texts.source import TextConfig
from trainkit.tasks import Kind, task_class


@register("data")
class TableConfig(DataConfig):
    """A table in a file: CSV, TSV (also packed as .gz), JSON lines or Parquet; the names of the columns come first."""

    name: Literal["table"] = "table"
    path: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The file, relative to the directory in which the command runs; `~` is expanded. Several of one shape are a list,
    or a pattern such as `data/*.csv`."""
    target: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """The column to be predicted, or several of them for numbers or labels."""
    task: Kind | Literal["auto"] = "auto"
    """What it holds: names of classes, numbers, or (`multilabel`) yes or no in each of several columns. `auto` takes
    words, and up to 20 different whole numbers, for classes; fractions, and more than 100, for numbers."""
    features: tuple[str, ...] | None = None
    """The columns to predict it from; by default all others."""
    ignore: tuple[str, ...] = ()
    """Columns that are not to be used."""
    categorical: tuple[str, ...] = ()
    """Columns of numbers that are names, such as a postcode: short for `columns` of kind `category`."""
    columns: dict[str, Asked | ColumnConfig] = {}
    """What a column is, where the guess is wrong: `number`, `flag`, `category`, `date`, `text`, `drop`, or a mapping
    with `kind` and how it is written. From texts, and then from nothing else, a model for texts learns."""
    decimal: Literal[".", ","] | None = None
    """What stands before the decimals of all numbers; by default a point, or a comma where a point is `thousands`."""
    thousands: Literal[",", ".", " ", "'", ""] = ""
    """What separates groups of three digits."""
    percent: Literal["number", "fraction"] = "number"
    """Whether 12% is 12 or 0.12."""
    na_values: tuple[str, ...] | None = None
    """Texts that count as missing, in any case, besides the usual ones. Among numbers, dates and flags these are an
    empty cell, NA, N/A, NaN, null, None, ?, -, #N/A and the like; among words only an empty cell."""
    missing: Literal["error", "mean", "drop"] = "error"
    """A gap in a column to predict from: an error, the training rows' mean and a mark that it was missing (a category
    of its own for words), or a row left out. Rows without a target are always left out."""
    standardize: bool | Literal["robust"] = True
    """Numbers minus their mean, divided by their standard deviation, both of the training rows alone and in float64.
    `robust`: minus the median, divided by the distance of the quartiles, and bent to lie between -3 and 3."""
    test: str | Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """Another file, or the fraction of the rows that is the test split, the same for every seed; null for none."""
    stratify: bool = True
    """Let classes keep their proportions in test and val; not with `group` or `order`."""
    group: str | None = None
    """A column such as the patient: all rows with the same value are in the same split."""
    order: str | None = None
    """A column such as the date: val and test are the latest rows, so that no future is in the training."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What stands between the fields of a CSV file; by default a comma, in files called .tsv a tab."""
    text: TextConfig = TextConfig()
    """How the texts of columns of kind `text` become numbers of tokens."""
    rules: Literal[1, 2, 3] = 3
    """How rows are taken and divided; 1 stands in configs from before tables were read as they are now, 2 in those from
    before a column of kind `text` was learned from."""

    default_model: ClassVar[str | None] = "table"

    @classmethod
    def model_for(cls, given: Mapping[str, object], /) -> str | None:
        columns = given.get("columns")
        asked = columns.values() if isinstance(columns, Mapping) else ()
        kinds = [one.get("kind") if isinstance(one, Mapping) else one for one in asked]
        return "embedding_bag" if "text" in kinds else cls.default_model

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, or patterns of them."""
        return self.path if isinstance(self.path, tuple) else (self.path,)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to be predicted."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of texts to predict from."""
        return tuple(name for name in self.columns if self.rules >= 3 and self.asked(name).kind == "text")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if both := [name for name in self.targets if name in (self.features or ())]:
            raise ValueError(f"features: {both[0]!r} is the target")
        if both := [name for name in self.targets if name in self.ignore]:
            raise ValueError(f"ignore: {both[0]!r} is the target")
        if both := [name for name in self.targets if self.asked(name).kind in ("drop", "text")]:
            raise ValueError(f"columns: {both[0]!r} is the target; it cannot be left out")
        if both := [name for name in self.features or () if name in self.ignore]:
            raise ValueError(f"ignore: {both[0]!r} is among features")
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal: {self.decimal!r} is thousands as well")
        if len(self.targets) > 1 and (self.task == "auto" or task_class(self.task).reading == "words"):
            raise ValueError("several target columns are for task=regression or task=multilabel")
        if self.group and self.order:
            raise ValueError("group or order, not both: which split the rest of a group is in could not be said")
        return self

    def asked(self, column: str) -> ColumnConfig:
        """How a column is to be read, with the keys that hold for all."""
        given = self.columns.get(column, "category" if column in self.categorical else "auto")
        config = ColumnConfig(kind=given) if isinstance(given, str) else given
        thousands = self.thousands if config.thousands is None else config.thousands
        return ColumnConfig(
            kind=config.kind,
            decimal=config.decimal or self.decimal or ("," if thousands == "." else "."),
            thousands=thousands,
            percent=config.percent or self.percent,
            na_values=self.na_values if config.na_values is None else config.na_values,
            format=config.format,
        )

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        return self._counted(lambda: self.build(seed, spec))

    def build(self, seed: int, like: DataSpec | None = None) -> Data:
        from trainkit.data.tables import building, text_columns  # bring pyarrow, for those who read a table

        return text_columns.build(self, seed, like) if self.texts else building.build(self, seed, like)


@register("data")
class CsvConfig(TableConfig):
    """The same under the name of the commonest kind of such files."""

    name: Literal["csv"] = "csv"  # type: ignore[assignment]
