"""Prompts, and what counts as an answer to them."""

from __future__ import annotations

import json

import pytest
from support_lvlm import TEXTS, VISIBLE, focused_answer

from semmix.cues.answers import MAX_ANSWER_CHARS, MAX_SENTENCE_CHARS, read_answer
from semmix.cues.prompts import (
    FOCUSED,
    MINIMAL,
    PROMPTS_VERSION,
    REGIMES,
    prompts_identifier,
    question,
    repair,
)
from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueType


@pytest.mark.parametrize("regime", REGIMES)
def test_each_regime_asks_for_every_cue_once(regime):
    prompts = FOCUSED if regime == "focused" else MINIMAL
    assert set(prompts) == set(CUE_TYPES)
    text = question(regime)
    for cue_type in CUE_TYPES:
        assert text.count(f'- "{cue_type}": {prompts[cue_type]}') == 1
    form = json.loads(text[text.rindex("\n") + 1 :])
    assert [k for k in form if k != "visible"] == list(CUE_TYPES)
    assert ("visible" in form) == (regime == "focused")


def test_prompts_are_named_by_regime_version_and_text(monkeypatch):
    names = [prompts_identifier(regime) for regime in REGIMES]
    assert names[0].startswith(f"focused/{PROMPTS_VERSION}/")
    assert len({name.rpartition("/")[2] for name in names}) == 2
    changed = {**FOCUSED, CueType.TONE: "Which mood?"}
    monkeypatch.setattr("semmix.cues.prompts.FOCUSED", changed)
    assert prompts_identifier("focused") != names[0]
    assert prompts_identifier("minimal") == names[1]


def test_a_whole_answer_gives_its_sentences():
    reading = read_answer(focused_answer(), "focused", 0.7)
    assert reading.problems == ()
    assert reading.cues == {CueType(t): Cue(text, 0.7) for t, text in TEXTS.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        "```json\n{}\n```",
        "Here is the answer:\n\n{}\n\nI hope {{this}} helps.",
        "<think>A rabbit {{grey}}?</think>{}",
        "{{Let me look.}} I see {{}} and {{things}}: {}",
        'As asked, of the form {{"answer": 1}}: {}',
    ],
)
def test_prose_fences_and_thoughts_around_the_object_are_passed_over(wrap):
    assert read_answer(wrap.format(focused_answer()), "focused").problems == ()


@pytest.mark.parametrize(
    "value",
    [
        *("unknown", "Unknown.", "", None, {"text": "unknown"}, {"text": None, "seen": None}),
        *("Unclear, the face is hidden.", "N/A.", "Not applicable (no face is visible)."),
        *("The emotion cannot be determined.", "Her expression is unclear."),
        "The emotion cannot be told because the face is in the dark.",
        *("I can't tell.", "As an AI, I see no emotion.", "It can't be said whether she is sad."),
        {"text": "It is unclear.", "seen": "trees"},
    ],
)
@pytest.mark.parametrize("regime", REGIMES)
def test_not_to_know_is_an_answer(value, regime):
    fields = json.loads(focused_answer())
    if regime == "minimal":
        fields = dict(TEXTS)
    fields["emotion"] = value
    reading = read_answer(json.dumps(fields), regime)
    assert reading.problems == ()
    assert reading.cues[CueType.EMOTION] == UNKNOWN
    assert sum(cue.known for cue in reading.cues.values()) == 5


@pytest.mark.parametrize(
    "sentence",
    [
        *("An unknown man stands in the street.", "Her expression is unclear but tense."),
        *("A figure whose face cannot be discerned stands in fog.", "Unclear light, wet streets."),
        *("A woman who looks off-camera.", "She looks at something out of frame."),
        *("He stares beyond the frame, worried.", "Medium shot of a man facing off-screen."),
        *("She stands still and glances off screen.", "She talks to someone off-camera."),
        *("Her eyes are fixed on a point outside the frame.", "A man walks out of the frame."),
        *("A road leads out of frame to the left.", "A garden lies beyond the screen door."),
    ],
)
def test_what_is_on_screen_is_told_whole(sentence):
    visible = ["a man", "a woman", "trees"]
    answer = focused_answer(visible=visible, tone={"text": sentence, "seen": "trees"})
    reading = read_answer(answer, "focused")
    assert reading.cues[CueType.TONE].text == sentence


