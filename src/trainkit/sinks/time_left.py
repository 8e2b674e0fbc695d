"""How long a run will take yet."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from trainkit.core.records import CheckpointRecord, EvalRecord, ProgressRecord, Record, TrainRecord


class TimeLeft:
    """The steps that are left at the pace of the later half of those made, and the evaluations and saves to come at the
    mean of those before.

    What the first step takes, in which workers start and kernels are chosen, does not count; until the first evaluation
    the record says what one may take. Between two looks it counts down, so that an evaluation makes nothing jump.
    """

    def __init__(self, progress: ProgressRecord, clock: Callable[[], float] = time.monotonic) -> None:
        self.progress = progress
        self._clock = clock
        self._began_at, self._step = clock(), progress.position.step
        self._evals: list[float] = []
        self._saves: list[float] = []
        self._marks: deque[tuple[float, int]] = deque()
        """When how many steps were done, on a clock that stands still in evaluations and saves."""
        self._ends_at = math.nan
        self._evals_in_all = _times(progress.eval_every, self._step, progress.max_steps)
        self._saves_in_all = _times(progress.save_every, self._step, progress.max_steps)

    def write(self, record: Record) -> None:
        match record:
            case TrainRecord():
                self._look(record.step)
                self._marks.append((self._training_s(), record.step))
                while len(self._marks) > 2 and 2 * self._marks[1][1] <= self._marks[0][1] + record.step:
                    self._marks.popleft()
            case EvalRecord():
                self._evals.append(record.elapsed_s)
            case CheckpointRecord():
                self._saves.append(record.elapsed_s)

    def seconds(self) -> float | None:
        """None until two steps have been made."""
        self._look(self.progress.position.step)
        return None if math.isnan(self._ends_at) else max(0.0, self._ends_at - self._clock())

    def _look(self, step: int) -> None:
        if step == self._step:
            return
        self._step, now = step, self._training_s()
        if not self._marks:
            self._marks.append((now, step))
            return
        marked_at, marked_step = self._marks[0]
        pace = (now - marked_at) / max(1, step - marked_step)
        left = (self.progress.max_steps - step) * pace
        left += _to_come(self._evals_in_all, self._evals, self.progress.eval_in_steps * pace)
        left += _to_come(self._saves_in_all, self._saves, 0.0)
        self._ends_at = min(self._clock() + left, self._began_at + self.progress.max_s)

    def _training_s(self) -> float:
        return self._clock() - sum(self._evals) - sum(self._saves)


def _times(every: int, begun: int, end: int) -> int:
    """How often something is still due that is due every so many steps, and at the end."""
    return -(-end // every) - begun // every


def _to_come(in_all: int, made: list[float], expected: float) -> float:
    mean = sum(made) / len(made) if made else expected
    return max(0, in_all - len(made)) * mean
