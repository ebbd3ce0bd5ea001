"""From a vision language model's answer to cues: found, checked, and held to what was seen.

An answer is untrusted text. What is wrong with it is said in words that the model can be asked
to mend; what stays wrong becomes unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semmix.cues.prompts import Regime
from semmix.cues.sheet import UNKNOWN_WORD, has_control_character
from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueType

MAX_ANSWER_CHARS = 20_000
MAX_SENTENCE_CHARS = 200
"""Some 40 words. The text encoder cuts at 64 tokens."""
MAX_VISIBLE = 40
MAX_VISIBLE_CHARS = 100

STATED_CONFIDENCE, REPAIRED_CONFIDENCE = 0.7, 0.5
"""Such models have no calibrated numbers; one that had to be told twice is trusted less."""

_THOUGHT_END = "</think>"
_ARTICLES = frozenset(("a", "an", "the"))
# These sentences say that there is no answer.
_NO_ANSWER = re.compile(
    r"\b(?:unknown|unclear|not (?:applicable|specified)|n/a|as an ai|i (?:cannot|can't)"
    r"|(?:cannot|can't|can not|could not) (?:be )?(?:determined?|tell|told|discern(?:ed)?))\b",
    re.IGNORECASE,
)
_OFF_SCREEN = re.compile(
    r"\boff[- ]?(?:screen|camera)\b|\b(?:outside|out of|beyond) (?:of )?(?:the )?"
    r"(?:frame|picture|shot|screen|view)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says.

    Attributes:
        cues: types that were answered in form; "unknown" is an answer.
        problems: what is wrong with the rest, in words for the model; empty if nothing is.
    """

    cues: Mapping[CueType, Cue]
    problems: tuple[str, ...]


def read_answer(answer: str, regime: Regime, confidence: float = STATED_CONFIDENCE) -> Reading:
    """Find and check the JSON object in an answer; never raises.

    With focused prompts a sentence counts only if the thing it rests on stands in the answer's
    own list of what is visible, and if it does not speak of what is off screen.

    Args:
        answer: the model's words; prose and code fences around the object are allowed.
        regime: which question was asked.
        confidence: of each sentence, 0 to 1.
    """
    fields = _json_object(answer)
    if isinstance(fields, str):
        return Reading({}, (fields,))
    visible: list[frozenset[str]] | None = None
    cues: dict[CueType, Cue] = {}
    problems: list[str] = []
    if regime == "focused":
        visible = _visible(fields.get("visible"))
        if not visible:
            problems.append('"visible" must be a list of the things that can be seen')
    for cue_type in CUE_TYPES:
        found = _cue(fields, cue_type, visible, confidence)
        if isinstance(found, Cue):
            cues[cue_type] = found
        else:
            problems.append(f'"{cue_type}" {found}')
    return Reading(cues, tuple(problems))


def _json_object(answer: str) -> dict[str, Any] | str:
    """The answer's JSON object, or what is wrong with it."""
    if len(answer) > MAX_ANSWER_CHARS:
        return f"it is longer than {MAX_ANSWER_CHARS} characters"
    text = answer.rpartition(_THOUGHT_END)[2]
    start = text.find("{")
    if start < 0:
        return "it holds no JSON object"
    try:
        fields, _ = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as exc:
        return f"its JSON breaks off or is not valid at character {exc.pos - start} ({exc.msg})"
    except (RecursionError, ValueError):
        return "its JSON is not of the form that was asked for"
    # It starts with a brace, so it is an object.
    result: dict[str, Any] = fields
    return result


def _visible(value: object) -> list[frozenset[str]]:
    """The words of each thing in the list of what is visible."""
    if not isinstance(value, list) or len(value) > MAX_VISIBLE:
        return []
    items = (_words(v) for v in value if isinstance(v, str) and len(v) <= MAX_VISIBLE_CHARS)
    return [words for words in items if words]


def _cue(
    fields: Mapping[str, Any],
    cue_type: CueType,
    visible: list[frozenset[str]] | None,
    confidence: float,
) -> Cue | str:
    """One cue, or what is wrong with it; `visible` is None where no evidence is asked for."""
    if cue_type not in fields:
        return "is missing"
    value = fields[cue_type]
    seen: object = None
    if isinstance(value, dict):
        seen = value.get("seen")
        value = value.get("text")
    if value is None:
        return UNKNOWN
    if not isinstance(value, str):
        return "must be a sentence"
    sentence = " ".join(value.split())
    if not sentence or sentence.casefold().strip(".\"'") == UNKNOWN_WORD:
        return UNKNOWN
    if len(sentence) > MAX_SENTENCE_CHARS:
        return f"is longer than {MAX_SENTENCE_CHARS} characters"
    if has_control_character(sentence):
        return "holds a control character"
    if _NO_ANSWER.search(sentence):
        return UNKNOWN
    if visible is not None:
        if _OFF_SCREEN.search(sentence):
            return "speaks of what is off screen"
        words = _words(seen) if isinstance(seen, str) else frozenset()
        if not words or not any(words <= item for item in visible):
            return 'needs a "seen" that stands in "visible"'
    return Cue(sentence, confidence)


def _words(phrase: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", phrase.casefold())) - _ARTICLES
