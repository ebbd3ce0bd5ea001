"""`semmix-rt evaluate` on models that hear whole windows, told by vectors of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from semmix_rt import hearing, remixer
from semmix_rt.cli.root import main
from semmix_rt.window_context import Held, HeldVectors
from semmix_rt.window_stream import WindowStream
from support_guides import Captions, Frames
from support_muddymix import RATE_HZ, make_clip, picture
from support_window import TinyWindowEngine, tiny_window_bundle, with_context

from semmix.cues.sheet import save_sheet
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet
from semmix.metrics import PUBLISHED_SCALE, at_44100, mag
from semmix.specs import WindowSpec
from semmix.training import remixing
from semmix.training.muddymix_files import FEATURE_FILES

FILMS = ("alpha", "beta")
DIM = 6


def spec_of(kind: str) -> WindowSpec:
    """Windows of two seconds: few of them make a clip."""
    return with_context(
        kind,
        n_fft=1_024,
        hop_samples=256,
        window_samples=32_000,
        stride_samples=25_600,
        edge_samples=3_000,
    )


def feature_table(kind: str, film: str) -> np.ndarray:
    """Twelve seconds, of which ten are used."""
    rng = np.random.default_rng([*kind.encode(), *film.encode()])
    return rng.standard_normal((12, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("windows")
    return {
        kind: tiny_window_bundle(folder / kind, spec_of(kind)).path
        for kind in ("text", "vision", "none")
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of each of two films, with vectors of both kinds, as the data set gives them."""
    folder = tmp_path_factory.mktemp("muddy") / "MuddyMix"
    for film in FILMS:
        clip = make_clip(folder, film, 1)
        for kind, name in FEATURE_FILES.items():
            (clip / name).parent.mkdir()
            torch.save(torch.from_numpy(feature_table(kind, film)).requires_grad_(), clip / name)
    return folder


def run(root: Path, model: Path, path: Path, *more: object) -> int:
    arguments = ["--muddymix", root, "--model", model, "--json", path, "-y", *more]
    return main(["evaluate", *(str(a) for a in arguments)])


def remixed(kind: str, film: str, root: Path, vectors: np.ndarray) -> np.ndarray:
    """The muddy mix of a film's clip, in NumPy, told a vector a second."""
    clip = root / film / "sub_video" / f"{film}_001"
    mix, _ = soundfile.read(clip / "remix_global" / "target_mix.wav", dtype="float32")
    held = [Held(k, k + 1 if k < 9 else np.inf, v) for k, v in enumerate(vectors[:10])]
    context = None if kind == "none" else HeldVectors(held, DIM)
    stream = WindowStream(TinyWindowEngine(spec_of(kind)), context, RATE_HZ, 1)
    return np.concatenate((stream.push(mix[None]), stream.finish()), axis=1)[0]


def distance(root: Path, film: str, sound: np.ndarray) -> float:
    clip = root / film / "sub_video" / f"{film}_001"
    target, _ = soundfile.read(clip / "audio_raw" / f"{film}.wav", dtype="float32")
    return PUBLISHED_SCALE * mag(at_44100(target, RATE_HZ), at_44100(sound, RATE_HZ))


def found(data: dict[str, Any], film: int, condition: str) -> float:
    return float(data["clips"][film]["measures"][condition]["mag"])


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_the_vectors_of_the_data_set_tell_the_model(
    tmp_path: Path, models: dict[str, Path], root: Path, kind: str, capsys
) -> None:
    path = tmp_path / "numbers.json"
    assert run(root, models[kind], path) == 0
    assert "right cues against swapped cues: mag" in capsys.readouterr().out
    data = json.loads(path.read_text())
    assert (data["told"], data["encoder"]) == (kind, "")
    assert (data["engine"], data["provider"]) == ("ort", "CPUExecutionProvider")
    assert data["sample_rate_hz"] == RATE_HZ
    assert [clip["donor"] for clip in data["clips"]] == [1, 0]
    for number, film in enumerate(FILMS):
        other = FILMS[1 - number]
        own, lent = feature_table(kind, film), feature_table(kind, other)
        for condition, vectors in (("right", own), ("swapped", lent), ("none", 0 * own)):
            expected = distance(root, film, remixed(kind, film, root, vectors))
            assert found(data, number, condition) == pytest.approx(expected, rel=1e-3)
    means = [data["mean"][c]["mag"] for c in ("right", "none", "swapped")]
    assert len(set(means)) == 3


