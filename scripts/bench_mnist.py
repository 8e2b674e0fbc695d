"""One epoch of the MNIST CNN: the loop that tutorials teach against trainkit's, in interleaved pairs.

    python scripts/bench_mnist.py --root data --pairs 3

Both train the same network (421,642 parameters) on the same 60,000 images with batch 64, Adam and fp32, in this process
and with torch's own number of threads. The tutorial loop is the usual one: torchvision's data set with ToTensor and
Normalize for every sample, a DataLoader without workers, `loss.item()` in every step. trainkit's is `fit` with all its
records. Reading the data is left out on both sides; each side has a warm-up of 50 steps that is not timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from trainkit.building import build, open_data
from trainkit.data.loading import LoaderConfig
from trainkit.experiment import ExperimentConfig
from trainkit.loop import fit, train_steps
from trainkit.progress import Progress
from trainkit.records import Record


class Net(nn.Module):
    """The network as tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


def tutorial(root: Path, steps: int | None) -> Callable[[], float]:
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = DataLoader(torchvision.datasets.MNIST(root, train=True, transform=transform), batch_size=64, shuffle=True)
    torch.manual_seed(42)
    model = Net()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> float:
        model.train()
        running_loss, begin = 0.0, time.perf_counter()
        for inputs, targets in islice(loader, steps):
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        return time.perf_counter() - begin

    return epoch


class Deaf:
    def write(self, record: Record) -> None:
        pass


def trainkit(root: Path, steps: int | None) -> Callable[[], float]:
    experiment = ExperimentConfig.from_plain(
        {
            "data": {"name": "mnist", "root": str(root), "val": 0, "download": False},
            "loader": LoaderConfig(batch_size=64).to_plain(),
            "model": {"name": "cnn", "channels": [32, 64], "hidden": [128]},
            "train": {"epochs": 1, "max_steps": steps},
        }
    )
    _, data, _ = open_data(experiment)
    parts, plan = build(experiment, data, torch.device("cpu"))

    def epoch() -> float:
        begin = time.perf_counter()
        fit(parts, plan, Progress(), sink=Deaf(), save=lambda best: None, stop=lambda: False)
        return time.perf_counter() - begin

    for _ in islice(train_steps(parts, plan, Progress()), 50):
        pass
    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder that holds MNIST/raw")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=None, help="steps instead of a whole epoch of 938")
    arguments = parser.parse_args()
    tutorial(arguments.root, 50)()
    sides = {
        "tutorial": tutorial(arguments.root, arguments.steps),
        "trainkit": trainkit(arguments.root, arguments.steps),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(arguments.pairs):
        # A B, B A, A B: whatever drifts hits both sides alike.
        for name in sorted(sides, reverse=pair % 2 == 0):
            seconds[name].append(sides[name]())
            print(f"pair {pair + 1}  {name:<8}  {seconds[name][-1]:.2f} s", flush=True)
    ratios = [ours / theirs for ours, theirs in zip(seconds["trainkit"], seconds["tutorial"], strict=True)]
    result: dict[str, Any] = {
        "steps": arguments.steps or 938,
        "seconds": {name: [round(value, 2) for value in values] for name, values in seconds.items()},
        "median_ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
