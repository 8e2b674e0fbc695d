"""`runs` and `report`: what looks back at runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.commands.base import AsJson, Debug, Device, app, examples, say, say_json
from trainkit.core.errors import ConfigError
from trainkit.core.text import printable


@app.command(
    epilog=examples(
        "runs",
        "runs runs/mnist_cnn --json",
        "runs runs/mnist_cnn/20260102-030405-a1b2-sweep",
        "runs diff runs/mnist_cnn/20260102-030405-a1b2 runs/mnist_cnn/20260102-040506-c3d4",
    )
)
def runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIR | diff A B]",
            help="Where to look, by default in runs/; the trials of a sweep, if it is one; or two runs to compare.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the runs below a directory and in what they differ, or compare two of them."""
    from trainkit.reports import comparing
    from trainkit.runs import reader as looking
    from trainkit.runs import run_directory

    match words or []:
        case ["diff", one, other]:
            difference = comparing.diff(run_directory.meant(Path(one), "run"), run_directory.meant(Path(other), "run"))
            if as_json:
                say_json(difference.to_plain())
            else:
                say(*difference.lines())
            return
        case ["diff", *others]:
            raise ConfigError(f"command line: diff compares two runs, got {len(others)}; usage: trainkit runs diff A B")
        case [_, second, *_]:
            raise ConfigError(f"command line: one directory, got two; {second!r} is not needed")
        case [directory]:
            place = Path(directory)
        case _:
            place = run_directory.runs()
    found = looking.find(place) if words or place.exists() else []
    if as_json:
        say_json(comparing.to_plain(found))
    elif not found:
        say(f"no runs in {place}; trainkit train CONFIG makes one")
    else:
        say(*comparing.table(found, tested=not looking.is_sweep(place)))
        if any(isinstance(one, looking.Sweep) for one in found):
            say("", "The trials of a sweep: trainkit runs SWEEP")


@app.command(
    epilog=examples(
        "report last",
        "report mnist_cnn",
        "report runs/mnist_cnn/20260102-030405-a1b2-sweep --output sweep.html",
        "report runs/mnist_cnn/20260102-030405-a1b2 data.root=/elsewhere",
        "report mnist_cnn mnist_mlp --output comparison.html",
    )
)
def report(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN...",
            help="A run or a sweep: its directory, its name (the newest of that name), or last. Several are compared.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values of data or loader, such as data.root.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write it here; by default report.html in the directory, or comparison.html here."
        ),
    ] = None,
    device: Device = None,
    debug: Debug = False,
) -> None:
    """Write a run or a sweep as one page of HTML: results, mistakes, curves, config; or several runs side by side.

    The page needs no network and nothing beside it: one file to keep, to print or to send.
    """
    if path is None:
        raise ConfigError("command line: RUN is missing; usage: trainkit report RUN")
    from trainkit.runs.run_directory import meant

    others = [word for word in overrides or [] if "=" not in word]
    if others and len(others) < len(overrides or []):
        raise ConfigError("command line: runs are compared as they were recorded; leave KEY=VALUE out")
    paths = [meant(one, "run") for one in (path, *map(Path, others))] if others else [meant(path, "sweep", "run")]
    from trainkit.reports.report_page import compare, write

    if others:
        written = compare(paths, output)
    else:
        written = write(paths[0], output, device=device or "auto", overrides=overrides or [])
    say(*(f"warning: {printable(reason)}" for reason in written.missing), stream=sys.stderr)
    say(str(written.path))
