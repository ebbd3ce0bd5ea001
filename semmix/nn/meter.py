"""How loud each source has been so far, beside what was asked for, read off its share of the sound.

The gain a mix needs is what the cues ask for less what is there. Latent frames only guess what is
there; shares, once computed, can be measured. Cues change at cuts and a spoiled balance does not,
so each moment is measured relative to what its own cues ask for. The meter keeps leaky sums: a
programme's past fades over tens of seconds and a chunk of any length gives the same as the whole.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semmix.dsp.loudness import k_weighting
from semmix.nn.blocks import delayed
from semmix.specs import StftSpec

_QUIET = 3e-4
"""Amplitude of about -70 LUFS, where BS.1770 stops to count."""
_MOST_NEPERS = 4.6
"""40 dB: what is asked for beyond it counts as that much, lest a power overflow."""
_NEED_AT_FIRST = 4.0
"""A new network mends all of what it hears: the need starts at 98 %."""


class LevelMeter(nn.Module):
    """Leaky K-weighted levels of sources, relative to what is asked for.

    Two levels stand for integrated loudness, whose gates are no smooth function: the mean power,
    and the mean power weighted by amplitude, which pauses hardly lower.

    Args:
        stft: of the spectra.
        sample_rate_hz: of the sound.
        stride: STFT frames in a step.
        sources: how many.
        memory_s: time in which what was heard counts for 1/e.
        programme_lufs: level that reads as zero.
    """

    def __init__(
        self,
        stft: StftSpec,
        sample_rate_hz: int,
        stride: int,
        sources: int,
        memory_s: float,
        programme_lufs: float,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.sources = sources
        self.step_s = stride * stft.hop_samples / sample_rate_hz
        self.memory_s = memory_s
        self.reference = 10.0 ** ((programme_lufs + 0.691) / 20.0)
        # Parseval for one-sided spectra; the Hann window keeps 3/8 of the power.
        weight = torch.from_numpy(k_weighting(stft.n_fft, sample_rate_hz).copy())
        weight[1:-1] *= 2.0
        weight /= 0.375 * (stft.n_fft * stft.scale) ** 2
        self.weight: Tensor
        self.register_buffer("weight", weight.float(), persistent=False)

    @property
    def values(self) -> int:
        """Numbers that a step is told in, and that the meter remembers."""
        return 2 * self.sources + 1

    def forward(
        self, spectrum: Tensor, shares: Tensor, wanted: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Measure a chunk.

        Args:
            spectrum: scaled magnitudes `[B, T, F]`.
            shares: share of each source in them `[B, S, T, F]`.
            wanted: level asked for, in nepers above the programme's `[B, T / stride, S]`.
            past: sums so far `[B, 2 S + 1]`, zeros at the start.

        Returns:
            levels `[B, T / stride, 2 S + 1]`: mean and amplitude-weighted level of each source up
            to and with the step, in nepers above what was asked for, and the logarithm of the
            seconds heard; and the next sums.
        """
        power = (spectrum * spectrum * self.weight).unsqueeze(1)
        asked = torch.exp(-wanted.clamp(-_MOST_NEPERS, _MOST_NEPERS))
        amplitude = asked * self._amplitude(shares * shares * power)
        mix = self._amplitude(power)
        heard = mix / (mix + _QUIET) * self.step_s
        now = torch.cat((amplitude.square() * self.step_s, amplitude * self.step_s, heard), 2)
        sums = self._leaky(now, past)
        known = sums.clamp(min=0.0)
        power, total = known[..., : self.sources], known[..., self.sources : -1]
        seconds = known[..., -1:]
        floor = _QUIET**2
        mean = 0.5 * torch.log((power + floor) / (seconds + 1.0) / self.reference**2)
        active = torch.log((power + floor) / (total + _QUIET) / self.reference)
        return torch.cat((mean, active, torch.log1p(seconds)), 2), sums[:, -1]

    def _amplitude(self, power: Tensor) -> Tensor:
        """Amplitude of each step `[B, T / stride, S]` of the power in each bin `[B, S, T, F]`."""
        # No product with a vector: ONNX Runtime fuses the transposition into it, wrongly.
        power = power.sum(3)
        batch, sources, frames = power.shape
        steps = power.reshape(batch, sources, frames // self.stride, self.stride).mean(3)
        return torch.sqrt(steps).transpose(1, 2)

    def _leaky(self, now: Tensor, past: Tensor) -> Tensor:
        """Sums after each step `[B, T, V]`: a matrix product, where a loop would be slow."""
        rate = self.step_s / self.memory_s
        step = torch.arange(now.shape[1], dtype=torch.float32, device=now.device)
        age = step.unsqueeze(1) - step.unsqueeze(0)
        decay = torch.where(age >= 0.0, torch.exp(-rate * age.clamp(min=0.0)), 0.0)
        fade = torch.exp(-rate * (step + 1.0)).unsqueeze(1)
        return decay @ now + fade * past.unsqueeze(1)


class MeteredGain(nn.Module):
    """Correct gains, guessed from the latent frames, by what the meter reads.

    It also says whether the mix needs mending at all: sources that are all close to where they
    should be are evidence for a good mix that no source gives alone.

    Args:
        meter: over all sources.
        hidden: width of the layer between.
    """

    def __init__(self, meter: LevelMeter, hidden: int = 48) -> None:
        super().__init__()
        self.meter = meter
        self.enter = nn.Linear(meter.values + 2 * meter.sources, hidden)
        self.leave = nn.Linear(hidden, meter.sources)
        self.need = nn.Linear(hidden, 1)
        # At first the meter changes next to nothing: a network may be given one after training.
        for layer, bias in ((self.leave, 0.0), (self.need, _NEED_AT_FIRST)):
            nn.init.zeros_(layer.weight)
            nn.init.constant_(layer.bias, bias)

    def forward(
        self,
        spectrum: Tensor,
        shares: Tensor,
        wanted: Tensor,
        guessed: Tensor,
        heard: Tensor,
        sums: Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Correction of each step's gains, and the need of any.

        Args:
            spectrum: scaled magnitudes as they come `[B, T, F]`.
            shares: share of each source, a look-ahead later `[B, S, T, F]`.
            wanted: level that the cues ask for, in nepers `[B, T / stride, S]`.
            guessed: what the latent frames make of the sound's own levels, likewise.
            heard: the last look-ahead of magnitudes that came before `[B, L, F]`.
            sums: the meter's.

        Returns:
            nepers `[B, T / stride, S]`; the need of mending, 0 to 1, `[B, T / stride, 1]`; and
            the next `heard` and `sums`.
        """
        sound, heard = delayed(spectrum, heard, 1)
        # Shares answer for what they tell apart, not for the reading that follows from them.
        levels, sums = self.meter(sound, shares.detach(), wanted, sums)
        hidden = torch.nn.functional.gelu(self.enter(torch.cat((levels, wanted, guessed), 2)))
        need = torch.sigmoid(self.need(hidden))
        return self.leave(hidden), need, (heard, sums)
