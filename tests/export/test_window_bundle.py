"""Base networks as bundles: what they carry, and that ONNX Runtime says what PyTorch says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tolerances
import torch
from onnx import numpy_helper
from semmix_export import window_bundle
from semmix_export.gate_sounds import CLASSES, proof_sound
from semmix_export.window_bundle import export_window_bundle
from semmix_rt.engines import open_window_engine
from semmix_rt.media.decoding import audio_blocks
from support_checkpoint import small_base
from support_remix import EXAMPLE
from support_window import short_windows

from semmix.bundle import Bundle
from semmix.bundle.thresholds import thresholds
from semmix.dsp.windows import analyse, synthesise
from semmix.errors import ModelFormatError, ParityError
from semmix.metrics import snr_db
from semmix.nn.base.engine import TorchWindowEngine


def test_a_bundle_carries_the_numbers_the_proof_and_the_words(windowed) -> None:
    bundle = Bundle.load(windowed.bundle.path)
    assert bundle.window_spec == short_windows(windowed.network)
    assert bundle.read("MODEL_CARD.md").decode() == "# Größe\n"
    assert bundle.manifest.provenance["checkpoint"] == {"name": "visah.ckpt"}
    record = bundle.parity["fp32"]
    assert bundle.parity_passed("fp32")
    assert tolerances.WINDOW_SNR_DB <= record["snr_db"] <= 200.0
    assert record["brief"] is True
    assert {sound["sound"] for sound in record["sounds"]} >= {"silence", "clipped", *CLASSES}
    assert thresholds("fp32", short_windows(windowed.network)).snr_db == tolerances.WINDOW_SNR_DB
    assert windowed.steps == (
        "exporting the context encoder",
        "exporting the mask network",
        "comparing ONNX Runtime with PyTorch",
        "writing the bundle",
    )


def test_it_is_no_bundle_of_a_stream(windowed) -> None:
    with pytest.raises(ModelFormatError, match="hears whole windows"):
        _ = windowed.bundle.spec


def test_graphs_are_small_and_their_batch_is_symbolic(windowed) -> None:
    graph = onnx.load_from_string(windowed.bundle.highlighter_graph()).graph
    kinds = [node.op_type for node in graph.node]
    # Unrolled, an LSTM of 200 steps would be thousands of nodes.
    assert kinds.count("LSTM") == 8
    assert len(kinds) < 2_000
    for tensor in (*graph.input, *graph.output):
        first, *rest = tensor.type.tensor_type.shape.dim
        assert first.dim_param
        assert all(dim.dim_value > 0 for dim in rest)


@pytest.mark.parametrize("name", ["ort", "torch"])
def test_golden_arrays_are_reproduced(windowed, name: str) -> None:
    golden = windowed.bundle.golden()
    engine = open_window_engine(windowed.bundle, name)
    tokens = engine.encode_context(golden["context"])
    assert snr_db(golden["encoded"], tokens) >= tolerances.WINDOW_SNR_DB
    mask, wave = engine.run(golden["magnitude"], golden["waveform"], golden["encoded"][None])
    assert snr_db(golden["mask"], mask) >= tolerances.WINDOW_SNR_DB
    assert snr_db(golden["wave"], wave) >= tolerances.WINDOW_SNR_DB
    # They would prove little if they were quiet.
    assert golden["mask"].std() > 0.1
    assert golden["wave"].std() > 0.1


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_engines_agree_on_real_sound(windowed, batch: int) -> None:
    """A film's sound, its loudest parts beside each other, silence and a single full step."""
    spec = windowed.bundle.window_spec
    assert spec is not None
    audio = np.concatenate([b[0] for _, b in audio_blocks(EXAMPLE, 1, 48_000)]).astype(np.float32)
    windows = [audio[k * 30_000 :][: spec.window_samples] for k in range(3)]
    windows += [np.zeros_like(windows[0]), np.sign(windows[0])]
    analyses = [analyse(w, spec) for w in windows[:batch]]
    vectors = np.random.default_rng(3).standard_normal((3, 4096)).astype(np.float32)
    sounds = []
    for name in ("torch", "ort"):
        engine = open_window_engine(windowed.bundle, name)
        tokens = np.stack([engine.encode_context(vectors)] * batch)
        masks, waves = engine.run(
            np.stack([a.magnitude for a in analyses]),
            np.stack([a.waveform for a in analyses]),
            tokens,
        )
        sounds.append(
            [synthesise(a, m, w, spec) for a, m, w in zip(analyses, masks, waves, strict=True)]
        )
    for window, expected, found in zip(windows, *sounds, strict=False):
        assert snr_db(expected, found) >= tolerances.WINDOW_SNR_DB
        if window.any():
            assert np.abs(expected - window).max() > 1e-2


