"""The bundled networks: contracts, and the emotion graph against another evaluator."""

import numpy as np
import onnx
import onnx.reference
import pytest
from semmix_rt.cues.vision.classifier import Classifier
from semmix_rt.cues.vision.emotion import LABELS, LUMA, SIDE_PX, EmotionReader
from semmix_rt.cues.vision.resize import resize
from tolerances import PROBABILITY_FLOAT32

from semmix.assets import asset_path, model_manifest
from semmix.cues.sentences import EMOTIONS
from semmix.cues.session import cpu_session


@pytest.mark.parametrize("name", ["classifier", "faces", "emotion"])
def test_graphs_have_the_inputs_and_outputs_of_the_manifest(name):
    entry = model_manifest()[f"vision/{name}.onnx"]
    session = cpu_session(asset_path(f"models/vision/{name}.onnx"))
    for group, values in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        assert {v.name for v in values} == set(entry[group])
        for value in values:
            assert str(list(value.shape)) in entry[group][value.name]


def _pictures():
    rng = np.random.default_rng(11)
    yield np.zeros((288, 512, 3), np.uint8)
    yield np.full((224, 224, 3), 255, np.uint8)
    yield rng.integers(0, 256, (100, 177, 3), dtype=np.uint8)


def test_class_probabilities_sum_to_one():
    classifier = Classifier()
    for image in _pictures():
        p = classifier.classify(image)
        assert p.shape == (1000,)
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(), 1.0, atol=PROBABILITY_FLOAT32)


def test_a_picture_gives_the_same_numbers_every_time():
    image = list(_pictures())[2]
    np.testing.assert_array_equal(Classifier().classify(image), Classifier().classify(image))


def test_emotions_agree_with_the_reference_evaluator():
    graph = onnx.load(asset_path("models/vision/emotion.onnx"))
    reference = onnx.reference.ReferenceEvaluator(graph)
    reader = EmotionReader()
    for image in _pictures():
        grey = (resize(image, SIDE_PX, SIDE_PX) * LUMA).sum(axis=-1) / 127.5 - 1.0
        (expected,) = reference.run(None, {"face": grey[None, None].astype(np.float32)})
        np.testing.assert_allclose(reader.read(image), expected[0], atol=PROBABILITY_FLOAT32)


def test_emotions_have_the_words_of_the_sentences():
    assert set(LABELS) == set(EMOTIONS)
