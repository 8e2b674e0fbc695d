"""Steps as CUDA graphs: what a step does on a GPU is recorded once, and launched as a whole from then on.

Where kernels are small, a step waits for the host, which launches them one by one. A graph holds addresses and numbers
as they were when it was recorded: so each batch is copied to where the recorded one lay, and the learning rates in it
are tensors (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). Batches are prepared, rates scheduled
and weights averaged outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from trainkit.core import nest, seeding
from trainkit.core.device import Precision
from trainkit.data import Batch
from trainkit.training.losses import LossOutput
from trainkit.training.step import Share, Step

T = TypeVar("T")

WARM_UP = 3
"""Steps that are made as always before one is recorded: libraries and optimizers set themselves up in them."""


def why_not(precision: Precision, max_skipped: int | None) -> str:
    """Why steps cannot be CUDA graphs; empty where they can. `max_skipped` as of `Plan`."""
    if precision.device.type != "cuda":
        return f"the run is on {precision.device.type}"
    if precision.scaler:
        return "not with train.precision=fp16"
    return "" if max_skipped is None else "not with train.on_nonfinite=skip"


@dataclass(frozen=True, slots=True)
class Recorded(Generic[T]):
    """Work that can be done again and again."""

    result: T
    """In the same memory every time."""
    replay: Callable[[], object]


class Recorder(Protocol):
    """What records work on a device."""

    def aside(self) -> AbstractContextManager[None]:
        """Where the work before a recording is done."""
        ...

    def record(self, work: Callable[[], T]) -> Recorded[T]:
        """Record what `work` does, without doing it.

        Raises:
            RuntimeError: something in it cannot be recorded.
        """
        ...


class CudaRecorder:
    """CUDA graphs of one device, which share their memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def aside(self) -> Iterator[None]:
        usual = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(usual)
        with torch.cuda.stream(self.stream):
            yield
        usual.wait_stream(self.stream)

    def record(self, work: Callable[[], T]) -> Recorded[T]:
        graph = torch.cuda.CUDAGraph()
        # Else a thread that pins memory meanwhile would spoil it.
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
            result = work()
        return Recorded(result, graph.replay)


@dataclass(frozen=True, slots=True)
class _Graphs:
    """A step as it was recorded, and the memory that it reads and writes."""

    batch: list[Tensor]
    share: Tensor
    rates: list[Tensor]
    gradients: list[Tensor]
    first: Recorded[LossOutput]
    """Replaces the gradients by those of a batch."""
    more: Recorded[LossOutput] | None
    """Adds those of another batch of the same step."""
    update: Recorded[Tensor | None]


