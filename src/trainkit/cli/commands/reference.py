"""`list` and `schema`: what a config may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.commands.base import Debug, app, check_choice, examples, say

FAMILIES = (
    *("data", "models", "layers", "losses", "metrics", "optimizers", "schedulers", "sinks", "transforms"),
    "sections",
)


@app.command(name="list", epilog=examples("list", "list optimizers"))
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
        check_choice("family", family, FAMILIES)
    from trainkit.experiment import reference

    say(*reference.listing([family] if family else FAMILIES, brief=family is None))


@app.command(epilog=examples("schema > configs/trainkit.schema.json", "schema my.yaml > my.schema.json"))
def schema(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="CONFIG", help="A config, of which the modules in `imports` bring names, too."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of a config, with which editors complete keys and show mistakes."""
    from trainkit.config import merging

    node = None if config is None else merging.read(config)  # before torch, which takes seconds to import
    from trainkit.experiment import loading, reference

    if config is not None and node is not None:
        loading.import_modules(node, beside=config.parent)
    say(json.dumps(reference.schema(), indent=1))
