"""The loop: `train_steps` makes optimizer updates, `fit` drains it and does what is due, `evaluate` measures.

One file, since this is what one reads to know in which order things happen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from trainkit.core import seeding
from trainkit.core.device import Precision, grad_norm
from trainkit.core.errors import DivergedError
from trainkit.core.records import EvalRecord, NoteRecord, Sink
from trainkit.data import Batch
from trainkit.data.loader import Loader
from trainkit.data.transforms.pipeline import Prepare
from trainkit.models.dry_run import evaluating
from trainkit.models.lint import Attributes
from trainkit.training.cuda_graph import CudaRecorder, RecordedStep
from trainkit.training.ema import Ema, OptimizerAverage
from trainkit.training.losses import LossFn, LossOutput, Together
from trainkit.training.meter import Meter
from trainkit.training.metrics import Metric, Score, sum_dtype
from trainkit.training.progress import Progress
from trainkit.training.schedulers import Scheduler
from trainkit.training.step import Step, StepOutput

MOST_SKIPPED = 0.5
"""A run that has skipped a larger share of its steps has not trained."""


@dataclass(frozen=True, kw_only=True)
class EvalParts:
    """What evaluation needs."""

    model: nn.Module
    loss_fn: LossFn
    metrics: Mapping[str, Metric]
    prepare: Prepare
    precision: Precision
    device: torch.device
    notes: tuple[str, ...] = ()
    """What a person should know about how they were built."""
    attributes: Attributes | None = None
    """Of the model, before anything ran."""


@dataclass(frozen=True, kw_only=True)
class Parts(EvalParts):
    """What is trained, with what, on what."""

    optimizer: Optimizer
    scheduler: Scheduler
    train: Loader
    val: Loader | None
    ema: Ema | OptimizerAverage | None
    """What is evaluated instead of the model; None: the model."""
    seed: int
    cuda_graph: bool = False
    """Whether steps are launched as CUDA graphs."""
    right: Score | None = None
    """By which the accuracy of training is told; None where that is not measured, and where samples are mixed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Every duration of a run, in steps."""

    max_steps: int
    batches_per_epoch: int
    accumulate: int
    clip_norm: float | None
    log_every: int
    eval_every: int
    save_every: int
    monitor: str
    """A metric of the val split; the best checkpoint is the best by it."""
    mode: Literal["min", "max"]
    patience: int | None
    """Evaluations without improvement after which training stops; None: never."""
    min_delta: float
    """What counts as an improvement for the patience."""
    max_skipped: int | None = None
    """So many steps may be skipped because something is not finite; None: the first such step ends the run."""

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.batches_per_epoch / self.accumulate)

    def epoch_at(self, step: int) -> float:
        """Epochs done after so many steps."""
        epochs, steps = divmod(step, self.steps_per_epoch)
        return epochs + steps * self.accumulate / self.batches_per_epoch

    def finished(self, progress: Progress) -> bool:
        return progress.step >= self.max_steps or progress.stopped_early


def trained(parts: EvalParts) -> nn.Module:
    """The model, together with the loss where that has parameters of its own."""
    return Together(parts.model, parts.loss_fn) if isinstance(parts.loss_fn, nn.Module) else parts.model


def due(step: int, *, every: int, last: bool) -> bool:
    """Whether something that happens every so many steps happens after this one; the last step always counts."""
    return step > 0 and (last or step % every == 0)


def train_steps(
    parts: Parts, plan: Plan, progress: Progress, tell: Callable[[str], None] = lambda text: None
) -> Iterator[StepOutput]:
    """Make optimizer updates for as long as the caller asks, from where `progress` stands.

    The gradients of a step stay in place until the next one begins.

    Args:
        tell: told what a person should know.
    """
    step: Step | RecordedStep
    step = plain = Step(parts.model, parts.loss_fn, parts.precision, parts.optimizer, plan.clip_norm)
    if parts.cuda_graph:
        step = RecordedStep(plain, CudaRecorder(parts.device), accumulates=plan.accumulate > 1, tell=tell)
    module = trained(parts)
    module.train()
    while True:
        batches = parts.train.epoch(progress.epoch, start=progress.batch)
        while True:
            sizes = parts.train.sizes(progress.batch, plan.accumulate)
            samples = sum(sizes)
            # Dropout and its like draw from a stream of the step, so that a resumed run draws the same.
            seeding.reseed(parts.device, parts.seed, "step", progress.step)
            step.zero_grad()
            # A step that may be skipped must not leave its mark on BatchNorm's statistics either.
            buffers = None if plan.max_skipped is None else [buffer.clone() for buffer in module.buffers()]
            losses: list[Tensor] = []
            counts: list[Tensor] = []  # over which each loss is the mean, where these are no samples
            rights: list[Tensor] = []
            waited, asked = 0.0, time.perf_counter()
            for batch in islice(batches, len(sizes)):
                waited += time.perf_counter() - asked
                batch = parts.prepare(batch, progress.epoch)
                share = partial(_share, len(batch.index) / samples, counts, len(sizes)) if len(sizes) > 1 else None
                outcome = step.backward(batch, share)
                loss = outcome.recorded
                losses.append(loss if share is None else loss * share(outcome.count))
                if outcome.count is not None:
                    counts.append(outcome.count)
                if parts.right is not None:
                    rights.append(parts.right(outcome.outputs, batch.targets).sum())
                asked = time.perf_counter()
            loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum(0)
            known = torch.stack(counts).sum() if counts else None
            if known is not None and len(sizes) > 1:
                correction = _expected(counts, len(sizes)) / torch.where(known > 0, known, 1)
                loss = loss * correction
                torch._foreach_mul_([one.grad for one in plain.parameters if one.grad is not None], correction)
            guard = None if plan.max_skipped is None else loss.sum()
            norm, updated = step.update(guard)
            if buffers is not None and not updated:
                progress.skipped += 1
                for buffer, before in zip(module.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            parts.scheduler.step()
            progress.step += 1
            if parts.ema:
                parts.ema.update(progress.step)
            progress.batch += len(sizes)
            if epoch_ends := progress.batch == plan.batches_per_epoch:
                progress.epoch, progress.batch = progress.epoch + 1, 0
            right = torch.stack(rights).sum() if rights else None
            pieces: dict[str, Tensor] = {}
            if outcome.parts:
                loss, *others = loss.unbind()
                pieces = dict(zip(outcome.parts, others, strict=True))
            yield StepOutput(loss, samples, known, norm, waited, right, updated, pieces)
            if epoch_ends:
                break


def _share(of_samples: float, counts: list[Tensor], batches: int, count: Tensor | None) -> float | Tensor:
    """By how much the mean loss of a batch counts in a step of several: weighted, they are one big batch, also when the
    last one is smaller.

    Args:
        of_samples: its share of the samples.
        counts: what the loss counts in the batches before it.
        count: what it counts in this one, where that is not samples.
    """
    # Of how many in all is not known before the last one: until then it is estimated.
    return of_samples if count is None else count / _expected([*counts, count], batches)


def _expected(counts: list[Tensor], batches: int) -> Tensor:
    """How many there are in all batches of a step if each has as many as the first that has any; shape ()."""
    first = reduce(lambda one, next_one: torch.where(one > 0, one, next_one), counts)
    return torch.where(first > 0, first * batches, 1)


def fit(
    parts: Parts,
    plan: Plan,
    progress: Progress,
    *,
    sink: Sink,
    save: Callable[[bool], None],
    stop: Callable[[], bool],
    save_asked: Callable[[], bool] = lambda: False,
    out_of_time: Callable[[], bool] = lambda: False,
    judge: Callable[[float], None] = lambda loss: None,
) -> None:
    """Train to the last step; report, evaluate and save when each is due.

    Args:
        save: writes a checkpoint; told whether it is the best so far.
        stop: asked between steps; once true, the run is saved and the function returns.
        save_asked: asked between steps; while true, a checkpoint is due whatever the plan says.
        out_of_time: asked after every step; once true, the run is saved as well, and the function returns.
        judge: told the mean training loss after every epoch and at the end; raises DivergedError.

    Raises:
        DivergedError: the loss, the gradient or val/loss is not finite, or most steps were skipped. No state in which
            a loss is not finite is ever saved.
    """
    meter = Meter(progress, plan.batches_per_epoch)
    steps = train_steps(parts, plan, progress, lambda text: sink.write(NoteRecord(text, "warning")))
    begun = progress.step
    saved = (progress.step, progress.evaluated)  # a resumed run stands at a checkpoint
    while True:
        # What is due at this step, which is also where a resumed run may have been interrupted.
        finished, best = plan.finished(progress), False
        over = progress.step > begun and out_of_time()
        if (
            parts.val
            and progress.evaluated < progress.step
            and due(progress.step, every=plan.eval_every, last=finished)
        ):
            _read(meter, parts, plan)
            best = validate(parts, plan, progress, sink, stop)
            finished = plan.finished(progress)
        is_due = due(progress.step, every=plan.save_every, last=finished or over) or save_asked()
        here = (progress.step, progress.evaluated)
        if here != saved and (best or is_due or stop()):
            _read(meter, parts, plan)
            save(best)
            saved = here
        if finished or over or (stop() and here == saved):
            if progress.step > begun and not stop():
                _check_skipped(progress)
                judge(meter.lasting_loss())
            return

        meter.start()
        lr = parts.optimizer.param_groups[0]["lr"]
        output = next(steps)
        if output.updated:
            meter.add(output, lr)
        else:
            _skipped(plan, progress, sink)
        epoch_ends = progress.batch == 0
        if due(progress.step, every=plan.log_every, last=epoch_ends or plan.finished(progress)):
            norm = _read(meter, parts, plan, output.grad_norm)
            sink.write(meter.train_record(norm))
            if step := meter.empty_step():
                text = f"nothing counts in the batch of step {step}, such as pixels that are all ignored: its loss is 0"
                sink.write(NoteRecord(text, "warning"))
        if epoch_ends:
            loss = meter.lasting_loss()
            sink.write(meter.epoch_record())
            judge(loss)


def _skipped(plan: Plan, progress: Progress, sink: Sink) -> None:
    text = f"the loss or a gradient is not finite: step {progress.step} is skipped, {progress.skipped} in all"
    if plan.max_skipped is not None and progress.skipped > plan.max_skipped:
        raise DivergedError(f"{text}, more than train.max_skipped")
    sink.write(NoteRecord(text, "warning"))


def _check_skipped(progress: Progress) -> None:
    if progress.skipped > MOST_SKIPPED * progress.step:
        raise DivergedError(
            f"the loss or a gradient was not finite in {progress.skipped} of {progress.step} steps, which were skipped"
        )


def _read(meter: Meter, parts: Parts, plan: Plan, norm: Tensor | None = None) -> float:
    """Let the meter read. Where nothing is clipped, the norm is taken only now: the gradients are still there."""
    norm = grad_norm(trained(parts)) if norm is None else norm
    if parts.precision.collapsed():
        raise DivergedError("the gradients have overflowed fp16 at every step for a while; use train.precision=bf16")
    return meter.read(norm, may_overflow=parts.precision.scaler is not None or plan.max_skipped is not None)


def validate(parts: Parts, plan: Plan, progress: Progress, sink: Sink, stop: Callable[[], bool]) -> bool:
    """Evaluate on the val split and remember what follows from it; gives whether this is the best so far.

    A value of the monitored metric that is no number, such as AUROC without samples of a class, counts for nothing.

    Raises:
        DivergedError: val/loss is not finite.
    """
    assert parts.val is not None
    started = time.perf_counter()
    averaged = replace(parts, model=parts.ema.model) if parts.ema else parts
    metrics = evaluate(averaged, parts.val, stop)
    if metrics is None:
        return False
    value, loss = metrics[plan.monitor], metrics["loss"]
    counts = math.isfinite(value) and math.isfinite(loss)
    sign = 1 if plan.mode == "max" else -1
    # As good counts as best: on a small val split accuracy is soon the same, and the later weights have seen more.
    best = counts and (progress.best is None or sign * value >= sign * progress.best)
    # The patience is with real improvements: measured from the last one, so that many small ones add up.
    since = progress.improved_to
    if best and (since is None or sign * value > sign * since + plan.min_delta):
        progress.improved_to, progress.bad_evals = value, 0
    elif counts:
        progress.bad_evals += 1
    if best:
        progress.best, progress.best_step = value, progress.step
    progress.evaluated = progress.step
    progress.stopped_early = plan.patience is not None and progress.bad_evals >= plan.patience
    if counts:
        parts.scheduler.observe(value)
    epoch = plan.epoch_at(progress.step)
    sink.write(EvalRecord(progress.step, epoch, "val", metrics, best, time.perf_counter() - started))
    if not math.isfinite(loss):
        lr = parts.optimizer.param_groups[0]["lr"]
        raise DivergedError(f"val/loss is {loss} after step {progress.step} (epoch {epoch:.3g}, learning rate {lr:g})")
    for name in metrics:
        if not math.isfinite(metrics[name]) and name not in progress.undefined:
            progress.undefined.append(name)
            text = (
                f"val/{name} is {metrics[name]} at step {progress.step}; a value that is no number counts for nothing"
            )
            sink.write(NoteRecord(f"{text} (is the metric defined for these val samples?)", "warning"))
    return best


Watch = Callable[[Batch, LossOutput], None]
"""Sees every batch of an evaluation, ready for the model, and what the loss made of it."""


def evaluate(
    parts: EvalParts,
    loader: Loader,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda batch, outcome: None,
) -> dict[str, float] | None:
    """`loss`, its parts (`loss_NAME`) and the metrics over all samples of a loader, each a sum divided once: over
    samples, or what else the loss counts.

    Gives None when `stop` asks in between: nothing is half-counted. What is drawn meanwhile is the same every time, and
    shifts no other stream.
    """
    for metric in parts.metrics.values():
        metric.reset()
    total = torch.zeros((), device=parts.device, dtype=sum_dtype(parts.device))
    pieces: dict[str, Tensor] = {}
    count: int | Tensor = 0
    with seeding.generators_restored(parts.device), evaluating(trained(parts)), torch.no_grad():
        seeding.seed_global(0)
        seeding.reseed(parts.device, 0, "evaluation")
        for batch in loader.epoch():
            if stop():
                return None
            batch = parts.prepare(batch, None)
            with parts.precision.autocast():
                outcome = parts.loss_fn(parts.model, batch)
            counted = len(batch.index) if outcome.count is None else outcome.count
            total += outcome.reported * counted
            for name, part in outcome.parts.items():
                pieces[name] = pieces.get(name, 0) + part.to(total.dtype) * counted
            count += counted
            for metric in parts.metrics.values():
                metric.update(outcome.outputs, batch.targets)
            watch(batch, outcome)
        values = {name: float(metric.compute()) for name, metric in parts.metrics.items()}
    means = {f"loss_{name}": float(piece) / (float(count) or 1.0) for name, piece in pieces.items()}
    return {"loss": float(total) / (float(count) or 1.0), **means, **values}
