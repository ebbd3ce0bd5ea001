"""The ONNX Runtime engine for whole windows against plain arithmetic, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import tolerances
from semmix_rt.engines import WindowEngine, open_window_engine
from semmix_rt.engines.ort_bound_windows import OrtBoundWindowEngine
from semmix_rt.engines.ort_windows import OrtWindowEngine
from support_window import TINY_WINDOW, TinyWindowEngine, tiny_window_bundle, with_context

from semmix.errors import EngineError, EngineMismatchError, ProviderError

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((5, 6)).astype(np.float32)
MAGNITUDE = np.abs(RNG.standard_normal((3, 32, 63))).astype(np.float32)
WAVEFORM = RNG.standard_normal((3, 1_000)).astype(np.float32)


@pytest.fixture(scope="module", params=[OrtWindowEngine, OrtBoundWindowEngine])
def engine(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> OrtWindowEngine:
    bundle = tiny_window_bundle(tmp_path_factory.mktemp("b") / "tiny")
    opened = request.param.open(bundle, 1, "fp32")
    assert isinstance(opened, OrtWindowEngine)
    return opened


def test_it_says_what_runs(engine: WindowEngine) -> None:
    assert engine.name in ("ort", "ort-bound")
    assert engine.provider == "CPUExecutionProvider"
    assert engine.precision == "fp32"
    assert engine.spec == TINY_WINDOW


@pytest.mark.parametrize("batch", [1, 3])
def test_it_equals_the_arithmetic(engine: WindowEngine, batch: int) -> None:
    rule = TinyWindowEngine()
    tokens = engine.encode_context(VECTORS)
    np.testing.assert_allclose(
        tokens, rule.encode_context(VECTORS), rtol=0.0, atol=tolerances.ENGINE_MASK
    )
    inputs = MAGNITUDE[:batch], WAVEFORM[:batch], np.stack([tokens] * batch)
    for found, expected in zip(engine.run(*inputs), rule.run(*inputs), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.ENGINE_MASK)


def test_without_context_it_takes_no_tokens(tmp_path: Path) -> None:
    spec = with_context("none")
    engine = open_window_engine(tiny_window_bundle(tmp_path / "none", spec))
    found = engine.run(MAGNITUDE, WAVEFORM, None)
    for one, expected in zip(
        found, TinyWindowEngine(spec).run(MAGNITUDE, WAVEFORM, None), strict=True
    ):
        np.testing.assert_allclose(one, expected, rtol=0.0, atol=tolerances.ENGINE_MASK)
    with pytest.raises(EngineMismatchError, match="takes no context"):
        engine.encode_context(VECTORS)
    with pytest.raises(EngineMismatchError, match="takes no context tokens"):
        engine.run(MAGNITUDE, WAVEFORM, np.zeros((3, 5, 4), np.float32))


def test_other_shapes_are_refused(engine: WindowEngine) -> None:
    tokens = np.zeros((3, 5, 4), np.float32)
    with pytest.raises(EngineMismatchError, match="magnitude"):
        engine.run(MAGNITUDE[:, :-1], WAVEFORM, tokens)
    with pytest.raises(EngineMismatchError, match="waveform"):
        engine.run(MAGNITUDE, WAVEFORM[:, 1:], tokens)
    with pytest.raises(EngineMismatchError, match="tokens"):
        engine.run(MAGNITUDE, WAVEFORM, tokens[:2])
    with pytest.raises(EngineMismatchError, match="takes its context tokens"):
        engine.run(MAGNITUDE, WAVEFORM, None)
    with pytest.raises(EngineMismatchError, match="context"):
        engine.encode_context(VECTORS[:4])


def test_graphs_that_are_not_the_specs_are_refused(tmp_path: Path) -> None:
    from support_window import tiny_window_parts

    parts = tiny_window_parts()
    for name, spec, clue in (
        ("context", with_context("text", context_dim=7), "context graph"),
        ("mask", with_context("text", window_samples=1_010), "mask graph"),
    ):
        with pytest.raises(EngineMismatchError, match=clue):
            OrtWindowEngine(spec, parts["context"], parts["highlighters"]["fp32"], where=name)  # type: ignore[index, arg-type]


def test_engines_that_are_not_for_windows_are_not_offered(tmp_path: Path) -> None:
    bundle = tiny_window_bundle(tmp_path / "tiny")
    with pytest.raises(
        EngineError, match=r"whole windows: .* auto, ort, ort-bound, ort-cuda, .*torch"
    ):
        open_window_engine(bundle, "of-streams-alone")
    with pytest.raises(EngineError, match="0 threads"):
        open_window_engine(bundle, threads=0)


@pytest.mark.parametrize(
    ("name", "provider"),
    [("ort-cuda", "CUDAExecutionProvider"), ("ort-tensorrt", "TensorrtExecutionProvider")],
)
def test_gpu_providers_are_offered_and_none_falls_back(
    tmp_path: Path, name: str, provider: str
) -> None:
    if provider in ort.get_available_providers():
        pytest.skip(f"this onnxruntime has the {provider} built in")
    bundle = tiny_window_bundle(tmp_path / "tiny")
    with pytest.raises(ProviderError, match=rf"has no {provider}: .*semmix-rt\[gpu\]"):
        open_window_engine(bundle, name)
