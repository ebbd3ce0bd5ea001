"""Face boxes: decoding by hand-made outputs, detection on a real face where clips are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from semmix_rt.cues.keyframes import iter_keyframes
from semmix_rt.cues.vision.emotion import LABELS, EmotionReader
from semmix_rt.cues.vision.faces import CELLS, Face, FaceDetector, crop_square, decode


def _outputs():
    return np.zeros((CELLS * CELLS, 16), np.float32), np.full(CELLS * CELLS, -9.0, np.float32)


def test_a_box_lies_where_its_anchor_and_offset_say():
    boxes, scores = _outputs()
    anchor = 10 * CELLS + 20  # row 10, column 20: centre at (82, 42) of 192 pixels
    boxes[anchor, :4] = [3.0, -2.0, 30.0, 40.0]
    scores[anchor] = 2.0
    found = decode(boxes, scores)
    np.testing.assert_allclose(found[0, :4], [70.0, 20.0, 100.0, 60.0], atol=1e-4)
    np.testing.assert_allclose(found[0, 4], 1.0 / (1.0 + np.exp(-2.0)), atol=1e-6)


def test_overlapping_boxes_become_one_and_distant_ones_stay():
    boxes, scores = _outputs()
    for column, logit in ((20, 3.0), (21, 2.0), (40, 1.0)):
        boxes[10 * CELLS + column, 2:4] = 40.0
        scores[10 * CELLS + column] = logit
    found = decode(boxes, scores)
    assert len(found) == 2
    assert found[0, 4] > found[1, 4]
    centre = (found[0, 0] + found[0, 2]) / 2
    assert 82.0 < centre < 84.0  # between 82 and 86, by score


def test_nothing_sure_gives_no_face():
    boxes, scores = _outputs()
    assert decode(boxes, scores).shape == (0, 5)


def test_boxes_of_negative_size_are_dropped():
    boxes, scores = _outputs()
    boxes[5, 2:4] = [-10.0, 20.0]
    scores[5] = 5.0
    assert decode(boxes, scores).shape == (0, 5)


def test_crop_stays_inside_the_picture():
    image = np.zeros((50, 80, 3), np.uint8)
    assert crop_square(image, Face(-10, -10, 20, 20, 1.0), 1.0).shape == (20, 20, 3)
    assert crop_square(image, Face(200, 200, 220, 220, 1.0), 1.0) is None


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_have_no_face(level):
    assert FaceDetector().find(np.full((120, 200, 3), level, np.uint8)) == []


def test_noise_has_no_face():
    noise = np.random.default_rng(4).integers(0, 256, (288, 512, 3), dtype=np.uint8)
    assert FaceDetector().find(noise) == []


@pytest.fixture(scope="module")
def portrait():
    folder = os.environ.get("SEMMIX_TEST_CLIPS")
    path = Path(folder or ".", "talking_man_8s.mp4")
    if not folder or not path.is_file():
        pytest.skip("SEMMIX_TEST_CLIPS names no folder with talking_man_8s.mp4")
    return next(iter(iter_keyframes(path))).image


def test_a_real_face_is_found_once(portrait):
    (face,) = FaceDetector().find(portrait)
    assert 0.4 < face.height / portrait.shape[0] < 0.7
    assert face.left > 0
    assert face.right < portrait.shape[1]


def test_the_box_moves_with_the_face(portrait):
    detector = FaceDetector()
    (face,) = detector.find(portrait)
    height, width = portrait.shape[:2]
    canvas = np.zeros((height + 60, width + 100, 3), np.uint8)
    canvas[60:, 100:] = portrait
    (moved,) = detector.find(canvas)
    tolerance = 0.12 * face.height
    assert abs(moved.left - face.left - 100) < tolerance
    assert abs(moved.bottom - face.bottom - 60) < tolerance


def test_the_speaker_is_neither_sad_nor_angry(portrait):
    (face,) = FaceDetector().find(portrait)
    emotions = EmotionReader().read(crop_square(portrait, face, 1.1))
    assert LABELS[int(emotions.argmax())] in ("neutral", "happy")
