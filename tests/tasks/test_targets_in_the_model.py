"""Tasks whose targets go into the model, and whose outputs are no tensor: they do all that trainkit's own ones do."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.command import ROOT
from tests.conftest import records
from tests.reports.test_report_page import Page
from tests.tasks.calls import HEIGHT, WIDTH, ByKind, recordings
from tests.tasks.conftest import same_when_killed, trainkit
from trainkit.data import Batch
from trainkit.runs.run_directory import RunDir

pytestmark = pytest.mark.usefixtures("module_is_found")

CALLS = """
name: calls
imports: [calls]
data: {name: spectrograms, val: 40, stratify: true}
loader: {batch_size: 16, sampler: balanced, eval_batch_size: 32}
model: listener
optimizer: {name: adam, lr: 0.01}
train: {epochs: 8, eval_every: 20}
log: {every: 4, tensorboard: true, pictures: true}
checkpoint: {every: 3}
"""
"""144 steps."""
PAGE = (ROOT / "docs/own_task.md").read_text()


def blocks(kind: str) -> list[str]:
    """What the page shows of a kind."""
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules and their configs."""
    place = tmp_path_factory.mktemp("own")
    for name, text in {"calls": CALLS, "reversals": blocks("yaml")[0]}.items():
        shutil.copy(Path(__file__).with_name(f"{name}.py"), place)
        (place / f"{name}.yaml").write_text(text)
    return place


@pytest.fixture(scope="module")
def config(place: Path) -> str:
    return str(place / "calls.yaml")


def test_it_learns(run: Path) -> None:
    found = [line for line in records(run) if line["kind"] == "eval" and line["split"] == "val"]
    assert {"loss", "mistakes"} <= found[-1].keys()
    assert found[0]["mistakes"] > 2 * found[-1]["mistakes"]
    assert [line for line in records(run) if line["kind"] == "note"] == []


@pytest.mark.parametrize("workers", ["loader.num_workers=0", "loader.num_workers=2"])
def test_killed_and_resumed(run: Path, config: str, workers: str) -> None:
    same_when_killed(run, config, workers, point="step.after_backward=kill@11")


def test_evaluated(run: Path) -> None:
    found = json.loads(trainkit("eval", "--ckpt", str(run), "--json").stdout)
    assert found["metrics"].keys() == {"loss", "mistakes"}
    assert found["calls"]["low"]["found"] > found["calls"]["low"]["there"] / 2
    assert found["notes"] == []


def test_predicted(run: Path) -> None:
    pictures, calls = recordings(4, 5)
    np.save("new.npy", pictures.numpy())
    words = ("predict", "--ckpt", str(run), "new.npy")
    plain = json.loads(trainkit(*words, "--json").stdout)
    assert [one["input"] for one in plain] == [f"new.npy:{number}" for number in range(4)]
    assert sum(len(one["calls"]) for one in plain) == pytest.approx(sum(len(one["labels"]) for one in calls), abs=2)
    assert all(len(one["calls"]) == len(one["scores"]) for one in plain)
    rows = list(csv.DictReader(trainkit(*words, "--csv").stdout.splitlines()))
    assert [row["calls"].split() for row in rows] == [one["calls"] for one in plain]


def test_drawn_and_reported(run: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(RunDir(run).tensorboard), size_guidance={"images": 0})
    events.Reload()
    assert {"pictures/train", "pictures/val", "pictures/worst"} <= set(events.Tags()["images"])
    trainkit("report", str(run), "--output", str(tmp_path / "page.html"))
    page = Page(tmp_path / "page.html")
    assert ["kind", "val calls", "found"] in page.rows
    assert "could not" not in page.text


