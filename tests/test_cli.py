# ruff: noqa: E501  # in a table of messages, a row is a line
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import trainkit
from tests.conftest import MakeExperiment
from trainkit import cli

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
            cli.main()
        assert ended.value.code is None or isinstance(ended.value.code, int)
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return go


COMMAND = """
import sys
from trainkit.cli import main
try:
    main()
finally:
    assert "torch" not in sys.modules, "torch was imported"
"""


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--help"], 0, ""),
        (["--version"], 0, ""),
        (["sweep", "--help"], 0, ""),
        (["train", "nope.yaml"], 2, "error: nope.yaml: no such file\n"),
        (["train", "cfg.yaml"], 2, "error: cfg.yaml:3:1: a space is missing after ':'\n"),
        (["train", "good.yaml", "seed=[1"], 2, "error: command line: seed: list opened at 1:1 is not closed\n"),
        (["eval", "--ckpt", "no.pt"], 4, "error: no.pt: no such file\n"),
    ],
)
def test_what_needs_no_torch_does_not_wait_for_it(words: list[str], code: int, expected: str) -> None:
    Path("cfg.yaml").write_text(f"{BARE}lr:0.1\n")
    Path("good.yaml").write_text(BARE)
    ended = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (code, expected)
    assert sorted(os.listdir()) == ["cfg.yaml", "good.yaml"]


