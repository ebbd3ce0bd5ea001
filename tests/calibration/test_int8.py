"""Q/DQ against NumPy: scales, axes, what is quantised and what a quantised product gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tolerances
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from semmix_calibration import activations, int8, placement
from semmix_calibration.sessions import exact_session
from support_graph import graph_of, products_graph

from semmix.bundle import Bundle

Float32 = NDArray[np.float32]


@pytest.fixture(scope="module")
def inputs() -> list[dict[str, Float32]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((2, 24, 16)).astype(np.float32)} for _ in range(3)]


def quantised(inputs: list[dict[str, Float32]], method: str = "minmax", **options: bool) -> bytes:
    content, _ = products_graph()
    chosen = int8.products(content)
    ranges = activations.collect(content, int8.activation_names(chosen), inputs, method)
    return int8.quantise(content, chosen, ranges, **options)


def fake(x: NDArray[np.floating], scale: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Values after S8 symmetric quantisation, by its definition."""
    x = np.asarray(x, np.float64)
    return np.clip(np.rint(x / scale), -128, 127) * np.asarray(scale, np.float64)


def expected_output(x: Float32, runs: list[dict[str, Float32]]) -> NDArray[np.float64]:
    """The network in NumPy with fake quantisation at each operand, ranges by min and max."""
    _, w = products_graph()

    def operands(x: Float32) -> list[NDArray[np.floating]]:
        b = np.maximum(x @ w["plain.weight"], 0)
        d = np.einsum("btk,tkn->btn", b, w["stack.weight"])
        return [x, b, d]

    runs = [{"x": np.tanh(run["x"])} for run in runs]
    x = np.tanh(x)
    seen = [[np.abs(o).max() for o in operands(run["x"])] for run in runs]
    scales = [max(column) / 127.0 for column in zip(*seen, strict=True)]
    plain, stack, left = (w[f"{n}.weight"] for n in ("plain", "stack", "left"))
    b = fake(x, scales[0]) @ fake(plain, np.abs(plain).max(0) / 127.0)
    stack = fake(stack, np.abs(stack).max((0, 1)) / 127.0)
    d = np.einsum("btk,tkn->btn", fake(np.maximum(b, 0), scales[1]), stack)
    left = fake(left, np.abs(left).max(1, keepdims=True) / 127.0)
    return left @ fake(d, scales[2]) @ w["narrow.weight"]


def test_a_quantised_network_is_that_of_numpy(inputs: list[dict[str, Float32]]) -> None:
    content, _ = products_graph()
    (found,) = exact_session(quantised(inputs)).run(None, inputs[0])
    expected = expected_output(inputs[0]["x"], inputs)
    spread = expected.std()
    # A value may fall on the other side of a step of its scale, so the bulk is compared.
    off = np.abs(found - expected) / spread
    assert np.quantile(off, 0.9) < tolerances.FAKE_QUANT_REL
    (plain,) = exact_session(content).run(None, inputs[0])
    assert np.quantile(np.abs(plain - expected) / spread, 0.9) > 10 * tolerances.FAKE_QUANT_REL


@pytest.mark.parametrize(("name", "axis"), [("plain", 1), ("stack", 2), ("left", 0)])
def test_weights_are_stored_as_int8_with_a_scale_for_each_output(
    inputs: list[dict[str, Float32]], name: str, axis: int
) -> None:
    _, weights = products_graph()
    model = onnx.load_from_string(quantised(inputs))
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    (node,) = [n for n in model.graph.node if n.name == name]
    makers = {n.output[0]: n for n in model.graph.node}
    place = 0 if name == "left" else 1
    back = makers[node.input[place]]
    assert back.op_type == "DequantizeLinear"
    assert {a.name: a.i for a in back.attribute}["axis"] == axis
    values, scale, zero = (constants[i] for i in back.input)
    weight = weights[f"{name}.weight"]
    others = tuple(i for i in range(weight.ndim) if i != axis)
    np.testing.assert_allclose(scale, np.abs(weight).max(others) / 127.0, rtol=1e-5)
    assert values.dtype == np.int8
    assert not zero.any()
    shape = [1] * weight.ndim
    shape[axis] = -1
    off = np.abs(values * scale.reshape(shape) - weight) / scale.reshape(shape)
    assert off.max() <= 0.5 + 1e-3
    # The other operand goes through a pair of its own, signed and symmetric.
    pair = makers[node.input[1 - place]]
    assert pair.op_type == "DequantizeLinear"
    assert makers[pair.input[0]].op_type == "QuantizeLinear"
    assert constants[pair.input[2]].dtype == np.int8
    assert constants[pair.input[2]] == 0


