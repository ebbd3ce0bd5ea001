"""What precisions ask of an ONNX graph: who makes and takes a tensor, whose part a node is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from semmix.errors import ModelFormatError

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_NUMBERED_PART = re.compile(r"(?:[A-Za-z_]\w*\.)+\d+(?=\.)")
_MODULE = re.compile(r"([A-Za-z_][\w.]*)/")
"""How the exporter begins a node's name."""
_FOREIGN = "input"
"""Block of the nodes before the first known part."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A model with its cross-references.

    Attributes:
        model: the graph; every node has a name.
        constants: initialisers by name.
        producers: node that makes a tensor, by the tensor's name.
        consumers: nodes that take a tensor, by the tensor's name.
    """

    model: ModelProto
    constants: dict[str, TensorProto]
    producers: dict[str, NodeProto]
    consumers: dict[str, list[NodeProto]]

    @property
    def nodes(self) -> list[NodeProto]:
        """The nodes, each after all that it takes from."""
        return list(self.model.graph.node)

    def array(self, name: str) -> NDArray[np.generic]:
        """Values of an initialiser."""
        return numpy_helper.to_array(self.constants[name])

    def before(self, node: NodeProto) -> list[NodeProto]:
        """Nodes that a node takes from."""
        return [self.producers[name] for name in node.input if name in self.producers]

    def after(self, node: NodeProto) -> list[NodeProto]:
        """Nodes that take from a node."""
        return [taker for name in node.output for taker in self.consumers.get(name, ())]


def parse(content: bytes) -> Graph:
    """Read and check ONNX bytes that carry their own weights.

    Raises:
        ModelFormatError: they are no ONNX graph, or their weights lie elsewhere.
    """
    model = read(content)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as exc:
        raise _unreadable(exc) from exc
    return index(model)


def read(content: bytes) -> ModelProto:
    """Read ONNX bytes, whatever their graph is like.

    Raises:
        ModelFormatError: they are no ONNX.
    """
    try:
        return onnx.load_model_from_string(content)
    except Exception as exc:  # protobuf's errors have no base class that onnx names
        raise _unreadable(exc) from exc


def _unreadable(exc: Exception) -> ModelFormatError:
    reason = str(exc).splitlines()[0]
    return ModelFormatError(f"the network's graph cannot be read ({reason}): export it again")


def index(model: ModelProto) -> Graph:
    """Cross-references of a model; nodes without a name are given one."""
    producers: dict[str, NodeProto] = {}
    consumers: dict[str, list[NodeProto]] = {}
    taken = {node.name for node in model.graph.node}
    for number, node in enumerate(model.graph.node):
        if not node.name:
            node.name = next(
                n
                for n in (f"{node.op_type}_{number}{'_' * i}" for i in range(99))
                if n not in taken
            )
            taken.add(node.name)
        for name in node.output:
            producers[name] = node
        for name in node.input:
            if name:
                consumers.setdefault(name, []).append(node)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return Graph(model, constants, producers, consumers)


def take_instead(takers: Iterable[NodeProto], old: str, new: str) -> None:
    """Let nodes take another tensor."""
    for node in takers:
        for place, taken in enumerate(node.input):
            if taken == old:
                node.input[place] = new


def float_tensors(model: ModelProto) -> set[str]:
    """Names of the tensors of floats that nodes make.

    Raises:
        ModelFormatError: the graph's types contradict each other.
    """
    return _of_types(model, _FLOATS)


def half_tensors(model: ModelProto) -> set[str]:
    """Names of those of them that are FP16; see `float_tensors`."""
    return _of_types(model, (TensorProto.FLOAT16,))


def _of_types(model: ModelProto, kinds: tuple[int, ...]) -> set[str]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as exc:
        raise ModelFormatError(
            f"the types in the network's graph cannot be told ({str(exc).splitlines()[0]}): "
            "export it again"
        ) from exc
    typed = [*inferred.graph.value_info, *inferred.graph.output]
    return {v.name for v in typed if v.type.tensor_type.elem_type in kinds}


def blocks(graph: Graph) -> dict[str, str]:
    """Which part of the network each node belongs to, by the node's name.

    A node's name begins with its module. In older graphs it does not, and parts are told from the
    names of weights, which the exporter keeps where it does not have to transpose them, and where
    no other weights are equal: a node belongs where its weights belong; else, where the bias is
    from that is added to its result; else, where what it takes from belongs that came last.
    """
    found: dict[str, str] = {}
    order: dict[str, int] = {}
    for number, node in enumerate(graph.nodes):
        order[node.name] = number
        own = _by_name(node) or _by_weights(graph, node)
        if own is None and node.op_type in ("MatMul", "Gemm"):
            takers = graph.after(node)
            if len(takers) == 1 and takers[0].op_type == "Add":
                own = _by_weights(graph, takers[0])
        if own is None:
            sources = sorted(graph.before(node), key=lambda n: order[n.name])
            own = found[sources[-1].name] if sources else _FOREIGN
        found[node.name] = own
    return found


def _by_name(node: NodeProto) -> str | None:
    """Part of the network that a node's name tells."""
    module = _MODULE.match(node.name)
    return None if module is None else block_of_weight(f"{module[1]}.")


def _by_weights(graph: Graph, node: NodeProto) -> str | None:
    """Part of the network that a node's own named weights are from."""
    for name in node.input:
        if name in graph.constants and "." in name:
            return block_of_weight(name)
    return None


def block_of_weight(name: str) -> str:
    """`network.encoder.1.time_in` -> `encoder.1`: down to the first numbered part, or the top.

    A module's name ends in a dot, as it is followed by its weights.

    A number at the end counts weights, not parts: `head.weights.2` belongs to `head`.
    """
    name = name.removeprefix("network.")
    numbered = _NUMBERED_PART.match(name)
    return numbered[0] if numbered else name.partition(".")[0]


def sort_nodes(model: ModelProto) -> None:
    """Put every node behind those it takes from, otherwise in the order they have."""
    made = {tensor.name for tensor in model.graph.initializer}
    made |= {value.name for value in model.graph.input} | {""}
    waiting = list(model.graph.node)
    ordered: list[NodeProto] = []
    while waiting:
        ready = list(_ready(waiting, made))
        if not ready:
            raise ModelFormatError("the network's graph runs in a circle: export it again")
        ordered += ready
        chosen = {id(node) for node in ready}
        waiting = [node for node in waiting if id(node) not in chosen]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _ready(waiting: Iterable[NodeProto], made: set[str]) -> Iterator[NodeProto]:
    for node in waiting:
        if all(name in made for name in node.input):
            made.update(node.output)
            yield node


def finish(model: ModelProto) -> bytes:
    """Sort, drop what was inferred on the way, check, and give the bytes.

    Raises:
        ModelFormatError: the graph did not come out well formed.
    """
    sort_nodes(model)
    used = {name for node in model.graph.node for name in node.input}
    used |= {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    # Shapes of the example's batch would be trusted over the real ones.
    del model.graph.value_info[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise ModelFormatError(
            f"the new graph is not well formed ({str(exc).splitlines()[0]}): report this with the "
            "model's name"
        ) from exc
    content: bytes = model.SerializeToString()
    return content
