from __future__ import annotations

import pytest

from trainkit.core.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("admw", ["adam", "adamw"], "adamw"),
        ("Adam", ["sgd", "adam"], "adam"),
        ("warmup_epochs", ["epochs"], None),
        ("time", ["optimizer", "name"], None),
        ("pretrained", ["train", "data"], None),
        ("num_epochs", ["epochs"], "epochs"),
        ("epochs", ["train.epochs"], "train.epochs"),
        ("acc", ["loss", "accuracy"], "accuracy"),
        ("--quite", ["--quiet"], "--quiet"),
        ("xyz", ["adam"], None),
        ("", ["adam"], None),
    ],
)
def test_the_nearest_name(wrong: str, known: list[str], expected: str | None) -> None:
    assert did_you_mean(wrong, known) == (f"; did you mean {expected!r}?" if expected else "")
