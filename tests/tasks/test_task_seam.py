"""The proof of the seam: a task and an input kind that trainkit knows nothing of do all that its own ones do."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import records
from tests.reports.test_report_page import Page
from tests.tasks.conftest import same_when_killed, trainkit
from trainkit.runs.run_directory import RunDir

pytestmark = pytest.mark.usefixtures("module_is_found")

BINS = 6
CONFIG = """
name: waves
imports: [bearings]
data: {{name: recordings, path: "{path}", val: 60}}
loader: {{batch_size: 32}}
model: antenna
optimizer: {{name: adam, lr: 0.01}}
train: {{epochs: 6, eval_every: 5, ema: 0.9}}
log: {{every: 4, tensorboard: true, pictures: true}}
checkpoint: {{every: 3}}
"""
"""36 steps."""
BARE = ("loader.num_workers=0", "model.hidden=32", "model.dropout=0.0")
"""Learns by heart, and soon."""


def spectra(angles: NDArray[Any], seed: int) -> NDArray[np.complex64]:
    """Of waves from these angles, shape (n, BINS), complex64: each bin turns with the angle, under noise."""
    random = np.random.default_rng(seed)
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, BINS)
    noise = random.normal(scale=0.2, size=(2, len(angles), BINS))
    waves = np.exp(1j * (np.deg2rad(angles)[:, None] + phases)) + noise[0] + 1j * noise[1]
    return np.asarray(waves, np.complex64)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, its config and its recordings."""
    place = tmp_path_factory.mktemp("waves")
    shutil.copy(Path(__file__).with_name("bearings.py"), place)
    (place / "recordings").mkdir()
    (place / "waves.yaml").write_text(CONFIG.format(path=place / "recordings"))
    angles = np.random.default_rng(1).uniform(-180, 180, 320).astype(np.float32)
    np.save(place / "recordings" / "angles.npy", angles)
    for number, one in enumerate(spectra(angles, 2)):
        np.save(place / "recordings" / f"{number}.npy", one)
    return place


@pytest.fixture(scope="module")
def config(place: Path) -> str:
    return str(place / "waves.yaml")


def test_it_learns(run: Path) -> None:
    found = [line for line in records(run) if line["kind"] == "eval" and line["split"] == "val"]
    assert {"loss", "degrees"} <= found[-1].keys()
    assert found[0]["degrees"] > 2 * found[-1]["degrees"]
    assert found[-1]["degrees"] < 15


@pytest.mark.parametrize("workers", ["loader.num_workers=0", "loader.num_workers=2"])
@pytest.mark.parametrize("point", ["step.after_backward=kill@10", "eval.mid=kill@2"])
def test_killed_and_resumed(run: Path, config: str, workers: str, point: str) -> None:
    same_when_killed(run, config, workers, point=point)


def test_evaluated(run: Path) -> None:
    found = json.loads(trainkit("eval", "--ckpt", str(run), "--json").stdout)
    assert found["metrics"]["degrees"] < 15
    assert found["quadrants"].keys() == {"north", "east", "south", "west"}
    assert found["notes"] == []
    shown = trainkit("eval", "--ckpt", str(run), "--split", "val").stdout.splitlines()
    assert shown[0].startswith("val/loss ")
    assert [line.split()[0] for line in shown[1:]] == ["north", "east", "south", "west"]
    trainkit("eval", "--ckpt", str(run), "data.in_memory=true")


def test_predicted(run: Path, tmp_path: Path) -> None:
    angles = np.array([10.0, 100.0, 190.0, 300.0])
    np.save("new.npy", spectra(angles, 3))
    np.save("one.npy", spectra(angles[:1], 4)[0])
    words = ("predict", "--ckpt", str(run), "new.npy", "one.npy")
    rows = list(csv.DictReader(trainkit(*words, "--csv").stdout.splitlines()))
    assert [row["input"] for row in rows] == ["new.npy:0", "new.npy:1", "new.npy:2", "new.npy:3", "one.npy"]
    assert [row["from"] for row in rows] == ["north", "east", "south", "west", "north"]
    off = [abs((float(row["angle"]) - angle + 180) % 360 - 180) for row, angle in zip(rows, angles, strict=False)]
    assert max(off) < 40
    plain = json.loads(trainkit(*words, "--json").stdout)
    assert plain[0] == {"input": "new.npy:0", "from": "north", "angle": float(rows[0]["angle"])}
    table = trainkit(*words).stdout.splitlines()
    assert table[0].split() == ["input", "from", "angle"]
    assert table[2].split() == ["new.npy:1", "east", f"{float(rows[1]['angle']):.1f}°"]
    np.save("real.npy", np.zeros((2, BINS), np.float32))
    wrong = trainkit("predict", "--ckpt", str(run), "real.npy", "none.jpg", code=3)
    expected = f"expected an .npy array of complex numbers of shape ({BINS},) or (n, {BINS})"
    assert f"real.npy: float32 of shape (2, {BINS}); {expected}" in wrong.stderr
    assert f"none.jpg: {expected}" in wrong.stderr
    ranked = trainkit(*words, "--top", "2", code=2)
    assert "--top is for classes and labels, this model predicts angles" in ranked.stderr


