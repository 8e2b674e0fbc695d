"""Files to ready batches of pictures with masks: trainkit's data path beside the one that torch's tutorials teach.

    python scripts/bench/masks.py --root DIR

makes 600 JPEGs of 500 x 375 with masks below DIR, once. Then both sides bring them to 256, flip and crop them and give
batches of 16, in turn: the samples per second of an epoch from the second on, and the ratio of each pair. At the end,
the samples per second of training steps of the unet, without any data path.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from trainkit.data import inputs
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.segmentation_folder import SegmentationFolderConfig
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.geometric import RandomCrop, RandomHorizontalFlip
from trainkit.data.transforms.pipeline import preparation
from trainkit.models.unet import UNetConfig
from trainkit.tasks import Segmentation

SAMPLES, SIZE, BATCH, PADDING, IGNORED = 600, 256, 16, 16, 255


def make(root: Path) -> None:
    """Smooth pictures with noise, and masks of 21 classes in blocks."""
    random = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(SAMPLES):
        blocks = Image.fromarray(random.integers(0, 255, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(blocks.resize((500, 375), Image.Resampling.BICUBIC), dtype=np.float64)
        noisy = (smooth + random.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"images/{number}.jpg", quality=90)
        classes = Image.fromarray(random.integers(0, 21, (9, 12), dtype=np.uint8))
        classes.resize((500, 375), Image.Resampling.NEAREST).save(root / f"masks/{number}.png")


def ours(root: Path) -> Iterator[int]:
    """Make an epoch's batches, and give how many samples they were, for ever."""
    data = SegmentationFolderConfig(path=str(root), size=SIZE, val=0, test=None, normalize="half").open(0)
    device = torch.device("cpu")
    prepare = preparation(data.spec, (RandomHorizontalFlip(), RandomCrop(padding=PADDING)), 0, device)
    loader = LoaderConfig(batch_size=BATCH).train_loader(data.train, 0, device)
    for epoch in count():
        yield sum(len(prepare(batch, epoch).index) for batch in loader.epoch(epoch))


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """A picture and its mask, decoded and transformed sample by sample."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.transform = v2.Compose(
            [
                v2.Resize(SIZE),
                v2.CenterCrop(SIZE),
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(SIZE, padding=PADDING, fill={tv_tensors.Image: 0, tv_tensors.Mask: IGNORED}),
                v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        picture = np.array(Image.open(self.root / f"images/{index}.jpg").convert("RGB")).transpose(2, 0, 1)
        mask = np.array(Image.open(self.root / f"masks/{index}.png"))
        image, target = self.transform(tv_tensors.Image(picture), tv_tensors.Mask(mask[None]))
        return image, target


def tutorial(root: Path) -> Iterator[int]:
    """The same."""
    loader = DataLoader(Pictures(root), BATCH, shuffle=True, num_workers=2, persistent_workers=True)
    while True:
        yield sum(len(images) for images, _ in loader)


def step_rate(steps: int = 5) -> float:
    """Samples per second of a training step of the unet on a batch that is there already."""
    spec = DataSpec(input=inputs.Pictures(shape=(3, SIZE, SIZE)), task=Segmentation(size=21))
    model = UNetConfig().build(spec, 21).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    pictures = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 21, (BATCH, SIZE, SIZE))
    seconds = []
    for _ in range(steps):
        started = time.perf_counter()
        optimizer.zero_grad()
        functional.cross_entropy(model(pictures), targets).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    return BATCH / statistics.median(seconds)


def rate(epochs: Iterator[int]) -> float:
    started = time.perf_counter()
    samples = next(epochs)
    return samples / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = options.root / "masks"
    if not root.exists():
        make(root)
    sides = {"trainkit": ours(root), "tutorial": tutorial(root)}
    for epochs in sides.values():
        next(epochs)  # the first epoch
    ratios = []
    for number in range(options.rounds):
        found = {name: rate(epochs) for name, epochs in sides.items()}
        ratios.append(found["trainkit"] / found["tutorial"])
        shown = ", ".join(f"{name} {value:.0f}" for name, value in found.items())
        print(f"round {number + 1}: {shown} samples/s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    print(f"a training step of the unet: {step_rate():.1f} samples/s")


if __name__ == "__main__":
    main()
