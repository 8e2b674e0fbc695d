"""Epochs over a folder of JPEGs: `ImageFolder` with a `DataLoader` as tutorials have it, and trainkit.

    python scripts/bench/pictures.py --count 10000 --rounds 3

Three epochs each, in processes of their own, that take turns: a convolution of 16 channels and a linear layer, so that
the pictures cost more than the network. The first epoch of trainkit with a cache that is still to be made includes
decoding all pictures for it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from epoch_ends import epoch_ends
from PIL import Image
from timing import print_json, ratio, rounds, spread

EPOCHS, BATCH_SIZE, SIDE = 3, 64, 64


def pictures(place: Path, count: int) -> Path:
    """JPEGs of 96 x 80, ten folders of classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        folder = place / f"pictures{count}" / f"class{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 255, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(small).resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=90)
    return place / f"pictures{count}"


def tutorial(root: str, num_workers: int) -> list[float]:
    """Seconds of each epoch."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.Resize(SIDE),
            transforms.CenterCrop(SIDE),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    loader = DataLoader(ImageFolder(root, transform), batch_size=BATCH_SIZE, shuffle=True, num_workers=num_workers)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(16 * (SIDE // 4) ** 2, 10)
    )
    optimizer, criterion = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    seconds = []
    for _ in range(EPOCHS):
        begin = time.perf_counter()
        for inputs, targets in loader:
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - begin)
    return seconds


def trainkit(root: str, cache: str) -> list[float]:
    """Seconds of each epoch; decoding for the cache counts into the first."""
    config = (
        f"data: {{name: image_folder, path: {root}, size: {SIDE}, val: 0, normalize: half, cache: {cache}}}\n"
        "model: {name: cnn, channels: [16], pool_size: 4, hidden: []}\n"
        f"optimizer: {{name: adam}}\ntrain: {{epochs: {EPOCHS}}}\nloader: {{batch_size: {BATCH_SIZE}}}\n"
    )
    return [after - before for before, after in pairwise(epoch_ends(config, time.perf_counter))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", nargs=2, help="run only this one, here: tutorial or trainkit, and its option")
    parser.add_argument("--root")
    options = parser.parse_args()
    if options.side:
        name, option = options.side
        seconds = tutorial(options.root, int(option)) if name == "tutorial" else trainkit(options.root, option)
        print(json.dumps(seconds))
        return
    sides = {
        "tutorial, num_workers=0": ("tutorial", "0"),
        "tutorial, num_workers=2": ("tutorial", "2"),
        "trainkit": ("trainkit", "false"),
        "trainkit, cache: true": ("trainkit", "true"),
    }
    epochs: dict[str, list[list[float]]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as place:
        root = pictures(Path(place), options.count)

        def measured(name: str) -> float:
            cache = tempfile.mkdtemp(dir=place)  # a new one: nothing has been decoded before
            words = [sys.executable, __file__, "--side", *sides[name], "--root", str(root)]
            output = subprocess.run(
                words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "TRAINKIT_CACHE_DIR": cache}
            ).stdout
            epochs[name].append(json.loads(output.splitlines()[-1]))
            print(name, epochs[name][-1], file=sys.stderr, flush=True)
            return 0.0

        rounds({name: (lambda name=name: measured(name)) for name in sides}, options.rounds)
    first = {name: [one[0] for one in found] for name, found in epochs.items()}
    later = {name: [one[-1] for one in found] for name, found in epochs.items()}
    base = "tutorial, num_workers=0"
    print(f"{options.count:,} JPEGs\n\n| side | first epoch, s | times as fast | third epoch, s | times as fast |")
    print("|-|-|-|-|-|")
    for name in sides:
        print(
            f"| {name} | {spread(first[name])} | {ratio(first[base], first[name]):.2f} "
            f"| {spread(later[name])} | {ratio(later[base], later[name]):.2f} |"
        )
    print_json(count=options.count, epochs=epochs)


if __name__ == "__main__":
    main()