def test_results_and_narrow_products_are_left_alone(inputs: list[dict[str, Float32]]) -> None:
    model = onnx.load_from_string(quantised(inputs))
    makers = {n.output[0]: n for n in model.graph.node}
    (narrow,) = [n for n in model.graph.node if n.name == "narrow"]
    assert makers[narrow.input[0]].name == "left"
    assert narrow.input[1] == "narrow.weight"
    (bend,) = [n for n in model.graph.node if n.name == "bend"]
    assert makers[bend.input[0]].name == "plain"
    assert sum(n.op_type == "QuantizeLinear" for n in model.graph.node) == 3


def test_products_say_where_they_belong_and_what_they_cost() -> None:
    content, _ = products_graph()
    found = {p.node: p for p in int8.products(content)}
    assert set(found) == {"plain", "stack", "left"}
    assert {n: (p.axis, p.block) for n, p in found.items()} == {
        "plain": (1, "plain"),
        "stack": (2, "stack"),
        "left": (0, "left"),
    }
    assert found["plain"].macs == 24 * 16 * 32
    assert found["stack"].macs == 24 * 32 * 20
    assert found["left"].macs == 18 * 24 * 20
    assert int8.total_macs(content) == sum(p.macs for p in found.values()) + 18 * 20 * 3


def test_the_variant_for_cpus_keeps_to_seven_bits_and_runs_optimised(
    inputs: list[dict[str, Float32]],
) -> None:
    from semmix_rt.engines.ort import open_session

    content = quantised(inputs, cpu=True)
    model = onnx.load_from_string(content)
    weights = [t for t in model.graph.initializer if numpy_helper.to_array(t).dtype == np.int8]
    large = [numpy_helper.to_array(t) for t in weights if len(t.dims) > 1]
    assert len(large) == 3
    assert all(w.min() >= -64 and w.max() <= 64 for w in large)
    (exact,) = exact_session(content).run(None, inputs[0])
    # The kernels that were refused scales for each channel, or saturate, are those of a session.
    (optimised,) = open_session(content, "CPUExecutionProvider", 1).run(None, inputs[0])
    off = np.abs(optimised - exact) / exact.std()
    assert np.quantile(off, 0.9) < tolerances.FAKE_QUANT_REL


def test_a_float32_product_in_int8_has_its_pairs_in_float32_with_nothing_between() -> None:
    """A Cast between the two would make TensorRT multiply floats."""
    rng = np.random.default_rng(4)
    node = helper.make_node
    weights = {f"{name}.w": rng.standard_normal((16, 16)).astype(np.float32) for name in "abc"}
    content = graph_of(
        [
            node("Tanh", ["x"], ["t"], name="level"),
            node("MatMul", ["t", "a.w"], ["a"], name="a"),
            node("MatMul", ["t", "b.w"], ["b"], name="b"),
            node("MatMul", ["b", "c.w"], ["c"], name="c"),
            node("Add", ["a", "c"], ["y"], name="sum"),
        ],
        {"x": [16, 16]},
        {"y": [16, 16]},
        weights,
    )
    chosen = int8.products(content)
    runs = [{"x": rng.standard_normal((16, 16)).astype(np.float32)}]
    ranges = activations.collect(content, int8.activation_names(chosen), runs, "minmax")
    graph = int8.for_tensorrt(content, chosen, ranges, {"level", "b", "c"})
    model = onnx.load_from_string(graph)
    makers = {n.output[0]: n for n in model.graph.node}
    kinds = {t.name: numpy_helper.to_array(t).dtype for t in model.graph.initializer}
    assert len(chosen) == 3
    for product in chosen:
        (found,) = [n for n in model.graph.node if n.name == product.node]
        wanted = np.float16 if product.node == "a" else np.float32
        for operand in found.input:
            back = makers[operand]
            assert back.op_type == "DequantizeLinear"
            assert kinds[back.input[1]] == wanted
            there = makers.get(back.input[0])
            if product.node != "a" and there is not None:
                assert kinds[there.input[1]] == np.float32
                assert makers[there.input[0]].op_type != "Cast"
    # `a` and `b` read the same integers.
    readers = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and "t" in n.input[0]]
    assert len(readers) == 1
    (exact,) = exact_session(int8.quantise(content, chosen, ranges)).run(None, runs[0])
    (typed,) = exact_session(graph).run(None, runs[0])
    np.testing.assert_allclose(typed, exact, atol=tolerances.FAKE_QUANT_REL * exact.std())


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
def test_methods_choose_ranges_within_what_was_seen(method: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 24, 16)).astype(np.float32)
    x[0, 0, 0] = 40.0  # one value in twenty thousand lies far out
    content, _ = products_graph()
    ranges = activations.collect(content, ["x"], [{"x": x[:25]}, {"x": x[25:]}], method)
    low, high = (float(v) for v in ranges["x"].range_value)
    if method == "minmax":
        assert (low, high) == (float(x.min()), 40.0)
    else:
        assert high < 40.0 or method == "percentile"
        assert high > 2.0, "most values would be clipped"
        assert -high <= low < 0.0


