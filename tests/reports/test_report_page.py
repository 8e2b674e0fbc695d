"""The page of a run or a sweep: that it is whole, says what is true, and needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
import shutil
import statistics
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import bare, warm
from tests.conftest import MakeExperiment
from tests.runs.test_reader import make_sweep, tell
from trainkit.core.errors import CheckpointError, ConfigError, DivergedError, StorageError, TrainkitError
from trainkit.core.records import EvalRecord, TrainRecord
from trainkit.data.sources.sklearn_files import embedded, feature_names, train_test_rows
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.plots.figures import COLOURS
from trainkit.plots.svg import MOST_VALUES
from trainkit.reports import page_data, report_page
from trainkit.reports.curves import curves_of
from trainkit.runs import reader
from trainkit.runs.history import History
from trainkit.runs.run import resume, train
from trainkit.tasks.ranked import precision_and_roc

EVIL = "<script>alert(1)<&"
VOID = {"meta", "link", "br", "img", "path", "use", "input"}


class Page(HTMLParser):
    """A page taken apart: its text, its tags with their attributes, the cells of its tables. It must be whole."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)
            if {"td", "th"} & set(self._open) and self.rows:
                self.rows[-1][-1] += data.strip()

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(run: Path, **keywords: Any) -> tuple[Page, list[str]]:
    """The report of a run, and what it says is missing."""
    written = report_page.write(run, **keywords)
    return Page(written.path), written.missing


def assert_only_our_script(found: Page) -> None:
    """The one script is ours, and the policy of the page lets no other run."""
    [script] = re.findall("<script.*?</script>", found.source, re.DOTALL)
    assert found.of("script") == [{}]
    ours = Path(report_page.__file__).with_suffix(".js").read_text("utf-8")
    assert script == f"<script>{ours}</script>"
    policy = next(meta["content"] for meta in found.of("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def tables(found: Page, columns: int) -> list[list[list[str]]]:
    """The rows below each head that begins with `name`, of tables with so many columns."""
    split: list[list[list[str]]] = []
    for row in found.rows:
        if len(row) == columns and row[0] == "name":
            split.append([])
        elif len(row) == columns:
            split[-1].append(row)
    return split


def pictures(root: Path, *classes: str, count: int = 12, side: int = 12) -> None:
    """A folder of pictures per class, of noise around a shade of its own."""
    random = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index in range(count):
            noise = random.integers(0, 60, (side, side, 3)) + 50 * number
            Image.fromarray(noise.astype(np.uint8)).save(root / name / f"{index}.png")


def test_the_page_of_a_run_says_what_evaluation_says_and_needs_nothing_else(make: MakeExperiment) -> None:
    result = train(make(log={"every": 2}), quiet=True)
    found, missing = page(result.run_dir)
    assert missing == []
    assert "What is missing" not in found.text

    for name, value in result.metrics.items():
        assert name in found.text
        assert (f"{value:.2%}".replace("%", " %") if "accuracy" in name else f"{value:.4g}") in found.text
    for verdict in reader.read_run(result.run_dir).metadata["curves"]:
        assert html.unescape(verdict) in found.text
    titles = re.findall(r'aria-label="([^"]*)"', found.source)
    assert titles == [
        "Loss", "Gradient norm, before clipping",
        *["Precision against recall, class by class", "ROC curve, class by class"] * 2,
    ]  # fmt: skip
    for constant in (f"val/accuracy: {result.metrics['val/accuracy']:.2%}", "Learning rate: 0.01"):
        assert f"{constant.replace('%', ' %')}, throughout" in found.text
    parts = ("worst mistakes", "Curves", "The val split", "The test split", "Config", "Data", "Environment")
    assert sorted(parts, key=found.text.index) == list(parts)
    folded = found.source.partition("<summary><h2>Config</h2></summary>")[2]
    assert "The worst mistakes" not in folded

    starts = [number for number, row in enumerate(found.rows) if row == ["", "0", "1", "2", "3"]]
    wrong = []
    for name, start, table in zip(("val", "test"), starts, tables(found, 8), strict=True):
        measured = evaluate_checkpoint(result.run_dir, name)
        assert measured.confusion is not None
        matrix = [[int(cell.replace("·", "0")) for cell in row[1:]] for row in found.rows[start + 1 : start + 5]]
        assert matrix == measured.confusion
        assert [row[0] for row in table] == ["0", "1", "2", "3"]
        assert [int(row[2]) for row in table] == [score.support for score in measured.per_class]
        assert [row[4] for row in table] == [f"{score.recall:.2%}".replace("%", " %") for score in measured.per_class]
        assert sum(int(row[1]) for row in table) == 128
        wrong.append(sum(map(sum, matrix)) - sum(matrix[number][number] for number in range(4)))
    sources = [attributes["src"] or "" for attributes in found.of("img")]
    assert len(sources) == sum(min(count, page_data.MISTAKES) for count in wrong)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    picture = Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2])))
    assert picture.size == (8, 8)

    assert "http" not in found.source.replace('http-equiv="Content-Security-Policy"', "")
    assert not {"link", "a", "iframe", "object"} & {tag for tag, _ in found.tags}
    assert_only_our_script(found)
    assert re.findall(r"url\((?!#)", found.source) == []
    assert 'name="viewport"' in found.source
    for query in ("prefers-color-scheme: dark", "@media print", "max-width: 30rem"):
        assert query in found.source
    assert len(found.source) < 200_000

    first = (result.run_dir / "report.html").read_bytes()
    page(result.run_dir, output=Path("again.html"))
    assert Path("again.html").read_bytes() == first


