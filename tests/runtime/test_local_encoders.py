"""Encoders that users have on their disk: tiny random ones of the right width, made here."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tolerances
import torch
import transformers
from semmix_rt.cues.keyframes import index_picture
from semmix_rt.cues.seconds import iter_seconds
from semmix_rt.encoders import open_captions, open_frames
from semmix_rt.frame_feed import FrameFeed
from support_encoders import WORDS, clip, t5
from support_remix import EXAMPLE

from semmix.cues.types import CUE_TYPES, Cue, CueSegment
from semmix.encoders.captions import CaptionEmbedder
from semmix.encoders.folders import fingerprint
from semmix.encoders.frames import FrameEmbedder
from semmix.errors import MediaError, ModelFormatError, UsageError

MS = Fraction(1, 1000)
SEGMENT = CueSegment(
    0.0, 1.0, 0.0, {CUE_TYPES[0]: Cue("a man .", 1.0), CUE_TYPES[4]: Cue("a dark street", 0.5)}
)


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return t5(tmp_path_factory.mktemp("encoders") / "t5-tiny")


@pytest.fixture(scope="module")
def vision_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("encoders") / "clip-tiny")


@pytest.fixture
def copy(text_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_folder, tmp_path / "copy"))


# --- Text ---------------------------------------------------------------------------------------


def test_a_caption_becomes_the_mean_of_its_tokens_states(text_folder: Path) -> None:
    embedder = CaptionEmbedder(text_folder, 4096)
    assert embedder.sentences(SEGMENT) == ["a man . a dark street"]
    found = embedder(SEGMENT)
    assert found.shape == (1, 4096)
    assert found.dtype == np.float32
    ids = torch.tensor([[WORDS.index(w) for w in ["a", "man", ".", "a", "dark", "street", "</s>"]]])
    model = transformers.T5EncoderModel.from_pretrained(text_folder).eval()
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state[0].double().mean(0).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found[0], expected, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


def test_other_captions_give_other_vectors_and_none_gives_zeros(text_folder: Path) -> None:
    embedder = CaptionEmbedder(text_folder, 4096)
    other = CueSegment(0.0, 1.0, 0.0, {CUE_TYPES[0]: Cue("quiet rain", 1.0)})
    assert not np.allclose(embedder(SEGMENT), embedder(other))
    nothing = CueSegment(0.0, 1.0, 0.0, {})
    assert embedder.sentences(nothing) == [None]
    assert not embedder(nothing).any()


def test_encoders_without_a_decoder_load_too(tmp_path: Path, text_folder: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "bert"))
    (folder / "model.safetensors").unlink()
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        **{"hidden_size": 24, "intermediate_size": 8, "num_hidden_layers": 1},
        num_attention_heads=2,
    )
    transformers.BertModel(config).save_pretrained(folder)
    assert CaptionEmbedder(folder, 24)(SEGMENT).shape == (1, 24)


def test_half_precision_is_run_in_float32(tmp_path: Path, text_folder: Path) -> None:
    folder = Path(shutil.copytree(text_folder, tmp_path / "half"))
    model = transformers.T5EncoderModel.from_pretrained(folder)
    model.bfloat16().save_pretrained(folder)
    exact, halved = CaptionEmbedder(text_folder, 4096), CaptionEmbedder(folder, 4096)
    scale = np.abs(exact(SEGMENT)).max()
    np.testing.assert_allclose(
        halved(SEGMENT), exact(SEGMENT), rtol=0.0, atol=scale * tolerances.BFLOAT16_REL
    )


def test_a_text_encoder_of_another_width_is_refused_unread(tmp_path: Path) -> None:
    folder = t5(tmp_path / "narrow", width=64)
    (folder / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ModelFormatError, match="vectors of 64 numbers and the model takes 4096"):
        CaptionEmbedder(folder, 4096)


def test_pickled_weights_are_refused_unread(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match="pickled weights are not read"):
        CaptionEmbedder(copy, 4096)


def test_code_in_a_folder_is_not_run(copy: Path, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    (copy / "evil.py").write_text(f"open({str(witness)!r}, 'w')\nclass Config: pass\n")
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        CaptionEmbedder(copy, 4096)
    assert not witness.exists()


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["encoder.block.0.layer.0.SelfAttention.q.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelFormatError, match=r"lacks 1 of its weights, such as .*q\.weight"):
        CaptionEmbedder(copy, 4096)(SEGMENT)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff" * 64])
def test_damaged_weights_are_one_sentence(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFormatError, match="cannot be loaded") as caught:
        CaptionEmbedder(copy, 4096)(SEGMENT)
    assert "\n" not in str(caught.value)


def test_a_missing_or_damaged_tokenizer_is_named(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelFormatError, match="tokenizer of the text encoder"):
        CaptionEmbedder(copy, 4096)(SEGMENT)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelFormatError, match="has no tokenizer"):
        CaptionEmbedder(copy, 4096)


def test_they_are_found_by_name(text_folder: Path, vision_folder: Path) -> None:
    assert isinstance(open_captions(text_folder, 4096), CaptionEmbedder)
    assert isinstance(open_frames(vision_folder, 768), FrameEmbedder)


def test_what_is_no_folder_is_a_wrong_option(tmp_path: Path) -> None:
    for kind in (CaptionEmbedder, FrameEmbedder):
        with pytest.raises(UsageError, match="is no folder"):
            kind(tmp_path / "absent", 4096)


def test_the_identifier_changes_with_the_weights(copy: Path, text_folder: Path) -> None:
    before = CaptionEmbedder(copy, 4096).identifier
    assert before.startswith("copy/")
    assert fingerprint(copy) == fingerprint(text_folder)
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert CaptionEmbedder(copy, 4096).identifier != before


# --- Vision -------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True])
def test_a_frame_becomes_clips_feature_of_length_1(tmp_path: Path, whole: bool) -> None:
    folder = clip(tmp_path / "clip", whole=whole)
    embedder = FrameEmbedder(folder, 768)
    assert embedder.side_px == 32
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = embedder(image)
    assert found.shape == (768,)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=tolerances.EMBEDDING_FLOAT32)
    # The library's own preprocessing has nothing left to resize or crop.
    processor = transformers.image_transforms
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    pixels = processor.normalize(image / 255.0, mean, std, input_data_format="channels_last")
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    with torch.no_grad():
        feature = model(torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()).image_embeds[0]
    expected = feature / feature.norm()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerances.LAYER_FLOAT32)


def test_other_models_are_no_vision_encoders(text_folder: Path, vision_folder: Path) -> None:
    with pytest.raises(ModelFormatError, match="'t5' model: give a CLIP one"):
        FrameEmbedder(text_folder, 4096)
    with pytest.raises(ModelFormatError, match="vectors of 768 numbers and the model takes 512"):
        FrameEmbedder(vision_folder, 512)


# --- A frame a second ---------------------------------------------------------------------------


def moving_grey(path: Path, times_s: list[float], width: int = 64, height: int = 48) -> Path:
    """A lossless film whose frames, at any times, each have a grey of their own."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1000)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        stream.codec_context.time_base = stream.time_base = MS
        for i, time_s in enumerate(times_s):
            grey = np.full((height, width, 3), 20 + 10 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuv444p")
            frame.pts, frame.time_base = round(1000 * time_s), MS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_seconds_are_those_of_presentation_not_of_frame_counts(tmp_path: Path) -> None:
    """At uneven times, each second gets the frame that is on screen then."""
    times_s = [0.0, 0.4, 0.999, 1.0, 1.001, 4.2, 4.5, 5.0, 5.3]
    film = moving_grey(tmp_path / "film.mkv", times_s)
    found = {round(t, 3): int(image.mean()) for t, image in iter_seconds(film, 32)}
    shown = {0: 0.0, 1: 1.0, 2: 1.001, 3: 1.001, 4: 1.001, 5: 5.0}
    expected = {s: 20 + 10 * times_s.index(t) for s, t in shown.items()}
    assert found.keys() == expected.keys()
    for second, grey in expected.items():
        assert abs(found[second] - grey) <= 2


def test_a_late_start_is_kept(tmp_path: Path) -> None:
    film = moving_grey(tmp_path / "film.mkv", [2.5, 3.0, 3.6, 4.0])
    assert [round(t, 3) for t, _ in iter_seconds(film, 32)] == [2.5, 3.5]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (20, 30), (33, 33)])
