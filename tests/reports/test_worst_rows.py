"""The worst rows of a table, by the lines of the user's file."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import MakeExperiment
from trainkit.reports import report_page
from trainkit.runs.run import train


def test_they_are_named_by_file_and_line(make: MakeExperiment) -> None:
    """The only row of the test file that is far off stands in its line 5; a row without a target comes before it."""
    Path("train.csv").write_text("x,y\n" + "".join(f"{n},{n}.5\n" for n in range(40)))
    Path("test.csv").write_text("x,y\n1,1.5\n2,\n3,3.5\n4,900.5\n5,5.5\n")
    data = {"name": "csv", "path": "train.csv", "test": "test.csv", "target": "y", "val": 0.2}
    run = train(make(data=data, model="mlp", loss="mse", metrics=["mae"]))
    page = report_page.write(run.run_dir).path.read_text()
    rows = re.findall(r">(test\.csv:\d+|train\.csv:\d+)<", page)
    assert "test.csv:5" in rows
    assert {row for row in rows if row.startswith("test")} == {f"test.csv:{line}" for line in (2, 4, 5, 6)}
    assert next(row for row in rows if row.startswith("test")) == "test.csv:5"
    assert not any(row in ("train.csv:1", "test.csv:3") for row in rows)
    assert ">row<" in page
