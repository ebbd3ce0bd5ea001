"""The few calls of CUDA that a runner needs, behind an interface that tests can stand in for."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.errors import EngineError, ProviderError

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        name: the driver's, such as `NVIDIA GeForce RTX 3060`.
        capability: compute capability, such as `sm86`.
        driver: newest version of CUDA that its driver takes, such as `13000`.
    """

    name: str
    capability: str
    driver: str


class CudaRuntime(Protocol):
    """Memory, one stream and graphs of one GPU. Addresses and handles are integers."""

    def gpu(self) -> Gpu:
        """Which GPU it is."""
        ...

    def device_buffer(self, size_bytes: int) -> int:
        """Memory on the GPU; its address."""
        ...

    def host_buffer(self, size_bytes: int) -> Bytes:
        """Pinned memory of the host, which copies without a detour."""
        ...

    def stream(self) -> int:
        """The stream that all work goes through."""
        ...

    def to_device(self, address: int, host: Bytes) -> None:
        """Enqueue a copy of pinned memory to the GPU."""
        ...

    def to_host(self, host: Bytes, address: int) -> None:
        """Enqueue a copy from the GPU to pinned memory."""
        ...

    def capture(self, work: Callable[[], None]) -> int:
        """Record what `work` enqueues, without running it, as a graph; its handle."""
        ...

    def launch(self, graph: int) -> None:
        """Enqueue a graph."""
        ...

    def synchronise(self) -> None:
        """Wait until all that was enqueued is done."""
        ...


class Cuda:
    """The first GPU of this machine, by NVIDIA's own bindings (`cuda-python`)."""

    def __init__(self) -> None:
        """Start the driver.

        Raises:
            EngineError: cuda-python is missing.
            ProviderError: there is no GPU, or no driver for it.
        """
        try:
            from cuda.bindings import runtime
        except ImportError as exc:
            raise EngineError(
                "TensorRT engines need cuda-python: pip install 'semmix-rt[tensorrt-rtx]', or "
                "'semmix-rt[tensorrt]'"
            ) from exc
        self._cuda: Any = runtime
        self._frees: list[tuple[Callable[..., object], object]] = []
        self._finaliser = weakref.finalize(self, _free, self._frees)
        error, count = runtime.cudaGetDeviceCount()
        if error != runtime.cudaError_t.cudaSuccess or not count:
            raise ProviderError(
                f"no NVIDIA GPU starts on this machine ({self._named(error)}): install its driver, "
                "or choose --engine ort to run on the CPU"
            )
        self._call("cudaSetDevice", 0)
        self._stream = self._call("cudaStreamCreate")
        self._frees.append((runtime.cudaStreamDestroy, self._stream))

    def gpu(self) -> Gpu:
        """See `CudaRuntime.gpu`."""
        found = self._call("cudaGetDeviceProperties", 0)
        name = found.name
        text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        driver = str(self._call("cudaDriverGetVersion"))
        return Gpu(text.rstrip("\0"), f"sm{found.major}{found.minor}", driver)

    def device_buffer(self, size_bytes: int) -> int:
        """See `CudaRuntime.device_buffer`."""
        address = int(self._call("cudaMalloc", size_bytes))
        self._frees.append((self._cuda.cudaFree, address))
        return address

    def host_buffer(self, size_bytes: int) -> Bytes:
        """See `CudaRuntime.host_buffer`."""
        address = int(self._call("cudaMallocHost", size_bytes))
        self._frees.append((self._cuda.cudaFreeHost, address))
        memory = (ctypes.c_uint8 * size_bytes).from_address(address)
        return np.frombuffer(memoryview(memory), np.uint8)

    def stream(self) -> int:
        """See `CudaRuntime.stream`."""
        return int(self._stream)

    def to_device(self, address: int, host: Bytes) -> None:
        """See `CudaRuntime.to_device`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, host.ctypes.data, host.nbytes, kind, self._stream)

    def to_host(self, host: Bytes, address: int) -> None:
        """See `CudaRuntime.to_host`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", host.ctypes.data, address, host.nbytes, kind, self._stream)

    def capture(self, work: Callable[[], None]) -> int:
        """See `CudaRuntime.capture`."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", self._stream, mode)
        try:
            work()
        finally:
            # A stream left capturing would take no other work.
            error, graph = self._cuda.cudaStreamEndCapture(self._stream)
        self._check("cudaStreamEndCapture", error)
        executable = self._call("cudaGraphInstantiate", graph, 0)
        self._call("cudaGraphDestroy", graph)
        self._frees.append((self._cuda.cudaGraphExecDestroy, executable))
        return int(executable)

    def launch(self, graph: int) -> None:
        """See `CudaRuntime.launch`."""
        self._call("cudaGraphLaunch", graph, self._stream)

    def synchronise(self) -> None:
        """See `CudaRuntime.synchronise`."""
        self._call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Free everything; it happens anyway when the object goes."""
        self._finaliser()

    def _call(self, name: str, *arguments: object) -> Any:
        error, *results = getattr(self._cuda, name)(*arguments)
        self._check(name, error)
        return results[0] if results else None

    def _check(self, name: str, error: object) -> None:
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise EngineError(
                f"{name} failed on the GPU ({self._named(error)}): close other programs that use "
                "it, or choose --engine ort to run on the CPU"
            )

    def _named(self, error: Any) -> str:
        return str(getattr(error, "name", error))


def free_bytes() -> int | None:
    """Memory that is free on the first GPU; None without one, its driver or cuda-python."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    error, *sizes = runtime.cudaMemGetInfo()
    return int(sizes[0]) if error == runtime.cudaError_t.cudaSuccess else None


def _free(frees: list[tuple[Callable[..., object], object]]) -> None:
    """Give back what was taken, the last first."""
    while frees:
        call, what = frees.pop()
        call(what)