def test_the_middle_of_the_picture_is_seen(tmp_path: Path, width: int, height: int) -> None:
    film = moving_grey(tmp_path / "film.mkv", [0.0], width, height)
    ((time_s, image),) = iter_seconds(film, 32)
    assert time_s == 0.0
    assert image.shape == (32, 32, 3)
    assert image.flags.c_contiguous


def test_damage_and_absence(tmp_path: Path) -> None:
    import soundfile

    sound = tmp_path / "sound.wav"
    soundfile.write(sound, np.zeros(100), 8_000)
    assert list(iter_seconds(sound, 32)) == []
    with pytest.raises(MediaError, match="does not exist"):
        list(iter_seconds(tmp_path / "absent.mp4", 32))


def test_a_films_vectors_are_made_ahead_and_the_last_one_holds(vision_folder: Path) -> None:
    embedder = FrameEmbedder(vision_folder, 768)
    index = index_picture(EXAMPLE)
    assert index is not None
    with FrameFeed(EXAMPLE, embedder) as feed:
        assert feed.preview().segments is None
        held = list(feed)
        feed.drain()
        report = feed.report()
    assert [h.start_s for h in held] == [index.start_s + i for i in range(len(held))]
    assert len(held) == 20
    assert held[-1].end_s == np.inf
    frames = iter_seconds(EXAMPLE, embedder.side_px)
    for one, (_, image) in zip(held, frames, strict=True):
        np.testing.assert_array_equal(one.vector, embedder(image))
    assert report.segments == len(held)
    assert report.extractor == embedder.identifier
    assert feed.worked_s > 0.0
