# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

import trainkit
from tests.command import bare
from tests.conftest import MakeExperiment
from trainkit.cli import main
from trainkit.cli.commands.reference import FAMILIES

BARE = "data: digits\nmodel: mlp\n"


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["trainkit", *words])
        with pytest.raises(SystemExit) as ended:
            main.main()
        assert ended.value.code is None or isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return go


@pytest.mark.parametrize("words", ["", "--help", "--version", "train --help", "sweep --help"])
def test_help_does_not_wait_for_torch(words: str) -> None:
    ended = bare.run(words.split())
    assert (ended.code, ended.stderr, ended.imported_torch) == (0, "", False)


CLASSES = """
name  samples  precision    recall        F1
cat         1   100.00 %  100.00 %  100.00 %
dog         2    50.00 %   50.00 %   50.00 %
owl         1     0.00 %    0.00 %    0.00 %

     cat  dog  owl
cat    1    .    .
dog    .    1    1
owl    .    1    .
Rows: the true class. Columns: the predicted class.
"""


def test_eval_shows_the_classes_below_the_metrics(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainkit.inference import evaluation
    from trainkit.tasks import Classification

    tally = Classification(size=3, names=("cat", "dog", "owl")).tally(torch.device("cpu"))
    tally.counts += torch.tensor([[1, 0, 0], [0, 1, 1], [0, 1, 0]])
    found = evaluation.Evaluation({"loss": 0.5, "accuracy": 0.5}, ["look out"], tally)
    monkeypatch.setattr(evaluation, "evaluate_checkpoint", lambda *arguments, **keywords: found)
    Path("best.pt").touch()
    first = "test/loss 0.5  test/accuracy 50.00 %\n"
    assert run("eval", "--ckpt", "best.pt") == Ended(0, first + CLASSES, "warning: look out\n")
    plain = json.loads(run("eval", "--ckpt", "best.pt", "--json").out)
    assert plain.keys() == {"checkpoint", "split", "metrics", "notes", "yardsticks", "per_class", "confusion"}
    assert plain["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert plain["per_class"][1] == {
        "name": "dog", "support": 2, "predicted": 2, "true_positives": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5,
    }  # fmt: skip
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("eval", "--ckpt", "best.pt").out.splitlines()
    assert [line for line in shown if "\x1b" in line] == [f"\x1b[1m{CLASSES.splitlines()[4]}\x1b[0m"]
    tally = Classification(size=2, names=("c\x1b[31mat\n", "dog")).tally(torch.device("cpu"))
    found = evaluation.Evaluation({"loss": 0.5}, [], tally)
    assert "c\\x1b[31mat\\n  " in run("eval", "--ckpt", "best.pt").out


def test_eval_of_numbers_has_a_constant_prediction_beside_it(run: Run, make: MakeExperiment) -> None:
    from trainkit.runs.run import train

    result = train(make(data={"target": "regression"}, loss="mse"), quiet=True)
    ended = run("eval", "--ckpt", str(result.checkpoint))
    *_, first, _, beside, _, heads, a, b, c, d = ended.out.splitlines()
    assert heads.split()[:4] == ["samples", "MAE", "RMSE", "R2"]
    assert [line.split()[:2] for line in (a, b, c, d)] == [[str(number), "32"] for number in range(4)]
    assert first.startswith("test/loss ")
    assert beside.startswith("test/mae       32  ")
    assert beside.endswith(" (always the mean)")
    plain = json.loads(run("eval", "--ckpt", str(result.checkpoint), "--json").out)
    assert plain["metrics"] == {
        name.removeprefix("test/"): value for name, value in result.metrics.items() if "test" in name
    }
    assert "per_class" not in plain


def test_a_syntax_error_in_a_module_of_the_users_shows_the_line(run: Run) -> None:
    Path("broken_syntax.py").write_text("def f(:\n")
    Path("cfg.yaml").write_text(f"imports: [broken_syntax]\n{BARE}")
    ended = run("train", "cfg.yaml")
    assert ended.code == 1
    file = Path.cwd() / "broken_syntax.py"
    assert ended.err.startswith(f'imports broken_syntax ({file})\n  File "{file}", line 1\n    def f(:\n')
    assert "trainkit/" not in ended.err


def test_help(run: Run) -> None:
    assert run() == run("--help")
    text = run("--help").out
    for command in ("train", "eval", "sweep", "list", "schema"):
        assert f"\n  {command} " in text
    assert "--install-completion" in text
    assert text.endswith(
        "\n  Examples:\n    trainkit train configs/digits_cnn.yaml\n    trainkit train --help\n    trainkit list models\n"
    )


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("train", ["--resume", "--device", "--run-dir", "--quiet", "--debug"]),
        ("eval", ["--ckpt", "--split", "--device", "--json", "--debug"]),
        ("sweep", ["--resume", "--jobs", "--quiet", "--debug"]),
        ("list", ["--debug"]),
        ("schema", ["--debug"]),
    ],
)
def test_every_command_explains_its_options_and_ends_with_examples(run: Run, command: str, options: list[str]) -> None:
    text = run(command, "--help").out
    for option in options:
        assert f"{option} " in text
    examples = text.partition("\n  Examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith(f"    trainkit {command}") for line in examples)


def test_version(run: Run) -> None:
    assert run("--version") == Ended(0, f"trainkit {trainkit.__version__}\n", "")


def test_list_names_everything(run: Run) -> None:
    brief = run("list").out.splitlines()
    assert [line for line in brief if line and line[0] != " "] == list(FAMILIES)
    assert "      lr = 0.001   (number > 0)" in brief
    assert "      step_size is required   (whole number >= 1)" in brief
    assert "      early_stopping = null   (mapping of patience, min_delta or null)" in brief
    assert max(map(len, brief)) <= 100
    full = run("list", "losses").out
    assert "  cross_entropy     Negative log-likelihood" in full
    assert "\n          Share of the target spread evenly" in full


def test_schema_is_one_of_a_whole_file(run: Run) -> None:
    schema = json.loads(run("schema").out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert {"data", "model", "extends", "optimizer", "sweep"} <= schema["properties"].keys()
    assert schema["anyOf"] == [{"required": ["data"]}, {"required": ["extends"]}]
    names, *members = schema["properties"]["optimizer"]["anyOf"]
    assert "adam" in names["enum"]
    assert len(members) == len(names["enum"])
    adam = members[names["enum"].index("adam")]
    assert adam["properties"]["lr"]["exclusiveMinimum"] == 0
    assert adam["additionalProperties"] is False
    assert all(member["required"] == ["name"] for member in schema["properties"]["model"]["anyOf"][1:])
