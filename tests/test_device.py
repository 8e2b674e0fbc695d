"""Devices and precision."""

from __future__ import annotations

import pytest
import torch

from trainkit import device
from trainkit.errors import StorageError


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("auto", True),
        ("cpu", True),
        ("cuda:3", True),
        ("mps", True),
        ("cudaa", False),
        ("cuda:", False),
        ("gpu", False),
    ],
)
def test_names(name: str, valid: bool) -> None:
    assert device.valid_name(name) is valid


def test_auto_finds_something_and_says_what() -> None:
    chosen = device.select("auto")
    assert chosen.type in device.describe(chosen)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(StorageError) as error:
        device.select("cuda")
    assert str(error.value) == "train.device: cuda asked for, no CUDA device found; use cpu or auto"
    assert error.value.exit_code == 5


def test_grad_norm_is_over_all_parameters() -> None:
    model = torch.nn.Linear(2, 1)
    model.weight.grad = torch.tensor([[3.0, 0.0]])
    model.bias.grad = torch.tensor([4.0])
    assert float(device.grad_norm(model)) == 5.0
