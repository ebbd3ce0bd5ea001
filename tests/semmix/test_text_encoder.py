"""The bundled text encoder: identity, geometry, determinism."""

import hashlib

import numpy as np
import pytest
from tolerances import EMBEDDING_FLOAT32

from semmix.assets import asset_path
from semmix.cues import Cue, CueSegment, CueType
from semmix.cues.text import TextEncoder, embed_segment
from semmix.errors import ModelFormatError

ANCHORS = {
    "Likely sounds: dog.": ["a dog barks", "rain on a roof", "a violin plays", "gunshots"],
    "Likely sounds: running water.": ["a river flows", "a dog barks", "a car engine", "applause"],
    "The person looks sad.": ["someone is crying", "an explosion", "a joyful party", "traffic"],
    "The scene is a street.": ["cars in a city", "a quiet forest", "a church choir", "the sea"],
    "Close-up on one face.": ["a portrait of a person", "a mountain range", "a truck", "a flock"],
}


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.default()


def test_identifier_is_the_hash_of_the_weights(encoder):
    digest = hashlib.sha256(asset_path("models/text/model.onnx").read_bytes()).hexdigest()
    assert encoder.identifier == f"paraphrase-MiniLM-L3-v2-int8/{digest[:12]}"
    assert TextEncoder.default() is encoder


def test_embeddings_are_unit_vectors(encoder):
    rows = encoder.encode(["A lion fills the picture.", "", "birds", "Wide shot. " * 200])
    assert rows.shape == (4, encoder.dim) == (4, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=EMBEDDING_FLOAT32)
    assert encoder.encode([]).shape == (0, 384)


def test_result_does_not_depend_on_neighbours_or_cache(encoder):
    texts = ["A dark and cold picture.", "Likely sounds: engine.", "The person looks happy."]
    together = encoder.encode(texts)
    fresh = TextEncoder(
        asset_path("models/text/model.onnx"), asset_path("models/text/tokenizer.json"), "fresh"
    )
    alone = np.concatenate([fresh.encode([t]) for t in reversed(texts)])[::-1]
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, encoder.encode(texts))


def test_callers_cannot_change_the_cache(encoder):
    first = encoder.encode(["rain"])
    before = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(encoder.encode(["rain"]), before)


def test_related_sentences_lie_closer(encoder):
    for sentence, others in ANCHORS.items():
        similarity = encoder.encode([sentence]) @ encoder.encode(others).T
        assert int(similarity[0].argmax()) == 0, (sentence, similarity)


def test_long_text_is_cut_at_sixty_four_tokens(encoder):
    long = encoder.encode(["bird " * 62 + "lion " * 50, "bird " * 62])
    np.testing.assert_array_equal(long[0], long[1])


def test_embed_segment_leaves_the_unknown_at_zero(encoder):
    segment = CueSegment(0.0, 1.0, 0.5, {CueType.SCENE: Cue("The scene is a beach.", 0.8)})
    rows = embed_segment(segment, encoder, ("sound", "scene"))
    assert rows.shape == (2, 384)
    assert not rows[0].any()
    np.testing.assert_array_equal(rows[1], encoder.encode(["The scene is a beach."])[0])


def test_a_foreign_graph_is_refused(tmp_path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(ModelFormatError, match="cannot load"):
        TextEncoder(broken, asset_path("models/text/tokenizer.json"), "x")
    with pytest.raises(ModelFormatError, match="cannot be read"):
        TextEncoder(asset_path("models/text/model.onnx"), broken, "x")


def test_one_string_is_not_a_list(encoder):
    with pytest.raises(TypeError, match="list of sentences"):
        encoder.encode("A lion.")
