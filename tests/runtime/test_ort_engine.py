from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import soundfile
import tolerances
from onnx import TensorProto, helper, numpy_helper
from semmix_rt.cli.root import main
from semmix_rt.engines import engine_names, open_engine, registry
from semmix_rt.engines.base import Engine
from semmix_rt.engines.ort import OrtEngine, open_session, session_options
from semmix_rt.engines.ort_placement import PRODUCTS, RECORD, check_placement
from semmix_rt.environment import provider_states
from support_engine import (
    TINY_SPEC,
    bundle_parts,
    context_onnx,
    highlighter_onnx,
    tiny_inputs,
    tiny_model,
)
from support_remix import nothing_left

from semmix.bundle import Bundle, write_bundle
from semmix.errors import EngineError, EngineMismatchError, ModelFormatError, ProviderError


@pytest.fixture(scope="module")
def engine(tiny_bundle: Bundle) -> Engine:
    return open_engine(tiny_bundle)


def test_it_says_what_runs(engine: Engine) -> None:
    assert engine.name == "ort"
    assert engine.provider == "CPUExecutionProvider"
    assert engine.precision == "fp32"
    assert engine.spec == TINY_SPEC


@pytest.mark.parametrize("segments", [1, 2, 7])
def test_context_tokens_equal_the_arithmetic(engine: Engine, segments: int) -> None:
    rng = np.random.default_rng(segments)
    embeddings = rng.standard_normal((segments, 6, 5)).astype(np.float32)
    expected = tiny_model().encode_context(embeddings)
    actual = engine.encode_context(embeddings)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=tolerances.ENGINE_MASK)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_mask_and_state_equal_the_arithmetic_over_many_chunks(engine: Engine, batch: int) -> None:
    model = tiny_model()
    state = engine.initial_state(batch)
    expected_state = tuple(np.zeros((batch, *s.shape), np.float32) for s in TINY_SPEC.state)
    for chunk in range(4):
        spectrum, tokens, weights, _ = tiny_inputs(model, batch, seed=chunk)
        mask, state = engine.run(spectrum, tokens, weights, state)
        expected, expected_state = model.run(spectrum, tokens, weights, expected_state)
        np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
        for ours, theirs in zip(state, expected_state, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, atol=tolerances.ENGINE_MASK)


def test_streams_of_a_batch_do_not_touch_each_other(engine: Engine) -> None:
    spectrum, tokens, weights, state = tiny_inputs(tiny_model(), batch=3)
    together, _ = engine.run(spectrum, tokens, weights, state)
    for b in range(3):
        one = slice(b, b + 1)
        alone, _ = engine.run(
            spectrum[one], tokens[one], weights[one], tuple(s[one] for s in state)
        )
        np.testing.assert_allclose(alone[0], together[b], atol=tolerances.ENGINE_MASK)


