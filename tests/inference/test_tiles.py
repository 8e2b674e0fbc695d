"""Pictures that are cut into tiles at their own scale: in training, in evaluation and for predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from tests.conftest import MakeExperiment
from trainkit.cli.commands.inference import predict as command
from trainkit.core.errors import ConfigError, DataError
from trainkit.data import Data
from trainkit.data.images import kept
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.kept import KeptPictures
from trainkit.data.sources.segmentation_folder import SegmentationFolderConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs.run import train

SIZES = [(40, 52), (16, 16), (9, 30), (33, 70), (24, 24), (50, 17), (28, 28), (16, 40)]
DATA = {"name": "segmentation_folder", "path": "roads", "size": 16, "resize": "tile", "overlap": 6, "val": 0.2}


@pytest.fixture(autouse=True)
def cache_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")


def truth(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    height, width = SIZES[number]
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return ((rows // 5 + columns // 7 + number) % 2).astype(np.uint8)


@pytest.fixture(autouse=True)
def roads() -> None:
    """Pictures whose red is where the mask is 1; another number in each pixel of green and blue."""
    for number, (height, width) in enumerate(SIZES):
        at = np.arange(height * width).reshape(height, width)
        picture = np.stack([truth(number) * 220, at % 256, at // 256], axis=2).astype(np.uint8)
        for kind, values in (("images", picture), ("masks", truth(number))):
            path = Path("roads", kind, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)


def opened(**options: Any) -> Data:
    return SegmentationFolderConfig.from_plain({**DATA, **options}).open(seed=0)


def files(data: Data, split: str) -> dict[str, list[int]]:
    """The samples of a split by their files."""
    source = data.train.source
    names = source.files.names if isinstance(source, KeptPictures | CachedSource) else source.names  # type: ignore[attr-defined]
    found: dict[str, list[int]] = {}
    for index in data.split(split).index.tolist():
        found.setdefault(names[index], []).append(index)
    return found


def test_each_pixel_counts_once_and_pictures_are_in_one_split() -> None:
    data = opened()
    of = {split: files(data, split) for split in data.splits}
    assert sorted(name for names in of.values() for name in names) == [f"images/{n}.png" for n in range(len(SIZES))]
    for split, names in of.items():
        batch = data.split(split).take(torch.arange(len(data.split(split))))
        counted = batch.targets != 255
        assert counted.sum() == sum(np.prod(SIZES[int(Path(name).stem)]) for name in names)
        assert torch.equal(batch.inputs[:, 0][counted], batch.targets[counted] * 220)
        there = batch.inputs[:, 1].long() + 256 * batch.inputs[:, 2].long()
        assert len(there[counted]) == sum(
            len(there[counted & here(batch.index, some)].unique()) for some in names.values()
        )
    [note] = data.notes
    assert note.text == f"8 pictures cut into {sum(map(len, data.splits.values()))} tiles of 16x16"


def here(index: torch.Tensor, some: list[int]) -> torch.Tensor:
    return torch.isin(index, torch.tensor(some))[:, None, None]


def test_beside_a_smaller_picture_is_the_background() -> None:
    data = opened(background=[1, 2, 3])
    for split in data.splits:
        for name, [first, *_] in files(data, split).items():
            if name == "images/2.png":
                inputs, targets, *_ = data.train.source.take(torch.tensor([first]))
                assert isinstance(inputs, torch.Tensor)
                assert inputs[0, :, 9:].flatten(1).T.unique(dim=0).tolist() == [[1, 2, 3]]
                assert isinstance(targets, torch.Tensor)
                assert (targets[0, 9:] == 255).all()
                return
    raise AssertionError("not there")


def test_one_picture_leaves_nothing_to_measure_and_that_is_said() -> None:
    for kind in ("images", "masks"):
        for number in range(1, len(SIZES)):
            Path("roads", kind, f"{number}.png").unlink()
    data = opened()
    assert [*data.splits] == ["train"]
    [found] = data.found
    assert str(found) == (
        "data.val: 0.2, but none of the 20 training samples is held out: samples of one group, or of one picture, "
        "stay together"
    )
    assert opened(val=0).found == ()


@pytest.mark.parametrize("options", [{"cache": True}, {}, {"on_error": "skip"}], ids=str)
def test_however_they_are_kept(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    usual = opened()
    if not options:
        monkeypatch.setattr(kept, "MOST_BYTES", 100)
    data = opened(**options)
    assert isinstance(
        data.train.source, CachedSource if "cache" in options else PictureSource if not options else KeptPictures
    )
    assert [one.code for one in data.found] == ([] if options else ["tiles-decoded"])
    assert data.digests() == usual.digests() != opened(overlap=5).digests()
    for split in data.splits:
        every = torch.arange(len(data.split(split))).flip(0)
        mine, theirs = (one.split(split).take(every) for one in (data, usual))
        assert torch.equal(mine.inputs, theirs.inputs)
        assert torch.equal(mine.targets, theirs.targets)


def test_notes_count_pictures_that_are_read_and_tiles_that_are_kept() -> None:
    """The values of deep pictures are measured once, not once for every tile."""
    for path in Path("roads/images").iterdir():
        with Image.open(path) as picture:
            values = np.asarray(picture.convert("L")).astype(np.uint16) * 16
        Image.fromarray(values).save(path)
    data = opened(val=0, test=None, cache=True)
    _, measured, decoded = (note.text for note in data.notes)
    assert measured.startswith("data.range: 8 of 8 training pictures have more than 8 bits a pixel;")
    assert measured.endswith("as measured on 8 of them")
    assert decoded.startswith(f"decoded {len(data.train)} tiles into ")


def test_a_picture_that_cannot_be_read_is_told_once() -> None:
    path = Path("roads/images/3.png")
    path.write_bytes(path.read_bytes()[:200])
    data = opened(on_error="skip")
    assert [note.text.partition(":")[0] for note in data.notes if note.level == "warning"] == [
        "1 of 8 pictures cannot be read and are left out",
        "roads/images/3.png",
    ]
    path.write_text("no picture")
    with pytest.raises(DataError) as error:
        opened()
    assert [problem.partition(":")[0] for problem in error.value.problems] == ["roads/images/3.png", "roads"]
    Path("roads/masks/3.png").write_bytes(Path("roads/masks/2.png").read_bytes())
    Path("roads/images/3.png").write_bytes(Path("roads/images/0.png").read_bytes())
    with pytest.raises(DataError) as error:
        opened()
    assert [problem.split(":")[0] for problem in error.value.problems] == ["roads/masks/3.png", "roads"]
    assert "1 of 8 masks cannot be used" in error.value.problems[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": None}, "resize: tile needs the size of a tile"),
        ({"overlap": 9}, "overlap: 9 is more than half of a tile"),
        ({"crop_pct": 0.9}, "resize: tile keeps the whole picture"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SegmentationFolderConfig.model_validate({**DATA, **options})


def confused(names: list[str], masks: Path) -> list[list[int]]:
    """True against predicted classes, of written masks at the pictures' own sizes."""
    counts = np.zeros((2, 2), dtype=np.int64)
    for name in names:
        with Image.open(masks / Path(name).name) as mask:
            predicted = np.asarray(mask)
        true = truth(int(Path(name).stem))
        assert predicted.shape == true.shape
        np.add.at(counts, (true, predicted), 1)
    return counts.tolist()


