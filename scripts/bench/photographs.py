"""Epochs over a folder of photographs: trainkit beside torchvision's and timm's loaders, each with two processes.

    python scripts/bench/photographs.py --root DIR --rounds 5

makes 4,000 JPEGs of about 500 x 375 below DIR, once (the spectrum of photographs, quality 85; a few are large,
progressive, or turned by EXIF). Every side then trains one convolution with pooling on random resized crops to 224,
flipped and normalised, in a process of its own, in turn: the samples per second of the first epoch, which for all of
them begins with looking for the files, and of the last one; the processor time that a picture takes, of all
processes together; and the most memory, without the page cache. Where others use the machine as well, only the
processor time tells, and that with OMP_NUM_THREADS=1, for threads that wait for each other count as busy.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from epoch_ends import epoch_ends
from PIL import Image
from timing import print_json, ratio, rounds, spread
from torch import Tensor, nn

EPOCHS, BATCH_SIZE, SIZE, CLASSES, WORKERS = 3, 64, 224, 10, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SLOPE = 1.4
"""Of the amplitudes over the frequency, so that a file has the 50 KB that photographs of this size and quality have."""
FIELD = (2048, 2560)


def make(place: Path, count: int) -> None:
    """Ten folders of classes. Every picture is cut out of the sum of two periodic fields, each moved at random."""
    random = np.random.default_rng(0)
    fields = [_field(random) for _ in range(6)]
    for number in range(count):
        kind = random.random()
        height, width = (1500, 2000) if kind < 0.01 else random.integers((340, 460), (410, 540))
        if random.random() < 0.25:
            height, width = width, height
        planes = [_moved(random, fields, height, width) for _ in range(3)]
        levels = np.stack([50 * planes[0] + 118, 14 * planes[1] + 128, 14 * planes[2] + 128], axis=-1)
        picture = Image.fromarray(levels.clip(0, 255).astype(np.uint8), "YCbCr")
        folder = place / f"class{number % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if 0.01 <= kind < 0.06:
            exif[0x0112] = 6
        picture.save(folder / f"{number:05}.jpg", quality=85, progressive=0.06 <= kind < 0.11, exif=exif)


def _field(random: np.random.Generator) -> np.ndarray:
    """A periodic picture with the spectrum of photographs, mean 0 and standard deviation 1. Shape `FIELD`."""
    height, width = FIELD
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    phase = random.normal(size=(*frequency.shape, 2)).view(np.complex128)[..., 0]
    # Nothing coarser than a picture: else most of them would be of one shade.
    field = np.fft.irfft2(phase / np.maximum(frequency, 1 / 400) ** SLOPE, FIELD)
    return (field / field.std()).astype(np.float32)


def _moved(random: np.random.Generator, fields: list[np.ndarray], height: int, width: int) -> np.ndarray:
    total = np.zeros((height, width), dtype=np.float32)
    for number in random.choice(len(fields), 2, replace=False):
        top, left = random.integers(0, FIELD[0] - height), random.integers(0, FIELD[1] - width)
        total += fields[number][top : top + height, left : left + width] * random.choice([-1, 1])
    return total / total.std()


Clocks = tuple[float, float]
"""Seconds that have passed, and processor seconds of this process and its children."""


def clocks() -> Clocks:
    processor = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    ticks = os.sysconf("SC_CLK_TCK")
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path("/proc", child, "stat").read_text().rpartition(")")[2].split()
            processor += (int(fields[11]) + int(fields[12])) / ticks
    return time.perf_counter(), processor


def train(batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], begin: Clocks) -> list[Clocks]:
    """The clocks at the begin and at the end of each epoch."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 7, 4), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(8 * 13**2, CLASSES)
    )
    optimizer, criterion, ends = torch.optim.SGD(model.parameters(), 0.01), nn.CrossEntropyLoss(), [begin]
    for _ in range(EPOCHS):
        for inputs, targets in batches():
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
        ends.append(clocks())
    return ends