def test_differences_from_the_defaults_are_marked(make: MakeExperiment) -> None:
    result = train(make(optimizer={"name": "sgd", "lr": 0.02}, train={"epochs": 1}), quiet=True)
    settings, experiment = report_page._settings(result.run_dir, [])
    assert experiment is not None
    by_key = {setting.key: setting for section in settings.values() for setting in section}
    marked = {key: setting.default for key, setting in by_key.items() if setting.default is not None}
    assert (
        marked | {"optimizer.name": "adam", "optimizer.lr": "0.01", "train.epochs": "10", "data.name": "required"}
        == marked
    )
    assert not {"seed", "optimizer.momentum", "loss.name", "model.kernel_size", "train.precision"} & marked.keys()
    assert by_key["optimizer.momentum"].value == "0.0"
    found, _ = page(result.run_dir)
    rows = [row for tag, row in found.tags if tag == "tr" and row.get("class") == "set"]
    assert len(rows) == len(marked)
    assert ["lr", "0.020.01"] in found.rows


def test_a_class_name_is_no_markup(make: MakeExperiment) -> None:
    pictures(Path("pets"), EVIL, "$x^2$", "_cat", "дом")
    data = {"name": "image_folder", "path": "pets", "size": 12, "val": 16}
    result = train(make(data=data, train={"epochs": 1}), quiet=True)
    found, missing = page(result.run_dir)
    assert missing == []
    assert_only_our_script(found)
    assert html.escape(EVIL, quote=False) in found.source
    for name in (EVIL, "$x^2$", "_cat", "дом"):
        assert sum(row[0] == name for row in found.rows) == 4  # in a confusion matrix and a table for val and for test


def test_larger_pictures_are_made_small(make: MakeExperiment) -> None:
    pictures(Path("pets"), "a", "b", side=200)
    data = {"name": "image_folder", "path": "pets", "size": 200, "val": 12}
    result = train(make(data=data, train={"epochs": 1}, optimizer={"lr": 1e-9}), quiet=True)
    found, _ = page(result.run_dir)
    sources = [attributes["src"] or "" for attributes in found.of("img")]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    picture = Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2])))
    assert picture.size == (page_data.SIDE, page_data.SIDE)


@pytest.mark.parametrize(
    ("sections", "titles", "rows"),
    [
        (
            {"data": {"target": "regression", "size": 2}, "loss": "mse"},
            ["val/mae", "Predictions against targets", "Residuals"],
            0,
        ),
        (
            {"data": {"target": "multilabel", "size": 3}, "loss": "bce_with_logits"},
            ["val/accuracy", "ROC curve, label by label"],
            3,
        ),
        ({"data": {"size": 2}, "loss": "bce_with_logits"}, ["ROC curve, class by class"], 2),
        (
            {"data": {"name": "synthetic", "shape": [6, 3], "min_length": 2, "samples": 100}, "model": {"name": "rnn"}},
            ["ROC curve, class by class"],
            10,
        ),
    ],
)
def test_every_kind_of_target(make: MakeExperiment, sections: dict[str, Any], titles: list[str], rows: int) -> None:
    result = train(make(**sections, train={"epochs": 1}), quiet=True)
    found, missing = page(result.run_dir)
    assert missing == []
    labels = re.findall(r'aria-label="([^"]*)"', found.source)
    only = set(re.findall(r"(val/\w+): [\d.]+(?: %)?, the only one", found.text))
    assert set(titles) <= {*labels, *only}
    assert [len(table) for table in tables(found, 8)] == ([rows] * 2 if rows else [])