def test_drawn(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(RunDir(run).tensorboard), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    assert {tag for tag in tags if tag.startswith("pictures/")} == {"pictures/train", "pictures/val", "pictures/worst"}
    said = [line for line in records(run) if line["kind"] == "note"]
    assert said == []


def test_reported(run: Path, tmp_path: Path) -> None:
    trainkit("report", str(run), "--output", str(tmp_path / "page.html"))
    page = Page(tmp_path / "page.html")
    assert ["quadrant", "val samples"] in page.rows
    assert "Where the waves come from" in page.text
    assert "Errors around the circle" in page.text
    assert "°" in page.text
    assert "could not" not in page.text


def test_checked(config: str) -> None:
    checked = trainkit("check", config)
    assert re.match(r"\S+: ok \(.*\)\nread of recordings: ", checked.stdout)
    summary = json.loads(trainkit("summary", config, "--json").stdout)
    assert summary
    shown = trainkit("data", config).stdout
    assert f"2x{BINS} complex64" in shown
    assert "1 angles" in shown
    assert Path("waves-batch.png").is_file()
    found = json.loads(trainkit("data", config, "data.in_memory=true", "--json").stdout)
    assert found["target"] == {"kind": "bearing", "classes": ["0"]}
    assert found["counts"] == {}
    assert found["findings"] == []


def test_learned_by_heart(config: str) -> None:
    learned = json.loads(trainkit("overfit", config, "--batches", "1", *BARE, "--json").stdout)
    assert learned["by_heart"]
    assert learned["attainable"] == 1


def test_examined(config: str) -> None:
    found = json.loads(trainkit("doctor", config, *BARE, "--json").stdout)
    assert found["symptoms"] == []
    assert any("after learning shuffled labels" in one for one in found["sound"])


def test_swept(config: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_RUNS_DIR", "runs")
    trainkit("sweep", config, "optimizer.lr=0.01,0.00001", "log.tensorboard=false", "--jobs", "2")
    [directory] = Path("runs/waves").iterdir()
    rows = list(csv.DictReader((directory / "results.csv").read_text().splitlines()))
    assert [row["optimizer.lr"] for row in rows] == ["0.01", "1e-05"]
    assert float(rows[0]["val/degrees"]) < float(rows[1]["val/degrees"])
    trainkit("report", str(directory))


def test_asked_for_by_name(tmp_path: Path, place: Path) -> None:
    """Of data sources that know nothing of it: tensors, a dataset of one's own, a column of a table."""
    angles = np.load(place / "recordings" / "angles.npy")
    inputs = np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], 1).astype(np.float32)
    np.savez("waves.npz", inputs=inputs, targets=angles)
    rows = [f"{x:.4f},{y:.4f},{angle:.2f}" for (x, y), angle in zip(inputs.tolist(), angles.tolist(), strict=True)]
    Path("waves.csv").write_text("\n".join(["x,y,from", *rows, "0.1,0.2,"]))
    Path("own_waves.py").write_text(
        "import numpy as np\n"
        "from torch.utils.data import Dataset\n"
        "from trainkit.data import register_dataset\n"
        "@register_dataset('own_waves')\n"
        "class Own(Dataset):\n"
        "    file = dict(np.load('waves.npz'))\n"
        "    def __len__(self): return len(self.file['targets'])\n"
        "    def __getitem__(self, number): return self.file['inputs'][number], self.file['targets'][number]\n"
    )
    model = "model: {name: mlp, hidden: [32]}\noptimizer: {name: adam, lr: 0.01}\ntrain: {epochs: 10}\n"
    for name, data in {
        "tensors": "{name: tensors, file: waves.npz, target: bearing}",
        "own": "{name: own_waves, target: bearing}",
        "table": "{name: csv, path: waves.csv, target: from, task: bearing}",
    }.items():
        Path(f"{name}.yaml").write_text(f"imports: [bearings, own_waves]\ndata: {data}\n{model}")
        trainkit("train", f"{name}.yaml", "--run-dir", name, "-q")
        found = [line["degrees"] for line in records(Path(name)) if line["kind"] == "eval" and line["split"] == "val"]
        assert found[-1] < 20
    wrong = trainkit("train", "tensors.yaml", "data.target=baring", code=2).stderr
    assert "data.target: expected classification, multilabel, regression or bearing, got 'baring'" in wrong
    assert "did you mean 'bearing'?" in wrong
    masks = trainkit("train", "tensors.yaml", "data.target=segmentation", code=2).stderr
    assert "expected classification, multilabel, regression or bearing" in masks


def test_balanced_by_what_the_task_says(config: str) -> None:
    for key, what in {
        "loader.sampler=balanced": "loader.sampler: balanced needs",
        "data.stratify=true": "data.str",
    }.items():
        refused = trainkit("train", config, key, code=3).stderr
        assert what in refused
        assert "are no classes, but angles" in refused


def test_details_merge() -> None:
    from tests.tasks.bearings import ByQuadrant

    cpu = torch.device("cpu")
    outputs, targets = torch.randn(20, 2), torch.rand(20) * 360
    whole, first, rest = ByQuadrant(cpu), ByQuadrant(cpu), ByQuadrant(cpu)
    whole.update(outputs, targets)
    first.update(outputs[:7], targets[:7])
    rest.update(outputs[7:], targets[7:])
    first.merge(rest)
    assert first.means() == pytest.approx(whole.means())
