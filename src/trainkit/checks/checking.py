"""What is wrong with an experiment, found in seconds: everything is built and makes one update on made-up samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from trainkit.config import merging
from trainkit.config.yamlfile import Node
from trainkit.core import device as devices
from trainkit.core.errors import ConfigError, DataError, Diagnostic, StorageError, TrainkitError
from trainkit.core.text import and_more, printable
from trainkit.data import Data
from trainkit.experiment import grid
from trainkit.experiment.building import build, placeholder_data, warnings
from trainkit.experiment.schema import ExperimentConfig, check_direction, parse, place
from trainkit.runs import run_directory, run_state
from trainkit.training.loop import Parts

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (`error`: training would not begin), or probably not meant (`warning`)."""

    level: Level
    code: str
    """What kind it is: of errors the part that is at fault (config, data, model, device, storage)."""
    text: str
    """`file:line:column: key: what is wrong`; the place is missing where nothing in a file is to blame."""
    exit_code: int = 2
    """Of an error: what `trainkit train` would end with; 2 for what a user's own code raised."""

    def __str__(self) -> str:
        return f"{self.level}[{self.code}]: {self.text}"

    @property
    def where(self) -> tuple[str, int, int] | None:
        """File, line and column, where the text has them."""
        found = re.match(r"(.+?):(\d+):(\d+): ", self.text)
        return (found[1], int(found[2]), int(found[3])) if found else None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        file, line, column = self.where or (None, None, None)
        plain: dict[str, Any] = {"level": self.level, "code": self.code, "file": file, "line": line, "column": column}
        return plain | {"message": self.text}

    def to_github(self, config: str) -> str:
        """A line that GitHub's runners show beside the code."""
        file, line, column = self.where or (config, 1, 1)
        text = self.text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return f"::{self.level} file={file},line={line},col={column},title=trainkit {self.code}::{text}"


def check(path: Path, overrides: list[str], look: Callable[[Data], object] = lambda data: None) -> list[Finding]:
    """Look for everything that would end a training or spoil it, errors first.

    The data is not read where its config tells what it is; otherwise it is opened as training does.

    Args:
        look: is shown the data, when it could be opened.
    """
    try:
        node, experiment, findings = read(path, overrides)
    except (ConfigError, DataError) as error:
        return [Finding("error", "config", problem, error.exit_code) for problem in error.problems]
    except Exception as error:  # of a module that the config imports
        what = str(error).strip().partition("\n")[0]
        return [Finding("error", "config", printable(f"{path}: imports: raised {type(error).__name__}: {what}"))]
    with _noting(findings, "storage", node):
        run_directory.check_writable(experiment.name)
    device = torch.device("cpu")
    with _noting(findings, "device", node):
        device = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
    with _noting(findings, "data", node):
        experiment, data = placeholder_data(experiment)
        look(data)
        with _noting(findings, "model", node):
            findings += [
                Finding("warning", found.code, place(found, node)) for found in _diagnostics(experiment, data, device)
            ]
    return findings


def read(path: Path, overrides: list[str]) -> tuple[Node, ExperimentConfig, list[Finding]]:
    """Validate a file, with every combination that a sweep of it would try.

    Raises:
        ConfigError, DataError: with every problem found.
    """
    node = merging.override(merging.read(path), overrides)
    experiment = parse(node, beside=path.parent)
    if node.child("sweep") is None:
        return node, experiment, []
    found = grid.read(path, overrides)
    return node, experiment, [Finding("warning", "sweep", warning) for warning in found.warnings]


def _diagnostics(experiment: ExperimentConfig, data: Data, device: torch.device) -> list[Diagnostic]:
    experiment = experiment.with_precision(devices.choose_precision(experiment.train.precision, device))
    check_direction(experiment, data.spec)
    parts, plan = build(experiment, data, device)
    found = warnings(experiment, data, parts, plan)
    run_state.check_readable(experiment, data.spec, {}, parts)
    silent = first_update(parts, data)  # made in any case, for what it may raise
    return found if any(one.code == "no-gradient" for one in found) else found + silent


def first_update(parts: Parts, data: Data) -> list[Diagnostic]:
    """Make one optimizer update with two samples, as `train_steps` would.

    Raises:
        ConfigError: the loss is not finite before anything has been learned.
    """
    batch = parts.prepare(data.train.take(torch.arange(min(2, len(data.train)))), 0)
    parts.model.train()
    with parts.precision.autocast():
        loss = parts.loss_fn(parts.model, batch).loss
    if not bool(loss.isfinite()):
        raise ConfigError(
            f"model: the loss is {float(loss.detach())} before the first update; look for log, sqrt and division"
        )
    parts.precision.backward(loss)
    parameters = [(name, one) for name, one in parts.model.named_parameters() if one.requires_grad]
    silent = [name for name, parameter in parameters if parameter.grad is None]
    parts.precision.update(parts.optimizer, [parameter for _, parameter in parameters], None)
    return [Diagnostic("no-gradient", f"model: in training no gradient reaches {and_more(silent)}")] if silent else []


@contextmanager
def _noting(findings: list[Finding], code: str, node: Node) -> Iterator[None]:
    """Put what goes wrong inside at the front of the findings."""
    try:
        yield
    except (TrainkitError, OSError) as error:
        told = error if isinstance(error, TrainkitError) else StorageError(str(error))
        findings[:0] = [
            Finding("error", _code(error, problem, code), place(problem, node), told.exit_code)
            for problem in told.problems
        ]
    except Exception as error:
        if code not in ("data", "model"):
            raise
        # A user's own code: what it is may be anything; where it happened is in the traceback of `trainkit train`.
        text = f"{code}: raised {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        findings.insert(0, Finding("error", code, place(printable(text), node)))


def _code(error: Exception, problem: str, code: str) -> str:
    """Rules between sections may show only when the parts are built."""
    if isinstance(error, DataError):
        return "data"
    return "config" if isinstance(error, ConfigError) and not problem.startswith("model") else code
