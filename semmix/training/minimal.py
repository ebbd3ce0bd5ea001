"""Cues of a word or two for each situation, written by hand.

Minimal prompts (SemMix, section 3.1; `semmix.cues.prompts`) bring such answers from vision language
models; none was asked for these. Training never uses them, so that an evaluation with them shows
what a network makes of cues that say hardly anything and say it in words it has not met.
"""

from __future__ import annotations

from dataclasses import replace

from semmix.cues.types import CUE_TYPES
from semmix.training.scenes import Shot

# In the order of `CUE_TYPES`: appearance, emotion, camera focus, tone, scene, sound.
ANSWERS: dict[str, tuple[str, str, str, str, str, str]] = {
    "dialogue": ("A man.", "Neutral.", "Face.", "Calm.", "Room.", "Voice."),
    "crowd": ("People.", "Cheerful.", "Group.", "Lively.", "Street.", "Chatter."),
    "drama": ("A woman.", "Sad.", "Eyes.", "Dark.", "Room.", "Silence."),
    "action": ("Fighters.", "Angry.", "Weapon.", "Hectic.", "Battle.", "Gunfire."),
    "machine": ("A car.", "None.", "Vehicle.", "Grey.", "Road.", "Engine."),
    "nature": ("A bird.", "None.", "Animal.", "Bright.", "Forest.", "Birdsong."),
    "landscape": ("Mountains.", "None.", "Horizon.", "Serene.", "Outdoors.", "Wind."),
    "performance": ("A musician.", "Happy.", "Instrument.", "Colourful.", "Stage.", "Music."),
}


def minimal_shots(shots: tuple[Shot, ...]) -> tuple[Shot, ...]:
    """The same shots with a word or two for every cue.

    Raises:
        KeyError: a situation that the policy does not have.
    """
    return tuple(
        replace(shot, cues=dict(zip(CUE_TYPES, ANSWERS[shot.situation], strict=True)))
        for shot in shots
    )
