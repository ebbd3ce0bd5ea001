"""What `semmix-rt export` takes besides a checkpoint, and its options."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tolerances
import torch
from semmix_export import export
from semmix_export.exporting import _makers
from semmix_export.sources import StreamSource, WindowSource, cut_windows, open_source, with_chunk
from semmix_rt.cli.root import main
from semmix_rt.engines import open_engine
from semmix_rt.whole_signal import masks_of
from support_checkpoint import small_base
from support_export import ORIGIN

from semmix.bundle import Bundle
from semmix.errors import EngineError, UsageError
from semmix.metrics import snr_db
from semmix.nn.base.engine import window_spec


def sound_of(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (0.1 * rng.standard_normal((1, round(48_000 * seconds)))).astype(np.float32)


def test_a_bundle_is_exported_anew_with_half_second_chunks_and_fp16(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "short"
    words = ["export", str(exported.bundle.path), "-o", str(output), "--chunk-s", "0.5"]
    assert main([*words, "--precision", "fp32,fp16", "--opset", "18"]) == 0
    told = capsys.readouterr().out
    assert "chunks of 0.512 s" in told
    assert "fp16 made, not yet held against PyTorch" in told
    assert "chosen on made sounds alone" in told
    bundle = Bundle.load(output)
    # 0.5 s are 23.4 frames; 24 are six steps of four.
    assert bundle.spec.chunk.kept_frames == 24
    assert bundle.spec.state == exported.bundle.spec.state
    assert bundle.manifest.provenance["exported_from"]["sha256"] == exported.bundle.sha256
    assert bundle.manifest.provenance["training"] == {"step": 11, "seed": 3, "batch": 4}
    assert bundle.manifest.provenance["licence"] == "CC-BY-SA-3.0"
    assert bundle.manifest.provenance["origin"] == ORIGIN
    assert bundle.read("MODEL_CARD.md") == exported.bundle.read("MODEL_CARD.md")
    assert bundle.parity_passed("fp32")
    assert not bundle.parity_passed("fp16")
    model = onnx.load_from_string(bundle.highlighter_graph())
    assert [o.version for o in model.opset_import if not o.domain] == [18]
    # Chunks of any length give the same masks.
    sound = sound_of(1.3)
    reference = masks_of(open_engine(exported.bundle, "torch"), sound, None)
    found = masks_of(open_engine(bundle, "ort"), sound, None)
    assert snr_db(reference, found) >= tolerances.EXPORT_SNR_DB
    half = masks_of(open_engine(bundle, "ort", precision="fp16"), sound, None)
    assert snr_db(reference, half) >= tolerances.FP16_SNR_DB


def test_graphs_say_what_they_are_and_nothing_of_the_machine(exported) -> None:
    bundle = exported.bundle
    weights = hashlib.sha256(bundle.read("network.safetensors")).hexdigest()
    for content in (bundle.context_graph(), bundle.highlighter_graph()):
        model = onnx.load_from_string(content)
        said = {prop.key: prop.value for prop in model.metadata_props}
        assert set(said) == {
            "semmix.model",
            "semmix.spec",
            "semmix.versions",
            "semmix.weights_sha256",
        }
        assert said["semmix.model"] == "tiny"
        assert json.loads(said["semmix.spec"])["chunk"]["kept_frames"] == 16
        assert json.loads(said["semmix.versions"])["torch"] == torch.__version__
        assert said["semmix.weights_sha256"] == weights


def test_edge_is_the_model_that_comes_along() -> None:
    source = open_source("edge")
    assert isinstance(source, StreamSource)
    assert source.checkpoint.config.spec() == Bundle.default().spec
    assert source.card is not None
    short = with_chunk(source, 0.5)
    assert isinstance(short, StreamSource)
    assert short.checkpoint.config.kept_frames == 24
    with pytest.raises(UsageError, match="shorter than a step"):
        with_chunk(source, 0.03)


def test_base_is_the_papers_network_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semmix_export.sources.build", lambda preset: small_base("text"))
    source = open_source("base")
    assert isinstance(source, WindowSource)
    assert source.facts == {"untrained": {"seed": 0}}
    assert "random weights" in (source.card or "")
    short = with_chunk(source, 5.0)
    assert isinstance(short, WindowSource)
    assert short.spec.window_samples == 5 * 44_100
    assert short.spec.context_vectors == 5


@pytest.mark.parametrize("window_s", [1.0, 3.3, 10.0, 29.9])
def test_windows_of_any_length_tile(window_s: float) -> None:
    spec = cut_windows(window_spec(small_base("none").config), window_s)
    spec.check()
    assert spec.window_samples == round(window_s * 44_100)
    assert spec.stride_samples + 2 * spec.edge_samples + spec.fade_samples == spec.window_samples
    assert spec.context_vectors == 0


@pytest.mark.parametrize("window_s", [0.01, 0.05])
def test_windows_too_short_are_refused(window_s: float) -> None:
    with pytest.raises(UsageError, match="cannot be cut"):
        cut_windows(window_spec(small_base("none").config), window_s)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precisions": ("fp32", "int8")}, "int8 is chosen on real sound"),
        ({"precisions": ("fp64",)}, "there is no precision 'fp64'"),
        ({"opset": 9}, "opset 9 is not offered"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_before_the_export(
    exported, tmp_path: Path, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        export(exported.bundle.path, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_makes_several_precisions_is_asked_once() -> None:
    (wanted,) = _makers(["fp16", "int8", "int8cpu"]).values()
    assert wanted == ["fp16", "int8", "int8cpu"]
    with pytest.raises(EngineError, match="cannot make fp4"):
        _makers(["fp4"])
