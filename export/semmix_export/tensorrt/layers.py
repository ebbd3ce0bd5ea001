"""What a compiled engine consists of, read from the table of layers that the library logs.

The table is the one thing about an engine that can be known without a GPU. From it follows, for
each product of the ONNX graph (convolutions and matrix products), in which precision it will be
computed: not from the types of its inputs alone, since a layer may take INT8, make floats of it
and multiply these. A fusion's name lists what it does in order: `CastMul...Fc` casts, scales, and
only then multiplies.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import onnx
from semmix_rt.engines.ort_placement import PRODUCTS

from semmix.errors import EngineError, EngineMismatchError

POINTWISE = "pointwise"
"""A product over so few channels that it is written out in a kernel of element-wise operations."""

MISSING = "nothing"
"""A product that no layer mentions."""

_TABLE = "Layers:\n"
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[^\]]*)\].*?"
    r"Datatype: (?P<dtype>\w+)"
)
_LAYER = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: (?P<tactic>.*?), StreamId: .*?Metadata: ?(?P<nodes>.*)"
)
_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
_DEQUANTISES = re.compile(r"Cast(?:Cast)*Mul.*(?:Fc|Gemm|Corr|Deco)")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A layer's input, constant or output.

    Attributes:
        name: the library's.
        shape: -1 where it varies.
        dtype: `Float`, `Half`, `Int8` and others.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table.

    Attributes:
        name: the library's; a fusion's says what it does.
        kind: the library's: `gemm`, `kgen`, `runtime_fusion` and others.
        inputs, constants, outputs: tensors.
        nodes: names of the ONNX nodes it came from.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]

    @property
    def computes_in(self) -> str:
        """Type of the factors of the layer's product: `Int8`, `Half`, `Float`, or a mixture."""
        operands = {t.dtype for t in (*self.inputs, *self.constants) if len(t.shape) > 1}
        # Scales and biases are vectors with axes of one; a product's factors are not.
        factors = {
            t.dtype for t in (*self.inputs, *self.constants) if sum(n != 1 for n in t.shape) > 1
        } or operands
        if "Int8" in factors and _DEQUANTISES.search(self.name):
            return "Float"
        return "/".join(sorted(factors))


@dataclass(frozen=True, slots=True)
class Product:
    """A convolution or matrix product of the graph, and what became of it.

    Attributes:
        node: name of the ONNX node.
        operator: one of `PRODUCTS`.
        layer: name of the layer that computes it, empty where there is none.
        computes_in: see `Layer.computes_in`; `POINTWISE` or `MISSING` where that says nothing.
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
        messages: of one compilation, with detailed profiling.
        graph: the ONNX that was compiled.

    Raises:
        EngineError: there is no table, or one of another form.
    """
    rows = [m.removeprefix(_TABLE) for m in messages if m.startswith(_TABLE)]
    if not rows:
        raise EngineError(
            "the library did not tell the layers of the engine it made: use a version of it that "
            "semmix-rt was tried with"
        )
    layers = tuple(parse_layer(line) for line in rows[-1].splitlines() if _is_row(line))
    return LayerTable(layers, tuple(_products(graph, layers)))


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


def parse_layer(line: str) -> Layer:
    """Read a row of the table.

    Raises:
        EngineError: it has another form.
    """
    match = _LAYER.fullmatch(line.strip())
    if match is None:
        raise EngineError(
            f"a row of the engine's layers cannot be read ({line[:120]!r}): use a version of the "
            "library that semmix-rt was tried with"
        )
    return Layer(
        match["name"],
        match["kind"],
        _tensors(match["inputs"]),
        _tensors(match["constants"]),
        _tensors(match["outputs"]),
        tuple(_NODE.findall(match["nodes"])),
    )


def _is_row(line: str) -> bool:
    return "LayerType: " in line


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(m["name"], tuple(int(n) for n in m["shape"].split(",") if n), m["dtype"])
        for m in _TENSOR.finditer(text)
    )


def _products(graph: bytes, layers: tuple[Layer, ...]) -> Iterable[Product]:
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            found = [layer for layer in layers if node.name in layer.nodes]
            computing = next((layer for layer in found if _multiplies(layer)), None)
            if computing is not None:
                yield Product(node.name, node.op_type, computing.name, computing.computes_in)
            elif found:
                yield Product(node.name, node.op_type, found[0].name, POINTWISE)
            else:
                yield Product(node.name, node.op_type, "", MISSING)


def _multiplies(layer: Layer) -> bool:
    """Whether a layer computes a product; others may carry its node's name for its scales."""
    if layer.kind in ("gemm", "correlation", "deconv"):
        return True
    # Attention as a whole: its two products, and the softmax between them.
    if "_gemm_mha" in layer.name:
        return True
    return layer.kind == "runtime_fusion" and re.search("Fc|Gemm|Corr|Deco", layer.name) is not None
