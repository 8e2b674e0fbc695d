"""What docs/own_parts.md shows does what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.command import ROOT
from tests.conftest import records
from tests.test_manual import command

PAGE = (ROOT / "docs/own_parts.md").read_text()


@pytest.fixture(autouse=True)
def files(own_names: None) -> None:
    """The files of the page, and what they register gone afterwards."""
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL):
        Path(name).write_text(text)


def trained(line: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run of a training of three steps, which is evaluated, too."""
    assert command(f"trainkit train {line} train.max_steps=3 log.every=1 loader.num_workers=0", monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    assert command(f"trainkit eval --ckpt {run} loader.num_workers=0", monkeypatch) == 0
    return run


@pytest.mark.parametrize(
    "overrides",
    [
        "",
        "loss=two_parts scheduler=warm_restarts scheduler.T_0=2 model=two_heads",
        "loss=tempered optimizer=lbfgs optimizer.max_iter=2 scheduler=constant",
    ],
)
def test_every_part_trains(overrides: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(f"parts.yaml {overrides}", monkeypatch)
    recorded = records(run)
    assert "sure" in recorded[-1]
    assert ("loss_right" in recorded[0]) == ("two_parts" in overrides)


def test_public_models_train(monkeypatch: pytest.MonkeyPatch) -> None:
    trained("public.yaml", monkeypatch)


@pytest.mark.parametrize("overrides", ["", "data=counted data.val=100"])
def test_streams_train(overrides: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"stream.yaml {overrides} train.max_steps=3 checkpoint.every=2"
    assert command(f"trainkit train {line}", monkeypatch) == 0
    [run] = Path("runs").glob("*/*")
    for words in (f"eval --ckpt {run} --split val", f"report {run}", f"train --resume {run} train.max_steps=5"):
        assert command(f"trainkit {words}", monkeypatch) == 0
    assert ("192 samples are read again" in "".join(capsys.readouterr())) == (not overrides)
    for words in ("check", "data", "overfit", "lr-find", "doctor"):
        wanted = command(f"trainkit {words} {line.replace('train.max_steps=3', '')}", monkeypatch)
        assert wanted in (0, 1), words  # one has things to say


def test_the_error_is_real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("my_bad.py").write_text(
        "from torch.nn import functional\nfrom trainkit import register_loss\n\n\n"
        '@register_loss("of_each")\ndef of_each(outputs, targets):\n'
        '    return functional.cross_entropy(outputs, targets, reduction="none")\n'
    )
    Path("bad.yaml").write_text("imports: [my_bad]\ndata: digits\nmodel: mlp\nloss: of_each\n")
    assert command("trainkit train bad.yaml", monkeypatch) == 2
    shown = re.findall(r"^error: (.*)$", PAGE, re.MULTILINE)
    assert re.findall(r"^error: (.*)$", capsys.readouterr().err, re.MULTILINE) == shown


def test_the_schema_of_a_config_knows_its_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("trainkit schema parts.yaml", monkeypatch) == 0
    properties = json.loads(capsys.readouterr().out)["properties"]
    config = yaml.safe_load(Path("parts.yaml").read_text())
    for section, family in (("loss", "loss"), ("optimizer", "optimizer"), ("scheduler", "scheduler")):
        names, *members = properties[family]["anyOf"]
        member = members[names["enum"].index(config[section]["name"])]
        assert config[section].keys() <= member["properties"].keys()
    assert "two_heads" in properties["model"]["anyOf"][0]["enum"]
    assert command("trainkit schema missing.yaml", monkeypatch) == 2
