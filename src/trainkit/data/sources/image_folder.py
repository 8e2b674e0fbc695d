"""Image folders: a folder of pictures per class, with or without a folder per split; ImageNet among them."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Container, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted
from trainkit.data.base import Data
from trainkit.data.folders import FOLDERS, SplitName, existing, folders_in, is_hidden
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.image_files import FolderFiles, find, no_pictures, taken, unused_files
from trainkit.data.images.source import PicturesConfig, Remark
from trainkit.data.paths import expanded, unreadable
from trainkit.data.sources.image_list import LabelFileConfig
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.normalize import Normalize, Preset
from trainkit.tasks import Classification


class FoldersConfig(PicturesConfig):
    """Base of the sources whose classes are folders."""

    path: str
    """The folder, relative to the directory in which the command runs; `~` is expanded."""

    def build(self, seed: int) -> Data:
        root = expanded(self.path)
        try:
            folders = self._split_folders(root)
        except OSError as error:
            raise unreadable("path", root, error) from None
        remarks: list[Remark] = []
        unused = [folder for split, folder in folders.items() if split != "train" and not folders_in(folder)]
        for folder in unused:  # as Kaggle has it: pictures whose classes are not told
            remarks.append(NoteRecord(f"{folder}: not used, as it has no folder per class", "warning"))
        folders = {split: folder for split, folder in folders.items() if folder not in unused}
        classes = folders_in(folders["train"])
        if len(classes) < 2:
            there = f"found only {classes[0]!r}" if classes else "found none"
            raise DataError(f"{folders['train'].absolute()}: expected a folder per class, {there}")
        others: list[str] = []
        files = {split: self._files(split, folder, classes, others) for split, folder in folders.items()}
        remarks += _doubts(folders["train"], files["train"])
        if "val" in folders:
            remarks.append(NoteRecord(f"val is the folder {folders['val']}; data.val is for sources without one"))
        if root not in folders.values():
            remarks += _unused_folders(root, {*folders.values(), *unused})
        for folder in dict.fromkeys([root, *folders.values()]):
            remarks += self._loose_pictures(folder, others)
        remarks += unused_files(root, others)
        task = Classification(size=len(classes), names=tuple(classes))
        return self._data(root, files, task, seed, remarks)

    @abstractmethod
    def _split_folders(self, root: Path) -> dict[SplitName, Path]:
        """Where the pictures of each split lie."""

    def _files(self, split: SplitName, root: Path, classes: Sequence[str], others: list[str]) -> PictureSource:
        """The pictures of a split; the files that are none are added to `others`."""
        there = folders_in(root)
        if unknown := [name for name in there if name not in classes]:
            raise DataError(*(f"{root / name}: the training pictures have no class {name!r}" for name in unknown))
        by_class = {
            label: find(root, label, rules=self.rules) if label in there else FolderFiles([], []) for label in classes
        }
        empty = [label for label, files in by_class.items() if not files.pictures]
        if empty and (split == "train" or len(empty) == len(classes)):
            raise DataError(*(no_pictures(root / label, by_class[label]) for label in empty))
        others += [name for files in by_class.values() for name in files.others]
        names = [name for files in by_class.values() for name in files.pictures]
        targets = [number for number, files in enumerate(by_class.values()) for _ in files.pictures]
        return self.source(root, names, targets)

    def _loose_pictures(self, folder: Path, others: list[str]) -> list[Remark]:
        """What to say of pictures beside the folders of the classes; other files there are added to `others`."""
        loose = sorted(path.name for path in folder.iterdir() if path.is_file() and not is_hidden(path.name))
        pictures = [name for name in loose if name.lower().endswith(taken(self.rules))]
        others += [name for name in loose if name not in pictures]
        if not pictures:
            return []
        such = f"in {folder}, such as {pictures[0]}; what has no class is not used"
        text = f"data.path: {counted(len(pictures), 'picture')} beside the folders of the classes {such}"
        return [Diagnostic("unused-files", text)]


@register("data")
class ImageFolderConfig(FoldersConfig, LabelFileConfig):
    """A folder of pictures per class; or `train`, and if you like `val` (or `valid`, `validation`, `dev`) and `test`,
    with a folder per class in each. Or, with `file`, a folder of pictures and a CSV file that has their labels."""

    name: Literal["image_folder"] = "image_folder"

    @model_validator(mode="after")
    def _labels_need_a_file(self) -> Self:
        keys = LabelFileConfig.model_fields.keys() - PicturesConfig.model_fields.keys()
        given = [key for key in sorted(keys) if getattr(self, key) != LabelFileConfig.model_fields[key].default]
        if given and self.file is None:
            raise ValueError(f"{given[0]} is of the file that has the labels; say which with file")
        return self

    def build(self, seed: int, like: DataSpec | None = None) -> Data:
        if self.file is None:
            return super().build(seed)
        return self._of_file(self.path, seed, like, self._found)

    def _found(self, names: list[str]) -> list[str]:
        """The pictures that names with or without their endings mean."""
        root = expanded(self.path)
        if self.suffix or not root.is_dir():  # of which there is more to say later
            return names
        pictures = find(root, rules=self.rules).pictures
        meant: dict[str, list[str]] = {}
        for picture in pictures:
            meant.setdefault(str(PurePosixPath(picture).with_suffix("")), []).append(picture)
        meant |= {picture: [picture] for picture in pictures}
        return [meant[name][0] if len(meant.get(name, ())) == 1 else name for name in names]

    def _split_folders(self, root: Path) -> dict[SplitName, Path]:
        there = existing(root, self.rules)
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

    def _split_folders(self, root: Path) -> dict[SplitName, Path]:
        there = existing(root, self.rules)
        missing = [split for split in ("train", "val") if split not in there or not folders_in(there[split])]
        if missing:
            raise DataError(
                f"{root.absolute()}: expected the folders train and val, in each a folder of pictures per class, such "
                f"as train/n01440764; got no such {' and '.join(missing)}; ImageNet is never downloaded, "
                "see image-net.org"
            )
        return there


def _unused_folders(root: Path, known: Container[Path]) -> list[Remark]:
    """What to say of folders beside those of the splits."""
    remarks: list[Remark] = []
    for name in folders_in(root):
        if root / name not in known:
            many = "which cannot be read"
            with suppress(DataError):
                many = counted(len(find(root, name).pictures), "picture")
            names = "; ".join(f"{split} is called {' or '.join(names)}" for split, names in FOLDERS.items())
            text = f"data.path: the folder {root / name} ({many}) is not used; {names}"
            remarks.append(Diagnostic("unused-files", text))
    return remarks


def _doubts(root: Path, files: PictureSource) -> list[Remark]:
    """A warning where every class consists of the same folders, which are probably the classes."""
    below: dict[str, set[str]] = {}
    for name in files.names:
        label, _, rest = name.partition("/")
        below.setdefault(label, set()).add(rest.partition("/")[0] if "/" in rest else "")
    first, *others = below.values()
    if "" in first or len(first) < 2 or any(other != first for other in others):
        return []
    text = f"{root}: each of the classes {', '.join(below)} has the folders {', '.join(sorted(first))}; "
    return [NoteRecord(f"{text}if these are the classes, call the others train, val and test", "warning")]
