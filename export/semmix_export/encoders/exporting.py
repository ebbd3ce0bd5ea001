"""`export-encoder`: an encoder of transformers becomes a folder that needs no PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from semmix.atomic import move_folder
from semmix.bundle import refuse_existing
from semmix.bundle.manifest import FileRecord
from semmix.cues.onnx_text import OnnxText
from semmix.encoders.exported import OnnxVision
from semmix.encoders.folders import library, local_config, quiet
from semmix.encoders.local_text import LocalText
from semmix.encoders.local_vision import KINDS, LocalVision
from semmix.encoders.manifest import (
    GRAPH_NAME,
    MANIFEST_NAME,
    TOKENIZER_NAME,
    EncoderManifest,
    Kind,
    check_files,
    is_exported,
    read_manifest,
)
from semmix.errors import EngineError, ModelFormatError, SemMixError, UsageError
from semmix_export.bundle import versions
from semmix_export.encoders.optimum_road import check_optimum, export_with_optimum
from semmix_export.encoders.parity import (
    TextReference,
    VisionReference,
    compare_text,
    compare_vision,
    text_reference,
    vision_reference,
)
from semmix_export.encoders.torch_road import export_with_torch
from semmix_export.gate import torch_reference
from semmix_export.graphs import OPSET

Road = Literal["torch", "optimum"]
_ROADS: dict[str, Callable[[Any, Kind, int, Path], None]] = {
    "torch": export_with_torch,
    "optimum": export_with_optimum,
}


@dataclass(frozen=True, slots=True)
class _Source:
    """What is exported.

    Attributes:
        model: of the transformers library.
        kind, identifier, dim, length: see `EncoderManifest`.
        tokenizer: as `tokenizer.json`, None for a vision encoder.
        reference: what PyTorch makes of the inputs of the gate.
    """

    model: Any
    kind: Kind
    identifier: str
    dim: int
    length: int
    tokenizer: str | None
    reference: TextReference | VisionReference


def export_encoder(
    folder: Path,
    output: Path,
    *,
    road: Road = "torch",
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> EncoderManifest:
    """Export an encoder to ONNX, prove it against PyTorch and write a folder.

    Args:
        folder: of a transformers text encoder, or of a CLIP model for its vision half.
        output: folder to make.
        road: what exports.
        overwrite: replace an encoder that was exported before.
        tell: is told each step as it begins.

    Returns:
        what the new folder says about itself.

    Raises:
        UsageError: no such folder, one that was exported already, or an output that is taken or
            cannot be written.
        ModelFormatError: the encoder is damaged, or its tokenizer works in Python only.
        ParityError: ONNX Runtime and PyTorch differ by more than the gate allows.
        EngineError: a package is missing, or the road does not lead to this encoder.
    """
    refuse_taken(output, overwrite)
    if is_exported(folder):
        raise UsageError(f"{folder} was exported already: give the folder it was made from")
    if road == "optimum":
        check_optimum()
    tell("reading the encoder")
    source = _open(folder)
    provenance = {
        "model_type": source.model.config.model_type,
        "opset": OPSET,
        "parameters": sum(p.numel() for p in source.model.parameters()),
        "road": road,
        "source": folder.resolve().name,
        "versions": versions() | {"transformers": library().__version__},
    }
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # Beside the output, where there is room for it: T5-XXL takes 19 GB.
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as name:
            fresh = Path(name) / output.name
            fresh.mkdir()
            manifest = _fill(fresh, source, road, provenance, tell)
            tell("moving it into place")
            move_folder(fresh, output, aside=Path(name) / "replaced")
    except OSError as exc:
        raise UsageError(
            f"the encoder cannot be written to {output} ({exc.strerror or exc}): choose a folder "
            "you may write to with enough space"
        ) from exc
    return manifest


def refuse_taken(output: Path, overwrite: bool) -> None:
    """Refuse an output that is taken; also asked before PyTorch starts.

    Raises:
        UsageError: something is there that may not be replaced.
    """
    refuse_existing(output, overwrite)
    if output.exists() and not is_exported(output) and not _is_empty(output):
        raise UsageError(f"{output} holds no exported encoder, it stays: choose another name")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _open(folder: Path) -> _Source:
    """Load an encoder and run it on the inputs of the gate, as `remix` would."""
    if local_config(folder, "encoder").model_type in KINDS:
        vision = LocalVision(folder)
        return _Source(
            vision.model,
            "vision",
            vision.identifier,
            vision.dim,
            vision.side_px,
            None,
            vision_reference(vision),
        )
    text = LocalText(folder)
    if text.dim is None:
        raise ModelFormatError(
            f"the encoder {folder} names no hidden_size: give a text encoder such as T5 or BERT, "
            "or a CLIP model"
        )
    backend = getattr(text.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelFormatError(
            f"the tokenizer of {folder} ({type(text.tokenizer).__name__}) runs in Python only, and "
            "no tokenizer.json can be made of it: give an encoder with a fast tokenizer"
        )
    reference = text_reference(text)
    return _Source(
        text.model,
        "text",
        text.identifier,
        text.dim,
        text.max_tokens,
        backend.to_str(),
        reference,
    )


def _fill(
    folder: Path,
    source: _Source,
    road: str,
    provenance: dict[str, object],
    tell: Callable[[str], None],
) -> EncoderManifest:
    """Write all files of an encoder, and read them back as the runtime does."""
    tell("exporting to ONNX")
    graph = folder / GRAPH_NAME
    try:
        with quiet():
            _ROADS[road](source.model, source.kind, source.length, graph)
    except (SemMixError, OSError):
        raise
    except Exception as exc:  # exporters raise whatever they like
        reason = " ".join(str(exc).split())[:200]
        raise EngineError(
            f"the {road} road does not lead to a {source.model.config.model_type!r} encoder "
            f"({reason}): take the other one (--road)"
        ) from exc
    if source.tokenizer is not None:
        (folder / TOKENIZER_NAME).write_text(source.tokenizer, encoding="utf-8")
    tell("comparing ONNX Runtime with PyTorch")
    if isinstance(source.reference, TextReference):
        found = OnnxText(graph, folder / TOKENIZER_NAME, source.length)
        parity = compare_text(source.reference, found)
    else:
        parity = compare_vision(source.reference, OnnxVision(graph))
    manifest = EncoderManifest(
        kind=source.kind,
        identifier=source.identifier,
        dim=source.dim,
        length=source.length,
        files={path.name: FileRecord.of(path) for path in sorted(folder.iterdir())},
        provenance=provenance,
        parity=parity.record(torch_reference()),
    )
    (folder / MANIFEST_NAME).write_bytes(manifest.to_json())
    written = read_manifest(folder, source.kind)
    check_files(folder, written)
    return written
