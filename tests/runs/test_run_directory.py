"""Run directories: where they are, whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainkit.core.errors import StorageError
from trainkit.runs import run_directory


def test_runs_that_begin_together_do_not_collide() -> None:
    directories = [run_directory.create("a") for _ in range(20)]
    assert len({directory.path for directory in directories}) == 20
    for directory in directories:
        directory.close()


def test_runs_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_RUNS_DIR", "elsewhere")
    with run_directory.create("a") as directory:
        assert directory.path.parent == Path("elsewhere/a")


def test_the_check_makes_nothing() -> None:
    run_directory.check_writable("a")
    run_directory.check_writable("a", Path("b/c"))
    assert not list(Path().iterdir())
    Path("file").write_text("")
    with pytest.raises(StorageError, match="file: is a file"):
        run_directory.check_writable("a", Path("file/run"))


def test_the_story_is_kept_over_a_resume() -> None:
    with run_directory.create("a", Path("run")) as directory:
        directory.update_metadata(status="running")
        Path("run/.tmp-last.pt-1-0123abcd").write_bytes(b"torn")
    with run_directory.reopen(Path("run")) as again:
        again.update_metadata(more=1)
    assert json.loads(Path("run/run.json").read_text()) == {"status": "running", "more": 1}
    assert not Path("run/.tmp-last.pt-1-0123abcd").exists()


def test_the_environment_holds_no_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "canary-4711")
    told = json.dumps(run_directory.environment())
    assert "canary-4711" not in told
    assert '"torch"' in told
