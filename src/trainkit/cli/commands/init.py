"""`init`: what writes a first config."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.commands.base import Debug, app, examples, importing, say
from trainkit.core.errors import StorageError


@app.command(
    epilog=examples("init digits_cnn", "init data/pictures", "init houses.csv --target price --output prices.yaml")
)
def init(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="EXAMPLE|PATH",
            help="An example; or a folder of pictures or texts, or a table, for which a config is suggested.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column to be predicted.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it here instead of NAME.yaml in this directory.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a first config: an example as it is, or what a look at a folder or a table suggests.

    Without an argument it lists the examples.
    """
    with importing():
        from trainkit.checks import starter
        from trainkit.config import shell
        from trainkit.core import atomic

    if source is None:
        say(*starter.examples())
        return
    path = Path(source).expanduser()
    name = starter.name_of(path)
    texts = {name: starter.suggest(path, target)} if path.exists() else starter.example(source)
    (name, text), *extended = texts.items()
    written = output or Path(f"{name}.yaml")
    if written.exists():
        raise StorageError(f"{written}: is there already; write elsewhere with --output FILE")
    atomic.write_text(written, text)
    say(str(written))
    for base, its_text in extended:
        beside = written.with_name(f"{base}.yaml")
        if not beside.exists():
            atomic.write_text(beside, its_text)
            say(str(beside))
    run = "sweep" if "\nsweep:" in text else "train"
    say(*(shell.command("trainkit", command, written) for command in ("check", run)))
