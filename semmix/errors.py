"""Every failure a user can meet, with the exit code the command line gives it.

A message says what failed, where, and what to do about it, in one sentence.
"""

from __future__ import annotations

from typing import Any


class SemMixError(Exception):
    """Base of all errors this project raises on purpose."""

    exit_code = 1


class UsageError(SemMixError):
    """The request itself cannot be carried out: a bad option, an existing output."""

    exit_code = 2


class CueSheetError(UsageError):
    """A cue sheet that is not well formed, too large, or out of range."""


class MediaError(SemMixError):
    """A media file cannot be read, decoded, encoded or written."""

    exit_code = 3


class VerificationError(MediaError):
    """The written file, read back, is not what was meant to be written."""


class ModelFormatError(SemMixError):
    """A bundle, checkpoint or weight file is damaged, foreign or of another version."""

    exit_code = 4


class WeightsMismatchError(ModelFormatError):
    """Weights whose names or shapes are not those of the network they are for.

    Attributes:
        differences: all of them, as plain JSON values by the weight's name: `missing` and
            `foreign` give its shape, `reshaped` the shapes `found` and `expected`.
    """

    def __init__(self, message: str, differences: dict[str, dict[str, Any]]) -> None:
        super().__init__(message)
        self.differences = differences


class EngineError(SemMixError):
    """An inference engine cannot run the model."""

    exit_code = 5


class ProviderError(EngineError):
    """The execution provider that was asked for is not the one that would run."""


class EngineMismatchError(EngineError):
    """An engine does not fit the bundle: other shapes, precision or versions."""


class ParityError(EngineError):
    """An artefact does not agree with the PyTorch reference within its gate."""


def first_line(exc: BaseException) -> str:
    """What a library says went wrong, in a line for a sentence; its kind where it says nothing."""
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
