from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image
from pydantic import ValidationError

from tests.data.images.test_source import cut
from trainkit.core.errors import DataError
from trainkit.data.base import Data
from trainkit.data.images import kept
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.kept import KeptPictures, MaskedPictures
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.segmentation_folder import SegmentationFolderConfig
from trainkit.tasks import Segmentation

CPU = torch.device("cpu")
PALETTE = (0, 0, 0, 200, 40, 30, 20, 60, 220) + 253 * (0, 0, 0)


@pytest.fixture(autouse=True)
def cache_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")


def mask(number: int, values: Sequence[int] = (0, 1), size: tuple[int, int] = (12, 20)) -> NDArray[np.uint8]:
    """Stripes of these values, from another row on in every mask."""
    height, width = size
    rows = np.array(values, dtype=np.uint8)[(np.arange(height) + number) // 3 % len(values)]
    return np.repeat(rows[:, None], width, axis=1)


def save(path: Path, values: NDArray[Any], palette: Sequence[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if palette is not None:
        picture.putpalette(palette)
    picture.save(path)


def folder(
    count: int = 10,
    make: Callable[[int], NDArray[Any]] = mask,
    *,
    images: str = "pets/images",
    masks: str = "pets/masks",
    palette: Sequence[int] | None = None,
) -> None:
    """Pictures that are bright where their masks are 1."""
    for number in range(count):
        values = make(number)
        save(Path(images, f"a picture {number}.png"), np.repeat((mask(number) * 200)[:, :, None], 3, axis=2))
        save(Path(masks, f"a picture {number}.png"), values, palette)


def config(**options: Any) -> SegmentationFolderConfig:
    plain = {"path": "pets", "size": [12, 20], "val": 0.25, **options}
    return SegmentationFolderConfig.from_plain({key: value for key, value in plain.items() if value != "default"})


def read(**options: Any) -> Data:
    return config(**options).open(seed=0)


def problems(**options: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as error:
        read(**options)
    return error.value.problems


def sizes(data: Data) -> tuple[int, int, int]:
    return len(data.train), len(data.val or ()), len(data.test or ())


def task(data: Data) -> Segmentation:
    assert isinstance(data.spec.task, Segmentation)
    return data.spec.task


def values(data: Data) -> list[int]:
    return [int(value) for value in data.train.targets.unique()]


def test_a_folder_of_pictures_and_one_of_masks() -> None:
    folder()
    data = read(classes=["street", "house"])
    assert (data.spec.shape, task(data).names, task(data).size, task(data).colours) == (
        (3, 12, 20), ("street", "house"), 2, (),
    )  # fmt: skip
    assert sizes(data) == (6, 2, 2)
    batch = data.train.take(torch.arange(len(data.train)))
    assert (batch.targets.dtype, batch.targets.shape) == (torch.uint8, (6, 12, 20))
    assert torch.equal(batch.inputs[:, 0], batch.targets * 200)
    assert torch.equal(data.train.targets, batch.targets)
    assert sum(task(data).counts) == 6 * 12 * 20
    assert data.notes == ()


@pytest.mark.parametrize("layout", ["pets/{split}/{kind}", "pets/{kind}/{split}"])
def test_splits_that_are_there_are_used(layout: str) -> None:
    for split, count in (("train", 6), ("valid", 2), ("test", 3)):
        folder(
            count,
            images=layout.format(split=split, kind="images"),
            masks=layout.format(split=split, kind="masks"),
        )
    data = read()
    assert sizes(data) == (6, 2, 3)
    assert [note.text for note in data.notes] == ["pets: val is a folder there; data.val is for data without one"]


def test_test_pictures_without_masks_are_not_used() -> None:
    for split in ("train", "test"):
        folder(8, images=f"pets/images/{split}", masks=f"pets/masks/{split}")
    for path in Path("pets/masks/test").iterdir():
        path.unlink()
    Path("pets/masks/test").rmdir()
    data = read(test=None)
    assert sizes(data) == (6, 2, 0)
    [note] = data.notes
    assert note.text == "pets/images/test: not used, as there is no pets/masks/test"


def test_folders_and_names_of_other_people() -> None:
    folder(images="pets/JPEGImages", masks="pets/labels/fine")
    for path in Path("pets/labels/fine").iterdir():
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    Path("pets/labels/fine/readme.txt").touch()
    data = read(images="JPEGImages", masks="labels/fine", mask_suffix="_mask")
    assert sizes(data) == (6, 2, 2)
    assert [note.text for note in data.notes] == ["pets: not taken for pictures: 1 .txt"]


def test_folders_below_folders_and_names_with_dots() -> None:
    for number in range(8):
        name = f"town {number % 2}/a.b {number}"
        save(Path("pets/images", f"{name}.jpg"), np.zeros((12, 20, 3), dtype=np.uint8))
        save(Path("pets/masks", f"{name}.png"), mask(number))
    assert sizes(read(val=0, test=None)) == (8, 0, 0)


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    assert problems() == (f"data.path: {tmp_path}/pets: no such file or directory",)
    Path("pets/labels").mkdir(parents=True)
    Path("pets/images").mkdir()
    assert problems() == (
        (
            f"{tmp_path}/pets: expected the folders images and masks, with train, val and test above or below them or "
            "without; there is no masks, but images, labels; data.images and data.masks are their names"
        ),
    )
    assert problems(masks="labels") == ("pets/images: no pictures in it; it is empty",)


def test_masks_and_pictures_that_are_missing() -> None:
    folder()
    Path("pets/masks/a picture 3.png").unlink()
    Path("pets/images/a picture 5.png").rename("pets/images/b.png")
    save(Path("pets/images/a picture 4.bmp"), np.zeros((12, 20), dtype=np.uint8))
    save(Path("pets/masks/a picture 6.bmp"), mask(0))
    assert problems() == (
        "pets/images/a picture 4.png: pets/images/a picture 4.bmp has the same name, ending aside; one mask for two",
        "pets/masks/a picture 5.png: a mask without a picture pets/images/a picture 5.…",
        "pets/masks/a picture 6.png: pets/masks/a picture 6.bmp is for the same picture",
        "pets/images/a picture 3.png: no mask pets/masks/a picture 3.png",
        "pets/images/b.png: no mask pets/masks/b.png",
    )


def test_sizes_that_differ() -> None:
    folder()
    save(Path("pets/masks/a picture 3.png"), mask(3, size=(20, 12)))
    assert problems() == (
        "pets/masks/a picture 3.png: 20x12 pixels, but the picture pets/images/a picture 3.png has 12x20",
        "pets: 1 of 10 masks cannot be used",
    )


def test_names_and_colours_from_the_palette_and_a_file() -> None:
    folder(make=lambda number: mask(number, (0, 2, 1, 255)), palette=PALETTE)
    Path("names.txt").write_text("street\n\nhouse\ntree\nsky\n")
    data = read()
    assert (task(data).size, task(data).names) == (3, ())
    assert task(data).colours == ((0, 0, 0), (200, 40, 30), (20, 60, 220))
    named = read(classes="names.txt")
    assert task(named).names == ("street", "house", "tree", "sky")
    assert task(named).colours == ((0, 0, 0), (200, 40, 30), (20, 60, 220), (0, 0, 0))
    assert values(named) == values(data) == [0, 1, 2, 255]
    assert task(data).counts == tuple((data.train.targets == number).sum().item() for number in range(3))
    assert problems(classes="name.txt")[0].endswith("name.txt: no such file or directory; did you mean names.txt?")
    Path("one.txt").write_text("street\n")
    assert problems(classes="one.txt") == ("data.classes: expected 2 to 255, got 1, in one.txt",)


def test_palettes_end_with_the_last_value_of_their_mask() -> None:
    folder(make=lambda number: mask(number, (0, 1, 2)), palette=PALETTE)
    save(Path("pets/masks/a picture 0.png"), mask(0, (0, 1)), PALETTE[:6])
    data = read(val=0, test=None)
    assert task(data).colours == ((0, 0, 0), (200, 40, 30), (20, 60, 220))


def test_palettes_that_differ_are_refused() -> None:
    folder(make=lambda number: mask(number, (0, 2, 1)), palette=PALETTE)
    save(Path("pets/masks/a picture 3.png"), mask(3, (0, 1)), [0, 0, 0, 20, 60, 220])
    save(Path("pets/masks/a picture 4.png"), mask(4, (0, 1)))
    assert problems() == (
        (
            "pets/masks/a picture 3.png: the value 1 has the colour [20, 60, 220], in pets/masks/a picture 0.png it "
            "has [200, 40, 30]"
        ),
        "pets/masks/a picture 4.png: a grey mask, but pets/masks/a picture 0.png has a palette",
        (
            "data.path: 2 of 10 masks differ; do values mean the same in all masks? a mapping as data.classes says "
            "which value or colour is which"
        ),
    )
    assert values(read(classes={"a": 0, "b": 1, "c": 2})) == [0, 1, 2]
    by_colour = {"a": [0, 0, 0], "b": [200, 40, 30], "c": [20, 60, 220], "d": [1, 1, 1]}
    Path("pets/masks/a picture 4.png").unlink()
    Path("pets/images/a picture 4.png").unlink()
    data = read(classes=by_colour, val=0, test=None)
    assert set(data.train.targets[3].unique().tolist()) == {0, 2}


def test_a_palette_has_no_foreground_of_255() -> None:
    folder(make=lambda number: mask(number, (0, 255)), palette=PALETTE)
    assert problems() == ("pets: the 10 training masks hold the class '0' alone; there is nothing to tell apart",)


@pytest.mark.parametrize("classes", [None, ["sea", "land"]])
@pytest.mark.parametrize("bits", [1, 8])
def test_0_and_255_alone_are_two_classes(classes: list[str] | None, bits: int) -> None:
    folder(make=lambda number: mask(number, (0, 255)).astype(bool if bits == 1 else np.uint8))
    data = read(classes=classes)
    names = classes or ["background", "foreground"]
    assert (task(data).size, [*task(data).names]) == (2, names)
    assert task(data).colours == ((0, 0, 0), (255, 255, 255))
    assert values(data) == [0, 1]
    assert [note.text for note in data.notes] == [
        f"the training masks hold 0 and 255 alone, which are two classes: {names[0]} and {names[1]}"
    ]
    batch = data.train.take(torch.arange(6))
    assert torch.equal(batch.inputs[:, 0], batch.targets * 200)


def test_smooth_edges_of_two_classes_are_no_classes() -> None:
    between = np.arange(80, dtype=np.uint8).reshape(4, 20)
    folder(make=lambda number: np.concatenate([mask(number, (0, 255))[4:], between]))
    problem = (
        "data.path: the training masks hold 0, 255 and, in fewer pixels, 79 values between them, as of masks that were "
        "smoothed or scaled; make them 0 and 255 alone, or say with data.classes which value is which"
    )
    assert problems() == problems(classes=["sea", "land"]) == (problem,)


def test_padding_of_two_classes_is_ignored_and_not_foreground() -> None:
    folder(make=lambda number: mask(number, (0, 255)))
    data = read(size=[20, 20], resize="pad")
    batch = data.train.take(torch.arange(6))
    assert (batch.targets[:, :4] == 255).all()
    assert (batch.targets[:, 16:] == 255).all()
    assert torch.equal(batch.inputs[:, 0, 4:16], batch.targets[:, 4:16] * 200)
    assert (batch.inputs[:, :, :4] == 255).all()
    assert sum(task(data).counts) == 6 * 12 * 20


def test_0_1_and_255_are_two_classes_and_what_is_ignored() -> None:
    folder(make=lambda number: mask(number, (0, 1, 255)))
    data = read()
    assert (task(data).size, values(data), data.notes) == (2, [0, 1, 255], ())
    assert sum(task(data).counts) == (data.train.targets != 255).sum()
    assert problems(ignore_index=7)[-1].startswith("data.classes: the training masks hold the values 0, 1, 255, which")


def test_values_that_are_no_count() -> None:
    folder(make=lambda number: mask(number, (0, 128, 255)))
    [problem] = problems()
    assert problem == (
        "data.classes: the training masks hold the values 0, 128, which do not count the classes from 0 on; say which "
        "is which, such as data.classes={…: 0, …: 128}"
    )
    data = read(classes={"sky": 0, "house": 128, "tree": 255})
    assert (task(data).size, values(data)) == (3, [0, 1, 2])
    data = read(classes={"house": 128, "tree": 255}, ignore_index=0)
    assert (task(data).names, values(data)) == (("house", "tree"), [0, 1, 255])


def test_values_beyond_the_classes_are_named_with_file_and_count() -> None:
    folder(12, make=lambda number: mask(number, (0, 1, 2, 5)))
    found = problems(classes=["a", "b"])
    assert len(found) == 12
    assert found[0] == "pets/masks/a picture 0.png: 120 pixels of the values 2, 5"
    assert found[-2:] == (
        "… and 2 more like these",
        (
            "12 of 12 masks hold values that are none of the 2 classes; expected 0, 1, or 255 for what is ignored; see "
            "data.classes"
        ),
    )


def test_val_has_no_value_that_training_lacks() -> None:
    folder(images="pets/train/images", masks="pets/train/masks")
    folder(2, lambda number: mask(number, (0, 1, 3)), images="pets/val/images", masks="pets/val/masks")
    assert problems()[0] == "pets/val/masks/a picture 0.png: 60 pixels of the value 3"


def test_masks_of_one_class_or_none() -> None:
    folder(make=lambda number: mask(number, (1,)))
    [problem] = problems(classes=["sky", "sea"])
    assert problem == "pets: the 10 training masks hold the class 'sea' alone; there is nothing to tell apart"
    folder(make=lambda number: mask(number, (255,)))
    [problem] = problems(classes=["sky", "sea", "land"])
    assert problem == "pets: the 10 training masks hold 255 alone, which is ignored; there is nothing to tell apart"


def test_colours_need_a_mapping() -> None:
    colours = np.array([[0, 0, 0], [128, 64, 128], [250, 250, 250]], dtype=np.uint8)
    folder(make=lambda number: colours[mask(number, (0, 1, 2))])
    found = problems()
    assert found[0] == (
        "pets/masks/a picture 0.png: its pixels are RGB, a class is one number; save it as grey or indexed PNG, or say "
        "which colour is which class, such as data.classes={sky: [0, 0, 0], …}"
    )
    mapping = {"road": [128, 64, 128], "sky": [0, 0, 0]}
    assert problems(classes=mapping)[0] == (
        "pets/masks/a picture 0.png: 60 pixels of colours that data.classes does not have: [250, 250, 250]"
    )
    data = read(classes=mapping, ignore_index=[250, 250, 250])
    assert (task(data).names, task(data).colours) == (("road", "sky"), ((128, 64, 128), (0, 0, 0)))
    assert values(data) == [0, 1, 255]
    expected = np.array([1, 0, 255])[mask(int(data.train.index[2]), (0, 1, 2))]
    assert data.train.targets[2].tolist() == expected.tolist()


def test_masks_with_loss_of_16_bits_and_damaged_ones() -> None:
    folder()
    for number, ending in ((1, "jpg"), (2, "webp")):
        Path(f"pets/masks/a picture {number}.png").unlink()
        save(Path(f"pets/masks/a picture {number}.{ending}"), mask(number))
    save(Path("pets/masks/a picture 3.png"), mask(3).astype(np.uint16) * 1000)
    save(Path("pets/masks/a picture 4.png"), mask(4).astype(np.uint16))
    assert problems() == (
        "pets/masks/a picture 1.jpg: a mask in JPEG, which changes values; save masks as PNG",
        "pets/masks/a picture 2.webp: a mask in WEBP, which changes values; save masks as PNG",
        "pets/masks/a picture 3.png: its values go from 0 to 1,000; masks hold whole numbers from 0 to 255",
        "pets: 3 of 10 masks cannot be used",
    )


def test_masks_that_cannot_be_read_stop_or_are_left_out_with_their_pictures() -> None:
    folder()
    cut("pets/masks/a picture 2.png")
    cut("pets/images/a picture 3.png")
    found = problems()
    assert found[0].startswith("pets/masks/a picture 2.png: not a picture that can be read (")
    assert found[1] == "pets: 1 of 10 masks cannot be read"
    data = read(on_error="skip", val=0, test=None)
    assert sizes(data) == (8, 0, 0)
    batch = data.train.take(torch.arange(8))
    assert torch.equal(batch.inputs[:, 0], batch.targets * 200)
    assert data.notes[0].text.startswith("left out with its picture: pets/masks/a picture 2.png: not a picture")


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [8, [30, 24], [7, 40]])
def test_pictures_and_masks_are_brought_to_size_alike(resize: str, size: int | list[int]) -> None:
    folder()
    batch = read(resize=resize, size=size, background="black").train.take(torch.arange(6))
    bright, known = batch.inputs[:, 0] > 100, batch.targets != 255
    assert batch.inputs.shape[2:] == batch.targets.shape[1:]
    assert (bright == (batch.targets == 1))[known].float().mean() > 0.9
    assert known.all() or resize == "pad"
    sure = (batch.inputs[:, 0] == 200) & known
    assert (batch.targets[sure] == 1).all()


def test_pictures_that_stay_as_large_as_they_are() -> None:
    folder()
    data = read(size=None)
    assert data.spec.shape == (3, 12, 20)
    assert torch.equal(data.train.take(torch.arange(6)).inputs[:, 0], data.train.targets * 200)
    save(Path("pets/images/a picture 3.png"), np.zeros((6, 5), dtype=np.uint8))
    save(Path("pets/masks/a picture 3.png"), mask(3, size=(6, 5)))
    assert problems(size=None) == (
        (
            "data.size: null is for pictures of one size; there are pets/images/a picture 0.png with 12x20 and "
            "pets/images/a picture 3.png with 6x5; give a size"
        ),
    )


@pytest.mark.parametrize("orientation", [6, 8])
@pytest.mark.parametrize("as_shown", [False, True])
def test_pictures_that_are_stored_turned(orientation: int, as_shown: bool) -> None:
    Path("pets/images").mkdir(parents=True)
    for number in range(8):
        values = mask(number)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        Image.fromarray(values * 200).save(f"pets/images/{number}.png", exif=exif)
        turned = np.rot90(values, 1 if orientation == 8 else -1)
        save(Path(f"pets/masks/{number}.png"), np.ascontiguousarray(turned) if as_shown else values)
    batch = read(size=[20, 12]).train.take(torch.arange(4))
    assert torch.equal(batch.inputs[:, 0], batch.targets * 200)
    assert torch.equal(batch.targets[:, 0], batch.targets[:, 1])  # the stripes stand upright now
    Image.fromarray(mask(0, size=(9, 9)) * 200).save("pets/images/0.png", exif=exif)
    save(Path("pets/masks/0.png"), mask(0, size=(9, 9)))
    save(Path("pets/masks/1.png"), mask(0, size=(9, 9)))
    assert problems() == (
        (
            f"pets/masks/0.png: the picture pets/images/0.png is shown turned (EXIF orientation {orientation}), and "
            "whether its mask is for that cannot be told; save the picture as it is shown"
        ),
        "pets/masks/1.png: 9x9 pixels, but the picture pets/images/1.png is shown with 20x12",
        "pets: 2 of 8 masks cannot be used",
    )
    Path("pets/images/2.png").unlink()
    Image.fromarray(mask(2) * 200).save("pets/images/2.tiff", exif=exif, compression="tiff_lzw")
    assert "pets/images/2.tiff is shown turned" in problems()[2]


def test_other_data_is_read_with_the_classes_of_the_model() -> None:
    folder(make=lambda number: mask(number, (0, 255)))
    spec = read(classes=["sea", "land"]).spec
    folder(make=lambda number: mask(number, (255,)))
    data = config(classes=["sea", "land"]).reopen(0, spec)
    assert (task(data).names, values(data)) == (("sea", "land"), [1])
    folder(make=lambda number: mask(number, (0, 1, 2)), palette=PALETTE)
    spec = read().spec
    folder(make=lambda number: mask(number, (1, 255)))
    data = config().reopen(0, spec)
    assert (task(data).size, values(data)) == (3, [1, 255])
    assert task(data).colours == ((0, 0, 0), (200, 40, 30), (20, 60, 220))
    folder(make=lambda number: mask(number, (0, 3)))
    with pytest.raises(DataError, match=re.escape("0.png: 120 pixels of the value 3")):
        config().reopen(0, spec)
    with pytest.raises(DataError, match=r"^data.classes: a, b; the model knows sea, land$"):
        config(classes=["a", "b"]).reopen(0, spec.with_task(Segmentation(size=2, names=("sea", "land"))))


def test_a_config_that_will_not_do() -> None:
    for classes, problem in (
        (["a"], "classes: expected 2 to 255, got 1"),
        (["a", "a"], "classes: two are the same"),
        ({"a": 1, "b": 1}, "classes: two are the same"),
        ({"a": [1, 1, 1], "b": [1, 1, 1]}, "classes: two are the same"),
    ):
        with pytest.raises(ValidationError, match=problem):
            config(classes=classes)
    with pytest.raises(ValidationError):
        config(classes={"a": 1, "b": [1, 1, 1]})
    with pytest.raises(ValidationError):
        config(ignore_index=256)


def test_each_picture_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folder()
    data = read(val=0, test=None)
    source = data.train.source
    assert isinstance(source, KeptPictures)
    assert not source.decoded.any()
    first = data.train.take(torch.tensor([3, 1]))
    assert source.decoded.nonzero().flatten().tolist() == [1, 3]
    Path("pets/images/a picture 3.png").unlink()
    assert torch.equal(data.train.take(torch.tensor([3, 1])).inputs, first.inputs)
    cut("pets/images/a picture 5.png")
    with pytest.raises(DataError, match=r"a picture 5.png: .*; data.on_error=skip leaves such pictures out$"):
        data.train.take(torch.arange(4, 7))
    folder()
    monkeypatch.setattr(kept, "MOST_BYTES", 1000)
    assert isinstance(read(val=0, test=None).train.source, MaskedPictures)


def test_batches_are_the_same_from_files_memory_and_cache_and_from_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    folder()
    batches = []
    for most, cache, workers in ((10**9, False, 0), (10**9, False, 2), (0, False, 0), (0, False, 1), (0, True, 0)):
        monkeypatch.setattr(kept, "MOST_BYTES", most)
        data = read(cache=cache, size=10)
        assert isinstance(data.train.source, CachedSource if cache else KeptPictures if most else MaskedPictures)
        loader = LoaderConfig(batch_size=4, num_workers=workers).train_loader(data.train, 3, CPU)
        batches.append([batch for epoch in (0, 1, 0) for batch in loader.epoch(epoch)])
        if most and workers:
            assert data.train.source.decoded.sum() == len(data.train)  # type: ignore[union-attr]
        digests = data.digests()
        assert digests == read(size=10).digests()
    for others in batches[1:]:
        for one, other in zip(batches[0], others, strict=True):
            for tensor, another in zip(one[:3], other[:3], strict=True):
                assert torch.equal(tensor, another)


def test_files_of_other_masks_are_other_data() -> None:
    folder()
    before = read().digests()
    save(Path("pets/masks/a picture 3.png"), np.random.default_rng(0).integers(0, 2, (12, 20), dtype=np.uint8))
    assert read().digests()["train"] != before["train"]
