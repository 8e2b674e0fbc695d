"""Folders of pictures: one per class."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.data.base import Data
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.image_files import Found, by_ending, find, is_hidden, left_out, no_pictures, taken
from trainkit.data.images.source import Notes, Part, PicturesConfig
from trainkit.data.paths import expanded, unreadable
from trainkit.data.transforms.pipeline import Normalize, Preset

FOLDERS: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test",),
}
"""What the folder of a split may be called."""


class FoldersConfig(PicturesConfig):
    """Base of the sources whose classes are folders."""

    path: str
    """The folder, relative to the directory in which the command runs; `~` is expanded."""

    def build(self, seed: int) -> Data:
        root = expanded(self.path)
        try:
            folders = self._parts(root)
        except OSError as error:
            raise unreadable("path", root, error) from None
        notes: Notes = ()
        named = set(folders.values())
        for part in [part for part in folders if part != "train" and not _folders(folders[part])]:
            # As Kaggle has it: pictures whose classes are not told.
            notes += (NoteRecord(f"{folders.pop(part)}: not used, as it has no folder per class", "warning"),)
        classes = _folders(folders["train"])
        if len(classes) < 2:
            there = f"found only {classes[0]!r}" if classes else "found none"
            raise DataError(f"{folders['train'].absolute()}: expected a folder per class, {there}")
        others: list[str] = []
        files = {part: self._files(part, folder, classes, others) for part, folder in folders.items()}
        notes += _doubts(folders["train"], files["train"])
        if "val" in folders:
            text = f"val is the folder {folders['val']}; data.val is for sources without one"
            notes += (NoteRecord(text),)
        found = _beside(root, named - set(folders.values()), folders, taken(self.rules), others)
        if odd := left_out(root, others):
            found.append(odd)
        elif others:
            notes += (NoteRecord(f"{root}: not taken for pictures: {by_ending(others)}"),)
        return self._data(root, files, classes, seed, notes, found=found)

    @abstractmethod
    def _parts(self, root: Path) -> dict[Part, Path]:
        """Where the pictures of each split lie."""

    def _files(self, part: Part, root: Path, classes: Sequence[str], others: list[str]) -> PictureSource:
        """The pictures of a split; `others` hears of the files that are none."""
        there = _folders(root)
        if strange := [name for name in there if name not in classes]:
            raise DataError(*(f"{root / name}: the training pictures have no class {name!r}" for name in strange))
        by_class = {
            label: find(root, label, rules=self.rules) if label in there else Found([], []) for label in classes
        }
        empty = [label for label, found in by_class.items() if not found.pictures]
        if empty and (part == "train" or len(empty) == len(classes)):
            raise DataError(*(no_pictures(root / label, by_class[label]) for label in empty))
        others += [name for found in by_class.values() for name in found.others]
        names = [name for found in by_class.values() for name in found.pictures]
        targets = [number for number, found in enumerate(by_class.values()) for _ in found.pictures]
        return self.source(root, names, targets)


@register("data")
class ImageFolderConfig(FoldersConfig):
    """A folder of pictures per class; or `train`, and if you like `val` (or `valid`, `validation`, `dev`) and `test`,
    with a folder per class in each."""

    name: Literal["image_folder"] = "image_folder"

    def _parts(self, root: Path) -> dict[Part, Path]:
        there = _there(root, self.rules)
        return there if "train" in there else {"train": root}


@register("data")
class ImageNetConfig(FoldersConfig):
    """ImageNet, or some of its classes: the folders `train` and `val`, with a folder per class in each."""

    name: Literal["imagenet"] = "imagenet"
    path: str = Field(default_factory=lambda: str(Path(os.environ.get("TRAINKIT_DATA_DIR", "data"), "imagenet")))
    """The folder, relative to the directory in which the command runs; `~` is expanded. Never downloaded."""
    crop_pct: float = Field(0.875, gt=0, le=1)
    """The share of a picture's shorter side that is kept: it is scaled to `size / crop_pct`, then the centre is cut."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = None
    """The fraction of the training pictures that is the test split, the same for every seed, when there is none yet."""
    normalize: Preset | Normalize = "imagenet"
    """A preset's name, or `{mean: …, std: …}` in units of 0 … 1; `auto` measures both on 1,000 training samples, `none`
    only scales the pixels to 0 … 1."""

    def _parts(self, root: Path) -> dict[Part, Path]:
        there = _there(root, self.rules)
        missing = [part for part in ("train", "val") if part not in there or not _folders(there[part])]
        if missing:
            raise DataError(
                f"{root.absolute()}: expected the folders train and val, in each a folder of pictures per class, such "
                f"as train/n01440764; got no such {' and '.join(missing)}; ImageNet is never downloaded, "
                "see image-net.org"
            )
        return there


def _there(root: Path, rules: int) -> dict[Part, Path]:
    """The folders of the splits: the first of each one's names."""
    found: dict[Part, Path] = {}
    for part, names in FOLDERS.items():
        for name in names[: 1 if rules == 1 else None]:
            if (root / name).is_dir():
                found.setdefault(part, root / name)
    return found


def _beside(
    root: Path, told: set[Path], folders: dict[Part, Path], endings: tuple[str, ...], others: list[str]
) -> list[Diagnostic]:
    """What to say of folders beside those of the splits, and of pictures beside those of the classes.

    Args:
        told: folders of which there is a word already.
        others: hears of other files there.
    """
    found: list[Diagnostic] = []
    places = dict.fromkeys([root, *folders.values()])
    if root not in folders.values():
        for name in _folders(root):
            if root / name not in {*told, *folders.values()}:
                many = "which cannot be read"
                with suppress(DataError):
                    many = _many(find(root, name).pictures)
                known = "; ".join(f"{part} is called {' or '.join(names)}" for part, names in FOLDERS.items())
                text = f"data.path: the folder {root / name} ({many}) is not used; {known}"
                found.append(Diagnostic("unused-files", text))
    for place in places:
        loose = sorted(path.name for path in place.iterdir() if path.is_file() and not is_hidden(path.name))
        pictures = [name for name in loose if name.lower().endswith(endings)]
        others += [name for name in loose if name not in pictures]
        if pictures:
            such = f"in {place}, such as {pictures[0]}; what has no class is not used"
            text = f"data.path: {_many(pictures)} beside the folders of the classes {such}"
            found.append(Diagnostic("unused-files", text))
    return found


def _many(pictures: Sequence[str]) -> str:
    return f"{len(pictures):,} picture{'s' * (len(pictures) != 1)}"


def _folders(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))
    except (OSError, ValueError) as error:
        raise unreadable("path", root, error) from None


def _doubts(root: Path, files: PictureSource) -> Notes:
    """A warning where every class consists of the same folders, which are probably the classes."""
    below: dict[str, set[str]] = {}
    for name in files.names:
        label, _, rest = name.partition("/")
        below.setdefault(label, set()).add(rest.partition("/")[0] if "/" in rest else "")
    first, *others = below.values()
    if "" in first or len(first) < 2 or any(other != first for other in others):
        return ()
    text = f"{root}: each of the classes {', '.join(below)} has the folders {', '.join(sorted(first))}; "
    return (NoteRecord(f"{text}if these are the classes, call the others train, val and test", "warning"),)
