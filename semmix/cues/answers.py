"""From a vision language model's answer to cues: found, checked, and held to what was seen.

An answer is untrusted text. What is wrong with it is said in words that the model can be asked
to mend; what stays wrong becomes unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semmix.cues.grounding import ungrounded
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
_MAX_TRIES = 100
"""Braces of an answer at which its object is looked for: each takes a pass over the rest."""
_ASKED_FOR = ("visible", *CUE_TYPES)
_NO_LIST = '"visible" must be a list of the things that can be seen'
_ARTICLES = frozenset(("a", "an", "the"))
# The whole answer says that there is none: "unclear, the face is hidden", but not "an unknown man".
_NOT_KNOWN = r"(?:unknown|unclear|not (?:applicable|specified|clear)|n/a)"
_NOT_TOLD = (
    r"(?:cannot|can't|can not|could not) (?:be )?(?:determined?|tell|told|say|said|discern(?:ed)?)"
)
_NO_ANSWER = re.compile(
    rf"{_NOT_KNOWN}(?:\s*[.,;:!(\u2013\u2014-].*)?"
    r"|(?:as an ai|i (?:cannot|can't))\b.*"
    # A relative clause speaks of somebody who is there: "a man whose face cannot be discerned".
    rf"|(?:(?!\b(?:who|whose|which|that)\b)[^,;.])*?\b(?:(?:is|are|remains?) {_NOT_KNOWN}"
    rf"|{_NOT_TOLD})(?: (?:from|in|here|by|without|because|since|whether|if|what|who)\b.*)?[.!]?",
    re.IGNORECASE,
)
_OFF_SCREEN = re.compile(
    r"\boff[- ]?(?:screen|camera)\b|\b(?:outside|out of|beyond) (?:of )?(?:the )?"
    r"(?:frame|picture|shot|screen|view)\b(?! (?:door|window))",
    re.IGNORECASE,
)
# What can be seen of something that lies off screen: that somebody looks or points there, goes
# there, or that a thing is cut by the edge.
_LEADS_OFF = re.compile(
    r"\b(?:look|gaz|star[ei]|glanc|fac(?:e|es|ed|ing)\b|peer|watch|eyes?\b|glar|squint|turn|point"
    r"|aim|direct|attention|gestur|reach|lean|walk|step|mov|run|exit|leav|disappear|vanish|lead"
    r"|extend|stretch|continu|cut|cropp)\w*|\b(?:to|at|towards?|with)"
    r" (?:someone|somebody|something|(?:a|another) person|people)\b",
    re.IGNORECASE,
)
# What is off screen itself, seen or heard.
_SOURCE = re.compile(
    r"\b(?:speak|talk|say|shout|scream|call|sing|play|sound|voice|nois|music|bark|ring|hear|mak"
    r"|approach|com(?:e|es|ing)\b|stand|wait|hid)\w*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says.

    Attributes:
        cues: types that were answered in form; "unknown" is an answer.
        faults: what is wrong with the answer as a whole, in words for the model.
        refused: what is wrong with the answer to a type; no type is here and in `cues`.
        said: each type's sentence as it stands in the answer, used or not.
        seen: the entry of `visible` that each type's sentence rests on, as it stands there.
        visible: the answer's own list of what can be seen.
    """

    cues: Mapping[CueType, Cue]
    faults: tuple[str, ...] = ()
    refused: Mapping[CueType, str] = field(default_factory=dict)
    said: Mapping[CueType, str] = field(default_factory=dict)
    seen: Mapping[CueType, str] = field(default_factory=dict)
    visible: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """All that is wrong, in words for the model; empty if nothing is."""
        return (*self.faults, *(f'"{kind}" {what}' for kind, what in self.refused.items()))


