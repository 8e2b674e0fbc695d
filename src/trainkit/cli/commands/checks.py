"""`check`, `summary`, `data`, `overfit`, `lr-find` and `doctor`: what is worth knowing before a training begins."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.commands.base import (
    AsJson,
    Config,
    Debug,
    Device,
    Overrides,
    app,
    check_choice,
    examples,
    importing,
    is_override,
    load,
    number,
    real,
    say,
    say_json,
    warn_of_stand_in,
)
from trainkit.core.errors import ConfigError

FORMATS = ("text", "json", "github")


@app.command(
    epilog=examples(
        "check configs/mnist_cnn.yaml",
        "check configs/*.yaml",
        "check my.yaml model.hidden=[64] --format json",
    )
)
def check(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="CONFIG... [KEY=VALUE]", help="The YAML files, and values for all.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="NAME", help="text, json or github.", autocompletion=lambda: FORMATS)
    ] = "text",
    debug: Debug = False,
) -> None:
    """Find out in seconds what would go wrong, without reading the data: the file, the model, the first update.

    Ends with the exit code that training would end with where there is an error, and with 0 where there are only
    warnings.
    """
    check_choice("format", form, FORMATS)
    configs = [word for word in words or [] if not is_override(word)]
    if not configs:
        raise ConfigError("command line: CONFIG is missing; usage: trainkit check CONFIG... [KEY=VALUE]...")
    with importing():
        from trainkit.checks import checking
        from trainkit.data import Data
        from trainkit.data.tables.columns import column_lines
        from trainkit.experiment.schema import ExperimentConfig

    overrides = [word for word in words or [] if is_override(word)]
    ends_with: list[int] = []
    plain, told = [], list[str]()
    for config in configs:
        began = time.monotonic()
        seen: list[tuple[ExperimentConfig, Data]] = []
        findings = checking.check(Path(config), overrides, lambda *both: seen.append(both))  # noqa: B023  # called at once
        columns = [column for _, data in seen for column in data.columns]
        read = [checking.read_of(experiment) for experiment, _ in seen]
        told += [line for line in read if line not in told]
        errors = [finding for finding in findings if finding.level == "error"]
        bad = bool(errors)
        ends_with += [errors[0].exit_code] if errors else []
        if form == "json":
            of_table = {"columns": [column.to_plain() for column in columns]} if columns else {}
            found = [finding.to_plain() for finding in findings]
            plain.append({"config": config, "ok": not bad, "findings": found, "read": read, **of_table})
        elif form == "github":
            say(*(finding.to_github(config) for finding in findings))
        else:
            say(*column_lines(columns), *(finding.to_text() for finding in findings))
            say(f"{config}: {'not ok' if bad else 'ok'} ({time.monotonic() - began:.1f} s)")
    if form == "json":
        say_json(plain)
    if form == "text":
        say(*told)
    if ends_with:
        raise typer.Exit(ends_with[0])


@app.command(epilog=examples("summary configs/mnist_cnn.yaml", "summary configs/mnist_cnn.yaml model.hidden=[64]"))
def summary(config: Config = None, overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show the model layer by layer: shapes, parameters, multiply-adds, and the memory that training takes."""
    experiment, node = load("summary", config, overrides)
    from trainkit.checks.model_summary import summarize, summary_lines
    from trainkit.experiment.loading import located

    with located(node):
        found = summarize(experiment)
    if as_json:
        say_json(found.to_plain())
    else:
        say(*summary_lines(found))


