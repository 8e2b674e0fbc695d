"""The commands. The only file that exits."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from trainkit.errors import CheckpointError, ConfigError, TrainkitError, did_you_mean

# Typer exports only this one of click's errors; its base is UsageError, whichever click Typer brings along.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="trainkit",
    help="Train PyTorch models from a YAML file: one file describes an experiment, one command runs it.",
    epilog="Begin with: trainkit train configs/digits_cnn.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps; the same as train.device=NAME.")
]


class SplitName(StrEnum):
    test = "test"
    val = "val"
    train = "train"


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        from trainkit import __version__

        print(f"trainkit {__version__}")
        raise typer.Exit


@app.command(
    epilog="Examples: trainkit train configs/mnist_cnn.yaml   |   "
    "trainkit train configs/mnist_cnn.yaml optimizer.lr=3e-4 train.epochs=1   |   "
    "trainkit train --resume runs/mnist_cnn/20260102-030405-a1b2"
)
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="CONFIG [KEY=VALUE]...", help="The YAML file, then values that replace those in it."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN|CKPT", help="Go on with this run instead; KEY=VALUE may only extend it."),
    ] = None,
    device: Device = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the run here instead of runs/<name>/<time>-<id>.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the experiment that a YAML file describes."""
    words = arguments or []
    if resume is not None:
        if words and "=" not in words[0]:
            raise ConfigError(f"command line: --resume goes on with the stored config; {words[0]!r} is no key=value")
        if run_dir is not None:
            raise ConfigError("command line: --resume goes on in its own directory, --run-dir cannot be given, too")
        from trainkit.run import resume as go_on

        go_on(resume, words, device=device, quiet=quiet)
        return
    config, overrides = _config_and_overrides(words)
    experiment = _load(config, [*overrides, *([f"train.device={device}"] if device else [])])
    from trainkit.run import train as begin

    begin(experiment, run_dir=run_dir, quiet=quiet)


@app.command(
    name="eval",
    epilog="Examples: trainkit eval --ckpt runs/…/checkpoints/best.pt   |   "
    "trainkit eval --ckpt best.pt --split val --json   |   trainkit eval --ckpt best.pt data.root=/elsewhere",
)
def evaluate(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values of data or loader, such as data.root.")
    ] = None,
    ckpt: Annotated[Path | None, typer.Option(metavar="FILE", help="The checkpoint; it is all that is needed.")] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="test, val or train.")] = "test",
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    debug: Debug = False,
) -> None:
    """Measure a checkpoint: loss and metrics on a split of its data."""
    if ckpt is None:
        raise ConfigError("command line: --ckpt FILE is missing")
    if split not in SplitName.__members__:
        raise ConfigError(
            f"command line: unknown split {split!r}{did_you_mean(split, SplitName)}; available: {', '.join(SplitName)}"
        )
    if not ckpt.exists():
        raise CheckpointError(f"{ckpt}: no such file")
    from trainkit.records import format_metric
    from trainkit.run import evaluate_checkpoint

    metrics, notes = evaluate_checkpoint(ckpt, split, device=device or "auto", overrides=overrides or [])
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps({"checkpoint": str(ckpt), "split": split, "metrics": metrics, "notes": notes}))
    else:
        print("  ".join(format_metric(f"{split}/{name}", value) for name, value in metrics.items()))


