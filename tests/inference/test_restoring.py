"""What comes out of a checkpoint."""

from __future__ import annotations

from tests.conftest import MakeExperiment
from trainkit.inference.restoring import open_checkpoint
from trainkit.runs.run import train


def test_overrides_of_every_kind_of_iterable_are_kept(make: MakeExperiment) -> None:
    result = train(make(train={"max_steps": 1}))
    restored = open_checkpoint(result.checkpoint, overrides=iter(["loader.eval_batch_size=7"]))
    assert restored.experiment.loader.eval_batch_size == 7
    assert restored.overrides == ("loader.eval_batch_size=7",)
