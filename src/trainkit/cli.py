"""The commands. The only file that exits."""

from __future__ import annotations

import json
import re
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TextIO

import typer

from trainkit.errors import (
    CheckpointError,
    ConfigError,
    OutOfMemoryError,
    RemoteError,
    StoppedError,
    StorageError,
    TrainkitError,
    did_you_mean,
    did_you_mean_path,
    printable,
)

if TYPE_CHECKING:
    from trainkit.evaluation import Evaluation

# Typer exports only this one of click's errors; its base is UsageError, whichever click Typer brings along.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _examples(*commands: str) -> str:
    """The end of a help text; \b keeps the lines apart."""
    return "\n".join(("\b", "Examples:", *(f"  trainkit {command}" for command in commands)))


app = typer.Typer(
    name="trainkit",
    help="Train PyTorch models from a YAML file: one file describes an experiment, one command runs it.",
    epilog=_examples("train configs/digits_cnn.yaml", "train --help", "list models"),
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps; the same as train.device=NAME.")
]


Config = Annotated[str | None, typer.Argument(metavar="CONFIG", help="The YAML file.", show_default=False)]


SPLITS = ("test", "val", "train")
FAMILIES = ("data", "models", "layers", "losses", "metrics", "optimizers", "schedulers", "transforms", "sections")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        from trainkit import __version__

        _print(f"trainkit {__version__}")
        raise typer.Exit


@app.command(
    epilog=_examples(
        "train configs/mnist_cnn.yaml",
        "train configs/mnist_cnn.yaml optimizer.lr=3e-4 train.epochs=1",
        "train --resume runs/mnist_cnn/20260102-030405-a1b2",
    )
)
def train(
    config: Config = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those in the file.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN|CKPT", help="Go on with this run instead; KEY=VALUE may only extend it."),
    ] = None,
    device: Device = None,
    fast_dev_run: Annotated[
        bool, typer.Option("--fast-dev-run", help="Two batches of everything, to see whether it all works.")
    ] = False,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the run here instead of runs/<name>/<time>-<id>.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train the experiment that a YAML file describes."""
    words = [config, *(overrides or [])] if config else []
    if resume is not None:
        if words and "=" not in words[0]:
            raise ConfigError(f"command line: --resume goes on with the stored config; {words[0]!r} is no key=value")
        if fast_dev_run:
            raise ConfigError("command line: --fast-dev-run is for new runs, --resume for old ones")
        if run_dir is not None:
            raise ConfigError("command line: --resume goes on in its own directory, --run-dir cannot be given, too")
        if not resume.exists():
            raise CheckpointError(f"{resume}: no run here{did_you_mean_path(resume)}")
        from trainkit.run import resume as go_on

        go_on(resume, words, device=device, quiet=quiet)
        return
    path, values = _config_and_overrides(words)
    more = [f"train.device={device}"] if device else []
    more += ["train.epochs=1", "train.limit_batches=2", "scheduler.warmup_steps=0"] if fast_dev_run else []
    from trainkit.merging import override, read

    node = override(read(path), [*values, *more])  # before torch, which takes seconds to import
    from trainkit.experiment import located, parse

    experiment = parse(node, beside=path.parent)
    from trainkit.run import train as begin

    with located(node):
        begin(experiment, run_dir=run_dir, quiet=quiet)


@app.command(
    name="eval",
    epilog=_examples(
        "eval --ckpt runs/mnist_cnn/20260102-030405-a1b2/checkpoints/best.pt",
        "eval --ckpt best.pt --split val --json",
        "eval --ckpt best.pt data.root=/elsewhere",
    ),
)
def evaluate(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values of data or loader, such as data.root.")
    ] = None,
    ckpt: Annotated[Path | None, typer.Option(metavar="FILE", help="The checkpoint; it is all that is needed.")] = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="test, val or train.", autocompletion=lambda: SPLITS)
    ] = "test",
    device: Device = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    debug: Debug = False,
) -> None:
    """Measure a checkpoint: loss and metrics on a split of its data, and how well each class is found."""
    if ckpt is None:
        stray = next((word for word in overrides or [] if "=" not in word), "best.pt")
        raise ConfigError(f"command line: --ckpt FILE is missing; write --ckpt {stray}")
    _check_choice("split", split, SPLITS)
    if not ckpt.exists():
        raise CheckpointError(f"{ckpt}: no such file{did_you_mean_path(ckpt)}")
    if ckpt.is_dir():
        from trainkit.rundir import locate

        locate(ckpt)
    from trainkit.evaluation import evaluate_checkpoint
    from trainkit.records import format_metric, plain_json

    found = evaluate_checkpoint(ckpt, split, device=device or "auto", overrides=overrides or [])
    _print(*(f"warning: {printable(note)}" for note in found.notes), stream=sys.stderr)
    if as_json:
        _print(json.dumps(plain_json({"checkpoint": str(ckpt), "split": split, **found.to_plain()})))
    else:
        _print("  ".join(format_metric(f"{split}/{name}", value) for name, value in found.metrics.items()))
        _show_classes(found)


@app.command(
    epilog=_examples(
        "sweep configs/mnist_cnn.yaml",
        "sweep configs/digits_cnn.yaml optimizer.lr=3e-4,1e-3,3e-3 seed=0,1 --jobs 2",
        "sweep --resume runs/mnist_cnn/20260102-030405-a1b2-sweep",
    )
)
def sweep(
    config: Config = None,
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=V1,V2,...", help="Values to try; a single one holds for all.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Finish what is missing of this sweep.")] = None,
    jobs: Annotated[str, typer.Option(metavar="N", help="Trials at a time.")] = "1",
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train every combination of some values (by default learning rates 1e-1 to 1e-4) and rank them."""
    words = [config, *(assignments or [])] if config else []
    if not re.fullmatch(r"[1-9][0-9]{0,3}", jobs):
        raise ConfigError(f"command line: --jobs: expected a whole number from 1 to 9999, got {jobs!r}")
    if resume is not None and words:
        raise ConfigError(f"command line: --resume finishes the stored sweep; {words[0]!r} is not needed")
    if resume is None:
        path, values = _config_and_overrides(words)
        _check_yaml(path)
    from trainkit import sweep as sweeps

    if resume is not None:
        sweeps.resume(resume, jobs=int(jobs), quiet=quiet)
    else:
        sweeps.sweep(path, values, jobs=int(jobs), quiet=quiet)


