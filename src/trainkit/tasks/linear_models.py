"""Linear models of scikit-learn, fitted to the rows of a table: what a network has to do better than."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Fitted = Callable[[Tensor], Tensor]
"""Gives the outputs for inputs, shape (n, features): shape (n, num_outputs), float32."""
MOST_ITERATIONS = 200
CERTAIN = 30.0
"""The logit of what is so of every training sample."""


def ridge(inputs: Tensor, targets: Tensor) -> Fitted:
    """Ridge regression with the penalty that does best when each row in turn is left out.

    Args:
        targets: shape (n, size).
    """
    from sklearn.linear_model import RidgeCV  # a second, for those who ask for a comparison

    model = RidgeCV(alphas=np.logspace(-3, 3, 7)).fit(inputs.numpy(), targets.numpy())
    return lambda given: torch.from_numpy(model.predict(given.numpy())).float().view(len(given), -1)


def logistic(inputs: Tensor, targets: Tensor, size: int) -> Fitted:
    """Logistic regression with scikit-learn's penalty: gives log-probabilities.

    Args:
        targets: classes, shape (n,), int64. Those that never occur are never predicted.
        size: the number of classes.
    """
    from sklearn.linear_model import LogisticRegression  # as above

    seen = targets.unique()
    if len(seen) == 1:
        return lambda given: torch.full((len(given), size), -CERTAIN).index_fill(1, seen, CERTAIN)
    with warnings.catch_warnings(action="ignore"):  # one that is not quite at its best serves as well
        model = LogisticRegression(max_iter=MOST_ITERATIONS).fit(inputs.numpy(), targets.numpy())

    def outputs(given: Tensor) -> Tensor:
        found = torch.from_numpy(model.predict_log_proba(given.numpy())).float()
        return torch.full((len(given), size), -torch.inf).index_copy(1, seen, found)

    return outputs
