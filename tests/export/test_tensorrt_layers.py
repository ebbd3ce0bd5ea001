"""The table of layers: read right, and not fooled by INT8 that is made float again."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from semmix_export.tensorrt.compile import compile_graph
from semmix_export.tensorrt.layers import (
    MISSING,
    POINTWISE,
    layer_table,
    parse_layer,
    table_from_dict,
)
from semmix_rt.engines.trt.library import LIBRARIES

from semmix.errors import EngineError, EngineMismatchError


def tensor(name: str, dims: str, dtype: str) -> str:
    return (
        f"{{ Name: {name}, Dimensions: [{dims}], Strides: [1], StrideOrder: [0], "
        f"Datatype: {dtype}, Format: (Linear) Row major linear format }}"
    )


def row(name: str, kind: str, taken: str, constants: str, node: str) -> str:
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {taken}], Constants: [ {constants}], "
        f"Outputs: [ {tensor('y', '8,32', 'Float')}], TacticName: x, StreamId: 0, "
        f"Metadata: [ONNX Layer: {node}][ONNX Layer: other]"
    )


INT8_IN = tensor("x", "8,96", "Int8")
INT8_WEIGHT = tensor("w", "96,32", "Int8")
SCALE = tensor("s", "1", "Float") + ", " + tensor("b", "1,32", "Float")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (row("mm_myl0_2", "gemm", INT8_IN, f"{INT8_WEIGHT}, {SCALE}", "mm"), "Int8"),
        # Casts, scales and only then multiplies: the product is one of floats.
        (
            row("__myl_CastMulCastCastMulFc_2", "runtime_fusion", INT8_IN, INT8_WEIGHT, "mm"),
            "Float",
        ),
        (row("__myl_CastMulFc_2", "runtime_fusion", INT8_IN, INT8_WEIGHT, "mm"), "Float"),
        (
            row(
                "__myl_FcAdd_2",
                "runtime_fusion",
                tensor("x", "8,96", "Half"),
                tensor("w", "96,32", "Half") + ", " + tensor("b", "1,32", "Half"),
                "mm",
            ),
            "Half",
        ),
        (row("mm", "gemm", INT8_IN, tensor("w", "96,32", "Half"), "mm"), "Half/Int8"),
    ],
)
def test_what_a_layer_computes_in(line: str, expected: str) -> None:
    layer = parse_layer(line)
    assert layer.computes_in == expected
    assert layer.nodes == ("mm", "other")
    assert layer.inputs[0].shape == (8, 96)


def test_a_row_of_another_form_is_no_table() -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        parse_layer("Name: x, LayerType: gemm, something else")
    with pytest.raises(EngineError, match="did not tell the layers"):
        layer_table(["[I] hello"], b"")
    with pytest.raises(EngineMismatchError, match=r"semmix-rt build --rebuild"):
        table_from_dict({"layers": [{"name": "x"}], "products": []})


def product(rank: int, axis: int, *, weight_left: bool = False) -> bytes:
    """One product with Q/DQ round both factors; the weights' scales lie along `axis`."""
    shape = {2: (96, 32), 3: (6, 96, 32)}[rank]
    rng = np.random.default_rng(0)
    count = shape[axis]
    constants = {
        "w": rng.standard_normal(shape).astype(np.float32),
        "sx": np.float32(0.05),
        "zx": np.int8(0),
        "sw": np.full(count, 0.02, np.float32),
        "zw": np.zeros(count, np.int8),
    }
    node = helper.make_node
    factors = ["w_", "x_"] if weight_left else ["x_", "w_"]
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        node("DequantizeLinear", ["xq", "sx", "zx"], ["x_"]),
        node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], axis=axis),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["w_"], axis=axis),
        node("MatMul", factors, ["y"], name="mm"),
    ]
    taken = [32, 48] if weight_left else [*shape[:-2], 48, 96]
    made = [96, 48] if weight_left else [*shape[:-2], 48, 32]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, taken)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model.SerializeToString()


@pytest.mark.trt
@pytest.mark.parametrize(
    ("rank", "axis", "weight_left", "expected"),
    [
        # Scales of output channels can be taken out of the sum, so the sum is one of integers.
        (2, 1, False, "Int8"),
        (3, 2, False, "Int8"),
        (2, 0, True, "Int8"),
        # Those of input channels cannot, nor are those of a batch's members.
        (2, 0, False, "Float"),
        (3, 1, False, "Float"),
        (3, 0, False, "Float"),
        (2, 1, True, "Float"),
    ],
)
def test_the_compiler_multiplies_integers_only_where_scales_allow_it(
    rank: int, axis: int, weight_left: bool, expected: str
) -> None:
    graph = product(rank, axis, weight_left=weight_left)
    tensors = onnx.load_model_from_string(graph).graph.input
    shapes = {t.name: tuple(d.dim_value for d in t.type.tensor_type.shape.dim) for t in tensors}
    made = compile_graph(LIBRARIES["tensorrt-rtx"], graph, shapes, ["sm86"])
    table = layer_table(made.messages, graph)
    assert [p.computes_in for p in table.products] == [expected]


def test_products_without_a_layer_of_their_own_are_told_apart() -> None:
    node = helper.make_node
    graph = helper.make_graph(
        [node("MatMul", ["a", "a"], ["b"], name="narrow"), node("Conv", ["b"], ["c"], name="gone")],
        "g",
        [],
        [],
    )
    rows = row("__myl_MulMulAdd_1", "kgen", INT8_IN, SCALE, "narrow")
    table = layer_table(
        [f"Layers:\n{rows}\nBindings:"], helper.make_model(graph).SerializeToString()
    )
    assert [p.computes_in for p in table.products] == [POINTWISE, MISSING]
    assert table.kinds == {"kgen": 1}
    assert re.fullmatch(r"__myl_MulMulAdd_1", table.products[0].layer)
