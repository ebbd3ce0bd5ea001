"""The extractor that asks a vision language model: one question a keyframe, one repair.

Whole answers are kept by the picture they are about, so that a run that was interrupted, or that
looks at other frames, asks only about pictures that are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from semmix.cues.answers import REPAIRED_CONFIDENCE, Reading, read_answer
from semmix.cues.chat import Talk, VisionChat
from semmix.cues.prompts import Regime, prompts_identifier, question, repair
from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueSegment, CueSheet, CueType
from semmix_rt.cues.cache import CueCache, cue_key
from semmix_rt.cues.keyframes import Keyframe

Cues = Mapping[CueType, Cue]

_QUOTED_CHARS = 2000
"""Of a broken answer, shown again to the model: enough to mend it, and no room to run away."""
_PROBLEM_CHARS = 120


class AskingExtractor:
    """Describe keyframes by asking a model.

    Attributes:
        identifier: back end, model and prompts.
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
        self._chat = chat
        self._regime: Regime = regime
        self._question = question(regime)
        self._cache = cache
        self._pictures = self._doubtful = self._lost_cues = 0
        self._first_problem = ""

    def read(self, keyframes: Iterator[Keyframe]) -> Iterator[tuple[Keyframe, Cues]]:
        """Each keyframe with its cues, as many at once as the model takes.

        Raises:
            EngineError: the model cannot run or be reached.
            ModelFormatError: its files cannot be loaded.
        """
        self._pictures = self._doubtful = self._lost_cues = 0
        self._first_problem = ""
        while group := list(islice(keyframes, self._chat.batch)):
            yield from zip(group, self._describe([k.image for k in group]), strict=True)

    def doubts(self) -> str:
        """How many answers could not be used, and what was wrong with the first."""
        if not self._doubtful:
            return ""
        return (
            f"the model's answers about {self._doubtful} of {self._pictures} pictures could not be "
            f"used in full, even when asked again, so {self._lost_cues} cues are unknown "
            f"(first: {self._first_problem})"
        )

    def _describe(self, images: Sequence[NDArray[np.uint8]]) -> list[Cues]:
        """Cues of some pictures: kept ones, else asked for."""
        keys = [_picture_key(image, self.identifier) for image in images]
        cues = [self._kept(key) for key in keys]
        new = [n for n, known in enumerate(cues) if known is None]
        for n, reading in zip(new, self._ask([images[n] for n in new]), strict=True):
            cues[n] = reading.cues
            lost = [t for t in CUE_TYPES if t not in reading.cues]
            if lost:
                self._doubtful += 1
                self._lost_cues += len(lost)
                # The problem may quote the model, and goes to terminals and into the sheet.
                problem = ascii(reading.problems[0])[1:-1][:_PROBLEM_CHARS]
                self._first_problem = self._first_problem or problem
            else:
                self._keep(keys[n], reading.cues)
        self._pictures += len(images)
        return [known or {} for known in cues]

    def _ask(self, images: Sequence[NDArray[np.uint8]]) -> list[Reading]:
        """Ask about each picture, and once more where the answer is not in form."""
        talks = [Talk(image, (self._question,)) for image in images]
        answers = self._chat.answer(talks)
        readings = [read_answer(answer, self._regime) for answer in answers]
        broken = [n for n, reading in enumerate(readings) if reading.problems]
        again = [
            Talk(
                images[n],
                (self._question, answers[n][:_QUOTED_CHARS], repair(readings[n].problems)),
            )
            for n in broken
        ]
        for n, answer in zip(broken, self._chat.answer(again) if again else [], strict=True):
            second = read_answer(answer, self._regime, REPAIRED_CONFIDENCE)
            # What only the first answer has in form still holds.
            readings[n] = Reading({**readings[n].cues, **second.cues}, second.problems)
        return readings

    def _kept(self, key: str) -> Cues | None:
        sheet = None if self._cache is None else self._cache.load_cues(key)
        if sheet is None or len(sheet.segments) != 1 or sheet.extractor != self.identifier:
            return None
        return sheet.segments[0].cues

    def _keep(self, key: str, cues: Cues) -> None:
        if self._cache is not None:
            whole = {t: cues.get(t, UNKNOWN) for t in CUE_TYPES}
            # A picture has no time: the sheet's one segment stands for it.
            segment = CueSegment(0.0, 1.0, 0.0, whole)
            self._cache.store_cues(key, CueSheet((segment,), self.identifier))


def _picture_key(image: NDArray[np.uint8], identifier: str) -> str:
    digest = blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return cue_key(digest.hexdigest(), identifier, "one picture")
