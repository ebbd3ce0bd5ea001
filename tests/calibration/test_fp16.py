"""FP16: what is typed how, what stays exact, and how far it agrees with float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tolerances
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from semmix_calibration import build as build_module
from semmix_calibration import fp16
from semmix_calibration.build import build
from semmix_calibration.material import gather, made_material
from semmix_calibration.ranges import Range, observe
from semmix_calibration.sessions import exact_session
from semmix_rt.engines import open_engine
from semmix_rt.whole_signal import masks_of
from support_graph import graph_of

from semmix.bundle import Bundle
from semmix.metrics import compare_masks

Float32 = NDArray[np.float32]
FILM = Path(__file__).resolve().parents[2] / "examples" / "bbb_meadow.mp4"
node = helper.make_node


def types_of(content: bytes) -> dict[str, int]:
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content), strict_mode=True)
    values = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    found = {v.name: v.type.tensor_type.elem_type for v in values}
    return found | {t.name: t.data_type for t in model.graph.initializer}


def casts_in_a_row(content: bytes) -> list[str]:
    model = onnx.load_from_string(content)
    makers = {n.output[0]: n for n in model.graph.node if n.op_type == "Cast"}
    return [n.name for n in model.graph.node if n.op_type == "Cast" and n.input[0] in makers]


@pytest.fixture(scope="module")
def typed(small: Bundle) -> bytes:
    made = build(small, made_material(48_000, 1.0), ["fp16"]).made[0]
    return made.graph


def small_chunk(bundle: Bundle, scale: float) -> dict[str, Float32]:
    golden = bundle.golden()
    names = ["tokens", "weights", *(s.name for s in bundle.spec.state)]
    return {"spectrum": golden["spectrum"] * np.float32(scale)} | {n: golden[n] for n in names}


def test_inputs_and_outputs_stay_float32_and_products_are_half(typed: bytes) -> None:
    model = onnx.load_from_string(typed)
    ends = [*model.graph.input, *model.graph.output]
    assert {v.type.tensor_type.elem_type for v in ends} == {TensorProto.FLOAT}
    types = types_of(typed)
    weights = [n for n in model.graph.node if n.op_type == "Conv" and "time" in n.input[1]]
    assert len(weights) == 6
    assert {types[n.input[1]] for n in weights} == {TensorProto.FLOAT16}
    delicate = [n for n in model.graph.node if n.op_type in ("Pow", "Log", "Softmax", "Exp")]
    assert len(delicate) >= 4
    norms = [n for n in model.graph.node if n.op_type == "LayerNormalization"]
    assert {types[n.output[0]] for n in [*delicate, *norms]} == {TensorProto.FLOAT}


def test_no_value_is_rounded_on_the_way_between_float32_nodes(typed: bytes) -> None:
    assert casts_in_a_row(typed) == []
    assert len(onnx.load_from_string(typed).graph.value_info) == 0


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_what_the_meter_remembers_is_exact(small: Bundle, typed: bytes, scale: float) -> None:
    """Magnitudes that wait for the meter are moved, not computed: not a bit may change."""
    feeds = small_chunk(small, scale)
    names = ["next_heard", "next_levels"]
    heard, levels = exact_session(typed).run(names, feeds)
    expected, wanted = exact_session(small.highlighter_graph()).run(names, feeds)
    np.testing.assert_array_equal(heard, expected)
    np.testing.assert_allclose(levels, wanted, rtol=tolerances.FP16_LEVEL_REL, atol=0)


def test_the_tiny_network_agrees_with_pytorch_on_a_film(small: Bundle, typed: bytes) -> None:
    fp16_bundle = small.add_precision(
        "fp16", typed, parity={"passed": True}, provenance={}, to=small.path.parent / "half"
    )
    sound = gather([("media", FILM)], 48_000, clip_s=2.0, clips=1).held_out[0].sound
    reference = masks_of(open_engine(small, "torch"), sound, None)
    found = masks_of(open_engine(fp16_bundle, "ort", precision="fp16"), sound, None)
    assert compare_masks(reference, found).snr_db >= tolerances.FP16_SNR_DB


def test_the_shipped_network_agrees_on_a_film_and_takes_a_full_scale_tone() -> None:
    """The overflow check of `build` covers the tone, which is in every material."""
    bundle = Bundle.default()
    material = gather([("media", FILM)], 48_000, clip_s=3.0, clips=1)
    assert any(clip.kind == "full scale" for clip in material.calibration)
    (made,) = build(bundle, material, ["fp16"]).made
    assert made.accuracy.worst_db >= tolerances.FP16_SNR_DB
    assert len(made.graph) < 0.65 * len(bundle.highlighter_graph())
    assert casts_in_a_row(made.graph) == []
    records = made.provenance["calibrated_on"]
    assert {r["class"] for r in records} >= {"media", "quiet", "loud", "silence", "full scale"}


# --- Single rules -------------------------------------------------------------------------------


def scaled(factor: float) -> bytes:
    """y = (x * factor) * 1 / factor."""
    return graph_of(
        [
            node("Mul", ["x", "up"], ["a"], name="up"),
            node("Mul", ["a", "down"], ["y"], name="down"),
        ],
        {"x": ["B", 4]},
        {"y": ["B", 4]},
        {"up": np.float32(factor), "down": np.float32(1.0 / factor)},
    )


def test_what_ranges_show_to_be_large_stays_float32() -> None:
    content, x = scaled(3_000.0), {"x": np.full((1, 4), 100.0, np.float32)}
    ranges = observe(content, [x])
    assert ranges["a"] == Range(3e5, 3e5)
    typed = fp16.typed(content, ranges)
    (y,) = exact_session(typed).run(None, x)
    np.testing.assert_allclose(y, x["x"], rtol=1e-6)
    assert fp16.first_overflow(observe(typed, [x])) is None
    # Ranges of quiet sound alone do not know; then the check for overflow does.
    blind = fp16.typed(content, observe(content, [{"x": x["x"] * 1e-5}]))
    assert types_of(blind)["a"] == TensorProto.FLOAT16
    assert fp16.first_overflow(observe(blind, [x])) == "a"
    assert fp16.first_overflow(observe(content, [{"x": x["x"] * np.nan}])) == "a"


@pytest.mark.parametrize(
    ("size", "kept"), [(1.0, set()), (10.0, {"up", "down"}), (200.0, {"product", "up", "down"})]
)
def test_sums_of_single_values_stay_float32_sooner_than_products_of_matrices(
    size: float, kept: set[str]
) -> None:
    content = graph_of(
        [
            node("MatMul", ["x", "eye"], ["m"], name="product"),
            node("Mul", ["m", "up"], ["a"], name="up"),
            node("Sub", ["a", "up"], ["y"], name="down"),
        ],
        {"x": ["B", 4]},
        {"y": ["B", 4]},
        {"eye": 3.0 * np.eye(4, dtype=np.float32), "up": np.float32(1.0)},
    )
    ranges = observe(content, [{"x": np.full((1, 4), size, np.float32)}])
    assert fp16.delicate_nodes(content, ranges) == kept


@pytest.mark.parametrize(
    ("largest", "kept"), [(512.0, set()), (128.0, {"product"}), (8.0, {"product", "up"})]
)
def test_how_large_values_in_half_precision_grow_is_to_choose(
    largest: float, kept: set[str]
) -> None:
    content = graph_of(
        [
            node("Mul", ["x", "one"], ["m"], name="up"),
            node("MatMul", ["m", "sum"], ["y"], name="product"),
        ],
        {"x": ["B", 4]},
        {"y": ["B", 4]},
        {"sum": 4.0 * np.ones((4, 4), np.float32), "one": np.float32(1.0)},
    )
    ranges = observe(content, [{"x": np.full((1, 4), 10.0, np.float32)}])
    assert fp16.delicate_nodes(content, ranges, largest) == kept


def test_larger_values_go_in_half_precision_where_the_worst_sound_allows(
    small: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first limit that serves, and where none does the one that comes nearest."""
    monkeypatch.setattr(fp16, "LIMITS", (512.0, 8.0, 2.0))
    found = []
    # On this network the last limit wins 2 dB.
    monkeypatch.setattr(build_module, "FP16_WORTH_DB", 1.0)
    for target_db, chosen in ((0.0, 512.0), (300.0, 2.0)):
        monkeypatch.setattr(build_module, "FP16_TARGET_DB", target_db)
        facts = build(small, made_material(48_000, 1.0), ["fp16"]).made[0].provenance
        assert facts["largest_in_fp16"] == chosen
        assert facts["chosen_on"]
        found.append(facts["float32_nodes"])
    assert found[0] < found[1] < facts["nodes"]


