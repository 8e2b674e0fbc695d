"""Whether trainkit is right and fast on a GPU: checks first, then steps a second beside loops by hand and Lightning.

    python scripts/bench/gpu.py --out results
    python scripts/bench/gpu.py --out results --root data     # with MNIST instead of made-up pictures of its shape

Takes some minutes on one GPU. Every check and every measurement stands by itself: one that fails is written down with
its error, and the others go on. Writes `gpu.json` and `gpu.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from timing import machine, ratio, rounds, spread
from torch import Tensor
from torch.nn import functional

from trainkit.core import device as devices
from trainkit.core import seeding
from trainkit.core.records import Record, TrainRecord
from trainkit.experiment.building import build, open_data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs.run import train
from trainkit.training.loop import Parts, Plan, fit, train_steps
from trainkit.training.meter import Meter
from trainkit.training.progress import Progress

CNN = {"name": "cnn", "channels": [32, 64], "hidden": [128]}
MLP = {"name": "mlp", "hidden": [128]}
EVERYTHING = {"clip_norm": 1.0, "ema": 0.99, "accumulate": 2}


class Clock:
    """When training was recorded, which waits for the device."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def write(self, record: Record) -> None:
        if isinstance(record, TrainRecord):
            self.times.append(time.perf_counter())


class Bench:
    def __init__(self, device: torch.device, root: Path | None, place: Path) -> None:
        self.device, self.root, self.place = device, root, place

    def pictures(self) -> dict[str, Any]:
        """MNIST, or pictures of its shape that can be learned."""
        if self.root:
            return {"name": "mnist", "root": str(self.root), "val": 5000}
        return {"name": "synthetic", "shape": [1, 28, 28], "samples": 60_000, "test_samples": 10_000, "noise": 2.0}

    def experiment(self, **sections: Any) -> ExperimentConfig:
        plain = {"name": "gpu", "data": {"name": "digits"}, "model": CNN, "log": {"tensorboard": False}, **sections}
        plain["train"] = {"device": str(self.device), **plain.get("train", {})}
        return ExperimentConfig.from_plain(plain)

    def built(self, **sections: Any) -> tuple[Parts, Plan]:
        experiment, data, _ = open_data(self.experiment(**sections))
        return build(experiment, data, devices.select(str(self.device)))

    def steps(self, count: int, **sections: Any) -> tuple[Parts, list[float], list[str]]:
        """The losses of so many steps, and what was said of them."""
        said: list[str] = []
        parts, plan = self.built(**sections)
        outputs = islice(train_steps(parts, plan, Progress(), said.append), count)
        return parts, torch.stack([output.loss for output in outputs]).tolist(), said

    def command(self, *words: str, ends_with: int = 0) -> str:
        """What `trainkit` says."""
        done = subprocess.run([sys.executable, "-m", "trainkit", *words], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == ends_with, f"exit code {done.returncode}: {said[-2000:]}"
        return said

    # Checks: each gives what it saw.

    def same_accuracy_as_on_the_cpu(self) -> str:
        found = {}
        for device in ("cpu", str(self.device)):
            experiment = self.experiment(train={"device": device, "epochs": 3})
            result = train(experiment, run_dir=self.place / f"accuracy-{device.replace(':', '')}", quiet=True)
            found[device] = result.metrics["val/accuracy"]
        assert max(found.values()) - min(found.values()) < 0.03, found
        return str(found)

    def checkpoints_go_both_ways(self) -> str:
        said = []
        for first, second in (("cpu", str(self.device)), (str(self.device), "cpu")):
            run = self.place / f"both-{first.replace(':', '')}"
            train(self.experiment(train={"device": first, "epochs": 1}), run_dir=run, quiet=True)
            self.command("eval", "--ckpt", str(run / "checkpoints/best.pt"), "--device", second)
            said.append(self.command("train", "--resume", str(run), "train.epochs=2", "--device", second, "-q"))
        return "evaluated and resumed: " + "; ".join(text.strip().splitlines()[0] for text in said if text.strip())

    def exact_resume(self, **changes: Any) -> str:
        weights = []
        whole, cut = self.place / f"whole-{len(changes)}", self.place / f"cut-{len(changes)}"
        settings = {"deterministic": True, "epochs": 2, **changes}
        train(self.experiment(train=settings), run_dir=whole, quiet=True)
        train(self.experiment(train={**settings, "epochs": 1}), run_dir=cut, quiet=True)
        self.command("train", "--resume", str(cut), "train.epochs=2", "-q")
        for run in (whole, cut):
            weights.append(torch.load(run / "checkpoints/last.pt", map_location="cpu", weights_only=True)["model"])
        different = [name for name in weights[0] if not torch.equal(weights[0][name], weights[1][name])]
        assert not different, f"other bits in {different}"
        return "the same bits"

    def out_of_memory_ends_with_8(self) -> str:
        said = self.command(
            "train", str(self._config(loader={"batch_size": 10_000_000}, model={**CNN, "channels": [4096, 64]},
            data={"name": "synthetic", "shape": [1, 64, 64], "samples": 60_000})), "-q", ends_with=8,
        )  # fmt: skip
        return said.strip().splitlines()[-1]

    def _config(self, **sections: Any) -> Path:
        path = self.place / "config.yaml"
        path.write_text(json.dumps(self.experiment(**sections).to_plain()))  # which YAML can read
        return path

    def everything_at_once(self) -> str:
        data = {"name": "digits", "augment": ["mixup", {"name": "random_crop", "padding": 1}]}
        for precision in ("fp32", "tf32", "bf16", "fp16"):
            experiment = self.experiment(data=data, train={**EVERYTHING, "precision": precision, "epochs": 1})
            train(experiment, run_dir=self.place / f"all-{precision}", quiet=True)
        return "MixUp, random_crop, clipping, averaging and accumulation in fp32, tf32, bf16 and fp16"

    def nothing_is_read_back(self, **changes: Any) -> str:
        """Any wait of the host for the device raises, but for the meter's one at log points."""
        parts, plan = self.built(data=self.pictures(), train={**changes, "max_steps": 60}, log={"every": 25})
        read, reads = Meter.read, []

        def allowed(meter: Meter, *arguments: Any, **keywords: Any) -> float:
            torch.cuda.set_sync_debug_mode("default")
            reads.append(meter.progress.step)
            try:
                return read(meter, *arguments, **keywords)
            finally:
                torch.cuda.set_sync_debug_mode("error")

        quiet = replace(parts, val=None)
        steps = train_steps(quiet, plan, Progress())
        next(steps)  # what is set up once may wait
        torch.cuda.set_sync_debug_mode("error")
        Meter.read = allowed  # type: ignore[method-assign]
        try:
            fit(quiet, plan, Progress(), sink=Clock(), save=lambda best: None, stop=lambda: False)
        finally:
            torch.cuda.set_sync_debug_mode("default")
            Meter.read = read  # type: ignore[method-assign]
        return f"60 steps, read at {reads}"

    def graph_equals_eager(self, **sections: Any) -> str:
        settings = sections.pop("train", {})
        sections = {"scheduler": "cosine", "model": {**CNN, "dropout": 0.3}, **sections}
        _, eager, _ = self.steps(30, train={**settings, "max_steps": 60}, **sections)
        _, graph, said = self.steps(30, train={**settings, "max_steps": 60, "cuda_graph": True}, **sections)
        assert not said, said
        torch.testing.assert_close(torch.tensor(graph), torch.tensor(eager), rtol=2e-3, atol=1e-4)
        return f"loss after 30 steps {eager[-1]:.6f} and {graph[-1]:.6f}"

    def generators_of_the_second_device(self) -> str:
        if torch.cuda.device_count() < 2:
            return "there is only one"
        device = torch.device("cuda:1")
        drawn = []
        for _ in range(2):
            seeding.reseed(device, 0, "step", 1)
            drawn.append(torch.rand(5, device=device))
        assert torch.equal(*drawn)
        return "reseeded"

    def checks(self) -> dict[str, Callable[[], str]]:
        graph = {"cuda_graph": True}
        return {
            "accuracy as on the CPU": self.same_accuracy_as_on_the_cpu,
            "checkpoints to and from the CPU": self.checkpoints_go_both_ways,
            "exact resume": self.exact_resume,
            "exact resume with graphs": partial(self.exact_resume, **graph),
            "out of memory ends with 8": self.out_of_memory_ends_with_8,
            "all of it, in all precisions": self.everything_at_once,
            "nothing is read back": self.nothing_is_read_back,
            "nothing is read back: clipping, averaging, accumulation": partial(self.nothing_is_read_back, **EVERYTHING),
            "nothing is read back with graphs": partial(self.nothing_is_read_back, **graph),
            "graph equals eager": self.graph_equals_eager,
            "graph equals eager: clipping, averaging, accumulation": partial(self.graph_equals_eager, train=EVERYTHING),
            "graph equals eager: SGD": partial(
                self.graph_equals_eager, optimizer={"name": "sgd", "lr": 0.01, "momentum": 0.9}
            ),
            "graph equals eager: bf16": partial(self.graph_equals_eager, train={"precision": "bf16"}),
            "generators of cuda:1": self.generators_of_the_second_device,
        }

    # Speed: each side gives seconds a step.

    def of_trainkit(self, steps: int, **sections: Any) -> Callable[[], float]:
        settings = {"max_steps": steps, **sections.pop("train", {})}
        parts, plan = self.built(data=self.pictures(), train=settings, log={"every": max(1, steps // 8)}, **sections)
        quiet = replace(parts, val=None)
        long = replace(plan, eval_every=10**9, save_every=10**9)

        def measure() -> float:
            clock = Clock()
            fit(quiet, long, Progress(), sink=clock, save=lambda best: None, stop=lambda: False)
            first, *_, last = clock.times  # steps are recorded before the first
            return (last - first) / (len(clock.times) - 1) / plan.log_every

        return measure

    def by_hand(self, steps: int, model: dict[str, Any], *, graph: bool) -> Callable[[], float]:
        """The best loop that one would write for this: samples on the device, a shuffled gather, fused Adam."""
        parts, _ = self.built(data=self.pictures(), model=model)
        net, device = parts.model.train(), self.device
        inputs = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, device=device)
        targets = torch.randint(0, 10, (60_000,), device=device)
        capturable = {"capturable": True} if graph else {}
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True, **capturable)
        order = torch.empty(64, dtype=torch.int64, device=device)

        def step() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            pixels = inputs.index_select(0, order).to(torch.float32, memory_format=torch.channels_last) / 255
            loss = functional.cross_entropy(net(pixels), targets.index_select(0, order))
            loss.backward()
            optimizer.step()
            return loss.detach()

        launch: Callable[[], object] = step
        if graph:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(5):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded):
                step()
            launch = recorded.replay

        def measure() -> float:
            batches = torch.randperm(60_000, device=device)[: 64 * (60_000 // 64)].view(-1, 64)
            with self._timed() as seconds:
                for number in range(steps):
                    order.copy_(batches[number % len(batches)])
                    launch()
            return seconds[0] / steps

        return measure

    def lightning(self, steps: int) -> Callable[[], float]:
        """Its defaults, on the loader of its tutorials."""
        import lightning

        parts, _ = self.built(data=self.pictures(), model=CNN)
        net, device = parts.model, self.device

        class Classifier(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = net

            def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
                loss = functional.cross_entropy(self.net(batch[0]), batch[1])
                self.log("train_loss", loss)
                return loss

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.Adam(self.parameters())

        data = torch.utils.data.TensorDataset(torch.rand(64 * steps, 1, 28, 28), torch.randint(0, 10, (64 * steps,)))
        loader = torch.utils.data.DataLoader(data, 64, shuffle=True, num_workers=2, pin_memory=True)

        def measure() -> float:
            where = {"accelerator": "gpu", "devices": [device.index or 0]} if device.type == "cuda" else {}
            trainer = lightning.Trainer(max_epochs=1, enable_progress_bar=False, enable_checkpointing=False,
                logger=False, enable_model_summary=False, **where)  # fmt: skip
            with self._timed() as seconds:
                trainer.fit(Classifier(), loader)
            return seconds[0] / steps

        return measure

    @contextmanager
    def _timed(self) -> Iterator[list[float]]:
        seconds: list[float] = []
        self._wait()
        begin = time.perf_counter()
        yield seconds
        self._wait()
        seconds.append(time.perf_counter() - begin)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def sides(self, steps: int) -> dict[str, Callable[[], Callable[[], float]]]:
        graph = {"cuda_graph": True}
        return {
            "CNN, a CUDA graph by hand": partial(self.by_hand, steps, CNN, graph=True),
            "CNN, a loop by hand": partial(self.by_hand, steps, CNN, graph=False),
            "CNN, trainkit": partial(self.of_trainkit, steps, model=CNN),
            "CNN, trainkit, cuda_graph": partial(self.of_trainkit, steps, model=CNN, train=graph),
            "CNN, trainkit, cuda_graph, bf16": partial(
                self.of_trainkit, steps, model=CNN, train={**graph, "precision": "bf16"}
            ),
            "CNN, Lightning": partial(self.lightning, steps),
            "MLP, a CUDA graph by hand": partial(self.by_hand, steps, MLP, graph=True),
            "MLP, trainkit": partial(self.of_trainkit, steps, model=MLP),
            "MLP, trainkit, cuda_graph": partial(self.of_trainkit, steps, model=MLP, train=graph),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--root", type=Path, help="folder that holds MNIST/raw")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=800, help="of a measurement: less than an epoch, divisible by 8")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    checks, seconds, errors = {}, {}, {}
    lines = [f"# {name}, torch {torch.__version__}", "", "| check | seen |", "|-|-|"]

    def write() -> None:
        (options.out / "gpu.md").write_text("\n".join(lines) + "\n")
        result = {"device": name, "checks": checks, "seconds": seconds, "errors": errors, "machine": machine()}
        (options.out / "gpu.json").write_text(json.dumps(result, indent=1))

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)
        write()

    with tempfile.TemporaryDirectory() as place:
        bench = Bench(device, options.root and options.root.absolute(), Path(place))
        for check, look in bench.checks().items():
            with devices.settings_restored(), seeding.generators_restored():
                try:
                    checks[check] = look()
                except Exception as error:
                    errors[check] = traceback.format_exc()
                    checks[check] = f"FAILED: {type(error).__name__}: {str(error).splitlines()[0][:300]}"
            say(f"| {check} | {checks[check]} |".replace("\n", " "))
        ready = {}
        for side, prepare in bench.sides(options.steps).items():
            try:
                ready[side] = prepare()
                ready[side]()
            except Exception as error:
                errors[side] = traceback.format_exc()
                ready.pop(side, None)
                say(f"\n{side}: {type(error).__name__}: {str(error).splitlines()[0][:300]}")
        seconds.update(rounds(ready, options.rounds))
    say("\n| batch 64 | µs a step | steps/s | of a graph by hand |\n|-|-|-|-|")
    for side, found in seconds.items():
        best = seconds.get(f"{side.partition(',')[0]}, a CUDA graph by hand")
        share = f"{ratio(best, found):.2f}" if best else ""
        middle = sorted(found)[len(found) // 2]
        say(f"| {side} | {spread([1e6 * one for one in found], 0)} | {1 / middle:,.0f} | {share} |")
    if errors:
        sys.exit(1)


if __name__ == "__main__":
    main()
