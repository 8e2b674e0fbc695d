"""What TensorBoard shows besides curves: read back from event files, and without effect on the training."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from torch import Tensor, nn

from tests.conftest import MakeExperiment, equal, records, weights
from trainkit.config import registry
from trainkit.experiment.building import build, open_data
from trainkit.experiment.schema import LogConfig
from trainkit.models import register_model
from trainkit.plots import images
from trainkit.plots.images import spread
from trainkit.runs.run import resume, train
from trainkit.training import loop, predictions

CPU = torch.device("cpu")
SWITCHES = [
    name for name, field in LogConfig.model_fields.items() if field.annotation is bool and name != "tensorboard"
]
OFF = {"tensorboard": True, **dict.fromkeys(SWITCHES, False)}
DIGITS = {
    "name": "digits", "size": 8, "channels": 3, "normalize": "half", "augment": ["random_horizontal_flip"], "val": 32,
    "subset": 128,
}  # fmt: skip
ON = {"tensorboard": True, **dict.fromkeys(SWITCHES, True)}


def opened(run_dir: Path) -> EventAccumulator:
    board = EventAccumulator(str(run_dir / "tb"), size_guidance={"images": 0, "tensors": 0, "histograms": 0})
    board.Reload()
    return board


def picture(board: EventAccumulator, tag: str) -> Tensor:
    """The last picture with a tag, shape (height, width, 3)."""
    image = Image.open(io.BytesIO(board.Images(tag)[-1].encoded_image_string))
    return torch.tensor(list(image.convert("RGB").tobytes()), dtype=torch.uint8).view(image.height, image.width, 3)


def corner(place: int, side: int, lines: int) -> tuple[int, int]:
    """Where the square picture number `place` of a sheet begins: row and column."""
    down, across = side + 2 * images.GAP + lines * images.LINE, side + 2 * images.GAP
    row, column = divmod(place, images.COLUMNS)
    return row * down + images.GAP + images.TITLE, column * across + images.GAP


def inner(page: Tensor, place: int, lines: int) -> Tensor:
    """The picture of 8x8 pixels number `place` of a sheet as it was before it was enlarged, shape (8, 8, 3)."""
    y, x = corner(place, 112, lines)
    enlarged = page[y : y + 112, x : x + 112]
    assert torch.equal(enlarged[::14, ::14], enlarged[13::14, 13::14])
    return enlarged[::14, ::14]


def hparams(board: EventAccumulator) -> dict[str, Any]:
    content = board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    return {
        key: value.number_value if value.HasField("number_value") else value.string_value
        for key, value in values.items()
    }


def test_everything_is_there_and_training_does_not_notice(make: MakeExperiment) -> None:
    silent, loud = train(make(data=DIGITS, log=OFF)), train(make(data=DIGITS, log=ON))
    for name in ("last.pt", "best.pt"):
        assert equal(*(weights(result.run_dir / "checkpoints" / name) for result in (silent, loud)))
    assert records(silent.run_dir) == records(loud.run_dir)
    assert "warning" not in (loud.run_dir / "train.log").read_text()

    board = opened(loud.run_dir)
    tags = board.Tags()
    assert set(tags["images"]) - {"pictures/worst"} == {
        "pictures/train", "pictures/val", "confusion_matrix/val", "feature_maps/0",
    }  # fmt: skip
    assert {f"pr_val/{name}" for name in range(10)} < set(tags["tensors"])
    assert tags["graph"]
    names = {
        name for name, _ in build(make(data=DIGITS), open_data(make(data=DIGITS))[1], CPU)[0].model.named_parameters()
    }
    assert set(tags["histograms"]) == {f"{kind}/{name}" for kind in ("weights", "gradients") for name in names}
    assert [event.step for event in board.Histograms("gradients/0.weight")] == [8, 16]
    assert [event.step for event in board.Images("feature_maps/0")] == [8, 16]

    found = opened(silent.run_dir).Tags()
    assert (found["images"], found["histograms"], found["graph"]) == ([], [], False)
    assert sorted(found["tensors"]) == ["config/text_summary", "run/text_summary"]
    assert not any(tag.startswith("final/") for tag in found["scalars"])


def test_training_pictures_are_what_the_model_sees(make: MakeExperiment) -> None:
    experiment = make(data=DIGITS, log={"tensorboard": True})
    _, data, _ = open_data(experiment)
    parts, _ = build(experiment, data, CPU)
    batch = parts.prepare(next(parts.train.epoch(0)), 0)
    raw = {
        int(i): picture for i, picture in zip(data.train.index, data.train.take(torch.arange(128)).inputs, strict=True)
    }
    page = picture(opened(train(experiment).run_dir), "pictures/train")
    flipped = 0
    for place, index in enumerate(batch.index.tolist()):
        seen = inner(page, place, 1).movedim(-1, 0)
        same, mirrored = torch.equal(seen, raw[index]), torch.equal(seen, raw[index].flip(-1))
        assert same or mirrored
        flipped += mirrored
        assert torch.equal(seen, data.spec.input.pixels(batch.inputs[place : place + 1])[0])
    assert 0 < flipped < len(batch.index)


def test_val_pictures_say_right_and_wrong(make: MakeExperiment) -> None:
    """A model that learns nothing is wrong somewhere, and its worst mistakes are those that it is most sure of."""
    experiment = make(optimizer={"lr": 1e-9}, log={"tensorboard": True, "every": 1})
    result = train(experiment)
    _, data, _ = open_data(experiment)
    assert data.val is not None
    parts, _ = build(experiment, data, CPU)
    parts.model.load_state_dict(weights(result.checkpoint))
    batch = parts.prepare(data.val.take(torch.arange(32)), None)
    with torch.inference_mode():
        probabilities = parts.model.eval()(batch.inputs).softmax(1)
    board = opened(result.run_dir)
    page = picture(board, "pictures/val")
    shown = data.spec.input.pixels(batch.inputs)
    for place, (chance, target) in enumerate(zip(probabilities, batch.targets, strict=True)):
        assert torch.equal(inner(page, place, 2)[:, :, 0], shown[place, 0])
        y, x = corner(place, 112, 2)
        color = images.RIGHT if chance.argmax() == target else images.WRONG
        assert tuple(page[y - 1, x - 1].tolist()) == color
    wrong = [place for place in range(32) if probabilities[place].argmax() != batch.targets[place]]
    worst = sorted(wrong, key=lambda place: float(probabilities[place, batch.targets[place]]))
    page = picture(board, "pictures/worst")
    for place, sample in enumerate(worst):
        assert torch.equal(inner(page, place, 2)[:, :, 0], shown[sample, 0])


def test_feature_maps_are_one_tile_a_channel(make: MakeExperiment) -> None:
    """Six channels of a coloured picture are six tiles, not two coloured ones."""
    experiment = make(
        data={"shape": [3, 8, 8]}, model={"channels": [6]}, train={"epochs": 1}, log={**OFF, "feature_maps": True}
    )
    result = train(experiment)
    _, data, _ = open_data(experiment)
    assert data.val is not None
    parts, _ = build(experiment, data, CPU)
    parts.model.load_state_dict(weights(result.checkpoint))
    batch = parts.prepare(data.val.take(torch.tensor([0])), None)
    with torch.inference_mode():
        maps = next(layer for layer in parts.model.modules() if isinstance(layer, nn.Conv2d))(batch.inputs)[0]
    page = picture(opened(result.run_dir), "feature_maps/0")
    assert page.shape[0] == images.TITLE + 112 + 2 * images.GAP + images.LINE
    for place, channel in enumerate(maps):
        tile = inner(page, place, 1)
        assert torch.equal(tile, spread(channel)[..., None].expand(-1, -1, 3))
        assert (int(tile.min()), int(tile.max())) == (0, 255)
    assert len(maps) == 6
    assert torch.equal(inner(page, 6, 1).unique(), torch.tensor([255], dtype=torch.uint8))  # white


def test_hparams_are_those_of_the_run_with_its_final_metrics(make: MakeExperiment) -> None:
    result = train(make(log={"tensorboard": True}, optimizer={"lr": 0.05}))

    def final(board: EventAccumulator) -> dict[str, list[float]]:
        tags = [tag for tag in board.Tags()["scalars"] if tag.startswith("final/")]
        return {tag.removeprefix("final/"): [event.value for event in board.Scalars(tag)] for tag in tags}

    board = opened(result.run_dir)
    values = hparams(board)
    assert values["optimizer.lr"] == 0.05
    assert values["model.channels"] == "[4]"
    assert values["data.stratify"] == "false"
    assert values["train.epochs"] == 2
    assert "train.clip_norm" not in values
    assert {key: pytest.approx([value]) for key, value in result.metrics.items()} == final(board)
    assert not [path for path in (result.run_dir / "tb").iterdir() if path.is_dir()]

    longer = resume(result.run_dir, ["train.epochs=3"])
    board = opened(longer.run_dir)
    assert hparams(board)["train.epochs"] == 3  # TensorBoard believes what it reads first
    assert {key: pytest.approx([value]) for key, value in longer.metrics.items()} == final(board)


@pytest.fixture
def own_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))


class Untraceable(nn.Module):
    """A model that cannot be told what the tracer needs."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.last = nn.Linear(in_features, num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        if torch._C._get_tracing_state():
            raise RuntimeError("no graph of me\nand no second line")
        outputs: Tensor = self.last(inputs.flatten(1))
        return outputs


