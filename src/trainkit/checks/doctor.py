"""Is this experiment sane? A few short experiments on it, each of which has a known outcome when all is well.

One file, since each experiment begins with what the one before has found; the reasons take a tenth of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from trainkit.checks.dataset_summary import summarize_dataset
from trainkit.checks.linear_model import linear_model
from trainkit.checks.lr_find import FALL, lr_find, rates, with_lr
from trainkit.checks.overfit import bare, measure, overfit
from trainkit.core import nest
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.seeding import generators_restored, permutation
from trainkit.core.text import and_more, format_duration, format_metric
from trainkit.data import Data, Split, TensorSource, sample_checks
from trainkit.data.subset import subset_of_all
from trainkit.data.workers import cores
from trainkit.experiment.building import Opened, build, warnings
from trainkit.experiment.rules import metrics_of, monitored
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.dry_run import evaluating
from trainkit.training.baseline_loss import untrained
from trainkit.training.loop import Parts, Plan, train_steps
from trainkit.training.predictions import Predictions, predictions_of
from trainkit.training.progress import Progress
from trainkit.training.yardstick import value_of, without_name, yardsticks

SAMPLES = 2000
"""Training samples that the short experiments are made with; half as many val samples."""
STEPS = 200
"""Updates of each of them."""
MEMORISING_STEPS = 1000
"""Updates after which one batch should be memorised."""
LR_STEPS = 50
"""Updates for each learning rate that is tried."""
LOWEST, HIGHEST = 1e-5, 1.0
"""Of those that are tried."""
START = 1.5
"""A loss at the start so many times as high as that of outputs which are all 0, or as low, is not usual."""
DEAD = 0.9
"""Of an activation's channels. With ReLU, half of them may well be 0 for every sample of a simple task."""
FEWEST_VAL = 50
"""With fewer val samples, labels that got mixed up cannot be told from bad luck."""
CERTAIN = 2.0
"""Standard errors by which real labels have to beat shuffled ones."""
WAITING = 0.2
"""Of the time of an epoch."""
ENOUGH_S = 1.0
"""Of steps; in less time, the start of the workers is all that is seen."""
TIMED_S = 5.0
"""For each number of workers that is tried."""

WHY = {
    "constant": "what was learned is not worth more than looking at no input at all",
    "no-logits": "the loss applies it once more; the gradients nearly vanish, and the model hardly learns",
    "no-answers": "no class, label or number is among them, or only the loss knows how to find it",
    "no-activation": "two linear layers in a row are one linear layer with more parameters",
    "no-gradient": "what gets no gradient stays as random as it began",
    "plain-list": "torch does not see these layers: they are neither trained nor saved",
    "plain-tensor": "it stays on the CPU and is missing in every checkpoint",
    "unusual-lr": "too low a rate learns nothing in the time given, too high a one forgets what it has learned",
    "vanishing-lr": "with next to no learning rate the last epochs change nothing",
    "idle-scheduler": "the learning rate stays as it is: the scheduler has no effect",
    "idle-early-stopping": "it has no effect",
    "long-warmup": "most of the run is spent below the learning rate that was chosen",
    "large-val": "what is held out cannot be learned from",
    "no-val": "what the model makes of samples that it has not seen stays unknown",
    "frozen": "they stay as they began, though model.freeze does not ask for that",
    "batch-size": "it is slow, noisy, or not what was asked for",
    "shared-samples": "what the model has seen in training it need not understand: the evaluation flatters it",
    "missing-class": "the model can never learn it",
    "one-class": "a constant prediction is right",
    "ignored-pictures": "nothing is learned from them",
    "constant-target": "a constant prediction is right",
    "numbers-as-classes": "as classes, 12.3 and 12.4 are as different as 12.3 and 99, and no other number is predicted",
    "unused-files": "what is not taken cannot be learned from",
    "enlarged": "the model computes with pixels that show nothing new",
    "range": "most of what the pictures show is in a few grey levels",
    "float32": "what has become equal, no model can tell apart",
    "class-names": "samples of one class are told apart by how its name is spelled",
    "normalize": "networks learn fastest from numbers around 0 of size 1",
    "large-inputs": "the first layer's gradients are as large as its inputs",
    "large-targets": "the first epochs are spent on reaching the size of the targets",
    "imbalance": "accuracy is high for a model that never predicts the rare class",
    "contradictions": "no model can tell equal inputs apart",
}
"""Why a diagnostic matters."""


