"""What a user's own code imports stays where it was."""

from __future__ import annotations

import importlib
import sys

import pytest

import trainkit
from trainkit.training import losses


@pytest.mark.parametrize("name", trainkit.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(trainkit, name)


def test_others_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'trainkit' has no attribute 'Trainer'"):
        trainkit.Trainer  # noqa: B018


def test_an_earlier_place_says_where_the_names_are_now() -> None:
    sys.modules.pop("trainkit.losses", None)
    with pytest.warns(FutureWarning, match="use trainkit.supervised, and trainkit.LossOutput for Outcome"):
        earlier = importlib.import_module("trainkit.losses")
    assert earlier.Outcome is losses.LossOutput
    assert earlier.supervised is losses.supervised
