"""ONNX Runtime's GPU providers: what is asked of them, and what of their answers is refused.

On providers that are none; see `support_ort`.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tolerances
from semmix_rt.engines import open_engine, open_window_engine, ort_records
from semmix_rt.engines.inputs import BATCH_AXIS
from semmix_rt.proof import brief_proof, check_engine_proof, check_proof
from support_engine import bundle_parts, highlighter_onnx, tiny_inputs, tiny_model
from support_ort import stand_in_for
from support_parity import record_of
from support_window import TinyWindowEngine, tiny_window_bundle

from semmix.bundle import Bundle, write_bundle
from semmix.errors import EngineError, ParityError, ProviderError

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"


@pytest.fixture(autouse=True)
def _own_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))


# --- TensorRT's provider ------------------------------------------------------------------------


def test_tensorrt_gets_a_batch_of_one_whatever_is_run(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stand_in_for(monkeypatch, TENSORRT)
    engine = open_engine(tiny_bundle, "ort-tensorrt")
    for session in told.sessions:
        assert {tensor.shape[0] for tensor in session.get_inputs()} == {1}
    inputs = tiny_inputs(tiny_model(), batch=3)
    expected, state = tiny_model().run(*inputs)
    mask, following = engine.run(*inputs)
    np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
    for ours, theirs in zip(following, state, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=tolerances.ENGINE_MASK)
    for segments in (0, 1, 3):
        cues = np.random.default_rng(1).standard_normal((segments, 6, 5)).astype(np.float32)
        np.testing.assert_allclose(
            engine.encode_context(cues),
            tiny_model().encode_context(cues),
            atol=tolerances.ENGINE_MASK,
        )


def test_windows_get_a_batch_of_one_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tiny_window_bundle(tmp_path / "windows")
    told = stand_in_for(monkeypatch, TENSORRT)
    engine = open_window_engine(bundle, "ort-tensorrt")
    assert {tensor.shape[0] for tensor in told.sessions[-1].get_inputs()} == {1}
    rng = np.random.default_rng(2)
    magnitude = np.abs(rng.standard_normal((3, 32, 63))).astype(np.float32)
    waveform = rng.standard_normal((3, 1_000)).astype(np.float32)
    tokens = engine.encode_context(rng.standard_normal((5, 6)).astype(np.float32))
    inputs = magnitude, waveform, np.stack([tokens] * 3)
    for found, expected in zip(engine.run(*inputs), TinyWindowEngine().run(*inputs), strict=True):
        np.testing.assert_allclose(found, expected, atol=tolerances.ENGINE_MASK)


@pytest.mark.skipif(os.name == "nt", reason="permissions are no bits on Windows")
def test_engines_that_others_may_have_written_are_not_loaded(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = stand_in_for(monkeypatch, TENSORRT)
    open_engine(tiny_bundle, "ort-tensorrt")
    folder = next(Path(o["trt_engine_cache_path"]) for o in told.options if o)
    assert folder.stat().st_mode & 0o077 == 0
    folder.chmod(0o777)
    with pytest.raises(EngineError, match=r"written by others.*chmod go-w"):
        open_engine(tiny_bundle, "ort-tensorrt")


def test_engines_that_tensorrt_compiles_are_kept_graph_by_graph(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are named after nodes: another network of the same form must not meet them."""
    other = write_bundle(tmp_path / "other", **bundle_parts(seed=9))  # type: ignore[arg-type]
    told = stand_in_for(monkeypatch, TENSORRT)
    for bundle in (tiny_bundle, other, tiny_bundle):
        open_engine(bundle, "ort-tensorrt")
    folders = [Path(options["trt_engine_cache_path"]) for options in told.options if options]
    assert len(folders) == 6
    assert folders[:2] == folders[4:]
    assert len(set(folders)) == 4
    for folder in folders:
        assert folder.is_dir()
        assert folder.is_relative_to(tmp_path / "cache")
    assert all(o and o["trt_engine_cache_enable"] == "1" for o in told.options)


