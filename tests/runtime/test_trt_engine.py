"""What the TensorRT engines do around the GPU: on a device that is none, see `support_trt`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tolerances
from semmix_rt.engines import open_engine, open_window_engine
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.engine import TensorrtRtxEngine, TensorrtRtxWindowEngine
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE, PlanFolder
from support_engine import TINY_SPEC, broken_fp16, tiny_inputs, tiny_model
from support_trt import FakeDevice, key_of, stand_in, store
from support_window import tiny_window_bundle

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError, UsageError


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    device = FakeDevice()
    stand_in(monkeypatch, device)
    return device


@pytest.fixture
def built(tiny_bundle: Bundle, device: FakeDevice) -> Bundle:
    store(tiny_bundle, "context")
    store(tiny_bundle, "highlighter")
    return tiny_bundle


def test_chunks_equal_the_arithmetic_and_state_comes_back(
    built: Bundle, device: FakeDevice
) -> None:
    engine = open_engine(built, "tensorrt-rtx")
    assert isinstance(engine, TensorrtRtxEngine)
    assert engine.provider == "TensorRT for RTX 1.7.0 on Fake GPU"
    model, state = tiny_model(), engine.initial_state()
    expected_state = state
    kept = []
    for chunk in range(3):
        spectrum, tokens, weights, _ = tiny_inputs(model, 1, seed=chunk)
        mask, state = engine.run(spectrum, tokens, weights, state)
        expected, expected_state = model.run(spectrum, tokens, weights, expected_state)
        kept.append((mask, expected))
        for actual, wanted in zip(state, expected_state, strict=True):
            np.testing.assert_allclose(actual, wanted, atol=tolerances.ENGINE_MASK)
    # Results are copies: later runs, through the same memory, leave them alone.
    for mask, expected in kept:
        np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
    assert engine.fallback_runs == 0


def test_memory_is_taken_once_and_a_chunk_is_one_launch(built: Bundle, device: FakeDevice) -> None:
    engine = open_engine(built, "tensorrt-rtx")
    taken = (len(device.memory), device.pinned, len(device.recordings))
    tensors = 2 + 3 + 1 + 2 * len(TINY_SPEC.state)
    assert taken == (tensors, tensors, 2)
    spectrum, tokens, weights, _ = tiny_inputs(tiny_model(), 1)
    for _ in range(3):
        engine.run(spectrum, tokens, weights, engine.initial_state())
    assert (len(device.memory), device.pinned, len(device.recordings)) == taken
    assert device.launches == 3


def test_where_nothing_can_be_recorded_it_runs_with_a_warning(
    built: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = FakeDevice(cannot_record=True)
    stand_in(monkeypatch, device)
    engine = open_engine(built, "tensorrt-rtx")
    assert "not recorded as a CUDA graph" in caplog.text
    model = tiny_model()
    spectrum, tokens, weights, _ = tiny_inputs(model, 1)
    mask, _ = engine.run(spectrum, tokens, weights, engine.initial_state())
    expected, _ = model.run(spectrum, tokens, weights, engine.initial_state())
    np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
    assert device.launches == 0


def test_context_is_encoded_segment_by_segment(built: Bundle, device: FakeDevice) -> None:
    engine = open_engine(built, "tensorrt-rtx")
    embeddings = np.random.default_rng(1).standard_normal((3, 6, 5)).astype(np.float32)
    expected = tiny_model().encode_context(embeddings)
    np.testing.assert_allclose(
        engine.encode_context(embeddings), expected, atol=tolerances.ENGINE_MASK
    )
    assert engine.encode_context(embeddings[:0]).shape == (0, 6, 4)


def test_values_that_are_no_numbers_are_computed_again_in_float32_and_counted(
    tmp_path: Path, device: FakeDevice
) -> None:
    bundle = broken_fp16(tmp_path / "broken")
    store(bundle, "context")
    store(bundle, "highlighter", "fp16")
    # Float32 must be there before the film starts.
    with pytest.raises(EngineMismatchError, match=r"in fp32 .*--precision fp32 --target sm86"):
        open_engine(bundle, "tensorrt-rtx", precision="fp16")
    store(bundle, "highlighter")
    engine = open_engine(bundle, "tensorrt-rtx", precision="fp16")
    assert isinstance(engine, TensorrtRtxEngine)
    model, state = tiny_model(), engine.initial_state()
    for chunk in (1, 2):
        spectrum, tokens, weights, _ = tiny_inputs(model, 1, seed=chunk)
        mask, following = engine.run(spectrum, tokens, weights, state)
        expected, _ = model.run(spectrum, tokens, weights, state)
        np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
        assert engine.fallback_runs == chunk
        state = following


def test_other_shapes_and_states_are_refused(built: Bundle, device: FakeDevice) -> None:
    engine = open_engine(built, "tensorrt-rtx")
    spectrum, tokens, weights, state = tiny_inputs(tiny_model(), 2)
    one = tuple(tensor[:1] for tensor in state)
    with pytest.raises(EngineMismatchError, match=r"spectrum has the shape \[1, 4, 32\]"):
        engine.run(spectrum[:1, :, 1:], tokens[:1], weights[:1], one)
    with pytest.raises(EngineMismatchError, match=r"tokens has the shape \[2, "):
        engine.run(spectrum[:1], tokens, weights[:1], one)
    with pytest.raises(EngineMismatchError, match="1 state tensors and needs 2"):
        engine.run(spectrum[:1], tokens[:1], weights[:1], state[:1])


def run_streams(engine: object, count: int, seed: int) -> None:
    """Hold `count` streams at once against the arithmetic."""
    spectrum, tokens, weights, state = tiny_inputs(tiny_model(), count, seed=seed)
    mask, following = engine.run(spectrum, tokens, weights, state)  # type: ignore[attr-defined]
    expected, expected_state = tiny_model().run(spectrum, tokens, weights, state)
    for actual, wanted in zip((mask, *following), (expected, *expected_state), strict=True):
        assert actual.shape == wanted.shape
        np.testing.assert_allclose(actual, wanted, atol=tolerances.ENGINE_MASK)


def test_several_streams_run_at_once_in_one_of_three_sizes(
    tiny_bundle: Bundle, device: FakeDevice
) -> None:
    store(tiny_bundle, "context")
    store(tiny_bundle, "highlighter", batch=Batch(2, 3, 5))
    engine = open_engine(tiny_bundle, "tensorrt-rtx")
    # The context encoder's one size and the network's three, on memory for the largest.
    assert len(device.recordings) == 4
    taken = len(device.memory)
    # Many streams first: what they leave in the memory must not reach the few.
    for seed, count in enumerate((5, 4, 3, 2, 1)):
        run_streams(engine, count, seed)
    assert (len(device.memory), len(device.recordings)) == (taken, 4)
    assert device.launches == 5
    spectrum, tokens, weights, state = tiny_inputs(tiny_model(), 6)
    with pytest.raises(EngineMismatchError, match=r"6 streams .* built for 5: .*--batch 1:6:6`"):
        engine.run(spectrum, tokens, weights, state)


def test_the_plan_that_computes_least_is_taken(built: Bundle, device: FakeDevice) -> None:
    store(built, "highlighter", batch=Batch(4, 4, 4))
    store(built, "highlighter", batch=Batch(1, 2, 8))
    engine = open_engine(built, "tensorrt-rtx")
    assert len(device.recordings) == 2  # a plan for several streams waits until they come
    run_streams(engine, 1, seed=0)
    assert len(device.recordings) == 2
    run_streams(engine, 2, seed=1)
    assert len(device.recordings) == 5
    run_streams(engine, 3, seed=2)
    assert len(device.recordings) == 6
    run_streams(engine, 7, seed=3)
    assert len(device.recordings) == 6


@pytest.mark.parametrize("text", ["0", "2:1:3", "1:2", "1:2:3:4", "1:1:257", "a", "-1", "1:1:", ""])
def test_batches_out_of_order_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"least:usual:most such as 1:2:4"):
        Batch.parse(text)


def test_batches_are_read_and_written_alike() -> None:
    assert Batch.parse("3") == Batch(3, 3, 3)
    assert Batch.parse(str(Batch(1, 2, 4))) == Batch(1, 2, 4)
    assert Batch(1, 1, 4).sizes == (1, 4)


def test_an_engine_with_other_inputs_is_refused(tiny_bundle: Bundle, device: FakeDevice) -> None:
    store(tiny_bundle, "highlighter")
    key, _ = key_of(tiny_bundle, "context")
    PlanFolder().store(key, tiny_bundle.highlighter_graph(), {})
    with pytest.raises(EngineMismatchError, match=r"its model's spec asks for float32 embeddings"):
        open_engine(tiny_bundle, "tensorrt-rtx")


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"version": "1.6.9"}, r"version \(1\.6\.9 there, 1\.7\.0 here\)"),
        ({"target": "sm89"}, r"target \(sm89 there, sm86 here\)"),
        ({"graph_sha256": "0" * 64}, "the network itself"),
        ({"precision": "fp16"}, r"precision \(fp16 there, fp32 here\)"),
        ({"flags": ("strongly-typed",)}, "flags"),
        ({"shapes": {"embeddings": (2, 6, 5)}}, "shapes"),
        ({"batch": Batch(2, 2, 2)}, "batch"),
    ],
)
def test_whatever_differs_is_told_with_the_repair(
    tiny_bundle: Bundle, device: FakeDevice, parts: dict[str, object], told: str
) -> None:
    store(tiny_bundle, "context", **parts)
    with pytest.raises(EngineMismatchError, match=told) as caught:
        open_engine(tiny_bundle, "tensorrt-rtx")
    repair = "semmix-rt build BUNDLE --engine tensorrt-rtx --precision fp32 --target sm86"
    assert repair in str(caught.value)


def test_a_plan_of_another_content_never_reaches_the_library(
    built: Bundle, device: FakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = store(built, "context")
    content = stored.path.read_bytes()
    stored.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(EngineMismatchError, match=r"its hash differs.*semmix-rt build"):
        open_engine(built, "tensorrt-rtx")
    assert not device.memory


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_a_damaged_sidecar_is_refused(built: Bundle, device: FakeDevice, content: bytes) -> None:
    store(built, "context").path.with_suffix(".json").write_bytes(content)
    with pytest.raises(EngineMismatchError, match="does not describe its plan"):
        open_engine(built, "tensorrt-rtx")


def test_a_sidecar_under_another_name_is_refused(built: Bundle, device: FakeDevice) -> None:
    stored = store(built, "context")
    sidecar = stored.path.with_suffix(".json")
    content = json.loads(sidecar.read_text())
    content["key"]["target"] = "sm89"
    sidecar.write_text(json.dumps(content))
    with pytest.raises(EngineMismatchError, match="does not describe its plan"):
        open_engine(built, "tensorrt-rtx")


@pytest.mark.parametrize("batch", [Batch(), Batch(2, 2, 2)])
def test_windows_run_as_many_at_once_as_the_plan_takes(
    tmp_path: Path, device: FakeDevice, batch: Batch
) -> None:
    bundle = tiny_window_bundle(tmp_path / "window")
    spec = bundle.window_spec
    assert spec is not None
    store(bundle, "context")
    store(bundle, "highlighter", batch=batch)
    engine = open_window_engine(bundle, "tensorrt-rtx")
    assert isinstance(engine, TensorrtRtxWindowEngine)
    reference = open_window_engine(bundle, "ort")
    rng = np.random.default_rng(3)

    def noise(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    vectors = noise(spec.context_vectors, spec.context_dim)
    tokens = engine.encode_context(vectors)
    np.testing.assert_array_equal(tokens, reference.encode_context(vectors))
    magnitude, waveform = noise(3, spec.bins, spec.frames), noise(3, spec.window_samples)
    both = np.stack((tokens, -tokens, tokens))
    for actual, expected in zip(
        engine.run(magnitude, waveform, both),
        reference.run(magnitude, waveform, both),
        strict=True,
    ):
        np.testing.assert_allclose(actual, expected, atol=tolerances.ENGINE_MASK)
    assert device.launches == 1 + len(range(0, 3, batch.most))
    with pytest.raises(EngineMismatchError, match="takes its context tokens"):
        engine.run(magnitude, waveform, None)
