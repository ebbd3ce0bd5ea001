"""What the parity gate found of a network, and the verdict on it.

One verdict for the gate, which has just listened, and for whoever reads the record that the gate
left in a bundle or beside a compiled engine: a record is judged by its numbers, whatever it says
of itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from semmix.bundle.thresholds import TOKENS_SNR_DB, Thresholds


@dataclass(frozen=True, slots=True)
class SoundParity:
    """One sound, heard by both.

    Attributes:
        sound: its name.
        real: whether it was recorded or spoken, not made.
        cues: `two shots` or `none`.
        mask_max, mask_p999: differences of the masks, as linear gains.
        largest_gain: of PyTorch's mask, at least 1.
        snr_db: energy of PyTorch's output over that of the difference.
        mag, env: metrics of VisAH between both outputs; 0 where they are equal.
        loudness_change_lu: integrated loudness of the output less that of PyTorch's.
    """

    sound: str
    real: bool
    cues: str
    mask_max: float
    mask_p999: float
    largest_gain: float
    snr_db: float
    mag: float
    env: float
    loudness_change_lu: float

    def failures(self, limits: Thresholds) -> list[str]:
        """What of it is outside the gate, as short sentences."""
        found = []
        # Written so that NaN fails.
        if not self.snr_db >= limits.snr_db:
            found.append(f"{self.snr_db:.1f} dB of {limits.snr_db:g} dB")
        if not abs(self.loudness_change_lu) <= limits.loudness_change_lu:
            moved, most = self.loudness_change_lu, limits.loudness_change_lu
            found.append(f"loudness off by {moved:+.2f} of {most:g} LU")
        share = limits.mask_p999
        if share is not None and not self.mask_p999 <= share * self.largest_gain:
            found.append(f"gains off by {self.mask_p999:.2g} of {share * self.largest_gain:.2g}")
        return [f"{self.sound}, cues {self.cues}: {what}" for what in found]


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a gate.

    Attributes:
        limits: what was asked for.
        sounds: what was found, sound by sound.
        tokens_snr_db: agreement of the encoded cues, None for a model without context.
        batch_snr_db: agreement on several inputs at once, from a state that is not a start; None
            where that was not asked of the engine.
        fallback_runs: runs in which the engine gave no numbers and float32 took over, so that
            float32 was compared in its place.
        brief: whether only the sounds for models that take their time were heard.
    """

    limits: Thresholds
    sounds: tuple[SoundParity, ...]
    tokens_snr_db: float | None
    batch_snr_db: float | None
    fallback_runs: int = 0
    brief: bool = False

    @classmethod
    def from_record(
        cls, record: Mapping[str, Any], limits: Thresholds, *, has_context: bool
    ) -> Parity:
        """What a record tells; what it lacks, or what is no number, is NaN and fails.

        Args:
            record: as `to_record` makes it, from anywhere.
            limits: what is asked for now, whatever was then.
            has_context: whether the model takes cues, so that their encoding must have been held.
        """
        sounds = record.get("sounds")
        tokens, batch = record.get("tokens_snr_db"), record.get("batch_snr_db")
        runs = record.get("fallback_runs", 0)
        return cls(
            limits,
            tuple(_sound(sound) for sound in sounds) if isinstance(sounds, list) else (),
            _number(tokens) if has_context else None,
            None if batch is None else _number(batch),
            # Anything but a count of none is taken for one.
            0 if type(runs) is int and runs == 0 else 1,
            record.get("brief") is True,
        )

    @property
    def failures(self) -> tuple[str, ...]:
        """What is outside the gate, empty where it passed."""
        found = [failure for sound in self.sounds for failure in sound.failures(self.limits)]
        for what, value, least in (
            ("encoded cues", self.tokens_snr_db, TOKENS_SNR_DB),
            ("several inputs at once", self.batch_snr_db, self.limits.snr_db),
        ):
            if value is not None and not value >= least:
                found.append(f"{what}: {value:.1f} dB of {least:g} dB")
        if self.fallback_runs:
            # What was heard in its place proves nothing of it, so this is told first.
            found.insert(0, f"fp32 took over in {self.fallback_runs} runs that gave no numbers")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether something was heard and nothing is outside the gate."""
        return bool(self.sounds) and not self.failures

    @property
    def snr_db(self) -> float:
        """The worst of all ratios, -inf where something is no number or nothing was heard."""
        every = [s.snr_db for s in self.sounds]
        every += [v for v in (self.tokens_snr_db, self.batch_snr_db) if v is not None]
        return min(every, default=-math.inf)

    def to_record(self) -> dict[str, Any]:
        """Plain finite JSON values; what is no number is null."""
        worst = max(self.sounds, key=lambda s: abs(s.loudness_change_lu), default=None)
        facts = {
            "passed": self.passed,
            "brief": self.brief,
            "failures": list(self.failures),
            "fallback_runs": self.fallback_runs,
            "snr_db": self.snr_db,
            "tokens_snr_db": self.tokens_snr_db,
            "batch_snr_db": self.batch_snr_db,
            "mask_max_difference": max((s.mask_max for s in self.sounds), default=None),
            "mask_p999_difference": max((s.mask_p999 for s in self.sounds), default=None),
            "mag": max((s.mag for s in self.sounds), default=None),
            "env": max((s.env for s in self.sounds), default=None),
            "loudness_change_lu": None if worst is None else worst.loudness_change_lu,
            "only_made_sounds": not any(s.real for s in self.sounds),
            "thresholds": asdict(self.limits),
            "sounds": [asdict(sound) for sound in self.sounds],
        }
        return {name: _plain(value) for name, value in facts.items()}


def _sound(value: Any) -> SoundParity:
    """A sound of a record."""
    told = value if isinstance(value, dict) else {}
    return SoundParity(
        sound=str(told.get("sound")),
        real=told.get("real") is True,
        cues=str(told.get("cues")),
        mask_max=_number(told.get("mask_max")),
        mask_p999=_number(told.get("mask_p999")),
        largest_gain=_number(told.get("largest_gain")),
        snr_db=_number(told.get("snr_db")),
        mag=_number(told.get("mag")),
        env=_number(told.get("env")),
        loudness_change_lu=_number(told.get("loudness_change_lu")),
    )


def _number(value: Any) -> float:
    """A number of a record, NaN where it is none."""
    try:
        return float(value) if type(value) in (int, float) else math.nan
    except OverflowError:
        return math.nan


def _plain(value: Any) -> Any:
    """A value for JSON, which knows neither NaN nor infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
