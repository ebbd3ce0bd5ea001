"""One ONNX graph to one plan, with what the library tells of it while it compiles."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from semmix_rt.engines.inputs import Shapes
from semmix_rt.engines.trt.batches import ONE, Batch, batched
from semmix_rt.engines.trt.library import Journal, Library, journal, load

from semmix.errors import EngineError

_LOG = logging.getLogger(__name__)

RTX_TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Compute capabilities that TensorRT for RTX compiles for, with or without such a GPU."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled graph.

    Attributes:
        plan: what the library loads.
        messages: everything it said, with the table of layers among it.
        timing_cache: what it measured, empty where it measures nothing.
    """

    plan: bytes
    messages: tuple[str, ...]
    timing_cache: bytes


def compile_graph(
    library: Library,
    graph: bytes,
    shapes: Shapes,
    targets: Sequence[str],
    timing_cache: bytes = b"",
    batch: Batch = ONE,
) -> Compiled:
    """Compile an ONNX graph; its precision is what the graph is typed as.

    Args:
        library: what compiles.
        graph: ONNX that carries its weights.
        shapes: every input's shape for one stream or window.
        targets: of `RTX_TARGETS`, all in one plan; none for the GPU of this machine.
        timing_cache: from an earlier compilation by the same library for the same GPU.
        batch: how many streams or windows at once; there is one profile, in which nothing else
            varies.

    Raises:
        EngineError: the library is missing, or refuses the graph or the target.
    """
    trt, notes = load(library), journal(library)
    notes.record()
    try:
        return _compile(trt, notes, library, graph, shapes, targets, timing_cache, batch)
    except (RuntimeError, ValueError, TypeError) as exc:  # what the bindings raise
        first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise EngineError(
            f"{library.title} {trt.__version__} cannot compile here ({first[:200]}; "
            f"{notes.reason()}): {_elsewhere(library)}"
        ) from exc
    finally:
        notes.recorded()


def _compile(
    trt: Any,
    notes: Journal,
    library: Library,
    graph: bytes,
    shapes: Shapes,
    targets: Sequence[str],
    timing_cache: bytes,
    batch: Batch,
) -> Compiled:
    builder = trt.Builder(notes.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, notes.logger)
    if not parser.parse(graph):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise EngineError(
            f"{library.title} {trt.__version__} cannot read the graph "
            f"({'; '.join(errors)[:300] or notes.reason()}): export the model again"
        )
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if targets:
        config.num_compute_capabilities = len(targets)
        for place, target in enumerate(targets):
            config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), place)
    # TensorRT for RTX measures nothing here: it chooses kernels on the GPU that runs them.
    measures = library.name == "tensorrt"
    if measures:
        _use_timing_cache(config, timing_cache)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = shapes.get(tensor.name)
        if shape is None or len(shape) != len(tensor.shape):
            raise EngineError(
                f"the graph's input {tensor.name!r} {list(tensor.shape)} is none the model's spec "
                "knows: export the model again"
            )
        sizes = batch.least, batch.usual, batch.most
        profile.set_shape(tensor.name, *(batched(shapes, size)[tensor.name] for size in sizes))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{library.title} {trt.__version__} cannot compile the graph"
            f"{' for ' * bool(targets)}{', '.join(targets)} ({notes.reason()}): "
            "try another precision, or report it with the model's name"
        )
    kept = bytes(memoryview(config.get_timing_cache().serialize())) if measures else b""
    return Compiled(bytes(memoryview(plan)), tuple(notes.recorded()), kept)


def _use_timing_cache(config: Any, content: bytes) -> None:
    """Start from earlier measurements, or from none where the library refuses them."""
    earlier = config.create_timing_cache(content)
    if earlier is None or not config.set_timing_cache(earlier, False):
        _LOG.warning("TensorRT measures again, as it refuses what it measured earlier")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _elsewhere(library: Library) -> str:
    if library.name == "tensorrt":
        return (
            "it needs an NVIDIA GPU and its driver; `--engine tensorrt-rtx --target sm86` "
            "compiles without"
        )
    return "check the GPU driver with `semmix-rt env`, or name the GPU's --target"
