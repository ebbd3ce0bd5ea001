"""Prompts, and what counts as an answer to them."""

from __future__ import annotations

import json

import pytest
from support_lvlm import TEXTS, focused_answer

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
    ],
)
def test_prose_fences_and_thoughts_around_the_object_are_passed_over(wrap):
    assert read_answer(wrap.format(focused_answer()), "focused").problems == ()


@pytest.mark.parametrize(
    "value",
    [
        *("unknown", "Unknown.", "", None, {"text": "unknown"}, {"text": None, "seen": None}),
        "The emotion cannot be determined.",
        "I can't tell.",
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
    ("value", "problem"),
    [
        (7, "must be a sentence"),
        (["Bright."], "must be a sentence"),
        ({"seen": "trees", "text": {"x": 1}}, "must be a sentence"),
        ({"text": "x" * (MAX_SENTENCE_CHARS + 1), "seen": "trees"}, "longer than"),
        ({"text": "Bright\x1b[31m.", "seen": "trees"}, "control character"),
        ({"text": "Bright \ud800.", "seen": "trees"}, "control character"),
        ("Bright.", '"seen"'),
        ({"text": "Bright."}, '"seen"'),
        ({"text": "Bright.", "seen": ""}, '"seen"'),
        ({"text": "Bright.", "seen": "the"}, '"seen"'),
        ({"text": "Bright.", "seen": "a bus"}, '"seen"'),
        ({"text": "Bright.", "seen": ["trees"]}, '"seen"'),
        ({"text": "A man off-screen speaks.", "seen": "trees"}, "off screen"),
        ({"text": "A bird sings outside the frame.", "seen": "trees"}, "off screen"),
    ],
)
def test_what_is_wrong_with_one_cue_spoils_no_other(value, problem):
    reading = read_answer(focused_answer(tone=value), "focused")
    (found,) = reading.problems
    assert found.startswith('"tone" ')
    assert problem in found
    assert set(reading.cues) == set(CUE_TYPES) - {CueType.TONE}


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