def test_a_model_without_context_fills_the_column_without_cues(
    tmp_path: Path, models: dict[str, Path], root: Path, capsys
) -> None:
    path = tmp_path / "numbers.json"
    assert run(root, models["none"], path) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["mag"])
    assert row.split()[2::2] == ["-", "-"]
    data = json.loads(path.read_text())
    assert data["told"] == "nothing"
    for number, film in enumerate(FILMS):
        expected = distance(root, film, remixed("none", film, root, np.zeros((0, DIM))))
        assert found(data, number, "none") == pytest.approx(expected, rel=1e-3)
        assert data["clips"][number]["measures"]["right"]["mag"] is None
        assert data["clips"][number]["donor"] is None
    assert data["change_percent"]["right against input"]["mag"] is None
    assert data["change_percent"]["none against input"]["mag"] is not None


def test_encoders_that_are_given_make_the_vectors_anew(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remixer, "open_captions", Captions)
    monkeypatch.setattr(remixing, "open_frames", Frames)
    monkeypatch.setattr(hearing, "open_captions", Captions)
    root = tmp_path / "m"
    for film, text in zip(FILMS, ("A forest.", "A long street at night."), strict=True):
        cues = {CUE_TYPES[0]: Cue(text, 1.0)}
        sheet = CueSheet((CueSegment(0.0, 10.0, 5.0, cues),))
        clip = make_clip(root, film, 1)
        save_sheet(sheet, clip / "cues.json")
        picture(clip / "frames" / "001.png", len(text))
    path = tmp_path / "numbers.json"
    assert run(root, models["text"], path, "--text-encoder", "t5", "--ablate") == 0
    data = json.loads(path.read_text())
    assert (data["told"], data["encoder"]) == ("cues", "lengths")
    told = np.full((10, DIM), len("A forest.") / 20, np.float32)
    for condition, vectors in (("right", told), ("only_emotion", 0 * told)):
        expected = distance(root, "alpha", remixed("text", "alpha", root, vectors))
        assert found(data, 0, condition) == pytest.approx(expected, rel=1e-3)
    assert run(root, models["vision"], path, "--vision-encoder", "clip") == 0
    data = json.loads(path.read_text())
    assert (data["told"], data["encoder"]) == ("pictures", "colours")
    assert len({data["mean"][c]["mag"] for c in ("right", "none", "swapped")}) == 3


def test_what_does_not_fit_is_one_sentence(
    tmp_path: Path, models: dict[str, Path], root: Path, capsys
) -> None:
    path = tmp_path / "numbers.json"

    def refusal(code: int, *arguments: object) -> str:
        assert main(["evaluate", *(str(a) for a in arguments)]) == code
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    bare = make_clip(tmp_path / "bare", "alpha", 1)
    muddy = ("--muddymix", tmp_path / "bare", "--json", path, "--model")
    assert FEATURE_FILES["text"] in refusal(3, *muddy, models["text"])
    assert FEATURE_FILES["vision"] in refusal(3, *muddy, models["vision"])
    (bare / "frames_feats").mkdir()
    torch.save(torch.zeros(10, DIM + 1), bare / FEATURE_FILES["vision"])
    assert f"not [seconds, {DIM}]" in refusal(3, *muddy, models["vision"])
    encoder = ("--text-encoder", "t5")
    assert "takes no vectors" in refusal(2, *muddy, models["vision"], *encoder)
    assert "takes no vectors" in refusal(2, *muddy, models["none"], *encoder)
    assert "--ablate" in refusal(2, *muddy, models["none"], "--ablate")
    assert "looks at pictures" in refusal(2, "--stems", tmp_path, "--model", models["vision"])
    assert "needs a text encoder" in refusal(2, "--stems", tmp_path, "--model", models["text"])
    assert "--muddymix" in refusal(2, "--stems", tmp_path, "--skip-incomplete")
    assert not path.exists()
