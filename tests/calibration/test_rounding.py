"""FP16 on a CPU against NumPy's own half precision: every result rounded once, none left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from semmix_calibration import activations, fp16, int8
from semmix_calibration.graph import parse
from semmix_calibration.rounding import rounded
from semmix_calibration.sessions import exact_session
from semmix_export import verification, verify
from semmix_export.gate_sounds import Sound, gate_sounds
from semmix_rt.engines.ort import open_session
from support_graph import graph_of, products_graph

from semmix.bundle import Bundle
from semmix.errors import ModelFormatError
from semmix.specs import Spec

Float32 = NDArray[np.float32]
node = helper.make_node


def typed(content: bytes) -> bytes:
    """All of a graph in half precision."""
    return fp16.convert(parse(content).model, ())


def sums(*steps: onnx.NodeProto, **constants: object) -> bytes:
    """From `x` to `y`, four values wide."""
    made = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    return typed(graph_of(list(steps), {"x": ["B", 4]}, {"y": ["B", 4]}, made))


def run(content: bytes, x: float | Float32) -> Float32:
    feeds = {"x": np.full((1, 4), x, np.float32) if np.isscalar(x) else x}
    (y,) = exact_session(content).run(None, feeds)
    return np.asarray(y)


def half(values: Float32) -> Float32:
    """Values as half precision holds them."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def test_what_half_precision_has_no_digits_for_is_lost_at_each_sum() -> None:
    twice = sums(node("Add", ["x", "e"], ["a"]), node("Add", ["a", "e"], ["y"]), e=2.0**-12)
    np.testing.assert_array_equal(run(twice, 1.0), 1.0)
    # Kernels of CPUs keep both in float32, where they make one step of half precision.
    (plain,) = open_session(twice, "CPUExecutionProvider", 1).run(None, {"x": np.ones((1, 4), "f")})
    np.testing.assert_array_equal(plain, 1.0 + 2.0**-11)


def test_sums_beyond_65504_overflow_on_the_way() -> None:
    there_and_back = sums(
        node("Add", ["x", "x"], ["a"]), node("Mul", ["a", "half"], ["y"]), half=0.5
    )
    np.testing.assert_array_equal(run(there_and_back, 60_000.0), np.inf)
    np.testing.assert_array_equal(run(there_and_back, 30_000.0), 30_000.0)


def test_products_sum_in_float32_and_are_rounded_once() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 4)).astype(np.float32)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    found = run(sums(node("MatMul", ["x", "w"], ["y"]), w=w), x)
    np.testing.assert_array_equal(found, half(half(x) @ half(w)))
    # Term by term half precision would lose the small one; 2048 + 1 has no place in it.
    terms = np.array([[2_048.0, 1.0, 1.0, 0.0]], np.float32)
    (total,) = run(sums(node("MatMul", ["x", "w"], ["y"]), w=np.ones((4, 4))), terms)
    np.testing.assert_array_equal(total, 2_050.0)


@pytest.mark.parametrize("exact", [True, False])
def test_every_result_is_that_of_numpy_at_any_level_of_optimisation(exact: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((6, 4)).astype(np.float32)
    c = rng.standard_normal(4).astype(np.float32)
    content = sums(
        node("Mul", ["x", "c"], ["a"]),
        node("Transpose", ["a"], ["turned"], perm=[1, 0]),
        node("Transpose", ["turned"], ["b"], perm=[1, 0]),
        node("Sub", ["b", "x"], ["d"]),
        node("Mul", ["d", "d"], ["y"]),
        c=c,
    )
    session = open_session(rounded(content), "CPUExecutionProvider", 1, exact=exact)
    (found,) = session.run(None, {"x": x})
    d = half(half(half(x) * half(c)) - half(x))
    np.testing.assert_array_equal(found, half(d * d))


def test_nothing_is_left_in_half_precision_and_names_stay() -> None:
    content = sums(node("Add", ["x", "c"], ["a"]), node("Mul", ["a", "c"], ["y"]), c=3.0)
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(rounded(content)))
    types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
    takers = {name: n.op_type for n in model.graph.node for name in n.input}
    assert types["a"] == TensorProto.FLOAT
    kinds = {takers[name] for name, kind in types.items() if kind == TensorProto.FLOAT16}
    assert kinds == {"Cast"}
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT}


def test_a_float32_graph_stays_byte_for_byte() -> None:
    content, _ = products_graph()
    assert rounded(content) == content
    with pytest.raises(ModelFormatError, match="export it again"):
        rounded(b"no graph")


def test_integers_of_int8_products_are_not_made_half_values_first() -> None:
    """Q/DQ pairs with scales that half precision holds give the same there as in float32."""
    rng = np.random.default_rng(2)
    content, _ = products_graph()
    runs = [{"x": rng.standard_normal((2, 24, 16)).astype(np.float32)}]
    chosen = int8.products(content)
    ranges = activations.collect(content, int8.activation_names(chosen), runs, "minmax")
    graph = int8.for_tensorrt(content, chosen, ranges, ())
    model = onnx.load_from_string(rounded(graph))
    backs = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    casts = {n.input[0] for n in model.graph.node if n.op_type == "Cast"}
    assert len(backs) == 6
    assert not backs & casts


def test_verify_measures_so_what_is_bound_for_gpus(
    small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(spec: Spec, **options: object) -> Sequence[Sound]:
        return gate_sounds(spec, brief=True, **options)[2:]

    monkeypatch.setattr(verification, "gate_sounds", few)
    content = small.highlighter_graph()
    bundle = small.save(tmp_path / "three")
    for precision in ("fp16", "int8cpu"):
        bundle = bundle.add_precision(precision, content, parity={}, provenance={})
    found = {r.precision: r.record for r in verify(bundle, write=False).results}
    engines = {precision: record["engine"] for precision, record in found.items()}
    assert engines == {"fp32": "ort", "fp16": "ort-exact", "int8cpu": "ort"}
    # Of several streams at once as well.
    assert found["fp16"]["batch_snr_db"] == pytest.approx(found["fp32"]["batch_snr_db"], abs=6.0)
