"""Runs one compiled graph: buffers made once, one stream, one CUDA graph, pinned memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from semmix.errors import EngineError, EngineMismatchError
from semmix_rt.engines.base import Float32
from semmix_rt.engines.inputs import Shapes
from semmix_rt.engines.trt.cuda import Bytes, CudaRuntime
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


class GraphRunner:
    """A compiled graph on a GPU, with fixed shapes.

    All of a run, copies included, is recorded once as a CUDA graph, so that a chunk costs one
    launch. Where the driver cannot record it, the same calls are made one by one, with a warning.

    Attributes:
        recorded: whether runs are launches of a CUDA graph.
    """

    def __init__(self, trt: Any, engine: Any, device: CudaRuntime, shapes: Shapes) -> None:
        """Make the buffers, run once, and record.

        Args:
            trt: the library.
            engine: its deserialised engine.
            device: the GPU.
            shapes: of the inputs.

        Raises:
            EngineMismatchError: the engine has other inputs, or tensors that are not float32.
            EngineError: the GPU fails.
        """
        self._engine, self._device = engine, device
        self._context = engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                "the GPU has no room for the engine: close other programs that use it, or choose "
                "--engine ort to run on the CPU"
            )
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        kinds = {engine.get_tensor_dtype(name) for name in names}
        if set(inputs) != set(shapes) or kinds != {trt.DataType.FLOAT}:
            raise EngineMismatchError(
                f"the engine takes {', '.join(sorted(inputs))}, its model's spec asks for float32 "
                f"{', '.join(sorted(shapes))}: build it again with `semmix-rt build --rebuild`"
            )
        for name in inputs:
            if not self._context.set_input_shape(name, shapes[name]):
                raise EngineMismatchError(
                    f"the engine cannot take {name} {list(shapes[name])}: build it again with "
                    "`semmix-rt build --rebuild`"
                )
        self._inputs = {name: self._buffer(name) for name in inputs}
        self._outputs = {name: self._buffer(name) for name in names if name not in self._inputs}
        # The first run loads kernels, which cannot be recorded.
        self._enqueue()
        device.synchronise()
        self._graph = self._record()

    @property
    def recorded(self) -> bool:
        """See the class."""
        return self._graph is not None

    def run(self, feeds: Feeds) -> Results:
        """Run on the inputs; the results are copies that stay as they are.

        Raises:
            EngineMismatchError: an input is missing or of another shape.
            EngineError: the GPU fails.
        """
        for name, buffer in self._inputs.items():
            array = feeds.get(name)
            if array is None or array.shape != buffer.view.shape:
                found = None if array is None else list(array.shape)
                raise EngineMismatchError(
                    f"{name} has the shape {found}, the engine takes {list(buffer.view.shape)}: "
                    "cut the stream as the bundle's spec says"
                )
            np.copyto(buffer.view, array)
        if self._graph is None:
            self._enqueue()
        else:
            self._device.launch(self._graph)
        self._device.synchronise()
        return {name: buffer.view.copy() for name, buffer in self._outputs.items()}

    def _buffer(self, name: str) -> _Buffer:
        shape = tuple(self._context.get_tensor_shape(name))
        size_bytes = _ITEM_BYTES * prod(shape)
        address, host = self._device.device_buffer(size_bytes), self._device.host_buffer(size_bytes)
        host[:] = 0
        if not self._context.set_tensor_address(name, address):
            raise EngineError(f"the engine refuses the memory for {name}: report it")
        return _Buffer(address, host, host.view(np.float32).reshape(shape))

    def _enqueue(self) -> None:
        for buffer in self._inputs.values():
            self._device.to_device(buffer.address, buffer.host)
        if not self._context.execute_async_v3(self._device.stream()):
            raise EngineError(
                "the engine did not start on the GPU: build it again with "
                "`semmix-rt build --rebuild`, or choose --engine ort to run on the CPU"
            )
        for buffer in self._outputs.values():
            self._device.to_host(buffer.host, buffer.address)

    def _record(self) -> int | None:
        try:
            return self._device.capture(self._enqueue)
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
