from __future__ import annotations

from typing import Any

import pytest
import torch

from trainkit.core.seeding import generator
from trainkit.data import Batch, Split
from trainkit.data.sources.synthetic import SyntheticConfig
from trainkit.data.transforms.pipeline import preparation
from trainkit.models.mlp import MlpConfig
from trainkit.training.losses import BceWithLogitsConfig, CrossEntropyConfig, LossConfig, MseConfig

CPU = torch.device("cpu")
SHAPES: list[Any] = [(20,), (12, 6), (1, 16, 16)]
LOSSES: dict[str, LossConfig] = {
    "classification": CrossEntropyConfig(),
    "multilabel": BceWithLogitsConfig(),
    "regression": MseConfig(),
}


def everything(split: Split | None) -> Batch:
    assert split is not None
    return split.take(torch.arange(len(split)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", LOSSES)
def test_shapes_and_types(shape: Any, target: Any) -> None:
    config = SyntheticConfig(shape=shape, target=target, size=4, samples=50, val=10, test_samples=7)
    data = config.build(3)
    assert data.spec == config.spec()
    assert data.spec.shape == shape
    assert data.spec.input.drawable == (len(shape) == 3)
    for split, count in ((data.train, 40), (data.val, 10), (data.test, 7)):
        batch = everything(split)
        assert batch.inputs.shape == (count, *shape)
        assert batch.inputs.dtype == (torch.uint8 if len(shape) == 3 else torch.float32)
        assert batch.targets.shape == ((count,) if target == "classification" else (count, 4))
        assert batch.targets.dtype == (torch.int64 if target == "classification" else torch.float32)


def test_same_for_a_seed() -> None:
    config = SyntheticConfig(samples=100)
    assert config.build(1).digests() == config.build(1).digests()
    assert not set(config.build(1).digests().values()) & set(config.build(2).digests().values())


def test_own_seed_fixes_the_samples_and_not_the_split() -> None:
    config = SyntheticConfig(samples=100, seed=7)
    first, second = config.build(1).digests(), config.build(2).digests()
    assert first["test"] == second["test"]
    assert first["val"] != second["val"]


def test_more_training_samples_leave_the_test_split_alone() -> None:
    few, many = (SyntheticConfig(samples=samples, seed=7).build(0).digests() for samples in (100, 200))
    assert few["test"] == many["test"]


def test_scale() -> None:
    for target in LOSSES:
        inputs = everything(SyntheticConfig(target=target, size=8, noise=0.0).build(0).train).inputs  # type: ignore[arg-type]
        assert inputs.square().mean().sqrt().item() == pytest.approx(1.0, rel=0.1)
    single = everything(SyntheticConfig(shape=(1,), target="regression", size=1).build(0).train)
    assert single.inputs.abs().max() < 10


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be >= 2 for classes, got 1"):
        SyntheticConfig(size=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("target", LOSSES)
def test_a_small_model_learns_it(shape: Any, target: Any) -> None:
    data = SyntheticConfig(shape=shape, target=target).build(0)
    loss = LOSSES[target]
    torch.manual_seed(0)
    model = MlpConfig(hidden=(64,)).build(data.spec, loss.num_outputs(data.spec.task))
    loss_fn, prepare = loss.build(data.spec.task), preparation(data.spec, (), 0, CPU)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    draws = generator(0, "draws")
    for _ in range(300):
        positions = torch.randint(len(data.train), (64,), generator=draws)
        optimizer.zero_grad()
        loss_fn(model, prepare(data.train.take(positions), 0)).loss.backward()
        optimizer.step()
    batch = prepare(everything(data.test), None)
    outcome = loss_fn(model, batch)
    if target == "regression":
        assert outcome.loss.item() < 0.05 * batch.targets.var(dim=0).mean().item()
    else:
        right = (
            outcome.outputs.argmax(1) == batch.targets
            if target == "classification"
            else (outcome.outputs > 0) == batch.targets
        )
        assert right.float().mean().item() > 0.9
