"""Bundles and specs of models that hear whole windows, beside those of streams."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support_engine import bundle_parts
from support_window import TINY_WINDOW, tiny_window_bundle, tiny_window_parts, with_context

from semmix.bundle import Bundle, write_bundle
from semmix.errors import ModelFormatError
from semmix.nn.base.config import BaseConfig
from semmix.nn.base.engine import window_spec
from semmix.specs import ModelSpec, WindowSpec


@pytest.mark.parametrize("context", ["text", "vision", "none"])
def test_everything_written_is_read_back(tmp_path: Path, context: str) -> None:
    spec = with_context(context)
    written = tiny_window_bundle(tmp_path / "tiny", spec)
    bundle = Bundle.load(tmp_path / "tiny")
    assert bundle.window_spec == spec
    assert bundle.sha256 == written.sha256
    assert bundle.name == "tiny-window"
    assert ("context.onnx" in bundle.manifest.files) == (context != "none")
    zipped = bundle.save(tmp_path / "tiny.zip")
    assert Bundle.load(tmp_path / "tiny.zip").sha256 == zipped.sha256


def test_a_stream_has_no_windows_and_the_other_way_round(tmp_path: Path) -> None:
    stream = write_bundle(tmp_path / "stream", **bundle_parts())  # type: ignore[arg-type]
    assert stream.window_spec is None
    assert isinstance(stream.spec, ModelSpec)
    window = tiny_window_bundle(tmp_path / "window")
    with pytest.raises(ModelFormatError, match="hears whole windows"):
        _ = window.spec


def test_what_streams_write_is_what_they_wrote_before_there_were_windows(tmp_path: Path) -> None:
    """Programs of before still read them: version 1, and no field more."""
    stream = write_bundle(tmp_path / "stream", **bundle_parts())  # type: ignore[arg-type]
    manifest = json.loads((stream.path / "bundle.json").read_text())
    assert manifest["version"] == 1
    assert "kind" not in manifest
    window = tiny_window_bundle(tmp_path / "window")
    manifest = json.loads((window.path / "bundle.json").read_text())
    assert (manifest["version"], manifest["kind"]) == (2, "window")


def test_the_default_is_read_as_ever() -> None:
    bundle = Bundle.default()
    content = (bundle.path / "bundle.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == bundle.sha256
    assert bundle.window_spec is None


@pytest.mark.parametrize("context", ["text", "none"])
def test_a_context_graph_stands_there_if_and_only_if_there_is_context(
    tmp_path: Path, context: str
) -> None:
    other = tiny_window_parts(with_context("none" if context == "text" else "text"))
    parts = tiny_window_parts(with_context(context), context=other["context"])
    with pytest.raises(ModelFormatError, match=r"takes (no )?context: give"):
        write_bundle(tmp_path / "odd", **parts)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


# --- The spec -----------------------------------------------------------------------------------


@pytest.mark.parametrize("context", ["text", "vision", "none"])
def test_a_spec_survives_json(context: str) -> None:
    for spec in (with_context(context), window_spec(BaseConfig(context=context))):  # type: ignore[arg-type]
        assert WindowSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_published_windows_are_training_clips() -> None:
    spec = window_spec(BaseConfig())
    assert (spec.bins, spec.frames, spec.window_samples) == (2048, 431, 441_000)
    assert (spec.context_dim, spec.context_vectors, spec.token_dim) == (4096, 10, 512)
    assert window_spec(BaseConfig(context="vision")).context_dim == 768
    assert spec.latency_samples == 441_001


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_fft", 63),
        ("n_fft", 64.0),
        ("hop_samples", 32),
        ("hop_samples", 0),
        ("window_samples", 63),
        ("window_samples", 1 << 26),
        ("stride_samples", 641),
        ("stride_samples", 768),
        ("stride_samples", 0),
        ("stride_samples", 320),
        ("edge_samples", -1),
        ("edge_samples", 500),
        ("context", "sound"),
        ("context", "none"),
        ("context", None),
        ("context_dim", 0),
        ("context_dim", 1 << 20),
        ("context_vectors", True),
        ("token_dim", -4),
        ("name", 3),
        ("text_encoder", None),
        ("audio", {"sample_rate_hz": 10}),
        ("audio", {"sample_rate_hz": "44100"}),
        ("audio", {}),
        ("audio", None),
    ],
)
def test_absurd_specs_are_refused(field: str, value: Any) -> None:
    data = TINY_WINDOW.to_dict() | {field: value}
    with pytest.raises(ModelFormatError, match="import the model again"):
        WindowSpec.from_dict(data)


@pytest.mark.parametrize("data", [None, [], {}, TINY_WINDOW.to_dict() | {"more": 1}])
def test_other_fields_are_refused(data: Any) -> None:
    with pytest.raises(ModelFormatError, match="the fields"):
        WindowSpec.from_dict(data)


def test_a_fade_no_longer_than_a_stride_is_taken() -> None:
    replace(TINY_WINDOW, stride_samples=384).check()
