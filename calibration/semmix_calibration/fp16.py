"""FP16: a graph typed half precision, in and out float32, its delicate parts float32.

TensorRT is strongly typed: a layer's precision is what the graph says. So the graph says it, with
a Cast wherever the precision changes. Which nodes stay in float32:

- powers, logarithms, exponentials, softmax, and norms with their statistics;
- what a logarithm or a root is taken of, back to where values were last bounded: levels that are
  measured (the meter's) lie as low as 1e-8, where half precision has nothing;
- nodes that take or make values beyond a limit on real audio, by default 512, where half precision
  steps by 0.5, and sums and products of single values from 16 on: what a stream carries past its
  layers is rounded again by each, where a layer's own sums are rounded once;
- nodes whose constants half precision cannot hold: beyond 65504, or all below 6e-5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from semmix_calibration.graph import Graph, finish, index, parse, take_instead
from semmix_calibration.ranges import Range
from semmix_calibration.rounding import MOVING

LIMITS = (512.0, 128.0, 32.0)
"""Largest values of layers in FP16, the first the default: neighbouring values lie 0.5, 0.125 and
1/32 apart there. A tone that most of a window's energy goes through asks for the last."""
LARGEST_ARITHMETIC = 16.0
"""From here on they lie 1/64 apart: a dozen sums in a row keep 55 dB so, in float32 ten more."""
MAX_FP16 = 65504.0
_MIN_FP16 = 6.104e-5
"""The smallest FP16 number of full precision; below, digits are lost one by one down to 6e-8."""

_DELICATE = frozenset(
    {
        *("Pow", "Log", "Exp", "Sqrt", "Reciprocal", "Softmax", "LogSoftmax"),
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "ReduceL2"),
        *("ReduceLogSumExp", "ReduceSumSquare", "CumSum"),
    }
)
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_OF_SMALL_VALUES = frozenset({"Log", "Sqrt", "Reciprocal"})
_BOUNDING = frozenset(
    {
        *("Softmax", "LayerNormalization", "InstanceNormalization", "GroupNormalization"),
        *("Tanh", "Sigmoid", "Relu", "Gelu", "Erf", "Conv", "ConvTranspose", "Gemm", "LSTM"),
    }
)
"""Nodes whose results say nothing of how small what went in was."""


def typed(content: bytes, ranges: Mapping[str, Range], largest: float = LIMITS[0]) -> bytes:
    """Type a float32 graph half precision; delicate nodes, inputs and outputs stay float32.

    Args:
        content: ONNX in float32.
        ranges: of its tensors on real audio, from `ranges.observe`.
        largest: see `delicate_nodes`.

    Raises:
        ModelFormatError: the graph is damaged.
    """
    return convert(parse(content).model, delicate_nodes(content, ranges, largest))


def delicate_nodes(
    content: bytes, ranges: Mapping[str, Range], largest: float = LIMITS[0]
) -> frozenset[str]:
    """Names of the nodes of a float32 graph that stay in float32; see the top of this file.

    Args:
        content: ONNX in float32.
        ranges: of its tensors on real audio, from `ranges.observe`.
        largest: magnitude beyond which no node is in half precision.
    """
    graph = parse(content)
    found = {
        node.name
        for node in graph.nodes
        if node.op_type in _DELICATE
        or _too_large(node, ranges, largest)
        or not all(_holds(graph, name) for name in node.input)
    }
    found |= measured_nodes(graph)
    return frozenset(found | _carriers(graph, found))


def measured_nodes(graph: Graph) -> set[str]:
    """Names of the nodes a logarithm or a root is taken of, back to the last bounded values."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.op_type in _OF_SMALL_VALUES or _is_root(graph, node):
            found |= {n.name for n in _measured(graph, node)}
    return found


def convert(model: ModelProto, float32_nodes: Iterable[str]) -> bytes:
    """Type a model half precision but for the named nodes, its inputs and its outputs.

    Q/DQ pairs have the type of the product they feed: a compiler multiplies in INT8 only what
    comes out of its pair with nothing in between.

    Raises:
        ModelFormatError: the graph did not come out well formed.
    """
    named = frozenset(float32_nodes)
    kept = named | _pairs_of(index(model), named)
    _split_shared_constants(index(model), kept)
    converted = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=DEFAULT_OP_BLOCK_LIST,
        node_block_list=sorted(kept),
    )
    _drop_detours(converted)
    return finish(converted)


def first_overflow(ranges: Mapping[str, Range]) -> str | None:
    """The first tensor of a graph that left the range of its type, None where none did.

    Args:
        ranges: of its tensors, from `ranges.observe` on this graph.
    """
    for name, seen in ranges.items():
        if not np.isfinite([seen.low, seen.high]).all():
            return name
    return None


def _too_large(node: NodeProto, ranges: Mapping[str, Range], largest: float) -> bool:
    seen = [ranges[name].absmax for name in (*node.input, *node.output) if name in ranges]
    if node.op_type in _ARITHMETIC:
        largest = min(largest, LARGEST_ARITHMETIC)
    return any(not absmax <= largest for absmax in seen)


def _holds(graph: Graph, name: str) -> bool:
    """Whether half precision can hold a constant; what is none it can."""
    tensor = graph.constants.get(name)
    if tensor is None or tensor.data_type != TensorProto.FLOAT:
        return True
    sizes = np.abs(graph.array(name).astype(np.float64).ravel())
    largest = float(sizes.max(initial=0.0))
    # Single weights that vanish beside larger ones are no loss; a constant that does is.
    return largest == 0.0 or _MIN_FP16 <= largest <= MAX_FP16


def _is_root(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is a power below 1, which spreads small values as a logarithm does."""
    if node.op_type != "Pow" or node.input[1] not in graph.constants:
        return False
    return bool(np.all(np.abs(graph.array(node.input[1]).astype(np.float64)) < 1.0))


