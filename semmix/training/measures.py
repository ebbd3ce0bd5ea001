"""What is measured on a remixed clip.

Distances to the target and errors of the stems' levels are better the lower they are. Readings
are what meters show: they are neither good nor bad and stand beside the target's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.metrics import (
    PUBLISHED_SCALE,
    at_44100,
    dib,
    env,
    kld,
    mag,
    programme_levels,
    si_sdr_db,
    stem_gains_db,
    wasserstein,
)
from semmix.metrics.dib import PictureSoundModel
from semmix.metrics.taggers import Tagger
from semmix.training.clips import Clip
from semmix.training.policy import STEMS
from semmix.training.scenes import clip_loudness_lufs

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

DISTANCES: tuple[str, ...] = ("mag", "env", "wdis")
LEVELS: tuple[str, ...] = (*(f"{stem}_db" for stem in STEMS), "level_db", "balance_db")
READINGS: tuple[str, ...] = ("speech_si_sdr_db", "integrated_lufs", "range_lu", "true_peak_dbtp")

MEASURE_NOTES: Mapping[str, str] = {
    "mag": "mean L1 of STFT magnitudes against the target, x100, at 44.1 kHz",
    "env": "RMS error of Hilbert envelopes against the target, x100, at 44.1 kHz",
    "wdis": "Wasserstein distance of sample values to the target's, x100, at 44.1 kHz",
    "kld": "KL divergence of a tagger's classes from the target's, x100",
    "dib": "change of the agreement of sound and picture against the target's, x100",
    "speech_db": "distance of the speech from its level in the target, LU",
    "music_db": "distance of the music from its level in the target, LU",
    "effects_db": "distance of the effects from their level in the target, LU",
    "level_db": "mean of the stems' distances, LU",
    "balance_db": "the same after the mean error of all stems was taken out, LU",
    "speech_si_sdr_db": "SI-SDR of the mix against the target's speech where speech leads, dB: "
    "how clearly words stand out; the target's own value is the aim, not the maximum",
    "integrated_lufs": "integrated loudness (ITU-R BS.1770-4), LUFS",
    "range_lu": "loudness range (EBU Tech 3342), LU",
    "true_peak_dbtp": "true peak, four times oversampled (ITU-R BS.1770-4), dB re full scale",
}

FAINT_DB = -40.0
"""Stems this far below the loudest of their shot are left out: nobody hears their level, and
what the mask leaves of the others would be measured instead."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Measures outputs of one rate.

    Attributes:
        rate_hz: rate of clips and outputs.
        tagger: adds KLD.
        picture_sound: adds dIB, which is NaN for clips without pictures.
    """

    rate_hz: int
    tagger: Tagger | None = None
    picture_sound: PictureSoundModel | None = None

    @property
    def distances(self) -> tuple[str, ...]:
        """Names of the distances to the target."""
        kld_name = ("kld",) if self.tagger is not None else ()
        dib_name = ("dib",) if self.picture_sound is not None else ()
        return (*DISTANCES, *kld_name, *dib_name)

    def measure(self, outputs: Mapping[str, Float32], clip: Clip) -> dict[str, dict[str, float]]:
        """Every measure of every output `[N]` of a clip, under the outputs' names."""
        target_44100 = at_44100(clip.target, self.rate_hz)
        found = {
            name: waveform_distances(at_44100(output, self.rate_hz), target_44100)
            for name, output in outputs.items()
        }
        if self.tagger is not None:
            wanted = self.tagger.distribution(clip.target, self.rate_hz)
            for name, output in outputs.items():
                heard = self.tagger.distribution(output, self.rate_hz)
                found[name]["kld"] = PUBLISHED_SCALE * kld(wanted, heard)
        if self.picture_sound is not None:
            self._add_dib(self.picture_sound, found, outputs, clip)
        return {
            name: distances
            | level_measures(outputs[name], clip, self.rate_hz)
            | readings(outputs[name], clip, self.rate_hz)
            for name, distances in found.items()
        }

    def _add_dib(
        self,
        model: PictureSoundModel,
        found: Mapping[str, dict[str, float]],
        outputs: Mapping[str, Float32],
        clip: Clip,
    ) -> None:
        if not clip.frames:
            for distances in found.values():
                distances["dib"] = math.nan
            return
        pictures = model.embed_pictures(clip.frames)
        wanted = model.embed_sound(clip.target.astype(np.float64), self.rate_hz)
        for name, distances in found.items():
            heard = model.embed_sound(outputs[name].astype(np.float64), self.rate_hz)
            distances["dib"] = PUBLISHED_SCALE * dib(pictures, wanted, heard)