class RecordedStep:
    """A step that is recorded after its warm-up, if it can be; else it goes on as always, and says why once.

    Batches of another form than the recorded one, such as a smaller last one, are computed as always.

    Args:
        accumulates: whether a step may have several batches.
        tell: told why the step cannot be recorded.
    """

    def __init__(self, step: Step, recorder: Recorder, *, accumulates: bool, tell: Callable[[str], None]) -> None:
        self._step, self._recorder, self._accumulates, self._tell = step, recorder, accumulates, tell
        self._graphs: _Graphs | None = None
        self._refused = False
        self._updates = 0
        self._is_first = True
        self._form: object = None
        """Of the recorded batch; before, of the latest."""

    def zero_grad(self) -> None:
        """As of `Step`."""
        self._is_first = True
        if self._graphs is None:
            self._step.zero_grad()

    def backward(self, batch: Batch, share: Share | None) -> LossOutput:
        """As of `Step`; the outputs are overwritten by the next batch."""
        first, self._is_first = self._is_first, False
        tensors = nest.tensors(batch._replace(repeat=None))
        form = [(one.shape, one.stride(), one.dtype) for one in tensors]
        is_due = self._graphs is None and not self._refused and self._updates >= WARM_UP
        if is_due and first and form == self._form:
            self._try_to_record(batch)
        if self._refused:
            return self._step.backward(batch, share)
        if self._graphs is None:
            self._form = form
            return self._warm_up(batch, share)
        if form == self._form and (recorded := self._graphs.first if first else self._graphs.more):
            torch._foreach_copy_(self._graphs.batch, tensors)
            self._graphs.share.fill_(share(None) if share else 1.0)
            recorded.replay()
            return _each(torch.clone, recorded.result)
        if first:  # the gradients stay where they are
            torch._foreach_zero_(self._graphs.gradients)
        return self._step.backward(batch, share)

    def update(self, guard: Tensor | None) -> tuple[Tensor | None, bool]:
        """As of `Step`."""
        self._updates += 1
        if self._graphs is None:
            with nullcontext() if self._refused else self._recorder.aside():
                return self._step.update(guard)
        for rate, group in zip(self._graphs.rates, self._step.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self._graphs.update.replay()
        norm = self._graphs.update.result
        return None if norm is None else norm.clone(), True

    def _warm_up(self, batch: Batch, share: Share | None) -> LossOutput:
        """A batch as always, watched for what a recording would not repeat."""
        state, buffers = seeding.global_state(), self._buffers()
        with self._recorder.aside():
            # Nothing may hold on to its graph of operations, which belongs to this stream.
            outcome = _each(Tensor.detach, self._step.backward(batch, share))
        if seeding.global_state() != state:
            self._refuse("the model draws random numbers from Python or NumPy")
        elif self._buffers() != buffers:
            self._refuse("the model replaces its buffers in each step")
        elif batch.lengths is not None:
            self._refuse("the model is called with lengths, which lie on the CPU")
        elif self._accumulates and outcome.count is not None:
            self._refuse("with train.accumulate, the loss must be a mean over samples")
        return outcome

    def _buffers(self) -> list[int]:
        return [*map(id, self._step.model.buffers())]

    def _try_to_record(self, batch: Batch) -> None:
        rates = [group["lr"] for group in self._step.optimizer.param_groups]
        try:
            self._graphs = self._record(batch)
        except RuntimeError as error:
            self._refuse(str(error).partition("\n")[0])
            self._step.zero_grad()
        finally:
            for group, rate in zip(self._step.optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def _record(self, batch: Batch) -> _Graphs:
        step, device = self._step, batch.index.device
        fixed: Batch = nest.map_tensors(torch.clone, batch._replace(repeat=None))
        share = torch.ones((), device=device)

        def gradients() -> LossOutput:
            given = (lambda count: share) if self._accumulates else None
            return _each(Tensor.detach, step.backward(fixed, given))

        step.zero_grad()  # memory of the graph's own takes the place of the gradients
        first = self._recorder.record(gradients)
        more = self._recorder.record(gradients) if self._accumulates else None
        rates = [torch.tensor(group["lr"], device=device) for group in step.optimizer.param_groups]
        for rate, group in zip(rates, step.optimizer.param_groups, strict=True):
            group["lr"] = rate
        update = self._recorder.record(lambda: step.update(None)[0])
        own = [parameter.grad for parameter in step.parameters if parameter.grad is not None]
        return _Graphs(nest.tensors(fixed), share, rates, own, first, more, update)

    def _refuse(self, why: str) -> None:
        self._refused = True
        self._tell(f"train.cuda_graph: {why}; each operation is launched by itself")


def _each(change: Callable[[Tensor], Tensor], outcome: LossOutput) -> LossOutput:
    """What a loss made of a batch, of other tensors."""
    count, in_unit = (None if one is None else change(one) for one in (outcome.count, outcome.in_unit))
    outputs = nest.map_tensors(change, outcome.outputs)
    parts = {name: change(part) for name, part in outcome.parts.items()}
    return LossOutput(change(outcome.loss), outputs, count=count, in_unit=in_unit, parts=parts)
