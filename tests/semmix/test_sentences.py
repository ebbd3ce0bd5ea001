"""Sentences from observations: wording, grammar, and silence about the unknown."""

import itertools

import pytest

from semmix.cues import CUE_TYPES, CueType
from semmix.cues import sentences as s


def test_nothing_seen_gives_no_sentence():
    assert s.compose(s.Observation()) == dict.fromkeys(CUE_TYPES)


def test_sentences_for_a_lion_in_a_valley():
    said = s.compose(
        s.Observation(
            shot_size="close-up",
            subject_kind="animal",
            subject_label="lion",
            light="bright",
            colour="warm",
            motion="calm",
            scene="a mountain valley",
            sounds=("running water", "birds"),
        )
    )
    assert said == {
        CueType.APPEARANCE: "A lion fills the picture.",
        CueType.EMOTION: None,
        CueType.CAMERA_FOCUS: "Close-up on a lion.",
        CueType.TONE: "A bright, warm and calm picture.",
        CueType.SCENE: "The scene is a mountain valley.",
        CueType.SOUND: "Likely sounds: running water and birds.",
    }


@pytest.mark.parametrize(
    ("kind", "shot", "appearance", "focus"),
    [
        ("person", "close-up", "A person fills the picture.", "Close-up on one face."),
        ("people", "close-up", "Several people fill the picture.", "Close-up on several faces."),
        ("person", "medium shot", "A person is in the picture.", "Medium shot of one person."),
        (
            "people",
            "wide shot",
            "Several people are seen from a distance.",
            "Wide shot of several people.",
        ),
        (
            "none",
            "wide shot",
            "Nobody is in the picture.",
            "Wide shot of a landscape with nobody in it.",
        ),
        (None, "wide shot", None, "Wide shot."),
        ("person", None, "A person is in the picture.", None),
    ],
)
def test_who_is_seen_and_from_where(kind, shot, appearance, focus):
    said = s.compose(s.Observation(subject_kind=kind, shot_size=shot))
    assert said[CueType.APPEARANCE] == appearance
    assert said[CueType.CAMERA_FOCUS] == focus


def test_emotion_names_whose_it_is():
    def said(kind):
        return s.compose(s.Observation(subject_kind=kind, emotion="sad"))[CueType.EMOTION]

    assert said("person") == "The person looks sad."
    assert said("people") == "The people look sad."
    assert said("animal") == "The animal looks sad."


def test_scene_names_the_empty_landscape():
    seen = s.Observation(subject_kind="none", shot_size="wide shot", scene="a seashore")
    assert s.compose(seen)[CueType.CAMERA_FOCUS] == "Wide shot of a seashore with nobody in it."


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [
        ("owl", "an owl"),
        ("unicycle", "a unicycle"),
        ("hourglass", "an hourglass"),
        ("cat", "a cat"),
    ],
)
def test_articles(noun, phrase):
    assert s.with_article(noun) == phrase


def test_unknown_words_are_refused():
    with pytest.raises(ValueError, match="shot_size is 'huge'"):
        s.Observation(shot_size="huge")


def test_every_combination_reads_as_one_sentence():
    for shot, kind, light, colour, motion in itertools.product(
        (None, *s.SHOT_SIZES),
        (None, *s.SUBJECT_KINDS),
        (None, *s.LIGHTS),
        (None, *s.COLOURS),
        (None, *s.MOTIONS),
    ):
        seen = s.Observation(
            shot_size=shot, subject_kind=kind, light=light, colour=colour, motion=motion
        )
        for text in s.compose(seen).values():
            if text is not None:
                assert text[0].isupper()
                assert text.endswith(".")
                assert text.count(".") == 1
                assert "None" not in text
                assert "  " not in text
