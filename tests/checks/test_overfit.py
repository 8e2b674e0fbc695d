from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.command import warm
from trainkit.checks.overfit import Learned, overfit, overfit_lines, samples_of
from trainkit.core.errors import DataError
from trainkit.data import Batch
from trainkit.experiment.building import Opened, open_experiment
from trainkit.experiment.schema import ExperimentConfig
from trainkit.tasks import Task

pytestmark = pytest.mark.usefixtures("one_thread")


def opened(**sections: Any) -> Opened:
    plain = {"data": {"name": "digits", "normalize": "auto"}, "model": "mlp", "optimizer": {"name": "adam", "lr": 1e-3}}
    return open_experiment(ExperimentConfig.from_plain({**plain, **sections}))


def learned(samples: int = 64, max_steps: int = 300, **sections: Any) -> Learned:
    return overfit(opened(**sections), samples=samples, max_steps=max_steps)


def test_a_tenth_is_memorised() -> None:
    found = learned(129)
    assert (found.samples, found.memorised, found.causes) == (128, True, ())
    assert found.score >= 0.99
    assert found.steps < 300
    assert found.losses[-1] < found.start


@pytest.mark.parametrize(
    "sections",
    [
        {"data": {"name": "digits", "normalize": "auto", "augment": ["random_erasing"]}},
        {"scheduler": {"name": "exponential", "gamma": 0.01}, "metrics": ["f1"], "checkpoint": {"monitor": "val/f1"}},
        {
            "train": {"limit_batches": 1, "epochs": 1, "early_stopping": {}},
            "loader": {"batch_size": 16, "drop_last": True},
        },
        {"data": "diabetes", "loss": "mse", "optimizer": {"name": "adam", "lr": 0.03}, "model": {"name": "mlp"}},
    ],
)
def test_what_makes_it_harder_is_left_out(sections: dict[str, Any]) -> None:
    assert learned(max_steps=2000 if sections.get("loss") else 300, **sections).memorised


@pytest.mark.parametrize(
    ("sections", "cause"),
    [
        (
            {"optimizer": {"name": "adam", "lr": 1e-9}},
            "optimizer.lr: the loss hardly moves; 1e-09 is probably too low: optimizer.lr=0.001",
        ),
        (
            {"optimizer": {"name": "adam", "lr": 10.0}},
            "optimizer.lr: the loss goes up and down; 10 is probably too high: optimizer.lr=0.001",
        ),
        (
            {"optimizer": {"name": "sgd", "lr": 1e12}, "loss": {"name": "cross_entropy"}},
            "optimizer.lr: the loss is no longer finite; 1e+12 is too high: optimizer.lr=1e+11",
        ),
        (
            {"model": {"name": "mlp", "hidden": [32], "dropout": 0.95}},
            "model: dropout of 0.95 works against memorising; set it to 0 for this test",
        ),
    ],
)
def test_the_likely_causes_are_named(sections: dict[str, Any], cause: str) -> None:
    found = learned(max_steps=100, **sections)
    assert not found.memorised
    assert cause in found.causes


def test_what_equal_inputs_with_other_labels_leave_to_be_learned() -> None:
    inputs = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.cat([torch.arange(40) % 2, torch.arange(40) % 2])
    targets[40:44] = 1 - targets[40:44]
    torch.save({"inputs": inputs.repeat(2, 1), "targets": targets}, "twice.pt")
    found = learned(80, 2000, data={"name": "tensors", "file": "twice.pt", "val": 0, "test": None})
    assert found.attainable == pytest.approx(0.95)
    assert found.memorised
    assert found.causes == (
        "data: some of the samples are equal to others of another class; 95.0% is all that can be right",
    )


def test_always_saying_no_is_not_memorising() -> None:
    """Though it is right 99 times of 100."""
    inputs = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    torch.save({"inputs": inputs, "targets": (torch.arange(200) % 100 == 0).float()[:, None].repeat(1, 3)}, "rare.pt")
    data = {"name": "tensors", "file": "rare.pt", "val": 0, "test": None, "target": "multilabel"}
    found = learned(200, 10, data=data, loss="bce_with_logits")
    assert not found.memorised