def test_many_classes(make: MakeExperiment) -> None:
    data = {"size": 30, "samples": 400, "val": 200}
    result = train(make(data=data, train={"epochs": 1}), quiet=True)
    found, _ = page(result.run_dir)
    assert "The 20 worst of 30 classes by F1" in found.text
    for table in tables(found, 8):
        scores = [float(row[5].rstrip(" %")) for row in table if row[5] != "-"]
        assert scores == sorted(scores)
    of_val, of_test = [attributes for attributes in found.of("img") if attributes.get("class") == "whole"]
    assert (of_val["src"] or "").startswith("data:image/png;base64,")
    assert of_test != of_val
    assert f"The {len(COLOURS)} of 30 with the lowest average precision." in found.text


def test_what_changes_is_drawn_and_what_does_not_is_said() -> None:
    steps = tuple(TrainRecord(step, step / 10, 2 - step / 100, 0.01, math.nan, 1.0) for step in range(1, 101))
    values = [{"loss": 1.5, "accuracy": 0.5, "mae": 2.0}, {"loss": math.nan, "accuracy": 0.987, "mae": 2.0}]
    vals = tuple(EvalRecord(50 * n, 5.0 * n, "val", one, n == 1, 1.0) for n, one in enumerate(values, 1))
    charts, constant = curves_of(History(steps, (), vals))
    assert constant == ["val/mae: 2, throughout", "Learning rate: 0.01, throughout"]
    assert [one.title for one in charts] == ["Loss", "val/accuracy"]
    loss, accuracy = (one.values for one in charts)
    assert loss is not None
    assert accuracy is not None
    assert accuracy["lines"] == [{"name": "accuracy", "x": [5.0, 10.0], "y": ["50.00 %", "98.70 %"]}]
    assert ">80\u00a0%<" in charts[1].svg.replace(" ", "").replace("</text>", "<")
    assert [(line["name"], len(line["x"])) for line in loss["lines"]] == [("train", 100), ("val", 1)]
    assert accuracy["from"] < 5 < 10 < accuracy["to"]
    assert 0 < loss["left"] < loss["left"] + loss["width"] < 100


def test_many_points_are_thinned_for_the_crosshair() -> None:
    steps = tuple(TrainRecord(step, step / 10, 1 / step, 0.01, 1.0, 1.0) for step in range(1, 5001))
    [loss], _ = curves_of(History(steps, (), ()))
    assert loss.values is not None
    assert 200 < len(loss.values["lines"][0]["x"]) <= MOST_VALUES


def test_curves_worked_example() -> None:
    there, chance = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    recall, roc = precision_and_roc("cat", there, chance)
    assert list(zip(recall.x, recall.y, strict=True)) == [(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)]
    assert list(zip(roc.x, roc.y, strict=True)) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]


PREDICTIONS = "predictions of the val split"