def examine(opened: Opened, announce: Callable[[str], None] = lambda what: None) -> list[Diagnostic]:
    """Examine an experiment in minutes: what is wrong, with `why` and `change`, and what is `fine`.

    Args:
        announce: told how long it may take, then what comes next.
    """
    with generators_restored():
        unit = opened.experiment.loader.batch_size * opened.experiment.train.accumulate
        small = subset_of_all(opened.data, max(1, SAMPLES // unit) * unit)
        few = replace(opened, data=small)
        announce(_how_long(few))
        announce("looking at: data")
        found = list(_diagnostics(opened, small))
        announce("looking at: the loss at the start, and the gradients")
        found += [*_start(few), _gradients(few)]
        announce("looking at: learning rate")
        lr, learning = _learning_rate(few)
        if learning.code == "lr":  # which says more
            found = [one for one in found if one.code != "unusual-lr"]
        few = replace(few, experiment=with_lr(opened.experiment, lr))
        announce("looking at: memorising one batch")
        found += [learning, memorised := _one_batch(few, rate_is_told=learning.code == "lr")]
        announce("looking at: a constant prediction, activations, and shuffled labels as a control")
        parts, real = _trained(few, few.data)
        found.insert(0, _yardstick(few, real))
        found += [*_activations(parts, few.data), *_control(few, real, memorised.level == "fine")]
        announce("looking at: waiting for data")
        found.append(_waiting(opened))
    return found


def _how_long(opened: Opened) -> str:
    """An upper bound, by the time of three steps after one in which workers start and kernels are chosen."""
    parts, plan = _bare(opened)
    steps = train_steps(parts, plan, Progress())
    for number, output in enumerate(islice(steps, 4)):
        float(output.loss)  # a device has done its work only when it is asked for it
        if number == 0:
            began = time.monotonic()
    step_s = (time.monotonic() - began) / 3
    most = LR_STEPS + MEMORISING_STEPS + STEPS * (2 if opened.data.val else 1)
    more = len(rates(LOWEST, HIGHEST)) * LR_STEPS * step_s
    return (
        f"at most {most:,} steps, about {format_duration(most * step_s)}, and {format_duration(more)} more where other "
        "learning rates have to be tried"
    )


def wrong(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Those that are to be changed."""
    return [one for one in found if one.level != "fine"]


def to_plain(found: Sequence[Diagnostic]) -> dict[str, Any]:
    """For JSON."""
    symptoms = [{"code": one.code, "seen": one.text, "why": one.why, "change": one.change} for one in wrong(found)]
    return {"symptoms": symptoms, "sound": [one.text for one in found if one.level == "fine"]}


def _fine(text: str) -> Diagnostic:
    return Diagnostic(code="fine", text=text, level="fine")


def _diagnostics(opened: Opened, small: Data) -> Iterator[Diagnostic]:
    """What looking alone finds: `check`, `data`, and samples in two splits that had to be decoded to be compared."""
    parts, plan = build(opened.experiment, opened.data, opened.device)
    every = [
        *warnings(opened.experiment, opened.data, parts, plan),
        *summarize_dataset(opened).findings,
        *sample_checks.diagnostics(small),
    ]
    seen: set[tuple[str, str]] = set()
    for one in every:
        split = next((name for name in (" val ", " test ") if name in one.text), "")
        if (one.code, split) in seen:  # a part's numbers would only repeat those of the whole
            continue
        seen.add((one.code, split))
        if one.code == "weights":  # a re-initialised head is what fine-tuning is
            yield _fine(one.text.removeprefix("model.weights: "))
        else:
            yield _explained(one, opened.experiment)
    if not any(code == "shared-samples" for code, _ in seen):
        yield _fine("no sample is in two splits, as far as was looked")


def _explained(one: Diagnostic, experiment: ExperimentConfig) -> Diagnostic:
    """With the reason, and the advice at the end of its text for itself."""
    text, _, advice = one.text.partition("; ")
    default = type(experiment.optimizer).model_fields["lr"].default
    changes = {"unusual-lr": f"optimizer.lr={default:g}", "shared-samples": "remove them from one of the two"}
    change = changes.get(one.code) or advice.removeprefix("try ") or "the value that is named, unless it is meant"
    return Diagnostic(one.code, text, why=WHY.get(one.code, "it is probably not what was meant"), change=change)


def _start(opened: Opened) -> Iterator[Diagnostic]:
    experiment, task = opened.experiment, opened.data.spec.task
    if not task.knows_nothing_at_0:  # no loss is to be expected
        return
    parts, _ = _bare(opened)
    loss, _ = measure(parts, experiment.loader.eval_loader(opened.data.train, opened.device), task)
    expected = untrained(parts.loss_fn, opened.data.train, task, experiment.loss.num_outputs(task))
    if expected is None:
        return
    knows = experiment.model.weights != "none"  # what it begins with has learned something already
    if expected / START < loss < expected * START or (knows and loss < expected):
        yield _fine(f"the loss at the start is {loss:.3g}; outputs of 0 would cost {expected:.3g}")
        return
    yield Diagnostic(
        "start",
        f"model: the loss at the start is {loss:.4g}, where outputs of 0 would cost {expected:.3g}",
        why="a fresh model should not be confident of anything; the first steps are spent on unlearning it",
        change="data.normalize=auto for pictures, or smaller weights in the last layer",
    )


def _bare(opened: Opened) -> tuple[Parts, Plan]:
    experiment = bare(opened.experiment, opened.data.spec.task, len(opened.data.train))
    return build(experiment, opened.data, opened.device)


def _gradients(opened: Opened) -> Diagnostic:
    parts, plan = _bare(opened)
    sizes: dict[str, float] = {}
    for _ in islice(train_steps(parts, plan, Progress()), 3):
        for name, parameter in parts.model.named_parameters():
            here = 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
            sizes[name] = max(sizes.get(name, 0.0), here)
    learning = {name for name, parameter in parts.model.named_parameters() if parameter.requires_grad}
    if silent := [name for name in sizes if name in learning and sizes[name] == 0]:
        return Diagnostic(
            "no-gradient",
            f"model: in three steps the gradient of {and_more(silent)} was 0",
            why=WHY["no-gradient"],
            change="look for detach(), argmax, round, and activations that are dead",
        )
    return _fine(f"a gradient reaches all {len(learning)} parameters that are to learn")


def _learning_rate(opened: Opened) -> tuple[float, Diagnostic]:
    """Gives a rate with which something can be learned, so that a wrong one does not hide what else is wrong."""
    lr = opened.experiment.optimizer.lr
    parts, plan = _bare(opened)
    loader = opened.experiment.loader.eval_loader(opened.data.train, opened.device)
    before, _ = measure(parts, loader, opened.data.spec.task)
    for _ in islice(train_steps(parts, plan, Progress()), LR_STEPS):
        pass
    after, _ = measure(parts, loader, opened.data.spec.task)
    moved = f"the loss goes from {before:.4g} to {after:.4g} in {LR_STEPS} steps"
    knows = opened.experiment.model.weights != "none" and after <= before  # slow is how fine-tuning goes
    if after < (1 - FALL) * before or knows:
        return lr, _fine(f"learning rate {lr:g}: {moved}")
    curve = lr_find(opened, low=LOWEST, high=HIGHEST, steps=LR_STEPS)
    best = curve.suggestion
    rises = not after <= 1.05 * before
    if best is None or best == lr or rises == (best > lr):
        return lr, Diagnostic(
            "no-learning",
            f"train: with a learning rate of {lr:g} {moved}, and other rates do no better",
            why="so little learned in so many steps has another cause than the rate",
            change="look at the other findings, and at the data: trainkit data CONFIG",
        )
    why = "each step overshoots what it aims at" if rises else "a long training would be over before it has begun"
    return best, Diagnostic("lr", f"optimizer.lr: with {lr:g} {moved}", why=why, change=f"optimizer.lr={best:g}")


def _one_batch(opened: Opened, *, rate_is_told: bool) -> Diagnostic:
    samples = min(opened.experiment.loader.batch_size, len(opened.data.train))
    learned = overfit(opened, samples=samples, max_steps=MEMORISING_STEPS)
    if learned.memorised or learned.still_learning:
        what = "is memorised" if learned.memorised else f"is learned to {learned.score:.1%}, and better and better,"
        return _fine(f"one batch of {learned.samples} {what} in {learned.steps} steps")
    return Diagnostic(
        "by-heart",
        f"model: of one batch of {learned.samples}, {learned.score:.1%} is right after {learned.steps} steps",
        why="what cannot memorise a single batch will not learn the whole",
        # Of one learning rate two things would be advised.
        change="; ".join(one for one in learned.causes if not (rate_is_told and one.startswith("optimizer.lr")))
        or "what is said of the learning rate",
    )


def _yardstick(opened: Opened, predictions: Predictions) -> Diagnostic:
    """Compare what was learned in a short training with a constant prediction, and of a table with a linear model."""
    experiment, data = opened.experiment, opened.data
    metrics = metrics_of(experiment, data.spec)
    monitor, _ = monitored(experiment, data.spec)
    metric = next((one for one in metrics if one.label == monitor), metrics[0])
    task, num_outputs = data.spec.task, experiment.loss.num_outputs(data.spec.task)
    split, where = (data.train, "train") if data.val is None else (data.val, "val")
    said, targets = f"{where}/{metric.label}", nest.cpu(predictions.targets)
    try:
        value = value_of(metric, task, num_outputs, nest.cpu(predictions.outputs), targets)
    except Exception:  # a user's own metric may ask for other outputs than those that are kept
        return _fine(f"{said} is not known after {STEPS} steps")
    beside = yardsticks({metric.label: value}, [metric], task, num_outputs, data.train.targets, targets)[metric.label]
    linear = linear_model(data, [metric], split)
    text = f"after {STEPS} steps {format_metric(said, value)}"
    text += f"; a constant prediction gives {beside.said(said)}" if beside.constant is not None else ""
    text += f"; a linear model gives {without_name(said, linear[metric.label])}" if linear else ""
    if beside.constant is None or beside.beaten_by(value, metric.mode):
        return _fine(text)
    return Diagnostic(
        "constant", text, why=WHY["constant"], change="what is found below; else more data, or other inputs"
    )


def _control(opened: Opened, trained: Predictions, memorised: bool) -> Iterator[Diagnostic]:
    """Train on shuffled labels as well: where the val samples cost the same as after real ones, labels and inputs have
    nothing in common."""
    data, real = opened.data, trained.errors().cpu()
    source = data.train.source
    if data.val is None or len(data.val) < FEWEST_VAL or not memorised or not isinstance(source, TensorSource):
        return
    order = permutation(len(data.train), 0, "control")
    shuffled = TensorSource(nest.take(source.inputs, data.train.index), nest.take(data.train.targets, order))
    _, other = _trained(opened, replace(data, train=Split.whole(shuffled)))
    control = other.errors().cpu()
    gained = (control - real).double()
    certain = float(gained.mean()) > CERTAIN * float(gained.std()) / math.sqrt(len(gained))
    compared = f"the val loss is {float(real.mean()):.3g}, after learning shuffled labels {float(control.mean()):.3g}"
    if certain:
        yield _fine(compared)
        return
    yield Diagnostic(
        "labels",
        f"data: after {STEPS} steps {compared}",
        why="the labels say nothing about the inputs, as far as this model can tell; perhaps they got mixed up",
        change="compare pictures and labels: trainkit data CONFIG",
    )


def _trained(opened: Opened, data: Data) -> tuple[Parts, Predictions]:
    """The parts after a short training, and what they say of the val samples; of the training samples without any."""
    parts, plan = _bare(replace(opened, data=data))
    for _ in islice(train_steps(parts, plan, Progress()), STEPS):
        pass
    loader = opened.experiment.loader.eval_loader(data.val or data.train, opened.device)
    predictions = predictions_of(parts, loader, data.spec.task)
    assert predictions is not None
    return parts, predictions


Limit = Callable[[Tensor], Tensor]
LIMITS: tuple[tuple[type[nn.Module], str, Limit], ...] = (
    (nn.ReLU, "are 0 for every sample", lambda values: values == 0),
    (nn.Tanh, "are beyond 0.99 for every sample", lambda values: values.abs() > 0.99),
    (nn.Sigmoid, "are at 0 or 1 for every sample", lambda values: (values - 0.5).abs() > 0.49),
)
"""Activations, and where they let no gradient through."""


def _activations(parts: Parts, data: Data) -> Iterator[Diagnostic]:
    """Channels that are stuck, after a short training, for all of some hundred samples."""
    stuck: dict[str, tuple[float, str]] = {}

    def record(name: str, state: str, limit: Limit, module: nn.Module, _args: object, made: Tensor) -> None:
        # Of pictures and volumes the channels are the second axis, of all else the last one.
        at_limit = limit(made)
        channels = at_limit.movedim(1, -1) if at_limit.ndim in (4, 5) else at_limit
        channels = channels.reshape(-1, channels.shape[-1] if channels.ndim > 1 else 1).all(0)
        share = float(channels.float().mean())  # no doubles: mps has none
        stuck[f"layer {name} ({type(module).__name__})"] = share, state

    batch = parts.prepare(data.train.take(torch.arange(min(len(data.train), 256))), None)
    with ExitStack() as hooks, evaluating(parts.model), torch.no_grad():
        for name, module in parts.model.named_modules():
            for kind, state, limit in LIMITS:
                if isinstance(module, kind):
                    hooks.enter_context(module.register_forward_hook(partial(record, name, state, limit)))
        parts.loss_fn(parts.model, batch)
    bad = {name: one for name, one in stuck.items() if one[0] > DEAD}
    for name, (share, state) in bad.items():
        yield Diagnostic(
            "dead-activations",
            f"model: after {STEPS} steps {share:.0%} of the channels of {name} {state}",
            why="no gradient passes through them: what lies before them no longer learns",
            change="smaller inputs or weights at the start, a lower learning rate, or leaky_relu in its place",
        )
    if stuck and not bad:
        worst = max(share for share, _ in stuck.values())
        yield _fine(f"at most {worst:.0%} of the channels of an activation are stuck")


def _waiting(opened: Opened) -> Diagnostic:
    """The share of an epoch that is spent waiting for data, and whether other numbers of workers are faster."""
    if isinstance(opened.data.train.source, TensorSource):
        return _fine("the data lies in memory; no step waits for it")
    parts, plan = build(opened.experiment, opened.data, opened.device)
    waited, began = 0.0, time.monotonic()
    for number, output in enumerate(islice(train_steps(parts, plan, Progress()), plan.steps_per_epoch)):
        if number == 0:  # for which workers had to be started
            began = time.monotonic()
            continue
        waited += output.waited_s
        if time.monotonic() - began > TIMED_S:
            break
    took = time.monotonic() - began
    if took < ENOUGH_S:
        return _fine("an epoch is too short to tell how long it waits for data")
    if (share := waited / took) <= WAITING:
        return _fine(f"{share:.0%} of the time is spent waiting for data")
    if opened.data.train.is_stream:
        return Diagnostic(
            "waiting",
            f"data: {share:.0%} of the time is spent waiting for the stream",
            why="the run reads it itself, between two steps",
            change="read ahead in a thread of the data set's own",
        )
    rates = {workers: _samples_per_s(opened, workers) for workers in sorted({0, 1, cores()})}
    best = max(rates, key=rates.__getitem__)
    measured = ", ".join(f"{rate:,.0f} with {workers}" for workers, rate in rates.items())
    cache = ", and data.cache=true for later epochs" if hasattr(opened.experiment.data, "cache") else ""
    return Diagnostic(
        "waiting",
        f"loader.num_workers: {share:.0%} of the time is spent waiting for data (samples/s by workers: {measured})",
        why="the model could learn in less time than its data takes to decode",
        change=f"loader.num_workers={best}{cache}",
    )


def _samples_per_s(opened: Opened, workers: int) -> float:
    """How fast the loader is alone."""
    loader = opened.experiment.loader.model_copy(update={"num_workers": workers})
    split, _ = opened.experiment.data.for_training(opened.data.train)
    batches = loader.train_loader(split, 0, opened.device, task=opened.data.spec.task).epoch()
    samples = 0
    next(batches)
    began = time.monotonic()
    for batch in batches:
        samples += len(batch.index)
        if time.monotonic() - began > TIMED_S:
            break
    return samples / max(time.monotonic() - began, 1e-9)


def doctor_lines(found: Sequence[Diagnostic]) -> list[str]:
    """What was found as text."""
    count = len(wrong(found))
    return [
        *(
            line
            for one in wrong(found)
            for line in (f"[{one.code}] {one}", f"    why     {one.why}", f"    change  {one.change}", "")
        ),
        f"{count} thing{'s' * (count != 1)} to change" if count else "nothing to change",
        *(f"  fine: {one}" for one in found if one.level == "fine"),
    ]
