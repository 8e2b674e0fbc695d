"""Pictures in files: a folder per class, or a folder and a text file of labels. Decoded in worker processes."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainkit.data.base import Batch, Data, DataSpec, Split, TargetSpec
from trainkit.data.digits import Side
from trainkit.data.transforms import ImageDataConfig, statistics
from trainkit.errors import DataError
from trainkit.registry import register
from trainkit.seeding import permutation

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Files that are decoded when they are asked for: scaled to cover the size, and cut to it around the centre."""

    root: Path
    names: Sequence[str]
    """Paths below `root`."""
    targets: Tensor
    """Shape (n,), int64."""
    mode: Literal["rgb", "grey"]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.names)

    def take(self, index: Tensor, draw: int = 0) -> Batch:
        return Batch(torch.stack([self._decode(self.names[n]) for n in index.tolist()]), self.targets[index], index)

    def digest(self) -> str:
        sha = hashlib.sha256(f"{self.mode} {self.height}x{self.width}".encode())
        for name, target in zip(self.names, self.targets.tolist(), strict=True):
            sha.update(f"{name}\0{(self.root / name).stat().st_size}\0{target}\n".encode())
        return sha.hexdigest()

    def _decode(self, name: str) -> Tensor:
        """One picture. Shape (channels, height, width), uint8."""
        import numpy as np
        from PIL import Image, ImageOps

        path = self.root / name
        try:
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise DataError(f"{path}: {picture.width}x{picture.height} pixels are more than {MAX_PIXELS:,}")
                upright = ImageOps.exif_transpose(picture).convert("RGB" if self.mode == "rgb" else "L")
                fitted = ImageOps.fit(upright, (self.width, self.height), Image.Resampling.BILINEAR)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{path}: not a picture that can be read ({str(error).splitlines()[0]})") from None
        pixels = torch.from_numpy(np.array(fitted))
        return pixels.permute(2, 0, 1).contiguous() if pixels.ndim == 3 else pixels.unsqueeze(0)


class PicturesConfig(ImageDataConfig):
    """Base of the sources of files."""

    size: Side | tuple[Side, Side] = 224
    """Height and width in pixels to which every picture is brought."""
    mode: Literal["rgb", "grey"] = "rgb"
    """Three channels or one."""
    test: Annotated[float, Field(gt=0, lt=1)] | None = 0.2
    """The fraction of the pictures that is the test split, the same for every seed, when there is none yet."""

    @abstractmethod
    def build(self, seed: int) -> Data: ...

    def spec(self) -> None:
        return None

    def _source(self, root: Path, names: Sequence[str], targets: Sequence[int]) -> PictureSource:
        height, width = self.size if isinstance(self.size, tuple) else (self.size, self.size)
        return PictureSource(root, names, torch.tensor(targets, dtype=torch.int64), self.mode, height, width)

    def _divide(
        self,
        source: PictureSource,
        classes: Sequence[str],
        seed: int,
        val: Split | None = None,
        test: Split | None = None,
    ) -> Data:
        """Take the splits that are not there yet off the training pictures."""
        if test is None and self.test:
            order = permutation(len(source), 0, "test")
            count = round(len(source) * self.test)
            held_out, rest = order[:count].sort().values.tolist(), order[count:].sort().values.tolist()
            test = _all(
                self._source(source.root, [source.names[n] for n in held_out], source.targets[held_out].tolist())
            )
            source = self._source(source.root, [source.names[n] for n in rest], source.targets[rest].tolist())
        train, taken = self.divide(source, seed) if val is None else (_all(source), val)
        channels = 3 if self.mode == "rgb" else 1
        mean, std = statistics(self.normalize, channels)
        target = TargetSpec(kind="class", size=len(classes), names=tuple(classes))
        shape = (channels, source.height, source.width)
        return Data(DataSpec(shape=shape, target=target, image=True, mean=mean, std=std), train, taken, test)


def _all(source: PictureSource) -> Split:
    return Split(source, torch.arange(len(source)))


@register("data")
class ImageFolderConfig(PicturesConfig):
    """A folder of pictures per class; or `train`, and if you like `val` and `test`, with a folder per class in each."""

    name: Literal["image_folder"] = "image_folder"
    path: str
    """The folder, relative to the directory in which the command runs; `~` is expanded."""

    def build(self, seed: int) -> Data:
        root = Path(self.path).expanduser()
        parts = {part: root / part for part in ("train", "val", "test") if (root / part).is_dir()}
        if "train" not in parts:
            parts = {"train": root}
        classes = _folders(parts["train"])
        if len(classes) < 2:
            raise DataError(f"{parts['train'].absolute()}: expected a folder per class, found {len(classes)}")
        sources = {part: self._folder(folder, classes) for part, folder in parts.items()}
        others = {part: _all(source) for part, source in sources.items() if part != "train"}
        return self._divide(sources["train"], classes, seed, others.get("val"), others.get("test"))

    def _folder(self, root: Path, classes: Sequence[str]) -> PictureSource:
        if strange := [name for name in _folders(root) if name not in classes]:
            raise DataError(f"{root / strange[0]}: the training pictures have no class {strange[0]!r}")
        names: list[str] = []
        targets: list[int] = []
        for number, label in enumerate(classes):
            files = [path for path in (root / label).rglob("*") if path.suffix.lower() in ENDINGS and path.is_file()]
            if not files:
                raise DataError(f"{root / label}: no pictures in it ({', '.join(ENDINGS)})")
            # Sorted, so that the order does not depend on the file system.
            names += sorted(path.relative_to(root).as_posix() for path in files)
            targets += [number] * len(files)
        return self._source(root, names, targets)


def _folders(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{root.absolute()}: {(error.strerror or str(error)).lower()}") from None


@register("data")
class ImageTxtConfig(PicturesConfig):
    """A folder of pictures, and a text file with a line `name label` for each."""

    name: Literal["image_txt"] = "image_txt"
    path: str
    """The folder of the pictures, relative to the directory in which the command runs; `~` is expanded."""
    labels: str
    """The text file. The label is the last word of a line, so that names may have spaces; `#` begins a comment line."""

    def build(self, seed: int) -> Data:
        root, file = Path(self.path).expanduser(), Path(self.labels).expanduser()
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise DataError(f"{file.absolute()}: {(error.strerror or str(error)).lower()}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 at byte {error.start}") from None
        rows: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, _, label = line.strip().rpartition(" ")
            if not name:
                raise DataError(f"{file}:{number}: expected 'name label', got {line.strip()!r}")
            if name in rows:
                raise DataError(f"{file}:{number}: {name!r} stands there twice")
            if not (root / name).is_file():
                raise DataError(f"{file}:{number}: no picture {root / name}")
            rows[name.strip()] = label
        classes = sorted(set(rows.values()))
        if len(classes) < 2:
            raise DataError(f"{file}: expected two labels or more, found {len(classes)}")
        targets = [classes.index(label) for label in rows.values()]
        return self._divide(self._source(root, list(rows), targets), classes, seed)
