from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import semmix_rt
import soundfile
from semmix_rt import pipeline
from support_media import Sound, decode_audio, lag_samples, make_media, packets_of
from support_remix import EXAMPLE, film, make_bundle, nothing_left, programme, remix_spec

from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet
from semmix.errors import EngineError, MediaError, ModelFormatError, UsageError

SHEET = CueSheet(
    (
        CueSegment(0.0, 1.0, 0.0, {CUE_TYPES[3]: Cue("A tense, dark scene.", 1.0)}),
        CueSegment(1.0, 30.0, 1.0, {CUE_TYPES[5]: Cue("A man is talking.", 1.0)}),
    )
)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "tiny").path


def test_the_example_keeps_its_picture_and_gets_another_sound(tmp_path, model):
    result = semmix_rt.remix(EXAMPLE, tmp_path / "out.mp4", model=model)
    before, after = packets_of(EXAMPLE), packets_of(result.output)
    assert after[0].kind == "video"
    assert after[0].digest == before[0].digest
    assert after[0].stamps == before[0].stamps
    dry, wet = decode_audio(EXAMPLE), decode_audio(result.output)
    assert wet.start_s == dry.start_s
    assert wet.samples.shape[1] >= dry.samples.shape[1]
    change = wet.samples[:, : dry.samples.shape[1]] - dry.samples
    assert np.sqrt(np.mean(change**2)) > 0.02 * np.sqrt(np.mean(dry.samples**2))
    assert lag_samples(dry.samples, wet.samples) == 0

    report = result.report
    assert report.cues.source in ("extractor", "cache")
    assert report.cues.segments
    assert report.cues.unknown_share is not None
    assert report.cues.unknown_share < 1.0
    assert report.sync is not None
    assert report.sync.offset_samples == 0
    assert report.transfer is not None
    assert report.transfer["samples"] == dry.samples.shape[1]
    assert report.timings is not None
    assert report.timings.chunks > 0
    assert report.loudness_before is not None
    assert report.loudness_before.integrated_lufs == pytest.approx(-28.8, abs=0.1)
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_16"),
        ("wav", "PCM_24"),
        ("wav", "FLOAT"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
    ],
)
def test_amount_0_gives_every_sample_back(tmp_path, model, suffix, subtype):
    source = tmp_path / f"in.{suffix}"
    soundfile.write(source, programme(1.7, 44_100).T * 8, 44_100, subtype=subtype)
    kind = "float32" if subtype == "FLOAT" else "int32"
    result = semmix_rt.remix(source, tmp_path / "out.wav", amount=0.0, model=model, cues=SHEET)
    dry, _ = soundfile.read(source, dtype=kind)
    wet, rate_hz = soundfile.read(result.output, dtype=kind)
    assert rate_hz == 44_100
    assert np.array_equal(wet, dry)
    changed = semmix_rt.remix(source, tmp_path / "full.wav", model=model, cues=SHEET)
    assert not np.array_equal(soundfile.read(changed.output, dtype=kind)[0], dry)


@pytest.mark.parametrize("block_s", [0.003, 0.1, 7.0])
def test_the_size_of_blocks_does_not_matter(tmp_path, model, monkeypatch, block_s):
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(1.3).T, 48_000, subtype="FLOAT")
    semmix_rt.remix(source, tmp_path / "a.wav", model=model, cues=SHEET)
    monkeypatch.setattr(pipeline, "Transfer", partial(pipeline.Transfer, block_s=block_s))
    semmix_rt.remix(source, tmp_path / "b.wav", model=model, cues=SHEET)
    first, second = (soundfile.read(tmp_path / n, dtype="float32")[0] for n in ("a.wav", "b.wav"))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("start", [0, 22_944])
def test_sound_that_starts_later_stays_in_sync(tmp_path, model, suffix, start):
    source = make_media(
        tmp_path / "in.mov", Sound("pcm_s16le", programme(2.0), start=start), frames=75
    )
    result = semmix_rt.remix(
        source, tmp_path / f"out.{suffix}", amount=0.5, model=model, cues=SHEET, audio_codec="aac"
    )
    dry, wet = decode_audio(source), decode_audio(result.output)
    early = round(float(wet.start_s - dry.start_s) * 48_000)
    # Matroska counts whole milliseconds.
    allowed = 24 if suffix == "mkv" else 0
    assert abs(lag_samples(dry.samples, wet.samples) + early) <= allowed
    sync = result.report.sync
    assert sync is not None
    assert sync.start_s == pytest.approx(start / 48_000)
    assert abs(sync.offset_samples or 0) <= allowed
    assert packets_of(result.output)[0].digest == packets_of(source)[0].digest


