"""Segmentation folders: a folder of pictures and a folder of masks, which hold a class for each pixel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self, cast

from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import DataError
from trainkit.core.records import NoteRecord
from trainkit.core.text import counted, first_ten
from trainkit.data.base import Data
from trainkit.data.folders import SplitName
from trainkit.data.images.config import Size, height_width
from trainkit.data.images.decoding import PictureSource, Resize
from trainkit.data.images.kept import MOST_BYTES, MaskedPictures
from trainkit.data.images.mask_classes import Classes, Colour, Value
from trainkit.data.images.masks import Masks, read
from trainkit.data.images.pairs import FoldersOfPairs, Pairs, sizes, together
from trainkit.data.images.source import PicturesConfig, Remark
from trainkit.data.paths import expanded
from trainkit.data.spec import DataSpec
from trainkit.data.text_files import read_lines
from trainkit.tasks import Segmentation


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
    resize: Resize = "crop"  # type: ignore[assignment]
    """How a picture of another shape gets that size. `crop`: it is scaled to cover it, and the centre is kept; `pad`:
    the whole picture, with `background` beside it; `stretch`: the whole picture, out of proportion; `tile`: pictures
    are not scaled, but cut into overlapping tiles of `size`, of which each pixel counts once."""
    overlap: int = Field(32, ge=0)
    """With `resize: tile`: how many rows and columns two neighbours have in common, at least. The pixels there count in
    the nearer tile, in the other they are what a model sees beside its own."""

    @model_validator(mode="after")
    def _classes_that_can_be_told_apart(self) -> Self:
        if isinstance(self.classes, tuple | dict):
            self._classes()
        return self

    @model_validator(mode="after")
    def _tiles_of_one_size(self) -> Self:
        if self.resize != "tile":
            return self
        if self.size is None:
            raise ValueError("resize: tile needs the size of a tile (size)")
        if 2 * self.overlap > min(height_width(self.size)):
            raise ValueError(f"overlap: {self.overlap} is more than half of a tile")
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
        splits = FoldersOfPairs(root, self.images, self.masks, self.mask_suffix, self.rules).found(remarks)
        every = [name for pairs in splits.values() for name in pairs.pictures]
        size = self.size or _one_size(root, every)
        config = self.model_copy(update={"size": size})
        if self.resize == "tile":
            splits = {name: one.cut(root, height_width(size), self.overlap) for name, one in splits.items()}
        sources = {name: config._files(root, one) for name, one in splits.items()}
        found = {name: read(sources[name], one.masks, classes.colours) for name, one in splits.items()}
        remarks += self._refuse_masks(root, [*found.values()])
        task, table, note = classes.decide(root, found, known)
        remarks += [note] if note else []
        files: dict[SplitName, PictureSource] = {}
        for name, source in sources.items():
            targets = found[name].of_classes(table, source)
            masked = MaskedPictures.of(source, splits[name].masks, targets)
            files[name] = masked.without(found[name].unreadable)
        return config._data(root, files, task, seed, [*remarks, *config._tiled(files)], keys=together)

    def _files(self, root: Path, pairs: Pairs) -> PictureSource:
        source = self.source(root, pairs.pictures, [0] * len(pairs.pictures))
        return source if pairs.patches is None else replace(source, patches=pairs.patches)

    def _tiled(self, files: Mapping[SplitName, PictureSource]) -> Iterator[Remark]:
        """What to say of tiles."""
        if self.resize != "tile":
            return
        pictures, tiles = (sum(map(len, many)) for many in ([{*one.names} for one in files.values()], files.values()))
        height, width = files["train"].shape[1:]
        yield NoteRecord(f"{counted(pictures, 'picture')} cut into {counted(tiles, 'tile')} of {height}x{width}")
        if not self.cache and any(isinstance(one, MaskedPictures) and not one.fits for one in files.values()):
            text = (
                f"data.resize: tiles of more than {MOST_BYTES / 1e9:g} GB are not kept in memory, and for each of them "
            )
            text += "a whole picture is decoded in every epoch; data.cache=true keeps them on disk"
            yield Diagnostic("tiles-decoded", text)

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

    def _refuse_masks(self, root: Path, found: Sequence[Masks]) -> list[NoteRecord]:
        """What to say of masks that are left out.

        Raises:
            DataError: some cannot be used.
        """
        total = sum(len({*masks.paths}) for masks in found)
        if wrong := _told(found, "wrong"):
            raise DataError(*first_ten(wrong), f"{root}: {len(wrong):,} of {total:,} masks cannot be used")
        bad = _told(found, "unreadable")
        if bad and (self.on_error == "stop" or 2 * len(bad) > total):
            raise DataError(*first_ten(bad), f"{root}: {len(bad):,} of {total:,} masks cannot be read")
        return [NoteRecord(f"left out with its picture: {why}", "warning") for why in first_ten(bad)]


def _told(found: Sequence[Masks], which: Literal["wrong", "unreadable"]) -> list[str]:
    """What is to be said of masks, once for all tiles of one."""
    told = (f"{masks.paths[index]}: {why}" for masks in found for index, why in getattr(masks, which).items())
    return [*dict.fromkeys(told)]


def _one_size(root: Path, names: Sequence[str]) -> tuple[int, int]:
    """The height and width that all pictures have.

    Raises:
        DataError: some differ.
    """
    found: dict[tuple[int, int], Path] = {}
    for name, size in zip(names, sizes(root, names), strict=True):
        if size is not None:
            found.setdefault(size, root / name)
    if not found:
        raise DataError(f"{root}: no picture can be read")
    if len(found) > 1:
        such = " and ".join(f"{path} with {height}x{width}" for (height, width), path in [*found.items()][:2])
        raise DataError(f"data.size: null is for pictures of one size; there are {such}; give a size")
    [only] = found
    return only