def test_the_torch_engine_is_the_network(windowed) -> None:
    golden = windowed.bundle.golden()
    inputs = golden["magnitude"], golden["waveform"], golden["encoded"][None]
    direct = TorchWindowEngine(windowed.network, short_windows(windowed.network)).run(*inputs)
    for expected, found in zip(
        direct, open_window_engine(windowed.bundle, "torch").run(*inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


# --- The proof ----------------------------------------------------------------------------------


def corrupted(content: bytes, name: str, value: float) -> bytes:
    """The graph with one initialiser moved by a value."""
    model = onnx.load_from_string(content)
    (weight,) = [w for w in model.graph.initializer if w.name.endswith(name)]
    array = numpy_helper.to_array(weight) + np.float32(value)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return model.SerializeToString()


@pytest.mark.usefixtures("quick_window_export")
@pytest.mark.parametrize("value", [1.0, np.nan])
@pytest.mark.parametrize(
    ("graph", "name"),
    [
        ("highlighter", "network.decoder.5.conv_tr.bias"),
        ("highlighter", "network.tdecoder.4.conv_tr.bias"),
        ("highlighter", "network.latent_transformer.proj_out.bias"),
        ("context", "context_proj.bias"),
    ],
)
def test_graphs_that_differ_are_not_written(
    windowed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graph: str,
    name: str,
    value: float,
) -> None:
    bundle = windowed.bundle
    content = bundle.context_graph() if graph == "context" else bundle.highlighter_graph()
    wrong = corrupted(content, name, value)
    monkeypatch.setattr(
        window_bundle,
        f"export_window_{graph}",
        lambda network, spec, path, opset: path.write_bytes(wrong),
    )
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export_window_bundle(
            windowed.network, tmp_path / "odd", model_card="x", spec=short_windows(windowed.network)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_window_export")
def test_the_same_graphs_unchanged_are_written_without_weights(windowed, tmp_path: Path) -> None:
    """So that the refusals above are for what was changed."""
    spec = short_windows(windowed.network)
    written = export_window_bundle(windowed.network, tmp_path / "again", model_card="x", spec=spec)
    assert written.highlighter_graph() == windowed.bundle.highlighter_graph()
    with pytest.raises(ModelFormatError, match="--with-torch"):
        open_window_engine(written, "torch")


def test_weights_that_are_not_the_specs_are_refused(windowed, tmp_path: Path) -> None:
    from semmix.bundle import write_bundle

    bundle = windowed.bundle
    other = write_bundle(
        tmp_path / "odd",
        replace(short_windows(windowed.network), token_dim=48),
        context=bundle.context_graph(),
        highlighters={"fp32": bundle.highlighter_graph()},
        golden=bundle.golden(),
        model_card="x",
        provenance=bundle.manifest.provenance,
        parity={},
        network=bundle.read("network.safetensors"),
    )
    with pytest.raises(ModelFormatError, match="no PyTorch network"):
        open_window_engine(other, "torch")


def test_the_sound_of_the_proof_is_lively_and_repeats(windowed) -> None:
    spec = short_windows(windowed.network)
    sound = proof_sound(spec, 1)
    np.testing.assert_array_equal(sound, proof_sound(spec, 1))
    assert sound.shape == (spec.window_samples,)
    assert 0.9 < np.abs(sound).max() <= 1.5
    quarters = np.array_split(sound, 4)
    assert not quarters[1].any()
    assert all(q.std() > 1e-3 for q in quarters[::2])
    assert not np.array_equal(sound, proof_sound(spec, 2))


def test_long_windows_reach_beyond_an_lstms_own(tmp_path: Path) -> None:
    """Of 230 frames, the LSTM of the level with frequencies runs in overlapping parts of 200."""
    network = small_base("none", depth=1)
    spec = replace(short_windows(network), window_samples=230 * 1024, stride_samples=200 * 1024)
    bundle = export_window_bundle(network, tmp_path / "long", model_card="x", spec=spec)
    assert bundle.parity["fp32"]["snr_db"] >= tolerances.WINDOW_SNR_DB
    assert "context.onnx" not in bundle.manifest.files
    with pytest.raises(ModelFormatError, match="takes no context"):
        bundle.context_graph()
    assert torch.isfinite(torch.from_numpy(bundle.golden()["mask"])).all()
