"""The commands, configs, modules and errors of the README and of the pages in docs/ do what is said of them."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.command import ROOT
from tests.data.sources.test_text_folder import reviews
from trainkit.cli import main
from trainkit.experiment.loading import load

PAGES = {path.stem: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def files(*pages: str) -> dict[str, str]:
    """The blocks that begin with the name of their file, by it."""
    found = [block for page in pages for language in ("python", "yaml") for block in blocks(page, language)]
    return {match[1]: block for block in found if (match := re.match(r"# ([\w./]+)", block))}


def commands(page: str) -> list[str]:
    lines = [re.split("  | #", line)[0] for block in blocks(page, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("trainkit")]


def command(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


@pytest.mark.usefixtures("own_names")
def test_the_commands_of_the_readme_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, in their order, as one who has just come would type them."""
    pictures("data/pets/cats")
    pictures("data/pets/dogs")
    pictures("new", 3)
    Path("data/houses.csv").write_text(houses_of(60, price=True))
    Path("data/new.csv").write_text(houses_of(5, price=False))
    for name, text in files("README").items():
        Path(name).write_text(text)
    lines = commands("README")
    assert len(lines) == 13
    shorter = {"train pets.yaml": " train.epochs=2 loader.num_workers=0", "sweep": " train.epochs=1"}
    for line in lines:
        line += next((more for part, more in shorter.items() if part in line), "")
        assert command(line, monkeypatch) == 0, line
    assert len(list(Path("runs").glob("*/*/trials/*"))) == 4


def test_the_readme_is_short() -> None:
    assert PAGES["README"].count("\n") <= 200


