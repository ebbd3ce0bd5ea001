"""Cue sheets: what a person may write, what is refused and where, what is written."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from semmix.cues import sheet as sheets
from semmix.cues.sheet import (
    has_control_character,
    load_sheet,
    parse_sheet,
    save_sheet,
    sheet_from_dict,
    sheet_to_dict,
    show_control_characters,
)
from semmix.cues.types import UNKNOWN, Cue, CueSegment, CueSheet, CueType
from semmix.errors import CueSheetError

SCHEMA = Path(sheets.__file__).with_name("sheet.schema.json")


def full_sheet() -> CueSheet:
    cues = {t: Cue(f"Ein Satz über {t}.", 0.125 * n) for n, t in enumerate(CueType)}
    return CueSheet(
        segments=(
            CueSegment(0.0, 1.25, 0.5, cues),
            CueSegment(1.25, 3.0, 1.25, {CueType.TONE: Cue("Dark.", 1.0)}),
            CueSegment(5.0, 6.123456, 5.0, {}),
        ),
        extractor="embedded/1",
        picture_hash="ab" * 16,
        meta={"title": "Brook"},
    )


def plain() -> dict[str, Any]:
    return {
        "format": "semmix-cue-sheet",
        "version": 1,
        "segments": [
            {"start_s": 0, "end_s": 4.5, "cues": {"tone": "A tense, dark scene."}},
            {"start_s": 4.5, "end_s": 9, "cues": {}},
        ],
    }


def normal(sheet: CueSheet) -> CueSheet:
    """All six types spelled out, so that missing and unknown compare equal."""
    segments = tuple(
        CueSegment(s.start_s, s.end_s, s.keyframe_s, {t: s.cue(t) for t in CueType})
        for s in sheet.segments
    )
    return CueSheet(segments, sheet.extractor, sheet.picture_hash, sheet.meta)


def test_what_is_saved_is_loaded_again(tmp_path):
    path = tmp_path / "cues.json"
    save_sheet(full_sheet(), path)
    assert normal(load_sheet(path)) == normal(full_sheet())
    assert [p.name for p in tmp_path.iterdir()] == ["cues.json"]
    assert "über" in path.read_text(encoding="utf-8")
    first = path.read_bytes()
    save_sheet(load_sheet(path), path)
    assert path.read_bytes() == first


def test_a_minimal_sheet_written_by_hand():
    sheet = parse_sheet(b"\xef\xbb\xbf" + json.dumps(plain()).encode())
    segment = sheet.segments[0]
    assert (segment.start_s, segment.end_s, segment.keyframe_s) == (0.0, 4.5, 0.0)
    assert segment.cue(CueType.TONE) == Cue("A tense, dark scene.", 1.0)
    assert segment.cue(CueType.SCENE) == UNKNOWN
    assert (sheet.extractor, sheet.picture_hash) == ("manual", "")


@pytest.mark.parametrize("unknown", ["unknown", {"text": "unknown", "confidence": 0.4}])
def test_unknown_is_unknown(unknown):
    data = plain()
    data["segments"][0]["cues"] = {"tone": unknown, "scene": {"text": "A wood."}}
    segment = sheet_from_dict(data).segments[0]
    assert segment.cue(CueType.TONE) == UNKNOWN
    assert segment.cue(CueType.SCENE) == Cue("A wood.", 1.0)


def put(data: dict[str, Any], where: str, value: object) -> None:
    *parents, last = [int(k) if k.isdigit() else k for k in where.split("/")]
    for key in parents:
        data = data[key]
    data[last] = value


BAD = [
    ("format", "other", "format: must be"),
    ("version", 2, "version: must be 1"),
    ("version", True, "version: must be 1"),
    ("segments", {}, "segments: must be a list"),
    ("segmnets", [], "unknown key 'segmnets'"),
    ("segments/0", 3, r"segments\[0\]: must be an object, not a number"),
    ("segments/1/start_s", 4.4, r"segments\[1\].start_s: is 4.4, before the end"),
    ("segments/0/start_s", -1, r"segments\[0\].start_s: is -1 s"),
    ("segments/0/start_s", "0", r"segments\[0\].start_s: must be a number, not text"),
    ("segments/0/start_s", None, r"must be a number, not null"),
    ("segments/0/start_s", True, r"must be a number, not true or false"),
    ("segments/0/end_s", 0, r"segments\[0\].end_s: is 0.0, not after"),
    ("segments/1/end_s", 10**400, r"segments\[1\].end_s: is beyond"),
    ("segments/1/end_s", float("inf"), "finite"),
    ("segments/1/end_s", 1e300, "outside 0 to"),
    ("segments/0/keyframe_s", float("nan"), "finite"),
    ("segments/0/note", "x", r"segments\[0\]: has the unknown key 'note': allowed are"),
    ("segments/0/cues", [], r"segments\[0\].cues: must be an object, not a list"),
    ("segments/0/cues/colour", "x", r"segments\[0\].cues: has the unknown key 'colour'"),
    ("segments/0/cues/tone", 1, r"segments\[0\].cues.tone: must be an object"),
    ("segments/0/cues/tone", "", r"segments\[0\].cues.tone: is empty"),
    ("segments/0/cues/tone", "x" * 301, r"segments\[0\].cues.tone: has 301 characters"),
    ("segments/0/cues/tone", "a\x1b[2Jb", r"segments\[0\].cues.tone: holds a control"),
    ("segments/0/cues/tone", "a\u202eb", r"segments\[0\].cues.tone: holds a control"),
    ("segments/0/cues/tone", "a\u2068b\u2069", r"segments\[0\].cues.tone: holds a control"),
    ("segments/0/cues/tone", "a\u2028b", r"segments\[0\].cues.tone: holds a control"),
    ("segments/0/cues/tone", "a\ud800b", r"segments\[0\].cues.tone: holds a control"),
    ("segments/0/cues/tone", {"confidence": 1}, r"segments\[0\].cues.tone: lacks \"text\""),
    ("segments/0/cues/tone", {"text": "x", "confidence": 1.1}, r"tone.confidence: is 1.1"),
    ("segments/0/cues/tone", {"text": "x", "p": 1}, r"segments\[0\].cues.tone: has the unknown"),
    ("extractor", "", "extractor: is empty"),
    ("picture_hash", 3, "picture_hash: must be text"),
    ("meta", {"a": 1}, "meta.a: must be text"),
    ("meta", {str(n): "x" for n in range(65)}, "meta: holds 65"),
]


@pytest.mark.parametrize(("where", "value", "message"), BAD)
def test_mistakes_are_refused_with_their_place(where, value, message):
    data = plain()
    put(data, where, value)
    with pytest.raises(CueSheetError, match=message):
        sheet_from_dict(data)


@pytest.mark.parametrize("key", ["format", "version", "segments"])
def test_missing_keys_are_named(key):
    data = plain()
    del data[key]
    with pytest.raises(CueSheetError, match=f'lacks "{key}"'):
        sheet_from_dict(data)


@pytest.mark.parametrize("data", [[], "x", None, 3])
def test_other_values_are_no_sheet(data):
    with pytest.raises(CueSheetError, match="must be an object"):
        sheet_from_dict(data)


def test_too_many_segments(monkeypatch):
    monkeypatch.setattr(sheets, "MAX_SEGMENTS", 1)
    with pytest.raises(CueSheetError, match="holds 2 entries"):
        sheet_from_dict(plain())


RAW = [
    (b'{"format": NaN}', "NaN is not a number"),
    (b'{"a": -Infinity}', "-Infinity is not a number"),
    (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' appears twice"),
    (b"{'a': 1}", "not valid JSON at line 1, column 2"),
    (b"", "not valid JSON"),
    (b"[" * 200_000, "nested too deeply"),
    (b'{"a":' * 200_000, "nested too deeply"),
    (b'{"a": "\xff\xfe"}', "not UTF-8"),
    (json.dumps(plain()).encode("utf-16"), "not UTF-8"),
    (b'{"version": ' + b"9" * 5000 + b"}", "cannot be read|lacks"),
    (b"\x00" * 100, "not valid JSON"),
]


@pytest.mark.parametrize(("data", "message"), RAW)
def test_hostile_files_are_refused(tmp_path, data, message):
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    with pytest.raises(CueSheetError, match=message) as caught:
        load_sheet(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_keys_with_one_twice_are_refused_quickly():
    pairs = ",".join(f'"{n}":1' for n in range(200_000))
    with pytest.raises(CueSheetError, match="twice"):
        parse_sheet(f'{{{pairs},"0":1}}'.encode())


def test_missing_folder_and_huge_files(tmp_path):
    with pytest.raises(CueSheetError, match="cannot read"):
        load_sheet(tmp_path / "none.json")
    with pytest.raises(CueSheetError, match="folder"):
        load_sheet(tmp_path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(2**32)
    with pytest.raises(CueSheetError, match="larger than 16 MiB"):
        load_sheet(huge)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs an endless device")
def test_an_endless_device_is_refused():
    with pytest.raises(CueSheetError, match="larger than"):
        load_sheet("/dev/zero")


def test_what_may_not_be_loaded_may_not_be_saved(tmp_path):
    path = tmp_path / "cues.json"
    path.write_text("mine")
    bad = CueSheet((CueSegment(0.0, 1.0, 0.0, {CueType.TONE: Cue("x" * 400, 1.0)}),))
    nan = CueSheet((CueSegment(0.0, float("nan"), 0.0, {}),))
    for sheet in (bad, nan):
        with pytest.raises(CueSheetError, match=r"segments\[0\]"):
            save_sheet(sheet, path)
    assert path.read_text() == "mine"
    with pytest.raises(CueSheetError, match="cannot write"):
        save_sheet(full_sheet(), tmp_path / "none" / "cues.json")
    with pytest.raises(CueSheetError, match="cannot write"):
        save_sheet(full_sheet(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["cues.json"]


def test_the_schema_agrees_with_the_reader():
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    for good in (plain(), sheet_to_dict(full_sheet()), {**plain(), "$schema": "x"}):
        validator.validate(good)
        sheet_from_dict(good)
    # Order, finiteness, and control characters are beyond a schema.
    beyond = ("before the end", "not after", "finite", "control", "version: must be 1")
    checked = 0
    for where, value, message in BAD:
        if any(part in message for part in beyond):
            continue
        data = copy.deepcopy(plain())
        put(data, where, value)
        assert not validator.is_valid(data), where
        checked += 1
    assert checked > 15


def test_the_schema_names_the_same_limits():
    schema = json.loads(SCHEMA.read_text())
    cue_names = schema["$defs"]["segment"]["properties"]["cues"]["properties"]
    assert set(cue_names) == {str(t) for t in CueType}
    assert schema["properties"]["segments"]["maxItems"] == sheets.MAX_SEGMENTS
    assert schema["$defs"]["cue"]["oneOf"][0]["maxLength"] == sheets.MAX_TEXT_CHARS
    assert schema["$defs"]["segment"]["properties"]["end_s"]["maximum"] == sheets.MAX_TIME_S
    assert schema["properties"]["format"]["const"] == sheets.FORMAT
    assert sys.getrecursionlimit() < 200_000


@pytest.mark.parametrize(
    "code", [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x1B, 0x85, 0x2029]
)
def test_what_turns_or_breaks_a_line_is_a_control_character(code):
    text = f"a{chr(code)}b"
    assert has_control_character(text)
    assert show_control_characters(text) == "a\ufffdb"


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with ZWNJ
        "\u0915\u094d\u200d\u0937",  # Devanagari, with ZWJ
        "\U0001f469\u200d\U0001f692",  # firefighter, with ZWJ
        "\u05e9\u05dc\u05d5\u05dd \u200eabc\u200f!",  # Hebrew, with the marks its keyboards have
        "Grief\u2026 \u2013 \u65e5\u672c\u8a9e",
    ],
)
def test_what_languages_and_emoji_need_stays(text):
    assert not has_control_character(text)
    assert show_control_characters(text) == text
