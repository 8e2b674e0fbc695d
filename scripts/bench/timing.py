"""Measuring in interleaved rounds, and telling the result with its machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def rounds(sides: Mapping[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Measure every side once a round, in turning order, so that whatever drifts hits all alike."""
    names, found = list(sides), {name: [] for name in sides}
    for number in range(count):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(sides[name]())
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def spread(values: list[float], digits: int = 2) -> str:
    """Median and quartiles."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if info.exists() and names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "trainkit")},
    }


def print_json(**result: Any) -> None:
    print(json.dumps({**result, "machine": machine()}))
