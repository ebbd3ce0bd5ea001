"""Runs one compiled graph: buffers made once, one stream, one CUDA graph, pinned memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from semmix.errors import EngineError, EngineMismatchError
from semmix_rt.engines.base import Float32
from semmix_rt.engines.inputs import Shapes
from semmix_rt.engines.trt.batches import ONE, Batch, batched
from semmix_rt.engines.trt.cuda import Bytes, CudaRuntime
from semmix_rt.engines.trt.kernels import KernelCache
from semmix_rt.engines.trt.library import Library, journal, load

_LOG = logging.getLogger(__name__)
_ITEM_BYTES = 4

Feeds = Mapping[str, Float32]
Results = dict[str, Float32]


@dataclass(frozen=True, slots=True)
class _Buffer:
    """A tensor's memory on the GPU and, pinned, on the host; `view` is the latter as numbers."""

    address: int
    host: Bytes
    view: Float32


@dataclass(slots=True)
class _Way:
    """A run of one size: its context, its part of the buffers, and its recording where it has one.

    A size has a context of its own, since what was recorded holds on to its context's memory.
    """

    context: Any
    inputs: dict[str, _Buffer]
    outputs: dict[str, _Buffer]
    graph: int | None = None


class GraphRunner:
    """A compiled graph on a GPU.

    All of a run, copies included, is recorded once as a CUDA graph, so that a chunk costs one
    launch; one for each size of the batch. Where the driver cannot record it, the same calls are
    made one by one, with a warning.

    Attributes:
        recorded: whether runs are launches of CUDA graphs.
    """

    def __init__(
        self,
        trt: Any,
        engine: Any,
        device: CudaRuntime,
        shapes: Shapes,
        batch: Batch = ONE,
        kernels: KernelCache | None = None,
    ) -> None:
        """Make the buffers and, for each size, run once and record.

        Args:
            trt: the library.
            engine: its deserialised engine.
            device: the GPU.
            shapes: of the inputs, for one stream or window.
            batch: sizes that the engine was built for.
            kernels: of a library that compiles them now, those of an earlier start.

        Raises:
            EngineMismatchError: the engine has other inputs, or tensors that are not float32.
            EngineError: the GPU fails.
        """
        self._device = device
        self._shapes, self._batch = shapes, batch
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        kinds = {engine.get_tensor_dtype(name) for name in names}
        if set(inputs) != set(shapes) or kinds != {trt.DataType.FLOAT}:
            raise EngineMismatchError(
                f"the engine takes {', '.join(sorted(inputs))}, its model's spec asks for float32 "
                f"{', '.join(sorted(shapes))}: build it again with `semmix-rt build --rebuild`"
            )
        self._memory: dict[str, _Buffer] = {}
        new_context = (
            engine.create_execution_context if kernels is None else kernels.contexts(trt, engine)
        )
        # The largest first: it decides how much memory all of them share.
        self._ways = {size: self._way(new_context(), size, names) for size in reversed(batch.sizes)}
        if kernels is not None:
            kernels.keep()

    @property
    def recorded(self) -> bool:
        """See the class."""
        return all(way.graph is not None for way in self._ways.values())

    def run(self, feeds: Feeds) -> Results:
        """Run on the inputs; the results are copies that stay as they are.

        Args:
            feeds: by name, as many rows of each as there are streams or windows; between the
                sizes of the batch, zeros fill them up.

        Raises:
            EngineMismatchError: an input is missing or of another shape.
            EngineError: the GPU fails.
        """
        rows = self._rows(feeds)
        size = self._batch.size_for(rows)
        way = self._ways[size]
        for name, buffer in way.inputs.items():
            array = feeds[name]
            buffer.view[: len(array)] = array
            buffer.view[len(array) :] = 0.0
        if way.graph is None:
            self._enqueue(way)
        else:
            self._device.launch(way.graph)
        self._device.synchronise()
        return {
            name: buffer.view[: rows * len(buffer.view) // size].copy()
            for name, buffer in way.outputs.items()
        }

    def _rows(self, feeds: Feeds) -> int:
        """How many streams or windows there are, once every input was held against that."""
        first = next(iter(self._shapes))
        rows = len(feeds[first]) // self._shapes[first][0] if first in feeds else 1
        rows = min(max(rows, 1), self._batch.most)
        for name, shape in batched(self._shapes, rows).items():
            array = feeds.get(name)
            if array is None or array.shape != shape:
                found = None if array is None else list(array.shape)
                raise EngineMismatchError(
                    f"{name} has the shape {found}, the engine takes {list(shape)}: "
                    "cut the stream as the bundle's spec says"
                )
        return rows

    def _way(self, context: Any, size: int, names: Sequence[str]) -> _Way:
        if context is None:
            raise EngineError(
                "the GPU has no room for the engine: close other programs that use it, or choose "
                "--engine ort to run on the CPU"
            )
        for name, shape in batched(self._shapes, size).items():
            if not context.set_input_shape(name, shape):
                raise EngineMismatchError(
                    f"the engine cannot take {name} {list(shape)}: build it again with "
                    "`semmix-rt build --rebuild`"
                )
        buffers = {name: self._buffer(context, name) for name in names}
        way = _Way(
            context,
            {name: buffer for name, buffer in buffers.items() if name in self._shapes},
            {name: buffer for name, buffer in buffers.items() if name not in self._shapes},
        )
        # The first run loads kernels, which cannot be recorded.
        self._enqueue(way)
        self._device.synchronise()
        way.graph = self._record(way)
        return way

    def _buffer(self, context: Any, name: str) -> _Buffer:
        """A tensor's part, in one size, of the memory that all sizes share."""
        shape = tuple(context.get_tensor_shape(name))
        size_bytes = _ITEM_BYTES * prod(shape)
        whole = self._memory.get(name)
        if whole is None:
            address = self._device.device_buffer(size_bytes)
            host = self._device.host_buffer(size_bytes)
            host[:] = 0
            whole = self._memory[name] = _Buffer(address, host, host.view(np.float32))
        if not context.set_tensor_address(name, whole.address):
            raise EngineError(f"the engine refuses the memory for {name}: report it")
        host = whole.host[:size_bytes]
        return _Buffer(whole.address, host, host.view(np.float32).reshape(shape))

    def _enqueue(self, way: _Way) -> None:
        for buffer in way.inputs.values():
            self._device.to_device(buffer.address, buffer.host)
        if not way.context.execute_async_v3(self._device.stream()):
            raise EngineError(
                "the engine did not start on the GPU: build it again with "
                "`semmix-rt build --rebuild`, or choose --engine ort to run on the CPU"
            )
        for buffer in way.outputs.values():
            self._device.to_host(buffer.host, buffer.address)

    def _record(self, way: _Way) -> int | None:
        try:
            return self._device.capture(lambda: self._enqueue(way))
        except EngineError as exc:
            _LOG.warning("runs are not recorded as a CUDA graph and take longer: %s", exc)
            return None


class GuardedRunner:
    """A runner whose results are numbers: where they are none, float32 runs on the same inputs.

    Attributes:
        fallbacks: runs that float32 took over.
    """

    def __init__(self, runner: GraphRunner, exact: Callable[[], GraphRunner] | None) -> None:
        """Guard `runner`; `exact` opens the float32 runner when first needed, None for itself."""
        self.fallbacks = 0
        self._runner, self._open_exact = runner, exact
        self._exact: GraphRunner | None = None

    def run(self, feeds: Feeds) -> Results:
        """See `GraphRunner.run`. What float32 itself makes no number of is returned as it is."""
        results = self._runner.run(feeds)
        if self._open_exact is None or all(np.isfinite(array).all() for array in results.values()):
            return results
        if self._exact is None:
            self._exact = self._open_exact()
        self.fallbacks += 1
        return self._exact.run(feeds)


class BatchedRunner:
    """A network's runners, one for each batch that there is a plan for, opened when needed.

    Attributes:
        batches: those of the plans.
        most: how many streams or windows can be run at once.
        fallbacks: runs that float32 took over.
    """

    def __init__(
        self, batches: Sequence[Batch], open_one: Callable[[Batch], GuardedRunner], repair: str
    ) -> None:
        """Open what runs one stream.

        Args:
            batches: at least one.
            open_one: opens the runner of one of them.
            repair: how to build a plan, but for its batch.
        """
        self.batches = tuple(batches)
        self._open_one, self._repair = open_one, repair
        self._opened: dict[Batch, GuardedRunner] = {}
        self.most = max(batch.most for batch in batches)
        self._runner(1)

    @property
    def fallbacks(self) -> int:
        """See the class."""
        return sum(runner.fallbacks for runner in self._opened.values())

    def run(self, feeds: Feeds) -> Results:
        """See `GraphRunner.run`.

        Raises:
            EngineMismatchError: more rows than any plan takes; also as in `GraphRunner.run`.
        """
        return self._runner(len(next(iter(feeds.values())))).run(feeds)

    def _runner(self, rows: int) -> GuardedRunner:
        """The one that computes least beside so many rows."""
        if rows > self.most:
            raise EngineMismatchError(
                f"{rows} streams were to be run at once, the engine is built for {self.most}: "
                f"build one with `{self._repair} --batch 1:{rows}:{rows}`"
            )
        fitting = [batch for batch in self.batches if batch.most >= rows]
        best = min(fitting, key=lambda b: (b.size_for(rows), b.most, -b.least))
        if best not in self._opened:
            self._opened[best] = self._open_one(best)
        return self._opened[best]


def deserialise(library: Library, plan: bytes) -> Any:
    """Load a plan that was checked onto the GPU.

    Raises:
        EngineMismatchError: the library refuses it.
    """
    trt, notes = load(library), journal(library)
    notes.complaints.clear()
    engine = trt.Runtime(notes.logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineMismatchError(
            f"{library.title} {trt.__version__} does not load the engine ({notes.reason()}): "
            "build it again with `semmix-rt build --rebuild`"
        )
    return engine
