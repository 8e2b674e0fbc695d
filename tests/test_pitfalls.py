"""The traps of hand-written training code of which docs/pitfalls.md tells, where no other test shows them shut."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from tests.conftest import MakeExperiment, equal, payload, weights
from trainkit.config import registry
from trainkit.core import seeding
from trainkit.core.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    OutOfMemoryError,
    TrainkitError,
)
from trainkit.data import Batch, Data, Split, register_dataset
from trainkit.data.loader import LoaderConfig
from trainkit.experiment import building, loading
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models import register_model
from trainkit.runs import checkpoint, run_state
from trainkit.runs.run import train
from trainkit.training.loop import Parts, Plan, evaluate

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    for family in ("model", "data"):
        monkeypatch.setitem(registry._families, family, dict(registry._families[family]))


def built(experiment: ExperimentConfig) -> tuple[Data, Parts, Plan]:
    _, data, _ = building.open_data(experiment)
    return data, *building.build(experiment, data, CPU)


def warned(experiment: ExperimentConfig) -> list[str]:
    data, parts, plan = built(experiment)
    return list(map(str, building.warnings(experiment, data, parts, plan)))


def refused(experiment: ExperimentConfig, kind: type[TrainkitError] = ConfigError) -> str:
    with pytest.raises(kind) as caught:
        built(experiment)
    [problem] = caught.value.problems
    return problem


# Data and loaders


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "loader.shuffle=false",
            (
                "loader.shuffle: unknown key; training samples are shuffled, the others never are; "
                "loader.sampler has other orders"
            ),
        ),
        (
            "loader.sampler=weighted",
            "loader.sampler: expected shuffle or balanced, got 'weighted'; did you mean 'balanced'?",
        ),
        ("model.in_channels=3", "model.in_channels: unknown key for 'cnn'; the number of channels comes from the data"),
        (
            "loss.reduction=sum",
            (
                "loss.reduction: unknown key for 'cross_entropy'; a loss is the mean over samples, "
                "so that it does not depend on the batch size"
            ),
        ),
    ],
)
def test_what_is_no_option_says_why(override: str, message: str) -> None:
    Path("my.yaml").write_text("data: digits\nmodel: cnn\n")
    with pytest.raises(ConfigError) as caught:
        loading.load(Path("my.yaml"), [override])
    assert caught.value.problems == (f"command line: {message}",)


class FileSource:
    """Samples that have to be read one by one, as from files."""

    targets = torch.zeros(4, dtype=torch.int64)

    def __len__(self) -> int:
        return 4

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        return Batch(torch.zeros(len(index), 1), self.targets[index], index)

    def digest(self) -> str:
        return ""


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(
    ("cores", "system", "workers"),
    [(1, "linux", 1), (2, "linux", 2), (64, "linux", 8), (8, "win32", 0)],
)
def test_files_have_a_worker_for_each_core(
    cores: int, system: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    monkeypatch.setattr(sys, "platform", system)
    loader = LoaderConfig().eval_loader(Split(FileSource(), torch.arange(4)), CPU)
    assert loader.num_workers == workers


def test_memory_is_pinned_for_cuda_alone() -> None:
    split = Split(FileSource(), torch.arange(4))
    loaders = [LoaderConfig(num_workers=0).eval_loader(split, torch.device(name)) for name in ("cpu", "cuda", "mps")]
    assert [loader.pin_memory for loader in loaders] == [False, True, False]


def test_batch_sizes_that_are_hardly_meant(make: MakeExperiment) -> None:
    assert warned(make()) == []
    assert warned(make(loader={"batch_size": 1})) == [
        "loader.batch_size: 1 is slow and noisy; 32 to 256 is usual for small inputs"
    ]
    assert warned(make(loader={"batch_size": 4096})) == ["loader.batch_size: 4096 exceeds the 128 samples"]


def test_out_of_memory_proposes_half(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*arguments: Any, **keywords: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("trainkit.runs.run.fit", fit)
    with pytest.raises(OutOfMemoryError) as caught:
        train(make())
    assert str(caught.value) == "out of memory with loader.batch_size 16; try loader.batch_size=8"
    assert caught.value.exit_code == 8


def test_a_last_batch_of_one_sample_and_batch_norm(make: MakeExperiment) -> None:
    layers = {
        "name": "sequential",
        "layers": ["flatten", {"name": "linear", "out_features": 8}, "batch_norm1d", "linear"],
    }
    experiment = make(data={"val": 0, "samples": 129}, model=layers)
    assert refused(experiment, DataError) == (
        "loader.batch_size: 16 leaves a last batch of 1 sample, which BatchNorm (2) cannot normalise; "
        "use loader.drop_last=true or loader.batch_size=17"
    )
    single = make(model=layers, loader={"batch_size": 1})
    assert refused(single, DataError) == (
        "loader.batch_size: 1 sample is too few for BatchNorm (2); use loader.batch_size=2"
    )


def test_batch_norm_over_the_pixels_of_one_picture(make: MakeExperiment) -> None:
    """64 of them are enough."""
    model = {"name": "cnn", "channels": [4], "norm": "batch"}
    train(make(model=model, data={"val": 0, "samples": 5}, loader={"batch_size": 1}, train={"epochs": 1}))


class Kept(nn.Module):
    """With statistics that stay as they are."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(in_features)
        self.head = nn.Linear(in_features, num_classes)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.norm(inputs.flatten(1)))  # type: ignore[no-any-return]


