"""Samples survive the journey to float and back, and lossless files come out bit for bit."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from semmix_rt.media.pcm import block_dtype, from_float, to_float
from semmix_rt.media.transfer import Transfer
from support_media import Sound, decode_audio, make_media, noise

RNG = np.random.default_rng(3)


def run(source: Path, target: Path, step: int | None = None, **options: object):
    """Pass everything through unchanged, in pieces of `step` samples."""
    with Transfer(source, target, **options) as transfer:  # type: ignore[arg-type]
        for block in transfer.blocks():
            assert block.dtype == transfer.dtype
            assert block.flags.c_contiguous
            for at in range(0, block.shape[1], step or block.shape[1]):
                transfer.write(block[:, at : at + (step or block.shape[1])])
        return transfer.finish()


@pytest.mark.parametrize(
    ("fmt", "bits"), [("u8", 8), ("s16", 16), ("s16p", 16), ("s32", 24), ("s32p", 24), ("s32", 32)]
)
def test_every_integer_comes_back(fmt: str, bits: int) -> None:
    top = 2 ** (bits - 1)
    edge = np.array([-top, -top + 1, -1, 0, 1, top - 2, top - 1])
    values = np.concatenate([edge, RNG.integers(-top, top, 4000)])
    block = np.stack([values, values[::-1]]) / top
    dtype = block_dtype(fmt, bits)
    assert dtype == (np.float64 if bits == 32 else np.float32)
    frame, clipped = from_float(block.astype(dtype), fmt, bits, "stereo", 48000, 0)
    back = to_float(frame, 2, dtype)
    assert clipped == 0
    assert np.array_equal(back, block.astype(dtype))


def test_rounding_is_half_to_even_and_clipping_is_counted() -> None:
    step = 2.0**-15
    block = np.array([[0.5, 1.5, 2.5, -0.5, -1.5]], np.float64) * step
    block = np.concatenate([block, [[1.0, -1.0, 7.0, -7.0]]], axis=1)
    frame, clipped = from_float(block, "s16", 16, "mono", 48000, 0)
    values = np.frombuffer(frame.planes[0], np.int16, 9)
    assert values.tolist() == [0, 2, 2, 0, -2, 32767, -32768, 32767, -32768]
    assert clipped == 3  # -1.0 is representable, +1.0 is not


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("fmt", ["flt", "fltp", "s16", "s16p"])
def test_all_channels_are_carried(fmt: str, channels: int) -> None:
    block = (RNG.integers(-30000, 30000, (channels, 1111)) / 32768).astype(np.float32)
    bits = 0 if fmt.startswith("flt") else 16
    frame, _ = from_float(block, fmt, bits, f"{channels} channels", 48000, 0)
    assert np.array_equal(to_float(frame, channels, np.dtype(np.float32)), block)


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("pcm_u8", "wav"),
        ("pcm_s16le", "wav"),
        ("pcm_s24le", "wav"),
        ("pcm_s32le", "wav"),
        ("pcm_f32le", "wav"),
        ("pcm_f64le", "wav"),
        ("pcm_alaw", "wav"),
        ("flac", "flac"),
        ("pcm_s16le", "mov"),
        ("pcm_s24le", "mkv"),
        ("pcm_s16be", "aiff"),
        ("alac", "m4a"),
        ("wavpack", "mkv"),
    ],
)
@pytest.mark.parametrize("step", [None, 777])
def test_lossless_files_come_out_bit_for_bit(
    tmp_path: Path, codec: str, suffix: str, step: int | None
) -> None:
    video = "mpeg4" if suffix in ("mov", "mkv") else None
    source = make_media(
        tmp_path / f"in.{suffix}", Sound(codec, noise(50_003, level=0.2), rate=44100), video=video
    )
    target = tmp_path / f"out.{suffix}"
    summary = run(source, target, step, block_s=0.1)
    before, after = decode_audio(source), decode_audio(target)
    assert before.raw.dtype == after.raw.dtype
    assert np.array_equal(before.raw, after.raw)
    assert before.raw.shape[1] == summary.samples == 50_003
    assert summary.clipped_samples == 0
    assert (before.rate, before.layout) == (after.rate, after.layout)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_flac_to_wav_is_bit_for_bit(tmp_path: Path, subtype: str) -> None:
    bits = int(subtype[-2:])
    values = RNG.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (30_001, 2)).astype(np.int32)
    values <<= 32 - bits
    source, target = tmp_path / "in.flac", tmp_path / "out.wav"
    soundfile.write(source, values, 48000, subtype)
    summary = run(source, target)
    back, rate = soundfile.read(target, dtype="int32")
    assert rate == 48000
    assert soundfile.info(target).subtype == subtype
    assert np.array_equal(back, values)
    assert summary.codec == f"pcm_s{bits}le"


def test_wav_metadata_and_format_stay(tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    make_media(source, Sound("pcm_s24le", noise(4800)), video=None, metadata={"title": "Take 3"})
    run(source, target)
    with av.open(str(target)) as written:
        assert written.metadata["title"] == "Take 3"
    assert soundfile.info(target).subtype == "PCM_24"


def test_clipping_is_counted_and_reported(tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    make_media(source, Sound("pcm_s16le", np.full((1, 1000), 0.75)), video=None)
    with Transfer(source, target) as transfer:
        for block in transfer.blocks():
            transfer.write(block * np.float32(2))
        summary = transfer.finish()
    assert summary.clipped_samples == 1000
    assert summary.peak == 1.5
    assert any("beyond full scale" in w for w in summary.warnings)
    assert np.all(decode_audio(target).raw == 32767)


def test_nan_in_the_source_becomes_silence(tmp_path: Path) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    samples = np.full((1000, 1), 0.5, np.float32)
    samples[100], samples[200] = np.nan, np.inf
    soundfile.write(source, samples, 48000, "FLOAT")
    summary = run(source, target)
    back, _ = soundfile.read(target, dtype="float32")
    assert back[100] == back[200] == 0.0
    assert np.count_nonzero(back == 0.5) == 998
    assert any("NaN" in w for w in summary.warnings)
