"""What tests of whole runs share: a small real bundle, films, and a look at what was left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from support_engine import TINY_SPEC, context_onnx, highlighter_onnx, tiny_inputs, tiny_model
from support_media import Sound, make_media
from support_parity import record_of

from semmix.bundle import Bundle, write_bundle
from semmix.cues.text import TextEncoder
from semmix.specs import AudioSpec, ChunkSpec, ModelSpec, StateSpec, StftSpec

EXAMPLE = Path(__file__).parent.parent / "examples" / "bbb_meadow.mp4"


def remix_spec() -> ModelSpec:
    """The tiny model at 48 kHz, for the embeddings of the bundled text encoder."""
    encoder = TextEncoder.default()
    return replace(
        TINY_SPEC,
        audio=AudioSpec(48_000),
        stft=StftSpec(n_fft=512, hop_samples=256),
        chunk=ChunkSpec(context_frames=0, kept_frames=16, lookahead_frames=1),
        embedding_dim=encoder.dim,
        text_encoder=encoder.identifier,
        state=(TINY_SPEC.state[0], StateSpec("held", (257,))),
    )


def make_bundle(path: Path, spec: ModelSpec | None = None) -> Bundle:
    """A bundle whose seeded network listens to spectrum and cues, gains 0 to 2."""
    model = tiny_model(3, spec or remix_spec())
    # Loud enough cues that even a quiet film changes audibly.
    model = replace(model, cue=model.cue * np.float32(12.0))
    spectrum, tokens, weights, state = tiny_inputs(model)
    mask, following = model.run(spectrum, tokens, weights, state)
    golden = {"spectrum": spectrum, "tokens": tokens, "weights": weights, "mask": mask}
    for known, before, after in zip(model.spec.state, state, following, strict=True):
        golden |= {known.name: before, f"next_{known.name}": after}
    graph = highlighter_onnx(model)
    return write_bundle(
        path,
        model.spec,
        context=context_onnx(model),
        highlighters={"fp32": graph},
        golden=golden,
        model_card="# tiny\n",
        provenance={},
        parity={"fp32": record_of(graph)},
    )


def programme(seconds: float, rate_hz: int = 48_000, channels: int = 2, seed: int = 0) -> NDArray:
    """Band-limited noise `[C, n]` whose level moves, quiet enough never to clip."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    noise = rng.standard_normal((channels, samples))
    noise = np.cumsum(noise - noise.mean(axis=1, keepdims=True), axis=1)
    noise -= np.linspace(noise[:, 0], noise[:, -1], samples, axis=1)
    noise += 3.0 * rng.standard_normal((channels, samples))
    level = 1.0 + 0.8 * np.sin(2 * np.pi * np.arange(samples) / rate_hz)
    return (0.1 * level * noise / np.abs(noise).max()).astype(np.float32)


def film(path: Path, seconds: float = 2.0, **sound: object) -> Path:
    """A film with an MPEG-4 picture and one sound, stereo AAC by default."""
    rate_hz = sound.pop("rate", 48_000)
    channels = sound.pop("channels", 2)
    codec = sound.pop("codec", "aac")
    samples = programme(seconds, rate_hz, channels)
    return make_media(
        path, Sound(codec, samples, rate=rate_hz, **sound), frames=round(25 * seconds)
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """The `with` block adds, changes and removes no file of `folder`, and leaves no thread."""
    before, threads = contents(folder), threading.active_count()
    yield
    assert contents(folder) == before
    assert threading.active_count() == threads
