"""From a checkpoint to a bundle, and the proof that stands between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tolerances
import torch
from onnx import numpy_helper
from safetensors.torch import load as load_safetensors
from semmix_export.bundle import export_bundle
from semmix_export.gate_sounds import gate_sounds
from semmix_rt.engines import open_engine
from support_export import ORIGIN
from support_training import masked

import semmix
from semmix.bundle import Bundle
from semmix.bundle.thresholds import thresholds
from semmix.errors import ParityError, UsageError
from semmix.nn.edge import config_from_dict
from semmix.training.checkpoint import load_checkpoint

Change = Callable[[np.ndarray], np.ndarray]


def test_a_bundle_carries_the_numbers_the_weights_and_the_words(exported) -> None:
    bundle = Bundle.load(exported.bundle.path)
    network = exported.network
    assert bundle.spec == network.config.spec()
    assert bundle.precisions == ("fp32",)
    assert bundle.read("MODEL_CARD.md").decode() == "# Tiny\n\nSeeded, untrained. Größe: klein.\n"
    weights = load_safetensors(bundle.read("network.safetensors"))
    assert weights.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(weights[name], value), "not the averaged weights"


def test_provenance_says_what_the_model_was_made_of(exported) -> None:
    facts = exported.bundle.manifest.provenance
    assert config_from_dict(facts["config"]) == exported.network.config
    assert facts["training"] == {"step": 11, "seed": 3, "batch": 4}
    assert facts["data"] == {"hours": 2.5}
    assert facts["licence"] == "CC-BY-SA-3.0"
    assert facts["origin"] == ORIGIN
    assert facts["versions"] == {
        "semmix-rt": semmix.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def test_the_record_of_parity_says_what_was_found(exported) -> None:
    record = exported.bundle.parity["fp32"]
    assert exported.bundle.parity_passed("fp32")
    assert tolerances.EXPORT_SNR_DB <= record["snr_db"] <= 200.0
    assert 0.0 <= record["mask_max_difference"] < tolerances.ENGINE_MASK
    assert torch.__version__ in record["against"]
    assert record["brief"] is False
    heard = {(sound["sound"], sound["cues"]) for sound in record["sounds"]}
    names = {sound.name for sound in gate_sounds(exported.bundle.spec)}
    assert heard == {(name, cues) for name in names for cues in ("two shots", "none")}
    assert record["graph_sha256"] == exported.bundle.highlighter_sha256("fp32")
    assert record["context_sha256"] == exported.bundle.context_sha256
    assert thresholds("fp32", exported.bundle.spec).snr_db == tolerances.EXPORT_SNR_DB


@pytest.mark.parametrize("engine_name", ["ort", "torch"])
def test_golden_arrays_are_reproduced(exported, engine_name: str) -> None:
    golden = exported.bundle.golden()
    engine = open_engine(exported.bundle, engine_name)
    state = tuple(golden[s.name] for s in engine.spec.state)
    mask, _ = engine.run(golden["spectrum"], golden["tokens"], golden["weights"], state)
    np.testing.assert_allclose(mask, golden["mask"], atol=tolerances.ENGINE_MASK)
    encoded = engine.encode_context(golden["embeddings"])
    np.testing.assert_allclose(encoded, golden["encoded"], atol=tolerances.ENGINE_MASK)


def test_golden_arrays_are_the_networks_own(exported) -> None:
    golden = {name: torch.from_numpy(a) for name, a in exported.bundle.golden().items()}
    state = [golden[s.name] for s in exported.bundle.spec.state]
    found = masked(
        exported.network, golden["spectrum"], golden["tokens"], golden["weights"], *state
    )
    torch.testing.assert_close(found.mask, golden["mask"], rtol=0, atol=tolerances.STREAM_FLOAT32)
    # They would prove little if they were quiet, or the state were that of a start.
    assert golden["spectrum"].std() > 0.01
    assert all(s.abs().max() > 0.1 for s in state)
    assert found.mask.std() > 0.01


# --- The proof ----------------------------------------------------------------------------------


def corrupted(content: bytes, name: str, change: Change) -> bytes:
    """The graph with one initialiser changed."""
    model = onnx.load_from_string(content)
    (weight,) = [w for w in model.graph.initializer if f".{w.name}".endswith(f".{name}")]
    array = change(numpy_helper.to_array(weight).copy())
    weight.CopyFrom(numpy_helper.from_array(array.astype(np.float32), weight.name))
    return model.SerializeToString()


def one_wrong_number(array: np.ndarray) -> np.ndarray:
    array.reshape(-1)[array.size // 2] += 0.05
    return array


def a_little_louder(array: np.ndarray) -> np.ndarray:
    return array * 1.05


def undefined(array: np.ndarray) -> np.ndarray:
    return array * np.nan


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize(
    ("graph", "name", "change"),
    [
        ("highlighter", "head.bias", one_wrong_number),
        ("highlighter", "head.weights.1", one_wrong_number),
        ("highlighter", "encoder.1.time_in", one_wrong_number),
        ("highlighter", "split.biases.1", one_wrong_number),
        ("highlighter", "gain_head.bias", one_wrong_number),
        ("highlighter", "decoder.0.time_out", a_little_louder),
        ("highlighter", "head.bias", undefined),
        ("highlighter", "to_latent.bias", undefined),
        ("context", "type_embedding", one_wrong_number),
        ("context", "type_embedding", undefined),
    ],
)
def test_graphs_that_differ_are_not_written(
    exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graph: str,
    name: str,
    change: Change,
) -> None:
    bundle = exported.bundle
    content = bundle.context_graph() if graph == "context" else bundle.highlighter_graph()
    wrong = corrupted(content, name, change)
    monkeypatch.setattr(
        f"semmix_export.bundle.export_{graph}", lambda network, path, opset: path.write_bytes(wrong)
    )
    with pytest.raises(ParityError, match="differs from PyTorch"):
        export_bundle(load_checkpoint(exported.checkpoint), tmp_path / "odd", model_card="x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("quick_export")
def test_the_same_graphs_unchanged_are_written(exported, tmp_path: Path) -> None:
    """So that the refusals above are for what was changed; a bundle that stands there stays."""
    checkpoint = load_checkpoint(exported.checkpoint)
    written = export_bundle(checkpoint, tmp_path / "again", model_card="x")
    assert written.highlighter_graph() == exported.bundle.highlighter_graph()
    with pytest.raises(UsageError, match="exists already"):
        export_bundle(checkpoint, tmp_path / "again", model_card="y")
    assert Bundle.load(tmp_path / "again").sha256 == written.sha256
    replaced = export_bundle(checkpoint, tmp_path / "again", model_card="y", overwrite=True)
    assert replaced.read("MODEL_CARD.md") == b"y"
