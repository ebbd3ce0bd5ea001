"""From a bundle to runners on this machine's GPU, by the plans that were built for both."""

from __future__ import annotations

import hashlib
from functools import partial

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix_rt.engines.inputs import Graph, graph_shapes
from semmix_rt.engines.trt.batches import ONE, Batch
from semmix_rt.engines.trt.cuda import Cuda, CudaRuntime
from semmix_rt.engines.trt.kernels import KernelCache
from semmix_rt.engines.trt.library import Library, load
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey, build_command, target_name
from semmix_rt.engines.trt.runner import (
    BatchedRunner,
    GraphRunner,
    GuardedRunner,
    deserialise,
)


class Opener:
    """Opens a bundle's plans.

    Attributes:
        provider: what runs and where, such as `TensorRT 11.4.0 on NVIDIA RTX A2000`.
    """

    def __init__(self, library: Library, bundle: Bundle) -> None:
        """Start the library and the GPU.

        Raises:
            EngineError: the library or cuda-python is missing.
            ProviderError: there is no GPU.
        """
        self._trt = load(library)
        self._library, self._bundle = library, bundle
        self._device: CudaRuntime = Cuda()
        self._plans = PlanFolder()
        self._gpu = gpu = self._device.gpu()
        self._target = target_name(library, gpu)
        self.provider = f"{library.title} {self._trt.__version__} on {gpu.name}"

    def context(self) -> GraphRunner:
        """The context encoder's runner, for one segment of cues.

        Raises:
            EngineMismatchError: see `PlanFolder.load` and `GraphRunner`.
        """
        return self._open("context", "fp32")

    def highlighter(self, precision: str) -> BatchedRunner:
        """The mask network's runner, with float32 to turn to.

        Raises:
            EngineMismatchError: see `PlanFolder.load` and `GraphRunner`; also if only the plan in
                float32 is missing.
        """
        if precision == "int8cpu":
            raise EngineMismatchError(
                "int8cpu is made for ONNX Runtime on CPUs: choose --precision int8 for TensorRT, "
                "or --engine ort"
            )
        key = self._key("highlighter", precision)
        # Where there is none, the one for a single stream is told as missing.
        batches = self._plans.batches(key) or (ONE,)
        return BatchedRunner(batches, partial(self._guarded, precision), build_command(key))

    def _guarded(self, precision: str, batch: Batch) -> GuardedRunner:
        if precision == "fp32":
            return GuardedRunner(self._open("highlighter", "fp32", batch), None)
        # What a film would miss in its middle is known before it starts.
        self._plans.load(self._key("highlighter", "fp32", batch))
        return GuardedRunner(
            self._open("highlighter", precision, batch),
            partial(self._open, "highlighter", "fp32", batch),
        )

    def _open(self, graph: Graph, precision: str, batch: Batch = ONE) -> GraphRunner:
        key = self._key(graph, precision, batch)
        engine = deserialise(self._library, self._plans.load(key))
        # TensorRT's own plans hold compiled kernels already.
        kernels = None
        if self._library.name == "tensorrt-rtx":
            kernels = KernelCache(self._plans.kernels(key, self._gpu))
        return GraphRunner(self._trt, engine, self._device, key.shapes, batch, kernels)

    def _key(self, graph: Graph, precision: str, batch: Batch = ONE) -> PlanKey:
        bundle = self._bundle
        content = (
            bundle.context_graph() if graph == "context" else bundle.highlighter_graph(precision)
        )
        return PlanKey(
            model=bundle.name,
            graph=graph,
            graph_sha256=hashlib.sha256(content).hexdigest(),
            precision=precision,
            library=self._library.name,
            version=str(self._trt.__version__),
            target=self._target,
            shapes=graph_shapes(bundle.manifest.spec, graph),
            batch=batch,
        )
