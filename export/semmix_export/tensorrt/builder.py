"""A bundle's graphs as TensorRT engines, kept where the runtime looks for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from time import perf_counter

from semmix_rt.engines.inputs import Graph, graph_shapes
from semmix_rt.engines.trt.batches import ONE, Batch
from semmix_rt.engines.trt.cuda import Cuda
from semmix_rt.engines.trt.library import LIBRARIES, Library, load
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey, StoredPlan, target_name
from semmix_rt.engines.trt.trust import distrust

from semmix.bundle import Bundle
from semmix.errors import EngineError, EngineMismatchError, UsageError
from semmix_export.tensorrt.compile import RTX_TARGETS, Compiled, compile_graph
from semmix_export.tensorrt.layer import UNKNOWN
from semmix_export.tensorrt.layer_json import inspect_plan
from semmix_export.tensorrt.layers import (
    LayerTable,
    inspected_table,
    layer_table,
    table_from_dict,
)

_LOG = logging.getLogger(__name__)

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
        table: its layers and what became of the graph's products; None, with a notice, where the
            library did not tell or it cannot be read.
    """

    graph: Graph
    precision: str
    target: str
    batch: str
    path: Path
    plan_bytes: int
    build_s: float | None
    table: LayerTable | None


def build(
    bundle: Bundle | str | PathLike[str],
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
    What is there already is kept, and compiled again, with a notice, where it is damaged.

    Args:
        bundle: a model of either kind, its path, or the name of one that comes along, such as
            `edge`.
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
    model = bundle if isinstance(bundle, Bundle) else Bundle.find(bundle)
    library = _library(engine)
    wanted = _precisions(model, precisions)
    version = str(load(library).__version__)
    plans = PlanFolder(folder)
    built = []
    for target, capability in _targets(library, targets):
        for graph, precision in _graphs(model, wanted):
            if tell is not None:
                tell(f"{graph} in {precision} for {target}")
            mask = graph == "highlighter"
            key = PlanKey(
                model=model.name,
                graph=graph,
                graph_sha256=model.highlighter_sha256(precision) if mask else model.context_sha256,
                precision=precision,
                library=library.name,
                version=version,
                target=target,
                shapes=graph_shapes(model.manifest.spec, graph),
                # Cues are encoded one segment at a time, whatever the streams.
                batch=batch if mask else ONE,
            )
            built.append(_build_one(library, plans, key, model, capability, rebuild))
    if why := distrust(plans.folder):
        _LOG.warning("these engines will not be loaded: %s", why)
    return tuple(built)


def _build_one(
    library: Library,
    plans: PlanFolder,
    key: PlanKey,
    model: Bundle,
    capability: tuple[str, ...],
    rebuild: bool,
) -> BuiltEngine:
    with plans.lock(key):
        stored = None if rebuild else _kept(plans, key)
        if stored is not None:
            return _described(stored, None, _table_beside(stored))
        mask = key.graph == "highlighter"
        content = model.highlighter_graph(key.precision) if mask else model.context_graph()
        started = perf_counter()
        with plans.timing_cache(key) as timing:
            compiled = compile_graph(
                library, content, key.shapes, capability, timing.content, key.batch
            )
            timing.keep(compiled.timing_cache)
        # Stored before anything is read from it: what a compilation of minutes gave must not be
        # lost to a table of another form.
        stored = plans.store(key, compiled.plan, {"parity": NOT_MEASURED})
        build_s = perf_counter() - started
        table = _table_of(library, compiled, content, stored.path)
        if table is not None:
            details = {"products": table.computed_in, "table": asdict(table)}
            stored = plans.add_details(stored, details)
        return _described(stored, build_s, table)


def _kept(plans: PlanFolder, key: PlanKey) -> StoredPlan | None:
    """The plan of an earlier build, None where there is none or a damaged one."""
    try:
        return plans.intact(key)
    except EngineMismatchError as exc:
        _LOG.warning("%s; this is being done", exc)
        return None


def _table_of(
    library: Library, compiled: Compiled, content: bytes, path: Path
) -> LayerTable | None:
    """What a fresh plan consists of; a notice where that is not told, in part or in whole."""
    try:
        if library.name == "tensorrt":
            # A plan for this GPU, which alone may load it.
            table = inspected_table(inspect_plan(library, compiled.plan), content)
        else:
            table = layer_table(compiled.messages, content)
    except EngineError as exc:
        _LOG.warning("the engine %s is stored without a table of its layers: %s", path, exc)
        return None
    unread = table.kinds.get(UNKNOWN, 0)
    if unread:
        _LOG.warning(
            "%d of the %d layers of the engine %s are told in a form that is not known: what they "
            "compute in counts as %s",
            unread,
            len(table.layers),
            path,
            UNKNOWN,
        )
    return table


def _table_beside(stored: StoredPlan) -> LayerTable | None:
    """The table in a plan's sidecar, None where it was stored without, or in another form."""
    if "table" not in stored.sidecar:
        return None
    try:
        return table_from_dict(stored.sidecar["table"])
    except EngineMismatchError as exc:
        _LOG.warning("the engine %s is kept without its table: %s", stored.path, exc)
        return None


def _described(stored: StoredPlan, build_s: float | None, table: LayerTable | None) -> BuiltEngine:
    key = stored.key
    return BuiltEngine(
        key.graph,
        key.precision,
        key.target,
        str(key.batch),
        stored.path,
        stored.path.stat().st_size,
        build_s,
        table,
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
