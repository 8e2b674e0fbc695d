"""Base of the sources of pictures that a list names, with what is to be predicted of each."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from trainkit.config.shell import typed
from trainkit.core.errors import DataError, os_error_text
from trainkit.core.records import NoteRecord
from trainkit.core.suggestions import did_you_mean, did_you_mean_path
from trainkit.core.text import first_ten
from trainkit.data.base import Data
from trainkit.data.folders import SPLIT_NAMES, SplitName
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.image_files import ENDINGS, find, unused_files
from trainkit.data.images.source import PicturesConfig, Remark
from trainkit.data.paths import expanded, no_file, unreadable
from trainkit.data.splitting import Keys
from trainkit.tasks import Classification, Task


@dataclass(frozen=True, slots=True)
class Listed:
    """One picture of a list."""

    where: str
    """Its line in the list, for messages."""
    name: str
    """Its path below the folder of the pictures."""
    label: str | None
    """Its class; None where what is to be predicted is told otherwise."""
    split: str = "train"
    """The split that it belongs to."""


class Labels(NamedTuple):
    """What is to be predicted of pictures."""

    task: Task
    values: Tensor
    """Shape (pictures,), int64; or (pictures, size), float32."""
    missing: Tensor
    """Which pictures have nothing, shape (pictures,), bool."""
    notes: tuple[NoteRecord, ...] = ()


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
        labels: Labels | None = None,
        like: Task | None = None,
    ) -> Data:
        """The data of a list, which `where` names.

        Args:
            keys: what keeps the rows with these indices together, or brings them into an order.
            labels: of all rows; None where they have classes.
            like: the task of the training, whose classes are meant; None to take those of the rows.

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
        used = [row for row in range(len(rows)) if labels is None or not labels.missing[row]]
        problems = self._problems(root, [rows[row] for row in used])
        classes: Sequence[str] = ()
        if labels is None:
            words = [row.label for row in rows if row.label is not None and row.split == "train"]
            every = [row.label or "" for row in rows]
            classes = like.names if like else sorted(set(words), key=natural(every))
            problems += [
                f"{row.where}: class {row.label!r} is not among the training pictures"
                for row in rows
                if row.split in SPLIT_NAMES and row.label and row.label not in classes
            ]
        if problems:
            raise DataError(*first_ten(problems))
        if labels is None:
            labels = _classes(where, rows, classes)
        elif not any(rows[row].split == "train" for row in used):
            raise DataError(f"{where}: no training picture has {' and '.join(labels.task.known_names[:3])}")
        files = {}
        for split in SPLIT_NAMES:
            if some := [row for row in used if rows[row].split == split]:
                names = [f"{rows[row].name}{self.suffix}" for row in some]
                files[split] = self.source(root, names, labels.values[some])
        indices = {f"{rows[row].name}{self.suffix}": row for row in used}
        remarks = [*labels.notes, *self._unlisted(where, root, files)]
        if "val" in files:
            remarks.append(NoteRecord(f"val is what {where} calls val; data.val is for sources without one"))

        def keys_of(names: Sequence[str]) -> Keys:
            return keys([indices[name] for name in names])

        return self._data(Path(where), files, labels.task, seed, remarks, keys_of)

    def _problems(self, root: Path, rows: Sequence[Listed]) -> list[str]:
        """What is wrong with rows, whatever their classes are."""
        seen: dict[str, str] = {}
        problems: list[str] = []
        for row in rows:
            if not row.name:
                problems.append(f"{row.where}: the path is empty")
            elif row.label == "":
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
        return problems

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
        listed = {Path(name).as_posix() for source in files.values() for name in source.names}
        try:
            there = find(root, rules=self.rules)
        except DataError:  # some folder that has nothing to do with it
            return []
        remarks: list[Remark] = []
        if unlisted := [name for name in there.pictures if name not in listed]:
            count = f"{len(unlisted):,} of the pictures in it are not in {where} and not used"
            remarks.append(NoteRecord(f"{root}: {count}, such as {unlisted[0]}"))
        others = [name for name in there.others if name not in listed and root / name != expanded(where)]
        return remarks + unused_files(root, others)


def _classes(where: str, rows: Sequence[Listed], classes: Sequence[str]) -> Labels:
    """One of the classes for each row."""
    if len(classes) < 2:
        raise DataError(f"{where}: expected two labels or more, found {len(classes)}")
    numbers = {label: number for number, label in enumerate(classes)}
    values = torch.tensor([numbers[row.label or ""] for row in rows], dtype=torch.int64)
    task = Classification(size=len(classes), names=tuple(classes))
    return Labels(task, values, torch.zeros(len(rows), dtype=torch.bool))


def natural(labels: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """The order of labels: by number, where all labels are numbers, so that 10 comes after 9; else by letter."""
    # Python refuses numbers of thousands of digits.
    numbers = all(label.isdecimal() and len(label) < 1000 for label in labels)
    return lambda label: (int(label) if numbers else 0, label)
