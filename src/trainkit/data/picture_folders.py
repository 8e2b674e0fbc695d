"""Folders of pictures: one per class."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from trainkit.data.base import Data
from trainkit.data.decoding import PictureSource
from trainkit.data.paths import expanded, unreadable
from trainkit.data.pictures import ENDINGS, PARTS, Notes, Part, PicturesConfig, find_pictures
from trainkit.data.transforms import Normalize, Preset
from trainkit.errors import DataError
from trainkit.records import NoteRecord
from trainkit.registry import register


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
        if "test" in folders and not _folders(folders["test"]):
            # As Kaggle has it: pictures whose classes are not told.
            notes = (NoteRecord(f"{folders.pop('test')}: not used, as it has no folder per class", "warning"),)
        classes = _folders(folders["train"])
        if len(classes) < 2:
            found = f"found only {classes[0]!r}" if classes else "found none"
            raise DataError(f"{folders['train'].absolute()}: expected a folder per class, {found}")
        files = {part: self._files(part, folder, classes) for part, folder in folders.items()}
        return self._data(root, files, classes, seed, notes + _doubts(folders["train"], files["train"]))

    @abstractmethod
    def _parts(self, root: Path) -> dict[Part, Path]:
        """Where the pictures of each split lie."""

    def _files(self, part: Part, root: Path, classes: Sequence[str]) -> PictureSource:
        there = _folders(root)
        if strange := [name for name in there if name not in classes]:
            raise DataError(*(f"{root / name}: the training pictures have no class {name!r}" for name in strange))
        by_class = {label: find_pictures(root, label) if label in there else [] for label in classes}
        empty = [label for label, names in by_class.items() if not names]
        if empty and (part == "train" or len(empty) == len(classes)):
            raise DataError(*(f"{root / label}: no pictures in it ({', '.join(ENDINGS)})" for label in empty))
        names = [name for label in classes for name in by_class[label]]
        targets = [number for number, label in enumerate(classes) for _ in by_class[label]]
        return self._source(root, names, targets)


@register("data")
class ImageFolderConfig(FoldersConfig):
    """A folder of pictures per class; or `train`, and if you like `val` and `test`, with a folder per class in each."""

    name: Literal["image_folder"] = "image_folder"

    def _parts(self, root: Path) -> dict[Part, Path]:
        return _there(root) if (root / "train").is_dir() else {"train": root}


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
        missing = [part for part in ("train", "val") if not (root / part).is_dir() or not _folders(root / part)]
        if missing:
            raise DataError(
                f"{root.absolute()}: expected the folders train and val, in each a folder of pictures per class, such "
                f"as train/n01440764; got no such {' and '.join(missing)}; ImageNet is never downloaded, "
                "see image-net.org"
            )
        return _there(root)


def _there(root: Path) -> dict[Part, Path]:
    return {part: root / part for part in PARTS if (root / part).is_dir()}


def _folders(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
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