def test_frozen_batch_norm_takes_a_batch_of_one(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    register_model("kept")(Kept)
    train(make(model="kept", data={"val": 0, "samples": 3}, loader={"batch_size": 1}, train={"epochs": 1}))


class Given(Dataset[Any]):
    """Three samples of one kind or another."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 3

    def __getitem__(self, n: int) -> tuple[Any, Any]:
        items: dict[str, tuple[Any, Any]] = {
            "whole numbers": (torch.tensor([n, 7]), n),
            "lengths": (torch.zeros(n + 1, 3), n),
            "one-hot": (torch.zeros(2), functional.one_hot(torch.tensor(n), 3)),
            "no channels": (torch.zeros(4, 4, dtype=torch.uint8), n),
            "channels last": (torch.zeros(8, 9, 3, dtype=torch.uint8), n),
            "large": (torch.tensor([0.0, 255.0]), n),
            "nan": (torch.tensor([0.0, float("nan")]), n),
        }
        return items[self.kind]


def given(kind: str) -> ExperimentConfig:
    register_dataset("given")(Given)
    return ExperimentConfig.from_plain(
        {"data": {"name": "given", "kind": kind, "val": 0, "test": None}, "model": "mlp", "loader": {"batch_size": 3}}
    )


def opened(kind: str) -> Data:
    return given(kind).data.open(0)


def test_inputs_are_floating_point_numbers() -> None:
    experiment = given("whole numbers")
    data = experiment.data.open(0)
    parts, _ = building.build(experiment, data, torch.device("cpu"))
    batch = parts.prepare(data.train.take(torch.tensor([1, 2])), None)
    assert (batch.inputs.dtype, batch.targets.dtype) == (torch.float32, torch.int64)
    assert batch.inputs.tolist() == [[1, 7], [2, 7]]


def test_samples_of_different_shapes() -> None:
    with pytest.raises(DataError) as caught:
        opened("lengths").train.take(torch.tensor([0, 2]))
    assert str(caught.value) == (
        "Given: samples 0 and 2 have the shapes (1, 3) and (3, 3); bring them to one shape in the data set, "
        "or use data.collate=pad for sequences"
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "no channels",
            "Given[0]: a uint8 tensor is a picture (channels, height, width), got (4, 4); try tensor.unsqueeze(0)",
        ),
        (
            "channels last",
            (
                "Given[0]: a uint8 tensor is a picture (channels, height, width), got (8, 9, 3); "
                "try tensor.permute(2, 0, 1)"
            ),
        ),
        (
            "one-hot",
            (
                "Given: classes are one whole number >= 0 per sample, these are rows of 3; "
                "for one-hot rows row.argmax(), or data.target=multilabel"
            ),
        ),
        ("nan", "data: among the first inputs are NaN or infinite values"),
    ],
)
def test_samples_that_cannot_be_right(kind: str, message: str) -> None:
    assert refused(given(kind), DataError) == message


def test_large_inputs() -> None:
    assert warned(given("large")) == [
        "data: inputs reach 255; bring them to numbers around 0 of size 1, such as by dividing them"
    ]


def test_a_whole_run_with_workers_is_the_one_without(make: MakeExperiment) -> None:
    """Processes that read ahead change neither order nor augmentation nor dropout."""
    data = {"name": "digits", "size": 8, "val": 32, "subset": 128, "augment": ["random_horizontal_flip"]}
    runs = [train(make(data=data, loader={"num_workers": workers}, train={"epochs": 1})) for workers in (0, 2)]
    assert equal(*(weights(run.run_dir / "checkpoints/last.pt") for run in runs))


def test_training_never_sees_a_val_or_test_sample(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the test split is read once, when the training is over."""
    taken: list[tuple[int, bool]] = []
    original = Split.take

    def take(self: Split, positions: Tensor, draw: int = 0) -> Batch:
        taken.append((id(self.index), torch.is_grad_enabled()))
        return original(self, positions, draw)

    experiment = make(data={"test_samples": 50}, loader={"batch_size": 16, "eval_batch_size": 25, "num_workers": 0})
    _, data, _ = building.open_data(experiment)
    monkeypatch.setattr("trainkit.experiment.building.open_data", lambda _: (experiment, data, None))
    monkeypatch.setattr(Split, "take", take)
    train(experiment)
    names = {id(split.index): name for name, split in data.splits.items() if split}
    order = [names[key] for key, _ in taken]
    epoch = ["train"] * 8 + ["val"] * 2
    # First two samples, twice, to try the model with in training and in evaluation.
    assert order == ["train", "train", *epoch, *epoch, "test", "test"]


# Models and shapes


class Joined(nn.Module):
    """Flattens the batch along with the samples."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(128, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(torch.flatten(inputs))
        return outputs


class Regrouped(Joined):
    """Makes one sample of every two."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.view(-1, 128))
        return outputs


class Viewed(Joined):
    """Wants neighbours in memory where there are none."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs.transpose(2, 3).view(-1, 64))
        return outputs


class Squeezed(Joined):
    """Gives a number per sample where ten are wanted."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1).sum(1)


class Coloured(nn.Module):
    """Written for pictures with three channels."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 8)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.conv(inputs).flatten(1)
        return outputs


class Pooled(nn.Module):
    """Forgets the padding, so that fewer numbers reach the linear layer than were planned."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.head = nn.Linear(8 * 4 * 4, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(functional.max_pool2d(self.conv(inputs).relu(), 2).flatten(1))
        return outputs


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Joined,
            (
                "model: two samples of shape (1, 8, 8) give outputs of shape (4,), but loss and data need (2, 4); "
                "the samples of a batch are mixed: flatten from dimension 1; "
                "change the model's last layer, the loss, or the data"
            ),
        ),
        (
            Regrouped,
            (
                "model: two samples of shape (1, 8, 8) give outputs of shape (1, 4), but loss and data need (2, 4); "
                "the samples of a batch are mixed: flatten from dimension 1; "
                "change the model's last layer, the loss, or the data"
            ),
        ),
        (
            Squeezed,
            (
                "model: two samples of shape (1, 8, 8) give outputs of shape (2,), but loss and data need (2, 4); "
                "change the model's last layer, the loss, or the data"
            ),
        ),
        (
            Coloured,
            (
                "model: a trial batch of shape (2, 1, 8, 8) does not pass through layer conv (Conv2d): "
                "it takes 3 channels but got (2, 1, 8, 8); in_channels=1 would fit"
            ),
        ),
        (
            Pooled,
            (
                "model: a trial batch of shape (2, 1, 8, 8) does not pass through layer head (Linear): "
                "it takes 128 features but got (2, 72); in_features=72 would fit"
            ),
        ),
        (
            Viewed,
            (
                "model: a trial batch of shape (2, 1, 8, 8) does not pass through: "
                "view size is not compatible with input tensor's size and stride …"
            ),
        ),
    ],
)
def test_models_of_ones_own_meet_two_samples_first(model: type[nn.Module], message: str, make: MakeExperiment) -> None:
    register_model("mine")(model)
    told = refused(make(model={"name": "mine"}))
    assert all(part in told for part in message.split("…"))


