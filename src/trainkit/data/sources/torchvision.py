"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100: torchvision's readers and downloads, our error messages.

One file, as a data set is a few words here. MNIST's own format is read without torchvision, whose import takes seconds.
"""

from __future__ import annotations

import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.seeding import generator
from trainkit.data.base import Batch, Data, TensorSource
from trainkit.data.images.config import ImageDataConfig, Size, height_width
from trainkit.data.paths import expanded, unreadable
from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.normalize import Normalize, Preset
from trainkit.tasks import Classification

DOWNLOAD_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Noise in the shape of pictures, the classes one after the other: in place of a data set of which the shape and
    the size are known, to inspect an experiment without reading it. Takes no memory until asked."""

    spec: DataSpec
    samples: int

    def __len__(self) -> int:
        return self.samples

    @property
    def targets(self) -> Tensor:
        """Shape (n,), int64."""
        return torch.arange(self.samples) % self.spec.task.size

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        shape, random = (len(index), *self.spec.shape), generator(0, "imagined")
        inputs = torch.randint(256, shape, dtype=torch.uint8, generator=random)
        return Batch(inputs, index % self.spec.task.size, index)

    def digest(self) -> str:
        return f"imagined {self.samples}"


class Known(NamedTuple):
    """What is known of a data set before it is read."""

    reader: str
    """The class in `torchvision.datasets`."""
    folder: str
    """Where the files lie below `root`."""
    shape: tuple[int, int, int]
    """(channels, height, width) of the pictures as they are."""
    train_samples: int
    class_names: tuple[str, ...]


class TorchvisionConfig(ImageDataConfig):
    """Base of the data sets that torchvision reads into memory."""

    shown: ClassVar = ImageDataConfig.shown | {"size", "mode"}
    read_by_check: ClassVar = ("nothing, for what it holds is known", "damaged files")
    known: ClassVar[Known]

    size: Size | None = None
    """Height and width in pixels that the model sees: pictures are scaled to cover it, and cut to it around the centre;
    by default as they are."""
    mode: Literal["rgb", "grey"] | None = None
    """Channels that the model sees: three or one; by default as they are."""
    root: str = Field(default_factory=lambda: os.environ.get("TRAINKIT_DATA_DIR", "data"))
    """Folder of all data sets, relative to the directory in which the command runs; `~` is expanded."""
    download: bool = True
    """Fetch the files when they are missing."""
    fallback: Literal["digits"] | None = None
    """What to train on when the files are missing and cannot be fetched. Never silent: the run says and records it."""

    @property
    def directory(self) -> Path:
        """The folder in which the files are expected."""
        return (expanded(self.root) / self.known.folder).absolute()

    def spec(self) -> DataSpec:
        channels, *sides = self.known.shape
        channels = {"rgb": 3, "grey": 1, None: channels}[self.mode]
        height, width = sides if self.size is None else height_width(self.size)
        names = self.known.class_names
        return self.image_spec((channels, height, width), Classification(size=len(names), names=names))

    def fallback_config(self) -> DigitsConfig | None:
        if self.fallback is None:
            return None
        channels, height, width = self.spec().shape

        def fraction(amount: float) -> float:
            """A count is of samples that are not there; as a fraction it means the same."""
            is_count = isinstance(amount, int) and 0 < amount < self.known.train_samples
            return amount / self.known.train_samples if is_count else amount

        return DigitsConfig(
            size=(height, width),
            channels=channels,
            val=fraction(self.val),
            subset=None if self.subset is None else fraction(self.subset),
            stratify=self.stratify,
            normalize=self.normalize,
            augment=self.augment,
        )

    def restored(self) -> Self:
        default = type(self).model_fields["root"].get_default(call_default_factory=True)
        return self if self.root == default else self.model_copy(update={"download": False})

    def placeholder(self, seed: int) -> Data:
        spec = self.spec()
        train, val = self.divide(Placeholder(spec, self.known.train_samples), seed)
        # Which classes a small subset of the real samples lacks, placeholders cannot tell.
        counts = tuple(max(1, count) for count in spec.task.count(train.targets))
        task = spec.task.model_copy(update={"counts": counts, "samples": len(train)})
        return Data(spec.with_task(task), train, val, None)

    def build(self, seed: int) -> Data:
        spec = self.spec()
        if not self._has_files():
            self._download()
        return Data(spec, *self.train_val_test(self._read(train=True), seed, self._read(train=False)))

    def absent(self) -> str:
        if self._has_files():
            return ""
        self._check_download()
        return self._missing("training will fetch them")

    def _has_files(self) -> bool:
        try:
            return any(self.directory.glob("*"))
        except OSError as error:
            raise unreadable("root", self.directory, error) from None

    def _read(self, *, train: bool) -> TensorSource:
        try:
            dataset = self._dataset(expanded(self.root), train=train, download=False)
        except OSError as error:
            raise DataError(f"{self.directory}: {self.name} cannot be read ({error.strerror})") from None
        # What torchvision raises for missing files, wrong checksums, and bytes that make no sense to it.
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError):
            raise DataError(self._damaged("files are missing, packed or cut short")) from None
        images = torch.as_tensor(np.asarray(dataset.data))
        # (n, height, width) or (n, height, width, channels) as torchvision has it
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        targets = torch.as_tensor(np.asarray(dataset.targets), dtype=torch.int64)
        if images.shape[1:] != self.known.shape or images.dtype != torch.uint8 or len(images) != len(targets):
            raise DataError(self._damaged(f"{len(images)} images {tuple(images.shape[1:])}, {len(targets)} labels"))
        if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(self.known.class_names):
            raise DataError(self._damaged(f"labels outside 0 … {len(self.known.class_names) - 1}"))
        return TensorSource(images, targets)

    def _damaged(self, what: str) -> str:
        return f"{self.directory}: {self.name} is damaged ({what}); move the folder away, then use data.download=true"

    def _download(self) -> None:
        """Fetch the files into a temporary folder and move it into place: they are there as a whole or not at all.

        Raises:
            DataError: it is not allowed, or it failed.
        """
        self._check_download()
        try:
            there = next(folder for folder in self.directory.parents if folder.exists())
            with tempfile.TemporaryDirectory(dir=there, prefix=".download-") as temporary, network():
                self._dataset(Path(temporary), train=True, download=True)
                self.directory.parent.mkdir(parents=True, exist_ok=True)
                if not self._has_files():  # else another process was faster
                    (Path(temporary) / self.known.folder).rename(self.directory)
        except (OSError, RuntimeError, EOFError, HTTPException) as error:
            lines = str(getattr(error, "reason", error)).strip().splitlines() or [type(error).__name__]
            reason = lines[-1].removeprefix("<urlopen error ").removesuffix(">")
            raise DataError(self._missing(f"the download failed ({reason})")) from None

    def _check_download(self) -> None:
        """Raises DataError where it is not allowed."""
        if not self.download:
            raise DataError(self._missing("set data.download=true to fetch them"))
        if offline():
            raise DataError(self._missing("TRAINKIT_OFFLINE=1 forbids the download"))
        if "$" in self.root:
            raise DataError(self._missing("variables in data.root are not expanded"))

    def _missing(self, why: str) -> str:
        others = "they can also be put there unpacked, or data.root can point to them"
        return f"{self.directory}: no {self.name} files here; {why}; {others}"

    def _dataset(self, root: Path, *, train: bool, download: bool) -> Any:
        import torchvision.datasets  # seconds, so only when data is read

        return getattr(torchvision.datasets, self.known.reader)(root, train=train, download=download)


