"""What the bundled picture models would report of each situation.

The product's default cues are `semmix.cues.sentences.compose(Observation)`. Training draws such
observations for every situation, so that the network knows the very sentences it will be given;
`semmix.training.wordings` adds the freer language of vision language models and people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from semmix.cues.sentences import Observation, compose
from semmix.cues.types import CueType


@dataclass(frozen=True, slots=True)
class _Look:
    """Values a situation's observations draw from; None entries stand for "not known"."""

    shots: tuple[str | None, ...]
    kinds: tuple[str | None, ...]
    labels: tuple[str | None, ...]
    emotions: tuple[str | None, ...]
    lights: tuple[str | None, ...]
    colours: tuple[str | None, ...]
    motions: tuple[str | None, ...]
    scenes: tuple[str | None, ...]
    sounds: tuple[tuple[str, ...], ...]


_ANY_COLOUR = ("warm", "cold", "muted", "vivid", None)

LOOKS: dict[str, _Look] = {
    "dialogue": _Look(
        ("close-up", "medium shot", "medium shot"),
        ("person",),
        (None,),
        ("neutral", "happy", "neutral", "surprised", None),
        ("bright", "dim", None),
        _ANY_COLOUR,
        ("still", "calm", "calm", None),
        ("an office", "a living room", "a studio", "a kitchen", "a library", None, None),
        (("speech",), ("a voice",), ("speech", "room tone"), ()),
    ),
    "crowd": _Look(
        ("medium shot", "wide shot", "close-up"),
        ("people",),
        (None,),
        ("neutral", "happy", "surprised", None),
        ("bright", "dim", None),
        _ANY_COLOUR,
        ("calm", "lively", None),
        ("a street", "a restaurant", "a market", "a shop", "a town square", None, None),
        (("voices", "footsteps"), ("voices",), ("a crowd",), ("speech", "clatter"), ()),
    ),
    "drama": _Look(
        ("close-up", "close-up", "medium shot"),
        ("person",),
        (None,),
        ("sad", "afraid", "sad"),
        ("dark", "dim", "dark"),
        ("cold", "muted", None),
        ("still", "calm"),
        ("a dark room", "a corridor", "a bedroom", "a church", None, None),
        ((), (), ("breathing",), ("silence",)),
    ),
    "action": _Look(
        ("close-up", "medium shot", "wide shot"),
        ("person", "people", "object", "object"),
        ("gun", "sword", "cannon", "rifle", "revolver", "shield", "missile", "warship"),
        ("angry", "afraid", "angry", None),
        ("dark", "dim", "bright", None),
        ("warm", "vivid", "cold", None),
        ("fast", "fast", "lively"),
        ("a battlefield", "a castle", "a burning building", "an arena", None),
        (
            ("gunshots",),
            ("gunshots", "explosions"),
            ("clashing metal",),
            ("impacts",),
            ("fire",),
            (),
        ),
    ),
    "machine": _Look(
        ("close-up", "medium shot", "wide shot"),
        ("vehicle", "vehicle", "object"),
        (
            "car", "truck", "train", "motor scooter", "minibus", "tank", "aeroplane", "tractor",
            "speedboat", "steam locomotive", "chainsaw", "lawn mower", "crane", "racing car",
        ),
        (None,),
        ("bright", "dim", None),
        ("cold", "muted", "vivid", None),
        ("lively", "fast", "calm"),
        ("a road", "a workshop", "a factory", "a railway", "a harbour", "an airfield", None),
        (("an engine",), ("an engine", "tyres"), ("machinery",), ("a motor",), ("tools",), ()),
    ),
    "nature": _Look(
        ("close-up", "medium shot", "medium shot", "wide shot", None),
        ("animal", "animal", "animal", None),
        (
            "lion", "bird", "dog", "cat", "rabbit", "hen", "duck", "horse", "butterfly", "squirrel",
            "fox", "frog", "bear", "insect", "fish", "owl", "cow", "sheep", "monkey", "snake",
        ),
        (None, None, "neutral"),
        ("bright", "bright", "dim", None),
        ("warm", "vivid", "vivid", None),
        ("still", "calm", "lively"),
        (
            "a forest", "a meadow", "a garden", "a farmyard", "a pond", "a brook", "a jungle",
            "a river bank", "a savanna", None,
        ),
        (
            ("birds",), ("running water",), ("running water", "birds"), ("insects", "wind"),
            ("animal calls",), ("barking",), ("rain",), ("wind in the leaves", "birds"), (),
        ),
    ),
    "landscape": _Look(
        ("wide shot",),
        ("none", "none", None),
        (None,),
        (None,),
        ("bright", "dim", None),
        ("cold", "muted", "warm", "vivid", None),
        ("still", "still", "calm"),
        (
            "a mountain valley", "a mountain range", "a desert", "a coast", "a lake", "a volcano",
            "a cliff", "a snowy plain", "a wide meadow", "a city skyline", "a seashore",
        ),
        (("wind",), (), (), ("wind", "distant birds"), ("waves",)),
    ),
    "performance": _Look(
        ("close-up", "medium shot", "wide shot"),
        ("person", "people", "object", "object"),
        (
            "guitar", "piano", "violin", "drum", "trumpet", "saxophone", "cello", "flute",
            "accordion", "harp", "microphone",
        ),
        ("happy", "happy", "neutral", "surprised", None),
        ("dim", "bright", "dark", None),
        ("vivid", "warm", "vivid"),
        ("lively", "lively", "calm", "fast"),
        ("a stage", "a concert hall", "a dance floor", "a theatre", "a ballroom", None),
        (("music",), ("music", "applause"), ("a band",), ("an instrument",), ()),
    ),
}  # fmt: skip

_T = TypeVar("_T")
_NAMED_KINDS = frozenset({"animal", "vehicle", "object"})


def observed_sentences(situation: str, rng: np.random.Generator) -> dict[CueType, str | None]:
    """Draw an observation of a situation and compose its sentences.

    Args:
        situation: name of a situation of the policy.
        rng: source of chance.

    Returns:
        a sentence or None for every cue type.
    """
    look = LOOKS[situation]

    def pick(values: tuple[_T, ...]) -> _T:
        return values[int(rng.integers(len(values)))]

    kind = pick(look.kinds)
    label = pick(look.labels) if kind in _NAMED_KINDS else None
    emotion = pick(look.emotions) if kind in ("person", "people", "animal") else None
    return compose(
        Observation(
            shot_size=pick(look.shots),
            subject_kind=kind,
            subject_label=label,
            emotion=emotion,
            light=pick(look.lights),
            colour=pick(look.colours),
            motion=pick(look.motions),
            scene=pick(look.scenes),
            sounds=pick(look.sounds),
        )
    )
