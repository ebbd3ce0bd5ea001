"""What the network is fed for calibration, held against PyTorch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tolerances
from semmix_calibration.chunks import embeddings_for, outputs, record
from semmix_calibration.exact import ExactEngines
from semmix_calibration.material import made_material
from semmix_rt.engines import open_engine
from semmix_rt.whole_signal import hear
from support_window import tiny_window_bundle, with_context

from semmix.bundle import Bundle
from semmix.cues.text import TextEncoder
from semmix.metrics import snr_db

RATE_HZ = 48_000


def test_states_are_those_of_the_network_after_the_sound_before(small: Bundle) -> None:
    clips = made_material(RATE_HZ, 1.2).calibration[:2]
    fed = record(ExactEngines(small), small.highlighter_graph(), clips, embeddings_for(small))
    reference = open_engine(small, "torch")
    names = [s.name for s in small.spec.state]
    fresh = [not any(run[name].any() for name in names) for run in fed]
    assert fresh[0]
    assert sum(fresh) == 2, "each clip starts from a fresh state, and no chunk after"
    for run, following in pairwise(fed):
        if not any(following[name].any() for name in names):
            continue
        inputs = [run[name] for name in ("spectrum", "tokens", "weights")]
        _, state = reference.run(*inputs, tuple(run[name] for name in names))
        for name, array in zip(names, state, strict=True):
            np.testing.assert_allclose(following[name], array, atol=tolerances.STREAM_FLOAT32)
    # Three shots follow each other, so tokens change while the sound runs.
    assert len({run["tokens"].tobytes() for run in fed}) > 1


def test_exact_engines_give_the_output_of_pytorch(small: Bundle) -> None:
    clips = made_material(RATE_HZ, 1.2).calibration[:1]
    embeddings = embeddings_for(small)
    (found,) = outputs(ExactEngines(small), small.highlighter_graph(), clips, embeddings)
    expected = hear(open_engine(small, "torch"), clips[0].sound, embeddings).output
    assert snr_db(expected, found) >= tolerances.EXPORT_SNR_DB


@pytest.mark.parametrize("context", ["text", "none"])
def test_windows_are_fed_too(tmp_path, context: str) -> None:
    bundle = tiny_window_bundle(tmp_path / "w", with_context(context))
    clips = made_material(16_000, 0.5).calibration[:1]
    embeddings = embeddings_for(bundle)
    fed = record(ExactEngines(bundle), bundle.highlighter_graph(), clips, embeddings)
    spec = bundle.window_spec
    assert spec is not None
    assert len(fed) > 5
    assert {run["magnitude"].shape for run in fed} == {(1, spec.bins, spec.frames)}
    assert all(("tokens" in run) == (context == "text") for run in fed)


def test_cues_are_sentences_where_the_encoder_is_the_networks_own(small: Bundle) -> None:
    vectors = embeddings_for(small)
    assert vectors is not None
    assert vectors.shape == (3, 6, 384)
    norms = np.linalg.norm(vectors, axis=-1)
    np.testing.assert_allclose(norms[0], 1.0, atol=1e-6)
    np.testing.assert_allclose(norms[1], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0], atol=1e-6)
    assert not vectors[-1].any()
    spoken = embeddings_for(Bundle.default())
    assert spoken is not None
    expected = TextEncoder.default().encode(["A person is talking."])[0]
    np.testing.assert_array_equal(spoken[0, -1], expected)
    assert not spoken[1, 0].any(), "nobody is in the picture"
