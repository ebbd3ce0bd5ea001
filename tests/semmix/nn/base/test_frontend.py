from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from demucs.hdemucs import HDemucs
from support_base import noise

from semmix.nn.base.frontend import analyse, signal, spectrogram, synthesise

LENGTHS = [2, 100, 1024, 1535, 1536, 1537, 2048, 3071, 5000, 44_100]


def test_a_frame_is_the_spectrum_around_its_hop_in_the_mirrored_clip() -> None:
    sound = noise(2, 1, 9000)
    spectrum = spectrogram(sound)
    assert spectrum.shape == (2, 1, 2048, 9)
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(4096) / 4096)
    for b in range(2):
        mirrored = np.pad(sound[b, 0].double().numpy(), (1536, 1536 + 9 * 1024 - 9000), "reflect")
        for frame in range(9):
            # Its centre is the centre of the hop: 1024 frame + 512 in the clip.
            part = mirrored[1024 * frame : 1024 * frame + 4096]
            expected = np.fft.rfft(part * window)[:-1]
            found = spectrum[b, 0, :, frame].numpy()
            np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.FRAME_FLOAT32)


def test_a_full_scale_sine_has_magnitude_1024() -> None:
    turn = 2.0 * np.pi * 100.0 / 4096.0
    sine = torch.sin(turn * torch.arange(44_100, dtype=torch.float64))[None, None]
    magnitude = analyse(sine).magnitude
    assert float(magnitude[0, 0, 100, 20]) == pytest.approx(1024.0, rel=1e-9)


@pytest.mark.parametrize("samples", LENGTHS)
def test_there_and_back_equals_demucs(samples: int) -> None:
    theirs = HDemucs(["output"], audio_channels=1, channels=4, cac=False)
    sound = noise(2, 1, samples)
    spectrum = theirs._spec(sound)
    # Stock Demucs divides by the root of the window's length, 64; the paper's code does not.
    torch.testing.assert_close(
        spectrogram(sound), 64.0 * spectrum, rtol=0.0, atol=tolerances.FRAME_FLOAT32
    )
    random = torch.complex(noise(*spectrum.shape), noise(*spectrum.shape, seed=1))
    torch.testing.assert_close(
        signal(64.0 * random, samples),
        theirs._ispec(random, samples),
        rtol=0.0,
        atol=tolerances.LAYER_FLOAT32,
    )


@pytest.mark.parametrize("samples", LENGTHS)
def test_clips_of_any_length_keep_it(samples: int) -> None:
    clip = analyse(noise(2, 1, samples))
    frames = -(-samples // 1024)
    assert clip.spectrum.shape == (2, 1, 2048, frames)
    assert clip.waveform.shape == (2, 1, samples)
    sound = synthesise(clip, torch.ones(2, 1, 2048, frames), torch.zeros(2, 1, samples))
    assert sound.shape == (2, 1, samples)
    assert torch.isfinite(sound).all()


def test_a_mask_of_one_gives_the_clip_back_but_for_its_ends() -> None:
    samples = 20_000
    time = torch.arange(samples, dtype=torch.float64)
    sound = (0.5 * torch.sin(0.1 * time) + 0.2 * torch.sin(1.3 * time))[None, None]
    back = signal(spectrogram(sound), samples)
    middle = slice(1536, samples - 1536)
    # All that is lost in the middle is the Nyquist row.
    atol = tolerances.NYQUIST_ROW
    torch.testing.assert_close(back[..., middle], sound[..., middle], rtol=0.0, atol=atol)
    for end in (slice(0, 1536), slice(samples - 1536, samples)):
        assert (back - sound)[..., end].abs().max() > 0.01
        assert torch.all(back[..., end].abs() < sound[..., end].abs() + atol)


def test_the_time_branch_hears_the_clip_normalised_over_its_length() -> None:
    sound = 0.2 * noise(3, 1, 4000) + torch.tensor([0.1, -0.3, 0.0])[:, None, None]
    clip = analyse(sound)
    for b in range(3):
        samples = sound[b, 0].double().numpy()
        expected = (samples - samples.mean()) / (1e-5 + samples.std(ddof=1))
        np.testing.assert_allclose(
            clip.waveform[b, 0].numpy(), expected, rtol=0.0, atol=tolerances.LAYER_FLOAT32
        )


def test_the_output_is_the_masked_spectrum_and_the_time_branch() -> None:
    sound = 0.2 * noise(2, 1, 5000).double() + 0.1
    clip = analyse(sound)
    mask, wave = noise(2, 1, 2048, 5, seed=1).double(), noise(2, 1, 5000, seed=2).double()
    # As published: magnitudes times the mask, with the phase put back.
    masked = clip.magnitude * mask * torch.exp(1j * clip.spectrum.angle())
    expected = signal(masked, 5000)
    expected += sound.mean((1, 2), keepdim=True) + wave * sound.std((1, 2), keepdim=True)
    torch.testing.assert_close(
        synthesise(clip, mask, wave), expected, rtol=0.0, atol=tolerances.ORACLE_FLOAT64
    )


def test_silence_stays_silence() -> None:
    clip = analyse(torch.zeros(1, 1, 3000))
    assert torch.all(clip.waveform == 0.0)
    output = synthesise(clip, torch.full((1, 1, 2048, 3), 5.0), torch.ones(1, 1, 3000))
    assert torch.all(output == 0.0)


@pytest.mark.parametrize("shape", [(1, 2, 4000), (1, 4000), (1, 1, 1), (1, 1, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[B, 1, N\]"):
        analyse(torch.zeros(shape))