@pytest.mark.parametrize(("factor", "kept"), [(1e6, {"up", "down"}), (1e3, set())])
def test_constants_that_half_precision_lacks_stay_float32(factor: float, kept: set[str]) -> None:
    content, x = scaled(factor), {"x": np.full((1, 4), 1e-5, np.float32)}
    ranges = observe(content, [x])
    assert fp16.delicate_nodes(content, ranges) == kept
    (y,) = exact_session(fp16.typed(content, ranges)).run(None, x)
    np.testing.assert_allclose(y, x["x"], rtol=1e-2)


def test_what_a_logarithm_is_taken_of_stays_float32() -> None:
    content = graph_of(
        [
            node("Mul", ["x", "x"], ["power"], name="square"),
            node("Add", ["power", "floor"], ["safe"], name="floor"),
            node("Log", ["safe"], ["level"], name="level"),
            node("MatMul", ["level", "w"], ["y"], name="read"),
        ],
        {"x": ["B", 4]},
        {"y": ["B", 2]},
        {"floor": np.float32(1e-12), "w": np.ones((4, 2), np.float32)},
    )
    x = {"x": np.full((1, 4), 1e-5, np.float32)}
    ranges = observe(content, [x])
    assert fp16.delicate_nodes(content, ranges) == {"square", "floor", "level"}
    (y,) = exact_session(fp16.typed(content, ranges)).run(None, x)
    expected = 4 * np.log(1e-10 + 1e-12)
    np.testing.assert_allclose(y, np.full((1, 2), expected), rtol=2e-3)