@contextmanager
def network() -> Iterator[None]:
    """No connection waits for long, and nothing is said on stdout, which belongs to results."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        socket.setdefaulttimeout(before)


def offline() -> bool:
    """Whether TRAINKIT_OFFLINE forbids any download.

    Raises:
        ConfigError: it is neither 0 nor 1.
    """
    value = os.environ.get("TRAINKIT_OFFLINE", "0")
    if value not in ("", "0", "1"):
        raise ConfigError(f"environment: TRAINKIT_OFFLINE: expected 0 or 1, got {value!r}")
    return value == "1"


class InMemory(NamedTuple):
    """What torchvision's data sets keep in memory."""

    data: NDArray[np.uint8]
    targets: NDArray[np.uint8]


class IdxConfig(TorchvisionConfig):
    """Base of those in MNIST's own format. Whole files are read here, since importing torchvision takes longer than
    importing torch; what else there may be, torchvision judges."""

    def _dataset(self, root: Path, *, train: bool, download: bool) -> Any:
        folder = root / self.known.folder
        paths = [
            folder / f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
        ]
        preferred = folder.parent / "processed"  # what old versions of torchvision wrote
        if all(path.is_file() for path in paths) and not preferred.exists() and not download:
            images, labels = paths[:2] if train else paths[2:]
            data, targets = _read_idx(images, self.known.shape[1:]), _read_idx(labels, ())
            if data is not None and targets is not None:
                return InMemory(data, targets)
        return super()._dataset(root, train=train, download=download)


def _read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """Bytes of shape (n, *shape); None where the file holds anything else. Format: https://yann.lecun.com/exdb/mnist"""
    content = np.frombuffer(bytearray(path.read_bytes()), dtype=np.uint8)  # which torch may write to
    header, body = np.split(content, [4 * (2 + len(shape))])
    if len(header) < 4 * (2 + len(shape)):
        return None
    kind, count, *sides = header.view(">i4").tolist()
    if kind != 0x801 + len(shape) or tuple(sides) != shape or len(body) != count * math.prod(shape):
        return None
    return body.reshape(count, *shape)


@register("data")
class MnistConfig(IdxConfig):
    """Handwritten digits, 60,000 + 10,000 grey images of 28 x 28 (LeCun, Cortes and Burges)."""

    name: Literal["mnist"] = "mnist"
    normalize: Preset | Normalize = "mnist"
    known: ClassVar = Known("MNIST", "MNIST/raw", (1, 28, 28), 60_000, tuple("0123456789"))


@register("data")
class FashionMnistConfig(IdxConfig):
    """Pictures of clothes, 60,000 + 10,000 grey images of 28 x 28 (Xiao et al., 2017, arXiv:1708.07747)."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    normalize: Preset | Normalize = "fashion_mnist"
    known: ClassVar = Known("FashionMNIST", "FashionMNIST/raw", (1, 28, 28), 60_000, (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ))  # fmt: skip


@register("data")
class Cifar10Config(TorchvisionConfig):
    """Small photographs, 50,000 + 10,000 colour images of 32 x 32 in 10 classes (Krizhevsky, 2009)."""

    name: Literal["cifar10"] = "cifar10"
    normalize: Preset | Normalize = "cifar10"
    known: ClassVar = Known("CIFAR10", "cifar-10-batches-py", (3, 32, 32), 50_000, (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    ))  # fmt: skip


@register("data")
class Cifar100Config(TorchvisionConfig):
    """Small photographs, 50,000 + 10,000 colour images of 32 x 32 in 100 classes (Krizhevsky, 2009)."""

    name: Literal["cifar100"] = "cifar100"
    normalize: Preset | Normalize = "cifar100"
    known: ClassVar = Known("CIFAR100", "cifar-100-python", (3, 32, 32), 50_000, (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
        "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
        "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
        "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
        "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
        "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    ))  # fmt: skip