def test_the_callers_arrays_stay_as_they_were(engine: Engine) -> None:
    inputs = tiny_inputs(tiny_model())
    before = [np.copy(a) for a in (*inputs[:3], *inputs[3])]
    _, following = engine.run(*inputs)
    engine.run(*inputs[:3], following)
    for array, copy in zip((*inputs[:3], *inputs[3]), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("threads", [2, 3, 7])
def test_threads_that_share_a_batch_change_neither_masks_nor_states(
    tiny_bundle: Bundle, engine: Engine, threads: int, batch: int
) -> None:
    shared = open_engine(tiny_bundle, "ort", threads=threads)
    state = engine.initial_state(batch)
    expected_state = state
    for chunk in range(3):
        spectrum, tokens, weights, _ = tiny_inputs(tiny_model(), batch, seed=chunk)
        mask, state = shared.run(spectrum, tokens, weights, state)
        expected, expected_state = engine.run(spectrum, tokens, weights, expected_state)
        for ours, theirs in zip((mask, *state), (expected, *expected_state), strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=tolerances.ENGINE_MASK)


def test_strided_and_wider_arrays_are_taken(engine: Engine) -> None:
    spectrum, tokens, weights, state = tiny_inputs(tiny_model())
    expected, _ = engine.run(spectrum, tokens, weights, state)
    padded = np.zeros((1, 4, 66))
    padded[..., ::2] = spectrum
    actual, _ = engine.run(padded[..., ::2], tokens, weights, state)  # type: ignore[arg-type]
    np.testing.assert_array_equal(actual, expected)


def test_golden_arrays_are_reproduced(tiny_bundle: Bundle, engine: Engine) -> None:
    golden = tiny_bundle.golden()
    mask, following = engine.run(
        golden["spectrum"],
        golden["tokens"],
        golden["weights"],
        tuple(golden[s.name] for s in engine.spec.state),
    )
    np.testing.assert_allclose(mask, golden["mask"], atol=tolerances.ENGINE_MASK)
    for known, array in zip(engine.spec.state, following, strict=True):
        np.testing.assert_allclose(array, golden[f"next_{known.name}"], atol=tolerances.ENGINE_MASK)


@pytest.mark.parametrize(
    ("position", "change", "clue"),
    [
        (0, lambda a: a[:, :3], "spectrum"),
        (0, lambda a: a[..., :32], "spectrum"),
        (0, lambda a: a[0], "spectrum"),
        (1, lambda a: a[:, :1], "tokens"),
        (2, lambda a: a[:, :, :1], "weights"),
        (3, lambda s: s[:1], "state"),
        (3, lambda s: (s[0][:, :2], s[1]), "trail"),
        (3, lambda s: (np.repeat(s[0], 2, axis=0), s[1]), "trail"),
    ],
)
def test_wrong_shapes_are_named(engine: Engine, position: int, change: Any, clue: str) -> None:
    inputs: list[Any] = list(tiny_inputs(tiny_model()))
    inputs[position] = change(inputs[position])
    with pytest.raises(EngineMismatchError, match=clue):
        engine.run(*inputs)


def test_wrong_embeddings_are_named(engine: Engine) -> None:
    with pytest.raises(EngineMismatchError, match="embeddings"):
        engine.encode_context(np.zeros((2, 6, 4), np.float32))


# --- Graphs that do not fit ---------------------------------------------------------------------


def rewritten(content: bytes, change: Any) -> bytes:
    model = onnx.load_from_string(content)
    change(model)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("changes", "clue"),
    [
        ({"highlighters": {"fp32": context_onnx(tiny_model())}}, "inputs"),
        ({"context": highlighter_onnx(tiny_model())}, "context graph"),
        ({"highlighters": {"fp32": highlighter_onnx(tiny_model(), "after_trail")}}, "outputs"),
        ({"spec": replace(TINY_SPEC, embedding_dim=6)}, "embeddings"),
        ({"spec": replace(TINY_SPEC, max_segments=3)}, "tokens"),
        ({"spec": replace(TINY_SPEC, state=TINY_SPEC.state[:1])}, "held"),
    ],
)
def test_graphs_that_do_not_fit_the_spec_are_refused(
    tmp_path: Path, changes: dict[str, Any], clue: str
) -> None:
    bundle = write_bundle(tmp_path / "odd", **bundle_parts(**changes))
    with pytest.raises(EngineMismatchError, match=clue):
        open_engine(bundle)


@pytest.mark.parametrize(
    "content", [b"not a graph", b"\x00" * 100, context_onnx(tiny_model())[:90]]
)
def test_damaged_graphs_are_refused(tmp_path: Path, content: bytes) -> None:
    bundle = write_bundle(tmp_path / "odd", **bundle_parts(context=content))
    with pytest.raises(EngineError) as caught:
        open_engine(bundle)
    assert "\n" not in str(caught.value)


def test_a_graph_cannot_read_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights as "external data" would let a bundle pull in any file of the user's."""
    (tmp_path / "secret.bin").write_bytes(bytes(80))
    monkeypatch.chdir(tmp_path)

    def point_outside(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "secret.bin"), ("offset", "0"), ("length", "80")):
            weight.external_data.add(key=key, value=value)

    graph = rewritten(context_onnx(tiny_model()), point_outside)
    with pytest.raises(EngineError):
        open_session(graph, "CPUExecutionProvider", 1)


# --- Providers ----------------------------------------------------------------------------------


def test_a_provider_that_is_not_built_in_is_an_error(tiny_bundle: Bundle) -> None:
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider built in")
    with pytest.raises(ProviderError, match=r"semmix-rt\[gpu\]"):
        open_engine(tiny_bundle, "ort-cuda")


