"""One export for all tests of the room: it takes seconds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import pytest
from semmix_export import window_bundle
from semmix_export.bundle import export_bundle
from semmix_export.window_bundle import export_window_bundle
from support_checkpoint import small_base
from support_training import checkpoint_of, lively_network
from support_window import short_windows

from semmix.bundle import Bundle
from semmix.nn import BaseSemMix, EdgeSemMix
from semmix.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

CARD = "# Tiny\n\nSeeded, untrained. Größe: klein.\n"


@dataclass(frozen=True)
class Exported:
    """An exported network and what it was made from."""

    network: EdgeSemMix
    checkpoint: Path
    bundle: Bundle
    warnings: tuple[str, ...]


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("export")
    path = folder / "run.safetensors"
    network = lively_network("tiny", text_encoder="words/1")
    made = checkpoint_of(network, step=11, seed=3, batch=4)
    # Only the averaged weights may be exported.
    model = {name: value + 1.0 for name, value in made.model.items()}
    save_checkpoint(
        Checkpoint(made.config, made.step, made.settings, model, made.average, {}), path
    )
    listener = _Warnings()
    logging.getLogger("torch.onnx").addHandler(listener)
    try:
        bundle = export_bundle(
            load_checkpoint(path),
            folder / "tiny",
            model_card=CARD,
            provenance={"data": {"hours": 2.5}, "licence": "CC-BY-SA-3.0"},
        )
    finally:
        logging.getLogger("torch.onnx").removeHandler(listener)
    return Exported(network, path, bundle, tuple(listener.heard))


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
    """A base network as a bundle of short windows, and the steps that were told."""

    network: BaseSemMix
    bundle: Bundle
    steps: tuple[str, ...]


@pytest.fixture(scope="session")
def windowed(tmp_path_factory: pytest.TempPathFactory) -> ExportedWindows:
    """One export for all tests: it takes a minute of a processor."""
    network, steps = small_base("text"), []
    bundle = export_window_bundle(
        network,
        tmp_path_factory.mktemp("window") / "base",
        model_card="# Größe\n",
        spec=short_windows(network),
        provenance={"checkpoint": {"name": "visah.ckpt"}},
        with_torch=True,
        tell=steps.append,
    )
    return ExportedWindows(network, bundle, tuple(steps))


@pytest.fixture
def quick_window_export(windowed: ExportedWindows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the exporter answer at once with the graphs it made before."""

    def write(content: bytes) -> object:
        return lambda network, spec, path, opset: path.write_bytes(content)

    context, highlighter = windowed.bundle.context_graph(), windowed.bundle.highlighter_graph()
    monkeypatch.setattr(window_bundle, "export_window_context", write(context))
    monkeypatch.setattr(window_bundle, "export_window_highlighter", write(highlighter))