def test_what_shares_an_input_with_a_quantised_product_takes_it_as_it_was() -> None:
    rng = np.random.default_rng(5)
    node = helper.make_node
    content = graph_of(
        [
            node("Tanh", ["x"], ["t"], name="level"),
            node("MatMul", ["t", "a.w"], ["a"], name="a"),
            node("MatMul", ["t", "b.w"], ["b"], name="b"),
            node("Sum", ["a", "b", "t"], ["y"], name="sum"),
        ],
        {"x": [16, 16]},
        {"y": [16, 16]},
        {f"{n}.w": rng.standard_normal((16, 16)).astype(np.float32) for n in "ab"},
    )
    chosen = [p for p in int8.products(content) if p.node == "a"]
    runs = [{"x": rng.standard_normal((16, 16)).astype(np.float32)}]
    ranges = activations.collect(content, int8.activation_names(chosen), runs, "minmax")
    model = onnx.load_from_string(int8.quantise(content, chosen, ranges))
    takes = {n.name: list(n.input) for n in model.graph.node}
    assert takes["b"][0] == takes["sum"][2] == "t"
    assert takes["a"][0] != "t"


def test_shared_weights_and_attention_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    node = helper.make_node
    content = graph_of(
        [
            node("Tanh", ["x"], ["t"], name="level"),
            node("MatMul", ["t", "w"], ["a"], name="once"),
            node("MatMul", ["a", "w"], ["b"], name="twice"),
            node("MatMul", ["a", "b"], ["y"], name="scores"),
        ],
        {"x": [16, 16]},
        {"y": [16, 16]},
        {"w": rng.standard_normal((16, 16)).astype(np.float32)},
    )
    assert int8.products(content) == []


def test_what_is_as_loud_as_the_sound_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    node = helper.make_node
    weights = {f"{name}.w": rng.standard_normal((16, 16)).astype(np.float32) for name in "abcd"}
    weights |= {"two": np.array(2.0, np.float32), "gamma": np.ones(16, np.float32)}
    content = graph_of(
        [
            node("Mul", ["x", "two"], ["louder"], name="louder"),
            node("MatMul", ["louder", "a.w"], ["first"], name="first"),
            # The residual stream and a state: a norm levels what one branch takes, not the other.
            node("Add", ["first", "past"], ["stream"], name="add"),
            node("LayerNormalization", ["stream", "gamma"], ["normed"], name="norm"),
            node("MatMul", ["normed", "b.w"], ["inner"], name="inner"),
            node("MatMul", ["stream", "c.w"], ["outer"], name="outer"),
            node("MatMul", ["normed", "d.w"], ["power"], name="power"),
            node("Exp", ["power"], ["positive"], name="exp"),
            node("Log", ["positive"], ["level"], name="log"),
            node("Sum", ["inner", "outer", "level"], ["y"], name="sum"),
        ],
        {"x": [16, 16], "past": [16, 16]},
        {"y": [16, 16]},
        weights,
    )
    assert [p.node for p in int8.products(content)] == ["inner"]
    assert int8.exempt_blocks(content) == {
        "a": placement.AS_IT_CAME,
        "c": placement.AS_IT_CAME,
        "d": placement.MEASURED,
    }


def test_the_default_network_keeps_its_ends_and_its_meter() -> None:
    content = Bundle.default().highlighter_graph()
    found = int8.exempt_blocks(content)
    assert found.keys() >= {"split", "to_latent", "head"}
    assert not any(block.startswith(("encoder", "decoder")) for block in found)
    # The folded weight of `narrow` has lost its name: it counts to the norm that it reads.
    inner = ("encoder", "decoder", "fold", "latent_norm", "from_latent", "transformer_blocks")
    assert all(product.block.startswith(inner) for product in int8.products(content))