def waveform_distances(found_44100: Float64, target_44100: Float64) -> dict[str, float]:
    """Every one of `DISTANCES` of two clips at 44.1 kHz."""
    return {
        "mag": PUBLISHED_SCALE * mag(target_44100, found_44100),
        "env": PUBLISHED_SCALE * env(target_44100, found_44100),
        "wdis": PUBLISHED_SCALE * wasserstein(target_44100, found_44100),
    }


def readings(output: Float32, clip: Clip, rate_hz: int) -> dict[str, float]:
    """Every one of `READINGS` of one mix; NaN where it is not defined."""
    levels = programme_levels(output, rate_hz)
    return {
        "speech_si_sdr_db": speech_si_sdr_db(output, clip, rate_hz),
        "integrated_lufs": levels.integrated_lufs,
        "range_lu": levels.range_lu,
        "true_peak_dbtp": levels.true_peak_dbtp,
    }


def speech_si_sdr_db(output: Float32, clip: Clip, rate_hz: int) -> float:
    """SI-SDR of a mix against the target's speech, over the shots that speech leads.

    Everything that is not the target's speech counts as distortion, what the mask did to the
    speech and what it left of music and effects alike.

    Returns:
        the mean over those shots by length in dB; NaN where speech leads none, or nobody knows
        the stems.
    """
    if clip.target_stems is None:
        return math.nan
    values, weights = [], []
    for shot in clip.shots:
        part = slice(round(shot.start_s * rate_hz), round(shot.end_s * rate_hz))
        loudness = [clip_loudness_lufs(stem, rate_hz) for stem in clip.target_stems[:, part]]
        speech_lufs, *others_lufs = loudness
        if math.isfinite(speech_lufs) and speech_lufs > max(others_lufs):
            values.append(si_sdr_db(clip.target_stems[0, part], output[part]))
            weights.append(shot.end_s - shot.start_s)
    return weighted_mean(values, weights)


def level_measures(output: Float32, clip: Clip, rate_hz: int) -> dict[str, float]:
    """Distances of the stems from their levels, averaged over the shots by length.

    Shot by shot, because a level that is wrong in opposite ways in two shots would look right
    over the whole clip. NaN where nobody knows the stems.
    """
    if clip.target_stems is None:
        return dict.fromkeys(LEVELS, math.nan)
    errors, balances, weights = [], [], []
    for shot in clip.shots:
        part = slice(round(shot.start_s * rate_hz), round(shot.end_s * rate_hz))
        stems = clip.target_stems[:, part]
        error = stem_gains_db(output[part], stems, rate_hz)
        power = np.mean(stems.astype(np.float64) ** 2, axis=1)
        error[power < power.max() * 10.0 ** (FAINT_DB / 10.0)] = np.nan
        sounding = error[~np.isnan(error)]
        errors.append(np.abs(error))
        balances.append(
            float(np.abs(sounding - sounding.mean()).mean()) if sounding.size else math.nan
        )
        weights.append(shot.end_s - shot.start_s)
    per_stem = [weighted_mean(column, weights) for column in np.transpose(errors)]
    return {
        **{f"{stem}_db": value for stem, value in zip(STEMS, per_stem, strict=True)},
        "level_db": weighted_mean(per_stem, [1.0] * len(per_stem)),
        "balance_db": weighted_mean(balances, weights),
    }


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Mean of the values that are not NaN; NaN where all are."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    total = sum(w for _, w in known)
    return float(sum(v * w for v, w in known) / total) if known else math.nan
