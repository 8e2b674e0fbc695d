"""How long it takes until the first step is done, beside the imports that no torch program can do without.

python scripts/bench/start.py --root data --rounds 7
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import print_json, ratio, rounds, spread

IMPORTS = "import os, torch, torch._dynamo; os._exit(0)"  # any optimizer imports the latter
FIRST_STEP = """
import os
from trainkit.training import loop
from trainkit.cli.main import main

train_steps = loop.train_steps

def only_one(*arguments):
    next(train_steps(*arguments))
    os._exit(0)

loop.train_steps = only_one
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        config = Path(place, "start.yaml")
        config.write_text(f"data: {{name: mnist, root: {Path(options.root).absolute()}}}\nmodel: mlp\n")

        def seconds(*words: str) -> float:
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=place)
            return time.perf_counter() - begin

        sides = {
            "`import torch, torch._dynamo`": lambda: seconds("-c", IMPORTS),
            "`trainkit train` to the end of the first step": lambda: seconds("-c", FIRST_STEP, "train", str(config)),
            "`--help`": lambda: seconds("-m", "trainkit", "--help"),
        }
        rounds(sides, 1)  # the files are in memory from here on
        found = rounds(sides, options.rounds)
    print("| what | seconds | beside the imports |\n|-|-|-|")
    imports = next(iter(found.values()))
    for name, times in found.items():
        print(f"| {name} | {spread(times)} | {ratio(times, imports):.2f} |")
    print_json(seconds=found)


if __name__ == "__main__":
    main()
