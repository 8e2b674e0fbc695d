"""From a YAML file and overrides to a valid experiment, or to every problem at once, each with its position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainkit.config import merging, registry, validation
from trainkit.config.yamlfile import Node
from trainkit.core.errors import ConfigError, DataError, StorageError
from trainkit.experiment.rules import check, check_direction
from trainkit.experiment.schema import ExperimentConfig


def load(path: Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read a YAML file, apply overrides, import what it names, and validate the whole.

    Raises:
        ConfigError: with every problem found.
    """
    return parse(merging.override(merging.read(path), overrides), beside=path.parent)


def parse(node: Node, *, beside: Path | None) -> ExperimentConfig:
    """Validate a tree of nodes. `beside` is where modules named in `imports` may lie, besides what is installed; None
    for the config of a run that there is."""
    import_modules(node, beside)
    experiment = validation.validate(ExperimentConfig, node)
    with located(node):
        if spec := experiment.data.spec():
            experiment = experiment.suited(spec)
            check(experiment, spec)
            if beside is not None:
                check_direction(experiment, spec)
    return experiment


def import_modules(node: Node, beside: Path | None) -> None:
    """Import what a config names in `imports`. Arguments as of `parse`.

    Raises:
        ConfigError: with every problem found.
    """
    imports = node.child("imports")
    problems: list[str] = []
    for module in imports.value if imports and isinstance(imports.value, list) else []:
        try:
            registry.load_module(module.text, beside)
        except ConfigError as error:
            problems += [f"{module.where}: imports: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)


@contextmanager
def located(node: Node) -> Iterator[None]:
    """Put the place in the config in front of the problems, raised inside, that begin with a key of it."""
    try:
        yield
    except (ConfigError, DataError, StorageError) as error:
        problems = [place(problem, node) for problem in error.problems]
        shown = type(error)(*problems).with_traceback(error.__traceback__)
        for note in getattr(error, "__notes__", ()):
            shown.add_note(note)
        raise shown from error.__cause__


def place(problem: str, node: Node) -> str:
    """Put the place in the config in front of a problem that begins with a key of it."""
    key = problem.partition(": ")[0]
    parts = re.findall(r"\w+", key)
    if not re.fullmatch(r"\w[\w.\[\]]*", key) or parts[0] not in ExperimentConfig.model_fields:
        return problem  # it begins with a path
    here = node
    for part in parts:
        here = here.child(int(part) if part.isdecimal() else part) or here
    return f"{here.where if here is not node else node.where.source}: {problem}"
