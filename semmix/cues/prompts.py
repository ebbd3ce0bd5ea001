"""The six prompts for vision language models, focused and minimal (SemMix, section 3.1).

Focused prompts are held to what is on screen and make the model name what each answer rests on;
their minimal twins ask the same in a few words and leave the model free. The paper's own texts
are not published: these are this project's. All six go into one question, so that a picture is
encoded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal, get_args

from semmix.cues.types import CUE_TYPES, CueType

PROMPTS_VERSION = 2
"""Raise with every change of a prompt or of what `semmix.cues.answers` accepts."""

Regime = Literal["focused", "minimal"]
REGIMES: tuple[Regime, ...] = get_args(Regime)

FOCUSED: Mapping[CueType, str] = {
    CueType.APPEARANCE: (
        "Who or what is the main subject, how many, and what do they look like? "
        "If nobody is there, say that nobody is in the picture; that rests on the background."
    ),
    CueType.EMOTION: (
        "Which emotion do the faces or postures show? Without a face or a posture that shows one, "
        'answer "unknown".'
    ),
    CueType.CAMERA_FOCUS: (
        "What does the camera single out, and is it a close-up, a medium shot or a wide shot?"
    ),
    CueType.TONE: (
        "What is the tone of the picture: its light, its colours and the mood they give it?"
    ),
    CueType.SCENE: "Where does it take place, as far as the background shows?",
    CueType.SOUND: (
        "Which sounds do the visible things make at this moment? Name no music and no voice "
        "unless an instrument or a speaking person is visible."
    ),
}

MINIMAL: Mapping[CueType, str] = {
    CueType.APPEARANCE: "Who or what is there?",
    CueType.EMOTION: "Which emotion?",
    CueType.CAMERA_FOCUS: "What is the camera's focus?",
    CueType.TONE: "What is the tone?",
    CueType.SCENE: "What is the scene?",
    CueType.SOUND: "Which sounds?",
}

_FOCUSED_QUESTION = """\
This is one frame of a film. Say only what can be seen in it. Do not guess what is outside the \
frame, what came before, what the film is called or who plays in it.

First list under "visible" up to 12 things that can be seen, each in a few words. Then answer \
six questions, each with one English sentence of at most 20 words:
{questions}

Each answer has a "text", the sentence, and "seen", the entry of "visible" it rests on, word for \
word. Where the frame does not tell, answer "unknown" instead: a guess does more harm.

Answer with one JSON object of this form and nothing else:
{{"visible": ["...", "..."], {form}}}"""

_MINIMAL_QUESTION = """\
Answer six questions about this picture, each with one English sentence or "unknown":
{questions}

Answer with one JSON object of this form and nothing else:
{{{form}}}"""

_REPAIR = """\
This answer cannot be used: {problems}. Answer all of it again, in the form that was asked for: \
one JSON object and nothing else."""

_MAX_PROBLEMS_QUOTED = 6


def question(regime: Regime) -> str:
    """The text that goes with a picture.

    Args:
        regime: `focused` or `minimal`.
    """
    focused = regime == "focused"
    prompts = FOCUSED if focused else MINIMAL
    value = '{"text": "...", "seen": "..."}' if focused else '"..."'
    template = _FOCUSED_QUESTION if focused else _MINIMAL_QUESTION
    return template.format(
        questions="\n".join(f'- "{t}": {prompts[t]}' for t in CUE_TYPES),
        form=", ".join(f'"{t}": {value}' for t in CUE_TYPES),
    )


def repair(problems: Sequence[str]) -> str:
    """The one request to mend an answer, with what is wrong with it.

    Args:
        problems: from `semmix.cues.answers.read_answer`.
    """
    return _REPAIR.format(problems="; ".join(problems[:_MAX_PROBLEMS_QUOTED]))


def prompts_identifier(regime: Regime) -> str:
    """Regime, version and hash of everything that is asked, such as `focused/1/0123abcd`."""
    asked = question(regime) + _REPAIR
    digest = blake2b(asked.encode(), digest_size=4).hexdigest()
    return f"{regime}/{PROMPTS_VERSION}/{digest}"
