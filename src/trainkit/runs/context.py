"""An experiment with everything that it was built into: what a run works on."""

from __future__ import annotations

from dataclasses import dataclass

from trainkit.data import Data
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs.run_directory import RunDir
from trainkit.training.loop import Parts, Plan
from trainkit.training.progress import Progress


@dataclass(frozen=True, slots=True)
class RunContext:
    """`digests` are fingerprints of the data."""

    experiment: ExperimentConfig
    data: Data
    parts: Parts
    plan: Plan
    directory: RunDir
    digests: dict[str, str]
    progress: Progress
    quiet: bool
