"""Scenes: stems, cues and the balance the policy asks for, drawn from a seed.

One example is a clip with one or two shots. Each shot has a situation; the situation gives the
cue sentences and the level of every stem. The target is the balanced sum, the input its muddy
version (`semmix.training.degrade`). Example `i` of a seed is always the same, whatever was drawn
before it, so that training resumes exactly and evaluations can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CUE_TYPES, CueType
from semmix.dsp.loudness import integrated_loudness_lufs
from semmix.dsp.streaming import windowed_spectra
from semmix.training.degrade import PEAK_LIMIT, draw_gains_db, muddy
from semmix.training.delivery import deliver
from semmix.training.observations import observed_sentences
from semmix.training.policy import SCATTER_LU, SITUATIONS, STEMS, Situation
from semmix.training.sources import draw_effects, draw_music, draw_speech
from semmix.training.stems import StemLibrary
from semmix.training.variation import Variation
from semmix.training.wordings import sentence

BASE_LUFS, BASE_SPREAD_LU = -21.0, 1.0
"""Loudness of the leading stem: mean and standard deviation."""
CUT_SHARE = 0.5
"""Share of clips with a cut to another situation."""
CLEAN_SHARE = 0.08
"""Share of clips that are left in balance, in evaluations: a good mix must stay."""
LONE_VOICE_SHARE = 0.5
"""Where one stem is to sound alone, the chance that it is speech, if there is any; else any."""
MISSING_SHARE = 0.12
"""Chance of each stem to be absent from a clip (one always stays)."""
CUE_DROP_SHARE = 0.25
"""Chance of each cue to be unknown, in training."""
ALL_DROP_SHARE = 0.1
"""Chance of a clip without any cues, in training."""
OBSERVED_SHARE = 0.5
"""Share of shots whose cues are those of the bundled picture models; the rest is free wording."""
RAMP_S = 0.2
"""Length of the level change at a cut."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A stretch of a clip with one situation.

    Attributes:
        start_s, end_s: within the clip.
        situation: name in the policy.
        cues: a sentence for each type, None where unknown.
    """

    start_s: float
    end_s: float
    situation: str
    cues: Mapping[CueType, str | None]


@dataclass(frozen=True, slots=True)
class Example:
    """One training or evaluation clip.

    Attributes:
        target_stems: the stems in the right balance `[S, N]`, in the order of `STEMS`; their
            sum is the target.
        gains_db: what the muddy mix does to each stem `[S]`.
        shots: what the picture shows.
        mix: the muddy mix `[N]` as it was delivered, input of the network.
    """

    target_stems: NDArray[np.float32]
    gains_db: NDArray[np.float64]
    shots: tuple[Shot, ...]
    mix: NDArray[np.float32]

    @property
    def target(self) -> NDArray[np.float32]:
        """The right mix `[N]`."""
        return np.asarray(self.target_stems.sum(axis=0, dtype=np.float32))

    @property
    def mix_stems(self) -> NDArray[np.float32]:
        """The stems as they are in the muddy mix `[S, N]`."""
        return _scaled(self.target_stems, self.gains_db)


class SceneGenerator:
    """Draw examples from a stem library.

    Args:
        library: where the sounds come from.
        seed: with the index it determines an example fully.
        duration_s: length of the clips.
        drop_cues: leave cues out as in training; evaluations give all of them.
        varied_share: share of clips whose recordings are varied, as in training; evaluations take
            all as they are.
        clean_share: share of clips that are left in balance.
        delivered: let mixes be heard as films deliver them, see `semmix.training.delivery`.
        alone_share: share of clips in which a single stem sounds, over the noise of its room:
            nothing is out of balance there, so they are never spoiled.
        clean_spread_lu: clips in balance are louder or quieter as a whole by up to this.
    """

    def __init__(
        self,
        library: StemLibrary,
        seed: int,
        duration_s: float = 10.0,
        drop_cues: bool = True,
        varied_share: float = 0.0,
        clean_share: float = CLEAN_SHARE,
        delivered: bool = False,
        alone_share: float = 0.0,
        clean_spread_lu: float = 0.0,
    ) -> None:
        self.library = library
        self.seed = seed
        self.duration_s = duration_s
        self.drop_cues = drop_cues
        self.varied_share = varied_share
        self.clean_share = clean_share
        self.delivered = delivered
        self.alone_share = alone_share
        self.clean_spread_lu = clean_spread_lu
        shares = np.array([s.share for s in SITUATIONS])
        self._shares = shares / shares.sum()

    def example(self, index: int) -> Example:
        """The example with this number."""
        rng = np.random.default_rng((self.seed, index))
        situations = self._situations(rng)
        samples = round(self.duration_s * self.library.sample_rate_hz)
        # A source of chance of its own: what is not varied does not depend on it.
        chance = np.random.default_rng((self.seed, index, 0, 1))
        varied = chance.random() < self.varied_share
        variation = Variation(chance, self.library.sample_rate_hz) if varied else None
        stems = self._stems(situations, samples, rng, variation)
        apart = np.random.default_rng((self.seed, index, 0, 3))
        alone = apart.random() < self.alone_share
        if alone:
            _leave_one(stems, apart)
        bounds = self._bounds(len(situations), rng)
        target = self._balance(stems, situations, bounds, rng)
        loudness = np.array([self._loudness(s) for s in target])
        clean = rng.random() < self.clean_share or alone
        if clean and self.clean_spread_lu:
            target = _louder(target, apart.uniform(-1.0, 1.0) * self.clean_spread_lu)
        gains_db = np.zeros(len(STEMS)) if clean else draw_gains_db(loudness, rng)
        gains_db = muddy(target, gains_db).gains_db
        mix = np.asarray(_scaled(target, gains_db).sum(axis=0, dtype=np.float32))
        if self.delivered:
            way = np.random.default_rng((self.seed, index, 0, 2))
            mix = deliver(mix, self.library.sample_rate_hz, way)
        return Example(target, gains_db, self._shots(situations, bounds, rng), mix)

    def scenes(self, index: int, count: int) -> list[Shot]:
        """`count` shots without sound: more cues than the examples of a step have room for."""
        rng = np.random.default_rng((self.seed, index, count))
        found: list[Shot] = []
        while len(found) < count:
            situations = self._situations(rng)
            bounds = self._bounds(len(situations), rng)
            found.extend(self._shots(situations, bounds, rng))
        return found[:count]

    def _situations(self, rng: np.random.Generator) -> list[Situation]:
        count = 2 if rng.random() < CUT_SHARE else 1
        chosen = rng.choice(len(SITUATIONS), size=count, replace=False, p=self._shares)
        return [SITUATIONS[int(i)] for i in chosen]

    def _bounds(self, shots: int, rng: np.random.Generator) -> list[float]:
        cuts = [float(rng.uniform(0.3, 0.7)) * self.duration_s for _ in range(shots - 1)]
        return [0.0, *cuts, self.duration_s]

    def _stems(
        self,
        situations: list[Situation],
        samples: int,
        rng: np.random.Generator,
        variation: Variation | None,
    ) -> NDArray[np.float32]:
        present = rng.random(len(STEMS)) >= MISSING_SHARE
        lead = int(np.argmax(situations[0].balance_lu))
        present[lead] = True
        words = tuple(w for s in situations for w in s.effects_like)
        stems = np.zeros((len(STEMS), samples), np.float32)
        if present[0]:
            stems[0] = draw_speech(self.library, samples, rng, variation)
        if present[1]:
            stems[1] = draw_music(self.library, samples, rng, variation)
        if present[2]:
            stems[2] = draw_effects(self.library, words, samples, rng, variation)
        return stems if variation is None else np.stack([variation.colour(s) for s in stems])

    def _balance(
        self,
        stems: NDArray[np.float32],
        situations: list[Situation],
        bounds: list[float],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """Set every stem to its level in every shot, with ramps at the cuts."""
        rate = self.library.sample_rate_hz
        base_lufs = rng.normal(BASE_LUFS, BASE_SPREAD_LU)
        scatter = rng.normal(0.0, SCATTER_LU, size=len(STEMS))
        times = np.arange(stems.shape[1]) / rate
        out = np.zeros_like(stems)
        for i, stem in enumerate(stems):
            loudness = self._loudness(stem)
            if not np.isfinite(loudness):
                continue
            levels = np.array([s.balance_lu[i] for s in situations])
            points = [b + d for b in bounds[1:-1] for d in (-RAMP_S / 2, RAMP_S / 2)]
            level_lu = np.interp(times, points, np.repeat(levels, 2)[1:-1]) if points else levels[0]
            gain_db = base_lufs + scatter[i] - loudness + level_lu
            out[i] = stem * np.asarray(10.0 ** (gain_db / 20.0), dtype=np.float32)
        return _louder(out, 0.0)

    def _loudness(self, stem: NDArray[np.float32]) -> float:
        return clip_loudness_lufs(stem, self.library.sample_rate_hz)

    def _shots(
        self, situations: list[Situation], bounds: list[float], rng: np.random.Generator
    ) -> tuple[Shot, ...]:
        silent = self.drop_cues and rng.random() < ALL_DROP_SHARE
        shots = []
        for i, situation in enumerate(situations):
            cues: dict[CueType, str | None] = {}
            observed = observed_sentences(situation.name, rng)
            terse = rng.random() < OBSERVED_SHARE
            for cue_type in CUE_TYPES:
                free = sentence(situation.name, cue_type, rng)
                text = observed[cue_type] if terse else free
                dropped = silent or (self.drop_cues and rng.random() < CUE_DROP_SHARE)
                cues[cue_type] = None if dropped else text
            shots.append(Shot(bounds[i], bounds[i + 1], situation.name, cues))
        return tuple(shots)


def _leave_one(stems: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Silence all stems `[S, N]` but one that sounds, and put the noise of a room under it.

    The noise belongs to the recording: it lies 30 to 60 dB below and falls with frequency.
    """
    sounding = np.flatnonzero(stems.any(axis=1))
    kept = 0 if 0 in sounding and rng.random() < LONE_VOICE_SHARE else int(rng.choice(sounding))
    stem = stems[kept].copy()
    stems[:] = 0.0
    spectrum = np.fft.rfft(rng.standard_normal(len(stem)).astype(np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20) ** -rng.uniform(0.0, 1.0)
    noise = np.fft.irfft(spectrum, len(stem))
    level = np.sqrt(np.mean(stem**2) / np.mean(noise**2)) * 10.0 ** (rng.uniform(-60, -30) / 20.0)
    stems[kept] = stem + (level * noise).astype(np.float32)


def _louder(stems: NDArray[np.float32], gain_db: float) -> NDArray[np.float32]:
    """Stems `[S, N]` by a gain in dB, or as loud as their sum's peak allows."""
    gain = 10.0 ** (gain_db / 20.0)
    peak = float(np.abs(stems.sum(axis=0)).max())
    return stems * np.float32(min(gain, PEAK_LIMIT / max(peak, 1e-9)))


def _scaled(stems: NDArray[np.float32], gains_db: NDArray[np.float64]) -> NDArray[np.float32]:
    gains = (10.0 ** (gains_db / 20.0)).astype(np.float32)
    return stems * gains[:, None]


def clip_loudness_lufs(x: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Integrated loudness of a mono clip `[N]` in LUFS, -inf for silence.

    Power spectra of plain 2048-sample Hann frames without overlap: a third of the cost of an
    STFT, and within a few hundredths of an LU on clips of seconds.
    """
    hop = 2048
    count = len(x) // hop
    if count == 0 or not np.any(x):
        return -np.inf
    frames = x[: count * hop].reshape(count, hop)
    return integrated_loudness_lufs(windowed_spectra(frames), sample_rate_hz, hop)
