"""What a compiled engine consists of, and what became of the products of its ONNX graph.

The layers are the one thing about an engine that can be known without running it. From them
follows, for each product of the ONNX graph (convolutions and matrix products), in which precision
it will be computed: not from the types of its inputs alone, since a layer may take INT8, make
floats of it and multiply these. A fusion's name lists what it does in order: `CastMul...Fc` casts,
scales, and only then multiplies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import onnx
from semmix_rt.engines.ort_placement import PRODUCTS

from semmix.errors import EngineMismatchError
from semmix_export.tensorrt.layer import UNKNOWN, Layer, Tensor
from semmix_export.tensorrt.layer_json import inspected_layers
from semmix_export.tensorrt.layer_log import logged_layers

POINTWISE = "pointwise"
"""A product over so few channels that it is written out in a kernel of element-wise operations."""

MISSING = "nothing"
"""A product that no layer mentions."""


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution or matrix product of the graph, and what became of it.

    Attributes:
        node: name of the ONNX node.
        operator: one of `PRODUCTS`.
        layer: name of the layer that computes it, empty where there is none.
        computes_in: see `Layer.computes_in`; `POINTWISE` or `MISSING` where that says nothing, and
            `UNKNOWN` where no layer that could be read tells it.
    """

    node: str
    operator: str
    layer: str
    computes_in: str


@dataclass(frozen=True, slots=True)
class LayerTable:
    """The layers of an engine in their order, and the products of its graph."""

    layers: tuple[Layer, ...]
    products: tuple[Product, ...]

    @property
    def computed_in(self) -> dict[str, int]:
        """Number of products by the type they are computed in."""
        return dict(sorted(Counter(p.computes_in for p in self.products).items()))

    @property
    def kinds(self) -> dict[str, int]:
        """Number of layers by kind."""
        return dict(sorted(Counter(layer.kind for layer in self.layers).items()))


def layer_table(messages: Iterable[str], graph: bytes) -> LayerTable:
    """Read the table from what a library said, and find the graph's products in it.

    Args:
        messages: of one compilation by TensorRT for RTX, with detailed profiling.
        graph: the ONNX that was compiled.

    Raises:
        EngineError: there is no table.
    """
    return _table(logged_layers(messages), graph)


def inspected_table(information: str, graph: bytes) -> LayerTable:
    """Read the table from what TensorRT's engine inspector tells, and find the products in it.

    Args:
        information: its JSON about the whole engine.
        graph: the ONNX that was compiled.

    Raises:
        EngineError: there is no table.
    """
    return _table(inspected_layers(information), graph)


def table_from_dict(data: Any) -> LayerTable:
    """Rebuild a table from the plain values that `dataclasses.asdict` makes of it.

    Raises:
        EngineMismatchError: they are of another form.
    """

    def tensors(rows: Any) -> tuple[Tensor, ...]:
        return tuple(Tensor(t["name"], tuple(t["shape"]), t["dtype"]) for t in rows)

    try:
        layers = tuple(
            Layer(
                row["name"],
                row["kind"],
                tensors(row["inputs"]),
                tensors(row["constants"]),
                tensors(row["outputs"]),
                tuple(row["nodes"]),
            )
            for row in data["layers"]
        )
        return LayerTable(layers, tuple(Product(**row) for row in data["products"]))
    except (KeyError, TypeError) as exc:
        raise EngineMismatchError(
            f"the table of layers beside an engine cannot be read ({exc!r}): build it again with "
            "`semmix-rt build --rebuild`"
        ) from exc


def _table(layers: tuple[Layer, ...], graph: bytes) -> LayerTable:
    return LayerTable(layers, tuple(_products(graph, layers)))


def _products(graph: bytes, layers: tuple[Layer, ...]) -> Iterable[Product]:
    model = onnx.load_model_from_string(graph)
    # What no row mentions may lie in one that could not be read.
    unmentioned = UNKNOWN if any(layer.kind == UNKNOWN for layer in layers) else MISSING
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            found = [layer for layer in layers if node.name in layer.nodes]
            computing = next((layer for layer in found if layer.multiplies), None)
            if computing is not None:
                yield Product(node.name, node.op_type, computing.name, computing.computes_in)
            elif found:
                plain = all(layer.element_wise for layer in found)
                told = POINTWISE if plain else UNKNOWN
                yield Product(node.name, node.op_type, found[0].name, told)
            else:
                yield Product(node.name, node.op_type, "", unmentioned)
