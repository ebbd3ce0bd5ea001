"""Engines on a GPU, for whoever has one: `pytest -m gpu tests/export/test_gpu.py -s`.

Elsewhere the same tests run on a stand-in that computes plans by ONNX Runtime, which shows that
they work, and nothing about TensorRT.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tolerances
from semmix_export import verification, verify
from semmix_rt import Remixer
from semmix_rt.engines import open_engine, open_window_engine
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.engine import TensorrtEngine
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE
from support_engine import broken_fp16
from support_gate import only
from support_gpu import STAND_IN, Place, chunks, latency, masks, open_place, without_graphs
from support_precisions import graphs_of
from support_window import tiny_window_bundle

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError
from semmix.metrics import snr_db

LEAST_SNR_DB = {
    "fp32": tolerances.EXPORT_SNR_DB,
    "fp16": tolerances.GPU_FP16_SNR_DB,
    "int8": tolerances.GPU_INT8_SNR_DB,
}


@pytest.fixture(
    params=[
        STAND_IN,
        pytest.param("tensorrt", marks=pytest.mark.gpu),
        pytest.param("tensorrt-rtx", marks=pytest.mark.gpu),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    return open_place(request.param, monkeypatch)


@pytest.fixture(scope="module")
def model(exported, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny preset in every precision that is compiled for GPUs."""
    bundle = exported.bundle.save(tmp_path_factory.mktemp("gpu") / "tiny")
    graphs = graphs_of(bundle).graphs
    for precision in ("fp16", "int8"):
        bundle = bundle.add_precision(precision, graphs[precision], parity={}, provenance={})
    return bundle


def opened(bundle: Bundle, place: Place, precision: str = "fp32") -> TensorrtEngine:
    engine = open_engine(bundle, place.engine, precision=precision)
    assert isinstance(engine, TensorrtEngine)
    return engine


@pytest.mark.parametrize("precision", LEAST_SNR_DB)
def test_masks_are_those_of_onnx_runtime(place: Place, model: Bundle, precision: str) -> None:
    place.build(model, [precision])
    engine = opened(model, place, precision)
    reference = open_engine(model, "ort", precision=precision)
    inputs = chunks(model, 8)
    agreement = snr_db(masks(reference, inputs), masks(engine, inputs))
    print(f"\n{engine.provider}, {precision}: {agreement:.1f} dB from ONNX Runtime")
    assert agreement >= LEAST_SNR_DB[precision]
    assert engine.fallback_runs == 0
    print(latency(engine, model, 200 if place.real else 3))


def test_the_model_that_comes_along_agrees(place: Place) -> None:
    bundle = Bundle.default()
    place.build(bundle, [])
    engine, inputs = opened(bundle, place), chunks(bundle, 4)
    assert snr_db(masks(open_engine(bundle, "ort"), inputs), masks(engine, inputs)) >= (
        tolerances.EXPORT_SNR_DB
    )
    print(f"\n{latency(engine, bundle, 200 if place.real else 3)}")


def test_the_gate_passes_and_a_film_may_be_heard(
    place: Place, model: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not place.real:
        # The sounds themselves are tested with the gate.
        monkeypatch.setattr(verification, "gate_sounds", only("speech"))
    place.build(model, ["fp16"])
    found = verify(model, engine=place.engine, precisions=["fp16"])
    assert found.kept == "engines"
    assert {r.precision: r.parity.failures for r in found.results} == {"fp32": (), "fp16": ()}
    for precision in ("fp32", "fp16"):
        Remixer(48_000, 1, model=model.path, engine=place.engine, precision=precision)


def test_a_recorded_run_gives_the_same_masks(
    place: Place, model: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.build(model, ["fp16"])
    inputs = chunks(model, 4)
    recorded = opened(model, place, "fp16")
    found = masks(recorded, inputs)
    print(f"\nrecorded: {latency(recorded, model, 200 if place.real else 3)}")
    without_graphs(monkeypatch)
    plain = opened(model, place, "fp16")
    np.testing.assert_allclose(masks(plain, inputs), found, atol=tolerances.ENGINE_MASK)
    print(f"call by call: {latency(plain, model, 200 if place.real else 3)}")


def test_a_run_is_recorded(place: Place, model: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    place.build(model, [])
    opened(model, place)
    assert "not recorded as a CUDA graph" not in caplog.text


def test_what_is_no_number_is_computed_in_float32_and_counted(place: Place, tmp_path: Path) -> None:
    bundle = broken_fp16(tmp_path / "broken")
    place.build(bundle, ["fp16"])
    engine, inputs = opened(bundle, place, "fp16"), chunks(bundle, 3)
    np.testing.assert_allclose(
        masks(engine, inputs), masks(open_engine(bundle, "ort"), inputs), atol=tolerances.CUDA_MASK
    )
    assert engine.fallback_runs == 3


def test_several_streams_run_at_once(place: Place, model: Bundle) -> None:
    place.build(model, [], Batch(1, 2, 4))
    engine, reference = opened(model, place), open_engine(model, "ort")
    for count in (4, 3, 2, 1):
        inputs = chunks(model, 3, count)
        agreement = snr_db(masks(reference, inputs), masks(engine, inputs))
        assert agreement >= tolerances.EXPORT_SNR_DB, count
    with pytest.raises(EngineMismatchError, match=r"built for 4: .*--batch 1:5:5"):
        masks(engine, chunks(model, 1, 5))


def test_windows_agree(place: Place, tmp_path: Path) -> None:
    bundle = tiny_window_bundle(tmp_path / "window")
    spec = bundle.window_spec
    assert spec is not None
    place.build(bundle, [])
    engine, reference = (open_window_engine(bundle, name) for name in (place.engine, "ort"))
    rng = np.random.default_rng(3)
    shapes = (
        (spec.context_vectors, spec.context_dim),
        (2, spec.bins, spec.frames),
        (2, spec.window_samples),
    )
    vectors, magnitude, waveform = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    both = [np.stack([e.encode_context(vectors)] * 2) for e in (engine, reference)]
    for actual, expected in zip(
        engine.run(magnitude, waveform, both[0]),
        reference.run(magnitude, waveform, both[1]),
        strict=True,
    ):
        assert snr_db(expected, actual) >= tolerances.EXPORT_SNR_DB


def test_kernels_are_compiled_once(place: Place, model: Bundle, tmp_path: Path) -> None:
    if place.engine != "tensorrt-rtx":
        pytest.skip("TensorRT's plans hold compiled kernels already")
    place.build(model, [])
    inputs = chunks(model, 2)
    first = masks(opened(model, place), inputs)
    kept = sorted((tmp_path / "engines").glob("*.kernels"))
    assert len(kept) == 2
    assert all(path.stat().st_size > 32 for path in kept)
    np.testing.assert_allclose(
        masks(opened(model, place), inputs), first, atol=tolerances.ENGINE_MASK
    )