def test_models_for_pictures_want_channels(make: MakeExperiment) -> None:
    assert refused(make(data={"shape": [8, 8]})).startswith(
        "model: cnn needs pictures (channels, height, width), the data has shape (8, 8)"
    )


class Chances(nn.Module):
    """Gives probabilities."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(in_features, num_classes), nn.Softmax(1))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def test_models_for_sequences_take_lengths(make: MakeExperiment) -> None:
    data = {"name": "synthetic", "shape": [6, 3], "size": 4, "min_length": 2}
    assert refused(make(data=data, model={"name": "mlp"})) == (
        "model: the data is sequences of different lengths, which this model does not take; "
        "use lstm, gru or transformer, or a model with forward(inputs, lengths)"
    )


def test_what_is_probably_a_mistake_is_said(make: MakeExperiment) -> None:
    layers = ["flatten", {"name": "linear", "out_features": 64}, "linear"]
    assert warned(make(model={"name": "sequential", "layers": layers})) == [
        "model: nothing but linear steps from 1 to 2; is an activation missing?"
    ]
    register_model("mine")(Chances)
    assert warned(make(model={"name": "mine"})) == [
        "model: ends with a softmax, but losses here take logits and apply it themselves; leave it out"
    ]


class Forgetful(Chances):
    """Has a layer that forward does not use."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.layers = self.layers[:-1]
        self.unused = nn.Linear(in_features, num_classes)


