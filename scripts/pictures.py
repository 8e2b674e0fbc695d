"""The pictures of the README, made from a real run of a shipped config on the embedded digits.

    python scripts/pictures.py

It trains `configs/digits_cnn.yaml` in a terminal of 100 columns and keeps what the terminal showed at the end, without
most of the epochs, as `docs/images/terminal.svg`; then it writes the report of that run and keeps what Chromium shows
of it as `docs/images/report.png`.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent.parent
IMAGES = HERE / "docs" / "images"
COMMAND = ("trainkit", "train", "configs/digits_cnn.yaml")
ROWS, COLUMNS = 50, 100
FIRST, LAST = 11, 13
"""Lines of the terminal that are kept; between them stands a mark."""
WIDTH, HEIGHT = 1280, 1352
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def shown(command: tuple[str, ...], folder: Path) -> str:
    """Run a command in a terminal of its own: what it wrote, with the codes for colours and cursor.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    environment = {**kept, "TERM": "xterm-256color", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    written = b""
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, cwd=folder, env=environment) as process:
        os.close(its)
        try:
            while part := os.read(ours, 1 << 16):
                written += part
        except OSError:  # the other side is closed
            os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, written)
    return written.decode()


def screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end, with their colours.

    Knows what a progress bar of rich does: back to the beginning of a line, up some lines, erase a line.
    """
    lines, row = [""], 0
    for code, up, text in re.findall(
        r"(\x1b\[\??(?:(\d+)A|[\d;]*[KlhJ])|\r|\n)|((?:\x1b\[[\d;]*m|[^\r\n\x1b])+)", written
    ):
        if code == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif up:
            row -= int(up)
        elif code.endswith("K"):
            lines[row] = ""
        lines[row] += text
    return [line.rstrip() for line in lines]


def terminal_picture(lines: list[str], path: Path) -> None:
    """What stood on the terminal as an SVG, with nothing fetched from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text("$ ", "bold green") + Text(" ".join(COMMAND), "bold"))
    lines = [line for line in lines if line]
    for line in [*lines[:FIRST], "\x1b[2m⋮\x1b[0m", *lines[-LAST:]]:
        console.print(Text.from_ansi(line), soft_wrap=True)
    drawn = console.export_svg(title="trainkit")
    path.write_text(re.sub(r"@font-face {.*?}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")


def page_picture(page: Path, path: Path) -> None:
    """The upper part of a page as Chromium shows it."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"error: none of {', '.join(BROWSERS)} is installed")
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.png"
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        )
        size = f"--window-size={WIDTH},{HEIGHT}"
        subprocess.run([browser, *flags, size, f"--screenshot={whole}", page.as_uri()], check=True, capture_output=True)
        with Image.open(whole) as image:
            image.convert("RGB").save(path, optimize=True)


def main() -> None:
    """Make both."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(HERE / "configs", folder / "configs")
        lines = screen(shown(COMMAND, folder))
        terminal_picture(lines, IMAGES / "terminal.svg")
        shown(("trainkit", "report", "last"), folder)
        [page] = folder.glob("runs/*/*/report.html")
        page_picture(page, IMAGES / "report.png")
    for picture in sorted(IMAGES.iterdir()):
        print(f"{picture.relative_to(HERE)}  {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