def test_cues_come_from_the_picture_once_and_then_from_the_cache(tmp_path, model, monkeypatch):
    # Other tests read the same picture: only a cache of its own starts empty.
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    source = film(tmp_path / "in.mp4")
    first = semmix_rt.remix(source, tmp_path / "a.wav", model=model)
    second = semmix_rt.remix(source, tmp_path / "b.wav", model=model)
    fresh = semmix_rt.remix(source, tmp_path / "c.wav", model=model, cache=False)
    assert [r.report.cues.source for r in (first, second, fresh)] == [
        "extractor",
        "cache",
        "extractor",
    ]
    assert first.report.cues.segments == second.report.cues.segments
    assert first.report.cues.picture_hash == second.report.cues.picture_hash != ""
    sounds = [soundfile.read(r.output)[0] for r in (first, second, fresh)]
    assert np.array_equal(sounds[0], sounds[1])
    assert np.array_equal(sounds[0], sounds[2])


def test_other_cues_give_another_sound(tmp_path, model):
    source = film(tmp_path / "in.mp4")
    sounds = [
        soundfile.read(semmix_rt.remix(source, tmp_path / name, model=model, cues=cues).output)[0]
        for name, cues in (("a.wav", SHEET), ("b.wav", CueSheet(())))
    ]
    assert not np.array_equal(*sounds)


def test_a_picture_longer_than_its_sound_is_read_to_its_end(tmp_path, model):
    sound = Sound("aac", programme(1.0))
    source = make_media(tmp_path / "in.mp4", sound, frames=200)
    first = semmix_rt.remix(source, tmp_path / "a.mp4", model=model)
    second = semmix_rt.remix(source, tmp_path / "b.mp4", model=model)
    assert second.report.cues.source == "cache"
    assert second.report.cues.segments == first.report.cues.segments


def test_without_a_picture_it_says_what_to_do(tmp_path, model):
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(1.0).T, 48_000)
    result = semmix_rt.remix(source, model=model)
    assert result.output == tmp_path / "in.remix.wav"
    assert result.report.cues.source == "none"
    assert len(result.warnings) == 1
    assert "no moving picture" in result.warnings[0]
    assert "--cues" in result.warnings[0]
    with_sheet = semmix_rt.remix(source, model=model, cues=SHEET, overwrite=True)
    assert with_sheet.warnings == ()
    assert with_sheet.report.cues.source == "sheet"


def test_digital_silence_stays_digital_silence(tmp_path, model):
    source = tmp_path / "in.wav"
    soundfile.write(source, np.zeros((96_001, 2)), 48_000)
    result = semmix_rt.remix(source, model=model, cues=SHEET)
    wet, _ = soundfile.read(result.output)
    assert wet.shape == (96_001, 2)
    assert not wet.any()
    assert any("digital silence" in w for w in result.warnings)
    assert result.report.loudness_after is not None
    assert result.report.loudness_after.integrated_lufs is None


def test_a_dry_run_runs_no_network_and_writes_nothing(tmp_path, model, monkeypatch):
    source = film(tmp_path / "in.mp4")
    from semmix_rt.engines.ort import OrtEngine

    def refuse(*args: object) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr(OrtEngine, "run", refuse)
    monkeypatch.setattr(OrtEngine, "encode_context", refuse)
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    with nothing_left(tmp_path):
        result = semmix_rt.remix(source, model=model, dry_run=True, report=tmp_path / "r.json")
    report = result.report
    assert report.dry_run
    assert report.timings is None
    assert report.transfer is None
    assert report.cues.source == "extractor"
    assert report.cues.segments is None
    assert [s["action"] for s in report.plan["streams"]] == ["copy", "rebalance"]
    assert report.plan["codec"] == "aac"
    assert result.report_path is None
    json.loads(report.to_json())


def test_the_report_on_disk_is_the_report_returned(tmp_path, model):
    source = film(tmp_path / "in.mp4")
    result = semmix_rt.remix(source, model=model, cues=SHEET, report=tmp_path / "r.json")
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved == json.loads(result.report.to_json())
    assert saved["schema"] == "semmix-rt.report"
    assert saved["output"] == str(tmp_path / "in.remix.mp4")