def folder(root: str, decoder: str) -> list[Clocks]:
    """torchvision's `ImageFolder` with v2's transforms by sample, as its documentation has them."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.io import ImageReadMode, decode_jpeg, read_file
    from torchvision.transforms import v2

    def decoded(path: str) -> Tensor:
        return decode_jpeg(read_file(path), ImageReadMode.RGB)

    # Pillow crops faster than torch what is no tensor yet.
    crops = [v2.RandomResizedCrop(SIZE, antialias=True), v2.RandomHorizontalFlip(), v2.ToImage()]
    transform = v2.Compose([*crops, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    begin = clocks()
    files = ImageFolder(root, transform, **({} if decoder == "pillow" else {"loader": decoded}))
    loader = DataLoader(files, BATCH_SIZE, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return train(lambda: loader, begin)


def timm(root: str, _: str) -> list[Clocks]:
    from timm.data import create_dataset, create_loader

    begin = clocks()
    loader = create_loader(
        create_dataset("", root, is_training=True),
        (3, SIZE, SIZE),
        BATCH_SIZE,
        is_training=True,
        use_prefetcher=False,
        color_jitter=0.0,
        interpolation="bilinear",
        mean=MEAN,
        std=STD,
        num_workers=WORKERS,
        device=torch.device("cpu"),
    )
    return train(lambda: loader, begin)


def trainkit(root: str, keys: str) -> list[Clocks]:
    # What torch's optimizers import, as torchvision does on the other sides before their clock begins.
    importlib.import_module("torch._dynamo")
    config = (
        f"data: {{name: image_folder, path: {root}, val: 0, test: null, normalize: imagenet, {keys}\n"
        "  augment: [random_resized_crop, random_horizontal_flip]}\n"
        "model: {name: sequential, layers: [{name: conv2d, out_channels: 8, kernel_size: 7, stride: 4}, relu,\n"
        "  {name: max_pool2d, kernel_size: 4}, flatten, linear]}\n"
        f"optimizer: {{name: sgd, lr: 0.01}}\ntrain: {{epochs: {EPOCHS}}}\nloader: {{batch_size: {BATCH_SIZE}}}\n"
    )
    return epoch_ends(config, clocks)


SIDES: dict[str, tuple[Callable[[str, str], list[Clocks]], str]] = {
    "ImageFolder": (folder, "pillow"),
    "decode_jpeg": (folder, "torchvision"),
    "timm": (timm, ""),
    "trainkit": (trainkit, ""),
    "trainkit, decode: fast": (trainkit, "decode: fast,"),
    "trainkit, decode: fast, cache: true": (trainkit, "decode: fast, cache: true,"),
}


def likeness(root: Path, count: int = 256) -> dict[str, list[float]]:
    """PSNR in dB of the boxes of `decode: fast`, for each of some pictures that differ from the same boxes of `decode:
    exact`, without and with a cache, and of JPEGs that are decoded whole."""
    from trainkit.data.images import crops
    from trainkit.data.images.caching import CachedSource
    from trainkit.data.sources.image_folder import ImageFolderConfig
    from trainkit.data.transforms.base import SampleRandom
    from trainkit.data.transforms.geometric import RandomResizedCrop

    files = ImageFolderConfig(path=str(root), size=SIZE, val=0, test=None, decode="fast").open(0).train.source
    index = torch.arange(0, len(files), -(-len(files) // count))
    some, crop = files.only(index.tolist()), RandomResizedCrop()
    index = torch.arange(len(some))
    whole = some.take(index).inputs
    fast = crops.RandomCrops(some, crop).take(index, 1).inputs
    cached = crops.RandomCrops(CachedSource(whole, some.targets, some, root), crop).take(index, 1).inputs
    crops.SCALES = ()
    undivided = crops.RandomCrops(some, crop).take(index, 1).inputs
    exact = crop.apply(whole, SampleRandom(index, 1, 0, torch.device("cpu")))

    def psnr(one: Tensor, other: Tensor) -> list[float]:
        error = (one.float() - other.float()).square().mean(dim=(1, 2, 3))
        return (10 * torch.log10(255**2 / error[error > 0])).tolist()

    return {
        "fast beside exact": psnr(fast, exact),
        "fast and cached beside exact": psnr(cached, exact),
        "of these, JPEGs decoded at a smaller scale beside whole ones": psnr(fast, undivided),
    }


def memory(process: int) -> float:
    """MB of a process and its children now, shared pages once, without those of files."""
    kilobytes = 0
    with suppress(OSError):  # it has just ended
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                kilobytes += int(line.split()[1])
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                kilobytes += 1000 * memory(int(child))
    return kilobytes / 1000


def measured(name: str, root: Path, cache: str) -> tuple[list[Clocks], float]:
    """Both clocks' seconds for each epoch of a side in a process of its own, and the most memory in MB."""
    command = [sys.executable, __file__, "--side", name, "--root", str(root)]
    environment = {**os.environ, "TRAINKIT_CACHE_DIR": cache}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        most, done = 0.0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.3):
                most = max(most, memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        done.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{name} failed")
    ends = json.loads(output.splitlines()[-1])
    return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(ends)], most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="where the pictures are, or are made; by default a temporary folder")
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help="run only this one, here")
    options = parser.parse_args()
    if options.side:
        side, option = SIDES[options.side]
        print(json.dumps(side(str(options.root), option)))
        return
    names = list(options.only)
    if "timm" in names and importlib.util.find_spec("timm") is None:
        print("timm is not installed, and left out")
        names.remove("timm")
    with tempfile.TemporaryDirectory() as place:
        root = (options.root or Path(place)) / f"photographs{options.pictures}"
        if not root.exists():
            make(root, options.pictures)
        sizes = [path.stat().st_size for path in root.glob("*/*.jpg")]
        epochs: dict[str, list[list[Clocks]]] = {name: [] for name in names}
        peaks: dict[str, list[float]] = {name: [] for name in names}

        def side(name: str) -> float:
            with tempfile.TemporaryDirectory(dir=place) as cache:  # a new one: nothing has been decoded before
                found, most = measured(name, root, cache)
            epochs[name].append(found)
            peaks[name].append(most)
            rates = ", ".join(f"{len(sizes) / seconds:.0f}" for seconds, _ in found)
            busy = ", ".join(f"{1000 * seconds / len(sizes):.2f}" for _, seconds in found)
            print(f"{name}: {rates} samples/s, {busy} ms, {most:.0f} MB", file=sys.stderr, flush=True)
            return 0.0

        rounds({name: (lambda name=name: side(name)) for name in names}, options.rounds)
        differences = likeness(root)
    base, count = names[0], len(sizes)
    columns: dict[str, tuple[dict[str, list[float]], int]] = {}
    for at, epoch in ((0, "first epoch"), (-1, f"epoch {EPOCHS}")):
        columns[f"{epoch}, samples/s"] = ({name: [count / one[at][0] for one in epochs[name]] for name in names}, 0)
        busy = {name: [1000 * one[at][1] / count for one in epochs[name]] for name in names}
        columns[f"{epoch}, processor ms a picture"] = (busy, 2)
    columns["memory, MB"] = (peaks, 0)
    print(f"{count:,} JPEGs, {sum(sizes) / count / 1000:.0f} KB each\n")
    print("| side |", *(f"{column} | of {base} |" for column in columns))
    print(f"|{'-|' * (1 + 2 * len(columns))}")
    for name in names:
        cells = (
            f"{spread(found[name], digits)} | {ratio(found[name], found[base]):.2f}"
            for found, digits in columns.values()
        )
        print(f"| {name} | {' | '.join(cells)} |")
    for name, found in differences.items():
        print(
            f"{name}: {len(found)} pictures, PSNR {spread(found, 1)} dB, at least {min(found):.1f}" if found else name
        )
    print_json(pictures=len(sizes), epochs=epochs, memory=peaks, psnr=differences)


if __name__ == "__main__":
    main()
