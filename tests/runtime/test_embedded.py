"""The bundled extractor on made pictures and on the example film."""

import math
from pathlib import Path

import numpy as np
import pytest
from semmix_rt.cues.embedded import EmbeddedExtractor
from semmix_rt.cues.keyframes import Keyframe, iter_keyframes
from semmix_rt.cues.vision.faces import Face

from semmix.cues.types import CUE_TYPES, UNKNOWN, CueType

FILM = Path(__file__).resolve().parents[2] / "examples" / "bbb_meadow.mp4"


def _keyframe(image, motion=math.nan):
    return Keyframe(0.0, 1.0, 0, image, motion)


@pytest.fixture(scope="module")
def extractor():
    return EmbeddedExtractor.default()


@pytest.fixture(scope="module")
def film():
    return list(iter_keyframes(FILM))


@pytest.fixture(scope="module")
def described(film, extractor):
    return [extractor.describe(keyframe) for keyframe in film]


def test_every_cue_is_there_and_has_a_confidence(described):
    for cues in described:
        assert tuple(cues) == CUE_TYPES
        for cue in cues.values():
            assert cue.known == (cue.confidence > 0.0)
            assert 0.0 <= cue.confidence <= 1.0


def test_describing_again_gives_the_same_cues(film, described, extractor):
    assert [extractor.describe(keyframe) for keyframe in film] == described
    assert [EmbeddedExtractor.default().describe(keyframe) for keyframe in film] == described


def test_neighbours_do_not_matter(film, described, extractor):
    backwards = [extractor.describe(keyframe) for keyframe in reversed(film)]
    assert backwards[::-1] == described


def test_the_meadow_is_an_empty_green_landscape(described):
    meadow = described[0]
    assert meadow[CueType.APPEARANCE].text == "Nobody is in the picture."
    assert meadow[CueType.CAMERA_FOCUS].text.startswith("Wide shot of ")
    assert meadow[CueType.SCENE].text == "The scene is green countryside."
    assert meadow[CueType.TONE].text.startswith("A bright, warm")
    assert meadow[CueType.SOUND].text == "Likely sounds: wind in the leaves and birds."


def test_the_drawn_bird_is_an_animal_and_nothing_more_is_claimed(film, described):
    (bird,) = (c for k, c in zip(film, described, strict=True) if k.time_s < 8.0 < k.end_s)
    assert bird[CueType.APPEARANCE].text == "An animal is in the picture."
    assert bird[CueType.EMOTION] == UNKNOWN
    assert bird[CueType.SCENE] == UNKNOWN


def test_no_person_is_seen_in_a_film_without_people(described):
    said = " ".join(c.text for cues in described for c in cues.values() if c.text)
    for word in ("person", "people", "face", "speech", "voices"):
        assert word not in said


def test_flat_pictures_have_only_a_tone(extractor):
    for level, word in ((6, "dark"), (240, "bright")):
        cues = extractor.describe(_keyframe(np.full((288, 512, 3), level, np.uint8)))
        assert cues[CueType.TONE].text == f"A {word} and muted picture."
        known = [t for t, cue in cues.items() if cue.known]
        assert known == [CueType.TONE]


@pytest.mark.parametrize("size", [(1, 1), (16, 512), (300, 9)])
def test_odd_sizes_do_no_harm(extractor, size):
    cues = extractor.describe(_keyframe(np.full((*size, 3), 128, np.uint8)))
    assert set(cues) == set(CUE_TYPES)


def test_motion_reaches_the_tone(extractor):
    image = np.full((90, 160, 3), 240, np.uint8)
    fast = extractor.describe(_keyframe(image, motion=0.3))[CueType.TONE].text
    assert fast == "A bright, muted and fast picture."


class _Seen:
    """Stands in for the networks: says what a test wants."""

    def __init__(self, faces=(), emotion="neutral", classes=None):
        self.faces, self.emotion, self.classes = faces, emotion, classes or {}

    def find(self, image):
        return list(self.faces)

    def read(self, face):
        from semmix_rt.cues.vision.emotion import LABELS

        return np.eye(7, dtype=np.float32)[LABELS.index(self.emotion)]

    def classify(self, image):
        p = np.zeros(1000, np.float32)
        for number, share in self.classes.items():
            p[number] = share
        return p


def _observe(seen):
    extractor = EmbeddedExtractor()
    extractor._classifier = extractor._faces = extractor._emotions = seen
    return extractor.observe(np.full((300, 400, 3), 128, np.uint8), math.nan)


@pytest.mark.parametrize(
    ("height", "shot", "emotion"),
    [(150, "close-up", "happy"), (60, "medium shot", "happy"), (20, "wide shot", None)],
)
def test_the_largest_face_sets_the_shot_size(height, shot, emotion):
    seen, confidence = _observe(_Seen([Face(50, 50, 50 + height, 50 + height, 0.9)], "happy"))
    assert (seen.subject_kind, seen.shot_size, seen.emotion) == ("person", shot, emotion)
    assert confidence[CueType.CAMERA_FOCUS] == 0.9
    assert seen.sounds == (() if shot == "wide shot" else ("speech",))


def test_two_faces_of_one_rank_are_people_and_a_bystander_is_not():
    main = Face(0, 0, 100, 100, 0.9)
    assert _observe(_Seen([main, Face(200, 0, 280, 80, 0.8)]))[0].subject_kind == "people"
    assert _observe(_Seen([main, Face(200, 0, 230, 30, 0.8)]))[0].subject_kind == "person"


def test_grief_is_not_said_to_speak():
    seen, _ = _observe(_Seen([Face(0, 0, 150, 150, 0.9)], "sad"))
    assert (seen.emotion, seen.sounds) == ("sad", ())


def test_a_player_is_heard_with_the_instrument():
    seen, _ = _observe(_Seen([Face(0, 0, 60, 60, 0.9)], classes={402: 0.8}))
    assert seen.subject_kind == "person"
    assert "music" in seen.sounds


def test_an_ape_with_a_face_stays_an_ape():
    ape = {366: 0.95}
    seen, _ = _observe(_Seen([Face(0, 0, 100, 100, 0.75)], classes=ape))
    assert (seen.subject_kind, seen.subject_label, seen.emotion) == ("animal", "ape", None)
    seen, _ = _observe(_Seen([Face(0, 0, 100, 100, 0.95)], classes=ape))
    assert seen.subject_kind == "person"