def test_progress_comes_in_order_and_reaches_the_end(tmp_path, model):
    source = film(tmp_path / "in.mp4")
    seen: list[semmix_rt.progress.Progress] = []
    semmix_rt.remix(source, model=model, cues=SHEET, progress=seen.append)
    stages = list(dict.fromkeys(p.stage for p in seen))
    assert stages == ["open", "measure", "remix", "verify", "done"]
    measured = [p.done_s for p in seen if p.stage == "measure"]
    assert measured == sorted(measured)
    assert measured[-1] == pytest.approx(2.0, abs=0.1)
    done = [p.done_s for p in seen if p.stage != "measure"]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(2.0, abs=0.1)
    assert all(threading.current_thread() is threading.main_thread() for _ in seen)


@pytest.mark.parametrize("stage", ["open", "measure", "remix", "verify"])
def test_an_interrupt_at_any_stage_leaves_nothing(tmp_path, model, stage):
    source = film(tmp_path / "in.mp4", seconds=4.0)

    def interrupt(progress: semmix_rt.progress.Progress) -> None:
        if progress.stage == stage and (stage != "remix" or progress.done_s > 0.5):
            raise KeyboardInterrupt

    with nothing_left(tmp_path), pytest.raises(KeyboardInterrupt):
        semmix_rt.remix(source, model=model, progress=interrupt)


def test_a_failing_cue_reader_fails_the_run(tmp_path, model, monkeypatch):
    source = film(tmp_path / "in.mp4")
    from semmix_rt import cue_feed

    class Broken(cue_feed.SegmentSource):
        def segments(self, watch: object = None) -> Iterator[CueSegment]:
            yield CueSegment(0.0, 0.5, 0.0, {})
            raise MediaError("the picture fell off the wall: hang it up again")

    monkeypatch.setattr(cue_feed, "SegmentSource", Broken)
    with nothing_left(tmp_path), pytest.raises(MediaError, match="fell off the wall"):
        semmix_rt.remix(source, model=model, cache=False)


def test_a_network_that_gives_nan_fails_the_run(tmp_path, model, monkeypatch):
    source = film(tmp_path / "in.mp4")
    from semmix_rt.engines.ort import OrtEngine

    run = OrtEngine.run

    def poison(self, spectrum, tokens, weights, state):
        mask, following = run(self, spectrum, tokens, weights, state)
        return mask * np.float32(np.nan), following

    monkeypatch.setattr(OrtEngine, "run", poison)
    with nothing_left(tmp_path), pytest.raises(EngineError):
        semmix_rt.remix(source, model=model, cues=SHEET)


def test_a_model_of_another_text_encoder_is_refused(tmp_path):
    foreign = make_bundle(tmp_path / "foreign", replace(remix_spec(), text_encoder="other/1"))
    source = film(tmp_path / "in.mp4")
    with nothing_left(tmp_path), pytest.raises(ModelFormatError, match="text encoder 'other/1'"):
        semmix_rt.remix(source, model=foreign.path, cues=SHEET)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"amount": float("nan")}, "amount"),
        ({"amount": -0.1}, "amount"),
        ({"amount": 1.1}, "amount"),
        ({"max_gain_db": float("inf")}, "gain"),
        ({"max_gain_db": -3.0}, "gain"),
        ({"report": "in.mp4"}, "input or the output"),
    ],
)
def test_senseless_settings_are_refused_before_any_work(tmp_path, model, settings, words):
    source = film(tmp_path / "in.mp4")
    if "report" in settings:
        settings = {"report": tmp_path / settings["report"]}
    with nothing_left(tmp_path), pytest.raises(UsageError, match=words):
        semmix_rt.remix(source, model=model, **settings)


def test_max_gain_0_changes_nothing(tmp_path, model):
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(1.0).T, 48_000, subtype="PCM_16")
    result = semmix_rt.remix(source, model=model, cues=SHEET, max_gain_db=0.0)
    dry, wet = (soundfile.read(p, dtype="int16")[0].astype(int) for p in (source, result.output))
    assert np.abs(wet - dry).max() <= 1


@pytest.mark.parametrize("suffix", ["wav", "mkv", "mp4", "avi", "ts", "mka", "m4a", "mp3"])
def test_the_report_finds_sync_in_every_container(tmp_path, model, suffix):
    source = make_media(
        tmp_path / "in.mov",
        Sound("pcm_s16le", programme(2.0), start=48_000),
        frames=75,
        video_start=12,
    )
    codec = "aac" if suffix == "ts" else None
    result = semmix_rt.remix(
        source, tmp_path / f"out.{suffix}", model=model, cues=SHEET, audio_codec=codec
    )
    sync = result.report.sync
    assert sync is not None
    assert sync.offset_samples is not None
    assert abs(sync.offset_samples) <= 48
