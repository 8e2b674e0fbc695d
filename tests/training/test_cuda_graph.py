"""Steps as graphs, with a recorder that keeps to the rules of CUDA's on the CPU: it repeats the same operations on the
same memory with the same numbers, whatever Python would do meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.conftest import MakeExperiment
from trainkit.core import seeding
from trainkit.experiment import building
from trainkit.training import loop
from trainkit.training.cuda_graph import WARM_UP, Recorded
from trainkit.training.loop import Parts, Plan, train_steps
from trainkit.training.progress import Progress
from trainkit.training.step import StepOutput

T = TypeVar("T")


class Operations(TorchDispatchMode):
    """Keeps what torch does below autograd, as CUDA sees it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def repeat(self) -> None:
        for func, args, kwargs, result in self.done:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class CpuRecorder:
    """What it records is done once, and undone."""

    def __init__(self, parts: Parts) -> None:
        self.parts, self.replays = parts, 0

    def aside(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, work: Callable[[], T]) -> Recorded[T]:
        state = [*self.parts.model.parameters(), *self.parts.model.buffers()]
        state += [one for kept in self.parts.optimizer.state.values() for one in kept.values()]
        before = [one.detach().clone() for one in state]
        try:
            with seeding.generators_restored(), Operations() as operations:
                result = work()
        finally:
            for one, value in zip(state, before, strict=True):
                one.data.copy_(value)

        def replay() -> None:
            self.replays += 1
            operations.repeat()

        return Recorded(result, replay)


def built(experiment: Any) -> tuple[Parts, Plan]:
    _, data, _ = building.open_data(experiment)
    return building.build(experiment, data, torch.device("cpu"))


def outputs(
    parts: Parts, plan: Plan, steps: int, monkeypatch: pytest.MonkeyPatch, *, graph: bool
) -> tuple[list[StepOutput], list[str], CpuRecorder]:
    """What so many steps gave, and what was said of them."""
    said: list[str] = []
    recorder = CpuRecorder(parts)
    monkeypatch.setattr(loop, "CudaRecorder", lambda device: recorder)
    made = train_steps(replace(parts, cuda_graph=graph), plan, Progress(), said.append)
    return list(islice(made, steps)), said, recorder


WITH_DROPOUT: dict[str, Any] = {"model": {"dropout": 0.3}, "data": {"samples": 152}}


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9}, "scheduler": {"name": "cosine"}},
        {"train": {"accumulate": 3, "clip_norm": 0.1, "epochs": 5}},
        {"train": {"ema": 0.9, "precision": "bf16"}, "scheduler": {"name": "step", "step_size": 1}},
        {"optimizer": {"name": "adamw", "lr": 0.01, "head_lr": 0.1}, "loader": {"sampler": "balanced"}},
        {
            "data": {"name": "digits_segmentation", "samples": 20},
            "model": {"name": "unet", "channels": [4, 8]},
            "loader": {"batch_size": 3},
        },
        {"data": {"name": "diabetes"}, "model": "mlp", "loss": "mse", "loader": {"batch_size": 64}},
    ],
    ids=["plain", "sgd", "accumulated", "averaged", "groups", "masks", "regression"],
)
def test_a_recorded_step_does_what_the_step_does(
    sections: dict[str, Any], make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, rates that move, and a last batch that is smaller."""
    experiment = make(**{**WITH_DROPOUT, **sections})
    found = []
    for graph in (False, True):
        parts, plan = built(experiment)
        made, said, recorder = outputs(parts, plan, min(plan.max_steps, 10), monkeypatch, graph=graph)
        assert said == []
        found.append((parts, made))
        assert graph is (recorder.replays > 0)
    (eager, plain), (recorded, replayed) = found
    for one, other in zip(plain, replayed, strict=True):
        torch.testing.assert_close(other.loss, one.loss, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(other.grad_norm, one.grad_norm, rtol=1e-4, atol=1e-6)
    models = [(eager.model, recorded.model)]
    models += [(eager.ema.model, recorded.ema.model)] if eager.ema and recorded.ema else []
    for first, second in models:
        for name, value in first.state_dict().items():
            torch.testing.assert_close(second.state_dict()[name], value, rtol=1e-3, atol=1e-5)
    rates = [[group["lr"] for group in parts.optimizer.param_groups] for parts in (eager, recorded)]
    assert rates[0] == rates[1]
    assert {type(rate) for rate in rates[1]} == {float}  # as in every checkpoint


def test_only_the_warm_up_and_odd_batches_are_launched_one_by_one(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, plan = built(make(data={"samples": 152, "val": 0.2}, train={"epochs": 3}))
    steps = 2 * plan.batches_per_epoch
    _, _, recorder = outputs(parts, plan, steps, monkeypatch, graph=True)
    odd = len([size for size in parts.train.sizes(0, 100) if size != 16])
    assert odd == 1
    updates, gradients = steps - WARM_UP, steps - WARM_UP - 2 * odd
    assert recorder.replays == updates + gradients


class Drawing(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) * (1 + random.random())


class Replacing(nn.Linear):
    mean: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mean", torch.zeros(inputs))

    def forward(self, inputs: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * inputs.detach().mean(0)
        return super().forward(inputs - self.mean)


class Reading(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs / max(1.0, float(inputs.abs().max())))


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Drawing, "the model draws random numbers from Python or NumPy"),
        (Replacing, "the model replaces its buffers in each step"),
        (Reading, "operation not permitted when stream is capturing"),
    ],
)
def test_what_a_graph_would_not_repeat_goes_on_as_always(
    layer: type[nn.Module], why: str, make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = []
    for graph in (False, True):
        parts, plan = built(make(model={"name": "mlp", "hidden": [8]}, train={"epochs": 3}))
        model: Any = nn.Sequential(nn.Flatten(), layer(64, 4))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.01)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        seeding.seed_global(0)
        changed = replace(parts, model=model, optimizer=optimizer)
        made, said, recorder = outputs(changed, plan, 8, monkeypatch, graph=graph)
        assert recorder.replays == 0
        assert said == ([f"train.cuda_graph: {why}; each operation is launched by itself"] if graph else [])
        losses.append([float(output.loss) for output in made])
    assert losses[0] == losses[1]


def test_an_update_that_cannot_be_recorded_leaves_the_rates_as_numbers(
    make: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Muon's step takes its rate to the host."""
    results = []
    for graph in (False, True):
        parts, plan = built(make(optimizer={"name": "muon", "lr": 0.01}, train={"epochs": 2}))
        made, said, _ = outputs(parts, plan, 8, monkeypatch, graph=graph)
        assert len(said) == graph
        assert all(isinstance(group["lr"], float) for group in parts.optimizer.param_groups)
        results.append([float(output.loss) for output in made])
    assert results[0] == results[1]


def test_where_there_are_no_graphs_it_is_told(make: MakeExperiment) -> None:
    for changes, why in (
        ({}, "the run is on cpu"),
        ({"on_nonfinite": "skip"}, "the run is on cpu"),
    ):
        experiment = make(train={"cuda_graph": True, **changes})
        _, data, _ = building.open_data(experiment)
        parts, plan = building.build(experiment, data, torch.device("cpu"))
        assert not parts.cuda_graph
        found = {one.code: one.text for one in building.warnings(experiment, data, parts, plan)}
        assert found["no-cuda-graph"] == f"train.cuda_graph: {why}; each operation is launched by itself"
