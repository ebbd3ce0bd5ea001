"""`remix` and `Remixer` with models that hear whole windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import semmix_rt
import soundfile
from semmix_rt import Remixer, hearing, remixer
from semmix_rt.cli.root import main
from semmix_rt.window_context import Held, HeldVectors, held_segments
from semmix_rt.window_stream import WindowStream
from support_guides import Captions, Frames
from support_media import packets_of
from support_remix import EXAMPLE, film, nothing_left, programme
from support_window import TinyWindowEngine, tiny_window_bundle, with_context
from tolerances import REMIX_FLOAT32

from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet
from semmix.errors import UsageError

SHEET = CueSheet(
    (
        CueSegment(0.0, 0.03, 0.0, {CUE_TYPES[3]: Cue("A tense, dark scene.", 1.0)}),
        CueSegment(0.03, 30.0, 1.0, {CUE_TYPES[5]: Cue("A man is talking.", 1.0)}),
    )
)


@pytest.fixture(autouse=True)
def _encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoders' own tests are elsewhere."""
    monkeypatch.setattr(hearing, "open_captions", Captions)
    monkeypatch.setattr(hearing, "open_frames", Frames)
    monkeypatch.setattr(remixer, "open_captions", Captions)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("windows")
    return {
        kind: tiny_window_bundle(folder / kind, with_context(kind)).path
        for kind in ("text", "vision", "none")
    }


def settings(models: dict[str, Path], kind: str) -> dict[str, Any]:
    given: dict[str, Any] = {"model": models[kind]}
    if kind != "none":
        given[f"{kind}_encoder"] = "encoder"
    return given


@pytest.mark.parametrize("kind", ["text", "vision", "none"])
def test_a_film_gets_another_sound_and_keeps_its_picture(
    tmp_path: Path, models: dict[str, Path], kind: str
) -> None:
    source = film(tmp_path / "film.mp4")
    result = semmix_rt.remix(source, **settings(models, kind))
    before, after = packets_of(source), packets_of(result.output)
    assert [p.digest for p in after if p.kind == "video"] == [
        p.digest for p in before if p.kind == "video"
    ]
    report = result.report
    # Other tests may have read the same picture.
    assert report.cues.source in (("none",) if kind == "none" else ("extractor", "cache"))
    assert report.model.text_encoder == {"text": "lengths", "vision": "colours", "none": ""}[kind]
    assert report.model.level_gain_db == 0.0
    assert report.model.latency_ms == pytest.approx(1e3 * 1_001 / 16_000)
    assert report.timings is not None
    # 2 s at 16 kHz in windows of 1000 every 640 samples, for each of two channels.
    assert report.timings.chunks >= 2 * 48
    assert report.sync is not None
    assert report.sync.offset_samples is not None
    assert not [w for w in result.warnings if "cue" in w]


def test_picture_and_cues_matter(tmp_path: Path, models: dict[str, Path]) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(0.5).T, 48_000, subtype="FLOAT")
    sounds = []
    for cues in (SHEET, CueSheet(SHEET.segments[:1])):
        result = semmix_rt.remix(
            source, tmp_path / "out.wav", cues=cues, overwrite=True, **settings(models, "text")
        )
        assert result.report.cues.source == "sheet"
        sounds.append(soundfile.read(result.output)[0])
    assert np.abs(sounds[0] - sounds[1]).max() > 1e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_remixer_gives_what_the_file_gives(
    tmp_path: Path, models: dict[str, Path], channels: int
) -> None:
    sound = programme(0.4, 48_000, channels)
    source = tmp_path / "in.wav"
    soundfile.write(source, sound.T, 48_000, subtype="FLOAT")
    result = semmix_rt.remix(source, cues=SHEET, **settings(models, "text"))
    whole = soundfile.read(result.output, dtype="float32", always_2d=True)[0].T
    assert not np.allclose(whole, sound)
    with Remixer(48_000, channels, SHEET, **settings(models, "text")) as player:
        for block in (61, 4_800, sound.shape[1]):
            parts = [player.process(sound[:, i : i + block]) for i in range(0, 19_200, block)]
            assert np.array_equal(np.concatenate([*parts, player.flush()], axis=1), whole)
            player.reset()


def test_a_remixer_without_cues_hears_no_context(models: dict[str, Path]) -> None:
    sound = programme(0.2, 16_000)
    with_none = Remixer(16_000, 2, **settings(models, "none"))
    nothing = Remixer(16_000, 2, **settings(models, "text"))
    outs = [np.concatenate((p.process(sound), p.flush()), axis=1) for p in (with_none, nothing)]
    # Zero vectors give zero tokens in the tiny model.
    np.testing.assert_allclose(outs[0], outs[1], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["text", "none"])
def test_amount_0_gives_every_sample_back(
    tmp_path: Path, models: dict[str, Path], kind: str
) -> None:
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(0.7, 44_100).T * 8, 44_100, subtype="PCM_24")
    result = semmix_rt.remix(source, amount=0.0, **settings(models, kind))
    dry, wet = (soundfile.read(p, dtype="int32")[0] for p in (source, result.output))
    assert np.array_equal(wet, dry)


