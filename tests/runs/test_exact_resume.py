"""A run that is killed anywhere and resumed, any number of times, is the run that was never interrupted."""

from __future__ import annotations

import functools
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.command import Ended, warm
from tests.failpoints import POINTS
from tests.golden import golden

JOB = """
name: job
data: {name: digits, val: 100, augment: [{name: random_crop, padding: 1}, mixup]}
loader: {batch_size: 32}
model: {name: mlp, hidden: [16], dropout: 0.2}
optimizer: {name: adam, lr: 0.01}
scheduler: cosine
train: {epochs: 3, limit_batches: 8, eval_every: 5, ema: 0.9, early_stopping: {patience: 4}}
log: {every: 4, tensorboard: false}
checkpoint: {every: 3, keep: 2}
"""
"""24 steps of everything that has state, in 0.3 s: saved every 3 steps, evaluated every 5, recorded every 4."""

ACCUMULATE = "train.accumulate=3"
WORKERS = "loader.num_workers=2"
SGD = "optimizer={name: sgd, lr: 0.05, momentum: 0.9}"
PLATEAU = "scheduler={name: plateau, patience: 1, warmup_steps: 3}"
BF16 = "train.precision=bf16"
CNN = "model={name: cnn, channels: [8], hidden: [], norm: batch}"
TABLE = "model={name: table, hidden: [16], members: 3}"
CLIPPED = "train.clip_norm=0.5"
NUMBERS = "data={name: diabetes, val: 0.2}"
MASKS = (
    "data={name: digits_segmentation, samples: 100, test_samples: 16, val: 16, augment: [random_horizontal_flip, "
    "{name: random_crop, padding: 3}]}"
)
UNET = "model={name: unet, channels: [2, 4]}"
DICE = "loss={name: sum, of: [{loss: cross_entropy}, {loss: dice, weight: 0.5}]}"
FEW = "loader.batch_size=8"


def train(*words: str, failpoints: str = "") -> Ended:
    """The real command, with failpoints armed."""
    os.environ["FAILPOINTS"] = failpoints
    try:
        return warm.run(["train", *words, "-q"])
    finally:
        del os.environ["FAILPOINTS"]


def begin(run: Path, *overrides: str, failpoints: str = "") -> Ended:
    config = run.with_suffix(".yaml")
    config.write_text(JOB)
    return train(str(config), *overrides, "--run-dir", str(run), failpoints=failpoints)


def go_on(run: Path, *overrides: str, failpoints: str = "") -> Ended:
    """Resume, or start anew when nothing was saved, as the message says."""
    ended = train("--resume", str(run), failpoints=failpoints)
    if ended.code == 4:
        assert "no checkpoint yet; start anew" in ended.stderr or "no such file or run" in ended.stderr
        assert not (run / "checkpoints" / "last.pt").exists()
        shutil.rmtree(run, ignore_errors=True)
        ended = begin(run, *overrides, failpoints=failpoints)
    return ended


@functools.cache
def undisturbed(*overrides: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as place:
        ended = begin(Path(place, "job"), *overrides)
        assert ended.code == 0, ended
        return golden(Path(place, "job"))


def litter(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".tmp-*")]


STEPS = ("step.before_backward", "step.after_backward", "step.after_optimizer")
SAVES = (
    "ckpt.tmp_open", "ckpt.mid_write", "ckpt.after_write", "ckpt.after_fsync", "ckpt.after_rename",
    "ckpt.after_dirsync", "ckpt.after_history",
)  # fmt: skip
KILLS = [
    # the first step, one in the middle, the last of an epoch, the first of the next, one later, the last of all
    *((point, when) for point in STEPS for when in (1, 4, 8, 9, 15, 24)),
    # the first save, the second, one of a new best, the last
    *((point, when) for point in SAVES for when in (1, 2, 4, 8)),
    ("ckpt.after_dirsync", 3), ("ckpt.after_dirsync", 9),
    *(("ckpt.after_best", when) for when in (1, 2)),
    *(("ckpt.after_removal", when) for when in (1, 3)),
    *(("epoch.end", when) for when in (1, 2, 3)),
    # five on the val split, one on the test split
    *(("eval.mid", when) for when in (1, 2, 5, 6)),
    *(("log.mid_line", when) for when in (1, 6, 20)),
    *(("log.before_flush", when) for when in (1, 3, 8)),
    ("build.data", 1), ("build.model", 1),
]  # fmt: skip