@app.command(epilog=examples("data configs/mnist_cnn.yaml", "data configs/image_list.yaml --picture batch.png"))
def data(
    config: Config = None,
    overrides: Overrides = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the batch goes; by default <name>-batch.png.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what the data really is, and draw the first training batch as the model will see it."""
    experiment, node = load("data", config, overrides)
    from trainkit.checks.dataset_summary import dataset_lines
    from trainkit.checks.dataset_summary import summarize_dataset as look_at
    from trainkit.core import atomic
    from trainkit.experiment.building import open_experiment
    from trainkit.experiment.first_batch import first_batch
    from trainkit.experiment.loading import located

    with located(node):
        opened = open_experiment(experiment)
        warn_of_stand_in(opened)
        found = look_at(opened)
    say(*(f"{'warning: ' * (note.level == 'warning')}{note.text}" for note in opened.data.notes), stream=sys.stderr)
    say(*(f"warning: {one}" for one in found.findings), stream=sys.stderr)
    written = None
    if opened.data.spec.input.drawable:
        image = first_batch(opened.experiment, opened.data, opened.device)
        written = picture or Path(f"{experiment.name}-batch.png")
        atomic.replace(written, lambda file: image.save(file, "PNG"))
    if as_json:
        say_json({**found.to_plain(), "picture": str(written) if written else None})
    else:
        say(*dataset_lines(found), *([f"\n{written}"] if written else []))


@app.command(
    epilog=examples("overfit configs/mnist_cnn.yaml", "overfit configs/mnist_cnn.yaml --batches 1 optimizer.lr=3e-3")
)
def overfit(
    config: Config = None,
    overrides: Overrides = None,
    fraction: Annotated[str, typer.Option(metavar="F", help="The share of the training samples.")] = "0.1",
    batches: Annotated[str | None, typer.Option(metavar="N", help="So many batches instead.")] = None,
    steps: Annotated[str, typer.Option(metavar="N", help="Updates after which it is given up.")] = "2000",
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Memorise a small part of the training samples: a model that cannot overfit one batch has a mistake in it.

    Random transforms and the scheduler are left out. Ends with exit code 1, and the likely causes, when less than 99 %
    are right in the end (of numbers: less than 99 % of their variance is explained).
    """
    max_steps, so_many = number("steps", steps), None if batches is None else number("batches", batches)
    share = real("fraction", fraction, above=0, at_most=1)
    experiment, node = load("overfit", config, overrides, device=device)
    from trainkit.checks.overfit import overfit as learn
    from trainkit.checks.overfit import overfit_lines, samples_of, score_text
    from trainkit.core.text import format_metric
    from trainkit.experiment.building import open_experiment
    from trainkit.experiment.loading import located

    def report(step: int, loss: float, score: float) -> None:
        say(f"step {step}  {format_metric('loss', loss)}  {told(score)}", stream=sys.stderr)

    with located(node):
        opened = open_experiment(experiment)
        warn_of_stand_in(opened)
        samples = samples_of(experiment, opened.data, share, so_many)
        told = partial(score_text, opened.data.spec.task)
        found = learn(opened, samples=samples, max_steps=max_steps, report=report)
    if as_json:
        say_json(found.to_plain())
    else:
        say(*overfit_lines(found, told(found.score)))
    if not found.memorised:
        raise typer.Exit(1)


@app.command(
    name="lr-find",
    epilog=examples("lr-find configs/mnist_cnn.yaml", "lr-find configs/mnist_cnn.yaml --low 1e-5 --high 1 --steps 100"),
)
def lr_find(
    config: Config = None,
    overrides: Overrides = None,
    low: Annotated[str, typer.Option(metavar="LR", help="The lowest rate.")] = "1e-6",
    high: Annotated[str, typer.Option(metavar="LR", help="The highest rate.")] = "10",
    steps: Annotated[str, typer.Option(metavar="N", help="Updates with each rate.")] = "50",
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Try learning rates for a few updates each, always from the same weights, and suggest one, if the curve shows one.

    Writes the curve as CSV, PNG and TensorBoard events to runs/<name>/<time>-<id>-lr-find.
    """
    lowest, highest = real("low", low, above=0), real("high", high, above=0)
    if lowest >= highest:
        raise ConfigError(f"command line: --low: must be < --high, got {low} and {high}")
    updates = number("steps", steps)
    experiment, node = load("lr-find", config, overrides, device=device)
    from trainkit.checks.lr_find import lr_find as find
    from trainkit.checks.lr_find import lr_find_lines, rates, write
    from trainkit.core.text import format_duration
    from trainkit.experiment.building import open_experiment
    from trainkit.experiment.loading import located
    from trainkit.runs import run_directory

    began, tried = time.monotonic(), 0

    def report(lr: float, loss: float) -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            count = len(rates(lowest, highest))
            longest = format_duration(count * (time.monotonic() - began))
            say(f"at most {count} rates of {updates} steps, about {longest}", stream=sys.stderr)
        say(f"lr {lr:g}  loss {loss:.4g}", stream=sys.stderr)

    with located(node):
        run_directory.check_writable(experiment.name)
        opened = open_experiment(experiment)
        warn_of_stand_in(opened)
        began = time.monotonic()
        curve = find(opened, low=lowest, high=highest, steps=updates, report=report)
    with run_directory.create(experiment.name, kind="lr-find") as directory:
        files = write(curve, directory.path, experiment.optimizer.lr)
    if as_json:
        say_json({**curve.to_plain(), "files": list(map(str, files))})
    else:
        say(*lr_find_lines(curve, experiment.optimizer.lr), *map(str, files))


@app.command(epilog=examples("doctor configs/mnist_cnn.yaml", "doctor my.yaml optimizer.lr=1e-2"))
def doctor(
    config: Config = None,
    overrides: Overrides = None,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Find out in minutes whether an experiment is sane: short trainings with known answers, and a look at the data.

    For every finding: what was seen, why it matters, what to change. Ends with exit code 1 where there is one.
    """
    experiment, node = load("doctor", config, overrides, device=device)
    from trainkit.checks.doctor import doctor_lines, examine, to_plain, wrong
    from trainkit.experiment.building import open_experiment
    from trainkit.experiment.loading import located

    with located(node):
        opened = open_experiment(experiment)
        warn_of_stand_in(opened)
        found = examine(opened, announce=lambda what: say(what, stream=sys.stderr))
    if as_json:
        say_json(to_plain(found))
    else:
        say(*doctor_lines(found))
    if wrong(found):
        raise typer.Exit(1)
