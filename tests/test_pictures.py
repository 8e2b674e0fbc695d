"""The pictures of the README, and how the terminal's is made."""

from __future__ import annotations

import importlib.util
import re

from PIL import Image

from tests.command import ROOT

spec = importlib.util.spec_from_file_location("pictures", ROOT / "scripts/pictures.py")
assert spec is not None
assert spec.loader is not None
pictures = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pictures)

TERMINAL, REPORT = ROOT / "docs/images/terminal.svg", ROOT / "docs/images/report.png"


def test_the_screen_is_what_a_progress_bar_leaves() -> None:
    bar = "\x1b[?25lepoch 1 \x1b[35m10%\x1b[0m\r\x1b[2Kepoch 1 \x1b[35m90%\x1b[0m\r\x1b[2K"
    assert pictures.screen(f"a\r\n{bar}b \x1b[1mbold\x1b[0m\r\n\x1b[?25h") == ["a", "b \x1b[1mbold\x1b[0m", ""]
    assert pictures.screen("a\nb\nc\x1b[2A\r\x1b[2KA\n\r\x1b[2KB") == ["A", "B", "c"]


def test_the_picture_of_the_terminal_is_real_and_needs_nothing_else() -> None:
    drawn = TERMINAL.read_text("utf-8")
    words = re.sub(r"<[^>]*>", "", drawn).replace("&#160;", " ")
    assert " ".join(pictures.COMMAND) in words
    for word in ("1,150 train, 287 val, 360 test", "epoch 15  step 540", "95 % interval", "trainkit eval --ckpt runs/"):
        assert word in words
    assert not re.search(r"url\((?!#)|@font-face|href", drawn)


def test_the_picture_of_the_report_is_small() -> None:
    assert REPORT.stat().st_size < 200_000
    with Image.open(REPORT) as image:
        assert image.width == pictures.WIDTH
