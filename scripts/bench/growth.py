"""How the cost of the whole command grows with the batch, the data, the model and the pictures on disk.

    python scripts/bench/growth.py --root data

Each line is one `trainkit train` in a process of its own: seconds of the command, training samples per second in its
last epoch, and the most memory that it had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pictures import pictures
from timing import print_json


def measured(place: Path, label: str, *words: str) -> dict[str, object]:
    config = place / "growth.yaml"
    config.write_text("model: mlp\noptimizer: {name: adam, lr: 1e-3}\n")
    run = place / f"run{time.monotonic_ns()}"
    command = [sys.executable, "-m", "trainkit", "train", str(config), *words, "--run-dir", str(run), "-q"]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    if status:
        sys.exit(f"{label}: {errors}")
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [record["wall"]["samples_per_s"] for record in records if record["kind"] == "epoch"]
    print(f"| {label} | {seconds:.1f} | {rates[-1]:,.0f} | {usage.ru_maxrss / 1000:,.0f} |", flush=True)
    return {"label": label, "seconds": seconds, "samples_per_s": rates, "memory_mb": usage.ru_maxrss / 1000}


def repeated(root: str, place: Path, times: int) -> Path:
    """MNIST several times over, as arrays. Made by another process: what this one has had at most would be counted as
    memory of those that it starts."""
    program = """
import sys, numpy as np
from torchvision.datasets import MNIST
data = MNIST(sys.argv[1], train=True)
inputs, times = data.data.numpy()[:, None], int(sys.argv[3])
np.savez(sys.argv[2], inputs=np.tile(inputs, (times, 1, 1, 1)), targets=np.tile(data.targets.numpy(), times))
"""
    path = place / f"mnist{times}.npz"
    subprocess.run([sys.executable, "-c", program, root, str(path), str(times)], check=True)
    return path


def jobs(root: str, place: Path) -> Iterator[dict[str, object]]:
    mnist = f"data={{name: mnist, root: {root}, val: 5000}}"
    cnn = "model={name: cnn, channels: [32, 64], hidden: [128]}"
    for size in (16, 64, 256, 1024):
        words = (mnist, cnn, "train.epochs=1", f"loader.batch_size={size}")
        yield measured(place, f"cnn, batch size {size}", *words)
    for hidden in (32, 128, 512, 2048):
        yield measured(place, f"mlp, {hidden} hidden", mnist, f"model.hidden=[{hidden}]", "train.epochs=1")
    for times in (1, 3, 10):
        data = f"data={{name: tensors, file: {repeated(root, place, times)}, val: 5000}}"
        yield measured(place, f"mlp, {times} x 60,000 samples", data, "train.epochs=1")
    for count in (1000, 3000, 10000):
        data = f"data={{name: image_folder, path: {pictures(place, count)}, size: 64, val: 0.1}}"
        words = (data, cnn, "train.epochs=2")
        yield measured(place, f"cnn, {count:,} JPEGs, 2 epochs", *words)
        yield measured(place, f"cnn, {count:,} JPEGs, 2 epochs, cache made", *words, "data.cache=true")
        yield measured(place, f"cnn, {count:,} JPEGs, 2 epochs, cache there", *words, "data.cache=true")
    extras = ("train.ema=0.999", "train.clip_norm=1", "train.early_stopping={}", "scheduler=cosine")
    for number in range(len(extras) + 1):
        words = (mnist, "train.epochs=1", *extras[:number])
        yield measured(place, f"mlp, {number} more component{'s' * (number != 1)}", *words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder that holds MNIST/raw")
    options = parser.parse_args()
    print("| job | command, s | samples/s | memory, MB |\n|-|-|-|-|")
    with tempfile.TemporaryDirectory() as place:
        os.environ["TRAINKIT_CACHE_DIR"] = f"{place}/cache"
        found = list(jobs(options.root, Path(place)))
    print_json(jobs=found)


if __name__ == "__main__":
    main()
