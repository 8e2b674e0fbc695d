"""The small picture data sets of torchvision: its readers and downloads, our error messages."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from trainkit.data.base import Data, DataSpec, Split, TargetSpec, TensorSource, split_off_val
from trainkit.data.digits import DigitsConfig
from trainkit.data.transforms import ImageDataConfig, Normalize, Preset, statistics
from trainkit.errors import ConfigError, DataError
from trainkit.registry import register

DOWNLOAD_TIMEOUT_S = 5.0


class TorchvisionConfig(ImageDataConfig):
    """Base of the data sets that torchvision reads into memory."""

    shape: ClassVar[tuple[int, int, int]]
    """(channels, height, width)"""
    train_samples: ClassVar[int]
    folder: ClassVar[str]
    """Where the files lie below `root`."""
    num_classes: ClassVar[int] = 10
    class_names: ClassVar[tuple[str, ...]] = ()

    root: str = Field(default_factory=lambda: os.environ.get("TRAINKIT_DATA_DIR", "data"))
    """Folder of all data sets, relative to the directory in which the command runs; `~` is expanded."""
    download: bool = True
    """Fetch the files when they are missing."""
    fallback: Literal["digits"] | None = None
    """What to train on when the files are missing and cannot be fetched. Never silent: the run says and records it."""

    @property
    @abstractmethod
    def reader(self) -> Any:
        """torchvision's class; imported only when data is read."""

    @property
    def place(self) -> Path:
        """The folder in which the files are expected."""
        return Path(self.root).expanduser() / self.folder

    def spec(self) -> DataSpec:
        mean, std = statistics(self.normalize, self.shape[0])
        classes = TargetSpec(kind="class", size=self.num_classes, names=self.class_names)
        return DataSpec(shape=self.shape, target=classes, image=True, mean=mean, std=std)

    def stand_in(self) -> DigitsConfig | None:
        if self.fallback is None:
            return None
        channels, *size = self.shape
        # `val` was a count of samples that are not there; as a fraction it means the same.
        val = self.val / self.train_samples if isinstance(self.val, int) and self.val else self.val
        return DigitsConfig(
            size=(size[0], size[1]), channels=channels, val=val, normalize=self.normalize, augment=self.augment
        )

    def build(self, seed: int) -> Data:
        train, val = split_off_val(self._read(train=True), self.val, seed)
        test = self._read(train=False)
        return Data(self.spec(), train, val, Split(test, torch.arange(len(test))))

    def _read(self, train: bool) -> TensorSource:
        root = Path(self.root).expanduser()
        try:
            dataset = self.reader(root, train=train)
        except RuntimeError:  # torchvision's word for files that are missing or incomplete
            dataset = self._download(root, train)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{self.place}: damaged: {error}") from None
        images = torch.as_tensor(np.asarray(dataset.data))
        # (n, height, width) or (n, height, width, channels) as torchvision has it
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
        return TensorSource(images, torch.as_tensor(np.asarray(dataset.targets), dtype=torch.int64))

    def _download(self, root: Path, train: bool) -> Any:
        if not self.download:
            raise DataError(self._missing("set data.download=true to fetch them"))
        if offline():
            raise DataError(self._missing("TRAINKIT_OFFLINE=1 forbids the download"))
        existed = [parent for parent in (self.place, *self.place.parents) if parent.exists()]
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_S)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to results
                return self.reader(root, train=train, download=True)
        except (OSError, RuntimeError, EOFError) as error:
            self._remove_empty(existed[0])
            reason = str(getattr(error, "reason", error)).strip().splitlines()[-1]
            raise DataError(self._missing(f"the download failed ({reason})")) from None
        finally:
            socket.setdefaulttimeout(before)

    def _remove_empty(self, existed: Path) -> None:
        """Take back the folders that torchvision made for a download that brought nothing."""
        folder = self.place
        while folder != existed:
            with contextlib.suppress(OSError):
                folder.rmdir()
            folder = folder.parent

    def _missing(self, why: str) -> str:
        return f"{self.place.absolute()}: no {self.name} files here; {why}, or put them there by hand"  # type: ignore[attr-defined]


def offline() -> bool:
    """Whether TRAINKIT_OFFLINE forbids any download."""
    value = os.environ.get("TRAINKIT_OFFLINE", "0")
    if value not in ("", "0", "1"):
        raise ConfigError(f"environment: TRAINKIT_OFFLINE: expected 0 or 1, got {value!r}")
    return value == "1"


@register("data")
class MnistConfig(TorchvisionConfig):
    """Handwritten digits, 60,000 + 10,000 grey images of 28 x 28 (LeCun, Cortes and Burges)."""

    name: Literal["mnist"] = "mnist"
    normalize: Preset | Normalize = "mnist"
    shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    train_samples: ClassVar[int] = 60_000
    folder: ClassVar[str] = "MNIST/raw"
    class_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    @property
    def reader(self) -> Any:
        from torchvision.datasets import MNIST

        return MNIST


@register("data")
class FashionMnistConfig(TorchvisionConfig):
    """Pictures of clothes, 60,000 + 10,000 grey images of 28 x 28 (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747)."""

    name: Literal["fashion_mnist"] = "fashion_mnist"
    normalize: Preset | Normalize = "fashion_mnist"
    shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    train_samples: ClassVar[int] = 60_000
    folder: ClassVar[str] = "FashionMNIST/raw"
    class_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip

    @property
    def reader(self) -> Any:
        from torchvision.datasets import FashionMNIST

        return FashionMNIST


@register("data")
class Cifar10Config(TorchvisionConfig):
    """Small photographs, 50,000 + 10,000 colour images of 32 x 32 in 10 classes (Krizhevsky, 2009)."""

    name: Literal["cifar10"] = "cifar10"
    normalize: Preset | Normalize = "cifar10"
    shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    train_samples: ClassVar[int] = 50_000
    folder: ClassVar[str] = "cifar-10-batches-py"
    class_names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    @property
    def reader(self) -> Any:
        from torchvision.datasets import CIFAR10

        return CIFAR10


@register("data")
class Cifar100Config(TorchvisionConfig):
    """Small photographs, 50,000 + 10,000 colour images of 32 x 32 in 100 classes (Krizhevsky, 2009)."""

    name: Literal["cifar100"] = "cifar100"
    normalize: Preset | Normalize = "cifar100"
    shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)
    train_samples: ClassVar[int] = 50_000
    folder: ClassVar[str] = "cifar-100-python"
    num_classes: ClassVar[int] = 100

    @property
    def reader(self) -> Any:
        from torchvision.datasets import CIFAR100

        return CIFAR100
