"""Masks of new pictures: at the picture's own size, whatever was done to it on its way to the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.conftest import MakeExperiment
from trainkit.cli.commands.inference import predict as command
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.view import View
from trainkit.data import Data, TensorSource
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.images.decoding import PictureSource, Resize
from trainkit.data.images.views import view_of
from trainkit.data.transforms.pipeline import fitted, fitted_view
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.reports import report_page
from trainkit.runs.run import train
from trainkit.tasks import Segmentation
from trainkit.tasks.masks import MaskPrediction, mask_of

HALVES = Segmentation(size=2, names=("dark", "bright"))


def halves(width: int, height: int, at: float) -> Image.Image:
    """Dark, and bright from a share of the width on."""
    picture = Image.new("L", (width, height))
    picture.paste(255, (round(at * width), 0, width, height))
    return picture


@pytest.mark.parametrize("size", [(64, 64), (200, 60), (60, 200), (17, 23), (31, 90)])
@pytest.mark.parametrize(
    ("resize", "crop_pct"), [("crop", 1.0), ("crop", 0.8), ("pad", 1.0), ("stretch", 1.0)], ids=str
)
def test_a_mask_lies_where_the_picture_is(
    size: tuple[int, int], resize: Resize, crop_pct: float, tmp_path: Path
) -> None:
    """What a model says of each pixel of its input comes back to the same place, and what was cut is ignored."""
    width, height = size
    column, row = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    picture = (((column < 0.5 * width) != (row < 0.4 * height)) * 255).to(torch.uint8)
    Image.fromarray(picture.numpy()).save(tmp_path / "x.png")
    source = PictureSource(tmp_path, ["x.png"], torch.zeros(1), "grey", 64, 64, crop_pct, resize)
    pixels, _ = source.decode([0])
    view = view_of(source, (height, width))
    logits = torch.cat([128 - pixels[0].float(), pixels[0].float() - 128])
    mask = mask_of(logits, view, 255)
    assert mask.shape == (height, width)
    seen = mask != 255
    wrong = seen & (mask != (picture > 128))
    assert int(wrong.sum()) <= 0.06 * height * width  # at the edges of the four fields
    if resize != "crop":
        assert seen.all()
    elif crop_pct == 1:
        assert int(seen.sum()) == pytest.approx(min(size) ** 2, rel=0.05)


@pytest.mark.parametrize("size", [(20, 40), (50, 33), (64, 64)])
def test_the_view_of_a_picture_that_is_fitted_in_memory(size: tuple[int, int]) -> None:
    picture = torch.zeros(1, 1, *size, dtype=torch.uint8)
    picture[..., size[1] // 2 :] = 255
    small = fitted(picture, (1, 32, 32))[0].float()
    mask = mask_of(torch.cat([128 - small, small - 128]), fitted_view(size, (1, 32, 32)), 255)
    right = (mask == (picture[0, 0] > 128)) | (mask == 255)
    assert right.float().mean() > 0.94


def test_a_view_of_a_view() -> None:
    """The middle half of the left half."""
    left = View((10, 20), 0.0, 0.0, 10.0, 10.0)
    assert left.then(View((100, 100), 25.0, 25.0, 50.0, 50.0)) == View((10, 20), 2.5, 2.5, 5.0, 5.0)
    assert View.whole((10, 20)).then(View.whole((7, 7))) == View.whole((10, 20))


def test_logits_are_interpolated_in_parts_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, view = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0)), View.whole((50, 40))
    whole = mask_of(logits, view, 255)
    monkeypatch.setattr("trainkit.tasks.masks.MOST_NUMBERS", 3 * 40 * 7)
    assert torch.equal(mask_of(logits, view, 255), whole)
    # As torch interpolates.
    larger = nn.functional.interpolate(logits[None], (50, 40), mode="bilinear")[0].argmax(0)
    assert (larger == whole).float().mean() > 0.99


def test_what_is_said_of_a_picture() -> None:
    logits = torch.tensor([[[1.0, 0, 0]], [[0, 1, 1]]])[None]
    [plain] = HALVES.predictions(["x.png"], logits)
    assert isinstance(plain, MaskPrediction)
    assert plain.mask.tolist() == [[0, 1, 1]]
    assert plain.answer == ("bright", "dark")
    assert plain.to_plain() == {
        "input": "x.png",
        "mask": None,
        "classes": ("bright", "dark"),
        "shares": {"dark": 1 / 3, "bright": 2 / 3},
    }
    assert HALVES.cells(plain, None, every=False) == ["", "bright 66.67 %, dark 33.33 %"]
    assert HALVES.heads(None, every=True) == ["mask", "dark", "bright"]


def test_files_are_indexed_masks_and_overlays() -> None:
    [said] = HALVES.predictions_in(["x"], torch.zeros(1, 2, 2, 2), [View((2, 3), 0.0, 0.0, 2.0, 2.0)])
    assert said.mask.tolist() == [[0, 0, 255]] * 2
    [mask] = HALVES.files(said, None).values()
    assert isinstance(mask, Image.Image)
    assert mask.mode == "P"
    assert np.asarray(mask).tolist() == said.mask.tolist()
    assert mask.convert("RGB").getpixel((2, 0)) == (224, 224, 192)
    both = HALVES.files(said, Image.new("RGB", (3, 2), (100, 0, 0)))
    assert [*both] == [".png", "_overlay.jpg"]
    overlay = both["_overlay.jpg"]
    assert isinstance(overlay, Image.Image)
    assert overlay.getpixel((0, 0)) == (50, 0, 0)


@register("data")
class HalvesConfig(ImageDataConfig):
    """Pictures that are dark on the left and bright on the right."""

    name: Literal["halves_of_pictures"] = "halves_of_pictures"

    def build(self, seed: int) -> Data:
        pictures = torch.stack([torch.from_numpy(np.array(halves(16, 16, at / 40))) for at in range(4, 36)])
        masks = (pictures > 127).to(torch.uint8)
        masks[:, :2] = 255
        train_source, test = (TensorSource(pictures[start::2, None], masks[start::2]) for start in (0, 1))
        return Data(self.image_spec((1, 16, 16), HALVES), *self.train_val_test(train_source, seed, test))


def said(capsys: pytest.CaptureFixture[str], **options: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    command(ckpt=Path("best.pt"), as_json=True, **options)
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_from_training_to_files(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    unet = {"name": "unet", "channels": [4, 8]}
    losses = {"name": "sum", "of": [{"loss": "cross_entropy"}, {"loss": "dice", "weight": 0.5}]}
    log = {"every": 3, "tensorboard": True, "pictures": True, "confusion_matrix": True}
    data = {"name": "halves_of_pictures", "val": 4}
    result = train(make(data=data, model=unet, loss=losses, log=log, loader={"batch_size": 6}, train={"epochs": 8}))
    assert result.metrics["val/mean_iou"] > 0.9
    text = (result.run_dir / "train.log").read_text()
    assert "the run goes on without" not in text
    assert "val/mean_iou" in text

    found = evaluate_checkpoint(result.checkpoint)
    plain = found.to_plain()
    assert plain["metrics"]["mean_iou"] > 0.9
    assert [one["name"] for one in plain["per_class"]] == ["dark", "bright"]
    assert sum(map(sum, plain["confusion"])) == 16 * 14 * 16
    assert plain["ignored_pixels"] == 16 * 2 * 16
    report = report_page.write(result.run_dir)
    assert report.missing == []
    page = report.path.read_text()
    assert "val pixels" in page
    assert "swatch" in page or "The worst mistakes" not in page

    Path("best.pt").write_bytes(result.checkpoint.read_bytes())
    for name in ("a.png", "other/A.png"):
        Path("new", name).parent.mkdir(parents=True, exist_ok=True)
        halves(60, 40, 0.5).save(Path("new", name))
    with pytest.raises(ConfigError, match="--out DIR is missing: this model predicts a class for each pixel"):
        command(ckpt=Path("best.pt"), inputs=["new"])
    with pytest.raises(ConfigError, match="--top is for classes and labels, this model predicts a class for each"):
        command(ckpt=Path("best.pt"), inputs=["new"], top=2)
    rows = said(capsys, inputs=["new"], out=Path("masks"), overlay=True)
    assert [row["mask"] for row in rows] == ["masks/a.png", "masks/A_2.png"]
    assert {path.name for path in Path("masks").iterdir()} == {
        "a.png", "A_2.png", "a_overlay.jpg", "A_2_overlay.jpg",
    }  # fmt: skip
    with Image.open("masks/a.png") as mask:
        assert (mask.mode, mask.size) == ("P", (60, 40))
        values = np.asarray(mask)
    assert {*np.unique(values[:, :8])} == {255}  # cut off
    assert (values[6:-6, 14:26] == 0).mean() > 0.9
    assert (values[6:-6, 34:46] == 1).mean() > 0.9
    with Image.open("masks/a_overlay.jpg") as overlay:
        assert overlay.size == (60, 40)

    before = Path("masks/a.png").read_bytes()
    halves(60, 40, 0.2).save("new/a.png")
    with pytest.raises(DataError, match="2 inputs could not be used"):
        said(capsys, inputs=["new"], out=Path("masks"))
    assert "masks/a.png is there already and is not overwritten" in capsys.readouterr().err
    assert Path("masks/a.png").read_bytes() == before

    np.save("two.npy", np.stack([np.asarray(halves(16, 16, 0.5))] * 2)[:, None])
    rows = said(capsys, inputs=["two.npy"], out=Path("more"))
    assert [row["mask"] for row in rows] == ["more/two_0.png", "more/two_1.png"]
    [one] = predict("best.pt", "new/a.png")
    assert isinstance(one, MaskPrediction)
    assert one.mask.shape == (40, 60)
    assert one.file == ""


def test_other_models_write_no_files(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    with pytest.raises(ConfigError, match="--out is for models that write files, this model predicts classes"):
        command(ckpt=result.checkpoint, inputs=["x.png"], out=Path("masks"))
