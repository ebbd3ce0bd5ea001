"""Cue sheets as JSON that a person can read, edit and pass back.

The smallest useful sheet:

    {"format": "semmix-cue-sheet", "version": 1,
     "segments": [{"start_s": 0, "end_s": 4.5, "cues": {"tone": "A tense, dark scene."}}]}

A cue is a sentence, `"unknown"`, or `{"text": ..., "confidence": 0..1}`; missing types are
unknown and `keyframe_s` defaults to `start_s`. `sheet.schema.json` beside this file says the
same to editors. Sheets are untrusted input: size, depth, numbers and keys are all checked.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from semmix.atomic import write_atomically
from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueSegment, CueSheet, CueType
from semmix.errors import CueSheetError

FORMAT = "semmix-cue-sheet"
VERSION = 1
UNKNOWN_WORD = "unknown"

MAX_FILE_BYTES = 16 * 2**20
MAX_SEGMENTS = 100_000
MAX_TEXT_CHARS = 300
MAX_META = 64
MAX_TIME_S = 1e7
"""Longest timeline, 115 days: beyond it a number is a mistake."""

# Embeddings, overrides and isolates of the bidirectional algorithm (UAX 9).
_DIRECTIONS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))

TIME_DECIMALS = 6
CONFIDENCE_DECIMALS = 3
"""What a sheet keeps of times and confidences; extractors round alike, so that cues read anew
and cues from a sheet are the same."""


def load_sheet(path: str | Path) -> CueSheet:
    """Read and check a cue sheet.

    Raises:
        CueSheetError: not a readable UTF-8 JSON file of this format, or a value out of range;
            the message names the place inside the file.
    """
    path = Path(path)
    return parse_sheet(_read(path), str(path))


def parse_sheet(data: bytes, name: str = "the cue sheet") -> CueSheet:
    """Check a cue sheet given as UTF-8 JSON.

    Raises:
        CueSheetError: as in `load_sheet`; `name` says which sheet is meant.
    """
    try:
        parsed = json.loads(
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_duplicates,
        )
        return sheet_from_dict(parsed)
    except UnicodeDecodeError as exc:
        raise CueSheetError(f"{name} is not UTF-8 text: save it as UTF-8 JSON") from exc
    except RecursionError as exc:
        raise CueSheetError(f"{name} is nested too deeply to be a cue sheet") from exc
    except json.JSONDecodeError as exc:
        raise CueSheetError(
            f"{name} is not valid JSON at line {exc.lineno}, column {exc.colno} ({exc.msg})"
        ) from exc
    except CueSheetError as exc:
        raise CueSheetError(f"{name}: {exc}") from exc
    except ValueError as exc:
        raise CueSheetError(f"{name} holds a number that cannot be read ({exc})") from exc


def save_sheet(sheet: CueSheet, path: str | Path) -> None:
    """Write a cue sheet atomically: the target is either the whole sheet or untouched.

    Raises:
        CueSheetError: the sheet breaks the format's rules, or the folder cannot be written.
    """
    path = Path(path)
    data = dump_sheet(sheet)
    try:
        write_atomically(path, data)
    except OSError as exc:
        raise CueSheetError(
            f"cannot write the cue sheet {path} ({exc.strerror}): choose a folder that exists, "
            "is writable and has space"
        ) from exc


def dump_sheet(sheet: CueSheet) -> bytes:
    """A cue sheet as checked, indented UTF-8 JSON.

    Raises:
        CueSheetError: the sheet breaks the format's rules.
    """
    plain = sheet_to_dict(sheet)
    sheet_from_dict(plain)
    return (json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sheet_to_dict(sheet: CueSheet) -> dict[str, Any]:
    """Plain values for JSON; every segment lists all six types so that a reader sees them."""
    plain: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "extractor": sheet.extractor,
        "picture_hash": sheet.picture_hash,
    }
    if sheet.meta:
        plain["meta"] = dict(sheet.meta)
    plain["segments"] = [
        {
            "start_s": round(segment.start_s, TIME_DECIMALS),
            "end_s": round(segment.end_s, TIME_DECIMALS),
            "keyframe_s": round(segment.keyframe_s, TIME_DECIMALS),
            "cues": {str(t): _cue_to_plain(segment.cue(t)) for t in CUE_TYPES},
        }
        for segment in sheet.segments
    ]
    return plain


def sheet_from_dict(data: object) -> CueSheet:
    """Build a sheet from plain values.

    Raises:
        CueSheetError: an unknown or missing key, a wrong kind of value, segments that overlap
            or are out of order, or a number or text out of range.
    """
    top = _mapping(
        data,
        "the sheet",
        required={"format", "version", "segments"},
        optional={"extractor", "picture_hash", "meta", "$schema"},
    )
    if top["format"] != FORMAT:
        _fail("format", f'must be "{FORMAT}"')
    if type(top["version"]) is not int or top["version"] != VERSION:
        _fail("version", f"must be {VERSION}: this program reads no other version")
    items = top["segments"]
    if not isinstance(items, list):
        _fail("segments", "must be a list")
    if len(items) > MAX_SEGMENTS:
        _fail("segments", f"holds {len(items)} entries, more than {MAX_SEGMENTS}")
    segments: list[CueSegment] = []
    for number, item in enumerate(items):
        where = f"segments[{number}]"
        segment = _segment(item, where)
        if segments and segment.start_s < segments[-1].end_s:
            _fail(
                f"{where}.start_s",
                f"is {segment.start_s}, before the end of the segment above "
                f"({segments[-1].end_s}): sort segments by time, without overlap",
            )
        segments.append(segment)
    meta = _mapping(top.get("meta", {}), "meta", required=set(), optional=None)
    if len(meta) > MAX_META:
        _fail("meta", f"holds {len(meta)} entries, more than {MAX_META}")
    return CueSheet(
        segments=tuple(segments),
        extractor=_text(top.get("extractor", "manual"), "extractor"),
        picture_hash=_text(top.get("picture_hash", ""), "picture_hash", empty=True),
        meta={k: _text(v, f"meta.{k}", empty=True) for k, v in meta.items()},
    )


def has_control_character(text: str) -> bool:
    """Whether a text cannot be a sentence of a sheet.

    Control characters and line separators would reach terminals, lone surrogates cannot be saved
    again, and what turns the direction of writing makes a line look like another one. The joiners
    that scripts and emoji need are none of these.
    """
    return any(_is_control(c) for c in text)


def show_control_characters(text: str) -> str:
    """A text of any origin with `U+FFFD` for each control character, safe to show."""
    return "".join("\ufffd" if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in _DIRECTIONS
    )


def _segment(item: object, where: str) -> CueSegment:
    fields = _mapping(item, where, required={"start_s", "end_s", "cues"}, optional={"keyframe_s"})
    start_s = _time(fields["start_s"], f"{where}.start_s")
    end_s = _time(fields["end_s"], f"{where}.end_s")
    if end_s <= start_s:
        _fail(f"{where}.end_s", f"is {end_s}, not after start_s ({start_s})")
    keyframe_s = _time(fields.get("keyframe_s", start_s), f"{where}.keyframe_s")
    plain = _mapping(
        fields["cues"], f"{where}.cues", required=set(), optional={str(t) for t in CUE_TYPES}
    )
    cues = {CueType(name): _cue(value, f"{where}.cues.{name}") for name, value in plain.items()}
    return CueSegment(start_s, end_s, keyframe_s, cues)


def _cue(value: object, where: str) -> Cue:
    if isinstance(value, str):
        text = _text(value, where)
        # A person who writes a sentence means it.
        return UNKNOWN if text == UNKNOWN_WORD else Cue(text, 1.0)
    fields = _mapping(value, where, required={"text"}, optional={"confidence"})
    text = _text(fields["text"], f"{where}.text")
    confidence = _number(fields.get("confidence", 1.0), f"{where}.confidence")
    if not 0.0 <= confidence <= 1.0:
        _fail(f"{where}.confidence", f"is {confidence}, outside 0 to 1")
    return UNKNOWN if text == UNKNOWN_WORD else Cue(text, confidence)


def _cue_to_plain(cue: Cue) -> str | dict[str, Any]:
    if cue.text is None:
        return UNKNOWN_WORD
    return {"text": cue.text, "confidence": round(float(cue.confidence), CONFIDENCE_DECIMALS)}


def _mapping(
    value: object, where: str, *, required: set[str], optional: set[str] | None
) -> Mapping[str, Any]:
    """A JSON object with exactly these keys; `optional=None` allows any."""
    if not isinstance(value, dict):
        _fail(where, f"must be an object, not {_kind(value)}")
    missing = sorted(required - set(value))
    if missing:
        _fail(where, f'lacks "{missing[0]}"')
    unknown = [k for k in value if optional is not None and k not in required | optional]
    if unknown:
        allowed = ", ".join(sorted(required | (optional or set())))
        _fail(where, f"has the unknown key {_shown(unknown[0])}: allowed are {allowed}")
    return value


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fail(where, f"must be a number, not {_kind(value)}")
    if isinstance(value, int) and abs(value) > MAX_TIME_S:
        _fail(where, f"is beyond {MAX_TIME_S:.0f}")
    number = float(value)
    if not math.isfinite(number):
        _fail(where, "must be a finite number")
    return number


def _time(value: object, where: str) -> float:
    time_s = _number(value, where)
    if not 0.0 <= time_s <= MAX_TIME_S:
        _fail(where, f"is {time_s:g} s, outside 0 to {MAX_TIME_S:.0f}")
    return time_s


def _text(value: object, where: str, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        _fail(where, f"must be text, not {_kind(value)}")
    if len(value) > MAX_TEXT_CHARS:
        _fail(where, f"has {len(value)} characters, more than {MAX_TEXT_CHARS}")
    if has_control_character(value):
        _fail(where, "holds a control character: write one line of plain text")
    text = value.strip()
    if not text and not empty:
        _fail(where, f'is empty: write a sentence or "{UNKNOWN_WORD}"')
    return text


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise CueSheetError(f"{path} is a folder: give a cue sheet file")
        with path.open("rb") as file:
            # One byte past the limit is enough to know, also where no size can be asked for.
            size_bytes = path.stat().st_size
            data = b"" if size_bytes > MAX_FILE_BYTES else file.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CueSheetError(f"cannot read the cue sheet {path} ({exc.strerror})") from exc
    if max(size_bytes, len(data)) > MAX_FILE_BYTES:
        raise CueSheetError(
            f"{path} is larger than {MAX_FILE_BYTES // 2**20} MiB: this is not a cue sheet"
        )
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise CueSheetError(f"{name} is not a number in JSON: write a finite one")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for twice, _ in pairs:
            if twice in seen:
                break
            seen.add(twice)
        raise CueSheetError(f"the key {_shown(twice)} appears twice in one object")
    return result


def _fail(where: str, what: str) -> NoReturn:
    raise CueSheetError(f"{where}: {what}")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")


def _shown(key: str) -> str:
    """A key from the file, safe to print."""
    return ascii(key if len(key) <= 40 else key[:40] + "...")