def test_what_cannot_be_shown_is_said(make: MakeExperiment) -> None:
    with pytest.raises(DivergedError):
        train(make(optimizer={"name": "sgd", "lr": 1e30}, data={"name": "digits"}), run_dir=Path("lost"), quiet=True)
    found, missing = page(Path("lost"))
    assert missing == [f"{PREDICTIONS}: there is no checkpoint"]
    assert missing[0] in found.text
    assert "diverged" in found.text
    assert "the loss is not finite" in found.text
    assert "The training diverged: nothing else" in found.text

    train(make(data={"val": 0}), run_dir=Path("alone"), quiet=True)
    assert page(Path("alone"))[1] == [f"{PREDICTIONS}: there is no val split"]

    pictures(Path("pets"), "a", "b")
    data = {"name": "image_folder", "path": "pets", "size": 12, "val": 8}
    train(make(data=data, train={"epochs": 1}), run_dir=Path("gone"), quiet=True)
    shutil.move("pets", "elsewhere")
    found, missing = page(Path("gone"))
    [reason] = missing
    assert reason.startswith(f"{PREDICTIONS}: ")
    assert reason.endswith(f"{Path('pets').absolute()}: no such file or directory")
    assert "Class by class" not in found.text
    assert ["val", "8", reader.read_run(Path("gone")).metadata["data"]["val"]] in found.rows
    assert page(Path("gone"), overrides=["data.path=elsewhere"])[1] == []

    (Path("elsewhere") / "a" / "0.png").unlink()
    assert page(Path("gone"), overrides=["data.path=elsewhere"])[1] == [
        f"predictions of the {name} split: these {name} samples are not the ones of the training run"
        for name in ("val", "test")
    ]
    pictures(Path("others"), "a", "b", "c")
    assert page(Path("gone"), overrides=["data.path=others"])[1] == [
        f"{PREDICTIONS}: gone/checkpoints/best.pt: trained for 2 classes, this data has others"
    ]


def test_damaged_parts_are_left_out(make: MakeExperiment) -> None:
    run = train(make(), quiet=True).run_dir
    (run / "metrics.jsonl").unlink()
    (run / "config.yaml").write_text("name: [")
    (run / "checkpoints/best.pt").write_bytes(b"torn")
    tell(run, curves=3, notes="x", environment=[], fallback={"asked": 1}, resumed_at=7)
    found, missing = page(run)
    assert [reason.partition(":")[0] for reason in missing] == ["curves", "config", PREDICTIONS]
    assert "Nothing was recorded yet." in found.text
    (run / "config.yaml").write_text("name: a\nmodel: {name: nothing}\n")
    found, missing = page(run)
    assert missing[1].startswith("the defaults of the config: ")
    assert ["name", "nothing"] in found.rows


