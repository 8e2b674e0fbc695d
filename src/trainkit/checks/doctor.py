"""Is this experiment sane? A few short experiments on it, each of which has one answer when all is well."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from trainkit.checks.dataset_summary import summarize_dataset
from trainkit.checks.lr_find import FALL, lr_find, with_lr
from trainkit.checks.overfit import bare, measure, overfit
from trainkit.core.errors import Diagnostic
from trainkit.core.seeding import generators_restored, permutation
from trainkit.core.text import and_more
from trainkit.data import Data, Split, TensorSource, sample_checks
from trainkit.data.subset import subset_of_all
from trainkit.data.workers import cores
from trainkit.experiment.building import Opened, build, warnings
from trainkit.experiment.schema import ExperimentConfig
from trainkit.models.dry_run import evaluating
from trainkit.training.baseline_loss import untrained
from trainkit.training.loop import Parts, Plan, train_steps
from trainkit.training.predictions import predictions_of
from trainkit.training.progress import Progress

SAMPLES = 2000
"""Training samples that the short experiments are made with; half as many val samples."""
STEPS = 200
"""Updates of each of them."""
BY_HEART_STEPS = 1000
"""Updates after which one batch should be known by heart."""
LR_STEPS = 50
"""Updates for each learning rate that is tried."""
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
    "frozen": "they stay as they began, though model.freeze does not ask for that",
    "batch-size": "it is slow, noisy, or not what was asked for",
    "shared-samples": "what the model has seen in training it need not understand: the evaluation flatters it",
    "missing-class": "the model can never learn it",
    "one-class": "always saying the same is right",
    "constant-target": "always saying the same is right",
    "numbers-as-classes": "as classes, 12.3 and 12.4 are as different as 12.3 and 99, and no other number is ever said",
    "unused-files": "what is not taken cannot be learned from",
    "enlarged": "the model computes with pixels that show nothing new",
    "range": "most of what the pictures show is in a few grey levels",
    "float32": "what has become equal, no model can tell apart",
    "class-names": "samples of one class are told apart by how its name is spelled",
    "normalize": "networks learn fastest from numbers around 0 of size 1",
    "large-inputs": "the first layer's gradients are as large as its inputs",
    "large-targets": "the first epochs are spent on reaching the size of the targets",
    "imbalance": "accuracy is high for a model that never says the rare class",
    "contradictions": "no model can tell equal inputs apart",
}
"""Why a suspicion matters."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is wrong."""

    code: str
    seen: str
    why: str
    change: str
    """A line of YAML or an override, where one mends it; otherwise what to look at."""


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found."""

    symptoms: list[Symptom] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    """What was looked at and is as it should be."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine(opened: Opened, look: Callable[[str], None] = lambda what: None) -> Examination:
    """Examine an experiment in minutes.

    Args:
        look: told what comes next.
    """
    found = Examination()
    with generators_restored():
        look("data")
        unit = opened.experiment.loader.batch_size * opened.experiment.train.accumulate
        small = subset_of_all(opened.data, max(1, SAMPLES // unit) * unit)
        _diagnostics(opened, small, found)
        few = replace(opened, data=small)
        look("the loss at the start, and the gradients")
        _start(few, found)
        _gradients(few, found)
        look("learning rate")
        few = replace(few, experiment=with_lr(opened.experiment, _learning_rate(few, found)))
        look("one batch by heart")
        memorized = _one_batch(few, found)
        look("activations, and shuffled labels as a control")
        _control(few, memorized, found)
        look("waiting for data")
        _waiting(opened, found)
    return found


def _diagnostics(opened: Opened, small: Data, found: Examination) -> None:
    """What looking alone finds: `check`, `data`, and samples in two splits that had to be decoded to be compared."""
    parts, plan = build(opened.experiment, opened.data, opened.device)
    every = [
        *warnings(opened.experiment, opened.data, parts, plan),
        *summarize_dataset(opened).findings,
        *sample_checks.diagnostics(small),
    ]
    seen: set[tuple[str, str]] = set()
    for one in every:
        split = next((name for name in (" val ", " test ") if name in one), "")
        if (one.code, split) in seen:  # a part's numbers would only repeat those of the whole
            continue
        seen.add((one.code, split))
        if one.code == "weights":  # a last layer that begins anew is what fine-tuning is
            found.sound.append(one.removeprefix("model.weights: "))
        else:
            found.symptoms.append(_of_suspicion(one, opened.experiment))
    if not any(code == "shared-samples" for code, _ in seen):
        found.sound.append("no sample is in two splits, as far as was looked")


def _of_suspicion(one: Diagnostic, experiment: ExperimentConfig) -> Symptom:
    seen, _, advice = one.partition("; ")
    default = type(experiment.optimizer).model_fields["lr"].default
    changes = {"unusual-lr": f"optimizer.lr={default:g}", "shared-samples": "remove them from one of the two"}
    change = changes.get(one.code) or advice.removeprefix("try ") or "the value that is named, unless it is meant"
    return Symptom(one.code, seen, WHY.get(one.code, "it is probably not what was meant"), change)


def _start(opened: Opened, found: Examination) -> None:
    experiment, target = opened.experiment, opened.data.spec.target
    if target.kind == "regression" and target.transform == "none":  # in whatever unit: no loss is to be expected
        return
    parts, _ = _bare(opened)
    loss, _ = measure(parts, experiment.loader.eval_loader(opened.data.train, opened.device))
    expected = untrained(parts.loss_fn, opened.data.train, experiment.loss.num_outputs(target))
    if expected is None:
        return
    knows = experiment.model.weights != "none"  # what it begins with has learned something already
    if expected / START < loss < expected * START or (knows and loss < expected):
        found.sound.append(f"the loss at the start is {loss:.3g}; outputs of 0 would cost {expected:.3g}")
        return
    found.symptoms.append(
        Symptom(
            "start",
            f"model: the loss at the start is {loss:.4g}, where outputs of 0 would cost {expected:.3g}",
            "a fresh model should not be sure of anything; the first steps are spent on unlearning it",
            "data.normalize=auto for pictures, or smaller weights in the last layer",
        )
    )


def _bare(opened: Opened) -> tuple[Parts, Plan]:
    experiment = bare(opened.experiment, opened.data.spec.target, len(opened.data.train))
    return build(experiment, opened.data, opened.device)


def _gradients(opened: Opened, found: Examination) -> None:
    parts, plan = _bare(opened)
    sizes: dict[str, float] = {}
    for _ in islice(train_steps(parts, plan, Progress()), 3):
        for name, parameter in parts.model.named_parameters():
            here = 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
            sizes[name] = max(sizes.get(name, 0.0), here)
    learning = {name for name, parameter in parts.model.named_parameters() if parameter.requires_grad}
    if silent := [name for name in sizes if name in learning and sizes[name] == 0]:
        found.symptoms.append(
            Symptom(
                "no-gradient",
                f"model: in three steps the gradient of {and_more(silent)} was 0",
                WHY["no-gradient"],
                "look for detach(), argmax, round, and activations that are dead",
            )
        )
    else:
        found.sound.append(f"a gradient reaches all {len(learning)} parameters that are to learn")


def _learning_rate(opened: Opened, found: Examination) -> float:
    """Gives a rate with which something can be learned, so that a wrong one does not hide what else is wrong."""
    lr = opened.experiment.optimizer.lr
    parts, plan = _bare(opened)
    loader = opened.experiment.loader.eval_loader(opened.data.train, opened.device)
    before, _ = measure(parts, loader)
    for _ in islice(train_steps(parts, plan, Progress()), LR_STEPS):
        pass
    after, _ = measure(parts, loader)
    moved = f"the loss goes from {before:.4g} to {after:.4g} in {LR_STEPS} steps"
    knows = opened.experiment.model.weights != "none" and after <= before  # slow is how fine-tuning goes
    if after < (1 - FALL) * before or knows:
        found.sound.append(f"learning rate {lr:g}: {moved}")
        return lr
    curve = lr_find(opened, low=1e-5, high=1.0, steps=LR_STEPS)
    best = curve.suggestion
    rises = not after <= 1.05 * before
    if best is None or best == lr or rises == (best > lr):
        found.symptoms.append(
            Symptom(
                "no-learning",
                f"train: with a learning rate of {lr:g} {moved}, and other rates do no better",
                "so little learned in so many steps has another cause than the rate",
                "look at the other findings, and at the data: trainkit data CONFIG",
            )
        )
        return lr
    why = "each step overshoots what it aims at" if rises else "a long training would be over before it has begun"
    found.symptoms[:] = [one for one in found.symptoms if one.code != "unusual-lr"]  # this one says more
    found.symptoms.append(Symptom("lr", f"optimizer.lr: with {lr:g} {moved}", why, f"optimizer.lr={best:g}"))
    return best


def _one_batch(opened: Opened, found: Examination) -> bool:
    samples = min(opened.experiment.loader.batch_size, len(opened.data.train))
    learned = overfit(opened, samples=samples, max_steps=BY_HEART_STEPS)
    if learned.memorized or learned.still_learning:
        what = (
            "is learned by heart" if learned.memorized else f"is learned to {learned.score:.1%}, and better and better,"
        )
        found.sound.append(f"one batch of {learned.samples} {what} in {learned.steps} steps")
        return True
    found.symptoms.append(
        Symptom(
            "by-heart",
            f"model: of one batch of {learned.samples}, {learned.score:.1%} is right after {learned.steps} steps",
            "what cannot learn a single batch by heart will not learn the whole",
            "; ".join(learned.causes),
        )
    )
    return False


def _control(opened: Opened, memorized: bool, found: Examination) -> None:
    """Train on real and on shuffled labels: where the val samples cost the same after both, labels and inputs have
    nothing in common."""
    data = opened.data
    parts, real = _trained(opened, data)
    _activations(parts, data, found)
    source = data.train.source
    if data.val is None or len(data.val) < FEWEST_VAL or not memorized or not isinstance(source, TensorSource):
        return
    targets = data.train.targets
    order = permutation(len(targets), 0, "control")
    shuffled = TensorSource(source.inputs[data.train.index], targets[order])
    _, control = _trained(opened, replace(data, train=Split(shuffled, torch.arange(len(targets)))))
    gained = (control - real).double()
    certain = float(gained.mean()) > CERTAIN * float(gained.std()) / math.sqrt(len(gained))
    compared = f"the val loss is {float(real.mean()):.3g}, after learning shuffled labels {float(control.mean()):.3g}"
    if certain:
        found.sound.append(compared)
        return
    found.symptoms.append(
        Symptom(
            "labels",
            f"data: after {STEPS} steps {compared}",
            "the labels say nothing about the inputs, as far as this model can tell; perhaps they got mixed up",
            "compare pictures and labels: trainkit data CONFIG",
        )
    )


def _trained(opened: Opened, data: Data) -> tuple[Parts, Tensor]:
    """The parts after a short training, and the error of each val sample; of each training sample without any."""
    parts, plan = _bare(replace(opened, data=data))
    for _ in islice(train_steps(parts, plan, Progress()), STEPS):
        pass
    loader = opened.experiment.loader.eval_loader(data.val or data.train, opened.device)
    answers = predictions_of(parts, loader, data.spec.target)
    assert answers is not None
    return parts, answers.errors().cpu()


LIMITS: tuple[tuple[type[nn.Module], str, Callable[[Tensor], Tensor]], ...] = (
    (nn.ReLU, "are 0 for every sample", lambda values: values == 0),
    (nn.Tanh, "are beyond 0.99 for every sample", lambda values: values.abs() > 0.99),
    (nn.Sigmoid, "are at 0 or 1 for every sample", lambda values: (values - 0.5).abs() > 0.49),
)
"""Activations, and where they let no gradient through."""


def _activations(parts: Parts, data: Data, found: Examination) -> None:
    """Channels that are stuck, after a short training, for all of some hundred samples."""
    stuck: dict[str, tuple[float, str]] = {}

    def look(name: str, said: str, is_stuck: Tensor) -> None:
        # Of pictures and volumes the channels are the second axis, of all else the last one.
        channels = is_stuck.movedim(1, -1) if is_stuck.ndim in (4, 5) else is_stuck
        channels = channels.reshape(-1, channels.shape[-1] if channels.ndim > 1 else 1).all(0)
        stuck[name] = (float(channels.float().mean()), said)  # no doubles: mps has none

    handles = [
        module.register_forward_hook(
            lambda module, args, made, name=f"layer {name} ({kind.__name__})", said=said, limit=limit: look(
                name, said, limit(made)
            )
        )
        for name, module in parts.model.named_modules()
        for kind, said, limit in LIMITS
        if isinstance(module, kind)
    ]
    batch = parts.prepare(data.train.take(torch.arange(min(len(data.train), 256))), None)
    with evaluating(parts.model), torch.no_grad():
        parts.loss_fn(parts.model, batch)
    for handle in handles:
        handle.remove()
    bad = {name: one for name, one in stuck.items() if one[0] > DEAD}
    for name, (share, said) in bad.items():
        found.symptoms.append(
            Symptom(
                "dead-activations",
                f"model: after {STEPS} steps {share:.0%} of the channels of {name} {said}",
                "no gradient passes through them: what lies before them no longer learns",
                "smaller inputs or weights at the start, a lower learning rate, or leaky_relu in its place",
            )
        )
    if stuck and not bad:
        worst = max(share for share, _ in stuck.values())
        found.sound.append(f"at most {worst:.0%} of the channels of an activation are stuck")


def _waiting(opened: Opened, found: Examination) -> None:
    """The share of an epoch that is spent waiting for data, and whether other numbers of workers are faster."""
    if isinstance(opened.data.train.source, TensorSource):
        found.sound.append("the data lies in memory; no step waits for it")
        return
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
        found.sound.append("an epoch is too short to tell how long it waits for data")
        return
    if (share := waited / took) <= WAITING:
        found.sound.append(f"{share:.0%} of the time is spent waiting for data")
        return
    rates = {workers: _samples_per_s(opened, workers) for workers in sorted({0, 1, cores()})}
    best = max(rates, key=rates.__getitem__)
    measured = ", ".join(f"{rate:,.0f} with {workers}" for workers, rate in rates.items())
    cache = ", and data.cache=true for later epochs" if hasattr(opened.experiment.data, "cache") else ""
    found.symptoms.append(
        Symptom(
            "waiting",
            f"loader.num_workers: {share:.0%} of the time is spent waiting for data (samples/s by workers: {measured})",
            "the model could learn in less time than its data takes to decode",
            f"loader.num_workers={best}{cache}",
        )
    )


def _samples_per_s(opened: Opened, workers: int) -> float:
    """How fast the loader is alone."""
    loader = opened.experiment.loader.model_copy(update={"num_workers": workers})
    batches = loader.train_loader(opened.data.train, 0, opened.device).epoch()
    samples = 0
    next(batches)
    began = time.monotonic()
    for batch in batches:
        samples += len(batch.index)
        if time.monotonic() - began > TIMED_S:
            break
    return samples / max(time.monotonic() - began, 1e-9)


def lines(found: Examination) -> list[str]:
    """What was found as text."""
    said: list[str] = []
    for one in found.symptoms:
        said += [f"[{one.code}] {one.seen}", f"    why     {one.why}", f"    change  {one.change}", ""]
    count = len(found.symptoms)
    said += [
        f"{count} thing{'s' * (count != 1)} to change" if count else "nothing to change",
        *(f"  fine: {one}" for one in found.sound),
    ]
    return said
