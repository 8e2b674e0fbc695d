"""What is said of tables as a whole."""

from __future__ import annotations

import pyarrow as pa

from trainkit.data.tables.columns import Column
from trainkit.data.tables.messages import unseen_words


def test_more_new_words_than_are_named_are_marked_as_such() -> None:
    column = Column(name="colour", kind="category", categories=("red",))
    splits = {"val": {"colour": pa.array(["a", "red", "b", "c", "d"])}, "test": {"colour": pa.array(["red", "a"])}}
    [note] = unseen_words([column], splits)
    assert note.text == "colour: 4 val and 1 test rows with values that training never saw ('a', 'b', 'c', …)"
    assert unseen_words([column], {"val": {"colour": pa.array(["red"])}}) == []
