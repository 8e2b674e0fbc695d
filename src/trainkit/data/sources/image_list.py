"""Image lists: pictures and labels named by a text file of lines, a CSV file, or lists in the YAML."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from trainkit.config.registry import register
from trainkit.config.shell import typed
from trainkit.core.errors import DataError, os_error_text
from trainkit.core.records import NoteRecord
from trainkit.core.suggestions import did_you_mean, did_you_mean_path
from trainkit.data.base import Data
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.image_files import ENDINGS, find, unused_files
from trainkit.data.images.source import SPLIT_NAMES, PicturesConfig, Remark, SplitName, first_ten
from trainkit.data.paths import expanded, no_file, unreadable
from trainkit.data.splitting import Keys
from trainkit.data.tables.columns import ColumnConfig, DateFormat
from trainkit.data.text_files import read_lines
from trainkit.tasks import Classification

if TYPE_CHECKING:
    from trainkit.data.tables.table_files import Cells


@dataclass(frozen=True, slots=True)
class Listed:
    """One picture of a list."""

    where: str
    """Its line in the list, for messages."""
    name: str
    """Its path below the folder of the pictures."""
    label: str
    split: str = "train"
    """The split that it belongs to."""


class PictureListConfig(PicturesConfig):
    """Base of the sources that are told each picture's label."""

    suffix: str = ""
    """What is to be added to each name, such as `.jpg` where the list leaves it out."""

    def _listed(
        self,
        where: str,
        folder: str,
        rows: Sequence[Listed],
        seed: int,
        keys: Callable[[Sequence[int]], Keys] = lambda indices: Keys(),
    ) -> Data:
        """The data of a list, which `where` names.

        Args:
            keys: what keeps the rows with these indices together, or brings them into an order.

        Raises:
            DataError: the folder is none, or rows without a label or a picture; all of them are told, up to the first
                ten.
        """
        root = expanded(folder)
        try:
            if not stat.S_ISDIR(root.stat().st_mode):
                raise DataError(f"data.path: {root.absolute()}: is not a directory")
        except (OSError, ValueError) as error:
            raise unreadable("path", root, error) from None
        seen: dict[str, str] = {}
        problems: list[str] = []
        for row in rows:
            if not row.name:
                problems.append(f"{row.where}: the path is empty")
            elif not row.label:
                problems.append(f"{row.where}: no label for {row.name!r}")
            elif row.split not in SPLIT_NAMES:
                hint = did_you_mean(row.split, SPLIT_NAMES)
                problems.append(f"{row.where}: expected one of {', '.join(SPLIT_NAMES)}, got {row.split!r}{hint}")
            elif row.name in seen:
                problems.append(f"{row.where}: {row.name!r} stands there twice, first at {seen[row.name]}")
            elif (why := self._why_none(root, row)) is not None:
                # Looking for what was meant takes time: not for a million rows.
                problems.append(f"{row.where}: {why}{self._hint(root, row) if len(problems) < 10 else ''}")
            seen.setdefault(row.name, row.where)
        classes = sorted({row.label for row in rows if row.split == "train"}, key=_natural([row.label for row in rows]))
        problems += [
            f"{row.where}: class {row.label!r} is not among the training pictures"
            for row in rows
            if row.split in ("val", "test") and row.label and row.label not in classes
        ]
        if problems:
            raise DataError(*first_ten(problems))
        if len(classes) < 2:
            raise DataError(f"{where}: expected two labels or more, found {len(classes)}")
        numbers = {label: number for number, label in enumerate(classes)}
        files = {}
        for split in SPLIT_NAMES:
            if some := [row for row in rows if row.split == split]:
                names = [f"{row.name}{self.suffix}" for row in some]
                files[split] = self.source(root, names, [numbers[row.label] for row in some])
        indices = {f"{row.name}{self.suffix}": index for index, row in enumerate(rows)}
        remarks = self._unlisted(where, root, files)
        if "val" in files:
            remarks.append(NoteRecord(f"val is what {where} calls val; data.val is for sources without one"))

        def keys_of(names: Sequence[str]) -> Keys:
            return keys([indices[name] for name in names])

        return self._data(
            Path(where), files, Classification(size=len(classes), names=tuple(classes)), seed, remarks, keys_of
        )

    def _why_none(self, root: Path, row: Listed) -> str | None:
        """What is wrong with the file that a row names; None where there is one."""
        path = root / f"{row.name}{self.suffix}"
        try:
            why = no_file(path)
        except FileNotFoundError:
            return f"no picture {path}"
        except (OSError, ValueError) as error:
            why = os_error_text(error)
        return why and f"{path}: {why}"

    def _hint(self, root: Path, row: Listed) -> str:
        """What may have been meant by a row without a picture."""
        name = f"{row.name}{self.suffix}"
        with suppress(OSError):
            if (root / f"{row.name} {row.label}{self.suffix}").is_file():
                return f"; {row.name} {row.label}{self.suffix} is one, but has no label"
            for ending in ENDINGS:
                if (root / f"{name}{ending}").is_file():
                    return f"; with {typed('data.suffix', self.suffix + ending)} there is one"
        return did_you_mean_path(root / name)

    def _unlisted(self, where: str, root: Path, files: Mapping[SplitName, PictureSource]) -> list[Remark]:
        """What to say of files that are there, but not in the list."""
        return []


