"""Problems of configs with their positions."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from trainkit.config import validation, yamlfile
from trainkit.config.base import Config
from trainkit.config.yamlfile import Where
from trainkit.core.errors import ConfigError
from trainkit.experiment.loading import parse


def test_a_stored_config_names_its_checkpoint() -> None:
    node = yamlfile.from_plain({"data": "digits", "model": "mlp", "seed": -1}, Where("last.pt"))
    with pytest.raises(ConfigError) as caught:
        parse(node, beside=None)
    assert caught.value.problems == ("last.pt: seed: must be >= 0, got -1",)


class Inner(Config):
    """For tests of what no shipped config has."""

    size: int = Field(1, multiple_of=2)
    code: str = Field("aa", pattern="^[a-z]+$", max_length=3)
    pair: tuple[int, int] | int = 0


class Outer(Config):
    """For tests of what no shipped config has."""

    kind: Literal["x"] = "x"
    parts: dict[str, Inner] = {}
    several: tuple[Annotated[Inner, "documented"], ...] = ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("several: [{size: 3}]", "1:18: several[0].size: expected a multiple of 2, got 3"),
        ("several: [{}, {sice: 3}]", "1:16: several[1].sice: unknown key; did you mean 'size'?"),
        ("parts: {a: {code: A1}}", "1:19: parts.a.code: expected text that matches ^[a-z]+$, got 'A1'"),
        ("parts: {a: {code: abcd}}", "1:19: parts.a.code: expected at most 3 characters, got 'abcd'"),
        ("parts: {a: {cod: 1}}", "1:13: parts.a.cod: unknown key; did you mean 'code'?"),
        ("parts: {a: {pair: [1]}}", "1:19: parts.a.pair: expected 2 values, got 1"),
        ("parts: {a: {pair: [1, x]}}", "1:23: parts.a.pair[1]: expected a whole number, got 'x'"),
        ("parts: {a: {pair: x}}", "1:19: parts.a.pair: expected a list or a whole number, got 'x'"),
    ],
)
def test_configs_of_other_shapes(text: str, expected: str) -> None:
    node = yamlfile.parse(text, Where("cfg.yaml", 1, 1))
    assert node is not None
    with pytest.raises(ConfigError) as caught:
        validation.validate(Outer, node)
    assert caught.value.problems == (f"cfg.yaml:{expected}",)
