"""The same training by trainkit and by others, each as its own documentation writes it, in a process of its own.

    python scripts/bench/peers.py --root data --rounds 7
    python scripts/bench/peers.py --root data --model mlp --sides tutorial lightning_ trainkit_ bare

The programs are in `sides/`. Sides take turns, round after round. `fit` is training with an evaluation after each
epoch, `test` the evaluation at the end, `command` all of it from the start of Python to its end; ratios are medians of
the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timing import print_json, ratio, rounds, spread

SIDES = Path(__file__).absolute().parent / "sides"
ALL = ("tutorial", "lightning_", "ignite_", "skorch_", "keras_", "fastai_", "accelerate_", "bare", "trainkit_")


def run(side: str, words: list[str]) -> dict[str, Any]:
    """One run: what it printed last, the seconds of the whole command, and the most memory that it had."""
    name, *more = side.split()
    command = [sys.executable, str(SIDES / f"{name}.py"), *more, *words]
    with tempfile.TemporaryDirectory() as place:  # some leave files where they run
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{side}: {done.stderr}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return {**told, "command": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    parser.add_argument("--model", choices=["cnn", "mlp"], default="cnn")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--sides", nargs="+", default=ALL, help="programs, maybe with options: 'trainkit_ --precision bf16'"
    )
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in options.sides}

    def measured(side: str) -> float:
        words = [
            "--root",
            str(Path(options.root).absolute()),
            "--model",
            options.model,
            "--epochs",
            str(options.epochs),
        ]
        found = run(side, [*words, "--seed", str(len(results[side]))])
        results[side].append(found)
        print(f"{side:<24} {json.dumps(found)}", file=sys.stderr, flush=True)
        return found["fit"] + found["test"]

    epoch = rounds({side: (lambda side=side: measured(side)) for side in options.sides}, options.rounds)
    command = {side: [one["command"] for one in found] for side, found in results.items()}
    ours = next(side for side in options.sides if side.startswith("trainkit_"))
    samples = 55_000 * options.epochs
    print("| side | fit and test, s | of ours | samples/s | command, s | of ours | memory, MB | test accuracy |")
    print("|-|-|-|-|-|-|-|-|")
    for side, found in results.items():
        fit = statistics.median(one["fit"] for one in found)
        memory = statistics.median(one["memory"] for one in found)
        accuracy = statistics.mean(one["accuracy"] for one in found)
        print(
            f"| {side.replace('_', '')} | {spread(epoch[side])} | {ratio(epoch[side], epoch[ours]):.2f} "
            f"| {samples / fit:,.0f} | {spread(command[side], 1)} | {ratio(command[side], command[ours]):.2f} "
            f"| {memory:,.0f} | {accuracy:.2%} |"
        )
    print_json(model=options.model, epochs=options.epochs, load_at_end=os.getloadavg(), results=results)


if __name__ == "__main__":
    main()
