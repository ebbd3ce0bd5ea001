"""Every precision of `edge` and `base` as TensorRT for RTX compiles it, by its table of layers.

This shows that the graphs compile, for which GPUs, and in which types the arithmetic is done. It
says nothing about the numbers that come out, nor about speed: nothing is run.
"""

from __future__ import annotations

import pytest
from semmix_export.tensorrt.compile import compile_graph
from semmix_export.tensorrt.layers import POINTWISE, LayerTable, layer_table
from semmix_rt.engines.inputs import graph_shapes
from semmix_rt.engines.trt.library import LIBRARIES
from support_precisions import Graphs, graphs_of

from semmix.bundle import Bundle

pytestmark = pytest.mark.trt

TARGETS = ("sm80", "sm86", "sm89", "sm120")

# Products of edge that are written out in element-wise kernels, as one of their sides has two or
# three channels: the lowest bands, split from two bins each, and the sum over three sources.
NARROW_OF_EDGE = {"node_bmm", "node_matmul_24"}


@pytest.fixture(scope="module")
def edge() -> Graphs:
    return graphs_of(Bundle.default())


@pytest.fixture(scope="module")
def base(windowed) -> Graphs:
    return graphs_of(windowed.bundle)


def compiled(made: Graphs, precision: str) -> LayerTable:
    """All targets in one plan: the library then compiles a graph once."""
    content = made.graphs[precision]
    shapes = graph_shapes(made.bundle.manifest.spec, "highlighter")
    done = compile_graph(LIBRARIES["tensorrt-rtx"], content, shapes, TARGETS)
    assert any(f"Number of target compute capabilities: {len(TARGETS)}" in m for m in done.messages)
    return layer_table(done.messages, content)


@pytest.mark.parametrize("model", ["edge", "base"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_products_are_computed_in_what_the_graph_says(
    model: str, precision: str, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue(model)
    table = compiled(made, precision)
    found = {product.node: product.computes_in for product in table.products}
    meant = {"fp32": frozenset(), "fp16": made.half, "int8": made.integer}[precision]
    assert meant or precision == "fp32"
    assert meant <= found.keys()
    # A product in FP16 whose float32 residual sum is fused into it has both in its layer.
    wanted = {"fp32": {"Float"}, "fp16": {"Half", "Float/Half"}, "int8": {"Int8"}}[precision]
    narrow = {node for node, kind in found.items() if kind == POINTWISE}
    wrong = {
        n: kind
        for n, kind in found.items()
        if n not in narrow and kind not in (wanted if n in meant else {"Float"})
    }
    assert not wrong
    # None that is wide enough for INT8 may be lost this way, in any precision.
    assert not narrow & made.integer
    if model == "edge":
        assert narrow <= NARROW_OF_EDGE


def test_the_context_encoder_compiles() -> None:
    bundle = Bundle.default()
    content = bundle.context_graph()
    shapes = graph_shapes(bundle.spec, "context")
    done = compile_graph(LIBRARIES["tensorrt-rtx"], content, shapes, TARGETS)
    assert set(layer_table(done.messages, content).computed_in) == {"Float"}
