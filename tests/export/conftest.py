"""Exports that the tests of the room share: each takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from semmix_export import window_bundle
from semmix_export.window_bundle import export_window_bundle
from support_checkpoint import lively_weights, narrow_shapes, published, save_lightning
from support_export import Exported
from support_window import short_windows

from semmix.bundle import Bundle
from semmix.nn import BaseSemMix
from semmix.nn.base.checkpoint import load_published


@pytest.fixture
def quick_export(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter answer at once with the graphs it made for the session."""

    def write(content: bytes) -> object:
        return lambda network, path, opset: path.write_bytes(content)

    context, highlighter = exported.bundle.context_graph(), exported.bundle.highlighter_graph()
    monkeypatch.setattr("semmix_export.bundle.export_context", write(context))
    monkeypatch.setattr("semmix_export.bundle.export_highlighter", write(highlighter))


@dataclass(frozen=True)
class ExportedWindows:
    """A checkpoint, its network and bundle of short windows, and the steps that were told."""

    checkpoint: Path
    network: BaseSemMix
    bundle: Bundle
    steps: tuple[str, ...]


@pytest.fixture(scope="session")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> ExportedWindows:
    """One export for all tests: it takes a minute of a processor.

    The checkpoint's names and shapes come from the published list, not from this network.
    """
    folder = tmp_path_factory.mktemp("window")
    state = published(lively_weights(narrow_shapes()))
    checkpoint = save_lightning(folder / "visah.ckpt", state)
    network, steps = load_published(checkpoint), []
    bundle = export_window_bundle(
        network,
        folder / "base",
        model_card="# Größe\n",
        spec=short_windows(network),
        provenance={"checkpoint": {"name": "visah.ckpt"}},
        with_torch=True,
        tell=steps.append,
    )
    return ExportedWindows(checkpoint, network, bundle, tuple(steps))


@pytest.fixture
def quick_window_export(windowed: ExportedWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter answer at once with the graphs it made before."""

    def write(content: bytes) -> object:
        return lambda network, spec, path, opset: path.write_bytes(content)

    context, highlighter = windowed.bundle.context_graph(), windowed.bundle.highlighter_graph()
    monkeypatch.setattr(window_bundle, "export_window_context", write(context))
    monkeypatch.setattr(window_bundle, "export_window_highlighter", write(highlighter))
