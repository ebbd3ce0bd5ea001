"""Every precision of `edge` and `base` as TensorRT for RTX compiles it, by its table of layers.

What is compiled are the graphs that `semmix-rt calibrate` writes. This shows that they compile,
for which GPUs, and in which types the arithmetic is done. It says nothing about the numbers that
come out, nor about speed: nothing is run.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from semmix_calibration import int8
from semmix_export.tensorrt.compile import compile_graph
from semmix_export.tensorrt.layers import POINTWISE, LayerTable, layer_table
from semmix_rt.engines.inputs import graph_shapes
from semmix_rt.engines.trt.library import LIBRARIES
from support_precisions import Graphs, graphs_of

from semmix.bundle import Bundle

pytestmark = pytest.mark.trt

TARGETS = ("sm80", "sm86", "sm89", "sm120")

# Products of edge that stay float32 in FP16, and why.
FLOAT32_OF_EDGE = {
    "node_MatMul_318": "to_latent makes values beyond 512 of log levels",
    "node_MatMul_325": "fold, whose values lie beyond 1500",
    "node_MatMul_631": "balance_head: a root is taken of what it gives",
    **{f"node_matmul_{i}": "head: a logarithm is taken of what it gives" for i in range(12, 16)},
    "node_matmul_16": "the meter sums powers as low as 1e-8",
}

# Least share of a network's products that calibration lets be FP16, and INT8 in `int8`: what is
# typed float32 for no good reason compiles all the same.
LEAST_HALF = {"edge": 0.85, "base": 0.95}
LEAST_INT8 = {"edge": 0.6, "base": 0.45}
# Products with a side of so few channels may be written out in an element-wise kernel; base's
# inner attention has four heads of so many.
NARROW = 8


@pytest.fixture(scope="module")
def edge() -> Graphs:
    return graphs_of(Bundle.default())


@pytest.fixture(scope="module")
def base(windowed) -> Graphs:
    return graphs_of(windowed.bundle)


@cache
def compiled(content: bytes, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> LayerTable:
    """All targets in one plan: the library then compiles a graph once."""
    done = compile_graph(LIBRARIES["tensorrt-rtx"], content, dict(shapes), TARGETS)
    assert any(f"Number of target compute capabilities: {len(TARGETS)}" in m for m in done.messages)
    return layer_table(done.messages, content)


def table_of(made: Graphs, precision: str) -> LayerTable:
    shapes = graph_shapes(made.bundle.manifest.spec, "highlighter")
    return compiled(made.graphs[precision], tuple(shapes.items()))


@pytest.mark.parametrize("model", ["edge", "base"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_products_are_computed_in_what_the_graph_says(
    model: str, precision: str, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue(model)
    table = table_of(made, precision)
    found = {product.node: product for product in table.products}
    meant = made.typed(precision)
    assert meant.keys() == found.keys()
    wrong = {
        node: (kind, product.computes_in, product.layer)
        for node, product in found.items()
        if product.computes_in not in computed_as(kind := meant[node], product.layer)
    }
    narrow = {node for node, side in made.sides(precision).items() if side <= NARROW}
    # None in INT8 may be lost to an element-wise kernel, and none of edge at all.
    may_be = {node for node in narrow if meant[node] != "Int8" and model == "base"}
    assert {
        node: what for node, what in wrong.items() if what[1] != POINTWISE or node not in may_be
    } == {}


def computed_as(kind: str, layer: str) -> set[str]:
    """What a product of a type may be computed in."""
    # Attention is one layer for both its products; its mask, or its queries' scale, is float32.
    return {"Half", "Float/Half"} if kind == "Half" and "_gemm_mha" in layer else {kind}


@pytest.mark.parametrize("model", ["edge", "base"])
def test_precisions_reach_most_products(model: str, request: pytest.FixtureRequest) -> None:
    made = request.getfixturevalue(model)
    half, eight = Counter(made.typed("fp16").values()), Counter(made.typed("int8").values())
    products = half.total()
    assert half["Half"] >= LEAST_HALF[model] * products
    assert eight["Int8"] >= LEAST_INT8[model] * products
    assert eight["Int8"] == len(int8.products(made.graphs["fp32"]))


def test_products_of_edge_that_stay_float32_have_their_reasons(edge: Graphs) -> None:
    kept = {node for node, kind in edge.typed("fp16").items() if kind == "Float"}
    assert kept == FLOAT32_OF_EDGE.keys()
    # In INT8 what goes in has no more than 8 bits, and large sums are integers.
    kept = {node for node, kind in edge.typed("int8").items() if kind == "Float"}
    assert kept == FLOAT32_OF_EDGE.keys() - {"node_MatMul_325"}


def test_every_transformer_block_of_fresh_weights_is_known(base: Graphs) -> None:
    """All its norms are equal, and so one initialiser."""
    counts = Counter(p.block for p in int8.products(base.graphs["fp32"]))
    blocks = {name: n for name, n in counts.items() if "transformer_blocks" in name}
    assert len(blocks) > 1
    assert len(set(blocks.values())) == 1


def test_the_context_encoder_compiles() -> None:
    bundle = Bundle.default()
    content = bundle.context_graph()
    shapes = graph_shapes(bundle.spec, "context")
    assert set(compiled(content, tuple(shapes.items())).computed_in) == {"Float"}
