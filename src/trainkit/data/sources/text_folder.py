"""Text folders: a folder of text files per class, with or without a folder per split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted, first_ten
from trainkit.data.base import Data, DataConfig, Split
from trainkit.data.folders import SplitName, existing, files_below, folders_in
from trainkit.data.paths import expanded, unreadable
from trainkit.data.spec import DataSpec
from trainkit.data.text_files import whole_text
from trainkit.data.texts.source import RawTexts, TextConfig, numbered
from trainkit.data.texts.tokenizer import is_empty
from trainkit.tasks import Classification

UNLABELLED = "unsup"
"""A folder of texts without a class, as the film reviews of aclImdb (Maas et al., 2011) have it."""


@register("data")
class TextFolderConfig(DataConfig, TextConfig):
    """A folder of text files (`.txt`) per class; or `train`, and if you like `val` (or `valid`, `validation`, `dev`)
    and `test`, with a folder per class in each."""

    name: Literal["text_folder"] = "text_folder"
    default_model: ClassVar = "embedding_bag"

    path: str
    """The folder, relative to the directory in which the command runs; `~` is expanded."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the texts that is the test split, the same for every seed, when there is none yet."""
    on_error: Literal["stop", "skip"] = "stop"
    """Files that are no text in UTF-8, or empty. `stop`: an error. `skip`: leave them out, and say which."""

    def build(self, seed: int, like: DataSpec | None = None) -> Data:
        root = expanded(self.path)
        try:
            found = existing(root)
        except OSError as error:
            raise unreadable("path", root, error) from None
        folders: dict[SplitName, Path] = found if "train" in found else {"train": root}
        if apart := [folder.name for split, folder in found.items() if split != "train" and "train" not in found]:
            raise DataError(f"{root.absolute()}: expected a folder train beside {apart[0]}, in each a folder per class")
        notes: list[NoteRecord] = []
        names = folders_in(folders["train"])
        classes = [name for name in names if name != UNLABELLED] if like is None else list(like.task.names)
        if len(classes) < 2:
            seen = f"found only {classes[0]!r}" if classes else "found none"
            raise DataError(f"{folders['train'].absolute()}: expected a folder of text files per class, {seen}")
        if UNLABELLED in names:
            notes.append(NoteRecord(f"{folders['train'] / UNLABELLED}: not used, as its texts have no class"))
        problems: list[str] = []
        splits = {name: self._read(folder, classes, problems, notes) for name, folder in folders.items()}
        if problems:
            if self.on_error == "stop":
                text = f"{root}: {counted(len(problems), 'text')} cannot be used"
                raise DataError(*first_ten(problems), f"{text}; mend or remove them, or use data.on_error=skip")
            total = len(problems) + sum(map(len, splits.values()))
            notes += [NoteRecord(f"{len(problems):,} of {total:,} texts cannot be used and are left out", "warning")]
            notes += [NoteRecord(text, "warning") for text in first_ten(problems)]
        task = Classification(size=len(classes), names=tuple(classes)) if like is None else like.task
        train, val, test = self.train_val_test(
            splits["train"], seed, splits.get("test", self.test), splits.get("val"), task=task
        )
        divided: dict[SplitName, Split | None] = {"train": train, "val": val, "test": test}
        there = {name: split for name, split in divided.items() if split is not None}
        return numbered(self, there, task, like, notes)

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        return self._counted(lambda: self.build(seed, spec))

    def _read(self, root: Path, classes: Sequence[str], problems: list[str], notes: list[NoteRecord]) -> RawTexts:
        """The texts of a split. What cannot be used is added to `problems`."""
        there = [name for name in folders_in(root) if name != UNLABELLED]
        if unknown := [name for name in there if name not in classes]:
            raise DataError(*(f"{root / name}: the training texts have no class {name!r}" for name in unknown))
        texts: list[str] = []
        places: list[str] = []
        targets: list[int] = []
        others = 0
        for number, label in enumerate(classes):
            names = files_below(root, label) if label in there else []
            found = [name for name in names if name.lower().endswith(".txt")]
            others += len(names) - len(found)
            if not found:
                what = "no text files (.txt) in it" if label in there else "no such folder"
                raise DataError(f"{root / label}: {what}")
            for name in found:
                try:
                    text = whole_text(root / name)
                except DataError as error:
                    problems += error.problems
                    continue
                if is_empty(text):
                    problems.append(f"{root / name}: no token in it")
                    continue
                texts.append(text)
                places.append(str(root / name))
                targets.append(number)
        if others:
            notes.append(NoteRecord(f"{root}: {counted(others, 'file')} of other kinds not used"))
        return RawTexts(texts, places, torch.tensor(targets, dtype=torch.int64))