def test_a_provider_that_falls_back_is_an_error(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As if CUDA were built in without its libraries: ONNX Runtime itself runs on the CPU."""
    built_in = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: built_in)
    with (
        pytest.warns(UserWarning, match="not in available provider"),
        pytest.raises(ProviderError, match="does not start"),
    ):
        open_engine(tiny_bundle, "ort-cuda")
    assert capfd.readouterr().out == ""


def test_a_provider_that_leaves_the_products_to_another_is_an_error(tiny_bundle: Bundle) -> None:
    """A session of the CPU's provider, held against another's name, by what it says itself."""
    options = session_options(threads=1)
    options.add_session_config_entry(*RECORD)
    graph = tiny_bundle.highlighter_graph()
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    if not hasattr(session, "get_provider_graph_assignment_info"):
        pytest.skip(f"onnxruntime {ort.__version__} does not tell where nodes are")
    check_placement(session, "CPUExecutionProvider")
    nodes = onnx.load_from_string(graph).graph.node
    products = sum(node.op_type in PRODUCTS for node in nodes)
    assert products
    clue = rf"{products} of the network's {products} products .*{products} on CPUExecutionProvider"
    with pytest.raises(ProviderError, match=clue):
        check_placement(session, "CUDAExecutionProvider")


@pytest.mark.parametrize("engine", ["ort-cuda", "ort-tensorrt"])
def test_a_film_is_not_remixed_by_another_provider_than_was_asked_for(
    tiny_bundle: Bundle, tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if len(ort.get_available_providers()) > 2:
        pytest.skip("this onnxruntime has providers of GPUs built in")
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros((4_800, 2)), 48_000)
    with nothing_left(tmp_path):
        code = main(["remix", str(source), "--model", str(tiny_bundle.path), "--engine", engine])
    assert code == ProviderError.exit_code
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ExecutionProvider: in an environment without onnxruntime, pip install" in error


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(tiny_bundle: Bundle) -> None:
    if provider_states().get("CUDAExecutionProvider") != "starts":
        pytest.skip("needs onnxruntime-gpu with what it links")
    inputs = tiny_inputs(tiny_model())
    gpu = open_engine(tiny_bundle, "ort-cuda")
    assert gpu.provider == "CUDAExecutionProvider"
    expected = open_engine(tiny_bundle).run(*inputs)[0]
    np.testing.assert_allclose(gpu.run(*inputs)[0], expected, atol=tolerances.CUDA_MASK)


def test_session_options_are_explicit() -> None:
    options = session_options(threads=3)
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# --- The registry -------------------------------------------------------------------------------


def test_engines_are_found_by_name(tiny_bundle: Bundle) -> None:
    assert {"ort", "ort-cuda", "ort-tensorrt", "torch"} <= set(engine_names())
    assert isinstance(open_engine(tiny_bundle, "auto"), OrtEngine)
    with pytest.raises(EngineError, match="choose one of auto, ort"):
        open_engine(tiny_bundle, "abacus")
    with pytest.raises(EngineError, match="1 or more"):
        open_engine(tiny_bundle, threads=0)


def broken_import(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Let the engine `broken` fail as if `module` were not installed."""

    def load(self: EntryPoint) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(EntryPoint, "load", load)
    entry = EntryPoint("broken", "nowhere:Engine", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])


@pytest.mark.parametrize(
    ("module", "remedy"),
    [
        ("torch", r"semmix-rt\[train\]"),
        ("onnxruntime.capi", r"semmix-rt\[cpu\]"),
        ("abacus", "needs the module abacus"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, module: str, remedy: str
) -> None:
    broken_import(monkeypatch, module)
    with pytest.raises(EngineError, match=remedy):
        open_engine(tiny_bundle, "broken")


def test_the_probe_graph_is_a_plain_addition() -> None:
    from semmix_rt.environment import PROBE_GRAPH

    def value(name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])

    node = helper.make_node("Add", ["a", "a"], ["b"])
    graph = helper.make_graph([node], "probe", [value("a")], [value("b")])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, ir_version=8, opset_imports=[opset])
    assert onnx.load_from_string(PROBE_GRAPH) == model


# --- Precisions ---------------------------------------------------------------------------------


def test_the_precision_that_was_asked_for_runs(tmp_path: Path) -> None:
    """The other precision's graph is another model, so that they cannot be mistaken."""
    graphs = {"fp32": highlighter_onnx(tiny_model()), "fp16": highlighter_onnx(tiny_model(9))}
    bundle = write_bundle(tmp_path / "two", **bundle_parts(highlighters=graphs))  # type: ignore[arg-type]
    inputs = tiny_inputs(tiny_model())
    for precision, seed in (("fp32", 0), ("fp16", 9)):
        engine = open_engine(bundle, precision=precision)
        assert engine.precision == precision
        expected, _ = tiny_model(seed).run(*inputs)
        np.testing.assert_allclose(engine.run(*inputs)[0], expected, atol=tolerances.ENGINE_MASK)


@pytest.mark.parametrize("engine", ["ort", "torch"])
def test_a_precision_that_is_not_there_is_refused(tiny_bundle: Bundle, engine: str) -> None:
    with pytest.raises(ModelFormatError, match="has no int8 network, only fp32"):
        open_engine(tiny_bundle, engine, precision="int8")


def eight_bit_product() -> bytes:
    """`y [1, 1] = x [1, 64] @ ones`, all in S8 Q/DQ of step 1/127: 64 is far above 16 bits."""
    step, zero = np.float32(1 / 127), np.int8(0)
    quantise = {"step": step, "zero": zero, "ones": np.full((64, 1), 127, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["d"]),
        helper.make_node("DequantizeLinear", ["ones", "step", "zero"], ["w"]),
        helper.make_node("MatMul", ["d", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "eight",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in quantise.items()],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 20)])
    return model.SerializeToString()


def test_graphs_for_tensorrt_are_computed_without_onnx_runtimes_own_kernels() -> None:
    """Those overflow where the CPU has no VNNI, and would make 0.5 of this product."""
    session = open_session(eight_bit_product(), "CPUExecutionProvider", 1, "int8")
    (y,) = session.run(["y"], {"x": np.ones((1, 64), np.float32)})
    assert float(y[0, 0]) == pytest.approx(64.0, rel=1e-6)
    entry = session.get_session_options().get_session_config_entry("session.disable_quant_qdq")
    assert entry == "1"
