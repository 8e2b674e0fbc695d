"""Image lists: pictures and labels named by a text file of lines, a CSV file, or lists in the YAML."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from trainkit.config.registry import register
from trainkit.data.base import Data
from trainkit.data.folders import SplitName
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.picture_lists import Labels, Listed, PictureListConfig
from trainkit.data.images.source import Remark
from trainkit.data.spec import DataSpec
from trainkit.data.splitting import Keys
from trainkit.data.tables.columns import ColumnConfig, DateFormat
from trainkit.data.text_files import read_lines
from trainkit.tasks import Kind, Task, task_class

if TYPE_CHECKING:
    from trainkit.data.tables.table_files import Cells


@register("data")
class ImageTxtConfig(PictureListConfig):
    """A folder of pictures, and a text file with a line `name label` for each."""

    name: Literal["image_txt"] = "image_txt"
    path: str
    """The folder of the pictures, relative to the directory in which the command runs; `~` is expanded."""
    labels: str
    """The text file. The label is what follows the last tab, or without a tab the last word of a line: names may have
    spaces. `#` begins a comment line."""

    def build(self, seed: int) -> Data:
        rows = []
        for where, line in read_lines(self.labels, key="labels"):
            if line.startswith("#"):
                continue
            name, *label = line.rsplit("\t" if "\t" in line else None, 1)
            rows.append(Listed(where, name.strip(), label[0].strip() if label else ""))
        return self._listed(self.labels, self.path, rows, seed)


class LabelFileConfig(PictureListConfig):
    """Base of the sources whose labels may be columns of a file."""

    file: str | None = None
    """A CSV file with a header (or TSV, JSON lines, Parquet)."""
    path_column: str | None = None
    """The column of the pictures, below `path`; by default the first one."""
    label_column: str | Annotated[tuple[str, ...], Field(min_length=1)] = "label"
    """The column to be predicted, or several: numbers, or 0 and 1 (yes and no) for each label."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between several labels in one column; a picture without any has an empty cell."""
    task: Kind | Literal["auto"] = "auto"
    """What is to be predicted: a class, several labels or numbers. `auto`: one column of words or whole numbers holds
    classes, one of fractions numbers; several columns hold labels where all are 0 and 1 (yes and no), else numbers."""
    split_column: str | None = None
    """The column that says `train`, `val` or `test`, if there is one."""
    group: str | None = None
    """A column such as the patient: all pictures with the same value are in the same split."""
    order: str | None = None
    """A column such as the date: val and test are the latest pictures, so that no future is in the training."""
    order_format: DateFormat = ""
    """How dates in `order` are written: `ymd`, `dmy`, `mdy`, or a format of Python's strptime such as `%d.%m.%Y`."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What stands between the fields of a CSV file; by default a comma, in files called .tsv a tab."""
    decimal: Literal[".", ","] | None = None
    """What stands before the decimals of numbers; by default a point, or a comma where a point is `thousands`."""
    thousands: Literal[",", ".", " ", "'", ""] = ""
    """What separates groups of three digits."""
    na_values: tuple[str, ...] | None = None
    """Texts that count as missing among numbers, 0 and 1, in any case, besides an empty cell, NA, NaN, null and the
    like. Pictures of which one is missing are left out."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns to be predicted."""
        return self.label_column if isinstance(self.label_column, tuple) else (self.label_column,)

    @property
    def asked(self) -> ColumnConfig:
        """How numbers are to be read."""
        decimal = self.decimal or ("," if self.thousands == "." else ".")
        return ColumnConfig(decimal=decimal, thousands=self.thousands, na_values=self.na_values)

    @model_validator(mode="after")
    def _labels_fit_together(self) -> Self:
        if self.group and self.order:
            raise ValueError("group or order, not both: which split the rest of a group is in could not be said")
        if (self.group or self.order) and self.file is None:
            raise ValueError("group and order are columns of a file")
        if twice := [name for name in self.targets if self.targets.count(name) > 1]:
            raise ValueError(f"label_column: {twice[0]!r} stands there twice")
        reading = None if self.task == "auto" else task_class(self.task).reading
        if self.separator is not None and (len(self.targets) > 1 or reading not in (None, "flags")):
            raise ValueError("separator is for one column with several labels (task=multilabel)")
        if len(self.targets) > 1 and reading == "words":
            raise ValueError("several label columns are for task=regression or task=multilabel")
        if self.file and reading == "flags" and self.separator is None and len(self.targets) == 1:
            raise ValueError("task=multilabel is for several label columns, or one with a separator")
        return self

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        config = self.in_range_of(spec)
        return config._counted(lambda: config.build(seed, spec))

    @abstractmethod
    def build(self, seed: int, like: DataSpec | None = None) -> Data:
        """Read the pictures and their labels.

        Args:
            like: what the training data was; None to decide it.
        """

    def _of_file(
        self,
        folder: str,
        seed: int,
        like: DataSpec | None,
        found: Callable[[list[str]], list[str]] = lambda names: names,
    ) -> Data:
        """The data of `file`.

        Args:
            found: gives the files that names in it mean.
        """
        from trainkit.data.tables.table_files import read  # brings pyarrow, for those who read a table

        assert self.file is not None
        given = (self.path_column, *self.targets, self.split_column, self.group, self.order)
        table = read([self.file], [column for column in given if column], key="file", delimiter=self.delimiter)
        names = found(table.columns[self.path_column or next(iter(table.columns))].to_pylist())
        splits = table.columns[self.split_column].to_pylist() if self.split_column else ["train"] * len(table)
        task = like.task if like else None
        labels = self._labels(table, [split == "train" for split in splits], task)
        classes = [None] * len(table) if labels else table.columns[self.targets[0]].to_pylist()
        rows = [Listed(*row) for row in zip(table.locations(), names, classes, splits, strict=True)]
        return self._listed(self.file, folder, rows, seed, partial(self._keys, table), labels, task)

    def _labels(self, file: Cells, training: Sequence[bool], like: Task | None) -> Labels | None:
        """What is to be predicted, where it is not classes."""
        from trainkit.data.images import labels  # brings pyarrow

        if self.separator is None or (like and like.reading != "flags"):
            return labels.in_columns(file, self.targets, self.task, self.asked, like)
        [name] = self.targets
        words = labels.divided(file.columns[name].to_pylist(), self.separator, file.name, name, like)
        return labels.several(words, training, file.name, like)

    def _keys(self, table: Cells, indices: Sequence[int]) -> Keys:
        from trainkit.data.tables import split_keys  # brings pyarrow

        if self.group:
            return split_keys.groups(table.columns[self.group].take(indices))
        if self.order:
            asked, rows = ColumnConfig(format=self.order_format), np.array(indices, dtype=np.int64)
            return split_keys.ranks(table.column(self.order), asked, rows, "data.order_format")
        return Keys()


