"""The column of a file by which samples are kept together, or come one after the other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from trainkit.core.errors import DataError
from trainkit.data.splitting import Keys
from trainkit.data.tables import column_kinds, encoding
from trainkit.data.tables.columns import ColumnConfig
from trainkit.data.tables.table_files import TextColumn, Texts


def groups(texts: Texts) -> Keys:
    """Samples with the same text are a group; one without is a group of its own."""
    codes = texts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    alone = np.asarray(pc.equal(texts, "").to_numpy(zero_copy_only=False), dtype=bool)
    return Keys(groups=torch.from_numpy(np.where(alone, -1 - np.arange(len(codes)), codes)))


def ranks(column: TextColumn, asked: ColumnConfig, rows: NDArray[np.int64], format_key: str = "") -> Keys:
    """The order of some rows by numbers, dates, or else by letters.

    Args:
        format_key: as of `column_kinds.read`.

    Raises:
        DataError: one has no value, or dates cannot be read.
    """
    if asked.kind in ("drop", "text"):  # of no use to the model, but to this
        asked = asked.model_copy(update={"kind": "auto"})
    one = column_kinds.read(column, asked, needed=True, format_key=format_key)
    assert one.column is not None
    if (gap := encoding.gaps(one.values, one.column)[rows]).any():
        place = column.where(int(rows[gap.argmax()]))
        raise DataError(f"{place}: no value for {column.name!r}, which data.order goes by")
    if one.column.kind == "category":
        values = np.unique(np.array(one.values.take(pa.array(rows)).to_pylist()), return_inverse=True)[1]
    else:
        values = (one.values[:, 1] if one.column.kind == "date" else one.values)[rows]
    return Keys(ranks=torch.from_numpy(np.ascontiguousarray(values)))
