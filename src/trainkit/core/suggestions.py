"""The nearest right name for a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'adam'?` when something known is near, else an empty string."""
    near = nearest(wrong, known)
    return f"; did you mean {near!r}?" if near else ""


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """What a wrong word may have meant.

    Near is what is spelled alike, what begins with the word (`acc` and `accuracy`) or the word with it, and what ends
    in the same whole words, if these are the better part (`num_epochs` and `epochs`, `epochs` and `train.epochs`).
    """
    names = {_plain(name): name for name in known}
    word = _plain(wrong)
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.75 if len(word) > 3 else 0.6)
    near = sorted(filter(lambda name: _one_slip(word, name), near), key=lambda name: sorted(name) != sorted(word))
    near += [name for name in names if word.endswith(f"_{name}") and 2 * len(name) >= len(word)]
    near += [name for name in names if len(word) > 2 and name.startswith(word)]
    near += [name for name in names if name.endswith((f"_{word}", f".{word}"))]
    near += sorted((name for name in names if len(name) > 3 and word.startswith(name)), key=len, reverse=True)
    return names[near[0]] if near else None


def _one_slip(word: str, name: str) -> bool:
    """Of names of three letters nearly any word has some: it is near when it has as many, give or take one, and begins
    alike or has the same letters."""
    alike = name[0] == word[:1] or sorted(name) == sorted(word) or len(name) != len(word)
    return len(name) > 3 or (abs(len(word) - len(name)) < 2 and alike)


def did_you_mean_path(path: Path) -> str:
    """`; did you mean data/labels.csv?` when a name near to the one that is missing is there, else an empty string."""
    missing = path
    with suppress(OSError):
        if path.exists():
            return ""
        while not missing.parent.exists():
            missing = missing.parent
        there = {each.name for each in islice(missing.parent.iterdir(), 1000)} - {missing.name}
        if near := nearest(missing.name, there):
            whole = missing.with_name(near) / path.relative_to(missing)
            return f"; did you mean {whole if whole.exists() else missing.with_name(near)}?"
    return ""


def _plain(word: str) -> str:
    return word.lower().lstrip("-").replace("-", "_")