@pytest.mark.parametrize(
    "sentence",
    [
        *("A man off-screen speaks.", "A bird sings outside the frame.", "Off-screen traffic."),
        *("She listens to a voice off-screen.", "An explosion out of frame."),
        *("She looks at a man who speaks off-screen.", "A car approaches from out of frame."),
        *("She looks off-camera while music plays off-screen.", "Someone stands out of shot."),
        "A crowd outside the frame watches.",
    ],
)
def test_what_is_off_screen_is_no_cue(sentence):
    reading = read_answer(focused_answer(sound={"text": sentence, "seen": "trees"}), "focused")
    assert reading.problems == ('"sound" speaks of what is off screen',)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7, "must be a sentence"),
        (["Bright."], "must be a sentence"),
        ({"seen": "trees", "text": {"x": 1}}, "must be a sentence"),
        ({"text": "x" * (MAX_SENTENCE_CHARS + 1), "seen": "trees"}, "longer than"),
        ({"text": "Bright\x1b[31m.", "seen": "trees"}, "control character"),
        ({"text": "Bright \ud800.", "seen": "trees"}, "control character"),
        ({"text": "Bright \u202egniht.", "seen": "trees"}, "control character"),
        ("Bright.", '"seen"'),
        ({"text": "Bright."}, '"seen"'),
        ({"text": "Bright.", "seen": ""}, '"seen"'),
        ({"text": "Bright.", "seen": "the"}, '"seen"'),
        ({"text": "Bright.", "seen": "a bus"}, '"seen"'),
        ({"text": "Bright.", "seen": ["trees"]}, '"seen"'),
    ],
)
def test_what_is_wrong_with_one_cue_spoils_no_other(value, problem):
    reading = read_answer(focused_answer(tone=value), "focused")
    (found,) = reading.problems
    assert found.startswith('"tone" ')
    assert problem in found
    assert set(reading.cues) == set(CUE_TYPES) - {CueType.TONE}


def test_a_sentence_is_held_against_the_list_as_a_whole():
    """The entry it points to is there, yet the list has neither dragon nor orchestra."""
    wild = {"text": "A dragon breathes fire while an orchestra plays.", "seen": "trees"}
    answer = focused_answer(**{str(kind): wild for kind in CUE_TYPES}, visible=["trees"])
    reading = read_answer(answer, "focused")
    assert reading.cues == {}
    assert reading.problems[0] == '"appearance" names "dragon", of which "visible" has nothing'
    assert read_answer(json.dumps({"sound": wild["text"]}), "minimal").cues[CueType.SOUND].known


def test_what_was_said_stays_beside_what_counts():
    """For a person to judge by; `seen` as the model wrote it."""
    answer = focused_answer(
        tone={"text": "Grim.", "seen": "A bus"}, emotion={"text": "It is unclear."}, scene=None
    )
    reading = read_answer(answer, "focused")
    assert reading.visible == tuple(VISIBLE)
    assert reading.refused[CueType.SCENE] == "is missing"
    assert '"seen"' in reading.refused[CueType.TONE]
    assert (reading.said[CueType.TONE], reading.seen[CueType.TONE]) == ("Grim.", "A bus")
    assert (reading.said[CueType.EMOTION], reading.cues[CueType.EMOTION]) == (
        "It is unclear.",
        UNKNOWN,
    )
    assert reading.seen[CueType.SOUND] == "a green meadow"


@pytest.mark.parametrize("seen", ["rabbit", "The Large Grey Rabbit", "grey rabbit."])
def test_evidence_may_differ_in_case_articles_and_length(seen):
    answer = focused_answer(tone={"text": "Bright.", "seen": seen})
    assert read_answer(answer, "focused").cues[CueType.TONE].text == "Bright."


@pytest.mark.parametrize("visible", [None, "trees", [], [1, 2], ["x" * 101], ["trees"] * 41])
def test_without_a_list_of_what_is_visible_nothing_is_grounded(visible):
    reading = read_answer(focused_answer(visible=visible, emotion="unknown"), "focused")
    assert reading.cues == {CueType.EMOTION: UNKNOWN}
    assert len(reading.problems) == 6
    assert "visible" in reading.problems[0]


def test_minimal_answers_need_no_evidence():
    reading = read_answer(json.dumps(TEXTS), "minimal")
    assert reading.problems == ()
    assert {t: cue.text for t, cue in reading.cues.items()} == TEXTS


def test_missing_cues_are_named():
    reading = read_answer(focused_answer(tone=None) + "{}", "focused")
    # `None` in the helper leaves a field out.
    assert reading.problems == ('"tone" is missing',)


@pytest.mark.parametrize(
    "answer",
    [
        *("", "A rabbit.", "[1, 2]", '{"tone": ', "{'tone': 'x'}", "{" * 50_000),
        *("{" * 20_000, '{"tone":' * 2_500, '{"a": [' + "1," * 900 + "{" * 9_000),
        '{"visible": ' + "[" * 20_000 + "]" * 20_000 + "}",
        focused_answer() + " " * MAX_ANSWER_CHARS,
        '{"visible": ' + "9" * 10_000 + "}",
    ],
)
@pytest.mark.parametrize("regime", REGIMES)
def test_hopeless_answers_give_nothing_and_say_why(answer, regime):
    reading = read_answer(answer, regime)
    assert reading.cues == {}
    assert reading.problems


def test_the_repair_quotes_what_is_wrong_and_stays_short():
    reading = read_answer("{}", "focused")
    text = repair(reading.problems)
    assert all(problem in text for problem in reading.problems[:6])
    assert len(repair(["x" * 50] * 1000)) < 1000
