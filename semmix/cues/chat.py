"""What a vision language model is asked and answers: the contract between prompts and back ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_NEW_TOKENS = 512
"""Room for an answer in the form asked for, about 250 tokens, and a talkative model's detours."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation about one picture, whose next turn is the model's.

    Attributes:
        image: uint8 RGB `[H, W, 3]`, shown with the first turn.
        turns: what was said, ours and the model's by turns; the first and the last are ours.
    """

    image: NDArray[np.uint8]
    turns: tuple[str, ...]


class VisionChat(Protocol):
    """A model that sees pictures and answers in text, as like as it can to the same talk."""

    @property
    def identifier(self) -> str:
        """Name that changes whenever the same talk would be answered otherwise."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether the same talk is answered the same in every run, so that asking again is vain."""
        ...

    @property
    def batch(self) -> int:
        """How many talks it likes to answer at once."""
        ...

    def answer(self, talks: Sequence[Talk]) -> list[str]:
        """The model's next turn in each talk, at most `MAX_NEW_TOKENS` long.

        Raises:
            EngineError: the model cannot run or be reached.
            ModelFormatError: its files are damaged or of a kind that is not taken.
        """
        ...
