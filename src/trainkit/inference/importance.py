"""How much a model needs each column: how much worse it gets when the column's values change places among the rows."""

from __future__ import annotations

import torch

from trainkit.core.seeding import permutation
from trainkit.data import DataSpec, Split, TensorSource
from trainkit.data.loader import LoaderConfig
from trainkit.training.loop import EvalParts, evaluate

MOST_ROWS = 2000
SHUFFLES = 3


def importances(parts: EvalParts, split: Split, spec: DataSpec, metric: str, loader: LoaderConfig) -> dict[str, float]:
    """By how much a metric changes when a column is shuffled: the mean over three shuffles (Breiman, 2001).

    Columns that say the same hide one another: the model still has the other one. A negative number is chance.

    Args:
        split: of rows in memory; of many the first 2,000 in a fixed order.
        metric: the name of one of the parts' metrics, or `loss`.
    """
    rows = permutation(len(split), 0, "importance")[:MOST_ROWS]
    batch = split.take(rows)
    whole = torch.arange(len(rows))

    def measured(inputs: torch.Tensor) -> float:
        some = Split(TensorSource(inputs, batch.targets), whole)
        found = evaluate(parts, loader.eval_loader(some, parts.device))
        assert found is not None
        return found[metric]

    before, start = measured(batch.inputs), 0
    changes: dict[str, float] = {}
    for column in spec.columns:
        place = slice(start, start + column.width)
        start += column.width
        values = []
        for number in range(SHUFFLES):
            shuffled = batch.inputs.clone()
            shuffled[:, place] = shuffled[permutation(len(rows), number, "importance", column.name), place]
            values.append(measured(shuffled))
        changes[column.name] = sum(values) / SHUFFLES - before
    return changes
