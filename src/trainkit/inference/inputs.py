"""New samples in files, found and read as the training data was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from trainkit.core.errors import CheckpointError, DataError
from trainkit.core.tiling import Patch, patches
from trainkit.core.view import View
from trainkit.data import DataConfig, DataSpec
from trainkit.data.images.bit_depth import SIXTEEN_BITS, is_deep, white_is_zero
from trainkit.data.images.decoding import PictureSource, UnreadableError, flattened, opened, quiet
from trainkit.data.images.image_files import ENDINGS, by_ending, find, no_pictures
from trainkit.data.images.orientation import shown_size
from trainkit.data.images.source import PicturesConfig
from trainkit.data.images.views import view_of
from trainkit.data.sources.segmentation_folder import SegmentationFolderConfig
from trainkit.data.sources.table import TableConfig
from trainkit.data.transforms.pipeline import fitted, fitted_view
from trainkit.inference import text_inputs
from trainkit.inference.sample import STDIN, Sample, file_named, is_folder
from trainkit.plots.images import as_image

Refuse = Callable[[DataError], object]
"""Hears of an input that cannot be used; the others go on, unless it raises."""


@dataclass(frozen=True, slots=True)
class InferenceInputs:
    """Finds and reads new samples as the training data was read."""

    checkpoint: Path
    config: DataConfig
    spec: DataSpec
    tell: Callable[[str], object] = lambda text: None
    """Hears what should be known of inputs that are used."""
    tiles: bool = False
    """Whether pictures are cut into tiles also for a model that was not trained on such."""
    keep: Sequence[str] | Literal["all"] = ()
    """Columns of tables whose texts go along."""
    texts: Sequence[str] = ()
    """Texts that are inputs themselves, before those in files."""

    @property
    def overlap(self) -> int | None:
        """How many rows and columns two tiles have in common; None where pictures are not cut."""
        if isinstance(self.config, SegmentationFolderConfig) and self.config.resize == "tile":
            return self.config.overlap
        return min(self.spec.shape[1:]) // 8 if self.tiles else None

    def samples(self, inputs: Iterable[str], refuse: Refuse) -> Iterator[Sample]:
        """All that are in the inputs, in their order.

        Raises:
            CheckpointError: it does not say how a CSV file is to be read.
        """
        if self.texts and not self.spec.input.vocabulary:
            raise DataError(f"--text: the model was not trained on texts; {self._expected()}")
        yield from text_inputs.given(self.spec.input, self.texts)
        for name in self._listed(inputs):
            try:
                yield from self._in(name)
            except DataError as error:
                refuse(error)

    def _listed(self, inputs: Iterable[str]) -> Iterator[str]:
        """The inputs, and for pictures what standard input lists."""
        for name in inputs:
            if name == STDIN and self.spec.input.pictures:
                lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
                yield from filter(None, lines)
            else:
                yield name

    def _in(self, name: str) -> Iterator[Sample]:
        ending = Path(name).suffix.lower()
        if ending == ".npy":
            return self._array(name)
        if self.spec.input.pictures and ending != ".csv":
            return self._pictures(name)
        if self.spec.input.vocabulary and (ending in ("", ".txt") or is_folder(name)):
            return text_inputs.in_files(self.spec.input, name)
        if isinstance(self.config, TableConfig) and ending not in ENDINGS and not is_folder(name):
            return self._rows(name, self.config)
        raise DataError(f"{name}: {self._expected()}")

    def _expected(self) -> str:
        sizes = self.spec.input.sample_shape
        shape = ", ".join(map(str, sizes))
        one = f"({shape},)" if len(sizes) == 1 else f"({shape})"
        array = f"{self.spec.input.array} of shape {one} or (n, {shape})"
        if self.spec.input.vocabulary:
            table = "a CSV file, " if isinstance(self.config, TableConfig) else ""
            return f"expected {table}a text file (.txt), a folder of them, - for a text a line, or --text"
        if self.spec.input.pictures:
            return f"expected a picture, a folder of pictures, or {array}"
        return f"expected a CSV file or {array}" if isinstance(self.config, TableConfig) else f"expected {array}"

    def _pictures(self, name: str) -> Iterator[Sample]:
        names = [name]
        if is_folder(name):
            found = find(Path(name))
            if not found.pictures:
                raise DataError(no_pictures(Path(name), found))
            if found.others:
                self.tell(f"{name}: {len(found.others):,} not taken for pictures: {by_ending(found.others)}")
            names = [str(Path(name, picture)) for picture in found.pictures]
        return (self._sample(picture) for picture in names)

    def _sample(self, name: str) -> Sample:
        return Sample(
            name,
            partial(self._picture, name),
            partial(self._view, name),
            partial(self._whole_picture, name),
            Path(name).stem,
        )

    def _picture(self, name: str) -> Tensor:
        """A picture in the size and with the channels that the model takes. Shape spec.shape, uint8; of one in tiles
        (tiles, *spec.shape)."""
        try:
            source = self._source(name)
            pixels, unreadable = source.decode(range(len(source)))
        except UnreadableError as error:
            unreadable = {0: str(error)}
        if unreadable:
            raise DataError(f"{name}: {unreadable[0]}")
        inputs = fitted(pixels, self.spec.shape)
        return inputs[0] if source.patches is None else inputs

    def _view(self, name: str) -> View | list[Patch]:
        """Which part of a picture `_picture` gives, or which tiles. Raises DataError as that does."""
        try:
            source = self._source(name)
            if source.patches is not None:
                return [*source.patches]
            with opened(Path(name)) as picture:
                view = view_of(source, shown_size(picture))
        except UnreadableError as error:
            raise DataError(f"{name}: {error}") from None
        return view.then(fitted_view(source.shape[1:], self.spec.shape))

    def _whole_picture(self, name: str) -> Image.Image:
        try:
            with quiet(), opened(Path(name)) as picture:
                flat = flattened(ImageOps.exif_transpose(picture), "rgb", "white", self.spec.range or SIXTEEN_BITS)
                return ImageOps.invert(flat) if white_is_zero(picture) else flat
        except UnreadableError as error:
            raise DataError(f"{name}: {error}") from None

    def _source(self, name: str) -> PictureSource:
        """That picture as training on files decodes it; for a model that was not trained on files, as it is. Or its
        tiles.

        Raises:
            UnreadableError: it cannot be read, or not be brought to the model's channels.
        """
        source = self._whole_source(name)
        if self.overlap is None:
            return source
        _, height, width = self.spec.shape
        with opened(Path(name)) as picture:
            found = patches(shown_size(picture), (height, width), self.overlap)
        cut = replace(source, resize="tile", crop_pct=1.0, height=height, width=width, patches=found)
        return replace(cut, names=[name] * len(found), targets=torch.zeros(len(found)))

    def _whole_source(self, name: str) -> PictureSource:
        channels, height, width = self.spec.shape
        if isinstance(self.config, PicturesConfig):
            return replace(self.config.source(Path(), [name], [0]), limits=self.spec.range)
        with opened(Path(name)) as picture:
            height, width = shown_size(picture)
            is_grey = picture.mode in ("1", "L", "LA", "La") or is_deep(picture)
        mode: Literal["rgb", "grey"] = "grey" if is_grey else "rgb"
        if mode == "rgb" and channels not in (1, 3):
            raise UnreadableError(f"is in colour, the model was trained on {channels} channels; use .npy arrays")
        return PictureSource(Path(), [name], torch.zeros(1), mode, height, width, limits=self.spec.range)

    def _rows(self, name: str, config: TableConfig) -> Iterator[Sample]:
        if self.spec.input.vocabulary:
            return text_inputs.in_rows(self.spec.input, config, file_named(name), self.keep)
        if not self.spec.columns:
            raise CheckpointError(
                f"{self.checkpoint}: from before checkpoints kept what the columns of a CSV file mean; train again, or "
                "give .npy arrays"
            )
        from trainkit.data.tables.new_rows import new_rows  # brings pyarrow

        inside = ""
        with TemporaryDirectory() if name == STDIN else nullcontext() as folder:
            file = file_named(name) if folder is None else str(Path(folder, STDIN))
            if folder is not None:
                inside = f"{folder}{os.sep}"
                Path(file).write_bytes(sys.stdin.buffer.read())
            try:
                rows = new_rows(config, file, self.spec.columns, self.keep)
            except DataError as error:
                raise DataError(*(problem.removeprefix(inside) for problem in error.problems)) from None
        for text in rows.unseen:
            self.tell(text.replace(inside, ""))

        def read(row: int) -> Tensor:
            if row in rows.problems:
                raise DataError(rows.problems[row].removeprefix(inside))
            return rows.inputs[row]

        return (
            Sample(place.removeprefix(inside), partial(read, row), kept={key: rows.kept[key][row] for key in rows.kept})
            for row, place in enumerate(rows.locations)
        )

    def _array(self, name: str) -> Iterator[Sample]:
        try:
            array: NDArray[Any] = np.lib.format.open_memmap(
                file_named(name), mode="r"
            )  # read where it is needed; refuses objects
        except (DataError, MemoryError):
            raise
        except Exception:  # NumPy leaks many kinds on other files
            raise DataError(f"{name}: not an .npy array, or cut short") from None
        grey = self.spec.input.pictures and self.spec.shape[0] == 1
        if grey and array.shape[-2:] == self.spec.shape[1:] and array.ndim < 4 and array.shape != self.spec.shape:
            array = array[..., None, :, :]  # as most have them, without an axis for the channel
        if 0 not in array.shape and self.spec.input.takes(array):
            read = partial(self._item, name, array)
            return iter([Sample(name, read, picture=partial(self._drawn, read), stem=Path(name).stem)])
        if not array.ndim or 0 in array.shape or not self.spec.input.takes(array[0]):
            raise DataError(f"{name}: {array.dtype} of shape {array.shape}; {self._expected()}")
        return (self._row(name, array, row) for row in range(len(array)))

    def _row(self, name: str, array: NDArray[Any], row: int) -> Sample:
        read = partial(self._item, f"{name}:{row}", array, row)
        return Sample(f"{name}:{row}", read, picture=partial(self._drawn, read), stem=f"{Path(name).stem}_{row}")

    def _drawn(self, read: Callable[[], Tensor]) -> Image.Image:
        picture = read()
        return as_image(picture[: 3 if len(picture) >= 3 else 1]).convert("RGB")

    def _item(self, name: str, array: NDArray[Any], row: int | None = None) -> Tensor:
        try:
            return self.spec.input.from_array(array if row is None else array[row])
        except ValueError as error:
            raise DataError(f"{name}: {error}") from None
