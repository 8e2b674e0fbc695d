"""What all sides of the comparison share: the networks as tutorials write them, the data, and how a result is told.

Every side trains on 55,000 images, evaluates the other 5,000 after each epoch, and the 10,000 test images at the end;
batch 64, Adam with its default rate, fp32 unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.data import Dataset, random_split

BATCH_SIZE = 64
VAL = 5000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--model", choices=["cnn", "mlp"], default="cnn")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--best", action="store_true", help="of `bare`: with every trick")
    parser.add_argument("--precision", default="fp32", help="of `trainkit_`")
    return parser.parse_args()


class Cnn(nn.Module):
    """421,642 parameters."""

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


class Mlp(nn.Module):
    """101,770 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


def network(name: str) -> nn.Module:
    return Cnn() if name == "cnn" else Mlp()


def splits(root: str) -> tuple[Dataset, Dataset, Dataset]:
    """Train, val and test, every sample made when it is asked for, as tutorials do it."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    whole = MNIST(root, train=True, transform=transform)
    train, val = random_split(whole, [len(whole) - VAL, VAL])
    return train, val, MNIST(root, train=False, transform=transform)


_timed: dict[str, float] = {}


@contextmanager
def timed(name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    _timed[name] = time.perf_counter() - begin


def report(accuracy: float) -> None:
    """The last line of a side: seconds of fit and test, the test accuracy, and the most memory in MB so far."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({**_timed, "accuracy": accuracy, "memory": memory}), flush=True)
