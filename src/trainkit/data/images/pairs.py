"""Pictures and their masks, found by the names of the files, and cut into tiles."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import first_ten
from trainkit.core.tiling import Patch, patches
from trainkit.data.folders import FOLDERS, SplitName
from trainkit.data.images.decoding import UnreadableError, opened, quiet
from trainkit.data.images.image_files import FolderFiles, find, no_pictures, unused_files
from trainkit.data.images.orientation import shown_size
from trainkit.data.images.source import Remark
from trainkit.data.paths import unreadable
from trainkit.data.splitting import Keys


@dataclass(frozen=True, slots=True)
class Pairs:
    """The files of a split, below the root: each picture's mask at the same index. Or each tile's, and which it is."""

    pictures: Sequence[str]
    masks: Sequence[str]
    patches: Sequence[Patch] | None = None

    def cut(self, root: Path, shape: tuple[int, int], overlap: int) -> Pairs:
        """All tiles of all pictures."""
        found = [patches(size or (1, 1), shape, overlap) for size in sizes(root, self.pictures)]
        pictures, masks = (
            [name for name, some in zip(names, found, strict=True) for _ in some]
            for names in (self.pictures, self.masks)
        )
        return Pairs(pictures, masks, [patch for some in found for patch in some])


@dataclass(frozen=True, slots=True)
class FoldersOfPairs:
    """Where pictures and masks are."""

    root: Path
    images: str
    masks: str
    suffix: str
    """What the names of masks have behind those of pictures."""
    rules: int
    """By which pictures are found."""

    def found(self, remarks: list[Remark]) -> dict[SplitName, Pairs]:
        """The pictures and masks of each split. What a person should know is added to the remarks.

        Raises:
            DataError: there are none, or one has no other.
        """
        splits: dict[SplitName, Pairs] = {}
        problems: list[str] = []
        others: list[str] = []
        try:
            for name, (pictures, masks) in self._folders().items():
                if name != "train" and not (self.root / masks).is_dir():  # as Kaggle has it
                    text = f"{self.root / pictures}: not used, as there is no {self.root / masks}"
                    remarks.append(NoteRecord(text, "warning"))
                    continue
                there, marked = find(self.root, pictures, rules=self.rules), find(self.root, masks, rules=self.rules)
                if not there.pictures:
                    raise DataError(no_pictures(self.root / pictures, there))
                others += there.others + marked.others
                splits[name] = self._matched((pictures, there), (masks, marked), problems)
        except OSError as error:
            raise unreadable("path", self.root, error) from None
        if problems:
            raise DataError(*first_ten(problems))
        if "val" in splits:
            remarks.append(NoteRecord(f"{self.root}: val is a folder there; data.val is for data without one"))
        remarks += unused_files(self.root, others)
        return splits

    def _folders(self) -> dict[SplitName, tuple[str, str]]:
        """The folders of the pictures and the masks of each split, below the root."""
        there: dict[SplitName, tuple[str, str]] = {}
        for split, names in FOLDERS.items():
            for name in names:
                for pictures, masks in (
                    (f"{name}/{self.images}", f"{name}/{self.masks}"),
                    (f"{self.images}/{name}", f"{self.masks}/{name}"),
                ):
                    if (self.root / pictures).is_dir():
                        there.setdefault(split, (pictures, masks))
        there = there if "train" in there else {"train": (self.images, self.masks)}
        for folder in there["train"]:
            if not (self.root / folder).is_dir():
                found = ", ".join(sorted(path.name for path in self.root.iterdir() if path.is_dir())) or "no folder"
                raise DataError(
                    f"{self.root.absolute()}: expected the folders {self.images} and {self.masks}, with train, val and "
                    f"test above or below them or without; there is no {folder}, but {found}; data.images and "
                    "data.masks are their names"
                )
        return there

    def _matched(self, pictures: tuple[str, FolderFiles], masks: tuple[str, FolderFiles], problems: list[str]) -> Pairs:
        """Every picture with its mask; what is missing is added to the problems."""
        (folder, there), (marked_folder, marked) = pictures, masks
        by_stem: dict[str, str] = {}
        for name in there.pictures:
            stem = _stem(name, folder)
            if stem in by_stem:
                problems.append(
                    f"{self.root / name}: {self.root / by_stem[stem]} has the same name, ending aside; one mask for two"
                )
            by_stem[stem] = name
        masks_by_stem: dict[str, str] = {}
        for name in marked.pictures:
            stem = _stem(name, marked_folder)
            if not stem.endswith(self.suffix):
                problems.append(f"{self.root / name}: its name does not end in {self.suffix!r} (data.mask_suffix)")
                continue
            stem = stem.removesuffix(self.suffix)
            if stem in masks_by_stem:
                problems.append(f"{self.root / name}: {self.root / masks_by_stem[stem]} is for the same picture")
            elif stem not in by_stem:
                problems.append(f"{self.root / name}: a mask without a picture {self.root / folder / stem}.…")
            masks_by_stem[stem] = name
        problems += [
            f"{self.root / name}: no mask {self.root / marked_folder / stem}{self.suffix}.png"
            for stem, name in by_stem.items()
            if stem not in masks_by_stem
        ]
        matched = [stem for stem in by_stem if stem in masks_by_stem]
        return Pairs([by_stem[stem] for stem in matched], [masks_by_stem[stem] for stem in matched])


def _stem(name: str, folder: str) -> str:
    """A file's path below a folder, without its ending."""
    return Path(name).relative_to(folder).with_suffix("").as_posix()


def together(names: Sequence[str]) -> Keys:
    """What keeps the tiles of one picture together."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    if len(numbers) == len(names):
        return Keys()
    return Keys(torch.tensor([numbers[name] for name in names]))


def sizes(root: Path, names: Sequence[str]) -> list[tuple[int, int] | None]:
    """Height and width of each picture as it is shown; None where it cannot be read, which is told later."""
    sizes: list[tuple[int, int] | None] = []
    with quiet():
        for name in names:
            sizes.append(None)
            with suppress(UnreadableError), opened(root / name) as picture:
                sizes[-1] = shown_size(picture)
    return sizes
