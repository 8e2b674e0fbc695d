"""The whole experiment as one value: its sections and their options."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field

from trainkit.config.base import Component, Config
from trainkit.config.yamlfile import Scalar
from trainkit.core import device as devices
from trainkit.core.device import PrecisionName
from trainkit.data import DataConfig, DataSpec
from trainkit.data.loader import LoaderConfig
from trainkit.experiment.defaults import filled
from trainkit.models import ModelConfig
from trainkit.sinks import SinkConfig
from trainkit.sinks.tensorboard import TensorBoardConfig
from trainkit.training import losses
from trainkit.training.losses import CrossEntropyConfig, LossConfig
from trainkit.training.metrics import MetricConfig
from trainkit.training.optimizers import AdamConfig, OptimizerConfig
from trainkit.training.schedulers import ConstantConfig, SchedulerConfig


def _device_name(name: str) -> str:
    if not devices.valid_name(name):
        raise ValueError(f"expected auto, cpu, cuda, cuda:N or mps, got {name!r}")
    return name


def _run_name(name: str) -> str:
    if not 0 < len(name) <= 100 or name.strip(".") == "" or not set(name) <= _NAME_CHARACTERS:
        raise ValueError(f"only letters, digits, . _ - (at most 100), got {name[:100]!r}")
    return name


_NAME_CHARACTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _in_words(text: str, units: str = "step|epoch|time") -> str:
    if not (found := re.fullmatch(rf"([1-9][0-9]{{0,5}}) ({units})s?", text)):
        minutes = " or '10 minutes'" if "minute" in units else ""
        raise ValueError(f"expected a number of steps, or such as '2 epochs'{minutes}, got {text[:100]!r}")
    return f"{found[1]} {found[2]}{'s' * (found[1] != '1')}"  # one spelling, since runs are compared by their configs


def _in_words_or_minutes(text: str) -> str:
    return _in_words(text, "step|epoch|time|minute")


Every = Count | Annotated[str, AfterValidator(_in_words)]
"""Steps, `2 epochs`, or `20 times` over the whole run."""
EveryOrMinutes = Count | Annotated[str, AfterValidator(_in_words_or_minutes)]
"""Steps, `2 epochs`, `20 times` over the whole run, or `10 minutes`."""


def steps_of(every: EveryOrMinutes, steps_per_epoch: int, max_steps: int) -> int:
    """An interval in steps; for one in minutes more steps than any run has."""
    if isinstance(every, int):
        return every
    number, unit = every.split()
    if depends_on_length(every):
        return math.ceil(max_steps / int(number))
    return int(number) * {"step": 1, "epoch": steps_per_epoch, "minute": 10**12}[unit.removesuffix("s")]


def depends_on_length(every: EveryOrMinutes) -> bool:
    """Whether a longer run has another interval."""
    return isinstance(every, str) and "time" in every


def seconds_of(every: EveryOrMinutes) -> float:
    """An interval in minutes as seconds; infinite for one in steps or epochs."""
    number, _, unit = str(every).partition(" ")
    return 60.0 * int(number) if unit.startswith("minute") else math.inf


class EarlyStoppingConfig(Config):
    """Stop when the monitored metric (see `checkpoint.monitor`) no longer improves."""

    patience: Count = 5
    """Evaluations without improvement that end the training."""
    min_delta: float = Field(0.0, ge=0)
    """A smaller change is no improvement; in the metric's unit."""


