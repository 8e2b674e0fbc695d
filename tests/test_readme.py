"""The README's commands do what it says."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from tests.command import ROOT
from trainkit.cli import main
from trainkit.config import registry
from trainkit.experiment.loading import load

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def command(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", line.split())
    with pytest.raises(SystemExit) as end:
        main.main()
    return int(end.value.code or 0)


def test_the_commands_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the README but sweeps, in its order, on the embedded digits."""
    monkeypatch.setenv("TRAINKIT_OFFLINE", "1")
    shutil.copytree(ROOT / "configs", "configs")
    pictures("new", 3)
    pictures("data/pictures/cats")
    pictures("data/pictures/dogs")
    lines = [re.split("  | #", line)[0] for block in blocks("sh") for line in block.splitlines()]
    lines = [line for line in lines if line.startswith("trainkit") and "sweep" not in line]
    assert len(lines) >= 17
    for line in lines:
        runs = sorted(Path("runs/mnist_cnn").glob("*"))
        ended = command(line.replace("RUN", str(runs[0]) if runs else "RUN"), monkeypatch)
        assert ended == (1 if "doctor" in line else 0), line  # the digits are not normalised as MNIST is
    assert "TRAINING ON DIGITS, NOT ON MNIST" in capsys.readouterr().err


def titled(language: str) -> dict[str, str]:
    """The blocks of a language that begin with the name of their file."""
    return {found[1]: block for block in blocks(language) if (found := re.match(r"# ([\w./]+)", block))}


@pytest.mark.parametrize(
    ("module", "config"),
    [
        ("my_models", "my.yaml"),
        ("my_losses", "losses.yaml"),
        ("my_data", "spirals.yaml"),
        ("my_sinks", "sinks.yaml"),
    ],
)
def test_the_modules_of_the_readme_train(module: str, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{module}.py").write_text(titled("python")[f"{module}.py"])
    Path(config).write_text(titled("yaml")[config])
    # What it registers must not be there for other tests.
    families = {family: known.copy() for family, known in registry._families.items()}
    monkeypatch.setattr(registry, "_families", families)
    monkeypatch.setattr(registry, "_loaded", set())
    monkeypatch.setattr(sys, "path", sys.path.copy())
    assert command(f"trainkit train {config} train.epochs=1 loader.num_workers=0", monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    assert command(f"trainkit eval --ckpt {run} loader.num_workers=0", monkeypatch) == 0
    if module == "my_sinks":
        assert (run / "metrics.csv").read_text().startswith("step,epoch,split,loss,accuracy\n")
        assert (run / "best-so-far.txt").read_text().startswith("step ")
    del sys.modules[module]


def pictures(folder: str, count: int = 10) -> None:
    Path(folder).mkdir(parents=True)
    for number in range(count):
        shade = Image.new("RGB", (80, 60), (20 * number, len(folder) * 9 % 256, 90))
        shade.save(f"{folder}/picture {number}.jpg")


def pets() -> None:
    for animal in ("cats", "dogs"):
        pictures(f"pets/{animal}")


def leaves() -> None:
    pictures("leaves", 20)
    Path("leaves/labels.txt").write_text("".join(f"picture {n}.jpg {'oak' if n % 2 else 'ash'}\n" for n in range(20)))


def houses() -> None:
    rows = [f"{n % 5},{'south' if n % 3 else ''},{n % 5 + n / 50}" for n in range(50)]
    Path("houses.csv").write_text("\n".join(["rooms,side,price", *rows]))


@pytest.mark.parametrize(
    ("name", "prepare", "overrides"),
    [
        ("pets", pets, ""),
        ("leaves", leaves, ""),
        ("houses", houses, ""),
        ("layers", lambda: None, ""),
        ("finetune", pets, "data.size=64 model.weights=none"),
    ],
)
def test_the_configs_of_the_readme_train(
    name: str, prepare: Callable[[], None], overrides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare()
    Path(f"{name}.yaml").write_text(titled("yaml")[f"{name}.yaml"])
    line = f"trainkit train {name}.yaml train.epochs=1 loader.batch_size=8 loader.num_workers=0 {overrides}"
    assert command(line, monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    assert command(f"trainkit eval --ckpt {run} loader.num_workers=0", monkeypatch) == 0


def test_the_config_of_the_readme_is_the_shipped_one() -> None:
    shown = next(block for block in blocks("yaml") if "mnist_cnn" in block)
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "configs/mnist_cnn.yaml").read_text())


def test_the_errors_of_the_readme_are_real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("configs").mkdir()
    lines = (ROOT / "configs/mnist_cnn.yaml").read_text().splitlines()
    Path("configs/my.yaml").write_text("\n".join(lines))
    shown = re.findall(r"^error: (.*)$", README, re.MULTILINE)
    text = "data: digits\n" + "\n" * 7 + "model:  {name: cn}\n" + "\n" * 3 + "optimizer:\n  learning_rate: 1e-3\n"
    Path("configs/my.yaml").write_text(text.replace("model:  {name: cn}", "model: {name: cn}"))
    assert command("trainkit train configs/my.yaml", monkeypatch) == 2
    given = re.findall(r"^error: (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert [re.sub(r":\d+:\d+:", ":", line) for line in given] == [re.sub(r":\d+:\d+:", ":", line) for line in shown]


def test_every_shipped_config_opens_with_the_command_that_runs_it() -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        assert re.fullmatch(rf"# trainkit (train|sweep) configs/{path.name}( --jobs 2)?", first), path
        load(path)
