"""Vectors of words in files such as those of GloVe (Pennington et al., 2014) or fastText (Bojanowski et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainkit.core.errors import ConfigError, os_error_text
from trainkit.core.text import counted


def read_vectors(path: Path, rows: Mapping[str, int], weight: Tensor) -> str:
    """Write the vectors of a text file into an embedding: a word and its numbers on each line, with a space between
    them; a first line of two whole numbers is left out.

    Args:
        rows: the words that there are, with their rows.
        weight: of the embedding, shape (words, numbers).

    Returns:
        How many words have a vector.

    Raises:
        ConfigError: it cannot be read, or has other numbers; with the line.
    """
    dim = weight.shape[1]
    found: set[str] = set()
    try:
        with path.open(encoding="utf-8", errors="replace") as file, torch.no_grad():
            for number, line in enumerate(file, 1):
                word, *values = line.rstrip().split(" ")
                if (number == 1 and len(values) == 1) or word not in rows or word in found:
                    continue
                if len(values) != dim:
                    fits = f"; model.embedding_dim={len(values)} would fit" if number == 1 or not found else ""
                    raise ConfigError(f"model.vectors: {path}:{number}: {len(values)} numbers, expected {dim}{fits}")
                try:
                    weight[rows[word]] = torch.tensor([float(value) for value in values])
                except ValueError:
                    raise ConfigError(f"model.vectors: {path}:{number}: {word!r}: no numbers") from None
                found.add(word)
    except OSError as error:
        raise ConfigError(f"model.vectors: {path}: {os_error_text(error)}") from None
    if not found:
        raise ConfigError(f"model.vectors: {path}: none of the {counted(len(rows), 'token')} of the data is in it")
    return f"model.vectors: {len(found):,} of {len(rows):,} tokens have a vector in {path}, the others begin at random"
