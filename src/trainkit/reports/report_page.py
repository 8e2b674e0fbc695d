"""A run or a sweep as one page of HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic_core import PydanticUndefined, to_jsonable_python

from trainkit.config import yamlfile
from trainkit.config.base import Config
from trainkit.core import atomic
from trainkit.core.errors import StorageError
from trainkit.core.text import format_duration, leaves, printable, written_out
from trainkit.experiment.loading import parse
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.restoring import check_overrides
from trainkit.reports import comparing
from trainkit.reports.comparing import show
from trainkit.reports.comparison_page import comparison
from trainkit.reports.curves import curves_of
from trainkit.reports.page_data import PageData, attempt, collect
from trainkit.reports.sweep_page import moment, sweep_page
from trainkit.runs import history, reader, results, run_directory
from trainkit.runs.history import History
from trainkit.runs.summary_lines import diagnosed
from trainkit.tasks import Table
from trainkit.training.yardstick import without_name

NUMBER = re.compile(r"|-|nan|\(missing\)|-?[\d.,:]+(e[+-]\d+)?( %| percentage points)?")
"""A cell that is nothing else."""


@dataclass(frozen=True, slots=True)
class Report:
    """A page that was written."""

    path: Path
    missing: list[str]
    """What could not be shown, and why."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a config."""

    key: str
    value: str
    default: str | None
    """What it would have been, where it is something else."""


def write(path: Path, output: Path | None = None, *, device: str = "auto", overrides: Iterable[str] = ()) -> Report:
    """Write the report of a run or a sweep.

    Args:
        output: by default `report.html` in its directory.
        overrides: for keys of `data` and `loader`, such as `data.root=…` on another machine.

    Raises:
        TrainkitError: there is no run or sweep, or the page cannot be written.
    """
    overrides = list(overrides)
    check_overrides(overrides, "a report")
    missing: list[str] = []
    page = sweep_page(path) if reader.is_sweep(path) else _run_page(path, device, overrides, missing)
    return _written(output or path / "report.html", page, missing)


def compare(paths: Sequence[Path], output: Path | None = None) -> Report:
    """Write a page of several runs side by side.

    Args:
        output: by default `comparison.html` in this directory.

    Raises:
        TrainkitError: there is no run at one of the paths, or the page cannot be written.
    """
    missing: list[str] = []
    return _written(output or Path("comparison.html"), comparison(paths, missing), missing)


def _written(output: Path, page: Mapping[str, Any], missing: list[str]) -> Report:
    if not output.parent.is_dir():
        raise StorageError(f"{output.parent}: no such directory")
    atomic.write_text(output, _render(missing=missing, **page))
    return Report(output, missing)