class TrainConfig(Config):
    """How long and how to train."""

    epochs: Count = 10
    """Passes over the training samples; of a stream, as many times `steps_per_epoch`."""
    steps_per_epoch: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Of a stream, which has no length: optimizer updates that make an epoch. The next one goes on where it ends."""
    min_steps: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """At least so many optimizer updates: more epochs where there are few samples."""
    max_steps: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Optimizer updates; with `epochs`, the earlier end counts."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Training ends after so long and is evaluated; `--resume` goes on for as long again, as if it had never ended."""
    limit_batches: Count | None = None
    """For quick tries: only so many batches an epoch, and as many in every evaluation while training."""
    eval_every: Every = "1 epoch"
    """Between evaluations on the val split: a number of steps, or `2 epochs`. `20 times`: at equal distances, so many
    in the whole run."""
    accumulate: Count = 1
    """Batches per optimizer update: the gradient of a batch so many times as big."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, such as 0.999; it is what is evaluated and, in the end, used."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest global gradient norm (L2); larger ones are scaled down to it."""
    precision: PrecisionName = "fp32"
    """Arithmetic of the forward pass: `fp32`, or autocast to `bf16` or `fp16` (with loss scaling). `auto` is bf16 where
    the hardware computes in it, else fp32; which it was stands in the run's config. `tf32`: fp32 in which GPUs from
    Ampere on round what they multiply to 10 bits."""
    device: Annotated[str, AfterValidator(_device_name)] = "auto"
    """`auto` (cuda, mps, cpu: the first that is there), `cpu`, `cuda`, `cuda:N` or `mps`."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """When the loss or a gradient is not finite: end the run, or leave the step out and go on (for which the host waits
    for the device at every step). A run that has skipped more than half of its steps has failed."""
    max_skipped: Count = 10
    """With `on_nonfinite: skip`: more skipped steps than these in all end the run."""
    compile: bool = False
    """Have torch.compile translate the model first: costs a minute or so, may make each step faster."""
    cuda_graph: bool = False
    """On a CUDA device: launch each step as a whole, a CUDA graph, which saves the host's work where kernels are small.
    What does not go into a graph is told, and launched as always. A model must do the same in each training step: a
    number that it counts up in Python stands still."""
    deterministic: bool = False
    """Refuse operations on a GPU whose results differ from run to run; slower. On a CPU there are none."""
    early_stopping: EarlyStoppingConfig | None = None
    """Off by default."""


def _once(sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
    names = [sink.name for sink in sinks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice!r} is there twice")
    return sinks


class LogConfig(Config):
    """What is recorded, how often, and where."""

    every: Count = 100
    """Steps between records of the training loss; also at the end of each epoch."""
    sinks: Annotated[tuple[Annotated[SinkConfig, Component("sink")], ...], AfterValidator(_once)] = ()
    """What receives the records of a run besides `console`, `jsonl` and `tensorboard`: `csv`, or one of your own."""
    tensorboard: bool = True
    """Write event files for TensorBoard. The switches below say what they hold besides the curves."""
    pictures: bool = True
    """Of picture data: the first training batch as the model sees it; after the run, val pictures with what the model
    says of them, and its worst mistakes in the whole val split."""
    confusion_matrix: bool = False
    """After the run: which classes of the val split are taken for which."""
    pr_curves: bool = False
    """After the run: precision against recall on the val split, for each class or label."""
    hparams: bool = True
    """After the run: its settings and final metrics, a row on the page that compares runs."""
    histograms: bool = False
    """At every evaluation: the distribution of each weight and gradient."""
    feature_maps: bool = False
    """At every evaluation: what the first convolution makes of one val sample, channel by channel."""
    graph: bool = False
    """The model as a graph of operations."""

    def optional_sinks(self) -> tuple[SinkConfig, ...]:
        """Those that a run has besides console and jsonl, without which there is none."""
        usual: tuple[SinkConfig, ...] = (TensorBoardConfig(),) if self.tensorboard else ()
        named = {sink.name: sink for sink in (*usual, *self.sinks)}
        return tuple(sink for name, sink in named.items() if name not in ("console", "jsonl"))


class CheckpointConfig(Config):
    """When the run is saved, and what counts as its best."""

    every: EveryOrMinutes | None = None
    """Between saves: a number of steps, `2 epochs`, `20 times` or `10 minutes`; by default `train.eval_every`. A new
    best is always saved, and so is the last step."""
    keep: Annotated[int, Field(ge=0, le=10_000)] = 0
    """So many of the latest saves stay, as `step-1200.pt` and so on, besides `best.pt` and `last.pt`."""
    monitor: str | None = None
    """A metric of the val split such as `val/loss`; by default the first of `metrics`."""
    mode: Literal["min", "max"] | None = None
    """Whether the monitored metric should fall or rise; by default what the metric implies."""


AxisValue = Scalar | tuple[Scalar, ...]


class SweepConfig(Config):
    """What `trainkit sweep` varies; `trainkit train` ignores it."""

    axes: dict[str, tuple[AxisValue, ...]] = {"optimizer.lr": (1e-1, 1e-2, 1e-3, 1e-4)}
    """Keys with the values to try; all combinations are run."""
    timeout_minutes: Annotated[float, Field(gt=0)] | None = None
    """A trial that takes longer is stopped and has failed; `--resume` goes on with it for as long again."""


class ExperimentConfig(Config):
    """One experiment: one YAML file."""

    # The data may know its model.
    model_config = ConfigDict(json_schema_extra=lambda schema: schema["required"].remove("model"))

    name: Annotated[str, AfterValidator(_run_name)] = "experiment"
    """Where runs go: `runs/<name>/`. By default that of the YAML file."""
    seed: int = Field(42, ge=0, le=2**63 - 1)
    """Every random stream follows from it."""
    imports: tuple[str, ...] = ()
    """Python modules that register your own components, beside the YAML file or installed. They are run."""
    data: Annotated[DataConfig, Component("data")]
    """What to learn from."""
    loader: LoaderConfig = LoaderConfig()
    """How samples become batches."""
    model: Annotated[ModelConfig, Component("model")]
    """What is trained."""
    loss: Annotated[LossConfig, Component("loss", CrossEntropyConfig)] = CrossEntropyConfig()
    """What is minimised; by default what suits the kind of target."""
    metrics: tuple[Annotated[MetricConfig, Component("metric")], ...] = ()
    """What is measured besides the loss; by default what suits the kind of target."""
    optimizer: Annotated[OptimizerConfig, Component("optimizer", AdamConfig)] = AdamConfig()
    """How the weights are updated."""
    scheduler: Annotated[SchedulerConfig, Component("scheduler", ConstantConfig)] = ConstantConfig()
    """How the learning rate moves."""
    train: TrainConfig = TrainConfig()
    """How long and how to train."""
    log: LogConfig = LogConfig()
    """What is recorded."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """When the run is saved."""
    sweep: SweepConfig = SweepConfig()
    """What a sweep varies."""

    @classmethod
    def from_plain(cls, data: object) -> Self:
        return super().from_plain(filled(data) if isinstance(data, dict) else data)

    def suited(self, spec: DataSpec) -> Self:
        """The same experiment with the loss that suits its data, where it names none."""
        if "loss" in self.model_fields_set:
            return self
        return self.model_copy(update={"loss": losses.default_loss(spec.task)})

    def with_precision(self, name: PrecisionName) -> Self:
        """The same experiment in that precision."""
        return self.model_copy(update={"train": self.train.model_copy(update={"precision": name})})

    def restored(self) -> Self:
        """The same experiment out of a checkpoint: files that training began with may be gone, and none is fetched to a
        place that nobody here has chosen."""
        return self.model_copy(update={"model": self.model.restored(), "data": self.data.restored()})
