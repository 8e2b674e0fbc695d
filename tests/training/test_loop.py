"""The loop's arithmetic and manners."""

from __future__ import annotations

import gc
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.conftest import MakeExperiment, equal
from trainkit import register
from trainkit.config import registry
from trainkit.core.device import Precision
from trainkit.core.errors import ConfigError, DivergedError
from trainkit.core.records import EpochRecord, EvalRecord, Record, TrainRecord
from trainkit.data import Batch, Split, TensorSource
from trainkit.experiment import building
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.dry_run import evaluating
from trainkit.runs.run import train
from trainkit.tasks import Task
from trainkit.training import loop
from trainkit.training.loop import Parts, Plan, due, evaluate, fit, train_steps
from trainkit.training.losses import LossConfig, LossFn, LossOutput
from trainkit.training.progress import Progress


def built(experiment: ExperimentConfig) -> tuple[Parts, Plan]:
    _, data, _ = building.open_data(experiment)
    return building.build(experiment, data, torch.device("cpu"))


class Heard:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)


def fitted(experiment: ExperimentConfig) -> tuple[Parts, list[Record]]:
    parts, plan = built(experiment)
    heard = Heard()
    fit(parts, plan, Progress(), sink=heard, save=lambda best: None, stop=lambda: False)
    return parts, heard.records


@pytest.mark.parametrize(
    ("step", "every", "last", "expected"),
    [(0, 1, False, False), (0, 1, True, False), (3, 3, False, True), (4, 3, False, False), (4, 3, True, True)],
)
def test_due(step: int, every: int, last: bool, expected: bool) -> None:
    assert due(step, every=every, last=last) is expected


