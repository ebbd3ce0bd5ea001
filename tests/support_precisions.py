"""A network in every precision, chosen on noise: quick, and as good as any to compile and run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from semmix_calibration import activations, fp16, int8
from semmix_calibration.ranges import observe
from semmix_rt.engines.inputs import graph_shapes
from semmix_rt.engines.ort_placement import PRODUCTS

from semmix.bundle import Bundle

_NAMES = {TensorProto.FLOAT: "Float", TensorProto.FLOAT16: "Half"}


@dataclass(frozen=True)
class Graphs:
    """A network in every precision, as `semmix-rt calibrate` writes them.

    Attributes:
        graphs: by precision.
    """

    bundle: Bundle
    graphs: dict[str, bytes]

    def typed(self, precision: str) -> dict[str, str]:
        """Type of each product by its node's name, read off the graph: `Float`, `Half`, `Int8`."""
        content = self.graphs[precision]
        model = onnx.shape_inference.infer_shapes(
            onnx.load_from_string(content), strict_mode=True, data_prop=True
        ).graph
        types = {v.name: v.type.tensor_type.elem_type for v in (*model.value_info, *model.input)}
        types |= {v.name: v.type.tensor_type.elem_type for v in model.output}
        makers = {name: n.op_type for n in model.node for name in n.output}
        return {
            n.name: "Int8"
            if all(makers.get(name) == "DequantizeLinear" for name in n.input[:2])
            else _NAMES[types[n.output[0]]]
            for n in model.node
            if n.op_type in PRODUCTS
        }

    def sides(self, precision: str) -> dict[str, int]:
        """Shortest side of each product: of its weights or both operands, by its node's name."""
        model = onnx.shape_inference.infer_shapes(
            onnx.load_from_string(self.graphs[precision]), data_prop=True
        ).graph
        weights = {t.name: list(t.dims) for t in model.initializer}
        values = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.value_info
        }
        found = {}
        for node in (n for n in model.node if n.op_type in PRODUCTS):
            named = [weights[name] for name in node.input[:2] if len(weights.get(name, ())) > 1]
            operands = named or [values[name] for name in node.input[:2]]
            ends = [d[:2] if node.op_type == "Conv" else d[-2:] for d in operands]
            found[node.name] = min(side for pair in ends for side in pair)
        return found


def inputs(bundle: Bundle, seed: int) -> dict[str, NDArray[np.float32]]:
    """Noise as loud as sound; ranges decide here what is FP16, not how good it is."""
    rng = np.random.default_rng(seed)
    found = {
        name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in graph_shapes(bundle.manifest.spec, "highlighter").items()
    }
    for name in found.keys() & {"spectrum", "magnitude"}:
        found[name] = np.abs(found[name])
    if "weights" in found:
        found["weights"] = np.full_like(found["weights"], 1.0 / found["weights"].shape[-1])
    return found


def graphs_of(bundle: Bundle) -> Graphs:
    content = bundle.highlighter_graph()
    runs = [inputs(bundle, seed=0)]
    ranges = observe(content, runs)
    quantised = int8.products(content)
    calibrated = activations.collect(content, int8.activation_names(quantised), runs, "minmax")
    delicate = fp16.delicate_nodes(content, ranges)
    graphs = {
        "fp32": content,
        "fp16": fp16.typed(content, ranges),
        "int8": int8.for_tensorrt(content, quantised, calibrated, delicate),
    }
    return Graphs(bundle, graphs)
