"""`encoder.json`: what an exported encoder says about itself, and the checks it must pass.

An encoder may come from anyone, so every number and name is checked before it is used. Its folder
holds `encoder.json`, the graph `model.onnx` with its weights in `model.onnx.data` where they are
too large for one file, and a text encoder's `tokenizer.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from semmix.bundle.manifest import FileRecord, brief, parse_files, strict_json
from semmix.errors import ModelFormatError

FORMAT = "semmix-encoder"
VERSION = 1
MANIFEST_NAME = "encoder.json"
GRAPH_NAME = "model.onnx"
WEIGHTS_NAME = "model.onnx.data"
TOKENIZER_NAME = "tokenizer.json"

Kind = Literal["text", "vision"]

_MAX_MANIFEST_BYTES = 1 << 20
_MAX_BYTES = {
    # What protobuf can hold; encoders of more keep their weights beside the graph.
    GRAPH_NAME: 2 << 30,
    # T5-XXL's encoder takes 19 GB in float32.
    WEIGHTS_NAME: 64 << 30,
    TOKENIZER_NAME: 64 << 20,
}
_LARGEST = {"text": 512, "vision": 4096}
_FIELDS = frozenset(
    {
        *("format", "version", "kind", "identifier", "pooling", "dim", "length"),
        *("files", "provenance", "parity"),
    }
)
_POOLING = {"text": "mean", "vision": "none"}
_REPAIR = "export the encoder again with `semmix-rt export-encoder`"


@dataclass(frozen=True, slots=True)
class EncoderManifest:
    """The content of `encoder.json`.

    Attributes:
        kind: what it encodes.
        identifier: name and fingerprint of the encoder it was exported from, which its vectors
            stand for in reports and caches.
        dim: width D of a vector.
        length: of a text encoder, tokens that a text is cut to; of a vision encoder, pixels of the
            side of the square it looks at.
        files: every other file by name.
        provenance: what it was made from, and with what.
        parity: record of the comparison with PyTorch.
    """

    kind: Kind
    identifier: str
    dim: int
    length: int
    files: Mapping[str, FileRecord]
    provenance: Mapping[str, Any]
    parity: Mapping[str, Any]

    def to_json(self) -> bytes:
        """The bytes of `encoder.json`, with sorted keys."""
        data = {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "identifier": self.identifier,
            # What becomes of token states: their mean.
            "pooling": _POOLING[self.kind],
            "dim": self.dim,
            "length": self.length,
            "files": {name: asdict(record) for name, record in self.files.items()},
            "provenance": dict(self.provenance),
            "parity": dict(self.parity),
        }
        return (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an encoder that `semmix-rt export-encoder` wrote."""
    return (folder / MANIFEST_NAME).is_file()


def read_manifest(folder: Path, kind: Kind) -> EncoderManifest:
    """Read and check the manifest of an exported encoder; its other files stay unread.

    Args:
        folder: see `is_exported`.
        kind: what it must encode.

    Raises:
        ModelFormatError: anything that is not exactly a manifest of this version and kind.
    """
    path = folder / MANIFEST_NAME
    with path.open("rb") as file:
        content = file.read(_MAX_MANIFEST_BYTES + 1)
    if len(content) > _MAX_MANIFEST_BYTES:
        raise ModelFormatError(
            f"{path} is longer than the {_MAX_MANIFEST_BYTES} bytes allowed: {_REPAIR}"
        )
    data = strict_json(content, str(path))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelFormatError(f"{path} does not describe an encoder: {_REPAIR}")
    if data.get("version") != VERSION or set(data) != _FIELDS:
        raise ModelFormatError(
            f"{path} is of another version than this program's ({VERSION}): {_REPAIR}"
        )
    if data["kind"] != kind or data["pooling"] != _POOLING[kind]:
        raise ModelFormatError(
            f"{folder} is a {brief(data['kind'])} encoder with pooling {brief(data['pooling'])}: "
            f"give a {kind} encoder with pooling {_POOLING[kind]!r}"
        )
    for field, most in (("dim", 65_536), ("length", _LARGEST[kind])):
        if type(data[field]) is not int or not 1 <= data[field] <= most:
            raise ModelFormatError(
                f"{path}: {field} is {brief(data[field])}, outside 1..{most}: {_REPAIR}"
            )
    identifier = data["identifier"]
    if not isinstance(identifier, str) or not 0 < len(identifier) <= 300:
        raise ModelFormatError(f"{path} has the identifier {brief(identifier)}: {_REPAIR}")
    for part in ("provenance", "parity"):
        if not isinstance(data[part], dict):
            raise ModelFormatError(f"{path}: {part!r} is not a table: {_REPAIR}")
    if data["parity"].get("passed") is not True:
        raise ModelFormatError(f"{path} does not say that it agrees with PyTorch: {_REPAIR}")
    files = parse_files(data["files"], str(path), _limit_bytes)
    needed = {GRAPH_NAME, TOKENIZER_NAME} if kind == "text" else {GRAPH_NAME}
    if files.keys() - {WEIGHTS_NAME} != needed:
        raise ModelFormatError(f"{path} lists the files {brief(sorted(files))}: {_REPAIR}")
    return EncoderManifest(
        kind=kind,
        identifier=identifier,
        dim=data["dim"],
        length=data["length"],
        files=files,
        provenance=data["provenance"],
        parity=data["parity"],
    )


def check_files(folder: Path, manifest: EncoderManifest) -> None:
    """Hold every file that a manifest lists against its hash.

    Raises:
        ModelFormatError: one is missing, a link out of the folder, or not the one that was written.
    """
    for name, record in manifest.files.items():
        path = folder / name
        try:
            inside = path.is_file() and path.resolve().parent == folder.resolve()
            same = inside and path.stat().st_size == record.bytes and FileRecord.of(path) == record
        except OSError as exc:
            raise ModelFormatError(
                f"{path} cannot be read ({exc.strerror}): check its permissions"
            ) from exc
        if not same:
            raise ModelFormatError(
                f"{path} is not the file the encoder was exported with: {_REPAIR}"
            )


def _limit_bytes(name: object, where: str) -> int:
    if not isinstance(name, str) or name not in _MAX_BYTES:
        raise ModelFormatError(
            f"{where} names the file {brief(name)}, which no encoder holds: {_REPAIR}"
        )
    return _MAX_BYTES[name]