def _natural(labels: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """The order of the classes: by number, where all labels are numbers, so that 10 comes after 9; else by letter."""
    # Python refuses numbers of thousands of digits.
    numbers = all(label.isdecimal() and len(label) < 1000 for label in labels)
    return lambda label: (int(label) if numbers else 0, label)


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

    def _unlisted(self, where: str, root: Path, files: Mapping[SplitName, PictureSource]) -> list[Remark]:
        listed = {Path(name).as_posix() for source in files.values() for name in source.names}
        try:
            there = find(root, rules=self.rules)
        except DataError:  # some folder that has nothing to do with it
            return []
        remarks: list[Remark] = []
        if unlisted := [name for name in there.pictures if name not in listed]:
            count = f"{len(unlisted):,} of the pictures in it are not in {where} and not used"
            remarks.append(NoteRecord(f"{root}: {count}, such as {unlisted[0]}"))
        others = [name for name in there.others if name not in listed and root / name != expanded(self.labels)]
        return remarks + unused_files(root, others)


@register("data")
class ImageListConfig(PictureListConfig):
    """Pictures and their labels, as lists in the YAML or as columns of a CSV file."""

    name: Literal["image_list"] = "image_list"
    path: str = "."
    """The folder below which the pictures lie, relative to the directory in which the command runs; `~` is expanded."""
    paths: tuple[str, ...] | None = None
    """The pictures, below `path`."""
    labels: tuple[str | int, ...] | None = None
    """One for each of `paths`."""
    file: str | None = None
    """A CSV file with a header (or TSV, JSON lines, Parquet), instead of `paths` and `labels`."""
    path_column: str = "path"
    """The column of the pictures, below `path`."""
    label_column: str = "label"
    """The column of the labels."""
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

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.file is None) == (self.paths is None) or (self.paths is None) != (self.labels is None):
            raise ValueError("give either file, or paths and labels")
        if self.paths is not None and self.labels is not None and len(self.paths) != len(self.labels):
            raise ValueError(f"there are {len(self.paths)} paths and {len(self.labels)} labels")
        if self.group and self.order:
            raise ValueError("group or order, not both: which split the rest of a group is in could not be said")
        if (self.group or self.order) and self.file is None:
            raise ValueError("group and order are columns of a file")
        return self

    def build(self, seed: int) -> Data:
        if self.file is None:
            pairs = zip(self.paths or (), self.labels or (), strict=True)
            rows = [Listed(f"data.paths[{n}]", path, str(label)) for n, (path, label) in enumerate(pairs)]
            return self._listed("data.paths", self.path, rows, seed)
        from trainkit.data.tables.table_files import read  # brings pyarrow, for those who read a table

        given = (self.path_column, self.label_column, self.split_column, self.group, self.order)
        needed = [column for column in given if column]
        table = read([self.file], needed, key="file", delimiter=self.delimiter)
        names, labels = (table.columns[column].to_pylist() for column in (self.path_column, self.label_column))
        splits = table.columns[self.split_column].to_pylist() if self.split_column else ["train"] * len(table)
        rows = [Listed(*row) for row in zip(table.locations(), names, labels, splits, strict=True)]
        return self._listed(self.file, self.path, rows, seed, partial(self._keys, table))

    def _keys(self, table: Cells, indices: Sequence[int]) -> Keys:
        from trainkit.data.tables import split_keys  # brings pyarrow

        if self.group:
            return split_keys.groups(table.columns[self.group].take(indices))
        if self.order:
            asked, rows = ColumnConfig(format=self.order_format), np.array(indices, dtype=np.int64)
            return split_keys.ranks(table.column(self.order), asked, rows, "data.order_format")
        return Keys()
