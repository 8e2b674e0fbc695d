"""`train` and `sweep`: what makes runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.commands.base import (
    Config,
    Debug,
    Device,
    Overrides,
    Quiet,
    app,
    config_and_overrides,
    examples,
    importing,
    load,
)
from trainkit.core.errors import ConfigError
from trainkit.runs import run_directory


@app.command(
    epilog=examples(
        "train configs/mnist_cnn.yaml",
        "train configs/mnist_cnn.yaml optimizer.lr=3e-4 train.epochs=1",
        "train --resume runs/mnist_cnn/20260102-030405-a1b2",
    )
)
def train(
    config: Config = None,
    overrides: Overrides = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN|CKPT",
            help="Go on with this run instead (its directory, its name, or last); KEY=VALUE may only extend it.",
        ),
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
    if resume is not None:
        words = [config, *(overrides or [])] if config else []
        if words and "=" not in words[0]:
            raise ConfigError(f"command line: --resume goes on with the stored config; {words[0]!r} is no key=value")
        if fast_dev_run:
            raise ConfigError("command line: --fast-dev-run is for new runs, --resume for old ones")
        if run_dir is not None:
            raise ConfigError("command line: --resume goes on in its own directory, --run-dir cannot be given, too")
        resume = run_directory.meant(resume, "run")
        with importing():
            from trainkit.runs.run import resume as go_on

        go_on(resume, words, device=device, quiet=quiet)
        return
    more = ["train.epochs=1", "train.limit_batches=2", "scheduler.warmup_steps=0"] if fast_dev_run else []
    experiment, node = load("train", config, overrides, more, device=device)
    from trainkit.experiment.loading import located
    from trainkit.runs.run import train as begin

    with located(node):
        begin(experiment, run_dir=run_dir, quiet=quiet)


@app.command(
    epilog=examples(
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
        path, values = config_and_overrides(words, "sweep")
        from trainkit.config.merging import read

        read(path)  # judges what can be judged before torch is imported, which takes seconds
    with importing():
        from trainkit.sweeps import sweep as sweeps

    if resume is not None:
        sweeps.resume(run_directory.meant(resume, "sweep"), jobs=int(jobs), quiet=quiet)
    else:
        sweeps.sweep(path, values, jobs=int(jobs), quiet=quiet)
