"""`eval` and `predict`: what uses a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trainkit.cli.commands.base import AsJson, Debug, Device, app, check_choice, examples, importing, say, say_json
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.text import printable

if TYPE_CHECKING:
    from trainkit.tasks import Line

SPLITS = ("test", "val", "train")

Ckpt = Annotated[
    Path | None,
    typer.Option(
        metavar="CKPT|RUN",
        help="The checkpoint, which is all that is needed; or a run: its directory, its name, or last.",
    ),
]


@app.command(
    name="eval",
    epilog=examples(
        "eval --ckpt runs/mnist_cnn/20260102-030405-a1b2/checkpoints/best.pt",
        "eval --ckpt best.pt --split val --json",
        "eval --ckpt best.pt data.root=/elsewhere",
    ),
)
def evaluate(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values of data or loader, such as data.root.")
    ] = None,
    ckpt: Ckpt = None,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="test, val or train.", autocompletion=lambda: SPLITS)
    ] = "test",
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a checkpoint: loss and metrics on a split of its data, and how well each class is found."""
    stray = next((word for word in overrides or [] if "=" not in word), "best.pt")
    path = _checkpoint(ckpt, stray)
    check_choice("split", split, SPLITS)
    from trainkit.core.text import format_metric

    with importing():
        from trainkit.inference.evaluation import evaluate_checkpoint
        from trainkit.training.yardstick import lines

    found = evaluate_checkpoint(path, split, device=device or "auto", overrides=overrides or [])
    say(*(f"warning: {printable(note)}" for note in found.notes), stream=sys.stderr)
    if as_json:
        say_json({"checkpoint": str(path), "split": split, **found.to_plain()})
    else:
        say("  ".join(format_metric(f"{split}/{name}", value) for name, value in found.metrics.items()))
        say(*map(printable, lines({f"{split}/{name}": one for name, one in found.beside.items()})))
        _show(found.details.lines() if found.details else [])


@app.command(
    epilog=examples(
        "predict --ckpt runs/pets/20260102-030405-a1b2 new/ x.jpg",
        "predict --ckpt best.pt houses.csv --csv > prices.csv",
        "predict --ckpt best.pt roads/ --out masks/ --overlay",
        "predict --ckpt best.pt patients.csv --threshold val",
        "predict --ckpt best.pt --top 3 --json - < paths.txt",
        "predict --ckpt reviews --text 'a quiet, lovely film'",
    )
)
def predict(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Pictures, text files and folders of them, CSV files or .npy arrays, as the model was trained on; - "
            "for standard input: CSV, or a text or the path of a picture a line.",
        ),
    ] = None,
    ckpt: Ckpt = None,
    top: Annotated[
        int | None, typer.Option(metavar="K", min=1, help="The K most probable classes or labels, with probabilities.")
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="P|val",
            help="Of two classes: the probability of the second above which it is predicted; val: the one with the "
            "highest F1 on the val split.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where masks are written, an indexed PNG for each picture.")
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write each mask laid over its picture, too.")] = False,
    tiles: Annotated[
        bool,
        typer.Option("--tiles", help="Cut pictures into overlapping tiles as large as the model takes, not scaled."),
    ] = False,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text that is an input itself; may be given several times."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column of the table that goes along, such as an id; or all."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Say what a model makes of new inputs: classes and labels with their probabilities, numbers, or masks.

    They are brought to size and normalised as in training, and nothing is inverted: a model that knows light digits on
    dark, as MNIST has them, has to be shown such. What cannot be read is reported and the others go on; the command
    then ends with exit code 3.
    """
    path = _checkpoint(ckpt, "best.pt")
    if not inputs and not text:
        raise ConfigError("command line: INPUT is missing; usage: trainkit predict --ckpt FILE INPUT...")
    if as_csv and as_json:
        raise ConfigError("command line: --csv or --json, not both")
    with importing():
        from trainkit.data.sources.table import TableConfig
        from trainkit.inference import output, prediction
        from trainkit.inference.files import Files
        from trainkit.inference.restoring import restore
        from trainkit.runs import checkpoint

    restored = restore(path, device=device or "auto")
    if threshold is not None:
        restored = restored.deciding_at("val" if threshold == "val" else _probability(threshold))
    task = restored.spec.task
    if top and not task.ranked:
        raise ConfigError(f"command line: --top is for classes and labels, this model predicts {task.phrase}")
    if task.writes and out is None:
        raise ConfigError(
            f"command line: --out DIR is missing: this model predicts {task.phrase}, and its {task.writes} are written "
            "there"
        )
    if not task.writes and (out or overlay or tiles):
        flag = "--out" if out else "--overlay" if overlay else "--tiles"
        raise ConfigError(f"command line: {flag} is for models that write files, this model predicts {task.phrase}")
    if keep and not isinstance(restored.experiment.data, TableConfig):
        raise ConfigError("command line: --keep is for models of tables")
    if bad := checkpoint.not_finite(restored.payload):
        say(f"warning: {printable(bad)} holds NaN or infinite values", stream=sys.stderr)
    refused: list[DataError] = []

    def refuse(error: DataError) -> None:
        refused.append(error)
        say(*(f"error: {printable(problem)}" for problem in error.problems), stream=sys.stderr)

    def tell(text: str) -> None:
        say(f"warning: {printable(text)}", stream=sys.stderr)

    files = None if out is None else Files(out, overlay)
    if files:
        files.make_folder()
    kept: list[str] | Literal["all"] = "all" if keep == ["all"] else keep or []
    batches = prediction.batches(restored, inputs or [], refuse, tell, files, tiles=tiles, keep=kept, texts=text or [])
    form = output.as_csv if as_csv else output.as_table
    for line in output.as_json(batches, top) if as_json else form(batches, task, top):
        say(line)
    if refused:
        raise DataError(f"{len(refused):,} input{'s' * (len(refused) > 1)} could not be used")


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise ConfigError(f"command line: --threshold: expected val or a number between 0 and 1, got {text!r}")
    return value


def _checkpoint(ckpt: Path | None, stray: str) -> Path:
    """The checkpoint that is meant: there, and a run if it is a directory."""
    if ckpt is None:
        from trainkit.config import shell

        raise ConfigError(f"command line: --ckpt FILE is missing; write {shell.command('--ckpt', stray)}")
    from trainkit.runs.run_directory import locate, meant

    ckpt = meant(ckpt, "run")
    if ckpt.is_dir():
        locate(ckpt)
    return ckpt


def _show(lines: list[Line]) -> None:
    """Lines of text, on a terminal with the strong ones in bold."""
    from rich.console import Console
    from rich.text import Text

    from trainkit.core.terminal import print_line

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        with console.capture() as capture:
            console.print(Text(printable(line.text), "bold" if line.strong else ""), end="")
        print_line(capture.get(), sys.stdout)