def test_a_constant_that_both_kinds_take_is_rounded_for_one_only() -> None:
    content = graph_of(
        [
            node("Log", ["x"], ["l"], name="log"),
            node("Pow", ["x", "p"], ["a"], name="pow"),
            node("Mul", ["w", "p"], ["b"], name="mul"),
            node("Add", ["a", "b"], ["y"], name="add"),
            node("Identity", ["l"], ["z"], name="out"),
        ],
        {"x": ["B", 4], "w": ["B", 4]},
        {"y": ["B", 4], "z": ["B", 4]},
        {"p": np.float32(0.3)},
    )
    x = {n: np.ones((1, 4), np.float32) for n in ("x", "w")}
    model = onnx.load_from_string(fp16.typed(content, observe(content, [x])))
    kinds = {t.data_type: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert kinds[TensorProto.FLOAT] == np.float32(0.3)
    assert kinds[TensorProto.FLOAT16] == np.float16(0.3)


def test_ranges_are_those_of_numpy_over_all_runs() -> None:
    rng = np.random.default_rng(2)
    content = scaled(3.0)
    runs = [{"x": rng.standard_normal((n, 4)).astype(np.float32)} for n in (1, 5)]
    everything = np.concatenate([r["x"] for r in runs])
    found = observe(content, runs)
    assert set(found) == {"a", "y"}
    assert found["a"].low == pytest.approx(3.0 * everything.min(), rel=1e-6)
    assert found["a"].high == pytest.approx(3.0 * everything.max(), rel=1e-6)
    assert found["a"].absmax == max(-found["a"].low, found["a"].high)
