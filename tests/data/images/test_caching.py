from __future__ import annotations

import json
import os
import pickle
import time
from collections import namedtuple
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.images.test_source import draw
from trainkit.core.errors import StorageError
from trainkit.data.base import Split
from trainkit.data.images import caching
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.decoding import PictureSource
from trainkit.data.loader import LoaderConfig


@pytest.fixture(autouse=True)
def cache_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")


def source(count: int = 12, mode: str = "rgb") -> PictureSource:
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        if not Path("pets", name).exists():
            draw(Path("pets", name), (number, 2 * number, 255 - number), (9 + number, 14))
    targets = torch.arange(count) % 3
    return PictureSource(Path("pets"), names, targets, mode, 8, 6)  # type: ignore[arg-type]


def cached(files: PictureSource) -> CachedSource:
    cache = caching.find(files) or caching.build(files)[0]
    return cache.open(files.without(cache.unreadable))


def pixel_files() -> list[Path]:
    return sorted(Path("cache/pictures").glob("*.npy"))


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_the_same_samples_and_fingerprint_as_without(mode: str) -> None:
    files = source(mode=mode)
    kept = cached(files)
    index = torch.tensor([7, 0, 11, 7])
    for one, other in zip(kept.take(index)[:3], files.take(index)[:3], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(kept.targets, files.targets)
    assert kept.digest() == files.digest()
    assert len(kept) == 12


def test_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, took = caching.build(source())
    [path] = pixel_files()
    assert took == f"decoded 12 pictures into {path.absolute()} (0.0 MB) in 0:00"
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["version"] == caching.VERSION
    stat = Path("pets/0.png").stat()
    assert manifest["files"][0] == ["0.png", stat.st_size, stat.st_mtime_ns]
    monkeypatch.setattr(PictureSource, "decode", None)
    assert len(cached(source())) == 12


def test_what_cannot_be_read_is_remembered() -> None:
    files = source()
    Path("pets/3.png").write_text("no picture")
    Path("pets/5.png").unlink()
    first, _ = caching.build(files)
    assert caching.find(files) == first
    assert first.unreadable == {
        3: "not a picture that can be read (it begins with b'no picture')",
        5: "no such file or directory",
    }
    kept = cached(files)
    assert len(kept) == 10
    assert torch.equal(kept.take(torch.tensor([3])).inputs, files.take(torch.tensor([4])).inputs)


def touch() -> None:
    os.utime("pets/4.png", (1, 1))


def redraw() -> None:
    draw(Path("pets/4.png"), (1, 1, 1), (200, 200))


def truncate() -> None:
    [path] = pixel_files()
    path.write_bytes(path.read_bytes()[:-1])


def lengthen() -> None:
    [path] = pixel_files()
    path.write_bytes(path.read_bytes() + b"0")


def overwrite() -> None:
    pixel_files()[0].write_text("PK, no pixels")


def forget() -> None:
    pixel_files()[0].with_suffix(".json").unlink()


def garble() -> None:
    pixel_files()[0].with_suffix(".json").write_text("[1, 2]")


@pytest.mark.parametrize("change", [touch, redraw, truncate, lengthen, overwrite, forget, garble])
def test_a_cache_that_does_not_fit_is_made_anew(change: Any) -> None:
    cached(source())
    change()
    assert caching.find(source()) is None
    kept = cached(source())
    assert torch.equal(kept.take(torch.arange(12)).inputs, source().take(torch.arange(12)).inputs)
    assert len(pixel_files()) == 1  # what was of no use is gone


def test_another_version_of_trainkit_or_pillow_makes_it_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    caching.build(source())
    with monkeypatch.context() as patch:
        patch.setattr(caching, "VERSION", caching.VERSION + 1)
        assert caching.find(source()) is None
    monkeypatch.setattr("PIL.__version__", "0.1")
    assert caching.find(source()) is None


def test_every_list_and_size_has_a_cache_of_its_own() -> None:
    files = source()
    others = [replace(files, width=7), replace(files, crop_pct=0.9), source(mode="grey"), source(11)]
    for one in (files, *others):
        caching.build(one)
    assert len(pixel_files()) == 5
    assert all(caching.find(one) for one in (files, *others))


def test_a_build_that_breaks_off_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: PictureSource) -> Any:
        yield torch.zeros((3, 3, 8, 6), dtype=torch.uint8), {}
        raise KeyboardInterrupt

    monkeypatch.setattr(caching, "decode_all", broken)
    with pytest.raises(KeyboardInterrupt):
        caching.build(source())
    assert not list(Path("cache/pictures").iterdir())


def test_what_a_killed_process_left_is_deleted() -> None:
    left, busy = Path("cache/pictures/.tmp-left"), Path("cache/pictures/.tmp-busy")
    left.parent.mkdir(parents=True)
    left.write_text("")
    busy.write_text("")
    os.utime(left, (time.time() - 2 * caching.ABANDONED_S,) * 2)
    caching.build(source())
    assert busy.exists()
    assert not left.exists()


def test_a_disk_without_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(38_000_000))
    with pytest.raises(StorageError) as error:
        caching.build(replace(source(), height=1000, width=1000))
    assert str(error.value) == (
        f"{tmp_path}/cache/pictures: the decoded pictures take 36.0 MB of the 38.0 MB that are free; "
        "use data.cache=false, a smaller data.size, or another TRAINKIT_CACHE_DIR"
    )


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    Path("cache").write_text("")
    with pytest.raises(StorageError) as error:
        caching.build(source())
    assert error.value.problems == (
        f"{tmp_path}/cache/pictures: not a directory; use data.cache=false, or another TRAINKIT_CACHE_DIR",
    )


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert caching.folder() == tmp_path / "cache" / "pictures"
    monkeypatch.delenv("TRAINKIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert caching.folder() == Path("/xdg/trainkit/pictures")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert caching.folder() == Path.home() / ".cache" / "trainkit" / "pictures"


def _build(barrier: Any) -> None:
    barrier.wait()
    caching.build(source(60))


def test_two_processes_build_at_the_same_time() -> None:
    files, context = source(60), get_context("fork")
    barrier = context.Barrier(2)
    both = [context.Process(target=_build, args=(barrier,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert caching.find(files)
    assert len(list(Path("cache/pictures").iterdir())) == 2


def test_no_workers_and_no_copy_for_those_that_are_asked_for() -> None:
    kept = cached(source())
    loaders = [
        LoaderConfig(batch_size=5, num_workers=workers).train_loader(
            Split(kept, torch.arange(12)), 3, torch.device("cpu")
        )
        for workers in ("auto", 1)
    ]
    batches = [[batch.inputs for batch in loader.epoch(1)] for loader in loaders]
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))
    assert loaders[0].num_workers == 0
    assert len(pickle.dumps(kept)) < 3000  # of its place and the names, not of the pixels
    assert torch.equal(pickle.loads(pickle.dumps(kept)).inputs, kept.inputs)
