"""The mixing policy: which picture asks for which balance.

This table is the whole editorial opinion of the default model. Levels are loudness in LU of each
stem relative to the stem that leads; a scene's stems are set to them (with a little scatter) to
make the mix that training calls right.
"""

from __future__ import annotations

from dataclasses import dataclass

STEMS: tuple[str, ...] = ("speech", "music", "effects")


@dataclass(frozen=True, slots=True)
class Situation:
    """One kind of scene and the balance it asks for.

    Attributes:
        name: key into the wordings.
        speech_lu, music_lu, effects_lu: loudness relative to the leading stem (0 LU).
        effects_like: words of effect categories that suit the scene, empty for any.
        share: how often the generator draws it, relative to the others.
    """

    name: str
    speech_lu: float
    music_lu: float
    effects_lu: float
    effects_like: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def balance_lu(self) -> tuple[float, float, float]:
        """Levels in the order of `STEMS`."""
        return (self.speech_lu, self.music_lu, self.effects_lu)


SITUATIONS: tuple[Situation, ...] = (
    # A face speaks: every word must be understood, the rest is a bed.
    Situation("dialogue", 0.0, -18.0, -14.0, share=1.6),
    # People among people: words lead, the room is part of the scene.
    Situation("crowd", 0.0, -20.0, -7.0, ("crowd", "city", "voice", "footsteps", "bell"), 0.8),
    # A face feels, nothing needs saying: the score carries it.
    Situation("drama", -7.0, 0.0, -14.0),
    # Fights, weapons, explosions: the effects hit, the score drives.
    Situation("action", -10.0, -7.0, 0.0, ("gun", "explosion", "impact", "sword", "fire"), 1.2),
    # Engines and machines fill the picture.
    Situation("machine", -8.0, -13.0, 0.0, ("engine", "tool", "machine", "metal"), 0.8),
    # Animals, water, weather up close: what one sees is what one hears.
    Situation(
        "nature",
        -14.0,
        -11.0,
        0.0,
        ("bird", "water", "wind", "thunder", "animal", "horse", "cat", "dog"),
        1.2,
    ),
    # Wide views and empty landscapes: the score opens up over a soft ambience.
    Situation("landscape", -12.0, 0.0, -10.0, ("wind", "ambience", "bird", "water")),
    # Somebody plays, dances, celebrates: music is on screen.
    Situation("performance", -13.0, 0.0, -12.0, ("crowd", "applause"), 0.8),
)

SITUATION_BY_NAME: dict[str, Situation] = {s.name: s for s in SITUATIONS}

SCATTER_LU = 1.0
"""Standard deviation of each stem's level around the table: no mix is exact."""
