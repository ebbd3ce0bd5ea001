"""The table of layers: read right, and not fooled by INT8 that is made float again."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from semmix_export.tensorrt.compile import compile_graph
from semmix_export.tensorrt.layer import UNKNOWN
from semmix_export.tensorrt.layer_json import inspected_layers
from semmix_export.tensorrt.layer_log import parse_layer
from semmix_export.tensorrt.layers import (
    MISSING,
    POINTWISE,
    inspected_table,
    layer_table,
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


def products_graph(**operators: str) -> bytes:
    """A graph of nothing but names of nodes and their operators."""
    nodes = [helper.make_node(kind, ["a"], ["b"], name=name) for name, kind in operators.items()]
    return helper.make_model(helper.make_graph(nodes, "g", [], [])).SerializeToString()


def test_a_row_of_another_form_is_unknown_and_so_are_its_products() -> None:
    odd = "Name: x, LayerType: gemm, something else, Metadata: [ONNX Layer: mm]"
    rows = f"{odd}\n{row('ok', 'gemm', INT8_IN, INT8_WEIGHT, 'fine')}"
    table = layer_table(
        [f"Layers:\n{rows}"], products_graph(mm="MatMul", fine="MatMul", gone="MatMul")
    )
    assert table.layers[0].kind == UNKNOWN
    assert table.layers[0].name == odd
    # Nobody knows what the row that cannot be read does besides.
    assert [p.computes_in for p in table.products] == [UNKNOWN, "Int8", UNKNOWN]


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(EngineError, match="did not tell the layers"):
        layer_table(["[I] hello"], b"")
    with pytest.raises(EngineMismatchError, match=r"semmix-rt build --rebuild"):
        table_from_dict({"layers": [{"name": "x"}], "products": []})


def place(name: str, dims: list[int], told: str) -> dict[str, object]:
    return {"Name": name, "Location": "Device", "Dimensions": dims, "Format/Datatype": told}


VECTORISED = "Thirty-two wide channel vectorized row major Int8 format"
# In the form of TensorRT 10, field for field as its `trtexec --exportLayerInfo` writes them: a
# kernel of its own, what its compiler for fusions makes, and a copy before.
INSPECTED = [
    {
        "Name": "Reformatting CopyNode for Input Tensor 0 to conv + relu",
        "LayerType": "Reformat",
        "Inputs": [place("data", [1, 3, 224, 224], "Row major linear FP32")],
        "Outputs": [place("Reformatted", [1, 3, 224, 224], "Row major Int8 format")],
        "ParameterType": "Reformat",
        "Origin": "REFORMAT",
        "TacticValue": "0x00000000000003e8",
        "StreamId": 0,
        "Metadata": "",
    },
    {
        "Name": "conv + relu + pool",
        "LayerType": "CaskConvActPool",
        "Inputs": [place("Reformatted", [1, 3, 224, 224], "Row major Int8 format")],
        "Outputs": [place("pooled", [1, 64, 56, 56], f"{VECTORISED}.")],
        "ParameterType": "Convolution",
        "Kernel": [7, 7],
        "OutMaps": 64,
        "Groups": 1,
        "Weights": {"Type": "Int8", "Count": 9408},
        "Bias": {"Type": "Float", "Count": 64},
        "TacticName": "sm80_xmma_fprop_int8",
        "TacticValue": "0x9251329244d2a80b",
        "StreamId": 0,
        "Metadata": "[ONNX Layer: conv]\x1e[ONNX Layer: relu]\x1e[ONNX Layer: pool]",
    },
    {
        "Name": "second",
        "LayerType": "CaskConvolution",
        "Inputs": [
            place("pooled", [1, 64, 56, 56], "Channel major FP16 format where channel % 8 == 0")
        ],
        "Outputs": [place("seen", [1, 64, 56, 56], "Half")],
        "ParameterType": "Convolution",
        "OutMaps": 64,
        "Weights": {"Type": "Half", "Count": 36864},
        "Metadata": "[ONNX Layer: second]",
    },
    {
        "Name": "/fc/Gemm_myl9_4",
        "LayerType": "gemm",
        "Inputs": [
            {"Name": "seen'.1_4", "Dimensions": [1, 4096], "Format/Datatype": "Half"},
            {"Name": "__mye5_dconst", "Dimensions": [4096, 1000], "Format/Datatype": "Half"},
            {"Name": "__mye5_alpha", "Dimensions": [1], "Format/Datatype": "Float"},
            {"Name": "bias", "Dimensions": [1, 1000], "Format/Datatype": "Half"},
        ],
        "Outputs": [{"Name": "y", "Dimensions": [1, 1000], "Format/Datatype": "Half"}],
        "TacticName": "sm50_xmma_cublas_gemvx_f16f16_f32_f32_tn_n",
        "StreamId": 0,
        "Metadata": "[ONNX Layer: /fc/Gemm]",
    },
    {
        # The constants of a fusion are not told.
        "Name": "__myl_Fc_myl0_69",
        "LayerType": "fusion",
        "Inputs": [{"Name": "x", "Dimensions": [1, 40, 256], "Format/Datatype": "Float"}],
        "Outputs": [{"Name": "z", "Dimensions": [1, 40, 1024], "Format/Datatype": "Float"}],
        "TacticName": "sm80_xmma_gemm_f32f32_by_fusion_tactic",
        "Metadata": "[ONNX Layer: dense][ONNX Layer: gelu]",
    },
    {
        "Name": "__myl_MulMulAdd_1",
        "LayerType": "kgen",
        "Inputs": [{"Name": "x", "Dimensions": [1, 2], "Format/Datatype": "Float"}],
        "Outputs": [{"Name": "z", "Dimensions": [1, 2], "Format/Datatype": "Float"}],
        "Metadata": "[ONNX Layer: narrow]",
    },
]
INSPECTED_PRODUCTS = {
    "conv": ("Conv", "Int8"),
    "second": ("Conv", "Half"),
    "/fc/Gemm": ("Gemm", "Half"),
    "dense": ("MatMul", "Float"),
    "narrow": ("MatMul", POINTWISE),
}


def told(*rows: object) -> str:
    return json.dumps({"Layers": rows, "Bindings": ["data", "y"]})


def test_tensorrts_own_table_is_read() -> None:
    operators = {name: kind for name, (kind, _) in INSPECTED_PRODUCTS.items()}
    table = inspected_table(told(*INSPECTED), products_graph(**operators, gone="Conv"))
    found = {p.node: p.computes_in for p in table.products}
    assert found == {n: dtype for n, (_, dtype) in INSPECTED_PRODUCTS.items()} | {"gone": MISSING}
    assert table.layers[1].constants[0].shape == (64, 147)
    assert table.layers[1].outputs[0].dtype == "Int8"
    assert table_from_dict(json.loads(json.dumps(asdict(table)))) == table


def test_types_and_constants_as_the_other_library_tells_them_are_read_as_well() -> None:
    one = {
        "Name": "mm_myl0_2",
        "LayerType": "gemm",
        "Inputs": [{"Name": "x", "Dimensions": [8, 96], "Datatype": "Int8", "Format": "(Linear)"}],
        "Constants": [{"Name": "w", "Dimensions": [96, 32], "Datatype": "Int8", "Format": ""}],
        "Outputs": [{"Name": "y", "Dimensions": [8, 32], "Datatype": "Float", "Format": ""}],
        "Metadata": "[ONNX Layer: mm]",
    }
    (layer,) = inspected_layers(told(one))
    assert (layer.computes_in, layer.constants[0].shape) == ("Int8", (96, 32))


@pytest.mark.parametrize(
    "odd",
    [
        # What the inspector tells of an engine that was built without detailed profiling.
        "conv + relu",
        None,
        {"Name": "x"},
        {
            "Name": "x",
            "LayerType": "gemm",
            "Inputs": [{"Name": "y"}],
            "Metadata": "[ONNX Layer: c]",
        },
        {"Name": "x", "LayerType": "gemm", "Inputs": 7},
        {"Name": "x", "LayerType": "gemm", "Metadata": "[ONNX Layer: c]"},
        {"Name": "x", "LayerType": "Myelin", "Metadata": "[ONNX Layer: c]"},
        {
            "Name": "x",
            "LayerType": "gemm",
            "Inputs": [place("y", [2, 2], "Some new format")],
            "Metadata": "[ONNX Layer: c]",
        },
    ],
)
def test_rows_of_tensorrts_that_say_nothing_are_unknown(odd: object) -> None:
    table = inspected_table(told(INSPECTED[2], odd), products_graph(c="Conv", second="Conv"))
    assert [p.computes_in for p in table.products] == [UNKNOWN, "Half"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}', "null"])
def test_what_is_no_information_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="layers cannot be read"):
        inspected_layers(text)


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
    graph = products_graph(narrow="MatMul", gone="Conv")
    rows = row("__myl_MulMulAdd_1", "kgen", INT8_IN, SCALE, "narrow")
    table = layer_table([f"Layers:\n{rows}\nBindings:"], graph)
    assert [p.computes_in for p in table.products] == [POINTWISE, MISSING]
    assert table.kinds == {"kgen": 1}
    assert re.fullmatch(r"__myl_MulMulAdd_1", table.products[0].layer)
