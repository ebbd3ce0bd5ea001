"""Composes the six focused sentences from what was seen.

Each sentence answers one narrow question and says only what is on screen, the way a vision
language model answers the focused prompts (SemMix, section 3.1). What is not known gives no
sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from semmix.cues.types import CueType

SHOT_SIZES = ("close-up", "medium shot", "wide shot")
SUBJECT_KINDS = ("person", "people", "animal", "vehicle", "object", "none")
EMOTIONS = ("angry", "disgusted", "afraid", "happy", "sad", "surprised", "neutral")
LIGHTS = ("dark", "dim", "bright")
COLOURS = ("warm", "cold", "muted", "vivid")
MOTIONS = ("still", "calm", "lively", "fast")


@dataclass(frozen=True, slots=True)
class Observation:
    """What one frame shows; None wherever it is not known.

    Attributes:
        shot_size: one of `SHOT_SIZES`.
        subject_kind: one of `SUBJECT_KINDS`; `none` means that surely nobody is there.
        subject_label: singular noun for the subject, without an article, such as `lion`.
        emotion: one of `EMOTIONS`, of the main face.
        light: one of `LIGHTS`.
        colour: one of `COLOURS`.
        motion: one of `MOTIONS`.
        scene: noun phrase with its article, such as `a mountain valley`.
        sounds: noun phrases for what may be heard, the likeliest first.
    """

    shot_size: str | None = None
    subject_kind: str | None = None
    subject_label: str | None = None
    emotion: str | None = None
    light: str | None = None
    colour: str | None = None
    motion: str | None = None
    scene: str | None = None
    sounds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse words outside the vocabularies.

        Raises:
            ValueError: a field holds a word that the sentences do not know.
        """
        vocabularies = {
            "shot_size": SHOT_SIZES,
            "subject_kind": SUBJECT_KINDS,
            "emotion": EMOTIONS,
            "light": LIGHTS,
            "colour": COLOURS,
            "motion": MOTIONS,
        }
        for name, words in vocabularies.items():
            word = getattr(self, name)
            if word is not None and word not in words:
                raise ValueError(f"{name} is {word!r}: use one of {', '.join(words)}, or None")


def compose(observation: Observation) -> dict[CueType, str | None]:
    """Six sentences about one frame.

    Args:
        observation: what was seen.

    Returns:
        One entry for every cue type; None where nothing is known.
    """
    return {
        CueType.APPEARANCE: _appearance(observation),
        CueType.EMOTION: _emotion(observation),
        CueType.CAMERA_FOCUS: _camera_focus(observation),
        CueType.TONE: _tone(observation),
        CueType.SCENE: None if observation.scene is None else f"The scene is {observation.scene}.",
        CueType.SOUND: _sound(observation),
    }


def with_article(noun: str) -> str:
    """A noun with its indefinite article: `an owl`, `a unicycle`, `an hourglass`."""
    lower = noun.lower()
    vowel = lower[:1] in "aeiou" and not lower.startswith(("uni", "use", "uk", "euro", "one"))
    silent = lower.startswith(("hour", "honest", "heir"))
    return f"{'an' if vowel or silent else 'a'} {noun}"


def join_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _subject(observation: Observation) -> str | None:
    """Noun phrase of the subject, None when unknown or nobody."""
    kind = observation.subject_kind
    if kind is None or kind == "none":
        return None
    if kind == "people":
        return "several people"
    return with_article(observation.subject_label or kind)


def _appearance(observation: Observation) -> str | None:
    if observation.subject_kind == "none":
        return "Nobody is in the picture."
    subject = _subject(observation)
    if subject is None:
        return None
    subject = subject[0].upper() + subject[1:]
    plural = observation.subject_kind == "people"
    if observation.shot_size == "close-up":
        return f"{subject} {'fill' if plural else 'fills'} the picture."
    verb = "are" if plural else "is"
    if observation.shot_size == "wide shot":
        return f"{subject} {verb} seen from a distance."
    return f"{subject} {verb} in the picture."


def _emotion(observation: Observation) -> str | None:
    if observation.emotion is None:
        return None
    if observation.subject_kind == "people":
        return f"The people look {observation.emotion}."
    who = "animal" if observation.subject_kind == "animal" else "person"
    return f"The {who} looks {observation.emotion}."


def _camera_focus(observation: Observation) -> str | None:
    shot, kind = observation.shot_size, observation.subject_kind
    if shot is None:
        return None
    name = shot.capitalize()
    if kind == "none":
        place = observation.scene or "a landscape"
        return f"{name} of {place} with nobody in it."
    if shot == "close-up":
        if kind == "person":
            return "Close-up on one face."
        if kind == "people":
            return "Close-up on several faces."
        subject = _subject(observation)
        return "Close-up." if subject is None else f"Close-up on {subject}."
    if kind == "person":
        return f"{name} of one person."
    subject = _subject(observation) or observation.scene
    return f"{name}." if subject is None else f"{name} of {subject}."


def _tone(observation: Observation) -> str | None:
    traits = (observation.light, observation.colour, observation.motion)
    words = [word for word in traits if word is not None]
    if not words:
        return None
    noun = join_words(words)
    return f"{with_article(noun).capitalize()} picture."


def _sound(observation: Observation) -> str | None:
    if not observation.sounds:
        return None
    return f"Likely sounds: {join_words(observation.sounds)}."
