"""Reading a clock in `trainkit train`, which runs in this process."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def epoch_ends(config: str, clock: Callable[[], T]) -> list[T]:
    """What the clock shows before the data is opened and after each epoch.

    This is the real command with everything that it does. Only the clock is added.
    """
    from trainkit.cli.main import main
    from trainkit.experiment import building
    from trainkit.sinks.jsonl import JsonlSink

    ends: list[T] = []
    write, open_data = JsonlSink.write, building.open_data

    def timed_write(self: JsonlSink, record: Any) -> None:
        write(self, record)
        if type(record).__name__ == "EpochRecord":
            ends.append(clock())

    def timed_open(*arguments: Any) -> Any:
        ends.append(clock())
        return open_data(*arguments)

    JsonlSink.write, building.open_data = timed_write, timed_open
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "bench.yaml")
        path.write_text(config)
        sys.argv = ["trainkit", "train", str(path), "--run-dir", f"{place}/run", "-q"]
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    return ends
