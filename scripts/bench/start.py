"""What the start of every command costs, beside `import torch` alone and beside another build of trainkit.

python scripts/bench/start.py --root data --other PYTHON --rounds 5

PYTHON is that of an environment with the other build. Told is processor time (user and system), which other programs
on the machine move less than the clock; with one thread, because threads that wait burn as much as those that work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image
from timing import print_json, ratio, rounds, spread

TORCH = "import os, torch; os._exit(0)"
FIRST_STEP = """
import os
try:
    from trainkit.training import loop
    from trainkit.cli.main import main
except ImportError:  # before November 2026
    from trainkit import loop
    from trainkit.cli import main

train_steps = loop.train_steps

def only_one(*arguments):
    next(train_steps(*arguments))
    os._exit(0)

loop.train_steps = only_one
main()
"""
CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = 1000
# Read-only environments apart, Python keeps the bytecode of what it imports.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def processor_time(words: list[str], cwd: Path) -> float:
    """Seconds of a process and of what it started."""
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(words, cwd=cwd, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def sides(python: str, place: Path, root: Path) -> dict[str, Callable[[], float]]:
    """What is measured of one build, in a folder of its own."""
    place.mkdir()
    Image.new("L", (28, 28), 200).save(place / "one.png")
    smoke, mlp = CONFIGS / "smoke.yaml", [str(CONFIGS / "mnist_mlp.yaml"), f"data.root={root}"]
    trainkit = [python, "-m", "trainkit"]
    processor_time([*trainkit, "train", *mlp, "train.max_steps=1", "--run-dir", "run"], place)
    for number in range(RUNS):
        copy = place / "many" / f"{number:04}"
        copy.mkdir(parents=True)
        for file in ("config.yaml", "metrics.jsonl", "run.json"):
            shutil.copy(place / "run" / file, copy)
    best = "run/checkpoints/best.pt"
    commands = {
        "`train configs/smoke.yaml`": [*trainkit, "train", str(smoke), "--quiet"],
        "`train configs/mnist_mlp.yaml` to the end of the first step": [python, "-c", FIRST_STEP, "train", *mlp],
        "`check configs/smoke.yaml`": [*trainkit, "check", str(smoke)],
        "`eval` of the MLP": [*trainkit, "eval", "--ckpt", best],
        "`predict` of one picture": [*trainkit, "predict", "--ckpt", best, "one.png"],
        f"`runs` over {RUNS:,} runs": [*trainkit, "runs", "many"],
        "`--help`": [*trainkit, "--help"],
    }
    return {name: partial(processor_time, words, place) for name, words in commands.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--other", default=sys.executable, help="the Python of another build")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, root = Path(folder), Path(options.root).absolute()
        other, here = (sides(options.other, place / "other", root), sides(sys.executable, place / "here", root))
        torch = partial(processor_time, [sys.executable, "-c", TORCH], place)
        every = {"torch": torch, **{f"other {name}": side for name, side in other.items()}, **here}
        rounds(every, 1)  # files and bytecode are there from here on
        found = rounds(every, options.rounds)
    print(f"`import torch` alone: {spread(found['torch'])} s\n")
    print("| what | the other build, s | this build, s | of the other | of `import torch` |\n|-|-|-|-|-|")
    for name in here:
        before, now = found[f"other {name}"], found[name]
        ratios = f"{ratio(now, before):.2f} | {ratio(now, found['torch']):.2f}"
        print(f"| {name} | {spread(before)} | {spread(now)} | {ratios} |")
    print_json(seconds=found)


if __name__ == "__main__":
    main()
