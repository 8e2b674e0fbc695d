"""Segmentation folders: a folder of pictures and a folder of masks, which hold a class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, cast

from pydantic import model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.data.base import Data
from trainkit.data.images.config import Size
from trainkit.data.images.decoding import PictureSource, UnreadableError, opened, quiet
from trainkit.data.images.image_files import FolderFiles, find, no_pictures, unused_files
from trainkit.data.images.kept import MaskedPictures
from trainkit.data.images.mask_classes import Classes, Colour, Value
from trainkit.data.images.masks import Masks, read
from trainkit.data.images.orientation import shown_size
from trainkit.data.images.source import PicturesConfig, Remark, SplitName, first_ten
from trainkit.data.paths import expanded, unreadable
from trainkit.data.sources.image_folder import FOLDERS
from trainkit.data.spec import DataSpec
from trainkit.data.text_files import read_lines
from trainkit.tasks import Segmentation


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The files of a split, below the root: each picture's mask at the same index."""

    pictures: list[str]
    masks: list[str]


@register("data")
class SegmentationFolderConfig(PicturesConfig):
    """A folder of pictures and one of masks with the same names, endings aside: `images` and `masks`; `train/images`,
    `val/images`, …; or `images/train`, `masks/train`, …

    All masks are read once, before training, and stay in memory, one byte a pixel of `size`. So do the pictures of a
    split that take no more than 1 GB together, each once it has been decoded; of more, every epoch decodes all of them,
    unless `cache` keeps them on disk.
    """

    name: Literal["segmentation_folder"] = "segmentation_folder"
    path: str
    """The folder, relative to the directory in which the command runs; `~` is expanded."""
    images: str = "images"
    """The folder of the pictures."""
    masks: str = "masks"
    """The folder of the masks: grey or indexed pictures without loss, as a rule PNG, as large as their pictures."""
    mask_suffix: str = ""
    """What the names of masks have behind those of pictures, such as `_mask` for `1.jpg` and `1_mask.png`."""
    classes: tuple[str, ...] | dict[str, Value] | dict[str, Colour] | str | None = None
    """The names of the classes 0, 1, …: a list, or a text file with one a line. Or a mapping that says which value
    (`{road: 7}`) or colour (`{road: [128, 64, 128]}`) of a mask is which class; the classes are in its order."""
    ignore_index: Value | Colour = 255
    """The value, or colour, of pixels that count for nothing. Masks that hold 0 and 255 alone have two classes."""
    size: Size | None = 224  # type: ignore[assignment]
    """Height and width in pixels to which every picture is brought, and its mask with it. `null`: as they are in the
    files, for pictures that all have one size."""

    @model_validator(mode="after")
    def _classes_that_can_be_told_apart(self) -> Self:
        if isinstance(self.classes, tuple | dict):
            self._classes()
        return self

    def source(self, root: Path, names: Sequence[str], targets: Sequence[int] | Tensor) -> PictureSource:
        if self.size is not None:
            return super().source(root, names, targets)
        return self.model_copy(update={"size": _one_size(root, names)}).source(root, names, targets)

    def build(self, seed: int) -> Data:
        return self._build(seed, None)

    def reopen(self, seed: int, spec: DataSpec) -> Data:
        task = cast(Segmentation, spec.task)
        config = self.in_range_of(spec)
        return config._counted(lambda: config._build(seed, task))

    def _build(self, seed: int, known: Segmentation | None) -> Data:
        """The data, of its own classes or of those that a model knows."""
        classes = self._classes()
        root = expanded(self.path)
        remarks: list[Remark] = []
        splits = self._pairs(root, remarks)
        every = [name for pairs in splits.values() for name in pairs.pictures]
        config = self.model_copy(update={"size": _one_size(root, every)}) if self.size is None else self
        sources = {name: config.source(root, one.pictures, [0] * len(one.pictures)) for name, one in splits.items()}
        found = {name: read(sources[name], one.masks, classes.colours) for name, one in splits.items()}
        remarks += self._refuse_masks(root, [*found.values()])
        task, table, note = classes.decide(root, found, known)
        remarks += [note] if note else []
        files: dict[SplitName, PictureSource] = {}
        for name, source in sources.items():
            targets = found[name].of_classes(table, source)
            masked = MaskedPictures.of(source, splits[name].masks, targets)
            files[name] = masked.without(found[name].unreadable)
        return config._data(root, files, task, seed, remarks)

    def _classes(self) -> Classes:
        """What is said of the classes.

        Raises:
            DataError: the file of their names is missing, or says nothing of use.
        """
        if not isinstance(self.classes, str):
            return Classes.of(self.classes or (), self.ignore_index)
        try:
            return Classes.of([line for _, line in read_lines(self.classes, key="classes")], self.ignore_index)
        except ValueError as error:
            raise DataError(f"data.{error}, in {self.classes}") from None

    def _pairs(self, root: Path, remarks: list[Remark]) -> dict[SplitName, _Pairs]:
        """The pictures and masks of each split.

        Raises:
            DataError: there are none, or one has no other.
        """
        splits: dict[SplitName, _Pairs] = {}
        problems: list[str] = []
        others: list[str] = []
        try:
            for name, (pictures, masks) in self._folders(root).items():
                if name != "train" and not (root / masks).is_dir():  # as Kaggle has it
                    remarks.append(NoteRecord(f"{root / pictures}: not used, as there is no {root / masks}", "warning"))
                    continue
                there, marked = find(root, pictures, rules=self.rules), find(root, masks, rules=self.rules)
                if not there.pictures:
                    raise DataError(no_pictures(root / pictures, there))
                others += there.others + marked.others
                splits[name] = self._matched(root, (pictures, there), (masks, marked), problems)
        except OSError as error:
            raise unreadable("path", root, error) from None
        if problems:
            raise DataError(*first_ten(problems))
        if "val" in splits:
            remarks.append(NoteRecord(f"{root}: val is a folder there; data.val is for data without one"))
        remarks += unused_files(root, others)
        return splits

    def _folders(self, root: Path) -> dict[SplitName, tuple[str, str]]:
        """The folders of the pictures and the masks of each split, below the root."""
        there: dict[SplitName, tuple[str, str]] = {}
        for split, names in FOLDERS.items():
            for name in names:
                for pictures, masks in (
                    (f"{name}/{self.images}", f"{name}/{self.masks}"),
                    (f"{self.images}/{name}", f"{self.masks}/{name}"),
                ):
                    if (root / pictures).is_dir():
                        there.setdefault(split, (pictures, masks))
        there = there if "train" in there else {"train": (self.images, self.masks)}
        for folder in there["train"]:
            if not (root / folder).is_dir():
                found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())) or "no folder"
                raise DataError(
                    f"{root.absolute()}: expected the folders {self.images} and {self.masks}, with train, val and test "
                    f"above or below them or without; there is no {folder}, but {found}; data.images and data.masks "
                    "are their names"
                )
        return there

    def _matched(
        self, root: Path, pictures: tuple[str, FolderFiles], masks: tuple[str, FolderFiles], problems: list[str]
    ) -> _Pairs:
        """Every picture with its mask; what is missing is added to the problems."""
        (folder, there), (marked_folder, marked) = pictures, masks
        by_stem: dict[str, str] = {}
        for name in there.pictures:
            stem = _stem(name, folder)
            if stem in by_stem:
                problems.append(
                    f"{root / name}: {root / by_stem[stem]} has the same name, ending aside; one mask for two"
                )
            by_stem[stem] = name
        masks_by_stem: dict[str, str] = {}
        for name in marked.pictures:
            stem = _stem(name, marked_folder)
            if not stem.endswith(self.mask_suffix):
                problems.append(f"{root / name}: its name does not end in {self.mask_suffix!r} (data.mask_suffix)")
                continue
            stem = stem.removesuffix(self.mask_suffix)
            if stem in masks_by_stem:
                problems.append(f"{root / name}: {root / masks_by_stem[stem]} is for the same picture")
            elif stem not in by_stem:
                problems.append(f"{root / name}: a mask without a picture {root / folder / stem}.…")
            masks_by_stem[stem] = name
        problems += [
            f"{root / name}: no mask {root / marked_folder / stem}{self.mask_suffix}.png"
            for stem, name in by_stem.items()
            if stem not in masks_by_stem
        ]
        matched = [stem for stem in by_stem if stem in masks_by_stem]
        return _Pairs([by_stem[stem] for stem in matched], [masks_by_stem[stem] for stem in matched])

    def _refuse_masks(self, root: Path, found: Sequence[Masks]) -> list[NoteRecord]:
        """What to say of masks that are left out.

        Raises:
            DataError: some cannot be used.
        """
        total = sum(len(masks.paths) for masks in found)
        if wrong := [f"{masks.paths[index]}: {why}" for masks in found for index, why in masks.wrong.items()]:
            raise DataError(*first_ten(wrong), f"{root}: {len(wrong):,} of {total:,} masks cannot be used")
        bad = [f"{masks.paths[index]}: {why}" for masks in found for index, why in masks.unreadable.items()]
        if bad and (self.on_error == "stop" or 2 * len(bad) > total):
            raise DataError(*first_ten(bad), f"{root}: {len(bad):,} of {total:,} masks cannot be read")
        return [NoteRecord(f"left out with its picture: {why}", "warning") for why in first_ten(bad)]


def _stem(name: str, folder: str) -> str:
    """A file's path below a folder, without its ending."""
    return Path(name).relative_to(folder).with_suffix("").as_posix()


def _one_size(root: Path, names: Sequence[str]) -> tuple[int, int]:
    """The height and width that all pictures have.

    Raises:
        DataError: some differ.
    """
    sizes: dict[tuple[int, int], Path] = {}
    with quiet():
        for name in names:
            with suppress(UnreadableError), opened(root / name) as picture:
                sizes.setdefault(shown_size(picture), root / name)
    if not sizes:
        raise DataError(f"{root}: no picture can be read")
    if len(sizes) > 1:
        such = " and ".join(f"{path} with {height}x{width}" for (height, width), path in [*sizes.items()][:2])
        raise DataError(f"data.size: null is for pictures of one size; there are {such}; give a size")
    [size] = sizes
    return size
