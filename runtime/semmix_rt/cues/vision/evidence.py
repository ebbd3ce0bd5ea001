"""From class probabilities to subject, scene and sounds, each only where it is sure enough.

Probabilities are summed over the rows of the table: no breed of dog may be likely while "a dog"
is certain, and where even the family is open, the kind may be known.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix_rt.cues.vision.things import FAMILIES, LANDSCAPE_SCENES, things

LABEL_FLOOR = 0.5
"""A row is named from this probability on."""
ANIMAL_FLOOR = 0.7
"""Some animal is there: two of five classes are animals, so that clutter adds up to 0.5."""
SCENE_FLOOR = 0.35
SOUND_FLOOR = 0.4
LANDSCAPE_FLOOR = 0.35
LANDSCAPE_SHARE = 0.55
"""Share of all landscapes that one must have to be named."""
OPEN_COUNTRY = "open country"
EMPTY_ANIMAL = 0.3
"""A landscape is called empty only where animals are less likely than this."""
MAX_SOUNDS = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the classes say; None or empty where they say nothing.

    Attributes:
        kind: `animal`, `vehicle` or `object`, or None.
        label: noun for the subject, or None.
        subject_p: probability of kind and label.
        scene: noun phrase, or None.
        scene_p: its probability.
        sounds: noun phrases, the likeliest first.
        sounds_p: probability of the first.
        landscape_p: probability that the picture is a view of nature without a subject.
    """

    kind: str | None = None
    label: str | None = None
    subject_p: float = 0.0
    scene: str | None = None
    scene_p: float = 0.0
    sounds: tuple[str, ...] = ()
    sounds_p: float = 0.0
    landscape_p: float = 0.0


def weigh(probabilities: NDArray[np.float32]) -> Evidence:
    """Read subject, scene and sounds off the probabilities.

    Args:
        probabilities: `[1000]` of the classifier.
    """
    labels: dict[tuple[str, str], float] = defaultdict(float)
    families: dict[str, float] = defaultdict(float)
    scenes: dict[str, float] = defaultdict(float)
    sounds: dict[str, float] = defaultdict(float)
    animal = 0.0
    for thing in things():
        p = float(probabilities[list(thing.ids)].sum()) * thing.trust
        if thing.label:
            labels[thing.kind, thing.label] += p
        if thing.family:
            families[thing.family] += p
        if thing.scene:
            scenes[thing.scene] += p
        for rank, sound in enumerate(thing.sounds):
            # The second sound of a thing comes less surely than the first.
            sounds[sound] += p * (1.0 if rank == 0 else 0.8)
        if thing.kind == "animal":
            animal += p
    kind, label, subject_p = _subject(labels, families, animal)
    landscape_p = sum(scenes[s] for s in LANDSCAPE_SCENES)
    scene, scene_p = _scene(scenes, landscape_p)
    if kind is None and animal > EMPTY_ANIMAL:
        landscape_p = 0.0
    heard = _sounds(sounds, families, kind, label)
    return Evidence(
        kind=kind,
        label=label,
        subject_p=subject_p,
        scene=scene,
        scene_p=scene_p,
        sounds=tuple(heard),
        sounds_p=min(1.0, max(heard.values(), default=0.0)),
        landscape_p=0.0 if kind is not None else min(1.0, landscape_p),
    )


def _subject(
    labels: dict[tuple[str, str], float], families: dict[str, float], animal: float
) -> tuple[str | None, str | None, float]:
    """The most specific noun that is sure: a row, then a family, then "an animal"."""
    (kind, label), p = max(labels.items(), key=lambda item: item[1])
    floor = max(LABEL_FLOOR, FAMILIES[label].floor) if label in FAMILIES else LABEL_FLOOR
    if p >= floor:
        return kind, label, min(1.0, p)
    sure = {name: p for name, p in families.items() if p >= FAMILIES[name].floor}
    if sure:
        name = max(sure, key=lambda n: sure[n])
        return FAMILIES[name].kind, FAMILIES[name].label, min(1.0, sure[name])
    if animal >= ANIMAL_FLOOR:
        return "animal", None, min(1.0, animal)
    return None, None, 0.0


def _scene(scenes: dict[str, float], landscape_p: float) -> tuple[str | None, float]:
    """The likeliest place; landscapes that cannot be told apart are open country."""
    scene, p = max(scenes.items(), key=lambda item: item[1])
    if landscape_p >= LANDSCAPE_FLOOR and landscape_p > p / LANDSCAPE_SHARE:
        return OPEN_COUNTRY, min(1.0, landscape_p)
    if p >= SCENE_FLOOR:
        return scene, min(1.0, p)
    if landscape_p >= LANDSCAPE_FLOOR:
        return OPEN_COUNTRY, min(1.0, landscape_p)
    return None, 0.0


def _sounds(
    sounds: dict[str, float], families: dict[str, float], kind: str | None, label: str | None
) -> dict[str, float]:
    """The likeliest sounds; none of an animal's own voice unless the animal is known."""
    if kind == "animal" and label is None:
        return {}
    doubtful = families["dog"] < FAMILIES["dog"].floor
    sure = {
        sound: p
        for sound, p in sounds.items()
        if p >= SOUND_FLOOR and not (sound == "barking" and doubtful)
    }
    best = sorted(sure, key=lambda sound: -sure[sound])[:MAX_SOUNDS]
    return {sound: sure[sound] for sound in best}
