"""Pictures in files: what all sources of them have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field

from trainkit.data import caching
from trainkit.data.base import Data, DataSpec, Source, Split, TargetSpec, hold_out
from trainkit.data.decoding import PictureSource, Unreadable, decode_all, find_foreign
from trainkit.data.digits import Side
from trainkit.data.paths import told
from trainkit.data.splitting import Keys
from trainkit.data.transforms import ImageDataConfig, statistics
from trainkit.errors import DataError
from trainkit.records import NoteRecord

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
Notes = tuple[NoteRecord, ...]


class PicturesConfig(ImageDataConfig):
    """Base of the sources of files."""

    size: Side | tuple[Side, Side] = 224
    """Height and width in pixels to which every picture is brought."""
    crop_pct: float = Field(1.0, gt=0, le=1)
    """The share of a picture's shorter side that is kept: it is scaled to `size / crop_pct`, then the centre is cut."""
    mode: Literal["rgb", "grey"] = "rgb"
    """Three channels or one."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the pictures that is the test split, the same for every seed, when there is none yet."""
    on_error: Literal["stop", "skip"] = "stop"
    """Pictures that cannot be read. `stop`: an error; before training for files that are no pictures, for damaged ones
    when they are decoded. `skip`: decode all before training, leave those out, and say which."""
    cache: bool = False
    """Keep the decoded pictures on disk (height x width x channels bytes each), so that later epochs and runs read them
    without decoding; below TRAINKIT_CACHE_DIR, by default `~/.cache/trainkit`."""

    @abstractmethod
    def build(self, seed: int) -> Data: ...

    def spec(self) -> None:
        return None

    def sketch(self, seed: int) -> Data:
        return self.model_copy(update={"cache": False}).open(seed)  # to decode them all is no look

    def _source(self, root: Path, names: Sequence[str], targets: Sequence[int]) -> PictureSource:
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        numbers = torch.tensor(targets, dtype=torch.int64)
        return PictureSource(root, names, numbers, self.mode, height, width, self.crop_pct)

    def _data(
        self,
        where: Path,
        files: Mapping[Part, PictureSource],
        classes: Sequence[str],
        seed: int,
        notes: Notes = (),
        keys: Callable[[Sequence[str]], Keys] = lambda names: Keys(),
    ) -> Data:
        """Leave out what cannot be read, and take the splits that are not there yet off the training pictures.

        Args:
            where: what to call the whole of the pictures in messages.
            files: at least those for training.
            keys: what keeps the training pictures with these names together, or brings them into an order.
        """
        sources, names, left_out = self._readable(where, files, classes)
        train, kept_by = sources["train"], keys(names)
        test, rest = hold_out(train, 0 if "test" in sources else self.test or 0, keys=kept_by)
        if "test" in sources:
            test = _all(sources["test"])
        if "val" in sources:  # then `val` does not count, but `subset` does
            kept, _ = self.model_copy(update={"val": 0}).divide(train, seed, rest)
            val: Split | None = _all(sources["val"])
        else:
            kept, val = self.divide(train, seed, rest, keys=kept_by)
        shape = files["train"].shape
        mean, std = statistics(self.normalize, shape[0])
        target = TargetSpec(kind="class", size=len(classes), names=tuple(classes))
        spec = DataSpec(shape=shape, target=target, image=True, mean=mean, std=std)
        return Data(spec, kept, val, test if len(test) else None, notes + left_out)

    def _readable(
        self, where: Path, files: Mapping[Part, PictureSource], classes: Sequence[str]
    ) -> tuple[dict[Part, Source], Sequence[str], Notes]:
        """What can be read, the names of those for training, and what is to be said."""
        found = {part: caching.find(source) if self.cache else None for part, source in files.items()}
        caches = {part: cache for part, cache in found.items() if cache}
        unreadable = {part: cache.unreadable for part, cache in caches.items()}
        new = {part: source for part, source in files.items() if part not in caches}
        notes: Notes = ()
        if self.on_error == "stop":  # first, for all that follows may take long
            self._refuse(where, files, classes, unreadable | {part: find_foreign(new[part]) for part in new})
        for part, source in new.items():
            if self.cache:
                caches[part], took = caching.build(source)
                unreadable[part] = caches[part].unreadable
                notes += (NoteRecord(took),)
            elif self.on_error == "skip":
                unreadable[part] = {number: why for _, failed in decode_all(source) for number, why in failed.items()}
        problems = self._refuse(where, files, classes, unreadable)
        if problems:
            total = sum(map(len, files.values()))
            texts = [f"{len(problems):,} of {total:,} pictures cannot be read and are left out", *problems[:10]]
            texts += [f"and {len(problems) - 10:,} more: {'; '.join(problems[10:])}"] if problems[10:] else []
            notes += tuple(NoteRecord(text, "warning") for text in texts)
        readable = {part: source.without(unreadable.get(part, {})) for part, source in files.items()}
        sources: dict[Part, Source] = {
            part: caches[part].open(some) if part in caches else some for part, some in readable.items()
        }
        return sources, readable["train"].names, notes

    def _refuse(
        self,
        where: Path,
        files: Mapping[Part, PictureSource],
        classes: Sequence[str],
        unreadable: Mapping[Part, Unreadable],
    ) -> list[str]:
        """What is wrong with the pictures that cannot be read, one text each.

        Raises:
            DataError: it is more than can be left out.
        """
        problems = [
            f"{files[part].path(number)}: {why}" for part in files for number, why in unreadable.get(part, {}).items()
        ]
        total = sum(map(len, files.values()))
        count = f"{where}: {len(problems):,} of {total:,} pictures cannot be read"
        if 2 * len(problems) > total:
            raise DataError(*first_ten(problems), f"{count}; are these the pictures that are meant?")
        if problems and self.on_error == "stop":
            raise DataError(*first_ten(problems), f"{count}; mend or remove them, or use data.on_error=skip")
        readable = files["train"].without(unreadable.get("train", {})).targets
        for number in set(files["train"].targets.tolist()) - set(readable.tolist()):
            raise DataError(*first_ten(problems), f"{where}: no picture of {classes[number]!r} can be read")
        return problems


def find_pictures(root: Path, below: str = "") -> list[str]:
    """The pictures in a folder and those below it, hidden ones aside: their paths below `root`.

    In the order of their names, so that it does not depend on the file system. A folder to which several links lead is
    read once: links that lead to a folder above them would otherwise never end.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    try:
        for place, folders, files in os.walk(root / below, onerror=refuse, followlinks=True):
            status = Path(place).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inside = Path(place).relative_to(root)
            found += [(inside / file).as_posix() for file in files if _is_picture(file)]
    except OSError as error:
        raise DataError(f"{error.filename}: {told(error)}") from None
    return sorted(found)


def _is_picture(file: str) -> bool:
    return file.lower().endswith(ENDINGS) and not file.startswith(".")


def _all(source: Source) -> Split:
    return Split(source, torch.arange(len(source)))


def first_ten(problems: Sequence[str]) -> list[str]:
    """Some of many problems, and how many there are more."""
    return [*problems[:10], *([f"… and {len(problems) - 10:,} more like these"] if len(problems) > 10 else [])]