def test_a_folder_that_cannot_be_made_is_an_error(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("a file")
    stand_in_for(monkeypatch, TENSORRT)
    with pytest.raises(EngineError, match=r"cannot be kept in .*SEMMIX_CACHE_DIR"):
        open_engine(tiny_bundle, "ort-tensorrt")


def test_a_network_that_is_cut_into_several_engines_is_refused(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for(monkeypatch, TENSORRT, parts=2)
    with pytest.raises(ProviderError, match="as 2 engines instead of one: use --engine tensorrt"):
        open_engine(tiny_bundle, "ort-tensorrt")
    # CUDA's kernels run node by node, and a cut costs little.
    stand_in_for(monkeypatch, CUDA, parts=2)
    open_engine(tiny_bundle, "ort-cuda")


def test_an_axis_that_stays_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = highlighter_onnx(tiny_model()).replace(BATCH_AXIS.encode(), b"other")
    bundle = write_bundle(tmp_path / "odd", **bundle_parts(highlighters={"fp32": graph}))  # type: ignore[arg-type]
    stand_in_for(monkeypatch, TENSORRT)
    with pytest.raises(ProviderError, match=r"fixed sizes, and spectrum is .*other.*export"):
        open_engine(bundle, "ort-tensorrt")


# --- Records of this machine --------------------------------------------------------------------


@pytest.mark.parametrize(("name", "provider"), [("ort-cuda", CUDA), ("ort-tensorrt", TENSORRT)])
def test_the_bundles_record_is_about_the_cpu(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, name: str, provider: str
) -> None:
    stand_in_for(monkeypatch, provider)
    monkeypatch.setattr(ort_records, "gpus", lambda: "RTX A2000, 580.1")
    assert tiny_bundle.parity_passed("fp32")
    assert check_proof(tiny_bundle, name, "fp32", allow_unverified=False) == ""
    engine = open_engine(tiny_bundle, name)
    clue = rf"in fp32 has never been compared .* on this machine: run .*--engine {name}"
    with pytest.raises(ParityError, match=clue):
        check_engine_proof(tiny_bundle, engine, allow_unverified=False)
    assert "may be wrong" in check_engine_proof(tiny_bundle, engine, allow_unverified=True)
    graph, context = tiny_bundle.highlighter_graph(), tiny_bundle.context_graph()
    engine.keep_parity(record_of(graph, context=context))  # type: ignore[attr-defined]
    again = open_engine(tiny_bundle, name)
    assert check_engine_proof(tiny_bundle, again, allow_unverified=False) == ""
    engine.keep_parity(record_of(graph, context=context, passed=False))  # type: ignore[attr-defined]
    with pytest.raises(ParityError, match="failed its comparison"):
        check_engine_proof(tiny_bundle, again, allow_unverified=False)


def test_a_record_is_about_one_provider_one_gpu_and_one_network(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for(monkeypatch, CUDA)
    monkeypatch.setattr(ort_records, "gpus", lambda: "RTX A2000, 580.1")
    engine = open_engine(tiny_bundle, "ort-cuda")
    engine.keep_parity(record_of(tiny_bundle.highlighter_graph()))  # type: ignore[attr-defined]
    assert engine.unproved == ""  # type: ignore[attr-defined]
    monkeypatch.setattr(ort_records, "gpus", lambda: "RTX A2000, 581.0")
    assert "never" in engine.unproved  # type: ignore[attr-defined]
    monkeypatch.setattr(ort_records, "gpus", lambda: "RTX A2000, 580.1")
    assert engine.unproved == ""  # type: ignore[attr-defined]
    other = write_bundle(tmp_path / "other", **bundle_parts(seed=9))  # type: ignore[arg-type]
    assert "never" in open_engine(other, "ort-cuda").unproved  # type: ignore[attr-defined]
    stand_in_for(monkeypatch, TENSORRT)
    assert "never" in open_engine(tiny_bundle, "ort-tensorrt").unproved  # type: ignore[attr-defined]


def test_records_that_cannot_be_written_are_an_error(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_for(monkeypatch, CUDA)
    engine = open_engine(tiny_bundle, "ort-cuda")
    (tmp_path / "file").write_text("a file")
    monkeypatch.setenv("SEMMIX_ENGINES_DIR", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="SEMMIX_ENGINES_DIR"):
        engine.keep_parity({})  # type: ignore[attr-defined]


def test_gpus_are_none_where_nvidias_tool_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_records, "_LIST_GPUS", ("no-such-program-anywhere",))
    ort_records.gpus.cache_clear()
    assert ort_records.gpus() == ""
    monkeypatch.setattr(ort_records, "_LIST_GPUS", ("echo", "RTX A2000, 580.1"))
    ort_records.gpus.cache_clear()
    assert ort_records.gpus() == "RTX A2000, 580.1"
    ort_records.gpus.cache_clear()


def test_a_brief_proof_is_said_to_be_one(tmp_path: Path) -> None:
    bundle = tiny_window_bundle(tmp_path / "windows")
    assert brief_proof(bundle, "ort", "fp32") == ""
    brief = record_of(bundle.highlighter_graph(), brief=True)
    bundle = bundle.with_parity("fp32", brief)
    assert check_proof(bundle, "ort", "fp32", allow_unverified=False) == ""
    assert "on few sounds only: `semmix-rt verify" in brief_proof(bundle, "auto", "fp32")
    # What it failed is said elsewhere, and other engines have records of their own.
    assert brief_proof(bundle, "ort-cuda", "fp32") == ""
    assert brief_proof(bundle.with_parity("fp32", brief | {"passed": False}), "ort", "fp32") == ""