@app.command(name="list", epilog=_examples("list", "list optimizers"))
def list_components(
    family: Annotated[
        str | None,
        typer.Argument(
            metavar="FAMILY",
            help=f"Only this one, with explanations: {', '.join(FAMILIES)}.",
            autocompletion=lambda: FAMILIES,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Name every component and section with its options, their types and defaults."""
    if family is not None:
        _check_choice("family", family, FAMILIES)
    from trainkit import listing

    _print(*listing.lines([family] if family else FAMILIES, brief=family is None))


@app.command(epilog=_examples("schema > configs/trainkit.schema.json"))
def schema(debug: Debug = False) -> None:
    """Print the JSON Schema of a config, with which editors complete keys and show mistakes."""
    from trainkit import listing

    _print(json.dumps(listing.schema(), indent=1))


def _check_choice(kind: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        hint = did_you_mean(word, known)
        raise ConfigError(f"command line: unknown {kind} {word!r}{hint}; available: {', '.join(known)}")


def _show_classes(found: Evaluation) -> None:
    """A table of the classes, on a terminal with the worst in bold, and their confusion matrix."""
    from rich.console import Console
    from rich.text import Text

    from trainkit.per_class import matrix, table
    from trainkit.sinks.console import print_line

    console = Console(highlight=False, soft_wrap=True)
    lines, worst = table(found.per_class)
    lines += matrix(found.confusion, [score.name for score in found.per_class])
    for line in lines:
        with console.capture() as capture:
            console.print(Text(printable(line), "bold" if line == worst else ""), end="")
        print_line(capture.get(), sys.stdout)


def _config_and_overrides(words: list[str]) -> tuple[Path, list[str]]:
    """The config is the first word that is no key=value. A path may contain a `=`, a key no `/`."""
    configs = [word for word in words if not re.match(r"[^/]*=", word)]
    if not configs:
        raise ConfigError("command line: CONFIG is missing; usage: trainkit train CONFIG [KEY=VALUE]...")
    if more := [word for word in configs[1:] if word.endswith((".yaml", ".yml"))]:
        raise ConfigError(f"command line: one config, got two; {more[0]!r} is no key=value")
    overrides = words.copy()
    overrides.remove(configs[0])
    return Path(configs[0]), overrides


def _check_yaml(path: Path) -> None:
    """Judge what can be judged before torch is imported, which takes seconds."""
    from trainkit.merging import read

    read(path)


def main() -> NoReturn:
    """The console script: run a command and exit with its code."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except StoppedError as error:  # asked for, and safely done
        _print(*error.problems, stream=sys.stderr)
        sys.exit(error.exit_code)
    except TrainkitError as error:
        _fail(error.exit_code, *error.problems)
    except (KeyboardInterrupt, typer.Abort):
        _fail(130, "interrupted")
    except UsageError as error:
        _fail(2, _usage_problem(error))
    except Exception as error:
        frames, message = _user_frames(error), str(error).partition("\n")[0]
        if isinstance(error, MemoryError) or "can't allocate memory" in message:
            _fail(OutOfMemoryError.exit_code, "out of memory; use a smaller model or less data")
        if isinstance(error, OSError) and error.strerror and not frames:
            _fail(StorageError.exit_code, f"{error.filename or 'the system says'}: {error.strerror.lower()}")
        _print(*frames.splitlines(), stream=sys.stderr)
        kind = "" if isinstance(error, RemoteError) else f"{type(error).__name__}: "
        what = f"{'your code raised' if frames else 'unexpected'} {kind}{message}"
        _fail(1, f"{what}; --debug shows the whole traceback")


def _fail(code: int, *problems: str) -> NoReturn:
    if "--debug" in sys.argv:
        _print(traceback.format_exc().rstrip("\n"), stream=sys.stderr)
    _print(*(f"error: {printable(problem)}" for problem in problems), stream=sys.stderr)
    sys.exit(code)


def _print(*lines: str, stream: TextIO | None = None) -> None:
    """Print to stdout, or to a stream; silently, when its reader is gone, as after `| head`."""
    from trainkit.sinks.console import print_line

    for line in lines:
        print_line(line, stream or sys.stdout)


def _user_frames(error: Exception) -> str:
    """The traceback through the user's own files; empty when there is none of them in it."""
    trace = traceback.TracebackException.from_exception(error)
    others = (str(Path(__file__).parent), "<frozen", *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
    frames = error.frames if isinstance(error, RemoteError) else trace.stack
    trace.stack = traceback.StackSummary.from_list([frame for frame in frames if not frame.filename.startswith(others)])
    if isinstance(error, RemoteError) and trace.stack:
        return f"Traceback (most recent call last):\n{''.join(trace.stack.format())}{error}"
    return "".join(trace.format(chain=False)) if trace.stack or isinstance(error, SyntaxError) else ""


def _usage_problem(error: Exception) -> str:
    words = str(error).removesuffix(".")
    if words.startswith("No such option"):
        wrong = getattr(error, "option_name", "")
        hint = did_you_mean(wrong, getattr(error, "possibilities", None) or [])
        return f"command line: no option {wrong!r}{hint or '; overrides are written optimizer.lr=1e-3'}"
    if words.startswith("No such command"):
        wrong = words.split("'")[1]
        known = [command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands]
        return f"command line: unknown command {wrong!r}{did_you_mean(wrong, known) or '; see trainkit --help'}"
    option = getattr(error, "param", None)
    label = f"{option.opts[0]}: " if option else ""
    return f"command line: {label}{words[:1].lower()}{words[1:]}"
