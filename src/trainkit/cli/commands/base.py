"""The Typer app, and what its commands have in common."""

from __future__ import annotations

import gc
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from trainkit.core.errors import ConfigError
from trainkit.core.suggestions import did_you_mean
from trainkit.core.text import printable

if TYPE_CHECKING:
    from trainkit.config.yamlfile import Node
    from trainkit.experiment.building import Opened
    from trainkit.experiment.schema import ExperimentConfig


def examples(*commands: str) -> str:
    """The end of a help text; \b keeps the lines apart."""
    return "\n".join(("\b", "Examples:", *(f"  trainkit {command}" for command in commands)))


app = typer.Typer(
    name="trainkit",
    help="Train PyTorch models from a YAML file: one file describes an experiment, one command runs it.",
    epilog=examples("train configs/digits_cnn.yaml", "train --help", "list models"),
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[str | None, typer.Argument(metavar="CONFIG", help="The YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those in the file.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")]
Device = Annotated[
    str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps; the same as train.device=NAME.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        from trainkit import __version__

        say(f"trainkit {__version__}")
        raise typer.Exit


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Print to stdout, or to a stream; silently, when its reader is gone, as after `| head`."""
    from trainkit.core.terminal import print_line

    for line in lines:
        print_line(line, stream or sys.stdout)


def say_json(value: object) -> None:
    """Print it as JSON, with null for every number that JSON does not know."""
    from trainkit.core.text import plain_json

    say(json.dumps(plain_json(value)))


def check_choice(kind: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        hint = did_you_mean(word, known)
        raise ConfigError(f"command line: unknown {kind} {word!r}{hint}; available: {', '.join(known)}")


def config_and_overrides(words: list[str], command: str) -> tuple[Path, list[str]]:
    """The config is the first word that is no key=value. A path may contain a `=`, a key no `/`."""
    configs = [word for word in words if not is_override(word)]
    if not configs:
        raise ConfigError(f"command line: CONFIG is missing; usage: trainkit {command} CONFIG [KEY=VALUE]...")
    if more := [word for word in configs[1:] if word.endswith((".yaml", ".yml"))]:
        raise ConfigError(f"command line: one config, got two; {more[0]!r} is no key=value")
    overrides = words.copy()
    overrides.remove(configs[0])
    return Path(configs[0]), overrides


def warn_of_stand_in(opened: Opened) -> None:
    """Say it where the data is not what was asked for."""
    if opened.missing:
        used = opened.experiment.data.to_plain()["name"]
        say(f"warning: ON {used.upper()}, NOT ON THE DATA ASKED FOR: {printable(opened.missing)}", stream=sys.stderr)


def is_override(word: str) -> bool:
    return bool(re.match(r"[^/]*=", word))


@contextmanager
def importing() -> Iterator[None]:
    """Keep what is imported out of the garbage collector's sight: it stays, and going through it takes a sixth of the
    start and as much of the end."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load(
    command: str,
    config: str | None,
    overrides: list[str] | None,
    more: Iterable[str] = (),
    *,
    device: str | None = None,
) -> tuple[ExperimentConfig, Node]:
    """The experiment that the words of a command describe, and the nodes that know their places.

    Args:
        more: overrides that follow from the command's options.
    """
    path, values = config_and_overrides([config, *(overrides or [])] if config else [], command)
    from trainkit.config.merging import override, read

    values += [f"train.device={device}"] if device else []
    node = override(read(path), [*values, *more])  # before torch, which takes seconds to import
    with importing():
        from trainkit.experiment.loading import parse

    return parse(node, beside=path.parent), node


def number(option: str, text: str) -> int:
    """An option's whole number. Raises ConfigError for anything else, and for less than 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise ConfigError(f"command line: --{option}: expected a whole number >= 1, got {text!r}")
    return int(text)


def real(option: str, text: str, *, above: float, at_most: float = math.inf) -> float:
    """An option's number. Raises ConfigError for anything else, and for one outside the bounds."""
    with suppress(ValueError):
        if above < float(text) <= at_most and math.isfinite(float(text)):
            return float(text)
    upto = f" and up to {at_most:g}" if math.isfinite(at_most) else ""
    raise ConfigError(f"command line: --{option}: expected a number above {above:g}{upto}, got {text!r}")
