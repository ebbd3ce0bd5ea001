"""Exported encoders: the vectors of their sources, without PyTorch and transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import semmix_rt
import soundfile
import tolerances
from semmix_rt.encoders import open_captions, open_frames
from support_encoders import ExportedEncoder
from support_remix import film, nothing_left, programme
from support_window import tiny_window_bundle, with_context

from semmix.cues.sheet import save_sheet
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet
from semmix.encoders.manifest import MANIFEST_NAME, WEIGHTS_NAME
from semmix.errors import ModelFormatError
from semmix.metrics import snr_db

Encoders = dict[str, ExportedEncoder]

TEXTS = (
    "rain",
    "a dark street . a man",
    "Raining, a woman: é ß 東京 🎻",
    "a woman in the rain, " * 300,
)


def said(text: str) -> CueSegment:
    return CueSegment(0.0, 1.0, 0.0, {CUE_TYPES[0]: Cue(text, 1.0)})


@pytest.fixture
def copy(exported_encoders: Encoders, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_encoders["bert"].folder, tmp_path / "copy"))


@pytest.mark.parametrize(("name", "width"), [("t5", 64), ("bert", 24)])
def test_texts_become_the_vectors_transformers_gives(
    exported_encoders: Encoders, name: str, width: int
) -> None:
    import torch
    import transformers

    encoder = exported_encoders[name]
    embed = open_captions(encoder.folder, width)
    kind = {"t5": transformers.T5EncoderModel, "bert": transformers.BertModel}[name]
    model = kind.from_pretrained(encoder.source).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder.source)
    most = {"t5": 512, "bert": 128}[name]
    vectors = []
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=most, return_tensors="pt")
        with torch.no_grad():
            states = model(inputs.input_ids, attention_mask=inputs.attention_mask)
        expected = states.last_hidden_state[0].double().mean(0).numpy().astype(np.float32)
        vectors.append(embed(said(text))[0])
        assert snr_db(expected, vectors[-1]) > tolerances.ENCODER_SNR_DB
    assert len(tokenizer(TEXTS[-1]).input_ids) > most
    assert snr_db(vectors[0], vectors[1]) < 20.0


def test_pictures_become_the_features_transformers_gives(exported_encoders: Encoders) -> None:
    encoder = exported_encoders["clip"]
    source, exported = open_frames(encoder.source, 24), open_frames(encoder.folder, 24)
    assert exported.side_px == source.side_px == 32
    assert exported.identifier == source.identifier
    rng = np.random.default_rng(1)
    for _ in range(3):
        image = rng.integers(0, 256, (32, 32, 3), np.uint8)
        assert snr_db(source(image), exported(image)) > tolerances.ENCODER_SNR_DB


@pytest.mark.parametrize(("name", "width"), [("t5", 64), ("bert", 24)])
def test_an_export_stands_for_its_source_and_for_no_other(
    exported_encoders: Encoders, tmp_path: Path, name: str, width: int
) -> None:
    """Reports and the cache of vectors go by the identifier."""
    encoder = exported_encoders[name]
    source, exported = open_captions(encoder.source, width), open_captions(encoder.folder, width)
    assert (exported.identifier, exported.key) == (source.identifier, source.key)
    other = Path(shutil.copytree(encoder.source, tmp_path / encoder.source.name))
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert open_captions(other, width).key != exported.key


def test_another_width_or_kind_is_refused_unread(copy: Path) -> None:
    (copy / "model.onnx").write_bytes(b"never read")
    with pytest.raises(ModelFormatError, match="vectors of 24 numbers and the model takes 4096"):
        open_captions(copy, 4096)
    with pytest.raises(ModelFormatError, match=r"'text' encoder .*: give a vision encoder"):
        open_frames(copy, 24)


@pytest.mark.parametrize("kind", ["text", "vision"])
def test_remix_needs_neither_pytorch_nor_transformers(
    exported_encoders: Encoders, tmp_path: Path, kind: str
) -> None:
    encoder = exported_encoders["bert" if kind == "text" else "clip"].folder
    model = tiny_window_bundle(tmp_path / "model", with_context(kind, context_dim=24)).path
    source = film(tmp_path / "film.mp4", 1.0)
    line = [
        *("remix", str(source), "-o", str(tmp_path / "out.mp4"), "--model", str(model)),
        *(f"--{kind}-encoder", str(encoder), "--json"),
    ]
    code = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('torch', 'transformers', 'safetensors', 'optimum'))\n"
        "from semmix_rt.cli.root import main\n"
        f"sys.exit(main({line!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["model"]["text_encoder"].startswith(encoder.name.removesuffix("-onnx") + "/")
    assert (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("name", ["model.onnx", WEIGHTS_NAME, "tokenizer.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "link"])
def test_files_are_those_that_were_exported(
    copy: Path, tmp_path: Path, name: str, damage: str
) -> None:
    path = copy / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "changed":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        path.symlink_to(tmp_path / "elsewhere")
    embed = open_captions(copy, 24)
    with pytest.raises(ModelFormatError, match="not the file the encoder was exported with"):
        embed(said("rain"))


def test_a_damaged_encoder_leaves_no_output(copy: Path, tmp_path: Path) -> None:
    (copy / "model.onnx").write_bytes(b"no graph")
    model = tiny_window_bundle(tmp_path / "model", with_context("text", context_dim=24)).path
    sheet = tmp_path / "cues.json"
    source = tmp_path / "in.wav"
    soundfile.write(source, programme(0.5).T, 48_000, subtype="FLOAT")
    save_sheet(CueSheet((said("rain"),)), sheet)
    with nothing_left(tmp_path), pytest.raises(ModelFormatError, match="exported with"):
        semmix_rt.remix(source, model=model, text_encoder=copy, cues=sheet)


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("format", "semmix-bundle", "does not describe an encoder"),
        ("version", 2, "of another version"),
        ("surplus", 1, "of another version"),
        ("pooling", "first", "pooling 'first'"),
        ("dim", 0, "dim is 0"),
        ("dim", True, "dim is True"),
        ("length", 1 << 20, "length is 1048576"),
        ("identifier", "", "the identifier ''"),
        ("identifier", ["x"], "the identifier"),
        ("provenance", [], "'provenance' is not a table"),
        ("parity", {"passed": False}, "does not say that it agrees"),
        ("parity", {}, "does not say that it agrees"),
        ("files", {}, "lists the files"),
        ("files", {"../model.onnx": {"sha256": "0" * 64, "bytes": 1}}, "which no encoder holds"),
        ("files", {"model.onnx": {"sha256": "0" * 64, "bytes": 1 << 40}}, "outside 1"),
        ("files", {"model.onnx": {"sha256": "x", "bytes": 1}}, "no valid SHA-256"),
    ],
)
def test_hostile_descriptions_are_refused(copy: Path, field: str, value: Any, match: str) -> None:
    path = copy / MANIFEST_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ModelFormatError, match=match):
        open_captions(copy, 24)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b" " * (2 << 20)])
def test_what_is_no_description_is_one_sentence(copy: Path, content: bytes) -> None:
    (copy / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ModelFormatError) as caught:
        open_captions(copy, 24)
    assert "\n" not in str(caught.value)