@pytest.mark.parametrize(("point", "when"), KILLS)
def test_killed_anywhere(point: str, when: int, tmp_path: Path) -> None:
    run = tmp_path / "job"
    assert begin(run, failpoints=f"{point}=kill@{when}").code == -9
    assert len(litter(run)) <= 1
    assert go_on(run).code == 0
    assert golden(run) == undisturbed()
    assert litter(run) == []


def test_every_failpoint_of_a_run_is_in_use() -> None:
    used = {point for point, _ in KILLS} | {"resume.before_first_step"}
    assert used == {point for point in POINTS if not point.startswith("sweep.")}


@pytest.mark.parametrize(
    "overrides",
    [
        (ACCUMULATE,),
        (WORKERS,),
        (SGD, PLATEAU),
        ("data.augment=[cutmix]", "train.ema=null"),
        (BF16, CNN, CLIPPED, ACCUMULATE),
        (NUMBERS, "loss=huber", ACCUMULATE),
        (NUMBERS, "loss=mse", "data.target_transform=log", WORKERS),
        (TABLE, "scheduler=coslog", "train.eval_every=5 times", BF16),
        (MASKS, UNET, "loss={name: cross_entropy, weight: balanced}", FEW, BF16, ACCUMULATE),
        (MASKS, UNET, DICE, FEW, WORKERS),
    ],
)
@pytest.mark.parametrize(
    ("point", "when"), [("step.after_backward", 4), ("step.after_optimizer", 5), ("ckpt.mid_write", 2), ("eval.mid", 1)]
)
def test_killed_with_other_parts(point: str, when: int, overrides: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "job"
    assert begin(run, *overrides, failpoints=f"{point}=kill@{when}").code == -9
    assert go_on(run, *overrides).code == 0
    assert golden(run) == undisturbed(*overrides)


@pytest.mark.parametrize("signal", ["term", "int", "hup"])
@pytest.mark.parametrize(
    ("point", "when"),
    [
        *(("step.before_backward", when) for when in (1, 2, 8, 9)), ("step.after_optimizer", 7), ("eval.mid", 2),
        ("ckpt.mid_write", 2), ("ckpt.after_best", 1), ("ckpt.after_rename", 3), ("epoch.end", 1), ("log.mid_line", 5),
    ],
)  # fmt: skip
def test_asked_to_stop_anywhere(point: str, when: int, signal: str, tmp_path: Path) -> None:
    run = tmp_path / "job"
    ended = begin(run, failpoints=f"{point}={signal}@{when}")
    assert ended.code == (130 if signal == "int" else 143)
    name = "SIGINT" if signal == "int" else "SIGTERM"
    assert f"stopped by {name} at step" in ended.stderr
    assert f"saved; go on with: trainkit train --resume {run}" in ended.stderr
    assert litter(run) == []
    assert train("--resume", str(run)).code == 0
    assert golden(run) == undisturbed()


STREAM = """
import random
import torch
from trainkit import register_dataset

@register_dataset("generated")
def generated(split: str):
    for n in range(150 if split == "train" else 40):
        x = torch.randn(4)
        yield x, int(x[0] > random.gauss(0, 0.1))

@register_dataset("placed")
class Placed:
    def __init__(self):
        self.place = 0

    def __iter__(self):
        begin, self.place = self.place, 0
        for n in range(begin, 150):
            self.place = n + 1
            yield torch.randn(4, generator=torch.Generator().manual_seed(n)), n % 2
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]
"""


@pytest.mark.parametrize("data", ["generated", "{name: placed, val: 40}"])
@pytest.mark.parametrize("accumulate", ["1", "3"])
def test_killed_with_a_stream(data: str, accumulate: str, tmp_path: Path) -> None:
    (tmp_path / "my_stream.py").write_text(STREAM)
    overrides = ["imports=[my_stream]", f"data={data}", f"train.accumulate={accumulate}", "train.limit_batches=null"]
    overrides.append("train.steps_per_epoch=8")
    assert begin(tmp_path / "whole", *overrides).code == 0
    for point, when in (("step.after_backward", 14), ("step.after_optimizer", 20), ("ckpt.mid_write", 4)):
        run = tmp_path / f"{point}{when}"
        assert begin(run, *overrides, failpoints=f"{point}=kill@{when}").code == -9
        ended = go_on(run, *overrides)
        assert ended.code == 0, ended
        assert ("samples are read again" in ended.stderr) == (data == "generated"), ended
        assert golden(run) == golden(tmp_path / "whole")


def test_three_kills_in_every_epoch(tmp_path: Path) -> None:
    run = tmp_path / "job"
    ended, kills = begin(run, failpoints="step.after_optimizer=kill@4"), 0
    while ended.code == -9:
        kills += 1
        ended = train("--resume", str(run), failpoints="step.after_optimizer=kill@4")
    assert (ended.code, kills) == (0, 7)  # every life ends one step after its save
    assert golden(run) == undisturbed()


def test_killed_while_resuming(tmp_path: Path) -> None:
    run = tmp_path / "job"
    begin(run, failpoints="step.after_optimizer=kill@10")
    for point in ("build.data", "build.model", "resume.before_first_step", "step.before_backward", "log.mid_line"):
        assert train("--resume", str(run), failpoints=f"{point}=kill@1").code == -9
    assert train("--resume", str(run)).code == 0
    assert golden(run) == undisturbed()


@pytest.mark.parametrize(("before", "after"), [("0", "2"), ("2", "0")])
def test_another_number_of_workers(before: str, after: str, tmp_path: Path) -> None:
    run = tmp_path / "job"
    begin(run, f"loader.num_workers={before}", failpoints="step.after_optimizer=kill@12")
    ended = train("--resume", str(run), f"loader.num_workers={after}")
    assert ended.code == 0, ended
    assert golden(run) == undisturbed()


def test_in_another_place(tmp_path: Path) -> None:
    begin(tmp_path / "job", failpoints="step.after_optimizer=kill@12")
    run = tmp_path / "elsewhere" / "moved"
    shutil.copytree(tmp_path / "job", run)
    shutil.rmtree(tmp_path / "job")
    assert train("--resume", str(run)).code == 0
    assert golden(run) == undisturbed()


def test_how_often_it_is_saved_does_not_matter(tmp_path: Path) -> None:
    for every in ("1", "7", "1 minutes"):
        run = tmp_path / every.replace(" ", "-")
        assert begin(run, f"checkpoint.every={every}", "checkpoint.keep=0").code == 0
        assert golden(run) == undisturbed()


def soak(kills: int, seed: int, place: Path) -> Counter[str]:
    """Jobs that die at random again and again, until there were so many kills; gives what happened how often."""
    draw, tally = random.Random(seed), Counter[str]()
    variants = [(), (ACCUMULATE,), (WORKERS,), (SGD, PLATEAU), ("checkpoint.every=1",)]
    while tally["kills"] < kills:
        overrides = draw.choice(variants)
        run = place / f"job{tally['runs']}"
        lives, ended = 0, None
        while ended is None or ended.code != 0:
            where = draw.choice([*KILLS, *((("time"), 0),) * 30])
            at = f"{draw.uniform(0.0, 0.3):.3f}" if where[0] == "time" else str(draw.randint(1, 10))
            action = draw.choice(["kill", "kill", "kill", "term", "int"])
            armed = f"{where[0]}={action}@{at}" if lives < 6 else ""
            ended = go_on(run, *overrides, failpoints=armed) if lives else begin(run, *overrides, failpoints=armed)
            assert ended.code in (0, -9, -15, -2, 130, 143), (armed, ended)
            tally["kills"] += ended.code == -9
            tally["stops"] += ended.code not in (0, -9)
            lives += 1
        assert golden(run) == undisturbed(*overrides), (seed, tally)
        shutil.rmtree(run)
        tally["runs"] += 1
    return tally


def test_a_few_random_deaths(tmp_path: Path) -> None:
    tally = soak(12, seed=0, place=tmp_path)
    print(f"\n{dict(tally)}")


@pytest.mark.soak
def test_hundreds_of_random_deaths(tmp_path: Path) -> None:
    seed = int(os.environ.get("SOAK_SEED", random.randrange(10**6)))
    tally = soak(int(os.environ.get("SOAK_KILLS", "200")), seed, tmp_path)
    print(f"\nseed {seed}: {dict(tally)}")
