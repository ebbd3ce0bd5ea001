"""Asking a model about keyframes: in batches, once more where needed, and never twice the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from semmix_rt.cues.asked import AskingExtractor
from semmix_rt.cues.cache import CueCache
from semmix_rt.cues.extract import SegmentSource
from semmix_rt.cues.keyframes import Keyframe
from support_lvlm import TEXTS, ScriptedChat, focused_answer
from support_picture import film_frames, write_film

from semmix.cues.answers import REPAIRED_CONFIDENCE, STATED_CONFIDENCE
from semmix.cues.prompts import question
from semmix.cues.sheet import dump_sheet, parse_sheet
from semmix.cues.types import CUE_TYPES, Cue, CueType


def keyframes(count: int, first: int = 0) -> list[Keyframe]:
    return [
        Keyframe(float(n), n + 1.0, n, np.full((8, 12, 3), first + n, np.uint8), 0.0)
        for n in range(count)
    ]


def number_of(talk) -> int:
    return int(talk.image[0, 0, 0])


def texts(cues) -> dict[str, str | None]:
    return {str(t): cues[t].text for t in CUE_TYPES if t in cues}


def test_good_answers_become_cues():
    chat = ScriptedChat(lambda talk: focused_answer())
    extractor = AskingExtractor("lvlm", chat)
    frames = keyframes(3)
    read = list(extractor.read(iter(frames)))
    assert [described.keyframe for described in read] == frames
    assert all(texts(cues) == TEXTS for _, cues, _ in read)
    assert {cue.confidence for cue in read[0][1].values()} == {STATED_CONFIDENCE}
    assert [talk.turns for talk in chat.talks] == [(question("focused"),)] * 3
    assert [number_of(talk) for talk in chat.talks] == [0, 1, 2]
    assert extractor.doubts() == ""


def test_a_broken_answer_is_mended_once():
    def script(talk):
        if len(talk.turns) == 1:
            return focused_answer(tone={"text": "Grim.", "seen": "a bus"}, scene="A field.")
        return focused_answer(scene="unknown", sound=7)

    chat = ScriptedChat(script)
    extractor = AskingExtractor("lvlm", chat)
    ((_, cues, readings),) = extractor.read(iter(keyframes(1)))
    first, second = chat.talks
    assert second.turns[:2] == (first.turns[0], script(first))
    assert '"tone" needs a "seen"' in second.turns[2]
    assert '"scene"' in second.turns[2]
    assert '"emotion"' not in second.turns[2]
    assert cues[CueType.TONE] == Cue(TEXTS["tone"], REPAIRED_CONFIDENCE)
    assert cues[CueType.SCENE] == Cue()
    # The second answer broke what the first one had in form: that one holds, nothing is lost.
    assert cues[CueType.SOUND] == Cue(TEXTS["sound"], STATED_CONFIDENCE)
    assert extractor.doubts() == ""
    assert [set(reading.refused) for reading in readings] == [
        {CueType.TONE, CueType.SCENE},
        {CueType.SOUND},
    ]
    assert readings[0].said[CueType.TONE] == "Grim."


def test_hopeless_answers_are_unknown_and_said_so():
    chat = ScriptedChat(lambda talk: "\x1b[2JA rabbit!" * 1000)
    extractor = AskingExtractor("lvlm", chat)
    read = list(extractor.read(iter(keyframes(2))))
    assert [cues for _, cues, _ in read] == [{}, {}]
    assert len(chat.talks) == 4
    assert len(chat.talks[1].turns[1]) == 2000
    assert "about 2 of 2 pictures" in extractor.doubts()
    assert "12 cues are unknown (first: it holds no JSON object)" in extractor.doubts()
    assert extractor.doubts().isprintable()


def test_pictures_are_asked_about_together():
    bad = {1, 4}
    chat = ScriptedChat(lambda talk: "no" if number_of(talk) in bad else focused_answer(), batch=3)
    extractor = AskingExtractor("lvlm", chat)
    read = list(extractor.read(iter(keyframes(5))))
    assert [[number_of(t) for t in call] for call in chat.calls] == [[0, 1, 2], [1], [3, 4], [4]]
    assert [n for n, (_, cues, _) in enumerate(read) if not cues] == [1, 4]
    assert "about 2 of 5 pictures" in extractor.doubts()


def test_no_more_keyframes_are_taken_than_a_batch():
    taken = []

    def watched():
        for frame in keyframes(6):
            taken.append(frame)
            yield frame

    chat = ScriptedChat(lambda talk: focused_answer(), batch=2)
    next(AskingExtractor("lvlm", chat).read(watched()))
    assert len(taken) == 2


def test_whole_answers_are_kept_by_picture_model_and_prompts(tmp_path):
    cache = CueCache(tmp_path)

    def asked(chat, count=3, regime="focused", kind="lvlm"):
        extractor = AskingExtractor(kind, chat, regime, cache)
        read = list(extractor.read(iter(keyframes(count))))
        return [number_of(t) for t in chat.talks if len(t.turns) == 1], read

    def script(talk):
        return "no" if number_of(talk) == 1 else focused_answer()

    assert asked(ScriptedChat(script))[0] == [0, 1, 2]
    again, read = asked(ScriptedChat(lambda talk: focused_answer(tone="unknown")), 4)
    assert again == [1, 3]
    assert [cues[CueType.TONE].known for _, cues, _ in read] == [True, False, True, False]
    assert asked(ScriptedChat(script, name="other"))[0] == [0, 1, 2]
    assert asked(ScriptedChat(script), kind="openai")[0] == [0, 1, 2]
    minimal = ScriptedChat(lambda talk: json.dumps(TEXTS))
    assert asked(minimal, regime="minimal")[0] == [0, 1, 2]


def test_what_no_asking_would_change_is_kept_and_its_doubts_with_it(tmp_path):
    """One picture is hopeless, one is mended in part; neither is asked about again."""
    cache = CueCache(tmp_path)

    def script(talk):
        return "no" * 20_000 if number_of(talk) == 1 else focused_answer(tone="Grim.")

    def read(chat):
        extractor = AskingExtractor("lvlm", chat, cache=cache)
        return list(extractor.read(iter(keyframes(2)))), extractor.doubts()

    first = ScriptedChat(script, deterministic=True)
    described, doubts = read(first)
    assert len(first.talks) == 4
    assert "about 2 of 2 pictures" in doubts
    assert "7 cues are unknown" in doubts
    second = ScriptedChat(script, deterministic=True)
    again, same_doubts = read(second)
    assert second.talks == []
    assert [(cues, readings) for _, cues, readings in again] == [
        (cues, readings) for _, cues, readings in described
    ]
    assert same_doubts == doubts
    assert len(read(ScriptedChat(script, name="other", deterministic=True))[0]) == 2
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 50_000
    other = ScriptedChat(script, name="other, again")
    read(other)
    assert len(other.talks) == 4


@pytest.mark.parametrize("spoiled", ["{", "[]", "[1]", '{"a": "b"}', "\xff", "[" * 100_000])
def test_kept_answers_that_are_damaged_are_asked_for_again(tmp_path, spoiled):
    cache = CueCache(tmp_path)
    list(
        AskingExtractor("lvlm", ScriptedChat(lambda t: focused_answer()), cache=cache).read(
            iter(keyframes(1))
        )
    )
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(spoiled.encode("latin1"))
    chat = ScriptedChat(lambda talk: focused_answer())
    list(AskingExtractor("lvlm", chat, cache=cache).read(iter(keyframes(1))))
    assert len(chat.talks) == 1


def test_an_interrupted_reading_is_taken_up_again(tmp_path):
    def interrupted(talk):
        if number_of(talk) == 2:
            raise KeyboardInterrupt
        return focused_answer()

    extractor = AskingExtractor("lvlm", ScriptedChat(interrupted), cache=CueCache(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        list(extractor.read(iter(keyframes(4))))
    chat = ScriptedChat(lambda talk: focused_answer())
    list(AskingExtractor("lvlm", chat, cache=CueCache(tmp_path)).read(iter(keyframes(4))))
    assert [number_of(talk) for talk in chat.talks] == [2, 3]


def test_a_film_read_in_doubt_is_not_kept_and_says_so_in_its_sheet(tmp_path):
    film = write_film(tmp_path / "film.mp4", film_frames([48], 96), options={"g": "48"})
    cache = CueCache(tmp_path / "cache")
    hopeless = SegmentSource(
        film, extractor=AskingExtractor("lvlm", ScriptedChat(lambda talk: "no")), cache=cache
    )
    sheet = hopeless.sheet()
    assert all(not segment.cue(t).known for segment in sheet.segments for t in CUE_TYPES)
    assert sheet.meta == {"doubts": hopeless.doubts}
    assert "no JSON object" in hopeless.doubts
    assert parse_sheet(dump_sheet(sheet)).meta == sheet.meta

    def good():
        return AskingExtractor("lvlm", ScriptedChat(lambda talk: focused_answer()))

    second = SegmentSource(film, extractor=good(), cache=cache)
    assert not second.from_cache
    sheet = second.sheet()
    assert sheet.meta == {}
    assert texts(sheet.segments[0].cues) == TEXTS
    third = SegmentSource(film, extractor=good(), cache=cache)
    assert third.from_cache
    assert third.sheet() == sheet


def test_a_deterministic_model_is_not_asked_about_a_film_again(tmp_path):
    film = write_film(tmp_path / "film.mp4", film_frames([48], 96), options={"g": "48"})
    cache = CueCache(tmp_path / "cache")

    def source(script, name="toy"):
        chat = ScriptedChat(script, name=name, deterministic=True)
        extractor = AskingExtractor("lvlm", chat)
        return chat, SegmentSource(film, extractor=extractor, cache=cache)

    first, reading = source(lambda talk: "no")
    sheet = reading.sheet()
    assert first.talks
    assert "no JSON object" in sheet.meta["doubts"]
    second, kept = source(lambda talk: focused_answer())
    assert kept.from_cache
    assert all(not segment.cue(t).known for segment in kept.sheet().segments for t in CUE_TYPES)
    assert kept.sheet().meta == sheet.meta
    assert kept.doubts == sheet.meta["doubts"]
    assert second.talks == []
    assert not source(lambda talk: "no", name="other")[1].from_cache