def test_the_real_command_leaves_nothing_behind_when_the_config_is_wrong() -> None:
    Path("cfg.yaml").write_text(f"{BARE}trian: {{}}\n")
    command = [sys.executable, "-m", "trainkit", "train", "cfg.yaml", "optimizer.lr=x"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.stderr == (
        "error: cfg.yaml:3:1: trian: unknown section; did you mean 'train'?\n"
        "error: command line: optimizer.lr: expected a number, got 'x'\n"
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert os.listdir() == ["cfg.yaml"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ("trian", 2, "command line: unknown command 'trian'; did you mean 'train'?"),
        ("zzz", 2, "command line: unknown command 'zzz'; see trainkit --help"),
        ("--foo", 2, "command line: no option '--foo'; overrides are written optimizer.lr=1e-3"),
        ("train", 2, "command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]..."),
        ("train seed=1", 2, "command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]..."),
        ("train --lr 1e-3 cfg.yaml", 2, "command line: no option '--lr'; overrides are written optimizer.lr=1e-3"),
        ("train cfg.yaml --set seed=1", 2, "command line: no option '--set'; overrides are written optimizer.lr=1e-3"),
        ("train cfg.yaml --quite", 2, "command line: no option '--quite'; did you mean '--quiet'?"),
        ("train cfg.yaml other.yaml", 2, "command line: one config, got two; 'other.yaml' is no key=value"),
        ("train cfg.yaml optimizer.lr", 2, "command line: expected key=value, got 'optimizer.lr'"),
        ("train optimizer.lr=x cfg.yaml", 2, "command line: optimizer.lr: expected a number, got 'x'"),
        ("train cfg.yaml --device gpu", 2, "command line: train.device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"),
        ("train runs/lr=1/cfg.yaml seed=1", 2, "runs/lr=1/cfg.yaml: no such file"),
        ("train --resume", 2, "command line: option '--resume' requires an argument"),
        ("train cfg.yaml --resume runs/x", 2, "command line: --resume goes on with the stored config; 'cfg.yaml' is no key=value"),
        ("train --resume runs/x --run-dir y", 2, "command line: --resume goes on in its own directory, --run-dir cannot be given, too"),
        ("eval", 2, "command line: --ckpt FILE is missing; write --ckpt best.pt"),
        ("eval my.pt", 2, "command line: --ckpt FILE is missing; write --ckpt my.pt"),
        ("eval --ckpt cfg.yaml --split tset", 2, "command line: unknown split 'tset'; did you mean 'test'?; available: test, val, train"),
        ("eval --ckpt cfg.yaml", 4, "cfg.yaml: not a trainkit checkpoint (begins with 'data: digits')"),
        ("sweep cfg.yaml --jobs 0", 2, "command line: --jobs: must be >= 1, got 0"),
        ("sweep cfg.yaml --resume x", 2, "command line: --resume finishes the stored sweep; 'cfg.yaml' is not needed"),
        ("list optimizer", 2, "command line: unknown family 'optimizer'; did you mean 'optimizers'?; available: data, models, layers, losses, metrics, optimizers, schedulers, transforms, sections"),
    ],
)  # fmt: skip
def test_wrong_commands(run: Run, words: str, code: int, expected: str) -> None:
    Path("cfg.yaml").write_text(BARE)
    assert run(*words.split()) == Ended(code, "", f"error: {expected}\n")
    assert os.listdir() == ["cfg.yaml"]


CLASSES = """
name  samples  precision    recall        F1
cat         1   100.00 %  100.00 %  100.00 %
dog         2    50.00 %   50.00 %   50.00 %
owl         1     0.00 %    0.00 %    0.00 %

     cat  dog  owl
cat    1    .    .
dog    .    1    1
owl    .    1    .
Rows: the true class. Columns: what the model says.
"""


def test_eval_shows_the_classes_below_the_metrics(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainkit import evaluation
    from trainkit.per_class import ClassScore

    scores = ClassScore("cat", 1, 1, 1), ClassScore("dog", 2, 2, 1), ClassScore("owl", 1, 1, 0)
    found = evaluation.Evaluation(
        {"loss": 0.5, "accuracy": 0.5}, ["look out"], scores, [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    )
    monkeypatch.setattr(evaluation, "evaluate_checkpoint", lambda *arguments, **keywords: found)
    Path("best.pt").touch()
    first = "test/loss 0.5  test/accuracy 50.00 %\n"
    assert run("eval", "--ckpt", "best.pt") == Ended(0, first + CLASSES, "warning: look out\n")
    plain = json.loads(run("eval", "--ckpt", "best.pt", "--json").out)
    assert plain.keys() == {"checkpoint", "split", "metrics", "notes", "per_class", "confusion"}
    assert plain["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert plain["per_class"][1] == {
        "name": "dog", "support": 2, "predicted": 2, "true_positives": 1, "precision": 0.5, "recall": 0.5, "f1": 0.5,
    }  # fmt: skip
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = run("eval", "--ckpt", "best.pt").out.splitlines()
    assert [line for line in shown if "\x1b" in line] == [f"\x1b[1m{CLASSES.splitlines()[4]}\x1b[0m"]
    found = evaluation.Evaluation({"loss": 0.5}, [], (ClassScore("c\x1b[31mat\n", 1, 1, 1),), [[1]])
    assert "c\\x1b[31mat\\n  " in run("eval", "--ckpt", "best.pt").out


def test_eval_of_numbers_is_one_line(run: Run, make: MakeExperiment) -> None:
    from trainkit.run import train

    result = train(make(data={"target": "number"}, loss="mse"), quiet=True)
    ended = run("eval", "--ckpt", str(result.checkpoint))
    assert ended.out.splitlines()[-1].startswith("test/loss ")
    plain = json.loads(run("eval", "--ckpt", str(result.checkpoint), "--json").out)
    assert plain["metrics"] == {
        name.removeprefix("test/"): value for name, value in result.metrics.items() if "test" in name
    }
    assert "per_class" not in plain


def test_control_characters_do_not_reach_the_terminal(run: Run) -> None:
    assert run("train", "a\x1b[31m\n.yaml").err == "error: a\\x1b[31m\\n.yaml: no such file\n"


def test_debug_shows_the_traceback_of_an_error(run: Run) -> None:
    ended = run("train", "nope.yaml", "--debug")
    assert ended.code == 2
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert ended.err.endswith("\nerror: nope.yaml: no such file\n")


USER_ERROR = """\
Traceback (most recent call last):
  File "{here}/exploding.py", line 4, in <module>
    helper()
  File "{here}/exploding.py", line 2, in helper
    1 / 0
ZeroDivisionError: division by zero
error: your code raised ZeroDivisionError: division by zero; --debug shows the whole traceback
"""


def without_marks(text: str) -> str:
    """A traceback as every version of Python shows it, without the line that underlines the place."""
    return "".join(line for line in text.splitlines(keepends=True) if line.strip(" ~^\n"))


def test_an_error_in_a_module_of_the_users_shows_their_lines_only(run: Run) -> None:
    Path("exploding.py").write_text("def helper():\n    1 / 0\n\nhelper()\n")
    Path("cfg.yaml").write_text(f"imports: [exploding]\n{BARE}")
    ended = run("train", "cfg.yaml")
    assert (ended.code, ended.out) == (1, "")
    assert without_marks(ended.err) == USER_ERROR.format(here=Path.cwd())
    assert "importlib" in run("train", "cfg.yaml", "--debug").err
    assert sorted(os.listdir()) == ["cfg.yaml", "exploding.py"]


def test_a_syntax_error_in_a_module_of_the_users_shows_the_line(run: Run) -> None:
    Path("broken_syntax.py").write_text("def f(:\n")
    Path("cfg.yaml").write_text(f"imports: [broken_syntax]\n{BARE}")
    ended = run("train", "cfg.yaml")
    assert ended.code == 1
    assert ended.err.startswith(f'  File "{Path.cwd()}/broken_syntax.py", line 1\n    def f(:\n')
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
    assert [line for line in brief if line and line[0] != " "] == list(cli.FAMILIES)
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
    assert schema["anyOf"] == [{"required": ["data", "model"]}, {"required": ["extends"]}]
    names, *members = schema["properties"]["optimizer"]["anyOf"]
    assert "adam" in names["enum"]
    assert len(members) == len(names["enum"])
    adam = members[names["enum"].index("adam")]
    assert adam["properties"]["lr"]["exclusiveMinimum"] == 0
    assert adam["additionalProperties"] is False
    assert all(member["required"] == ["name"] for member in schema["properties"]["model"]["anyOf"][1:])
