"""`trainkit init`: what it writes can be trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command import warm
from tests.data.sources.test_text_folder import reviews
from trainkit.checks import starter
from trainkit.core.errors import ConfigError, DataError
from trainkit.experiment import building
from trainkit.experiment.loading import load
from trainkit.experiment.schema import ExperimentConfig


def pictures(folder: str, count: int, side: int = 20) -> list[str]:
    Path(folder).mkdir(parents=True, exist_ok=True)
    names = [f"{folder}/{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.fromarray(np.full((side, side + 4, 3), number, "uint8")).save(name)
    return names


def suggested(path: str, target: str | None = None) -> tuple[str, ExperimentConfig]:
    """The text, and the experiment that it is, whose data has been read and whose network has been built."""
    text = starter.suggest(Path(path), target)
    Path("suggested.yaml").write_text(text.replace(", weights: DEFAULT", ""))  # for which there is no network
    experiment = load(Path("suggested.yaml"))
    opened = building.open_experiment(experiment)
    building.build(opened.experiment, opened.data, opened.device)
    return text, experiment


def test_a_folder_of_small_pictures() -> None:
    for kind, count in (("cat", 60), ("dog", 5)):
        pictures(f"pets & co/{kind}", count)
    text, experiment = suggested("pets & co")
    assert (experiment.name, experiment.data.name, experiment.model.name) == ("pets-co", "image_folder", "cnn")
    assert experiment.data.to_plain()["size"] == 20
    assert "There are few samples of 'dog'" in text
    assert experiment.train.epochs == 50


def test_a_folder_of_large_pictures_and_a_file() -> None:
    names = pictures("pets/img", 30, side=90)
    rows = [f"{Path(name).relative_to('pets')},{'dog' if n % 3 else 'cat'},{n}" for n, name in enumerate(names)]
    Path("pets/pets.csv").write_text("\n".join(["file,kind,weight", *rows]))
    for path in ("pets", "pets/pets.csv"):
        _, experiment = suggested(path)
        plain = experiment.data.to_plain()
        assert (plain["path_column"], plain["label_column"], plain["size"]) == ("file", "kind", 224)
        assert experiment.model.name == "torchvision"
    _, experiment = suggested("pets", "weight")
    assert experiment.data.to_plain()["label_column"] == "weight"


def test_pictures_with_masks() -> None:
    pictures("roads/images", 6, side=64)
    Path("roads/masks").mkdir()
    for number in range(6):
        Image.fromarray(np.tile(np.arange(68) % 3, (64, 1)).astype("uint8")).save(f"roads/masks/{number}.png")
    text, experiment = suggested("roads")
    assert (experiment.data.name, experiment.model.name) == ("segmentation_folder", "unet")
    assert "names of the 3 values" in text


def test_a_table() -> None:
    rows = [f"{n},{'' if n % 5 else n},{'yes' if n % 3 else 'no'}" for n in range(60)]
    Path("my table.csv").write_text("\n".join(["size,age,Species", *rows]))
    text, experiment = suggested("my table.csv")
    plain = experiment.data.to_plain()
    assert (experiment.name, plain["target"], plain["missing"]) == ("my-table", "Species", "mean")
    assert "  missing: mean  # gaps in age\n" in text
    text, experiment = suggested("my table.csv", "size")
    assert "# numbers; the other columns: age and 1 more" in text
    assert [metric.name for metric in experiment.metrics] == ["mae", "r2"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_table_with_another_delimiter(delimiter: str) -> None:
    rows = [("null", "a\nb"), *((str(n / 7), "yes" if n % 3 else "no") for n in range(40))]
    Path("odd.csv").write_text("\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows))
    _, experiment = suggested("odd.csv")
    plain = experiment.data.to_plain()
    assert (plain["delimiter"], plain["target"]) == (delimiter, "a\nb")
    text, experiment = suggested("odd.csv", "null")
    assert "the other columns: a\\nb\n" in text
    assert experiment.data.to_plain()["target"] == "null"


@pytest.mark.parametrize(
    ("folder", "name"), [("null", "null"), ("été", "t"), (".hidden", "hidden"), ("写真", "first"), ("a.b/c/..", "a")]
)
def test_a_folder_of_any_name(folder: str, name: str) -> None:
    Path(folder.removesuffix("..")).mkdir(parents=True)
    for kind in ("yes", "no: x"):
        pictures(f"{folder}/{kind}", 6)
    if folder.endswith(".."):
        Path("a.b/c").rmdir()
        folder = "a.b/yes/.."
    _, experiment = suggested(folder)
    assert experiment.name == name
    with pytest.raises(ConfigError, match=f"^command line: --target: {folder} is no table"):
        starter.suggest(Path(folder), "kind")


def test_a_folder_of_texts() -> None:
    reviews("film reviews", 20)
    text, experiment = suggested("film reviews")
    assert (experiment.name, experiment.data.name, experiment.model.name) == (
        "film-reviews",
        "text_folder",
        "embedding_bag",
    )
    assert "29 samples train, 3 samples val, 8 samples test" in text
    assert experiment.loader.batch_size == 4


def test_few_pictures_fit_their_batches() -> None:
    for kind in ("cat", "dog"):
        pictures(f"pets/{kind}", 10)
    assert suggested("pets")[1].loader.batch_size == 2


def test_every_example_comes_along_and_is_a_config() -> None:
    here = {path.stem for path in Path(__file__).parents[2].glob("configs/*.yaml")}
    assert starter.examples().keys() == here
    (text,) = starter.example("smoke").values()
    assert text.startswith("# trainkit train smoke.yaml\n")
    assert "schema" not in text


def test_what_is_no_start_is_told() -> None:
    Path("empty").mkdir()
    with pytest.raises(DataError, match=r"^empty: no pictures in it; it is empty$"):
        starter.suggest(Path("empty"))
    Path("empty/houses.csv").write_text("rooms,price\n1,2\n")
    for_a_table = "for a table, name the file: empty/houses.csv"
    with pytest.raises(DataError, match=f"^empty: no pictures in it; found 1 .csv; {for_a_table}$"):
        starter.suggest(Path("empty"))
    Path("empty/notes.txt").touch()
    with pytest.raises(DataError, match=f"^empty: no pictures in it; found 1 .csv, 1 .txt; {for_a_table}$"):
        starter.suggest(Path("empty"))
    with pytest.raises(ConfigError, match="digit_cnn: no such file, folder or example; did you mean 'digits_cnn'"):
        starter.example("digit_cnn")
    with pytest.raises(DataError, match="did you mean 'price'"):
        starter.suggest(Path("empty/houses.csv"), "prices")


def test_the_command_overwrites_nothing() -> None:
    ended = warm.run(["init", "smoke"])
    assert (ended.code, ended.stdout.splitlines()[0]) == (0, "smoke.yaml")
    again = warm.run(["init", "smoke"])
    refusal = "smoke.yaml: is there already; write elsewhere with --output FILE"
    assert (again.code, again.stderr) == (5, f"error: {refusal}\n")
    assert warm.run(["init", "smoke", "--output", "other.yaml"]).code == 0
    assert "digits_cnn" in warm.run(["init"]).stdout.split()


def test_an_example_brings_what_it_extends() -> None:
    ended = warm.run(["init", "digits_sweep"])
    check, sweep = "trainkit check digits_sweep.yaml", "trainkit sweep digits_sweep.yaml"
    assert ended.stdout.splitlines() == ["digits_sweep.yaml", "digits_cnn.yaml", check, sweep]
    assert load(Path("digits_sweep.yaml")).optimizer.name == load(Path("digits_cnn.yaml")).optimizer.name


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 40), (3, 3), (7, 9)])
def test_pictures_of_a_few_pixels(width: int, height: int) -> None:
    for kind in "ab":
        Path("tiny", kind).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (width, height), (number, 0, 0)).save(f"tiny/{kind}/{number}.png")
    _, experiment = suggested("tiny")
    assert experiment.model.name == "mlp"


def test_what_a_table_leaves_open_can_be_said_in_a_config() -> None:
    rows = "".join(f"0{1 + n % 9}/0{1 + n % 8}/2020,{'ab'[n % 2]}\n" for n in range(40))
    Path("t.csv").write_text(f"d,y\n{rows}")
    with pytest.raises(DataError) as error:
        starter.suggest(Path("t.csv"))
    _, way_out = error.value.problems
    before, _, begun = way_out.partition("begin with ")
    assert before == "say it in a config of your own, which may "
    Path("own.yaml").write_text(f"{begun[:-1]}, columns: {{d: {{kind: date, format: dmy}}}}}}\n")
    building.open_experiment(load(Path("own.yaml")))
