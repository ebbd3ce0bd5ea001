"""Sounds to calibrate on: classes, lists, hashes, and what must not be among them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_calibration.material import gather, list_sources, made_material, read_test_list

from semmix.assets import asset_path
from semmix.errors import MediaError, UsageError

RATE_HZ = 48_000


def write(path: Path, sound: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, RATE_HZ, subtype="FLOAT")
    return path


def test_every_class_is_there_and_held_out_sound_is_other_sound(stems: Path) -> None:
    material = gather(list_sources(stems, ()), RATE_HZ, clip_s=0.5, clips=2)
    kinds = [clip.kind for clip in material.calibration]
    assert sorted(kinds) == sorted(
        ["speech", "music", "effects"] * 2 + ["quiet", "loud", "silence", *["full scale"] * 4]
    )
    hard = [*["tone"] * 6, "click", "clipped", "faint", "starts and stops"]
    for apart in (material.search, material.held_out):
        kinds = [clip.kind for clip in apart]
        assert sorted(kinds) == sorted(["speech", "music", "effects"] * 2 + hard)
    assert {c.sound.shape for c in material.calibration} == {(1, RATE_HZ // 2)}
    parts = (material.calibration, material.search, material.held_out)
    used = [{(c.sha256, c.start_s) for c in part if c.source} for part in parts]
    assert len(used[0] | used[1] | used[2]) == sum(len(part) for part in used)
    for one, two in zip(material.search, material.held_out, strict=True):
        assert not np.array_equal(one.sound, two.sound), one.kind
    for clip in (c for part in parts for c in part):
        if clip.kind in ("speech", "music", "effects"):
            path = stems / clip.kind / clip.source
            assert clip.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
            start = round(clip.start_s * RATE_HZ)
            expected, _ = soundfile.read(path, start=start, frames=RATE_HZ // 2, dtype="float32")
            np.testing.assert_allclose(clip.sound[0], expected, atol=1e-6)


def test_made_classes_have_the_levels_they_are_named_for(stems: Path) -> None:
    material = gather(list_sources(stems, ()), RATE_HZ, clip_s=0.5, clips=1)
    by_kind = {clip.kind: clip.sound for clip in material.calibration}
    ratio = np.std(by_kind["quiet"]) / np.std(by_kind["speech"])
    assert 20 * np.log10(ratio) == pytest.approx(-30.0, abs=1e-3)
    assert np.abs(by_kind["loud"]).max() == pytest.approx(1.0)
    assert not by_kind["silence"].any()
    assert np.abs(by_kind["full scale"]).max() == pytest.approx(1.0, abs=1e-3)
    record = material.calibration[0].record(RATE_HZ)
    assert record["class"] == "speech"
    assert record["seconds"] == 0.5
    assert "/" not in str(record["source"])


def test_films_are_cut_with_all_their_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    film = write(tmp_path / "film.wav", 0.1 * rng.standard_normal((4 * RATE_HZ, 2)))
    material = gather(list_sources(None, [film]), RATE_HZ, clip_s=1.0, clips=1)
    assert [c.kind for c in material.calibration][:1] == ["media"]
    assert {c.sound.shape for c in material.calibration} == {(2, RATE_HZ)}


def test_a_source_that_is_tested_on_is_refused(stems: Path, tmp_path: Path) -> None:
    tested = stems / "music" / "0.wav"
    digest = hashlib.sha256(tested.read_bytes()).hexdigest()
    listed = tmp_path / "tests.txt"
    # As sha256sum writes it.
    listed.write_text(f"# what we measure on\n\n{digest}  clips/0.wav\n", encoding="utf-8")
    hashes = read_test_list(listed)
    assert hashes == {digest}
    with pytest.raises(UsageError, match=r"0\.wav is a sound that quality is tested on"):
        gather(list_sources(stems, ()), RATE_HZ, clip_s=0.5, clips=2, tested=hashes)
    with pytest.raises(UsageError, match="a sound that quality is tested on"):
        gather([("media", asset_path("sounds/speech.opus"))], RATE_HZ, clip_s=0.5, clips=1)
    listed.write_text("not a hash\n", encoding="utf-8")
    with pytest.raises(UsageError, match="line 1: 'not' is no SHA-256"):
        read_test_list(listed)
    with pytest.raises(UsageError, match="cannot be read"):
        read_test_list(tmp_path / "missing.txt")


def test_sources_that_cannot_serve_are_refused(stems: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either --stems DIR or --media FILE"):
        list_sources(None, ())
    with pytest.raises(UsageError, match="either"):
        list_sources(stems, [stems])
    write(tmp_path / "half" / "speech" / "a.wav", np.zeros(10))
    with pytest.raises(MediaError, match="music holds no sound"):
        list_sources(tmp_path / "half", ())
    with pytest.raises(MediaError, match="shorter than three clips"):
        gather(list_sources(stems, ()), RATE_HZ, clip_s=50.0, clips=1)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(MediaError, match="broken"):
        gather([("media", broken)], RATE_HZ, clip_s=1.0, clips=1)


def test_made_sound_fills_the_range_and_is_the_same_each_time() -> None:
    one, two = made_material(RATE_HZ, 1.0), made_material(RATE_HZ, 1.0)
    for a, b in zip(one.calibration, two.calibration, strict=True):
        np.testing.assert_array_equal(a.sound, b.sound)
    assert max(np.abs(c.sound).max() for c in one.calibration) == pytest.approx(1.0, abs=1e-3)
    assert not np.array_equal(one.calibration[0].sound, one.held_out[0].sound)


def test_files_are_from_all_over_a_class(tmp_path: Path) -> None:
    """The first files of a list are often one collection."""
    rng = np.random.default_rng(0)
    for number in range(12):
        write(tmp_path / f"{number:02}.wav", 0.1 * rng.standard_normal(RATE_HZ // 2))
    paths = sorted(tmp_path.iterdir())
    material = gather([("music", p) for p in paths], RATE_HZ, clip_s=0.5, clips=1)
    parts = (material.calibration, material.search, material.held_out)
    first, second, third = sorted(int(part[0].source[:2]) for part in parts)
    assert second - first >= 3
    assert third - second >= 3
