from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trainkit.core.errors import ConfigError
from trainkit.models import dry_run

INPUTS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_layer_that_does_not_fit_is_named() -> None:
    inner = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(65, 10))
    model = nn.Sequential(nn.Flatten(), inner)
    fits = r"it takes 65 features but got \(2, 64\); in_features=64 would fit$"
    with pytest.raises(ConfigError, match=r"shape \(2, 3, 8, 8\) does not pass through layer 1.2 \(Linear\): " + fits):
        dry_run.run(model, INPUTS)
    assert not inner[2]._forward_hooks


@pytest.mark.parametrize(
    ("layers", "advice"),
    [
        ([nn.Conv2d(1, 4, 3)], "it takes 1 channels but got (2, 3, 8, 8); in_channels=3 would fit"),
        ([nn.BatchNorm2d(4)], "it takes 4 features but got (2, 3, 8, 8); num_features=3 would fit"),
        ([nn.Linear(192, 10)], "it takes 192 features but got (2, 3, 8, 8); a flatten(1) before it would fit"),
        (
            [nn.Linear(100, 10)],
            "it takes 100 features but got (2, 3, 8, 8); a flatten(1) before it and in_features=192 would fit",
        ),
        ([nn.MaxPool2d(9)], "Given input size: (3x8x8). Calculated output size: (3x0x0). Output size is too small"),
    ],
)
def test_what_would_fit_is_said(layers: list[nn.Module], advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dry_run.run(nn.Sequential(*layers), INPUTS)
    assert str(caught.value).endswith(f"): {advice}")


def test_a_model_that_gives_no_tensor() -> None:
    class Twice(nn.Module):
        def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
            return inputs, inputs

    assert dry_run.run(Twice().eval(), INPUTS) == (INPUTS, INPUTS)
    with pytest.raises(
        ConfigError, match=r"model: gives a tuple of \(2, 3, 8, 8\), \(2, 3, 8, 8\), expected one tensor"
    ):
        dry_run.run_to_tensor(Twice().eval(), INPUTS)
