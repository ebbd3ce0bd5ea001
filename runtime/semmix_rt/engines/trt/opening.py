"""From a bundle to runners on this machine's GPU, by the plans that were built for both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix_rt.engines.inputs import Graph, graph_shapes
from semmix_rt.engines.trt import parity
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
        self._loaded: dict[str, str] = {}
        self._graph_sha256: dict[tuple[Graph, str], str] = {}
        self._gpu = gpu = self._device.gpu()
        self._target = target_name(library, gpu)
        self.provider = f"{library.title} {self._trt.__version__} on {gpu.name}"

    def context(self) -> GraphRunner:
        """The context encoder's runner, for one segment of cues.

        Raises:
            EngineMismatchError: see `PlanFolder.load` and `GraphRunner`.
        """
        return self._open("context", "fp32")

    def highlighter(self, precision: str, batches: Sequence[Batch] = ()) -> BatchedRunner:
        """The mask network's runner, with float32 to turn to.

        Args:
            precision: of the network.
            batches: those of the plans to run, none for all that there are.

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
        found = batches or self._plans.batches(key) or (ONE,)
        return BatchedRunner(found, partial(self._guarded, precision), build_command(key))

    def doubt(self, precision: str, batches: Sequence[Batch]) -> str:
        """Why one of the plans is not proved, or of those in float32 that may take over from it.

        Returns:
            the end of a sentence, empty where all are proved.

        Raises:
            EngineMismatchError: a damaged sidecar.
        """
        facts = {"provider": self.provider, "context_sha256": self._context_sha256}
        for key in (
            self._key("highlighter", name, batch)
            for name in dict.fromkeys((precision, "fp32"))
            for batch in batches
        ):
            ran = self._loaded.get(key.name, "")
            if found := parity.doubt(self._plans, key, self._bundle, plan_sha256=ran, **facts):
                return found
        return ""

    def keep_parity(self, precision: str, batch: Batch, record: Mapping[str, Any]) -> None:
        """Write what was found beside the plan that ran; see `parity.keep`."""
        key = self._key("highlighter", precision, batch)
        parity.keep(
            self._plans,
            key,
            record,
            provider=self.provider,
            plan_sha256=self._loaded[key.name],
            context_sha256=self._context_sha256,
        )

    @property
    def _context_sha256(self) -> str:
        if not self._bundle.manifest.context:
            return ""
        return self._loaded[self._key("context", "fp32").name]

    def _guarded(self, precision: str, batch: Batch) -> GuardedRunner:
        if precision == "fp32":
            return GuardedRunner(self._open("highlighter", "fp32", batch), None)
        # Held from the start: what a film would miss in its middle is known before, and what takes
        # over then is what was proved.
        key = self._key("highlighter", "fp32", batch)
        plan = self._load(key)
        return GuardedRunner(
            self._open("highlighter", precision, batch), partial(self._start, key, plan)
        )

    def _open(self, graph: Graph, precision: str, batch: Batch = ONE) -> GraphRunner:
        key = self._key(graph, precision, batch)
        return self._start(key, self._load(key))

    def _load(self, key: PlanKey) -> bytes:
        plan = self._plans.load(key)
        self._loaded[key.name] = hashlib.sha256(plan).hexdigest()
        return plan

    def _start(self, key: PlanKey, plan: bytes) -> GraphRunner:
        engine = deserialise(self._library, plan)
        # TensorRT's own plans hold compiled kernels already.
        kernels = None
        if self._library.name == "tensorrt-rtx":
            kernels = KernelCache(self._plans.kernels(key, self._gpu))
        return GraphRunner(self._trt, engine, self._device, key.shapes, key.batch, kernels)

    def _key(self, graph: Graph, precision: str, batch: Batch = ONE) -> PlanKey:
        bundle = self._bundle
        # Once a start: large networks take a while to be read and hashed.
        hashed = self._graph_sha256.get((graph, precision))
        if hashed is None:
            content = (
                bundle.context_graph()
                if graph == "context"
                else bundle.highlighter_graph(precision)
            )
            hashed = hashlib.sha256(content).hexdigest()
            self._graph_sha256[graph, precision] = hashed
        return PlanKey(
            model=bundle.name,
            graph=graph,
            graph_sha256=hashed,
            precision=precision,
            library=self._library.name,
            version=str(self._trt.__version__),
            target=self._target,
            shapes=graph_shapes(bundle.manifest.spec, graph),
            batch=batch,
        )