class Branching(Untraceable):
    """A model of which the tracer sees one way only, and says so."""

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(inputs.flatten(1))
        return outputs if inputs.sum() > -1e9 else -outputs


def test_what_fails_is_one_warning_and_the_run_goes_on(
    make: MakeExperiment, own_models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    register_model("untraceable")(Untraceable)
    result = train(make(model={"name": "untraceable"}, log=ON))
    out, err = capsys.readouterr()
    assert [line for line in err.splitlines() if line.startswith("warning")] == [
        "warning: log.graph: no graph of me; the run goes on without",
        "warning: log.feature_maps: the model has no two-dimensional convolution; the run goes on without",
    ]
    assert "no graph of me" not in out
    board = opened(result.run_dir)
    assert not board.Tags()["graph"]
    assert "confusion_matrix/val" in board.Tags()["images"]


class Hollow(Untraceable):
    """A model with a parameter of which there is no distribution."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__(in_features, num_outputs)
        self.nothing = nn.Parameter(torch.zeros(0))

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.last(inputs.flatten(1)) + self.nothing.sum()
        return outputs


def test_a_figure_that_fails_costs_no_curve(
    make: MakeExperiment, own_models: None, capsys: pytest.CaptureFixture[str]
) -> None:
    register_model("hollow")(Hollow)
    result = train(make(model={"name": "hollow"}, log={**OFF, "histograms": True, "hparams": True}))
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: log")] == [
        "warning: log.histograms: The input has no element.; the run goes on without"
    ]
    board = opened(result.run_dir)
    assert {"test/loss", "final/test/loss"} <= set(board.Tags()["scalars"])


def test_a_graph_with_warnings_is_a_graph(make: MakeExperiment, own_models: None) -> None:
    register_model("branching")(Branching)
    result = train(make(model={"name": "branching"}, log={**OFF, "graph": True}))
    assert opened(result.run_dir).Tags()["graph"]


def test_a_pass_that_fails_is_one_warning_for_all_that_need_it(
    make: MakeExperiment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*arguments: object) -> None:
        raise OSError("the data are gone")

    monkeypatch.setattr(predictions, "evaluate", evaluate)
    result = train(make(log=ON))
    assert result.metrics
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")] == [
        "warning: log.confusion_matrix, log.pr_curves, log.pictures: the data are gone; the run goes on without"
    ]


def test_other_targets_and_no_val_split(make: MakeExperiment, capsys: pytest.CaptureFixture[str]) -> None:
    labels = train(make(data={"target": "multilabel", "size": 3}, loss="bce_with_logits", log=ON))
    numbers = train(make(data={"target": "regression", "size": 3}, loss="mse", log=ON))
    alone = train(make(data={"val": 0}, log=ON))
    texts = make(data={"name": "synthetic", "shape": [6, 3], "min_length": 2}, model={"name": "rnn"}, log=ON)
    sequences = train(texts)
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: log")] == [
        "warning: log.confusion_matrix: needs classes; the run goes on without",
        "warning: log.confusion_matrix: needs classes; the run goes on without",
        "warning: log.pr_curves: needs classes or labels of whole samples; the run goes on without",
        "warning: log.confusion_matrix, log.pr_curves: there is no val split; the run goes on without",
        "warning: log.feature_maps: the model has no two-dimensional convolution; the run goes on without",
    ]
    assert {"pictures/val", "pictures/worst"} < set(opened(labels.run_dir).Tags()["images"])
    assert "pr_val/2" in opened(labels.run_dir).Tags()["tensors"]
    assert {"pictures/val", "pictures/worst"} < set(opened(numbers.run_dir).Tags()["images"])
    assert opened(alone.run_dir).Tags()["images"] == ["pictures/train", "feature_maps/0"]
    assert [event.step for event in opened(alone.run_dir).Histograms("weights/0.weight")] == [10, 20]
    assert opened(sequences.run_dir).Tags()["images"] == ["confusion_matrix/val"]
    assert opened(sequences.run_dir).Tags()["graph"]


@pytest.mark.parametrize("changes", [{"train": {"ema": 0.9}}, {"train": {"precision": "bf16"}}])
def test_other_ways_to_train(make: MakeExperiment, changes: dict[str, Any]) -> None:
    one, other = train(make(**changes, log=OFF)), train(make(**changes, log=ON))
    assert equal(weights(one.checkpoint), weights(other.checkpoint))
    assert "warning" not in (other.run_dir / "train.log").read_text()


def test_a_resumed_run_draws_the_end_anew(make: MakeExperiment) -> None:
    result = train(make(log=ON))
    resume(result.run_dir, ["train.epochs=3"])
    board = opened(result.run_dir)
    assert [event.step for event in board.Images("pictures/train")] == [0]
    assert [event.step for event in board.Images("pictures/val")] == [16, 24]
    assert [event.step for event in board.Images("feature_maps/0")] == [8, 16, 24]


def test_switched_on_before_tensorboard_is_switched_off(make: MakeExperiment) -> None:
    result = train(make(log={**ON, "tensorboard": False}))
    assert not (result.run_dir / "tb").exists()


def test_no_pass_over_the_val_split_that_nothing_needs(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def evaluate(*arguments: Any) -> Any:
        nonlocal passes
        passes += 1
        return loop.evaluate(*arguments)

    monkeypatch.setattr(predictions, "evaluate", evaluate)
    train(make(log={**OFF, "histograms": True, "feature_maps": True, "graph": True, "hparams": True}))
    assert passes == 0
    train(make(log=ON))
    assert passes == 1
