"""A bundle's graphs as TensorRT engines, kept where the runtime looks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from semmix_rt.engines.inputs import Graph, graph_shapes
from semmix_rt.engines.trt.batches import ONE, Batch
from semmix_rt.engines.trt.cuda import Cuda
from semmix_rt.engines.trt.library import LIBRARIES, Library, load
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey, StoredPlan, target_name

from semmix.bundle import Bundle
from semmix.errors import UsageError
from semmix_export.tensorrt.compile import RTX_TARGETS, compile_graph
from semmix_export.tensorrt.layers import LayerTable, layer_table, table_from_dict

NOT_MEASURED = "not measured"
"""What a fresh sidecar says of parity: nothing that was compiled has run yet."""


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """An engine on disk.

    Attributes:
        graph: `context` or `highlighter`.
        precision: of the graph.
        target: what it was compiled for, such as `sm86`.
        batch: how many streams or windows it runs at once, as least:usual:most.
        path: the plan; its sidecar has the suffix `.json`.
        plan_bytes: size of the plan.
        build_s: how long the compilation took, None where an earlier engine was found.
        table: its layers and what became of the graph's products.
    """

    graph: Graph
    precision: str
    target: str
    batch: str
    path: Path
    plan_bytes: int
    build_s: float | None
    table: LayerTable


def build(
    bundle: Bundle,
    engine: str = "tensorrt-rtx",
    *,
    targets: Sequence[str] = (),
    precisions: Sequence[str] = (),
    batch: Batch = ONE,
    folder: Path | None = None,
    rebuild: bool = False,
    tell: Callable[[str], None] | None = None,
) -> tuple[BuiltEngine, ...]:
    """Compile a bundle's graphs for TensorRT or TensorRT for RTX.

    Shapes are as the bundle's spec says, and nothing but the batch may vary. The float32 network
    is always among what is compiled, as the runner turns to it where another gives no numbers.

    Args:
        bundle: of either kind.
        engine: `tensorrt`, which compiles for the GPU of this machine, or `tensorrt-rtx`.
        targets: compute capabilities, such as `sm86`, of the GPUs that `tensorrt-rtx` compiles
            for; by default that of this machine's.
        precisions: of the mask network; by default all that the bundle holds for GPUs.
        batch: how many streams or windows the mask network takes at once.
        folder: where engines go, by default where the runtime looks.
        rebuild: compile also what is there already.
        tell: told each step.

    Returns:
        for each target, the context encoder, the mask network in fp32, and the rest.

    Raises:
        UsageError: no such engine, target or precision.
        EngineError: the library is missing, or cannot compile a graph.
        ProviderError: there is no GPU, and none was named.
        ModelFormatError: the bundle does not hold a precision, or is damaged.
    """
    library = _library(engine)
    wanted = _precisions(bundle, precisions)
    version = str(load(library).__version__)
    plans = PlanFolder(folder)
    built = []
    for target, capability in _targets(library, targets):
        for graph, precision in _graphs(bundle, wanted):
            if tell is not None:
                tell(f"{graph} in {precision} for {target}")
            content = (
                bundle.context_graph()
                if graph == "context"
                else bundle.highlighter_graph(precision)
            )
            key = PlanKey(
                model=bundle.name,
                graph=graph,
                graph_sha256=hashlib.sha256(content).hexdigest(),
                precision=precision,
                library=library.name,
                version=version,
                target=target,
                shapes=graph_shapes(bundle.manifest.spec, graph),
                # Cues are encoded one segment at a time, whatever the streams.
                batch=ONE if graph == "context" else batch,
            )
            built.append(_build_one(library, plans, key, content, capability, rebuild))
    return tuple(built)


def _build_one(
    library: Library,
    plans: PlanFolder,
    key: PlanKey,
    content: bytes,
    capability: tuple[str, ...],
    rebuild: bool,
) -> BuiltEngine:
    with plans.lock(key):
        stored = None if rebuild else plans.find(key)
        if stored is not None:
            plans.load(key)
            return _described(stored, None)
        started = perf_counter()
        compiled = compile_graph(
            library, content, key.shapes, capability, plans.timing_cache(key), key.batch
        )
        table = layer_table(compiled.messages, content)
        details: dict[str, Any] = {
            "parity": NOT_MEASURED,
            "products": table.computed_in,
            "table": asdict(table),
        }
        stored = plans.store(key, compiled.plan, details)
        if compiled.timing_cache:
            plans.store_timing_cache(key, compiled.timing_cache)
        return _described(stored, perf_counter() - started)


def _described(stored: StoredPlan, build_s: float | None) -> BuiltEngine:
    key = stored.key
    return BuiltEngine(
        key.graph,
        key.precision,
        key.target,
        str(key.batch),
        stored.path,
        stored.path.stat().st_size,
        build_s,
        table_from_dict(stored.sidecar.get("table")),
    )


def _library(engine: str) -> Library:
    if engine not in LIBRARIES:
        raise UsageError(f"no engine {engine!r} can be built: choose {' or '.join(LIBRARIES)}")
    return LIBRARIES[engine]


def _precisions(bundle: Bundle, asked: Sequence[str]) -> list[str]:
    """The precisions to compile, fp32 first."""
    if "int8cpu" in asked:
        raise UsageError(
            "int8cpu is made for ONNX Runtime on CPUs, no engine is built of it: choose int8"
        )
    wanted = list(asked) or [name for name in bundle.precisions if name != "int8cpu"]
    for precision in wanted:
        bundle.check_holds(precision)
    return list(dict.fromkeys(("fp32", *wanted)))


def _graphs(bundle: Bundle, precisions: Sequence[str]) -> list[tuple[Graph, str]]:
    context: list[tuple[Graph, str]] = [("context", "fp32")] if bundle.manifest.context else []
    return [*context, *(("highlighter", precision) for precision in precisions)]


def _targets(library: Library, asked: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """For each target, its name in keys, and what to compile for, nothing for this GPU."""
    if library.name == "tensorrt":
        if asked:
            raise UsageError(
                "TensorRT compiles for the GPU of this machine alone: leave --target out, or use "
                "--engine tensorrt-rtx"
            )
        with closing(Cuda()) as cuda:
            return [(target_name(library, cuda.gpu()), ())]
    if not asked:
        with closing(Cuda()) as cuda:
            asked = [target_name(library, cuda.gpu())]
    for target in asked:
        if target not in RTX_TARGETS:
            raise UsageError(
                f"TensorRT for RTX does not compile for {target!r}: choose from "
                f"{', '.join(RTX_TARGETS)}"
            )
    return [(target, (target,)) for target in dict.fromkeys(asked)]
