"""The extractor that asks a vision language model: one question a keyframe, one repair.

Answers are kept by the picture they are about, so that a run that was interrupted, or that looks
at other frames, asks only about pictures that are new. They are kept as the model gave them, and
read anew: what was refused, and why, can be shown in every run. Answers that cannot be used in
full are kept of deterministic models alone; others are asked again. The key holds model, prompts
and the version of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from semmix.cues.answers import (
    MAX_ANSWER_CHARS,
    REPAIRED_CONFIDENCE,
    STATED_CONFIDENCE,
    Reading,
    read_answer,
)
from semmix.cues.chat import Talk, VisionChat
from semmix.cues.prompts import Regime, prompts_identifier, question, repair
from semmix.cues.types import CUE_TYPES, Cue, CueType
from semmix_rt.cues.cache import CueCache, cue_key
from semmix_rt.cues.described import Described
from semmix_rt.cues.keyframes import Keyframe

_QUOTED_CHARS = 2000
"""Of a broken answer, shown again to the model: enough to mend it, and no room to run away."""
_PROBLEM_CHARS = 120


class AskingExtractor:
    """Describe keyframes by asking a model.

    Attributes:
        identifier: back end, model and prompts.
        deterministic: whether the model is.
    """

    def __init__(
        self,
        kind: str,
        chat: VisionChat,
        regime: Regime = "focused",
        cache: CueCache | None = None,
    ) -> None:
        """Ask `chat`, with the prompts of a regime.

        Args:
            kind: name of the back end, such as `lvlm`.
            chat: the model.
            regime: `focused` or `minimal`.
            cache: where answers are looked up and kept, None for nowhere.
        """
        self.identifier = f"{kind}:{chat.identifier} {prompts_identifier(regime)}"
        self.deterministic = chat.deterministic
        self._chat = chat
        self._regime: Regime = regime
        self._question = question(regime)
        self._cache = cache
        self._pictures = self._doubtful = self._lost_cues = 0
        self._first_problem = ""

    def read(self, keyframes: Iterator[Keyframe]) -> Iterator[Described]:
        """Each keyframe with its cues, as many at once as the model takes.

        Raises:
            EngineError: the model cannot run or be reached.
            ModelFormatError: its files cannot be loaded.
        """
        self._pictures = self._doubtful = self._lost_cues = 0
        self._first_problem = ""
        while group := list(islice(keyframes, self._chat.batch)):
            answers = self._answers([k.image for k in group])
            for keyframe, said in zip(group, answers, strict=True):
                readings = self._read(said)
                # What only the first answer has in form still holds.
                cues = {t: cue for reading in readings for t, cue in reading.cues.items()}
                self._count(cues, readings)
                yield Described(keyframe, cues, readings)

    def doubts(self) -> str:
        """How many answers could not be used, and what was wrong with the first."""
        if not self._doubtful:
            return ""
        return (
            f"the model's answers about {self._doubtful} of {self._pictures} pictures could not be "
            f"used in full, even when asked again, so {self._lost_cues} cues are unknown "
            f"(first: {self._first_problem})"
        )

    def _read(self, answers: Sequence[str]) -> tuple[Reading, ...]:
        """The first answer to a question, and the mended one where there is one."""
        confidences = (STATED_CONFIDENCE, REPAIRED_CONFIDENCE)
        return tuple(
            read_answer(answer, self._regime, confidence)
            for answer, confidence in zip(answers, confidences, strict=False)
        )

    def _count(self, cues: Mapping[CueType, Cue], readings: Sequence[Reading]) -> None:
        """Keep account of a picture, and of what is lost of it."""
        self._pictures += 1
        lost = len(CUE_TYPES) - len(cues)
        if lost:
            self._doubtful += 1
            self._lost_cues += lost
            # The problem may quote the model, and goes to terminals and into the sheet.
            problem = ascii(readings[-1].problems[0])[1:-1][:_PROBLEM_CHARS]
            self._first_problem = self._first_problem or problem

    def _answers(self, images: Sequence[NDArray[np.uint8]]) -> list[list[str]]:
        """What the model says about each picture: kept answers, else asked for."""
        keys = [_picture_key(image, self.identifier) for image in images]
        answers = [None if self._cache is None else self._cache.load_answers(key) for key in keys]
        new = [n for n, kept in enumerate(answers) if kept is None]
        for n, said in zip(new, self._ask([images[n] for n in new]), strict=True):
            answers[n] = said
            self._keep(keys[n], said)
        return [said or [] for said in answers]

    def _ask(self, images: Sequence[NDArray[np.uint8]]) -> list[list[str]]:
        """Ask about each picture, and once more where the answer is not in form."""
        talks = [Talk(image, (self._question,)) for image in images]
        answers = [[answer] for answer in (self._chat.answer(talks) if talks else [])]
        problems = [self._read(said)[0].problems for said in answers]
        broken = [n for n, what in enumerate(problems) if what]
        again = [
            Talk(images[n], (self._question, answers[n][0][:_QUOTED_CHARS], repair(problems[n])))
            for n in broken
        ]
        for n, answer in zip(broken, self._chat.answer(again) if again else [], strict=True):
            answers[n].append(answer)
        return answers

    def _keep(self, key: str, answers: Sequence[str]) -> None:
        """Keep what need not be asked again: whole answers, and what no asking would change."""
        if self._cache is None:
            return
        answered = {t for reading in self._read(answers) for t in reading.cues}
        if self.deterministic or len(answered) == len(CUE_TYPES):
            # What is too long to be read stays so, and need not fill the cache.
            self._cache.store_answers(key, [a[: MAX_ANSWER_CHARS + 1] for a in answers])


def _picture_key(image: NDArray[np.uint8], identifier: str) -> str:
    digest = blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return cue_key(digest.hexdigest(), identifier, "answers")
