"""The files that a task has written beside what is printed of predictions, such as masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from trainkit.core import atomic
from trainkit.core.errors import DataError, StorageError, os_error_text
from trainkit.inference.sample import Sample
from trainkit.tasks import Prediction

FORMATS = {".png": "PNG", ".jpg": "JPEG"}


@dataclass(frozen=True, slots=True)
class Files:
    """A folder into which they are written, by the names of the inputs. No file that is there is overwritten."""

    folder: Path
    overlay: bool = False
    """Whether predictions are drawn over their pictures as well."""
    taken: set[str] = field(default_factory=set)
    """Names that other inputs have."""

    def make_folder(self) -> None:
        """Raise StorageError where that cannot be done."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.folder}: {os_error_text(error)}") from None

    def write(self, prediction: Prediction, sample: Sample) -> Prediction:
        """Write what belongs to a prediction; gives it with the name of its file.

        Raises:
            DataError: there is such a file already, or the picture can no longer be read.
            StorageError: it cannot be written.
        """
        contents = prediction.task.files(prediction, sample.picture() if self.overlay else None)
        paths = self._paths(sample.stem, contents)
        if there := next(filter(Path.exists, paths), None):
            raise DataError(f"{sample.name}: {there} is there already and is not overwritten; use another --out")
        for path, content in zip(paths, contents.values(), strict=True):
            try:
                atomic.replace(path, partial(_write, content, path.suffix))
            except OSError as error:
                raise StorageError(f"{path}: {os_error_text(error)}") from None
        return replace(prediction, file=str(paths[0]) if paths else "")

    def _paths(self, stem: str, contents: Mapping[str, Image.Image | bytes]) -> list[Path]:
        """The first of `x`, `x_2`, `x_3` … that no other input has."""
        name, number = stem, 1
        while name.casefold() in self.taken:  # on some file systems, both would be one file
            number += 1
            name = f"{stem}_{number}"
        self.taken.add(name.casefold())
        return [self.folder / f"{name}{ending}" for ending in contents]


def _write(content: Image.Image | bytes, ending: str, file: BinaryIO) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content.save(file, FORMATS[ending])