def _measured(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """What a logarithm or a root is taken of, back to the last bounded values."""
    found: dict[str, NodeProto] = {}
    waiting = graph.before(node)
    while waiting:
        source = waiting.pop()
        if source.name not in found and source.op_type not in _BOUNDING:
            found[source.name] = source
            waiting += graph.before(source)
    return list(found.values())


def _carriers(graph: Graph, float32_nodes: set[str]) -> set[str]:
    """Nodes that only carry values from float32 nodes or inputs to float32 nodes or outputs."""
    found: set[str] = set()
    outputs = {value.name for value in graph.model.graph.output}
    for node in graph.nodes:
        kept = float32_nodes | found
        sources = graph.before(node)
        carries = node.op_type in MOVING and all(source.name in kept for source in sources)
        leaves = any(name in outputs for name in node.output)
        if carries and (leaves or all(taker.name in kept for taker in graph.after(node))):
            found.add(node.name)
    return found


def _pairs_of(graph: Graph, float32_nodes: frozenset[str]) -> set[str]:
    """Names of the Q/DQ nodes whose results float32 nodes take; what both kinds take is doubled."""
    found: set[str] = set()
    for back in [node for node in graph.nodes if node.op_type == "DequantizeLinear"]:
        takers = graph.after(back)
        exact = [node for node in takers if node.name in float32_nodes]
        if not exact:
            continue
        found |= {n.name for n in graph.before(back) if n.op_type == "QuantizeLinear"}
        if len(exact) < len(takers):
            result = back.output[0]
            back = NodeProto.FromString(back.SerializeToString())
            back.name, back.output[0] = f"{back.name}, exact", f"{result}, exact"
            graph.model.graph.node.append(back)
            take_instead(exact, result, back.output[0])
        found.add(back.name)
    return found


def _split_shared_constants(graph: Graph, float32_nodes: frozenset[str]) -> None:
    """Give float32 nodes constants of their own: one that others share would be rounded for all."""
    for name, tensor in list(graph.constants.items()):
        takers = graph.consumers.get(name, [])
        exact = [node for node in takers if node.name in float32_nodes]
        if tensor.data_type != TensorProto.FLOAT or not exact or len(exact) == len(takers):
            continue
        copy = TensorProto.FromString(tensor.SerializeToString())
        copy.name = f"{name}, exact"
        graph.model.graph.initializer.append(copy)
        take_instead(exact, name, copy.name)


def _drop_detours(model: ModelProto) -> None:
    """Take values before they were rounded: float32 to half precision and back becomes nothing."""
    outputs = {value.name for value in model.graph.output}
    while found := _detours(graph := index(model), outputs):
        for node, exact in found:
            result = node.output[0]
            if result in outputs:
                node.output[0] = f"{result}, rounded"
                _rename_output(graph, exact, result)
                # Names are others now.
                break
            take_instead(graph.consumers[result], result, exact)
    _drop_unused(model)


def _detours(graph: Graph, outputs: set[str]) -> list[tuple[NodeProto, str]]:
    """Casts back to float32, and the tensors that were float32 before; none behind another."""
    found: dict[str, tuple[NodeProto, str]] = {}
    for node in graph.nodes:
        source = graph.producers.get(node.input[0]) if _casts(node, TensorProto.FLOAT) else None
        taken = node.output[0] in graph.consumers or node.output[0] in outputs
        if source is not None and _casts(source, TensorProto.FLOAT16) and taken:
            found[node.output[0]] = node, source.input[0]
    return [(node, exact) for node, exact in found.values() if exact not in found]


def _rename_output(graph: Graph, exact: str, output: str) -> None:
    """Let a tensor leave the graph under an output's name."""
    maker = graph.producers.get(exact)
    if maker is None:
        # An input that leaves as it came.
        graph.model.graph.node.append(onnx.helper.make_node("Identity", [exact], [output]))
        return
    for node in graph.nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == exact:
                    names[place] = output


def _drop_unused(model: ModelProto) -> None:
    """Remove nodes whose results nobody takes, until there are none."""
    outputs = {value.name for value in model.graph.output}
    while True:
        used = outputs | {name for node in model.graph.node for name in node.input}
        idle = [n for n in model.graph.node if not any(name in used for name in n.output)]
        if not idle:
            return
        for node in idle:
            model.graph.node.remove(node)


def _casts(node: NodeProto, to: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == to for a in node.attribute)