def read_answer(answer: str, regime: Regime, confidence: float = STATED_CONFIDENCE) -> Reading:
    """Find and check the JSON object in an answer; never raises.

    With focused prompts a sentence counts only if the thing it rests on stands in the answer's
    own list of what is visible, if it names nothing that this list plainly lacks
    (`semmix.cues.grounding`), and if it does not speak of what is heard or seen off screen. All of
    this holds the answer against itself: whether the list is true, only the picture tells.

    Args:
        answer: the model's words; prose and code fences around the object are allowed.
        regime: which question was asked.
        confidence: of each sentence, 0 to 1.
    """
    fields = _json_object(answer)
    if isinstance(fields, str):
        return Reading({}, (fields,))
    visible = _visible(fields.get("visible")) if regime == "focused" else None
    faults = () if visible or visible is None else (_NO_LIST,)
    cues: dict[CueType, Cue] = {}
    refused: dict[CueType, str] = {}
    said: dict[CueType, str] = {}
    seen: dict[CueType, str] = {}
    for kind in (kind for kind in CUE_TYPES if kind in fields):
        value = fields[kind]
        if isinstance(value, dict):
            seen[kind] = _shortened(value.get("seen"))
            value = value.get("text")
        said[kind] = _shortened(value)
        found = _cue(kind, value, seen.get(kind, ""), visible, confidence)
        if isinstance(found, Cue):
            cues[kind] = found
        else:
            refused[kind] = found
    refused |= {kind: "is missing" for kind in CUE_TYPES if kind not in fields}
    return Reading(cues, faults, refused, said, seen, tuple(visible or ()))


def _json_object(answer: str) -> dict[str, Any] | str:
    """The answer's JSON object, or what is wrong with it.

    Prose may hold braces too: the first object with a field that was asked for is meant.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return f"it is longer than {MAX_ANSWER_CHARS} characters"
    text = answer.rpartition(_THOUGHT_END)[2]
    others: list[dict[str, Any]] = []
    wrong = ""
    end = 0
    for _ in range(_MAX_TRIES):
        start = text.find("{", end)
        if start < 0:
            break
        end = start + 1
        try:
            # It starts with a brace, so it is an object.
            fields, end = json.JSONDecoder().raw_decode(text, start)
            if any(name in fields for name in _ASKED_FOR):
                return dict(fields)
            others.append(fields)
        except json.JSONDecodeError as exc:
            wrong = wrong or (
                f"its JSON breaks off or is not valid at character {exc.pos - start} ({exc.msg})"
            )
        except (RecursionError, ValueError):
            wrong = wrong or "its JSON is not of the form that was asked for"
    return wrong or next(iter(others), "it holds no JSON object")


def _visible(value: object) -> list[str]:
    """The things in the list of what is visible."""
    if not isinstance(value, list) or len(value) > MAX_VISIBLE:
        return []
    items = [v for v in value if isinstance(v, str) and len(v) <= MAX_VISIBLE_CHARS]
    return [item for item in items if _words(item)]


def _cue(
    kind: CueType, value: object, seen: str, visible: Sequence[str] | None, confidence: float
) -> Cue | str:
    """One cue, or what is wrong with it; `visible` is None where no evidence is asked for."""
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
    if _NO_ANSWER.fullmatch(sentence):
        return UNKNOWN
    if visible is not None:
        if _tells_of_off_screen(sentence):
            return "speaks of what is off screen"
        words = _words(seen)
        if not words or not any(words <= _words(item) for item in visible):
            return 'needs a "seen" that stands in "visible"'
        problem = ungrounded(kind, sentence, visible)
        if problem is not None:
            return problem
    return Cue(sentence, confidence)


def _tells_of_off_screen(sentence: str) -> bool:
    """Whether a thing off screen is told of, rather than somebody who looks there."""
    for match in _OFF_SCREEN.finditer(sentence):
        before = sentence[: match.start()]
        leads = max((m.start() for m in _LEADS_OFF.finditer(before)), default=-1)
        source = max((m.start() for m in _SOURCE.finditer(before)), default=-1)
        if leads <= source:
            return True
    return False


def _shortened(value: object) -> str:
    """Text of an answer as it may be shown; empty for what is no text."""
    return value[: MAX_SENTENCE_CHARS + 1] if isinstance(value, str) else ""


def _words(phrase: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", phrase.casefold())) - _ARTICLES
