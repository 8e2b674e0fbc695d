"""Run directories: where they are, whose they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainkit.core.errors import CheckpointError, StorageError
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


def test_a_run_is_meant_by_its_path_its_name_or_as_the_last() -> None:
    for path in ("runs/a/20260101-000000-ffff", "runs/a/20260102-000000-aaaa", "runs/b/20260101-120000-bbbb"):
        Path(path).mkdir(parents=True)
        Path(path, "run.json").write_text("{}")
    Path("runs/b/20260103-000000-cccc-sweep").mkdir()
    Path("runs/b/20260103-000000-cccc-sweep/sweep.yaml").write_text("")
    here = Path("runs/a/20260101-000000-ffff")
    assert run_directory.meant(here, "run") == here
    assert run_directory.meant(Path("a"), "run") == Path("runs/a/20260102-000000-aaaa")
    assert run_directory.meant(Path("last"), "run") == Path("runs/a/20260102-000000-aaaa")
    assert run_directory.meant(Path("b"), "run") == Path("runs/b/20260101-120000-bbbb")
    assert run_directory.meant(Path("b"), "sweep") == Path("runs/b/20260103-000000-cccc-sweep")
    assert run_directory.meant(Path("last"), "sweep", "run") == Path("runs/b/20260103-000000-cccc-sweep")
    Path("a").mkdir()  # a folder of pictures, say, from which `trainkit init` has taken the name
    assert run_directory.meant(Path("a"), "run") == Path("runs/a/20260102-000000-aaaa")
    assert run_directory.meant(Path("runs/a"), "run") == Path("runs/a/20260102-000000-aaaa")
    assert run_directory.meant(Path("runs"), "run") == Path("runs")
    Path("a/run.json").touch()  # a run that is there is meant first
    assert run_directory.meant(Path("a"), "run") == Path("a")
    Path("c").mkdir()
    assert run_directory.meant(Path("c"), "run") == Path("c")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("smok", "smok: no such file or run; did you mean 'smoke'?"),
        ("last", "last: no such file or sweep in runs"),
        ("/no/such", "/no/such: no such file or run"),
        ("runs/smoky", "runs/smoky: no such file or run; did you mean runs/smoke?"),
    ],
)
def test_what_nobody_can_mean_is_told(word: str, message: str) -> None:
    Path("runs/smoke/one").mkdir(parents=True)
    Path("runs/smoke/one/run.json").write_text("{}")
    with pytest.raises(CheckpointError) as error:
        run_directory.meant(Path(word), "sweep" if word == "last" else "run")
    assert str(error.value) == message