def test_checked(config: str) -> None:
    checked = trainkit("check", config)
    assert re.search(r"takes \(\(2, 1, 6, 24\), \[\{spans: \(\d, 2\), labels: \(\d,\)\}", checked.stdout)
    assert "gives {presence: (), place: (), kind: ()}" in checked.stdout
    summary = json.loads(trainkit("summary", config, "--json").stdout)
    assert summary["inputs"].startswith(f"((2, 1, {HEIGHT}, {WIDTH}), [{{spans: ")
    assert summary["outputs"] == "{presence: (), place: (), kind: ()}"
    found = json.loads(trainkit("data", config, "--json").stdout)
    assert found["target"] == {"kind": "find_calls", "classes": ["low", "high"]}
    assert found["counts"].keys() == {"train", "val", "test"}


def test_learned_by_heart(config: str) -> None:
    """No metric says how much is right: the loss does."""
    words = ("--batches", "1", "model.hidden=128", "model.dropout=0.0")
    learned = json.loads(trainkit("overfit", config, *words, "--json").stdout)
    assert learned["by_heart"]
    assert learned["score"] == pytest.approx(1 - learned["losses"][-1] / learned["start"])


def test_examined(config: str) -> None:
    found = json.loads(trainkit("doctor", config, "model.hidden=128", "model.dropout=0.0", "--json").stdout)
    assert found["symptoms"] == []


def test_a_sequence_for_a_sequence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the page shows it: the model is told the true words before each in training and evaluation, and goes on by
    itself with new ones."""
    monkeypatch.chdir(place)
    np.save("new.npy", np.array([[[1], [2], [3], [4]], [[5], [5], [1], [1]]]))
    checked, _, predicted = (trainkit(*shlex.split(line)[1:]).stdout for line in blocks("sh")[0].splitlines())
    assert "takes ((2, 4, 1), (2,), {words: (2, 5), lengths: (2,)}), gives (2, 5, 6)" in checked
    assert [line.split()[1] for line in predicted.splitlines()[1:]] == ["4", "1"]
    found = [line for line in records(Path("translated")) if line["kind"] == "eval" and line["split"] == "val"]
    assert found[-1]["right_words"] > 0.8
    same_when_killed(Path("translated"), "reversals.yaml", "loader.num_workers=2", point="step.after_backward=kill@25")
    evaluated = json.loads(trainkit("eval", "--ckpt", "translated", "--split", "val", "--json").stdout)
    assert evaluated["metrics"]["right_words"] == found[-1]["right_words"]
    trainkit("report", "translated", "--output", "page.html")


@pytest.mark.parametrize("block", blocks("python"))
def test_the_page_shows_code_that_runs(block: str) -> None:
    module = Path(__file__).with_name("reversals.py").read_text()
    assert "".join(block.split()) in "".join(module.split())


def test_what_the_model_gives_is_checked(place: Path) -> None:
    """Before training, with placeholders as of new samples, and with the first training samples."""
    module = (place / "calls.py").read_text()
    for name, old, new, said in (
        ("few", '"scores": ', '"score": ', "model: gives a list of dict, dict, which are no predictions of calls"),
        (
            "lost",
            '"found": self._heard(cells)',
            '"found": []',
            "model: gives a list, which are no predictions of calls",
        ),
    ):
        Path(f"calls_{name}.py").write_text(module.replace(old, new))
        Path(f"{name}.yaml").write_text(CALLS.replace("[calls]", f"[calls_{name}]"))
        assert said in trainkit("check", f"{name}.yaml", code=2).stdout
    other = trainkit("check", str(place / "calls.yaml"), "model=mlp", code=2).stdout
    assert "does not take as it learns; use one with forward(inputs, targets=None)" in other


def test_details_merge() -> None:
    cpu = torch.device("cpu")
    pictures, calls = recordings(20, 1)
    _, others = recordings(20, 2)
    whole, first, rest = ByKind(cpu), ByKind(cpu), ByKind(cpu)
    for tally, some in ((whole, range(20)), (first, range(7)), (rest, range(7, 20))):
        batch = Batch(pictures[some], [calls[number] for number in some], torch.tensor([*some]))
        tally.update([others[number] for number in some], batch.targets, batch)
    first.merge(rest)
    assert first.to_plain() == whole.to_plain()
