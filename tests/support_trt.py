"""A GPU that is none: memory is bytes of this process, an engine is ONNX Runtime.

It stands in for the driver to test what the runner does and in which order: buffers, recording,
state, the guard against values that are no numbers. It proves nothing about TensorRT, whose
engines it never runs. Plans here are ONNX bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from semmix_rt.engines.inputs import Graph, graph_shapes
from semmix_rt.engines.trt import opening
from semmix_rt.engines.trt.cuda import Gpu
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey, StoredPlan

from semmix.bundle import Bundle
from semmix.errors import EngineError

VERSION = "1.7.0"
FAKE_TRT = SimpleNamespace(
    __version__=VERSION,
    TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"),
    DataType=SimpleNamespace(FLOAT="float32", HALF="float16"),
    DynamicShapesKernelSpecializationStrategy=SimpleNamespace(EAGER="eager"),
)


class FakeDevice:
    """Counts what is asked of it.

    `cannot_record` makes recording fail as drivers may; `driver` is what compiled kernels are for.
    """

    def __init__(self, *, cannot_record: bool = False, driver: str = "13000") -> None:
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.pinned = 0
        self.recordings: list[list[Callable[[], None]]] = []
        self.launches = 0
        self.synchronised = 0
        self.queue: list[Callable[[], None]] = []
        self._recording: list[Callable[[], None]] | None = None
        self._cannot_record = cannot_record
        self.driver = driver
        self.compiled: list[str] = []

    def gpu(self) -> Gpu:
        return Gpu("Fake GPU", "sm86", self.driver)

    def device_buffer(self, size_bytes: int) -> int:
        address = 4096 * (len(self.memory) + 1)
        self.memory[address] = np.full(size_bytes, 0xFF, np.uint8)
        return address

    def host_buffer(self, size_bytes: int) -> NDArray[np.uint8]:
        self.pinned += 1
        return np.full(size_bytes, 0xFF, np.uint8)

    def stream(self) -> int:
        return 7

    def to_device(self, address: int, host: NDArray[np.uint8]) -> None:
        self.enqueue(lambda: np.copyto(self.memory[address][: host.nbytes], host))

    def to_host(self, host: NDArray[np.uint8], address: int) -> None:
        self.enqueue(lambda: np.copyto(host, self.memory[address][: host.nbytes]))

    def capture(self, work: Callable[[], None]) -> int:
        if self._cannot_record:
            raise EngineError("cudaStreamEndCapture failed on the GPU")
        self._recording = []
        work()
        self.recordings.append(self._recording)
        self._recording = None
        return len(self.recordings) - 1

    def launch(self, graph: int) -> None:
        self.launches += 1
        self.queue += self.recordings[graph]

    def synchronise(self) -> None:
        self.synchronised += 1
        for work in self.queue:
            work()
        self.queue.clear()

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self._recording is None else self._recording).append(work)


class FakeEngine:
    """An engine over ONNX bytes."""

    def __init__(self, graph: bytes, device: FakeDevice) -> None:
        self.session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.device = device
        self.inputs = [tensor.name for tensor in self.session.get_inputs()]
        self.names = [*self.inputs, *(t.name for t in self.session.get_outputs())]

    @property
    def num_io_tensors(self) -> int:
        return len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return "float32"

    def create_runtime_config(self) -> FakeRuntimeConfig:
        return FakeRuntimeConfig(self.device)

    def create_execution_context(self, runtime_config: FakeRuntimeConfig) -> FakeContext:
        assert runtime_config.dynamic_shapes_kernel_specialization_strategy == "eager"
        assert runtime_config.used is not None
        return FakeContext(self, runtime_config.used)


class FakeRuntimeConfig:
    """A configuration and, since it is used for one engine, its only cache."""

    def __init__(self, device: FakeDevice) -> None:
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"
        self.used: FakeKernels | None = None
        self._device = device

    def create_runtime_cache(self) -> FakeKernels:
        return FakeKernels(self._device)

    def set_runtime_cache(self, cache: FakeKernels) -> bool:
        self.used = cache
        return True


class FakeKernels:
    """The shapes that were compiled for, and by what."""

    def __init__(self, device: FakeDevice) -> None:
        self._device = device
        self._known: set[str] = set()

    def deserialize(self, content: bytes) -> bool:
        maker, *known = json.loads(content)
        self._known |= set(known)
        return bool(maker == VERSION)

    def serialize(self) -> bytes:
        return json.dumps([VERSION, *sorted(self._known)]).encode()

    def compile(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if str(shapes) not in self._known:
            self._known.add(str(shapes))
            self._device.compiled.append(str(shapes))


class FakeContext:
    """Shapes and addresses of one way through an engine."""

    def __init__(self, engine: FakeEngine, kernels: FakeKernels) -> None:
        self._kernels = kernels
        self._session, self._device = engine.session, engine.device
        self._inputs, self._names = engine.inputs, engine.names
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        if set(self._shapes) == set(self._inputs):
            zeros = {n: np.zeros(s, np.float32) for n, s in self._shapes.items()}
            for tensor, result in zip(
                self._session.get_outputs(), self._session.run(None, zeros), strict=True
            ):
                self._shapes[tensor.name] = result.shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == self._device.stream()
        self._kernels.compile(self._shapes)
        self._device.enqueue(self._compute)
        return True

    def _compute(self) -> None:
        feeds = {
            name: self._memory(name).view(np.float32).reshape(self._shapes[name])
            for name in self._inputs
        }
        outputs = self._names[len(self._inputs) :]
        for name, result in zip(outputs, self._session.run(outputs, feeds), strict=True):
            self._memory(name)[:] = result.ravel().view(np.uint8)

    def _memory(self, name: str) -> NDArray[np.uint8]:
        size_bytes = 4 * prod(self._shapes[name])
        return self._device.memory[self._addresses[name]][:size_bytes]


def stand_in(patch: pytest.MonkeyPatch, device: FakeDevice) -> None:
    """Let engines open on a device that is none."""
    patch.setattr(opening, "Cuda", lambda: device)
    patch.setattr(opening, "load", lambda library: FAKE_TRT)
    patch.setattr(opening, "deserialise", lambda library, plan: FakeEngine(plan, device))


def key_of(
    bundle: Bundle, graph: Graph, precision: str = "fp32", **parts: Any
) -> tuple[PlanKey, bytes]:
    """The key that the stood-in engine looks for, and the graph's ONNX."""
    content = bundle.context_graph() if graph == "context" else bundle.highlighter_graph(precision)
    known: dict[str, Any] = {
        "model": bundle.name,
        "graph": graph,
        "graph_sha256": hashlib.sha256(content).hexdigest(),
        "precision": precision,
        "library": "tensorrt-rtx",
        "version": VERSION,
        "target": "sm86",
        "shapes": graph_shapes(bundle.manifest.spec, graph),
    }
    return PlanKey(**(known | parts)), content


def store(bundle: Bundle, graph: Graph, precision: str = "fp32", **parts: Any) -> StoredPlan:
    """Put a graph where the stood-in engine looks, as its own plan."""
    key, content = key_of(bundle, graph, precision, **parts)
    return PlanFolder().store(key, content, {"parity": "not measured"})
