"""The path on a CUDA device, followed without one: tensors that have a device and a shape, but no values.

torch's FakeTensorMode refuses operations on tensors of two devices and whatever reads a value back to the host.
Gradients are made up, since autograd asks for the device; SGD and Adagrad have no such form of their fused kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves

from tests.conftest import MakeExperiment
from trainkit.core.device import Precision
from trainkit.data.loader import keep_on_device
from trainkit.experiment import building
from trainkit.experiment.schema import ExperimentConfig
from trainkit.training.loop import Parts, Plan, evaluate, train_steps
from trainkit.training.metrics import Metric
from trainkit.training.progress import Progress

CUDA = torch.device("cuda:0")

# In `deepcopy`, of averaged weights.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")


class FakeCuda(FakeTensorMode):
    """Only what has to do with a CUDA device is fake; the host's own tensors have values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        device = kwargs.get("device")
        is_fake = any(isinstance(leaf, FakeTensor) for leaf in tree_leaves((args, kwargs)))
        if is_fake or (device is not None and torch.device(device).type == "cuda"):
            return super().__torch_dispatch__(func, types, args, kwargs)
        return func(*args, **kwargs)


def _moved(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` with new parameters: a fake tensor cannot take the place of a real one."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(change(parameter.detach()), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else change(buffer)
    return module


@contextmanager
def built_on_cuda(experiment: ExperimentConfig) -> Iterator[tuple[Parts, Plan]]:
    """The parts of an experiment on a device that is not there."""
    _, data, _ = building.open_data(experiment)
    experiment = experiment.suited(data.spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "_apply", _moved)
        patch.setattr(torch.cuda, "device", lambda device: nullcontext())
        patch.setattr(torch.cuda, "get_rng_state", lambda device: None)
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
        patch.setattr(building, "_first_inputs", lambda data, parts: [])  # whose values are looked at before training
        with FakeCuda(allow_non_fake_inputs=True):
            parts, plan = building.build(experiment, data, CUDA)
            parameters = [parameter for parameter in parts.model.parameters() if parameter.requires_grad]

            def backward(precision: Precision, loss: Tensor) -> None:
                assert loss.device == CUDA
                for parameter in parameters:
                    parameter.grad = torch.empty_like(parameter)

            patch.setattr(Precision, "backward", backward)
            yield parts, plan


DIGITS: dict[str, Any] = {"data": {"name": "digits"}}
AUGMENT = [{"name": "random_crop", "padding": 1}, "random_horizontal_flip", {"name": "random_erasing"}, "rand_augment"]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"train": {"clip_norm": 1.0, "accumulate": 2, "ema": 0.9}, "scheduler": "cosine", "optimizer": "rmsprop"},
        {"data": {"name": "digits", "augment": AUGMENT}, "loss": "focal", "optimizer": "nadam"},
        {"data": {"name": "digits", "augment": ["mixup", "cutmix"]}, "metrics": ["accuracy", "f1", "auroc"]},
        {"loader": {"sampler": "balanced"}, "loss": {"name": "cross_entropy", "weight": "balanced"}},
        {"data": {"name": "diabetes"}, "model": "table", "metrics": ["mae", "r2"], "optimizer": "adamax"},
        {
            "data": {"name": "digits_segmentation", "samples": 40},
            "model": "unet",
            "loss": "dice",
            "metrics": ["mean_iou"],
        },
    ],
    ids=["plain", "all", "augmented", "mixed", "balanced", "regression", "masks"],
)
def test_training_stays_on_the_device_and_reads_nothing_back(sections: dict[str, Any]) -> None:
    plain = {"name": "cuda", "model": {"name": "cnn", "channels": [4], "hidden": [8]}, **DIGITS, **sections}
    with built_on_cuda(ExperimentConfig.from_plain(plain)) as (parts, plan):
        for output in islice(train_steps(parts, plan, Progress()), 2):
            assert output.loss.device == CUDA
            with pytest.raises(DataDependentOutputException):  # this is what a read would have met
                float(output.loss)
        updates = dict.fromkeys(parts.metrics, 0)
        for name, metric in parts.metrics.items():
            _count_updates(metric, updates, name)
        assert parts.val
        with pytest.raises(DataDependentOutputException):  # when the results are read, after the last batch
            evaluate(parts, parts.val)
        assert {*updates.values()} == {len(parts.val)}


def _count_updates(metric: Metric, updates: dict[str, int], name: str) -> None:
    update = metric.update

    def counted(*arguments: Any) -> None:
        update(*arguments)
        updates[name] += 1

    metric.update = counted  # type: ignore[assignment, method-assign]


def test_samples_that_fit_lie_on_the_device_and_splits_share_them() -> None:
    experiment = ExperimentConfig.from_plain({"name": "cuda", "model": "mlp", **DIGITS})
    with built_on_cuda(experiment) as (parts, _):
        assert parts.val
        assert parts.train.source is parts.val.source
        assert next(parts.train.epoch()).inputs.device == CUDA
    with pytest.MonkeyPatch.context() as patch, built_on_cuda(experiment):
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (100_000, 10**9))
        _, data, _ = building.open_data(experiment)
        loader = experiment.loader.train_loader(data.train, 0, CUDA)
        keep_on_device([loader], CUDA)
        assert loader.pin_memory
        assert loader.source is data.train.source


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "radam", "adamax", "rmsprop", "adadelta"])
def test_optimizers_keep_their_counters_on_the_device(name: str, make: MakeExperiment) -> None:
    experiment = ExperimentConfig.from_plain({"name": "cuda", "model": "mlp", **DIGITS, "optimizer": name})
    with built_on_cuda(experiment) as (parts, plan):
        next(train_steps(parts, plan, Progress()))
        states = list(parts.optimizer.state.values())
        assert states
        assert {value.device for state in states for value in state.values()} == {CUDA}
