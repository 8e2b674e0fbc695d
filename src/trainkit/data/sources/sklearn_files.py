"""scikit-learn's embedded data sets and its split, without its import: that takes as long as half of torch's."""

from __future__ import annotations

from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FILES = {
    "digits": ("digits.csv.gz",),
    "iris": ("iris.csv",),
    "wine": ("wine_data.csv",),
    "breast_cancer": ("breast_cancer.csv",),
    "diabetes": ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"),
}


class Embedded(NamedTuple):
    """What scikit-learn's loader gives, the same bits."""

    data: NDArray[np.float64]
    """Shape (rows, features)."""
    target: NDArray[Any]
    """Shape (rows,): classes, or numbers."""
    target_names: tuple[str, ...]
    """Of the classes, where scikit-learn has names for them."""


def embedded(name: str) -> Embedded:
    """Read a data set from scikit-learn's folder, or ask scikit-learn if it keeps its files elsewhere."""
    package = find_spec("sklearn")
    folder = Path(package.origin).parent if package and package.origin else Path()
    paths = [folder / "datasets" / "data" / file for file in FILES[name]]
    if not all(path.is_file() for path in paths):
        return _loaded(name)
    if name == "diabetes":
        data, target = map(np.loadtxt, paths)
        data = (data - data.mean(axis=0)) / data.std(axis=0)
        return Embedded(data / len(data) ** 0.5, target, ())
    names: tuple[str, ...] = ()
    if name == "digits":
        table = np.loadtxt(paths[0], delimiter=",")
    else:
        first, *rows = paths[0].read_text("utf-8").splitlines()
        table, names = np.loadtxt(rows, delimiter=","), tuple(first.split(",")[2:])
    return Embedded(table[:, :-1], table[:, -1].astype(np.int64), names)


def feature_names(name: str) -> tuple[str, ...]:
    """Of a table's columns. Only scikit-learn's code says them."""
    import sklearn.datasets

    return tuple(map(str, getattr(sklearn.datasets, f"load_{name}")().feature_names))


def _loaded(name: str) -> Embedded:
    import sklearn.datasets

    found = getattr(sklearn.datasets, f"load_{name}")()
    return Embedded(found.data, found.target, tuple(map(str, found.get("target_names", ()))))


def train_test_rows(targets: NDArray[Any], *, stratify: bool = True) -> tuple[list[int], list[int]]:
    """The rows to train on and those of the test split, a fifth, in ascending order.

    These are the steps of scikit-learn's `train_test_split(rows, test_size=0.2, random_state=0, stratify=targets)`.
    """
    random = np.random.RandomState(0)
    count = ceil(len(targets) * 0.2)
    if not stratify:
        return _divided(random.permutation(len(targets))[:count], len(targets))
    _, labels, counts = np.unique(targets, return_inverse=True, return_counts=True)
    of_train = _proportional(counts, len(targets) - count, random)
    of_test = _proportional(counts - of_train, count, random)
    test = []
    for label, (size, before, here) in enumerate(zip(counts, of_train, of_test, strict=True)):
        order = random.permutation(size)
        test.append(np.flatnonzero(labels == label)[order[before : before + here]])
    return _divided(np.concatenate(test), len(targets))


def _proportional(counts: NDArray[np.int64], draws: int, random: np.random.RandomState) -> NDArray[np.int64]:
    """How many of so many draws each class gets; what is left goes to the largest remainders, ties by chance."""
    exact = counts / counts.sum() * draws
    floored: NDArray[np.float64] = np.floor(exact)
    remainders = exact - floored
    left = int(draws - floored.sum())
    for remainder in np.unique(remainders)[::-1]:
        if left <= 0:
            break
        (tied,) = np.where(remainders == remainder)
        chosen = random.choice(tied, size=min(len(tied), left), replace=False)
        floored[chosen] += 1
        left -= len(chosen)
    return floored.astype(np.int64)


def _divided(test: NDArray[np.int64], count: int) -> tuple[list[int], list[int]]:
    is_test = np.zeros(count, dtype=bool)
    is_test[test] = True
    return np.flatnonzero(~is_test).tolist(), np.flatnonzero(is_test).tolist()
