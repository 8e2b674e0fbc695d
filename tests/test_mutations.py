"""Mistakes made on purpose in the shipped configs: that they are found, and what is suggested first."""

from __future__ import annotations

import importlib.util
from collections import Counter
from itertools import islice
from pathlib import Path

from tests.command import ROOT

spec = importlib.util.spec_from_file_location("mutations", ROOT / "scripts/mutations.py")
assert spec is not None
assert spec.loader is not None
corpus = importlib.util.module_from_spec(spec)
spec.loader.exec_module(corpus)


def test_every_fifth_mistake_is_found_and_the_first_suggestion_is_right(tmp_path: Path) -> None:
    accepted: list[object] = []
    suggestions: Counter[bool] = Counter()
    for mutation in islice(corpus.mutations(), 0, None, 5):
        problem = corpus.outcome(mutation, tmp_path)
        if problem is None:
            accepted.append(mutation[:3])
        elif mutation.meant:
            suggestions[corpus.suggested(problem) == mutation.meant] += 1
    assert accepted == []
    assert suggestions.total() > 300
    assert suggestions[False] <= 0.01 * suggestions.total()
