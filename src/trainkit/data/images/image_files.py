"""Picture files of a folder by their endings, those of the folders below it included; and what its other files are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.records import NoteRecord
from trainkit.data.folders import files_below

FIRST_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Those that `rules=1` takes."""
ENDINGS = (
    *FIRST_ENDINGS,
    *(".jfif", ".jpe", ".mpo", ".avif", ".apng", ".jp2", ".j2k", ".jpx", ".pbm", ".pnm", ".pfm", ".dib"),
    *(".tga", ".pcx", ".qoi", ".sgi", ".psd", ".ico", ".icns", ".dds", ".fits", ".fit"),
)
"""What Pillow reads as a picture by itself."""
HEIF = (".heic", ".heif", ".hif")
"""What it reads with pillow-heif."""
BESIDE = (
    *(".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".py", ".ipynb", ".db", ".ini"),
)
"""Files that often lie beside pictures and are none."""


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """The files of a folder and those below it, hidden ones aside: their paths below some root, in their order."""

    pictures: list[str]
    others: list[str]


def find(root: Path, below: str = "", *, rules: int = 2) -> FolderFiles:
    """Find the pictures of a folder and of those below it, in the order of their names.

    Raises:
        DataError: a folder cannot be read.
    """

    endings = taken(rules)
    sorted_out = FolderFiles([], [])
    for name in files_below(root, below):
        (sorted_out.pictures if name.lower().endswith(endings) else sorted_out.others).append(name)
    return sorted_out


def taken(rules: int = 2) -> tuple[str, ...]:
    """The endings of what is taken for a picture."""
    if rules == 1:
        return FIRST_ENDINGS
    return ENDINGS + HEIF * (find_spec("pillow_heif") is not None)


def by_ending(names: Sequence[str]) -> str:
    """How many files there are of each kind, the most frequent first: `3 .heic (…), 1 without an ending`."""
    counts = Counter(Path(name).suffix.lower() for name in names)
    heif = " (pip install pillow-heif reads them)"
    return ", ".join(
        f"{count:,} {ending or 'without an ending'}{heif if ending in HEIF else ''}"
        for ending, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def no_pictures(folder: Path, files: FolderFiles) -> str:
    """What to say of a folder without pictures."""
    there = f"found {by_ending(files.others)}" if files.others else "it is empty"
    return f"{folder}: no pictures in it; {there}"


def unused_files(folder: Path, others: Sequence[str]) -> list[NoteRecord | Diagnostic]:
    """What to say of the files that are not taken; those that often lie beside pictures are no mistake."""
    if not others:
        return []
    if all(name.lower().endswith(BESIDE) for name in others):
        return [NoteRecord(f"{folder}: not taken for pictures: {by_ending(others)}")]
    are = "files are" if len(others) > 1 else "file is"
    text = f"data.path: {len(others):,} {are} not taken for pictures in {folder}: {by_ending(others)}"
    return [Diagnostic("unused-files", text)]