def _render(**page: Any) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalized
    )
    environment.filters |= {
        "number": lambda value, name: "" if value is None else written_out(without_name(name, value)),
        "written_out": written_out,
        "sides": _sides,
        "duration": format_duration,
        "drawn": Markup,
    }
    here = Path(__file__)
    script = here.with_suffix(".js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string(here.with_suffix(".html.jinja").read_text("utf-8"))
    return template.render(script=script, digest=digest, **page)


def _sides(table: Table) -> list[str]:
    """For each column `n`, to the right, where all in it are numbers; else `name`."""
    columns = zip(*table.rows, strict=True)
    return ["n" if number and all(map(NUMBER.fullmatch, one)) else "name" for number, one in enumerate(columns)]


def _finalized(value: object) -> object:
    """A text without what has no place on a page; what is markup already stays as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _run_page(path: Path, device: str, overrides: list[str], missing: list[str]) -> dict[str, Any]:
    run = reader.only_run(path)
    past = attempt(lambda: history.read(run_directory.RunDir(path).metrics), "curves", missing) or History((), (), ())
    charts, constant = curves_of(past)
    settings, experiment = _settings(path, missing)
    found = collect(run, device, overrides, missing)
    metadata, fallback = run.metadata, _leaves(run.metadata, "fallback")
    diagnoses = _list(metadata, "curves") if run.status == "finished" and "curves" in metadata else None
    silence = "There are none yet."
    if past.steps:
        silence = "Nothing unusual: neither over-fitting nor under-fitting, no plateau, no jumps."
    if run.status == "diverged":
        silence = "The training diverged: nothing else that they say is meant."
    elif experiment and experiment.train.limit_batches:
        silence = "A quick try: train.limit_batches is set."
    elif experiment and diagnoses is None:
        diagnoses = list(map(str, diagnosed(past, experiment, found.baseline_loss)))
    last = max([record.epoch for record in past.steps] + [record.epoch for record in past.of("val")], default=None)
    planned = experiment.train.epochs if experiment else 0
    trained = "" if last is None else f"{last:.4g} epochs" + (f" of {planned}" if planned >= last else "")
    facts = {
        "began": moment(run.began),
        "took": "" if run.seconds is None else format_duration(run.seconds),
        "trained": trained,
        "parameters": "" if found.parameters is None else f"{found.parameters:,}",
        "resumed": ", ".join(map(_time_of, _list(metadata, "resumed_at"))),
    }
    return {
        "kind": "run",
        "title": f"{metadata.get('name', path.name)} {path.resolve().name}",
        "run": run,
        "yardsticks": results.stored(metadata),
        "facts": {name: fact for name, fact in facts.items() if fact},
        "diagnoses": diagnoses or [],
        "silence": silence,
        "charts": charts,
        "constant": constant,
        "found": found,
        "settings": settings,
        "environment": _leaves(metadata, "environment"),
        "data": _data(path, metadata, found),
        "fallback": fallback if {"asked", "used", "why"} <= fallback.keys() else None,
        "notes": _list(metadata, "notes"),
    }


def _leaves(metadata: Mapping[str, Any], section: str) -> dict[str, Any]:
    return {key: show(value) for key, value in comparing.leaves_of(metadata, section).items()}


def _list(metadata: Mapping[str, Any], key: str) -> list[str]:
    found = metadata.get(key)
    return list(map(str, found)) if isinstance(found, list) else []


def _time_of(text: str) -> str:
    with suppress(ValueError):
        return moment(datetime.fromisoformat(text))
    return text


def _data(path: Path, metadata: Mapping[str, Any], found: PageData) -> list[tuple[str, int | None, str]]:
    """Name, samples and fingerprint of every split."""
    counts = dict(found.counts)
    with suppress(OSError, ValueError, KeyError, TypeError):
        counts.setdefault("val", len(json.loads((path / "split.json").read_text())["val"]))
    return [(name, counts.get(name), digest) for name, digest in _leaves(metadata, "data").items()]


def _settings(path: Path, missing: list[str]) -> tuple[dict[str, list[Setting]], ExperimentConfig | None]:
    """The config by sections, and as what it means, where that can be told."""
    config = attempt(lambda: yamlfile.read_file(run_directory.RunDir(path).config), "config", missing)
    if config is None:
        return {}, None
    experiment = attempt(lambda: parse(config, beside=None), "the defaults of the config", missing)
    if experiment is None:
        plain = [Setting(key, show(value), None) for key, value in leaves(config.plain()).items()]
    else:
        plain = list(_compared(experiment))
    sections: dict[str, list[Setting]] = {}
    for setting in plain:
        if not setting.key.startswith("sweep."):
            sections.setdefault(setting.key.partition(".")[0] if "." in setting.key else "", []).append(setting)
    return sections, experiment


def _compared(config: Config, above: str = "", name: object = PydanticUndefined) -> Iterator[Setting]:
    """Every key with what it is and would be by default.

    Args:
        name: what the component would be by default.
    """
    for key, plain in config.to_plain().items():
        field_info = type(config).model_fields.get(key)
        default = field_info.get_default(call_default_factory=True) if field_info else PydanticUndefined
        value = getattr(config, key)
        if isinstance(value, Config):
            yield from _compared(value, f"{above}{key}.", getattr(default, "name", PydanticUndefined))
            continue
        if above and key == "name":
            default = name
        same = default is not PydanticUndefined and to_jsonable_python(default) == plain
        usual = "required" if default is PydanticUndefined else show(to_jsonable_python(default))
        yield Setting(f"{above}{key}", show(plain), None if same else usual)
