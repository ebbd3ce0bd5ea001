from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from support_engine import TINY_SPEC

from semmix.errors import ModelFormatError
from semmix.specs import AudioSpec, ModelSpec, StftSpec


def test_a_spec_survives_json() -> None:
    again = ModelSpec.from_dict(json.loads(json.dumps(TINY_SPEC.to_dict())))
    assert again == TINY_SPEC
    assert hash(again) == hash(TINY_SPEC)


def test_latency_is_the_chunk_the_look_ahead_and_the_window() -> None:
    # n_fft 64, hop 32, 4 kept frames, 1 look-ahead frame: (1 + 4 - 1) * 32 + 64
    assert TINY_SPEC.latency_samples == 192


@pytest.mark.parametrize(("n_fft", "hop_samples", "held"), [(64, 16, 128), (100, 33, 232)])
def test_latency_counts_the_whole_window_at_any_overlap(n_fft, hop_samples, held) -> None:
    """`held` is one more than the most that streams of these sizes were seen to hold back."""
    spec = replace(TINY_SPEC, stft=StftSpec(n_fft, hop_samples))
    assert spec.latency_samples == held


@pytest.mark.parametrize("samples", [0, 1, 31, 32, 33, 64, 1000])
def test_frames_cover_every_sample_twice(samples: int) -> None:
    spec = StftSpec(n_fft=64, hop_samples=32)
    frames = spec.frames(samples)
    centres = [m * spec.hop_samples for m in range(frames)]
    for n in range(samples):
        assert sum(c - 32 <= n < c + 32 for c in centres) == 2
    assert spec.frames(0) == 0


def test_a_full_scale_sine_has_magnitude_one() -> None:
    import numpy as np

    spec = StftSpec(n_fft=256, hop_samples=128)
    n = np.arange(256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    magnitude = np.abs(np.fft.rfft(window * np.sin(2 * np.pi * 32 * n / 256)))
    assert magnitude.max() * spec.scale == pytest.approx(1.0, rel=1e-12)
    assert magnitude.argmax() == 32
    assert len(magnitude) == spec.bins


def changed(path: str, value: Any) -> dict[str, Any]:
    data = TINY_SPEC.to_dict()
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[key]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("audio.sample_rate_hz", 0),
        ("audio.sample_rate_hz", 48_000.0),
        ("audio", None),
        ("audio", {"sample_rate_hz": 48_000, "channels": 2}),
        ("stft.n_fft", "64"),
        ("stft.n_fft", 1 << 20),
        ("stft.hop_samples", 33),
        ("stft.hop_samples", 0),
        ("chunk.kept_frames", 0),
        ("chunk.lookahead_frames", -1),
        ("cue_types", []),
        ("embedding_dim", float("inf")),
        ("token_dim", "wide"),
        ("max_segments", 0),
        ("max_gain_db", float("nan")),
        ("max_gain_db", -1.0),
        ("max_gain_db", 1e6),
        ("state", [{"name": "a", "shape": [10**9]}]),
        ("state", [{"name": "a"}]),
        ("state", 5),
        ("surprise", 1),
    ],
)
def test_absurd_specs_are_refused(path: str, value: Any) -> None:
    with pytest.raises(ModelFormatError):
        ModelSpec.from_dict(changed(path, value))


@pytest.mark.parametrize("data", [None, [], "spec", {}, {"name": "x"}])
def test_other_kinds_of_data_are_refused(data: Any) -> None:
    with pytest.raises(ModelFormatError):
        ModelSpec.from_dict(data)


def test_specs_are_frozen() -> None:
    for spec, field in ((AudioSpec(48_000), "sample_rate_hz"), (TINY_SPEC, "max_segments")):
        with pytest.raises(FrozenInstanceError):
            setattr(spec, field, 1)