def test_a_run_that_is_not_over(make: MakeExperiment) -> None:
    run = train(make(train={"epochs": 3}), quiet=True).run_dir
    tell(run, status="running", metrics=None, ended_at=None, curves=None)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[: len(lines) // 2]) + '\n{"kind": "tra')
    found, missing = page(run)
    assert missing == []
    assert "killed" in found.text
    assert "val/accuracy, best so far" in found.text
    assert re.search(r"trained [12]\.?\d* epochs of 3", found.text)


def test_notes_the_stand_in_and_resumptions_are_told(make: MakeExperiment) -> None:
    run = train(make(), quiet=True).run_dir
    resume(run, ["train.epochs=3"], quiet=True)
    tell(run, notes=["2 pictures were left out"], fallback={"asked": "mnist", "used": "digits", "why": "no network"})
    found, _ = page(run)
    assert "2 pictures were left out" in found.text
    assert "Trained on digits, not on mnist: no network" in found.text
    assert re.search(r"resumed \d{4}-\d\d-\d\d \d\d:\d\d UTC", found.text)


def test_a_quick_try_is_not_judged(make: MakeExperiment) -> None:
    run = train(make(train={"limit_batches": 2}), quiet=True).run_dir
    assert "A quick try: train.limit_batches is set." in page(run)[0].text


def test_the_page_of_a_sweep(make: MakeExperiment) -> None:
    axes: dict[str, list[Any]] = {
        "optimizer.lr": [0.001, 0.01, 1e38],
        "seed": [0, 1],
        "model.activation": ["relu", "tanh"],
    }
    sweep = make_sweep(make, Path("runs/tiny/a-sweep"), axes)
    plan = json.loads((sweep / "sweep.json").read_text())
    (sweep / "logs/003.log").write_text("error: data: <too> few samples\n")
    shutil.rmtree(sweep / "trials/003")
    found, missing = page(sweep)
    assert missing == []
    told = reader.read_sweep(sweep)
    ranked = [row for row in found.rows if row[0].isdigit() and len(row) == 8]
    assert [row[1] for row in ranked] == [trial.path.name for trial in told.ranked]
    assert len(ranked) == sum(trial.status == "finished" for trial in told.trials)
    unranked = [row[1] for row in found.rows if row[0] == "" and len(row) == 8]
    assert unranked == [trial.path.name for trial in told.trials if trial.status != "finished"]
    assert {"003", "008"} <= set(unranked)
    shares = [float(row[5].rstrip(" %")) for row in ranked]
    assert shares == sorted(shares, reverse=True)
    assert plan["monitor"] in found.text
    assert "test/accuracy" not in found.text

    titles = re.findall(r'aria-label="([^"]*)"', found.source)
    assert titles == [f"val/accuracy against {key}" for key in axes]
    values = [
        trial.metrics["val/accuracy"]
        for number, trial in enumerate(told.trials)
        if number in (4, 6)  # 0.01 and relu, of both seeds
    ]
    mean, deviation = (
        f"{value:.2%}".replace("%", " %") for value in (statistics.mean(values), statistics.stdev(values))
    )
    assert ["optimizer.lr=0.01 model.activation=relu", "2", mean, deviation] in found.rows
    told_points = [row[0] for row in found.rows if len(row) == 4 and "optimizer.lr=" in row[0]]
    means = [float(row[2].rstrip(" %")) for row in found.rows if len(row) == 4 and "optimizer.lr=" in row[0]]
    assert len(means) >= 4
    assert means == sorted(means, reverse=True)
    assert f"The best: {told_points[0]} , mean of val/accuracy over" in found.text
    best = next(row for row in ranked if f"optimizer.lr={row[2]} model.activation={row[4]}" == told_points[0])
    assert f"trainkit train {sweep}/trials/{best[1]}/config.yaml" in found.text
    assert {row[0] for row in found.rows if len(row) == 3} >= set(axes)
    assert "4 trials diverged, all of them with optimizer.lr=1e+38" in found.text
    assert "003 failed optimizer.lr=0.001 seed=1 model.activation=tanh data: <too> few samples" in found.text
    assert len(re.findall("the loss is not finite", found.text)) == len(unranked) - 1
    assert "http" not in found.source.replace('http-equiv="Content-Security-Policy"', "")
    assert not {"a", "link"} & {tag for tag, _ in found.tags}
    assert_only_our_script(found)
    first = found.source
    assert page(sweep)[0].source == first


def test_the_command(make: MakeExperiment) -> None:
    train(make(), run_dir=Path("one"), quiet=True)
    ended = warm.run(["report", "one"])
    assert (ended.code, ended.stdout, ended.stderr) == (0, "one/report.html\n", "")
    shutil.rmtree("one/checkpoints")
    ended = warm.run(["report", "one", "--output", "page.html"])
    assert (ended.code, ended.stdout) == (0, "page.html\n")
    assert ended.stderr == f"warning: {PREDICTIONS}: there is no checkpoint\n"
    assert Path("page.html").is_file()
    ended = bare.run(["report"])
    assert (ended.code, ended.stderr) == (2, "error: command line: RUN is missing; usage: trainkit report RUN\n")
    helped = bare.run(["report", "--help"]).stdout
    assert helped.partition("\n")[0].endswith(" report [OPTIONS] [RUN...] [KEY=VALUE]...")
    assert "its name (the newest of that name), or last. Several are compared." in " ".join(helped.split())
    ended = bare.run(["report", "on"])
    assert (ended.code, ended.stderr) == (4, "error: on: no such file or run; did you mean one?\n")
    assert not ended.imported_torch


def test_several_runs_side_by_side(make: MakeExperiment) -> None:
    train(make(train={"epochs": 1}), run_dir=Path("one"), quiet=True)
    train(make(train={"epochs": 2}, optimizer={"name": "sgd", "lr": 0.02}), run_dir=Path("two"), quiet=True)
    ended = warm.run(["report", "one", "two"])
    assert (ended.code, ended.stdout, ended.stderr) == (0, "comparison.html\n", "")
    found = Page(Path("comparison.html"))
    assert_only_our_script(found)
    names = [f"{reader.read_run(Path(name)).metadata['name']} {name}" for name in ("one", "two")]
    assert [row[0] for row in found.rows[1:3]] == names
    assert found.rows[0][0] == "run"
    assert ["train.epochs", "1", "2"] in found.rows
    assert ["optimizer.lr", "0.01", "0.02"] in found.rows
    assert not any(row[0] == "seed" for row in found.rows)
    titles = re.findall(r'aria-label="([^"]*)"', found.source)
    assert titles == ["train/loss", "val/loss", "val/accuracy"]
    ended = warm.run(["report", "one", "two", "data.size=2"])
    assert ended.stderr == "error: command line: runs are compared as they were recorded; leave KEY=VALUE out\n"
    ended = warm.run(["report", "one", "tow"])
    assert ended.stderr == "error: tow: no such file or run; did you mean two?\n"


def test_errors(make: MakeExperiment) -> None:
    train(make(train={"epochs": 1}), run_dir=Path("one"), quiet=True)
    Path("sweep").mkdir()
    Path("sweep/sweep.yaml").touch()
    kinds: dict[type[TrainkitError], tuple[Any, ...]] = {
        CheckpointError: ("one/checkpoints", None, [], "one/checkpoints: no run here"),
        StorageError: ("one", Path("nowhere/a.html"), [], "nowhere: no such directory"),
        ConfigError: ("one", None, ["seed=1"], "command line: seed=1: only data and loader can change in a report"),
    }
    for kind, (path, output, overrides, error) in kinds.items():
        with pytest.raises(kind) as raised:
            report_page.write(Path(path), output, overrides=overrides)
        assert str(raised.value) == error
    with pytest.raises(CheckpointError, match=r"^sweep: damaged: sweep\.json or sweep\.yaml: not what a sweep writes$"):
        report_page.write(Path("sweep"))


def test_a_table_has_its_yardsticks_and_worst_rows(make: MakeExperiment) -> None:
    data = {"name": "diabetes", "val": 0.2}
    result = train(make(data=data, model={"name": "mlp", "hidden": [8]}, loss="mse", train={"epochs": 3}), quiet=True)
    found, missing = page(result.run_dir)
    assert missing == []
    for name, value in reader.read_run(result.run_dir).metadata["yardsticks"].items():
        if "answer" in value:
            assert f"a constant prediction gives {value['constant']:.4g} ({value['answer']})" in found.text
        assert f"{value['samples']:,} samples" in found.text, name
    assert found.text.count("a linear model gives ") == 2  # MAE on val and test
    numbers = [row for row in found.rows if len(row) == 9 and row[0]]
    assert [row[0] for row in numbers][::2] == ["disease progression"] * 2
    assert [row[0].partition(", ")[0] for row in numbers][1::2] == ["always the mean"] * 2
    assert all(abs(float(row[4])) < 0.05 for row in numbers[1::2])  # R2
    assert all(float(other[2]) > float(one[2]) for one, other in zip(numbers[::2], numbers[1::2], strict=True))
    worst = [row for row in found.rows if len(row) == 3 + page_data.MOST_COLUMNS and row[0].isdigit()]
    assert len(worst) == 2 * page_data.WORST_ROWS
    off = [abs(float(true) - float(said)) for _, true, said, *_ in worst[: page_data.WORST_ROWS]]
    assert off == sorted(off, reverse=True)

    columns = [row for row in found.rows if len(row) == 8][1:]
    assert {row[0] for row in columns} == {"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"}
    needed = [float(row[1]) for row in columns]
    assert needed == sorted(needed, reverse=True)
    widths = re.findall(r'class="bar" style="width: ([\d.]+)%"', found.source)
    assert [float(width) for width in widths] == [
        pytest.approx(100 * max(0, one) / needed[0], abs=0.2) for one in needed
    ]
    head = next(row for row in found.rows if row[:2] == ["sample, from 0", "true"])
    assert head[3:] == [row[0] for row in columns[: page_data.MOST_COLUMNS]]
    table, names = embedded("diabetes"), feature_names("diabetes")
    rest, _ = train_test_rows(table.target, stratify=False)
    sample = table.data[rest][int(worst[0][0])]
    assert worst[0][3:] == [f"{sample[names.index(name)]:.4g}" for name in head[3:]]
    order = ("The val split", "The worst predictions", "The test split", "Columns", "Curves", "Config")
    assert sorted(order, key=found.text.index) == list(order)


def test_two_classes_have_scores_of_the_second(make: MakeExperiment) -> None:
    result = train(make(data={"size": 2}, train={"epochs": 1}), quiet=True)
    found, _ = page(result.run_dir)
    stored = reader.read_run(result.run_dir).metadata["threshold"]
    assert found.text.count("1 against 0: average precision ") == 2
    rows = [row for row in found.rows if row[:1] == ["best F1 on val"]]
    assert [row[1] for row in rows] == [f"{stored:.4g}"] * 2