def test_a_layer_that_is_never_used(make: MakeExperiment) -> None:
    register_model("mine")(Forgetful)
    assert warned(make(model={"name": "mine"})) == [
        "model: in evaluation the outputs do not depend on unused.weight and 1 more, which may not be trained"
    ]


class Listed(nn.Module):
    """Keeps its layers where torch does not look for them."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.blocks = [nn.Flatten(), nn.Linear(64, num_classes)]

    def forward(self, inputs: Tensor) -> Tensor:
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def test_a_model_without_parameters(make: MakeExperiment) -> None:
    register_model("mine")(Listed)
    assert refused(make(model={"name": "mine"})) == (
        "model: has no parameters to train; are its layers in a plain list? use nn.ModuleList"
    )


class Cut(Chances):
    """Takes its outputs off the graph."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs).detach()


def test_outputs_without_a_graph(make: MakeExperiment) -> None:
    register_model("mine")(Cut)
    with pytest.raises(ConfigError) as caught:
        train(make(model={"name": "mine"}))
    assert str(caught.value) == (
        "model: the outputs do not depend on any parameter; is there a detach(), .data or no_grad in forward?"
    )


def test_the_number_of_parameters_is_told(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    train(make(data={"name": "digits", "size": 8}, train={"max_steps": 1}))
    # 4 filters of 3x3, a hidden layer of 8 on 4x4x4 values, 10 classes
    assert f"cnn, {4 * 10 + 8 * 65 + 10 * 9} parameters" in capsys.readouterr().err


# Losses and targets


def test_a_softmax_before_cross_entropy_hides_a_perfect_answer() -> None:
    sure = 100 * torch.eye(10)
    targets = torch.arange(10)
    assert functional.cross_entropy(sure, targets).item() == pytest.approx(0)
    assert functional.cross_entropy(sure.softmax(1), targets).item() == pytest.approx(1.4612, abs=5e-5)


# The loop


def by_hand(experiment: ExperimentConfig, *, forgetting: bool = False) -> nn.Module:
    """The loop of the tutorials, with everything in its place. `forgetting`: all but `zero_grad`."""
    _, parts, plan = built(experiment)
    for epoch in range(plan.max_steps // plan.batches_per_epoch):
        parts.model.train()
        for number, batch in enumerate(parts.train.epoch(epoch)):
            seeding.reseed(CPU, experiment.seed, "step", epoch * plan.batches_per_epoch + number)
            batch = parts.prepare(batch, epoch)
            if not forgetting:
                parts.optimizer.zero_grad()
            functional.cross_entropy(parts.model(batch.inputs), batch.targets).backward()
            parts.optimizer.step()
    return parts.model


def test_the_loop_is_the_one_by_hand(make: MakeExperiment) -> None:
    """Gradients cleared before every step, training mode after every evaluation: to the last bit."""
    model = {"name": "cnn", "channels": [4], "hidden": [8], "norm": "batch", "dropout": 0.2}
    experiment = make(model=model, train={"epochs": 2, "eval_every": 3})
    trained = weights(train(experiment).run_dir / "checkpoints/last.pt")
    assert equal(trained, dict(by_hand(experiment).state_dict()))
    assert not equal(trained, dict(by_hand(experiment, forgetting=True).state_dict()))


def test_gradients_add_up_until_they_are_cleared() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    grads = []
    for _ in range(3):
        (x * 1).backward()
        grads.append(float(x.grad if x.grad is not None else 0))
    assert grads == [1, 2, 3]


def test_a_graph_is_walked_once() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


class Remembering(Chances):
    """Adds what it said to the batch before."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers[:-1](inputs) + getattr(self, "before", torch.zeros(1))
        if self.training:
            self.before = outputs.mean(0)
        return outputs


def test_a_graph_kept_from_the_batch_before(make: MakeExperiment) -> None:
    register_model("mine")(Remembering)
    with pytest.raises(ConfigError) as caught:
        train(make(model={"name": "mine"}))
    assert str(caught.value) == "model: keeps a result with its graph from one batch to the next; keep result.detach()"


class Logarithmic(Chances):
    """Takes the logarithm of what may be negative."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = (self.layers[:-1](inputs) - 100).log()
        return outputs


def test_a_model_that_gives_nan(make: MakeExperiment) -> None:
    register_model("mine")(Logarithmic)
    with pytest.raises(DivergedError) as caught:
        train(make(model={"name": "mine"}), run_dir=Path("bad"))
    assert str(caught.value) == (
        "bad: the loss is not finite at step 1 (epoch 1, learning rate 0.01, gradient norm nan); "
        "nothing was saved yet; no rate mends that: "
        "look for NaN in the data, and for log, sqrt and division in the model"
    )


def test_every_part_of_a_batch_is_moved_but_lengths() -> None:
    batch = Batch(torch.zeros(2, 3), torch.zeros(2), torch.arange(2), torch.tensor([3, 1]))
    assert [part.device.type for part in batch.to(torch.device("meta")) if part is not None] == ["meta"] * 3 + ["cpu"]


def test_too_high_a_rate(make: MakeExperiment) -> None:
    experiment = make(optimizer={"name": "sgd", "lr": 1e30})
    assert warned(experiment) == ["optimizer.lr: 1e+30 is unusual for sgd (1e-05 to 1)"]
    with pytest.raises(DivergedError) as caught:
        train(experiment, run_dir=Path("bad"))
    assert str(caught.value) == (
        "bad: the loss is not finite at step 2 (epoch 1, learning rate 1e+30, gradient norm nan); "
        "nothing was saved yet; start a new run with a lower rate, such as optimizer.lr=0.01"
    )


def test_a_learning_rate_that_fades_away(make: MakeExperiment) -> None:
    step = {"name": "step", "step_size": 10, "gamma": 0.1}
    assert warned(make(scheduler=step, train={"epochs": 100})) == [
        "scheduler: a quarter before the end the learning rate is down to 1e-07 of its start"
    ]
    assert warned(make(scheduler=step, train={"epochs": 20})) == []


# Evaluation


class Normalized(nn.Module):
    """Outputs that depend on the others of a batch in training, and only there."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(in_features), nn.Linear(in_features, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layers(inputs)
        return outputs


def test_evaluation_uses_running_statistics_and_keeps_no_graph(make: MakeExperiment) -> None:
    register_model("mine")(Normalized)
    data, parts, _ = built(make(model={"name": "mine"}, loader={"eval_batch_size": 5}))
    assert data.val is not None
    seen: list[Tensor] = []

    def watch(batch: Batch, outcome: Any) -> None:
        assert not parts.model.training
        assert not outcome.loss.requires_grad
        seen.append(outcome.outputs)

    parts.model.train()
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}
    for size in (5, 32):
        evaluate(parts, LoaderConfig(eval_batch_size=size).eval_loader(data.val, CPU), watch=watch)
    *parts_of_five, whole = seen
    torch.testing.assert_close(torch.cat(parts_of_five), whole)  # the neighbours in a batch do not count
    assert parts.model.training
    assert equal(before, dict(parts.model.state_dict()))
    inputs = torch.randn(8, 1, 8, 8)
    assert not torch.allclose(parts.model(inputs)[:4], parts.model(inputs[:4]))  # in training they do


# Checkpoints and resuming


def test_files_from_a_gpu_are_read_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"format": checkpoint.FORMAT, "schema": checkpoint.SCHEMA, **payload()}
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save({**content, "model": {"weight": torch.ones(3)}}, "gpu.pt")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            torch.load("gpu.pt", weights_only=True)
    assert checkpoint.load(Path("gpu.pt"))["model"]["weight"].device == CPU


def test_the_epoch_in_a_checkpoint_is_the_one_that_was_reached(make: MakeExperiment) -> None:
    last = train(make(train={"epochs": 20, "max_steps": 11})).run_dir / "checkpoints/last.pt"
    progress = checkpoint.load(last)["progress"]
    assert (progress["epoch"], progress["batch"], progress["step"]) == (1, 3, 11)


def test_the_state_of_another_optimizer(make: MakeExperiment) -> None:
    parameter = nn.Parameter(torch.ones(1))
    adam = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(1)
    adam.load_state_dict(torch.optim.SGD([parameter], lr=0.1).state_dict())  # torch takes it
    with pytest.raises(KeyError, match="betas"):
        adam.step()

    sgd = make(optimizer={"name": "sgd", "lr": 0.1}, train={"epochs": 1})
    path = train(sgd, run_dir=Path("run")).checkpoint
    data, parts, _ = built(make())
    before = {key: value.clone() for key, value in parts.model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        run_state.restore(path, checkpoint.load(path), data.digests(), parts)
    assert str(caught.value) == (
        "run/checkpoints/best.pt: the optimizer's state is of SGD with 6 parameters, the config builds Adam with 6"
    )
    assert equal(before, dict(parts.model.state_dict()))


# Tensors, and modules


def test_two_words_that_are_easily_confused() -> None:
    assert (torch.tensor(3).dtype, torch.tensor(3).shape) == (torch.int64, ())
    assert (torch.Tensor(3).dtype, torch.Tensor(3).shape) == (torch.float32, (3,))


def test_importing_does_nothing_else() -> None:
    code = (
        "import importlib, pkgutil, trainkit\n"
        "for module in pkgutil.walk_packages(trainkit.__path__, 'trainkit.'):\n"
        "    if not module.name.endswith(('__main__', 'trainkit.losses')):  # which warns\n"
        "        importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr, os.listdir()) == ("", "", [])


def test_large_targets_are_said(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    data: dict[str, Any] = {
        "name": "tensors",
        "inputs": [[0.0], [1.0], [0.5], [0.2]],
        "targets": [150e3, 270e3, 2e5, 16e4],
        "val": 0,
    }
    data |= {"target_transform": "none"}
    options: dict[str, Any] = {"model": {"name": "mlp", "hidden": [4]}, "loss": "mse", "train": {"epochs": 1}}
    train(make(data=data, loader={"batch_size": 2}, **options))
    assert (
        "targets reach 2.7e+05, far from a network's first answers; try data.target_transform=auto"
        in capsys.readouterr().err
    )