def test_the_commands_of_the_manual_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of its list but sweeps, and those that look for mistakes, in their order, on the embedded digits."""
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    shutil.copytree(ROOT / "configs", "configs")
    pictures("new", 3)
    pictures("data/pictures/cats")
    pictures("data/pictures/dogs")
    lines = [line for line in commands("commands") + commands("first_experiment") if "sweep" not in line]
    assert len(lines) >= 18
    for line in lines:
        runs = sorted(Path("runs/mnist_cnn").glob("*"))
        ended = command(line.replace("RUN", str(runs[0]) if runs else "RUN"), monkeypatch)
        assert ended == (1 if "doctor" in line else 0), line  # the digits are not normalised as MNIST is
    assert "TRAINING ON DIGITS, NOT ON MNIST" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "config"),
    [
        ("my_models", "my.yaml"),
        ("my_data", "spirals.yaml"),
        ("my_sinks", "sinks.yaml"),
    ],
)
@pytest.mark.usefixtures("own_names")
def test_the_modules_of_the_manual_train(module: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = files("data", "models", "sinks")
    Path(f"{module}.py").write_text(shown[f"{module}.py"])
    Path(config).write_text(shown[config])
    assert command(f"trainkit train {config} train.epochs=1 loader.num_workers=0", monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    assert command(f"trainkit eval --ckpt {run} loader.num_workers=0", monkeypatch) == 0
    if module == "my_sinks":
        assert (run / "metrics.csv").read_text().startswith("step,epoch,split,loss,accuracy\n")
        assert (run / "best-so-far.txt").read_text().startswith("step ")


def pictures(folder: str, count: int = 10) -> None:
    Path(folder).mkdir(parents=True)
    for number in range(count):
        shade = Image.new("RGB", (80, 60), (20 * number, 200 if "cats" in folder else 30, 10 + 25 * number % 230))
        shade.save(f"{folder}/picture {number}.jpg")


def pets() -> None:
    for animal in ("cats", "dogs"):
        pictures(f"pets/{animal}")


def leaves() -> None:
    pictures("leaves", 20)
    Path("leaves/labels.txt").write_text("".join(f"picture {n}.jpg {'oak' if n % 2 else 'ash'}\n" for n in range(20)))


def photos() -> None:
    pictures("photos")
    rows = [f"picture {n},{'dog night' if n % 3 else 'dog'}" for n in range(10)]
    Path("photos/train.csv").write_text("\n".join(["id,tags", *rows]))


def houses() -> None:
    rows = [f"{n % 5},{'south' if n % 3 else ''},{n % 5 + n / 50}" for n in range(50)]
    Path("houses.csv").write_text("\n".join(["rooms,side,price", *rows]))


def tickets() -> None:
    rows = [
        f"s{n % 4},{'invoice paid' if n % 2 else 'login broken'},{n % 7},{'money' if n % 2 else 'it'}"
        for n in range(60)
    ]
    Path("tickets.csv").write_text("\n".join(["subject,body,customer,team", *rows]))


def houses_of(count: int, *, price: bool) -> str:
    rows = [
        f"h{n},{n % 5},{'south' if n % 3 else 'north'}" + f",{50_000 * (n % 5) + 1_000 * n}" * price
        for n in range(count)
    ]
    return "\n".join(["id,rooms,side" + ",price" * price, *rows])


@pytest.mark.parametrize(
    ("name", "prepare", "overrides"),
    [
        ("pets", pets, ""),
        ("leaves", leaves, ""),
        ("photos", photos, ""),
        ("houses", houses, ""),
        ("layers", lambda: None, ""),
        ("reviews", reviews, ""),
        ("tickets", tickets, ""),
        ("finetune", pets, "data.size=64 model.weights=none"),
    ],
)
def test_the_configs_of_the_manual_train(
    name: str, prepare: Callable[[], None], overrides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare()
    Path(f"{name}.yaml").write_text(files("data", "models", "texts")[f"{name}.yaml"])
    line = f"trainkit train {name}.yaml train.epochs=1 loader.batch_size=8 loader.num_workers=0 {overrides}"
    assert command(line, monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    assert command(f"trainkit eval --ckpt {run} loader.num_workers=0", monkeypatch) == 0


def test_the_config_that_is_explained_is_the_shipped_one() -> None:
    assert yaml.safe_load(files("config")["configs/mnist_cnn.yaml"]) == yaml.safe_load(
        (ROOT / "configs/mnist_cnn.yaml").read_text()
    )


def test_the_errors_of_a_config_are_real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("configs").mkdir()
    lines = (ROOT / "configs/mnist_cnn.yaml").read_text().splitlines()
    Path("configs/my.yaml").write_text("\n".join(lines))
    shown = re.findall(r"^error: (.*)$", PAGES["config"], re.MULTILINE)
    text = "data: digits\n" + "\n" * 7 + "model:  {name: cn}\n" + "\n" * 3 + "optimizer:\n  learning_rate: 1e-3\n"
    Path("configs/my.yaml").write_text(text.replace("model:  {name: cn}", "model: {name: cn}"))
    assert command("trainkit train configs/my.yaml", monkeypatch) == 2
    given = re.findall(r"^error: (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert [re.sub(r":\d+:\d+:", ":", line) for line in given] == [re.sub(r":\d+:\d+:", ":", line) for line in shown]


def test_the_manual_builds_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(ROOT / "mkdocs.yml"), "-d", str(site)]
    done = subprocess.run(build, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert (done.returncode, "WARNING" in done.stderr) == (0, False), done.stderr
    for page in site.rglob("*.html"):
        assert re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=\"?https?://[^> ]*", page.read_text()) == []
    texts = {
        entry["location"]: entry["text"]
        for entry in json.loads((site / "search/search_index.json").read_text())["docs"]
    }
    assert "Decay of the running means of the gradient" in texts["components/optimizers.html#adam"]
    assert "components/optimizers.html" in (site / "config.html").read_text()


def test_every_shipped_config_opens_with_the_command_that_runs_it() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        assert re.fullmatch(rf"# trainkit (train|sweep) configs/{path.name}( --jobs 2)?", first), path
        load(path)