def test_what_is_evaluated_is_what_is_written(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    unet = {"name": "unet", "channels": [4, 8]}
    loader = {"batch_size": 4, "eval_batch_size": 3}
    result = train(make(data=DATA, model=unet, loss="cross_entropy", loader=loader, train={"epochs": 2}))
    for split in ("val", "test"):
        plain = evaluate_checkpoint(result.checkpoint, split=split).to_plain()
        names = [*files(SegmentationFolderConfig.from_plain(DATA).open(seed=42), split)]
        command([f"roads/{name}" for name in names], ckpt=result.checkpoint, out=Path(split), tiles=split == "test")
        assert plain["confusion"] == confused(names, Path(split))
        assert sum(map(sum, plain["confusion"])) == sum(np.prod(SIZES[int(Path(name).stem)]) for name in names)
    capsys.readouterr()


def test_any_model_of_masks_can_be_asked_for_tiles(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of pictures of one size says of a large picture what it says of its tiles."""
    unet = {"name": "unet", "channels": [4, 8]}
    result = train(make(data={**DATA, "resize": "stretch"}, model=unet, loss="cross_entropy", train={"epochs": 1}))
    command(["roads/images/4.png", "roads/images/1.png"], ckpt=result.checkpoint, out=Path("cut"), tiles=True)
    command(["roads/images/1.png"], ckpt=result.checkpoint, out=Path("whole"))
    assert Path("cut/1.png").read_bytes() == Path("whole/1.png").read_bytes()  # as large as a tile
    with Image.open("roads/images/4.png") as picture:
        picture.crop((0, 0, 16, 16)).save("corner.png")
    command(["corner.png"], ckpt=result.checkpoint, out=Path("whole"))
    with Image.open("cut/4.png") as cut, Image.open("whole/corner.png") as corner:
        assert np.array_equal(np.asarray(cut)[:12, :12], np.asarray(corner)[:12, :12])
    other = train(make(train={"max_steps": 1}))
    with pytest.raises(ConfigError, match="--tiles is for models that write files"):
        command(["x.png"], ckpt=other.checkpoint, tiles=True)
    capsys.readouterr()
