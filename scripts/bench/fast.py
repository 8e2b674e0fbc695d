"""How soon a result is there: configs/mnist_fast.yaml beside the three epochs of the MNIST tutorials, whole commands.

    python scripts/bench/fast.py --root data

Each round is another seed, in turning order: the seconds of the whole commands, their ratio within each round, and the
accuracies on the test images, which each looks at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

from peers import run
from timing import print_json, ratio, rounds, spread

CONFIG = Path(__file__).parents[2] / "configs/mnist_fast.yaml"
LONGER = ["train.epochs=3", "data.augment=[{name: random_crop, padding: 2}]"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    root = options.root.absolute()
    accuracies: dict[str, list[float]] = {"tutorial": [], "mnist_fast": [], " ".join(["mnist_fast", *LONGER]): []}

    def tutorial(name: str) -> float:
        seed = str(len(accuracies[name]))
        told = run("tutorial", ["--root", str(root), "--epochs", "3", "--seed", seed])
        accuracies[name].append(told["accuracy"])
        return float(told["command"])

    def ours(name: str, *overrides: str) -> float:
        seed = len(accuracies[name])
        with tempfile.TemporaryDirectory() as place:
            words = [str(CONFIG), f"data.root={root}", f"seed={seed}", *overrides, "--run-dir", f"{place}/run", "-q"]
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "trainkit", "train", *words], check=True, capture_output=True)
            seconds = time.perf_counter() - begin
            lines = Path(place, "run/metrics.jsonl").read_text().splitlines()
        found = next(record for record in map(json.loads, lines) if record.get("split") == "test")
        accuracies[name].append(found["accuracy"])
        return seconds

    first, second, third = accuracies
    sides: dict[str, Callable[[], float]] = {
        first: partial(tutorial, first),
        second: partial(ours, second),
        third: partial(ours, third, *LONGER),
    }
    seconds = rounds(sides, options.rounds)
    print("| | whole command, s | of the tutorial's | test accuracy | mean |\n|-|-|-|-|-|")
    for name, found in seconds.items():
        shown = ", ".join(f"{100 * one:.2f}" for one in accuracies[name])
        share = ratio(found, seconds[first])
        print(f"| {name} | {spread(found)} | {share:.3f} | {shown} % | {mean(accuracies[name]):.2%} |")
    print_json(seconds=seconds, accuracies=accuracies)


if __name__ == "__main__":
    main()
