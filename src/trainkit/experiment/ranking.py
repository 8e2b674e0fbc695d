"""Which runs may be compared by a number of the val split, and in what order that puts them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from trainkit.core.text import leaves

if TYPE_CHECKING:
    from trainkit.experiment.schema import ExperimentConfig


class Judged(Protocol):
    """A run, or a trial of a sweep."""

    @property
    def status(self) -> str: ...

    @property
    def metrics(self) -> Mapping[str, float]: ...

    @property
    def judged_by(self) -> Mapping[str, Any]:
        """As of `judged_by`; empty for a run of before, which is compared as it was."""
        ...


J = TypeVar("J", bound=Judged)


def judged_by(experiment: ExperimentConfig, monitor: str, val: str | None) -> dict[str, Any]:
    """What a value of the monitored metric hangs on besides the model and its training, by keys of the config.

    Args:
        monitor: the metric, such as `val/accuracy`.
        val: fingerprint of the val samples' targets: what is made of their inputs, such as a size, is a choice of
            the model's like any other.
    """
    name, config = monitor.removeprefix("val/"), experiment.to_plain()
    options = {"loss": config["loss"]} if name == "loss" else {}
    options |= {"metrics": [metric.to_plain() for metric in experiment.metrics or () if metric.label == name]}
    limit = config["train"]["limit_batches"]  # of that many batches in the val split, too
    options |= {"train": {"limit_batches": [limit, config["loader"]["eval_batch_size"]] if limit else None}}
    data = {key: value for key, value in config["data"].items() if key not in experiment.data.shown}
    options |= {"data": data, "seed": config["seed"], "val": val}
    return {"checkpoint.monitor": monitor, **leaves(options)}


def unlike(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """The keys for which the numbers of runs cannot be compared: another metric, loss, split, or other data.

    Seeds draw other val samples by the same rule, and may be compared; so may the same pictures in another size.

    Args:
        found: of each run what `judged_by` gave.
    """
    told = [one for one in found if one]
    differ = sorted(key for key in {key for one in told for key in one} if len(_values(told, key)) > 1)
    if "checkpoint.monitor" in differ:
        return ["checkpoint.monitor"]
    # That another component has other options goes without saying.
    differ = [key for key in differ if f"{key.partition('.')[0]}.name" not in differ or key.endswith(".name")]
    keys = [key for key in differ if key not in ("seed", "val") and not key.startswith("data.")]
    if "val" not in differ:
        return keys
    groups: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for one in told:
        groups.setdefault((one["seed"], one["val"]), []).append(one)
    # What differs over the same val samples, such as augmentation, is not what makes them others.
    of_data = [key for key in differ if key.startswith("data.")]
    of_data = [key for key in of_data if not any(len(_values(group, key)) > 1 for group in groups.values())]
    seeds = {seed for seed, _ in groups}
    return keys + of_data + ["the val samples"] * (not of_data and len(groups) > len(seeds))


def ranked(runs: Sequence[J], monitor: str, mode: Literal["min", "max"]) -> list[J]:
    """Those that have ended with a number, the best first; none where they cannot be compared."""
    finite = comparable(runs, monitor)
    sign = 1 if mode == "min" else -1
    return (
        [] if unlike(run.judged_by for run in finite) else sorted(finite, key=lambda run: sign * run.metrics[monitor])
    )


def comparable(runs: Sequence[J], monitor: str) -> list[J]:
    """Those that have ended with a number."""
    finished = [run for run in runs if run.status == "finished"]
    return [run for run in finished if math.isfinite(run.metrics.get(monitor, math.nan))]


def not_ranked(monitor: str, differ: Sequence[str]) -> str:
    """Why, and what to do."""
    other = "; checkpoint.monitor may name a metric" if monitor == "val/loss" else ""
    return f"{monitor} cannot be compared between trials that differ in {', '.join(differ)}{other}"


def _values(told: Sequence[Mapping[str, Any]], key: str) -> set[str]:
    """What those say that have the option at all: another version may not have recorded it."""
    option = ".".join(key.split(".")[:2])
    with_it = (one for one in told if any(f"{other}.".startswith(f"{option}.") for other in one))
    return {json.dumps(one.get(key)) for one in with_it}