def test_accumulated_batches_equal_one_big_batch(make: MakeExperiment) -> None:
    plain = {"model": {"name": "mlp"}, "optimizer": {"name": "sgd", "lr": 0.1}, "data": {"samples": 152}}
    # 120 samples: batches of 16 with a last one of 8, in groups of 4: 64 + 56
    small, _ = fitted(make(**plain, train={"accumulate": 4, "epochs": 2}))
    big, _ = fitted(make(**plain, loader={"batch_size": 64}, train={"epochs": 2}))
    for one, other in zip(small.model.parameters(), big.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_clipping_bounds_the_update(precision: str, make: MakeExperiment) -> None:
    experiment = make(optimizer={"name": "sgd", "lr": 1.0}, train={"clip_norm": 1e-3, "precision": precision})
    parts, plan = built(experiment)
    before = [parameter.detach().clone() for parameter in parts.model.parameters()]
    output = next(train_steps(parts, plan, Progress()))
    after = [parameter.detach() for parameter in parts.model.parameters()]
    moved = sum(float((a - b).square().sum()) for a, b in zip(before, after, strict=True)) ** 0.5
    assert output.grad_norm is not None
    assert float(output.grad_norm) > 1e-3
    assert moved == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_average_is_of_the_weights_after_every_step(precision: str, make: MakeExperiment) -> None:
    parts, plan = built(make(train={"ema": 0.5, "accumulate": 2, "precision": precision}))
    assert parts.ema
    expected = [parameter.detach().clone() for parameter in parts.model.parameters()]
    for step, _ in enumerate(islice(train_steps(parts, plan, Progress()), 6), 1):
        keep = min(0.5, (1 + step) / (10 + step))
        for average, parameter in zip(expected, parts.model.parameters(), strict=True):
            average.mul_(keep).add_(parameter.detach(), alpha=1 - keep)
    for average, found in zip(expected, parts.ema.model.parameters(), strict=True):
        torch.testing.assert_close(found, average, rtol=1e-5, atol=1e-7)


def test_the_fast_path_computes_what_the_plain_one_does(make: MakeExperiment) -> None:
    """channels_last, the fused optimizer and the pool before the activation, against a loop without any of them."""
    parts, plan = built(make(model={"dropout": 0.0}))
    plain = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 8), nn.ReLU(),
        nn.Linear(8, 4),
    )  # fmt: skip
    for one, other in zip(plain.parameters(), parts.model.parameters(), strict=True):
        one.data.copy_(other.data)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01, foreach=False, fused=False)
    for batch in parts.train.epoch(0):
        optimizer.zero_grad()
        prepared = parts.prepare(batch, 0)
        nn.functional.cross_entropy(plain(prepared.inputs.contiguous()), prepared.targets).backward()
        optimizer.step()
    for _ in islice(train_steps(parts, plan, Progress()), len(parts.train)):
        pass
    for one, other in zip(plain.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_learns_and_keeps_fp32_weights(make: MakeExperiment, precision: str) -> None:
    experiment = make(train={"precision": precision, "epochs": 8}, model={"name": "mlp"}, data={"samples": 500})
    parts, records = fitted(experiment)
    losses = [record.loss for record in records if isinstance(record, TrainRecord)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in parts.model.parameters())
    if precision == "fp16":
        assert parts.precision.scaler is not None
        assert parts.precision.scaler.get_scale() > 1


class Reads(TorchDispatchMode):
    """Counts what makes the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_gradients_that_always_overflow_fp16_end_the_run(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    backward = Precision.backward

    def overflowing(precision: Precision, loss: torch.Tensor) -> None:
        backward(precision, loss * 1e36)

    monkeypatch.setattr(Precision, "backward", overflowing)
    with pytest.raises(DivergedError, match=r"overflowed fp16 at every step .*; use train\.precision=bf16"):
        train(make(train={"epochs": 4, "precision": "fp16"}))


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ({}, {"clip_norm": 1.0, "accumulate": 2}),
        ({}, {"precision": "bf16", "ema": 0.9}),
        ({"name": "digits", "augment": [{"name": "random_crop", "padding": 1}, "random_horizontal_flip"]}, {}),
    ],
)
def test_a_step_reads_nothing_back(data: dict[str, Any], options: dict[str, Any], make: MakeExperiment) -> None:
    parts, plan = built(make(data=data, train=options))
    steps = train_steps(parts, plan, Progress())
    next(steps)
    with Reads() as reads:
        for _ in range(3):
            next(steps)
    assert reads.count == 0


def test_one_read_per_log_interval(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    original = torch.Tensor.tolist

    def tolist(self: torch.Tensor) -> Any:
        nonlocal reads
        reads += 1
        return original(self)

    parts, plan = built(make(data={"val": 0, "samples": 128}, log={"every": 3}, train={"epochs": 1}))
    monkeypatch.setattr(torch.Tensor, "tolist", tolist)
    heard = Heard()
    with Reads() as scalars:
        fit(parts, plan, Progress(), sink=heard, save=lambda best: None, stop=lambda: False)
    # steps 3, 6 and the end of the epoch at 8; the save at the end finds nothing unread
    assert sum(isinstance(record, TrainRecord) for record in heard.records) == 3
    assert reads == 3
    assert scalars.count == 0


def own_calls(steps: int, make: MakeExperiment) -> int:
    """How many functions of trainkit a training of so many steps calls."""
    parts, plan = built(make(data={"name": "digits", "val": 0}, train={"max_steps": steps}, log={"every": 1000}))
    package, calls = str(Path(loop.__file__).parents[1]), 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename.startswith(package)

    sys.setprofile(count)
    try:
        fit(parts, plan, Progress(), sink=Heard(), save=lambda best: None, stop=lambda: False)
    finally:
        sys.setprofile(None)
    return calls


def test_the_host_does_little_in_a_step(make: MakeExperiment) -> None:
    assert (own_calls(20, make) - own_calls(10, make)) / 10 <= 45


def test_a_step_leaves_nothing_in_memory(make: MakeExperiment) -> None:
    few = make(data={"val": 0}, loader={"batch_size": 1}, train={"epochs": 4}, log={"every": 1000})
    parts, plan = built(few)
    objects: list[int] = []

    class Counting:
        def write(self, record: Record) -> None:
            if isinstance(record, TrainRecord):
                gc.collect()
                objects.append(len(gc.get_objects()))

    fit(parts, plan, Progress(), sink=Counting(), save=lambda best: None, stop=lambda: False)
    assert len(objects) == 4
    assert objects[-1] - objects[1] < 40  # in 320 steps


def test_evaluation_counts_samples_not_batches(make: MakeExperiment) -> None:
    experiment = make(data={"test_samples": 50}, metrics=["accuracy", {"name": "accuracy", "top_k": 2}])
    _, data, _ = building.open_data(experiment)
    parts, _ = building.build(experiment, data, torch.device("cpu"))
    assert data.test is not None
    results = []
    for size in (50, 16, 1):
        loader = ExperimentConfig.from_plain(
            {**experiment.to_plain(), "loader": {"eval_batch_size": size}}
        ).loader.eval_loader(data.test, torch.device("cpu"))
        results.append(evaluate(parts, loader))
    for result in results[1:]:
        assert result == pytest.approx(results[0], rel=1e-5)


def test_evaluation_restores_the_mode_and_touches_nothing() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with evaluating(model):
        assert not model[1].training
        model(torch.randn(4, 3))
    assert [module.training for module in model.modules()] == [True, True, True]
    assert equal(before, model.state_dict())
    model.eval()
    with evaluating(model):
        pass
    assert not model.training


def test_batch_norm_with_a_last_batch_of_one_is_refused_early(make: MakeExperiment) -> None:
    model = {
        "name": "sequential",
        "layers": ["flatten", {"name": "linear", "out_features": 8}, "batch_norm1d", "linear"],
    }
    experiment = make(model=model, data={"val": 0, "samples": 129})
    with pytest.raises(Exception, match=r"leaves a last batch of 1 sample.*loader\.drop_last=true or"):
        built(experiment)
    built(make(model=model, data={"val": 0, "samples": 129}, loader={"drop_last": True}))


def test_waiting_for_data_is_told_from_training(make: MakeExperiment) -> None:
    parts, plan = built(make(data={"val": 0, "samples": 32}, train={"epochs": 1, "accumulate": 2}))
    loader = parts.train
    batches = list(loader.epoch(0))

    def slowly(epoch: int, *, start: int) -> Iterator[Batch]:
        for batch in batches:
            time.sleep(0.05)
            yield batch

    loader.epoch = slowly  # type: ignore[method-assign, assignment]
    heard = Heard()
    fit(parts, plan, Progress(), sink=heard, save=lambda best: None, stop=lambda: False)
    [epoch] = [record for record in heard.records if isinstance(record, EpochRecord)]
    assert epoch.waiting * epoch.elapsed_s >= 0.1
    assert 0.1 / epoch.elapsed_s <= epoch.waiting < 1


def test_a_step_that_is_left_out_leaves_no_mark(make: MakeExperiment) -> None:
    model = {"name": "cnn", "channels": [4], "norm": "batch", "hidden": []}
    parts, plan = built(make(model=model, train={"epochs": 1, "on_nonfinite": "skip", "max_skipped": 100}))
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}

    def poisoned(batch: Batch, epoch: int | None) -> Batch:
        return parts.prepare(batch, epoch)._replace(inputs=torch.full((len(batch.index), 1, 8, 8), torch.nan))

    heard = Heard()
    ruined = replace(parts, prepare=poisoned, val=None)
    with pytest.raises(DivergedError, match="not finite in 8 of 8 steps, which were skipped"):
        fit(ruined, plan, Progress(), sink=heard, save=lambda best: None, stop=lambda: False)
    assert equal(parts.model.state_dict(), before)
    [epoch] = [record for record in heard.records if isinstance(record, EpochRecord)]
    assert math.isnan(epoch.loss)


class Counted(LossConfig):
    """Cross-entropy that ignores class 0, as a segmentation ignores pixels."""

    name: Literal["counted"] = "counted"
    divisible: ClassVar[bool] = True

    def num_outputs(self, target: Task) -> int:
        return target.size

    def build(self, target: Task) -> LossFn:
        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            outputs = model(batch.inputs)
            real = batch.targets != 0
            each = nn.functional.cross_entropy(outputs, batch.targets, reduction="none")
            return LossOutput.of_sum((each * real).sum(), real.sum(), outputs)

        return loss_fn


class WholeBatch(Counted):
    name: Literal["whole_batch"] = "whole_batch"  # type: ignore[assignment]
    divisible = False


@pytest.fixture
def own_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_families", {family: dict(known) for family, known in registry._families.items()})
    register("loss")(Counted)
    register("loss")(WholeBatch)


COUNTED: dict[str, Any] = {
    "loss": {"name": "counted"},
    "model": {"name": "mlp"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "data": {"samples": 152},
    "log": {"every": 1, "tensorboard": False},
}
SMALL, BIG = {"batch_size": 16, "eval_batch_size": 5}, {"batch_size": 64, "eval_batch_size": 32}


@pytest.mark.usefixtures("own_losses")
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.1}, {"on_nonfinite": "skip"}])
def test_accumulated_batches_of_unequal_counts_equal_one_big_batch(make: MakeExperiment, options: Any) -> None:
    small, heard = fitted(make(**COUNTED, loader=SMALL, train={"accumulate": 4, "epochs": 2, **options}))
    big, other = fitted(make(**COUNTED, loader=BIG, train={"epochs": 2, **options}))
    for one, same in zip(small.model.parameters(), big.model.parameters(), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-5, atol=1e-6)
    for record, there in zip(heard, other, strict=True):
        if isinstance(record, TrainRecord) and isinstance(there, TrainRecord):
            assert (record.loss, record.grad_norm) == pytest.approx((there.loss, there.grad_norm), rel=1e-5)
        if isinstance(record, EvalRecord) and isinstance(there, EvalRecord):
            assert record.metrics == pytest.approx(there.metrics, rel=1e-5)


def ignoring(parts: Parts, first: int) -> Parts:
    """The same where so many samples, from the first one on, are ignored."""
    seen = 0

    def prepare(batch: Batch, epoch: int | None) -> Batch:
        nonlocal seen
        places = torch.arange(seen, seen + len(batch.index))
        seen += len(batch.index)
        batch = parts.prepare(batch, epoch)
        return batch._replace(targets=batch.targets.where(places >= first, 0))

    return replace(parts, prepare=prepare)


@pytest.mark.usefixtures("own_losses")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_first_batch_in_which_nothing_counts(make: MakeExperiment, precision: str) -> None:
    small, plan = built(make(**COUNTED, loader=SMALL, train={"accumulate": 4, "precision": precision}))
    big, whole = built(make(**COUNTED, loader=BIG, train={"precision": precision}))
    output = next(train_steps(ignoring(small, 16), plan, Progress()))
    expected = next(train_steps(ignoring(big, 16), whole, Progress()))
    torch.testing.assert_close(output.loss, expected.loss, rtol=1e-3, atol=0)
    for one, same in zip(small.model.parameters(), big.model.parameters(), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-4 if precision == "fp16" else 1e-6)


@pytest.mark.usefixtures("own_losses")
def test_what_counts_is_not_read_back(make: MakeExperiment) -> None:
    parts, plan = built(make(**COUNTED, train={"accumulate": 2, "clip_norm": 1.0}))
    steps = train_steps(parts, plan, Progress())
    next(steps)
    with Reads() as reads:
        next(steps)
    assert reads.count == 0


@pytest.mark.usefixtures("own_losses")
@pytest.mark.parametrize("accumulate", [1, 4])
def test_where_nothing_counts_the_loss_is_0_and_nothing_is_learned(make: MakeExperiment, accumulate: int) -> None:
    parts, plan = built(make(**COUNTED, loader=SMALL, train={"accumulate": accumulate, "on_nonfinite": "skip"}))
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}
    output = next(train_steps(ignoring(parts, 1000), plan, Progress()))
    assert (float(output.loss), output.updated) == (0, True)
    assert equal(parts.model.state_dict(), before)
    found = evaluate(ignoring(parts, 1000), parts.train)
    assert found is not None
    assert found["loss"] == 0


@pytest.mark.usefixtures("own_losses")
def test_a_loss_of_the_whole_batch_is_not_accumulated(make: MakeExperiment) -> None:
    built(make(**{**COUNTED, "loss": {"name": "whole_batch"}}))
    with pytest.raises(ConfigError) as caught:
        built(make(**{**COUNTED, "loss": {"name": "whole_batch"}}, train={"accumulate": 2}))
    assert str(caught.value) == (
        "train.accumulate: the loss 'whole_batch' is one over the whole batch, not the mean of those of smaller ones; "
        "use train.accumulate=1 or a larger loader.batch_size"
    )


class Nested(nn.Module):
    """It takes and gives several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {"logits": self.layer(inputs["picture"].flatten(1)), "sizes": (inputs["size"], None)}


class Sizes:
    """A metric of another part of the outputs."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def update(self, outputs: Any, targets: Any) -> None:
        self.found += outputs["sizes"][0].tolist()
        assert [float(one.sum()) for one in targets["boxes"]] == outputs["sizes"][0].tolist()

    def compute(self) -> torch.Tensor:
        return torch.tensor(sum(self.found))

    def reset(self) -> None:
        self.found = []


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
def test_the_loop_takes_nests(make: MakeExperiment, num_workers: int) -> None:
    experiment = make(optimizer={"name": "sgd", "lr": 0.1}, loader={"num_workers": num_workers})
    parts, plan = built(experiment)
    sizes = torch.arange(128) % 5
    targets = {"label": sizes % 4, "boxes": [torch.ones(int(size)) for size in sizes]}
    split = Split.whole(TensorSource({"picture": torch.rand(128, 8, 8), "size": sizes}, targets))

    def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
        outputs = model(batch.inputs)
        return LossOutput(nn.functional.cross_entropy(outputs["logits"], batch.targets["label"]), outputs)

    model = Nested()
    nested = replace(
        parts,
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        loss_fn=loss_fn,
        metrics={"sizes": Sizes()},
        right=None,
        prepare=lambda batch, epoch: batch.to(parts.device),
        train=experiment.loader.train_loader(split, 0, parts.device),
    )
    seen: list[int] = []
    before = evaluate(nested, experiment.loader.eval_loader(split, parts.device))
    assert sum(output.samples for output in islice(train_steps(nested, plan, Progress()), 8)) == 128
    after = evaluate(
        nested,
        experiment.loader.eval_loader(split, parts.device),
        watch=lambda batch, outcome: seen.extend(outcome.outputs["sizes"][0].tolist()),
    )
    assert before is not None
    assert after is not None
    assert after["sizes"] == before["sizes"] == float(sizes.sum())
    assert after["loss"] != before["loss"]
    assert seen == sizes.tolist()


STILL: dict[str, Any] = {"optimizer": {"name": "sgd", "lr": 1e-20}, "model": {"name": "mlp", "hidden": [8]}}
"""So that training sees what evaluation sees."""


@pytest.mark.parametrize(
    ("sections", "metric"),
    [
        ({"train": {"epochs": 1}}, "accuracy"),
        ({"train": {"epochs": 1, "accumulate": 3}}, "accuracy"),
        ({"train": {"epochs": 1}, "data": {"target": "multilabel"}, "loss": "bce_with_logits"}, "accuracy"),
        ({"train": {"epochs": 1}, "metrics": ["f1"]}, None),
        ({"train": {"epochs": 1}, "data": {"target": "regression"}, "loss": "mse"}, None),
        ({"train": {"epochs": 1}, "data": {"name": "digits", "augment": [{"name": "mixup"}]}}, None),
    ],
)
def test_the_accuracy_of_training_is_told_without_a_pass_of_its_own(
    sections: dict[str, Any], metric: str | None, make: MakeExperiment
) -> None:
    experiment = make(**STILL, **sections)
    parts, records = fitted(experiment)
    _, data, _ = building.open_data(experiment)
    measured = evaluate(parts, experiment.loader.eval_loader(data.train, torch.device("cpu")))
    assert measured is not None
    [told] = [record.accuracy for record in records if isinstance(record, EpochRecord)]
    assert told == (None if metric is None else pytest.approx(measured[metric]))