Number = int | float
Label = str | Number | tuple[str | Number, ...]


@register("data")
class ImageListConfig(LabelFileConfig):
    """Pictures and their labels, as lists in the YAML or as columns of a CSV file."""

    name: Literal["image_list"] = "image_list"
    path: str = "."
    """The folder below which the pictures lie, relative to the directory in which the command runs; `~` is expanded."""
    paths: tuple[str, ...] | None = None
    """The pictures, below `path`."""
    labels: tuple[Label, ...] | None = None
    """One for each of `paths`: a class or a number; a list of words for any number of labels, or of several numbers."""
    path_column: str = "path"
    """The column of the pictures, below `path`."""
    rules: Literal[1, 2, 3] = 3  # type: ignore[assignment]
    """How files are found and decoded, and what `task: auto` means. 1 and 2 are for checkpoints from before there was
    3: numbers with fractions are classes; and of 1, as for all sources of pictures."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.paths is None) or (self.paths is None) != (self.labels is None):
            raise ValueError("give either file, or paths and labels")
        if self.paths is not None and self.labels is not None and len(self.paths) != len(self.labels):
            raise ValueError(f"there are {len(self.paths)} paths and {len(self.labels)} labels")
        labels = self.labels or ()
        lists = [label for label in labels if isinstance(label, tuple)]
        if lists and len(lists) < len(labels):
            raise ValueError("labels: either lists for all pictures or for none")
        flat = [*chain.from_iterable(lists)] if lists else [*labels]
        if any(isinstance(one, float) for one in flat) and any(isinstance(one, str) for one in flat):
            raise ValueError("labels: words among numbers")
        if not any(isinstance(one, str) for one in flat) and len({len(one) for one in lists}) > 1:
            raise ValueError("labels: lists of numbers of different lengths")
        return self

    def build(self, seed: int, like: DataSpec | None = None) -> Data:
        if self.task == "auto" and self.rules != 3 and len(self.targets) == 1 and self.separator is None:
            return self.model_copy(update={"task": "classification"}).build(seed, like)
        if self.file is not None:
            return self._of_file(self.path, seed, like)
        task = like.task if like else None
        given = self.labels or ()
        labels = self._labels_in_the_yaml(given, task)
        rows = [
            Listed(f"data.paths[{n}]", path, None if labels else str(label))
            for n, (path, label) in enumerate(zip(self.paths or (), given, strict=True))
        ]
        return self._listed("data.paths", self.path, rows, seed, labels=labels, like=task)

    def _labels_in_the_yaml(self, given: Sequence[Label], like: Task | None) -> Labels | None:
        import pyarrow as pa

        from trainkit.data.images import labels  # brings pyarrow
        from trainkit.data.tables.table_files import Cells, FileRows

        class InYaml(FileRows):
            def where(self, row: int) -> str:
                return f"{self.name}[{row}]"

        rows = [label if isinstance(label, tuple) else (label,) for label in given]
        words = any(isinstance(one, str) for row in rows for one in row)
        if words and isinstance(given[0], tuple):
            return labels.several([[*map(str, row)] for row in rows], [True] * len(rows), "data.labels", like)
        width = len(rows[0]) if rows else 1
        names = self.targets if len(self.targets) == width else tuple(map(str, range(width)))
        columns = zip(names, zip(*rows, strict=True), strict=True)
        cells = {name: pa.array([*map(str, column)], pa.string()) for name, column in columns}
        config = self.model_copy(update={"label_column": names})
        file = Cells("data.labels", cells, (InYaml("data.labels", len(rows), None),))
        return config._labels(file, [True] * len(rows), like)

    def _unlisted(self, where: str, root: Path, files: Mapping[SplitName, PictureSource]) -> list[Remark]:
        return []  # a list is often of a part
