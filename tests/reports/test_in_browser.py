"""The pages in a real browser, at the widths of a phone, a tablet and a laptop, light and dark."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import tiny
from tests.runs.test_reader import make_sweep
from trainkit.core.text import format_metric
from trainkit.reports import report_page
from trainkit.runs import history
from trainkit.runs.run import train
from trainkit.runs.run_directory import RunDir

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None,
    reason="no Chromium here: not tested is how pages look at 390, 768 and 1,280 pixels, in light and dark, whether "
    "their text is readable, wide tables scroll, and the crosshair says the right values",
)

WIDTHS = (390, 768, 1280)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--enable-logging=stderr",
         "--user-data-dir=profile", "--virtual-time-budget=60000")  # fmt: skip
SCHEMES = {"light": 1, "dark": 0}
"""Chromium's numbers for them."""
READABLE = 4.5
"""The contrast of text, at least (WCAG 2.2, 1.4.3)."""

Seen = dict[str, Any]


def browse(*arguments: str) -> subprocess.CompletedProcess[str]:
    """One start of the browser."""
    assert BROWSER
    return subprocess.run([BROWSER, *FLAGS, *arguments], capture_output=True, text=True, check=True, timeout=120)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A page of every kind: `pictures`, `table`, `sweep`, `comparison`."""
    place = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train(tiny(log={"every": 2}, train={"epochs": 4}), run_dir=Path("pictures"), quiet=True)
        mlp = {"name": "mlp", "hidden": [8]}
        train(tiny(data={"name": "diabetes"}, model=mlp, loss="mse"), run_dir=Path("table"), quiet=True)
        axes: dict[str, list[Any]] = {"optimizer.lr": [0.001, 0.01, 1e38], "seed": [0, 1], "model.hidden": [[4], [8]]}
        make_sweep(lambda **sections: tiny(data={"shape": [1, 4, 4]}, **sections), Path("sweep"), axes)
        for name in ("pictures", "table", "sweep"):
            report_page.write(Path(name), Path(f"{name}.html"), device="cpu")
        report_page.compare([Path("pictures"), Path("table")], Path("comparison.html"))
        yield place


@pytest.fixture(scope="module")
def looked(place: Path) -> dict[str, dict[str, list[Seen]]]:
    """What `in_browser.js` sees, by scheme and page, once for each width; and the browser's messages."""
    pages = [path.name for path in sorted(place.glob("*.html"))]
    script = (Path(__file__).parent / "in_browser.js").read_text("utf-8")
    head = f"const PAGES = {json.dumps(pages)}, WIDTHS = {list(WIDTHS)};"
    (place / "frames.htm").write_text(f"<!DOCTYPE html><meta charset=utf-8><body><script>{head}\n{script}</script>")
    found: dict[str, dict[str, list[Seen]]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for scheme, number in SCHEMES.items():
            address = (place / "frames.htm").as_uri()
            ended = browse(f"--blink-settings=preferredColorScheme={number}", "--dump-dom", address)
            assert "CONSOLE" not in ended.stderr, ended.stderr  # errors of scripts, and what the page's policy refused
            result = re.search('<pre id="seen">(.*)</pre>', ended.stdout, re.DOTALL)
            assert result, ended.stdout[:1000]
            found[scheme] = json.loads(html.unescape(result[1]))
    return found


def every(looked: dict[str, dict[str, list[Seen]]]) -> list[tuple[str, Seen]]:
    """All that was seen, with what it was seen of."""
    named = [
        (f"{page}, {scheme}, {width}", seen)
        for scheme, pages in looked.items()
        for page, of_widths in pages.items()
        for width, seen in zip(WIDTHS, of_widths, strict=True)
    ]
    assert len(named) == 2 * 4 * 3
    return named


def test_no_page_is_wider_than_its_window_or_fetches_anything(looked: dict[str, dict[str, list[Seen]]]) -> None:
    for name, seen in every(looked):
        assert f"{seen['width']}" == name.rpartition(" ")[2]
        assert seen["scrollWidth"] <= seen["width"], name
        assert seen["fetched"] == [], name
        assert seen["dark"] == ("dark" in name)


def test_all_text_is_readable(looked: dict[str, dict[str, list[Seen]]]) -> None:
    for name, seen in every(looked):
        assert len(seen["texts"]) > 40
        assert [text for text in seen["texts"] if text[0] < READABLE] == [], name


def test_wide_tables_scroll_in_their_own_box_and_say_so(looked: dict[str, dict[str, list[Seen]]]) -> None:
    for name, seen in every(looked):
        for box in seen["wide"]:
            assert box["says"] == box["scrolls"] == box["cut"], name
    assert any(box["cut"] for box in looked["light"]["pictures.html"][0]["wide"])
    assert not any(box["cut"] for box in looked["light"]["pictures.html"][2]["wide"])


def test_keys_and_numbers_are_in_one_line(looked: dict[str, dict[str, list[Seen]]]) -> None:
    assert {name: seen["broken"] for name, seen in every(looked) if seen["broken"]} == {}


def test_the_crosshair_stands_where_it_says_and_says_what_was_recorded(
    place: Path, looked: dict[str, dict[str, list[Seen]]]
) -> None:
    past = history.read(RunDir(place / "pictures").metrics).of("val")
    for seen in looked["light"]["pictures.html"]:
        plots = {plot["title"]: plot for plot in seen["pointed"]}
        accuracy = [[f"epoch: {one.epoch:g}", format_metric("accuracy:", one.metrics["accuracy"])] for one in past]
        assert [move["said"] for move in plots["val/accuracy"]["moves"]] == accuracy
        losses = [move["said"] for move in plots["Loss"]["moves"]]
        assert [said[2] for said in losses] == [f"val: {one.metrics['loss']:.4g}" for one in past]
        assert all(re.fullmatch(r"train: [\d.]+", said[1]) for said in losses)
        assert {"ROC curve, class by class", "Precision against recall, class by class"} <= plots.keys()
        last, before, first, still, hidden = plots["val/accuracy"]["keys"]
        assert (last, before, first, still, hidden) == (accuracy[3], accuracy[2], accuracy[0], accuracy[0], None)
        assert plots["val/accuracy"]["touched"] == accuracy[0]
        assert plots["val/accuracy"]["left"] is None
    for name, seen in every(looked):
        offs = [move["off"] for plot in seen["pointed"] for move in plot["moves"]]
        assert max(offs) < 1, name  # pixel


def test_the_crosshair_of_a_sweep_knows_words_and_logarithms(looked: dict[str, dict[str, list[Seen]]]) -> None:
    for seen in looked["light"]["sweep.html"]:
        plots = {plot["title"]: plot["keys"] for plot in seen["pointed"]}
        last, before, first, *_ = plots["val/accuracy against optimizer.lr"]
        assert last == ["optimizer.lr: 1e+38", "failed or diverged"]
        assert [said[0] for said in (before, first)] == ["optimizer.lr: 0.01", "optimizer.lr: 0.001"]
        assert re.fullmatch(r"one trial: [\d.]+ % to [\d.]+ %", first[1])
        assert re.fullmatch(r"mean: [\d.]+ %", first[2])
        assert [said[0] for said in plots["val/accuracy against model.hidden"][:2]] == [
            "model.hidden: [8]",
            "model.hidden: [4]",
        ]


def test_a_page_can_be_printed(place: Path) -> None:
    browse(f"--print-to-pdf={place / 'page.pdf'}", (place / "pictures.html").as_uri())
    assert (place / "page.pdf").read_bytes().startswith(b"%PDF")