def test_a_model_that_still_learns_gets_more_steps() -> None:
    found = learned(64, 100, optimizer={"name": "sgd", "lr": 0.01})
    assert found.still_learning
    assert found.causes == ("--steps: the loss still falls; give it more than 100",)


def test_a_single_number() -> None:
    found = learned(1, 2000, data="diabetes", loss="mse", optimizer={"name": "adam", "lr": 0.03})
    assert found.score >= 0.99
    assert found.steps < 2000


def test_no_last_batch_of_one_sample() -> None:
    """Which BatchNorm could not take."""
    model = {"name": "cnn", "channels": [4], "norm": "batch", "hidden": []}
    assert learned(65, 3, model=model).samples == 64


def test_it_is_the_same_every_time() -> None:
    assert learned(32, 40) == learned(32, 40)


def test_how_many_samples() -> None:
    one = opened()
    assert samples_of(one.experiment, one.data, 0.1, None) == 129
    assert samples_of(one.experiment, one.data, 0.1, 2) == 128
    with pytest.raises(
        DataError, match=r"^command line: --batches: 1,600 samples, but there are 1,293 training samples$"
    ):
        samples_of(one.experiment, one.data, 0.1, 25)


CONFIG = "data: {name: digits, normalize: auto}\nmodel: mlp\noptimizer: {name: adam, lr: 1e-3}\n"


def test_the_command() -> None:
    Path("my.yaml").write_text(CONFIG)
    ended = warm.run(["overfit", "my.yaml", "--batches", "1"])
    assert ended.code == 0
    assert ended.stdout.startswith("memorised: 64 samples: ")
    assert ended.stderr.startswith("step ")
    ended = warm.run(["overfit", "my.yaml", "optimizer.lr=1e-9", "--batches", "1", "--steps", "20"])
    assert ended.code == 1
    assert ended.stdout.splitlines()[1:] == [
        "  optimizer.lr: the loss hardly moves; 1e-09 is probably too low: optimizer.lr=0.001"
    ]
    ended = warm.run(["overfit", "my.yaml", "--fraction", "0.05", "--json"])
    assert json.loads(ended.stdout)["by_heart"] is True
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--fraction", "0"], "--fraction: expected a number above 0 and up to 1, got '0'"),
        (["--fraction", "1.5"], "--fraction: expected a number above 0 and up to 1, got '1.5'"),
        (["--batches", "0"], "--batches: expected a whole number >= 1, got '0'"),
        (["--steps", "many"], "--steps: expected a whole number >= 1, got 'many'"),
    ],
)
def test_wrong_words(words: list[str], problem: str) -> None:
    Path("my.yaml").write_text(CONFIG)
    ended = warm.run(["overfit", "my.yaml", *words])
    assert (ended.code, ended.stderr) == (2, f"error: command line: {problem}\n")


def test_the_text() -> None:
    found = Learned(64, 20, 2.3, (2.3, 2.2), 0.5, 1.0, 2.3, ("a cause",))
    said = "not memorised: 64 samples: 50.00% right after 20 steps, loss 2.3 to 2.2 (constant prediction: 2.3)"
    assert overfit_lines(found, "50.00% right") == [said, "  a cause"]


def test_a_loss_that_asks_more_of_a_model_than_outputs() -> None:
    """The baseline loss is then not known, and nothing ends for that."""
    from trainkit.checks.doctor import examine, wrong
    from trainkit.training.baseline_loss import untrained
    from trainkit.training.losses import CrossEntropyConfig, LossFn, LossOutput

    class Penalised(CrossEntropyConfig):
        def build(self, target: Task) -> LossFn:
            plain = super().build(target)

            def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
                loss, outputs = plain(model, batch)
                return LossOutput(loss + 1e-4 * next(model.parameters()).square().sum(), outputs)

            return loss_fn

    one = opened()
    one = replace(one, experiment=one.experiment.model_copy(update={"loss": Penalised()}))
    found = overfit(one, samples=64, max_steps=300)
    assert (found.memorised, found.baseline_loss) == (True, None)
    assert untrained(Penalised().build(one.data.spec.task), one.data.train, one.data.spec.task, 10) is None
    assert wrong(examine(one)) == []
