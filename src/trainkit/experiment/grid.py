"""The grid of a sweep: from its axes to one validated experiment for every combination of their values."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from trainkit.config import merging, validation, yamlfile
from trainkit.config.base import Config
from trainkit.config.yamlfile import COMMAND_LINE, Node
from trainkit.core.errors import ConfigError
from trainkit.experiment.building import open_data
from trainkit.experiment.loading import located, parse
from trainkit.experiment.ranking import judged_by, not_ranked, unlike
from trainkit.experiment.rules import monitored
from trainkit.experiment.schema import ExperimentConfig, SweepConfig

MAX_TRIALS = 10_000
FIXED = ("name", "imports", "extends", "sweep")
"""Sections that are one for all trials."""

_COMMA = re.compile(r",(?![^\[]*\])")  # not inside a list
T = TypeVar("T")
_Axes = dict[str, list[Node]]


@dataclass(frozen=True, slots=True)
class Grid:
    """What is to be tried."""

    base: dict[str, Any]
    """The config that all trials share, with the axes under `sweep`: itself a config to sweep."""
    points: list[dict[str, Any]]
    """For every trial the values of the axes, by key."""
    experiments: list[ExperimentConfig]
    """For every trial what will be run."""
    monitor: str
    """What ranks the trials, such as `val/accuracy`."""
    mode: Literal["min", "max"]
    timeout_minutes: float | None
    """For each trial."""
    warnings: list[str]


class _SweepSection(Config):
    sweep: SweepConfig = SweepConfig()


def read(path: Path, assignments: Iterable[str]) -> Grid:
    """Read a config and what to vary in it, and validate every combination.

    Args:
        assignments: `key=v1,v2` is an axis, `key=value` holds for every trial; without any axis, those of the file.

    Raises:
        ConfigError: with every problem found, and the values of the trials that have it.
    """
    axes, overrides = _from_command_line(assignments)
    base = merging.override(merging.read(path), overrides)
    assert isinstance(base.value, dict)
    section = base.child("sweep")
    config = validation.validate(_SweepSection, Node({"sweep": section} if section else {}, base.where)).sweep
    axes = axes or _from_file(base, config)
    # What is set below a component that changes belongs to each trial: with its name, the old one's keys go.
    changing = tuple(f"{key.removesuffix('.name')}." for key in axes)
    for key, _, text in (override.partition("=") for override in overrides if override.startswith(changing)):
        axes.setdefault(key, _values(key, text))
    warnings = _check(axes)
    shared = Node({key: node for key, node in base.value.items() if key != "sweep"}, base.where)
    points = points_of(axes)
    experiments = _validate(shared, points, path.parent)
    experiments, monitor, mode = _suited(experiments, points, shared)
    if differ := unlike(judged_by(one, f"val/{monitor}", None) for one in experiments):
        warnings.append(f"{base.where.source}: not ranked: {not_ranked(f'val/{monitor}', differ)}")
    return Grid(
        base=shared.plain()
        | {"sweep": config.to_plain() | {"axes": {key: [node.plain() for node in axes[key]] for key in axes}}},
        points=[_plain(point) for point in points],
        experiments=experiments,
        monitor=f"val/{monitor}",
        mode=mode,
        timeout_minutes=config.timeout_minutes,
        warnings=warnings,
    )


def points_of(axes: Mapping[str, Sequence[T]]) -> list[dict[str, T]]:
    """All combinations, the last axis varying fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def show(value: Any) -> str:
    """A value of an axis as the user would write it; equal texts are equal values."""
    return value if isinstance(value, str) else json.dumps(value)


def label(point: dict[str, Any]) -> str:
    """`optimizer.lr=0.1 seed=0`."""
    return " ".join(f"{key}={show(value)}" for key, value in point.items())


def _plain(point: dict[str, Node]) -> dict[str, Any]:
    return {key: node.plain() for key, node in point.items()}


def _from_command_line(assignments: Iterable[str]) -> tuple[_Axes, list[str]]:
    """The assignments of several values, and the others as they were."""
    axes: _Axes = {}
    overrides: list[str] = []
    problems: list[str] = []
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        pieces = [piece.strip() for piece in _COMMA.split(text)]
        try:
            values = _values(key, text) if len(pieces) > 1 and "" not in pieces else []
        except ConfigError as error:
            problems += error.problems
            continue
        if equals and pieces == [""]:
            problems.append(f"command line: {key}: empty axis")
        elif equals and "" in pieces:
            problems.append(f"command line: {key}: empty value at place {pieces.index('') + 1}")
        elif len(values) <= 1:
            overrides.append(assignment)
        elif key in axes:
            problems.append(f"command line: {key} given twice")
        else:
            axes[key] = values
    given = [override.partition("=")[0] for override in overrides]
    problems += [f"command line: {key} given twice" for key in axes if key in given]
    problems += [f"command line: empty key in {key!r}" for key in axes if not all(key.split("."))]
    if problems:
        raise ConfigError(*problems)
    return axes, overrides


