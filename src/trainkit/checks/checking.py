"""What is wrong with an experiment, found in seconds: everything is built and makes one update on placeholder data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trainkit.config import merging, registry
from trainkit.config.yamlfile import Node
from trainkit.core import device as devices
from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.errors import ConfigError, DataError, StorageError, TrainkitError, own_line
from trainkit.core.nest import Nest
from trainkit.core.seeding import generators_restored
from trainkit.core.text import and_more, printable
from trainkit.data import Data
from trainkit.data.base import DataConfig
from trainkit.experiment import grid
from trainkit.experiment.building import build, placeholder_data, warnings
from trainkit.experiment.loading import parse, place
from trainkit.experiment.rules import check_direction
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.dry_run import evaluating
from trainkit.runs import run_directory, run_state
from trainkit.training.loop import Parts, trained


def check(
    path: Path, overrides: list[str], on_data: Callable[[ExperimentConfig, Data], object] = lambda config, data: None
) -> list[Diagnostic]:
    """Look for everything that would end a training or spoil it, errors first.

    The data is not read where its config tells what it is; otherwise it is opened as training does.

    Args:
        on_data: is shown the experiment and its data, when that could be opened.
    """
    try:
        node, experiment, findings = read(path, overrides)
    except (ConfigError, DataError) as error:
        return [Diagnostic("config", problem, "error", error.exit_code) for problem in error.problems]
    except Exception as error:  # of a module that the config imports
        what = str(error).strip().partition("\n")[0]
        return [Diagnostic("config", printable(f"{path}: imports: raised {type(error).__name__}: {what}"), "error")]
    with _noting(findings, "storage", node):
        run_directory.check_writable(experiment.name)
    device = torch.device("cpu")
    with _noting(findings, "device", node):
        device = devices.select(experiment.train.device, deterministic=experiment.train.deterministic)
    with _noting(findings, "data", node):
        findings += _absent(experiment.data)
    with _noting(findings, "data", node):
        experiment, data = placeholder_data(experiment)
        on_data(experiment, data)
        with _noting(findings, "model", node):
            findings += [replace(one, text=place(one.text, node)) for one in _diagnostics(experiment, data, device)]
    return findings


def _absent(config: DataConfig) -> list[Diagnostic]:
    try:
        return [Diagnostic("absent", f"data: {text}", "fine")] if (text := config.absent()) else []
    except DataError as error:
        if config.fallback_config() is None:
            raise
        return [Diagnostic("absent", f"data: {error}; data.fallback stands in for it")]


def read_of(experiment: ExperimentConfig) -> str:
    """What `check` reads of the data, and what is left for the commands that go through all of it."""
    config = experiment.data
    seen, left = config.read_by_check
    return (
        f"read of {config.name}: {seen}; left: {left} (trainkit data, train), whether whole batches fit into memory "
        "and what is learned (trainkit overfit, doctor, train)"
    )


def read(path: Path, overrides: list[str]) -> tuple[Node, ExperimentConfig, list[Diagnostic]]:
    """Validate a file, with every combination that a sweep of it would try.

    Raises:
        ConfigError, DataError: with every problem found.
    """
    node = merging.override(merging.read(path), overrides)
    experiment = parse(node, beside=path.parent)
    if node.child("sweep") is None:
        return node, experiment, []
    found = grid.read(path, overrides)
    return node, experiment, [Diagnostic("sweep", warning) for warning in found.warnings]


def _diagnostics(experiment: ExperimentConfig, data: Data, device: torch.device) -> list[Diagnostic]:
    experiment = experiment.with_precision(devices.choose_precision(experiment.train.precision, device))
    check_direction(experiment, data.spec)
    parts, plan = build(experiment, data, device)
    found = warnings(experiment, data, parts, plan)
    run_state.check_readable(experiment, data.spec, {}, parts)
    known = {one.code for one in found}
    found += [one for one in first_update(parts, data) if one.code not in known]
    if not registry.is_ours(experiment.optimizer):  # which may keep something else only now
        run_state.check_readable(experiment, data.spec, {}, parts)
    return found + first_evaluation(parts, data)


def first_update(parts: Parts, data: Data) -> list[Diagnostic]:
    """Make one optimizer update with two samples, as `train_steps` would; tell what the model takes and gives where
    that is more than a tensor.

    Raises:
        ConfigError: the loss is not finite before anything has been learned.
    """
    batch = parts.prepare(data.train.take(torch.arange(min(2, len(data.train)))), 0)
    parts.model.train()
    given: list[Nest] = []
    seen = parts.model.register_forward_hook(lambda model, args, made: given.append(made))
    with seen, parts.precision.autocast():
        loss = parts.loss_fn(parts.model, batch).loss
    if not bool(loss.isfinite()):
        raise ConfigError(
            f"model: the loss is {float(loss.detach())} before the first update; look for log, sqrt and division"
        )
    parts.precision.backward(loss)
    parameters = [(name, one) for name, one in parts.model.named_parameters() if one.requires_grad]
    silent = [name for name, parameter in parameters if parameter.grad is None]
    parts.precision.update(parts.optimizer, [parameter for _, parameter in parameters], None)
    found = [Diagnostic("no-gradient", f"model: in training no gradient reaches {and_more(silent)}")] if silent else []
    if given and (batch.form or not isinstance(given[-1], Tensor)):
        text = f"model: takes {batch.form or nest.shapes(batch.inputs)}, gives {nest.shapes(given[-1])}"
        found.append(Diagnostic("shapes", text, "fine"))
    return found


def first_evaluation(parts: Parts, data: Data) -> list[Diagnostic]:
    """Evaluate three samples, as an evaluation would; of what a metric makes of so few, tell only.

    Raises:
        ConfigError: a loss of one's own raised.
    """
    batch = parts.prepare(data.train.take(torch.arange(min(3, len(data.train)))), None)
    with generators_restored(parts.device), evaluating(trained(parts)), torch.no_grad():
        with parts.precision.autocast():
            outcome = parts.loss_fn(parts.model, batch)
        try:
            for metric in parts.metrics.values():
                metric.reset()
                metric.update(outcome.outputs, batch.targets)
                metric.compute()
        except ConfigError as error:
            text = f"{error}; that was with three samples: with those of an evaluation it would end the training"
            return [Diagnostic("metric", text)]
    return []


@contextmanager
def _noting(findings: list[Diagnostic], code: str, node: Node) -> Iterator[None]:
    """Put what goes wrong inside at the front of the findings."""
    try:
        yield
    except (TrainkitError, OSError) as error:
        failure = error if isinstance(error, TrainkitError) else StorageError(str(error))
        findings[:0] = [
            Diagnostic(_code(error, problem, code), place(problem, node), "error", failure.exit_code)
            for problem in failure.problems
        ]
    except Exception as error:
        if code not in ("data", "model"):
            raise
        # A user's own code: what it is may be anything; where it happened is in the traceback of `trainkit train`.
        text = f"{code}: raised {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}{own_line(error)}"
        findings.insert(0, Diagnostic(code, place(printable(text), node), "error"))


def _code(error: Exception, problem: str, code: str) -> str:
    """Rules between sections may show only when the parts are built."""
    if isinstance(error, DataError):
        return "data"
    return "config" if isinstance(error, ConfigError) and not problem.startswith("model") else code
