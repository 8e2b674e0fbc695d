"""Where the time of a step goes: from what the machine can do to what the whole command takes.

    python scripts/bench/ladder.py configs/mnist_cnn.yaml data.root=data train.precision=fp32
    python scripts/bench/ladder.py configs/mnist_mlp.yaml data.root=data train.precision=bf16

The rungs are measured in interleaved rounds in one process, on the model, loss, optimizer, batch size and data of the
config:

    plain      a step by hand on made-up batches: contiguous, fp32, the optimizer as torch builds it by default
    step       a step by hand on made-up batches, with trainkit's model, layout, precision and optimizer
    data       the same by hand with the real samples, where they are in memory and have no random transforms: shuffled,
               gathered and normalised in three lines; elsewhere with trainkit's loader and transforms
    trainkit   `fit`, with its records
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from timing import print_json, ratio, rounds, spread
from torch.utils.flop_counter import FlopCounterMode

from trainkit.core import device as devices
from trainkit.core.records import Record
from trainkit.data import Batch, Data, TensorSource
from trainkit.experiment.building import build, open_data
from trainkit.experiment.loading import load
from trainkit.experiment.schema import ExperimentConfig
from trainkit.training.loop import Parts, Plan, fit
from trainkit.training.progress import Progress


class Deaf:
    def write(self, record: Record) -> None:
        pass


def peak(dtype: torch.dtype) -> float:
    """GFLOP/s of a large matrix product, the best of some."""
    one = torch.randn(1024, 1024).to(dtype)
    best = float("inf")
    for _ in range(20):
        begin = time.perf_counter()
        one @ one
        best = min(best, time.perf_counter() - begin)
    return 2 * 1024**3 / best / 1e9


def made_up(parts: Parts, count: int) -> list[Batch]:
    """Batches as the model sees them, of the real distribution, more than the cache holds."""
    loader = parts.train.epoch(0)
    return [parts.prepare(batch, 0) for batch in islice(loader, count)]


def real(parts: Parts, data: Data, augmented: bool) -> Iterator[Batch]:
    """An epoch of real batches, without trainkit where that can be."""
    split, size = data.train, parts.train.batches.batch_size
    if augmented or not isinstance(split.source, TensorSource) or not data.spec.input.pictures:
        yield from (parts.prepare(batch, 0) for batch in parts.train.epoch(0))
        return
    given = data.spec.input.mean or [0.0], data.spec.input.std or [1.0]
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in given)
    inputs, targets, scale, shift = split.source.inputs, split.source.targets, 1 / (255 * std), -mean / std
    for index in split.index[torch.randperm(len(split))].split(size):
        pixels = inputs.index_select(0, index).to(torch.float32, memory_format=torch.channels_last)
        yield Batch(torch.addcmul(shift, pixels, scale), targets[index], index)


def by_hand(parts: Parts, batches: Callable[[], object], steps: int, optimizer: torch.optim.Optimizer) -> float:
    """Seconds per step."""
    parts.model.train()
    begin = time.perf_counter()
    for batch in islice(batches(), steps):  # type: ignore[call-overload]
        optimizer.zero_grad(set_to_none=True)
        with parts.precision.autocast():
            loss = parts.loss_fn(parts.model, batch).loss
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - begin) / steps


def of_trainkit(parts: Parts, plan: Plan, steps: int) -> float:
    begin = time.perf_counter()
    short = replace(plan, max_steps=steps, eval_every=10**9, save_every=10**9)
    fit(replace(parts, val=None), short, Progress(), sink=Deaf(), save=lambda best: None, stop=lambda: False)
    return (time.perf_counter() - begin) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--command", action="store_true", help="also run the whole command, three times")
    options = parser.parse_args()
    experiment = load(options.config, options.overrides)
    device = devices.select("cpu")
    experiment, data, _ = open_data(experiment)

    def fresh(other: ExperimentConfig = experiment) -> tuple[Parts, Plan]:
        return build(other, data, device)

    steps = min(options.steps, fresh()[1].batches_per_epoch)
    batch_size = experiment.loader.batch_size
    plain, _ = fresh(ExperimentConfig.from_plain({**experiment.to_plain(), "train": {"precision": "fp32"}}))
    plain.model.to(memory_format=torch.contiguous_format)
    default = type(plain.optimizer)(plain.model.parameters(), lr=experiment.optimizer.lr)
    resident = [batch._replace(inputs=batch.inputs.contiguous()) for batch in made_up(plain, steps)]
    (stepped, _), (fed, _), (ours, plan) = fresh(), fresh(), fresh()
    prepared = made_up(stepped, steps)
    augmented = bool(getattr(experiment.data, "augment", ()))
    sides = {
        "plain": lambda: by_hand(plain, lambda: iter(resident), steps, default),
        "step": lambda: by_hand(stepped, lambda: iter(prepared), steps, stepped.optimizer),
        "data": lambda: by_hand(fed, lambda: real(fed, data, augmented), steps, fed.optimizer),
        "trainkit": lambda: of_trainkit(ours, plan, steps),
    }
    rounds(sides, 1)  # warm-up
    found = rounds(sides, options.rounds)
    with FlopCounterMode(display=False) as counter:
        by_hand(stepped, lambda: iter(prepared), 1, stepped.optimizer)
    gflop = counter.get_total_flops() / 1e9
    dtype = torch.bfloat16 if stepped.precision.name == "bf16" else torch.float32
    peaks = {str(kind).removeprefix("torch."): round(peak(kind), 1) for kind in (torch.float32, torch.bfloat16)}
    print(f"{options.config.name} {' '.join(options.overrides)}: {gflop:.3f} GFLOP a step of {batch_size}")
    print(f"machine peak, GFLOP/s: {peaks}\n")
    print("| rung | ms a step | samples/s | of the peak | of `step` |\n|-|-|-|-|-|")
    best = peaks[str(dtype).removeprefix("torch.")]
    for name, seconds in found.items():
        milliseconds = [1000 * value for value in seconds]
        middle = sorted(seconds)[len(seconds) // 2]
        print(
            f"| {name} | {spread(milliseconds, 3)} | {batch_size / middle:,.0f} | {gflop / middle / best:.1%} "
            f"| {ratio(seconds, found['step']):.3f} |"
        )
    own = sorted((a - b) * 1e6 for a, b in zip(found["trainkit"], found["data"], strict=True))[options.rounds // 2]
    print(
        f"\ntrainkit beyond the same loop by hand: {own:.0f} µs a step, {ratio(found['trainkit'], found['data']):.3f}"
    )
    commands = []
    for _ in range(3 if options.command else 0):
        with tempfile.TemporaryDirectory() as place:
            begin = time.perf_counter()
            words = [str(options.config), *options.overrides, "--run-dir", f"{place}/run", "-q"]
            subprocess.run([sys.executable, "-m", "trainkit", "train", *words], check=True, capture_output=True)
            commands.append(time.perf_counter() - begin)
            print(f"whole command: {commands[-1]:.1f} s")
    print_json(config=str(options.config), overrides=options.overrides, seconds=found, peaks=peaks, commands=commands)


if __name__ == "__main__":
    main()