def _values(key: str, text: str) -> list[Node]:
    try:
        node = yamlfile.parse(f"[{text}]", COMMAND_LINE)
    except ConfigError as error:
        problems = [re.sub(r" opened at \d+:\d+", "", problem) for problem in error.problems]
        raise ConfigError(*(problem.replace(":", f": {key}:", 1) for problem in problems)) from None
    assert node is not None
    assert isinstance(node.value, list)
    return [replace(value, key_where=COMMAND_LINE) for value in node.value]


def _from_file(base: Node, config: SweepConfig) -> _Axes:
    section = base.child("sweep")
    node = (section and section.child("axes")) or yamlfile.from_plain(config.axes, base.where)
    assert isinstance(node.value, dict)
    axes = {
        key: [replace(value, key_where=axis.key_where) for value in axis.value]
        for key, axis in node.value.items()
        if isinstance(axis.value, list)
    }
    if not all(axes.values()) or not axes:
        empty = [f"{axis.where}: {key}: empty axis" for key, axis in node.value.items() if not axis.value]
        raise ConfigError(*(empty or [f"{node.where}: sweep.axes: no axis"]))
    return axes


def _check(axes: _Axes) -> list[str]:
    """Refuse what cannot be an axis and drop values given twice; gives what to warn of."""
    problems = [f"{axes[key][0].where}: {key}: may not be swept" for key in axes if key.split(".")[0] in FIXED]
    if (count := math.prod(map(len, axes.values()))) > MAX_TRIALS:
        problems.append(f"{next(iter(axes.values()))[0].where.source}: {count} trials (limit {MAX_TRIALS})")
    if problems:
        raise ConfigError(*problems)
    warnings: list[str] = []
    for key, nodes in axes.items():
        kept: list[Any] = []
        for node in list(nodes):
            if isinstance(node.value, dict):
                problems.append(f"{node.where}: {key}: a mapping is no value of an axis; sweep {key}.name and its keys")
            elif (value := node.plain()) in kept:
                nodes.remove(node)
                warnings.append(f"{node.where}: {key}: {show(value)} is given twice and tried once")
            else:
                kept.append(value)
    if problems:
        raise ConfigError(*problems)
    return warnings


def _validate(shared: Node, points: list[dict[str, Node]], beside: Path) -> list[ExperimentConfig]:
    experiments: list[ExperimentConfig] = []
    broken: dict[str, list[str]] = {}
    for point in points:
        try:
            experiments.append(_experiment(shared, point, beside))
        except ConfigError as error:
            for problem in error.problems:
                broken.setdefault(problem, []).append(label(_plain(point)))
    if broken:
        raise ConfigError(
            *(
                f"{problem} (trial {trials[0]}{f' and {len(trials) - 1} more' if trials[1:] else ''})"
                for problem, trials in broken.items()
            )
        )
    return experiments


def _experiment(shared: Node, point: dict[str, Node], beside: Path) -> ExperimentConfig:
    node = merging.assign(shared, point)
    experiment = parse(node, beside=beside)
    if experiment.data.val == 0:
        val = (node.child("data") or node).child("val") or node
        raise ConfigError(f"{val.where}: data.val: a sweep ranks its trials by the val split, got 0")
    return experiment


def _suited(
    experiments: list[ExperimentConfig], points: list[dict[str, Node]], shared: Node
) -> tuple[list[ExperimentConfig], str, Literal["min", "max"]]:
    """The experiments with what they leave to their data, and the metric by which all can be compared."""
    suited: list[ExperimentConfig] = []
    found: dict[tuple[str, Literal["min", "max"]], dict[str, Node]] = {}
    for experiment, point in zip(experiments, points, strict=True):
        with located(merging.assign(shared, point)):
            spec = experiment.data.spec() or open_data(experiment)[1].spec
            suited.append(experiment.suited(spec))
            found.setdefault(monitored(experiment, spec), point)
    if len(found) > 1:
        by = ", ".join(f"{mode} val/{name} (trial {label(_plain(point))})" for (name, mode), point in found.items())
        raise ConfigError(f"checkpoint.monitor: trials that are ranked by different metrics: {by}")
    return suited, *next(iter(found))
