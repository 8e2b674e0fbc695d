"""Commands with a config beside a module of one's own, as the fixtures `place` and `config` of a test file have it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import Ended, warm
from tests.golden import golden


def trainkit(*words: str, failpoints: str = "", code: int = 0) -> Ended:
    os.environ["FAILPOINTS"] = failpoints
    try:
        ended = warm.run(words)
    finally:
        del os.environ["FAILPOINTS"]
    assert ended.code == code, ended
    return ended


def same_when_killed(run: Path, *words: str, point: str) -> None:
    """A run of these words that is killed at a point and resumed tells what this one told."""
    trainkit("train", *words, "--run-dir", "killed", "-q", failpoints=point, code=-9)
    trainkit("train", "--resume", "killed", "-q")
    assert golden(Path("killed")) == golden(run)


@pytest.fixture(scope="module")
def run(place: Path, config: str) -> Path:
    """A run that nobody disturbed."""
    trainkit("train", config, "loader.num_workers=0", "--run-dir", str(place / "run"), "-q")
    return place / "run"


@pytest.fixture
def module_is_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of commands that have no config to look beside."""
    monkeypatch.setenv("PYTHONPATH", str(place))
