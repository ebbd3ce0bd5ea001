from __future__ import annotations

import numpy as np
import pytest
import tolerances
import torch
from support_training import WordEncoder

from semmix.cues.types import CUE_TYPES, CueType
from semmix.specs import StftSpec
from semmix.training.batches import MAX_SHOTS, collate, embed_shots, magnitudes, shot_weights
from semmix.training.policy import SITUATION_BY_NAME
from semmix.training.scenes import Example, Shot

SPEC = StftSpec(n_fft=512, hop_samples=256)
RATE_HZ = 16_000
NEPERS = np.log(10.0) / 20.0


def reference(x: np.ndarray) -> np.ndarray:
    """PyTorch's centred STFT, in the scale where a full-scale sine has magnitude 1."""
    padded = np.pad(x, (0, -len(x) % SPEC.hop_samples))
    spectrum = torch.stft(
        torch.from_numpy(padded.astype(np.float64)),
        SPEC.n_fft,
        SPEC.hop_samples,
        window=torch.hann_window(SPEC.n_fft, periodic=True, dtype=torch.float64),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().T.numpy() * 4.0 / SPEC.n_fft


@pytest.mark.parametrize("samples", [256 * 20, 5_000, 512, 300, 1])
def test_magnitudes_are_those_of_a_centred_stft(samples: int) -> None:
    x = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    expected = reference(x)
    ours = magnitudes(x, SPEC)
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape == (SPEC.frames(samples), SPEC.bins)
    np.testing.assert_allclose(ours, expected, atol=tolerances.FLOAT32_ROUNDTRIP)


def test_a_full_scale_sine_has_magnitude_one() -> None:
    sine = np.sin(2 * np.pi * 32 / SPEC.n_fft * np.arange(4_096)).astype(np.float32)
    assert magnitudes(sine, SPEC)[8, 32] == pytest.approx(1.0, abs=1e-5)


# --- Shots --------------------------------------------------------------------------------------


def shot(start_s: float, end_s: float, situation: str = "dialogue", **cues: str) -> Shot:
    known = {CueType(name): text for name, text in cues.items()}
    return Shot(start_s, end_s, situation, {t: known.get(t) for t in CUE_TYPES})


def test_weights_of_shots_cross_in_a_ramp_centred_on_the_cut() -> None:
    frame_s, ramp_s, cut_s = 0.016, 0.2, 0.72
    weights = shot_weights([shot(0, cut_s), shot(cut_s, 2)], 125, frame_s, ramp_s)
    assert weights.shape == (125, MAX_SHOTS)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    for frame, later in enumerate(weights[:, 1]):
        past_cut_s = frame * frame_s - cut_s
        if past_cut_s <= -ramp_s / 2:
            assert later == 0.0
        elif past_cut_s >= ramp_s / 2:
            assert later == 1.0
        else:
            assert later == pytest.approx(0.5 + past_cut_s / ramp_s, abs=1e-6)
    assert weights[45, 1] == pytest.approx(0.5, abs=1e-6)  # 45 frames are 0.72 s


def test_one_shot_has_all_the_weight() -> None:
    weights = shot_weights([shot(0, 2)], 10, 0.1, 0.2)
    np.testing.assert_array_equal(weights, np.tile([1.0, 0.0], (10, 1)))


def test_unknown_cues_and_missing_shots_are_zeros() -> None:
    encoder = WordEncoder()
    rows = embed_shots([shot(0, 1, tone="Dark.", sound="Wind.")], encoder)
    assert rows.shape == (MAX_SHOTS, 6, encoder.dim)
    tone, sound = CUE_TYPES.index(CueType.TONE), CUE_TYPES.index(CueType.SOUND)
    np.testing.assert_array_equal(rows[0, tone], encoder.encode(["Dark."])[0])
    np.testing.assert_array_equal(rows[0, sound], encoder.encode(["Wind."])[0])
    unknown = [k for k in range(6) if k not in (tone, sound)]
    assert np.all(rows[0, unknown] == 0.0)
    assert np.all(rows[1] == 0.0)


# --- Batches ------------------------------------------------------------------------------------


def example(seed: int, shots: tuple[Shot, ...], silent: int | None = None) -> Example:
    stems = 0.1 * np.random.default_rng(seed).standard_normal((3, 4_000)).astype(np.float32)
    if silent is not None:
        stems[silent] = 0.0
    gains_db = np.array([-6.0, 9.0, 0.0]) + seed
    mix = (stems * 10.0 ** (gains_db[:, None] / 20.0)).sum(0).astype(np.float32)
    return Example(stems, gains_db, shots, mix)


def test_a_batch_holds_what_its_examples_say() -> None:
    encoder = WordEncoder()
    cut = (shot(0, 0.1, appearance="A dog."), shot(0.1, 0.25, "nature", appearance="A cat."))
    examples = [example(1, cut), example(2, (shot(0, 0.25, sound="Wind."),), silent=1)]
    scenes = [shot(0, 1, "nature", tone="Dark."), shot(0, 1, "drama"), shot(0, 1, "crowd")]
    batch = collate(examples, scenes, SPEC, RATE_HZ, encoder)

    frames = SPEC.frames(4_000)
    assert batch.stems.shape == (2, 3, frames, SPEC.bins)
    atol = tolerances.FLOAT32_ROUNDTRIP
    for b, clip in enumerate(examples):
        gains = 10.0 ** (clip.gains_db / 20.0)
        mixed = clip.target_stems * gains[:, None]
        for i in range(3):
            np.testing.assert_allclose(batch.stems[b, i], reference(mixed[i]), atol=atol)
        np.testing.assert_allclose(batch.mixture[b], reference(mixed.sum(0)), atol=atol)
        target = reference(clip.target_stems.sum(0))
        np.testing.assert_allclose(batch.target[b], target, atol=atol)
        # The gains that mend the mix undo those that spoiled it.
        np.testing.assert_allclose(np.exp(batch.gains[b].numpy()) * gains, 1.0, rtol=1e-6)
        np.testing.assert_array_equal(batch.embeddings[b], embed_shots(clip.shots, encoder))
        weights = shot_weights(clip.shots, frames, 256 / RATE_HZ, 0.2)
        np.testing.assert_array_equal(batch.weights[b], weights)
    np.testing.assert_array_equal(batch.active, [[1, 1, 1], [1, 0, 1]])

    assert batch.policy_embeddings.shape == (3, 6, encoder.dim)
    expected = encoder.encode(["Dark."])[0]
    np.testing.assert_array_equal(
        batch.policy_embeddings[0, CUE_TYPES.index(CueType.TONE)], expected
    )
    assert torch.count_nonzero(batch.policy_embeddings[1:]) == 0
    for row, name in zip(batch.policy_balance, ("nature", "drama", "crowd"), strict=True):
        levels = np.array(SITUATION_BY_NAME[name].balance_lu)
        np.testing.assert_allclose(row, NEPERS * levels, rtol=1e-6)
    assert {t.dtype for t in (batch.mixture, batch.gains, batch.policy_balance)} == {torch.float32}