@app.command(
    epilog="Examples: trainkit sweep configs/mnist_cnn.yaml   |   "
    "trainkit sweep configs/digits_cnn.yaml optimizer.lr=3e-4,1e-3,3e-3 seed=0,1 --jobs 2   |   "
    "trainkit sweep --resume runs/mnist_cnn/20260102-030405-a1b2-sweep"
)
def sweep(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CONFIG [KEY=V1,V2,...]...", help="The YAML file, then the values to try (one value: an override)."
        ),
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Finish what is missing of this sweep.")] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Trials at a time.")] = 1,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train every combination of some values (by default learning rates 1e-1 to 1e-4) and rank them."""
    words = arguments or []
    if jobs < 1:
        raise ConfigError(f"command line: --jobs: must be >= 1, got {jobs}")
    if resume is not None and words:
        raise ConfigError(f"command line: --resume finishes the stored sweep; {words[0]!r} is not needed")
    if resume is None:
        config, assignments = _config_and_overrides(words)
        _check_yaml(config)
    from trainkit import sweep as sweeps

    if resume is not None:
        sweeps.resume(resume, jobs=jobs, quiet=quiet)
    else:
        sweeps.sweep(config, assignments, jobs=jobs, quiet=quiet)


class Family(StrEnum):
    data = "data"
    models = "models"
    losses = "losses"
    metrics = "metrics"
    optimizers = "optimizers"
    schedulers = "schedulers"
    transforms = "transforms"


@app.command(name="list", epilog="Examples: trainkit list   |   trainkit list optimizers")
def list_components(
    family: Annotated[Family | None, typer.Argument(help="Only this family, with all options.")] = None,
    debug: Debug = False,
) -> None:
    """Name every component with its options, their types and defaults."""
    from trainkit import listing

    for line in listing.lines([family] if family else list(Family), brief=family is None):
        print(line)


@app.command(epilog="Example: trainkit schema > configs/trainkit.schema.json")
def schema(debug: Debug = False) -> None:
    """Print the JSON Schema of a config, with which editors complete keys and show mistakes."""
    from trainkit.experiment import ExperimentConfig

    print(json.dumps(ExperimentConfig.model_json_schema(), indent=1))


def _config_and_overrides(words: list[str]) -> tuple[Path, list[str]]:
    if not words or "=" in words[0]:
        raise ConfigError("command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]...")
    if stray := [word for word in words[1:] if "=" not in word and word.endswith((".yaml", ".yml"))]:
        raise ConfigError(f"command line: one config, got two; {stray[0]!r} is no key=value")
    return Path(words[0]), words[1:]


def _check_yaml(path: Path) -> None:
    """Judge what can be judged before torch is imported, which takes seconds."""
    from trainkit.config import read

    read(path)


def _load(path: Path, overrides: list[str]) -> Any:
    from trainkit.config import override, read

    override(read(path), overrides)
    from trainkit.experiment import load

    return load(path, overrides)


def main() -> NoReturn:
    """The console script: run a command and exit with its code."""
    debug = "--debug" in sys.argv
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except TrainkitError as error:
        _fail(error.exit_code, error.problems, debug)
    except (KeyboardInterrupt, typer.Abort):
        _fail(130, ("interrupted",), debug)
    except UsageError as error:
        _fail(2, (_usage_problem(error),), debug)
    except Exception:
        _fail(1, (_unexpected(),), debug=True)


def _fail(code: int, problems: tuple[str, ...], debug: bool) -> NoReturn:
    if debug and sys.exc_info()[0] is not None:
        traceback.print_exc()
    for problem in problems:
        printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in problem)
        print(f"error: {printable}", file=sys.stderr)
    sys.exit(code)


def _usage_problem(error: Exception) -> str:
    option = getattr(error, "option_name", None)
    if option and "No such option" in str(error):
        return f"command line: no option {option!r}; overrides are written optimizer.lr=1e-3"
    words = str(error).removesuffix(".")
    if words.startswith("No such command"):
        wrong = words.split("'")[1]
        commands = [
            command.name or command.callback.__name__ for command in app.registered_commands if command.callback
        ]
        return f"command line: unknown command {wrong!r}{did_you_mean(wrong, commands) or '; see trainkit --help'}"
    return f"command line: {words[:1].lower()}{words[1:]}"


def _unexpected() -> str:
    kind, error, _ = sys.exc_info()
    return f"unexpected {kind.__name__ if kind else 'failure'}: {str(error).splitlines()[0] if str(error) else ''}"
