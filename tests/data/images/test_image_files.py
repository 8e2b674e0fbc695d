from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trainkit.core.diagnostics import Diagnostic
from trainkit.core.records import NoteRecord
from trainkit.data.images.image_files import ENDINGS, by_ending, find, no_pictures, unused_files


def test_every_ending_that_is_taken_is_one_of_pillow() -> None:
    assert set(ENDINGS) <= set(Image.registered_extensions())


def test_pictures_others_and_what_is_hidden() -> None:
    for name in (
        "a.jfif",
        "b.AVIF",
        "c.heic",
        "d",
        "e.txt",
        "._f.png",
        ".ipynb_checkpoints/g.png",
        "__MACOSX/h.png",
        "x/i.png",
    ):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).touch()
    found = find(Path("in"))
    assert (found.pictures, found.others) == (["a.jfif", "b.AVIF", "x/i.png"], ["c.heic", "d", "e.txt"])
    assert find(Path("in"), rules=1).pictures == ["x/i.png"]


def test_pictures_of_phones_are_taken_where_they_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.HEIC").touch()
    assert no_pictures(Path(), find(Path())) == (
        ".: no pictures in it; found 1 .heic (pip install pillow-heif reads them)"
    )
    Path("pillow_heif.py").touch()
    monkeypatch.syspath_prepend(Path().absolute())
    assert find(Path()).pictures == ["a.HEIC"]


def test_others_are_counted_by_ending() -> None:
    assert by_ending(["a.cr2", "b.txt", "c.CR2", "d", "e.heic"]) == (
        "2 .cr2, 1 without an ending, 1 .heic (pip install pillow-heif reads them), 1 .txt"
    )
    assert unused_files(Path("in"), []) == []
    [usual] = unused_files(Path("in"), ["a.txt", "Thumbs.db"])
    assert usual == NoteRecord("in: not taken for pictures: 1 .db, 1 .txt")
    [odd] = unused_files(Path("in"), ["a.txt", "b.cr2"])
    assert odd == Diagnostic("unused-files", "data.path: 2 files are not taken for pictures in in: 1 .cr2, 1 .txt")