def test_a_dry_run_runs_nothing(tmp_path: Path, models: dict[str, Path]) -> None:
    for kind in ("text", "vision", "none"):
        with nothing_left(tmp_path):
            result = semmix_rt.remix(EXAMPLE, dry_run=True, **settings(models, kind))
        assert result.report.timings is None


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_a_missing_encoder_is_one_sentence(
    tmp_path: Path, models: dict[str, Path], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = film(tmp_path / "film.mp4")
    with nothing_left(tmp_path):
        assert main(["remix", str(source), "--model", str(models[kind])]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"needs a {kind} encoder" in line
    assert f"pass --{kind}-encoder" in line


@pytest.mark.parametrize(
    ("kind", "given", "clue"),
    [
        ("text", {"vision_encoder": "e"}, "takes no vectors of a vision encoder"),
        ("vision", {"text_encoder": "e"}, "takes no vectors of a text encoder"),
        ("none", {"text_encoder": "e"}, "takes no vectors of a text encoder"),
        ("vision", {"cues": SHEET}, "looks at the picture itself"),
        ("none", {"cues": SHEET}, "takes no cues"),
        ("text", {"max_gain_db": 6.0}, "no largest gain"),
        ("none", {"programme_lufs": -23.0}, "as loud as it is"),
    ],
)
def test_what_a_model_has_no_use_for_is_refused(
    tmp_path: Path, models: dict[str, Path], kind: str, given: dict[str, Any], clue: str
) -> None:
    source = film(tmp_path / "film.mp4")
    with nothing_left(tmp_path), pytest.raises(UsageError, match=clue):
        semmix_rt.remix(source, **{**settings(models, kind), **given})


def test_the_default_model_takes_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --text-encoder out"):
        semmix_rt.remix(film(tmp_path / "film.mp4"), text_encoder="e")
    with pytest.raises(UsageError, match="leave --text-encoder out"):
        Remixer(text_encoder="e")


def test_remixers_refuse_the_same(models: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="looks at the picture itself"):
        Remixer(model=models["vision"])
    with pytest.raises(UsageError, match="needs a text encoder"):
        Remixer(model=models["text"])
    with pytest.raises(UsageError, match="takes no cues"):
        Remixer(cues=SHEET, model=models["none"])
    player = Remixer(model=models["none"])
    with pytest.raises(UsageError, match="takes no cues"):
        player.reset(SHEET)
    with pytest.raises(UsageError, match="as loud as it is"):
        player.reset(programme_lufs=-23.0)
    with pytest.raises(UsageError, match="no largest gain"):
        Remixer(model=models["none"], max_gain_db=3.0)


# --- Vectors instead of cues and pictures -------------------------------------------------------


def played(remixer: Remixer, sound: np.ndarray) -> np.ndarray:
    return np.concatenate((remixer.process(sound), remixer.flush()), axis=1)


def vectors_of(*rows: np.ndarray) -> list[Held]:
    """Each for a twentieth of a second, the last for good."""
    starts = 0.05 * np.arange(len(rows))
    return [Held(a, b, v) for a, b, v in zip(starts, [*starts[1:], np.inf], rows, strict=True)]


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_a_remixer_hears_the_vectors_it_is_given(models: dict[str, Path], kind: str) -> None:
    sound = programme(0.3, 16_000)
    rows = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
    with Remixer(16_000, 2, model=models[kind], vectors=vectors_of(*rows)) as player:
        found = played(player, sound)
        assert (player.engine, player.provider) == ("ort", "CPUExecutionProvider")
        assert player.encoder == ""
        context = HeldVectors(vectors_of(*rows), 6)
        expected = WindowStream(TinyWindowEngine(with_context(kind)), context, 16_000, 2)
        whole = np.concatenate((expected.push(sound), expected.finish()), axis=1)
        np.testing.assert_allclose(found, whole, rtol=0.0, atol=REMIX_FLOAT32)
        player.reset()
        assert np.array_equal(played(player, sound), found)
        player.reset(vectors=vectors_of(*rows[::-1]))
        assert np.abs(played(player, sound) - found).max() > 1e-3
        player.reset(vectors=())
        nothing = played(player, sound)
    with Remixer(16_000, 2, model=models["none"]) as plain:
        np.testing.assert_allclose(nothing, played(plain, sound), rtol=0.0, atol=1e-6)


def test_vectors_are_what_an_encoder_would_have_made_of_the_cues(models: dict[str, Path]) -> None:
    sound = programme(0.3, 16_000)
    embed = Captions(Path("encoder"), 6)
    held = list(held_segments(SHEET.segments, embed))
    with Remixer(16_000, 2, SHEET, **settings(models, "text")) as told:
        expected = played(told, sound)
        assert told.encoder == "lengths"
        told.reset(vectors=held)
        assert np.array_equal(played(told, sound), expected)


@pytest.mark.parametrize(
    ("vectors", "clue"),
    [
        ([Held(0.0, 1.0, np.zeros(5, np.float32))], r"takes floats \[6\]"),
        ([Held(0.0, 1.0, np.zeros(6, np.int32))], r"takes floats \[6\]"),
        ([Held(0.0, 1.0, np.full(6, np.nan, np.float32))], "NaN or infinity"),
        ([Held(1.0, 1.0, np.zeros(6, np.float32))], "order of time, none of them empty"),
        ([Held(np.nan, 1.0, np.zeros(6, np.float32))], "order of time"),
        ([Held(t, 2.0, np.zeros(6, np.float32)) for t in (1.0, 0.0)], "order of time"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    models: dict[str, Path], vectors: list[Held], clue: str
) -> None:
    with pytest.raises(UsageError, match=clue):
        Remixer(16_000, 2, model=models["vision"], vectors=vectors)


def test_vectors_where_nothing_takes_them_are_refused(models: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="takes cues, not context vectors"):
        Remixer(vectors=())
    with pytest.raises(UsageError, match="takes no context"):
        Remixer(model=models["none"], vectors=())
    with pytest.raises(UsageError, match="give one of them"):
        Remixer(cues=SHEET, model=models["text"], vectors=())
    with pytest.raises(UsageError, match="takes no vectors of a text encoder"):
        Remixer(model=models["vision"], vectors=(), text_encoder="e")
    with pytest.raises(UsageError, match="give it vectors, or open it with a text encoder"):
        Remixer(model=models["text"], vectors=()).reset(SHEET)
