from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainkit.models.outputs import main_output, only_outputs

HIDDEN, LOGITS, OTHER = torch.zeros(2, 7), torch.zeros(2, 3), torch.ones(2, 3)


@dataclass
class Output:
    """As transformers have them."""

    loss: None
    logits: Tensor
    hidden_states: tuple[Tensor, ...] = ()


@pytest.mark.parametrize(
    "made",
    [
        (LOGITS, HIDDEN),
        (HIDDEN, LOGITS),
        [LOGITS, OTHER],
        {"features": OTHER, "logits": LOGITS},
        {"aux": OTHER, "out": LOGITS},
        {"hidden": HIDDEN, "scores": LOGITS},
        Output(None, LOGITS, (OTHER,)),
        (None, {"inner": LOGITS}),
    ],
)
def test_the_output_that_counts(made: Any) -> None:
    assert main_output(made, (3,)) is LOGITS
    assert only_outputs((3,), nn.Identity().eval(), (), made) is LOGITS


def test_what_has_no_outputs_is_left_to_those_who_check() -> None:
    assert main_output(HIDDEN, (3,)) is HIDDEN
    assert main_output(("text", None), (3,)) is None
    assert only_outputs((3,), nn.Identity(), (), None) is None


def test_auxiliary_heads_in_training() -> None:
    made = (LOGITS, OTHER, HIDDEN, torch.zeros(2, 3, dtype=torch.int64))
    assert torch.equal(only_outputs((3,), nn.Identity(), (), made), torch.stack([LOGITS, OTHER], 1))
    masks = {"out": torch.zeros(2, 3, 4, 4), "aux": torch.ones(2, 3, 4, 4)}
    given = only_outputs((3, 4, 4), nn.Identity(), (), masks)
    assert [*given] == ["out", "aux0"]
    assert given["out"] is masks["out"]
