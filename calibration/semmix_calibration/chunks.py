"""What the mask network is fed while it hears clips: chunks, context, and states that hold a past.

Ranges of a network that remembers are those of its memory, too. So clips are streamed through the
float32 network as `remix` would, and every run's inputs are kept, states among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from semmix_rt.whole_signal import hear

from semmix.bundle import Bundle
from semmix.cues.trial import trial_context
from semmix.cues.types import CueType
from semmix_calibration.exact import ExactEngines
from semmix_calibration.material import Clip
from semmix_calibration.ranges import Feeds

Float32 = NDArray[np.float32]

_SHOTS: tuple[dict[CueType, str], ...] = (
    {
        CueType.APPEARANCE: "A person in close-up, facing the camera.",
        CueType.EMOTION: "The person looks calm and friendly.",
        CueType.CAMERA_FOCUS: "The camera holds on the face, the background is blurred.",
        CueType.TONE: "The picture is bright and warm.",
        CueType.SCENE: "A kitchen, indoors.",
        CueType.SOUND: "A person is talking.",
    },
    {
        CueType.CAMERA_FOCUS: "A wide shot, nobody is in focus.",
        CueType.TONE: "The picture is dark and cold.",
        CueType.SCENE: "A street at night in the rain.",
        CueType.SOUND: "Cars pass by, rain falls.",
    },
    {},
)
"""Cues of three shots: all that can be known, some of it, nothing."""


def embeddings_for(bundle: Bundle) -> Float32 | None:
    """Context of three shots, see `trial_context`."""
    return trial_context(bundle.manifest.spec, _SHOTS)


def record(
    engines: ExactEngines,
    content: bytes,
    clips: Iterable[Clip],
    embeddings: Float32 | None,
    tell: Callable[[], None] = lambda: None,
) -> list[Feeds]:
    """Stream clips through a float32 graph and keep what each run was fed.

    Args:
        engines: of the bundle.
        content: ONNX of its mask network in float32.
        clips: sounds; each starts from a fresh state.
        embeddings: from `embeddings_for`.
        tell: is called after each clip.
    """
    found: list[Feeds] = []
    engine = engines.open(content, listener=found.append)
    for clip in clips:
        hear(engine, clip.sound, embeddings)
        tell()
    return found


def outputs(
    engines: ExactEngines, content: bytes, clips: Iterable[Clip], embeddings: Float32 | None
) -> list[Float32]:
    """What a graph makes of clips `[C, N]`, each in a stream of its own with the graph's states."""
    engine = engines.open(content)
    return [hear(engine, clip.sound, embeddings).output for clip in clips]
