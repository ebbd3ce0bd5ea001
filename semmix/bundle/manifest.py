"""`bundle.json`: what a bundle says about itself, and the checks it must pass.

A bundle may come from anyone, so every number and name is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semmix.errors import ModelFormatError
from semmix.specs import ModelSpec, Spec, WindowSpec

FORMAT = "semmix-bundle"
VERSIONS = {ModelSpec.kind: 1, WindowSpec.kind: 2}
"""Format version by the kind of model. Version 1 knows streaming models only and does not name
their kind; version 2 adds the field `kind`. Each model is written in the oldest version that can
hold it, so that programs of before read what they always could."""
MANIFEST_NAME = "bundle.json"
CONTEXT_NAME = "context.onnx"
GOLDEN_NAME = "golden.npz"
CARD_NAME = "MODEL_CARD.md"
NETWORK_NAME = "network.safetensors"

MAX_MANIFEST_BYTES = 1 << 20
# The largest network of the family (61.7 M parameters) weighs 247 MB in fp32.
_MAX_BYTES_BY_SUFFIX = {
    ".onnx": 1 << 30,
    ".safetensors": 1 << 30,
    ".npz": 256 << 20,
    ".md": 1 << 20,
}
MAX_FILES = 32

_HIGHLIGHTER = re.compile(r"highlighter\.(?P<precision>[a-z0-9]{1,16})\.onnx")
_OTHER_NAMES = frozenset({CONTEXT_NAME, GOLDEN_NAME, CARD_NAME, NETWORK_NAME})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STATE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,99}")
_FIELDS = frozenset(
    {
        "format",
        "version",
        "spec",
        "files",
        "graphs",
        "context",
        "text_encoder",
        "provenance",
        "parity",
    }
)
_FIELDS_BY_VERSION = {1: _FIELDS, 2: _FIELDS | {"kind"}}
_REPAIR = "export it again or fetch it anew"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file must be, of a bundle or another folder that is checked.

    Attributes:
        sha256: hash of its content, 64 lower-case hex digits.
        bytes: its length.
    """

    sha256: str
    bytes: int

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """What a file is, read in parts.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(digest, path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `bundle.json`.

    Attributes:
        spec: the network's numbers.
        files: every other file of the bundle by name.
        graphs: file of the mask network by precision, such as `fp32`.
        context: file of the context encoder; None for a window model without context.
        text_encoder: identifier of the text encoder whose embeddings it takes.
        provenance: where the weights come from (data, recipe, versions, licence).
        parity: by precision, the record of the comparison with PyTorch.
    """

    spec: Spec
    files: Mapping[str, FileRecord]
    graphs: Mapping[str, str]
    context: str | None
    text_encoder: str
    provenance: Mapping[str, Any]
    parity: Mapping[str, Any]

    def to_json(self) -> bytes:
        """The bytes of `bundle.json`: sorted keys, so that equal bundles have equal bytes."""
        version = VERSIONS[self.spec.kind]
        data = {
            "format": FORMAT,
            "version": version,
            "spec": self.spec.to_dict(),
            "files": {name: asdict(record) for name, record in self.files.items()},
            "graphs": dict(self.graphs),
            "context": self.context,
            "text_encoder": self.text_encoder,
            "provenance": dict(self.provenance),
            "parity": dict(self.parity),
        }
        if version > 1:
            data["kind"] = self.spec.kind
        try:
            text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise ModelFormatError(
                f"the bundle's description is not plain finite JSON ({exc}): "
                "put only finite numbers, texts, lists and tables into provenance and parity"
            ) from exc
        return (text + "\n").encode("utf-8")

    @property
    def sha256(self) -> str:
        """Identity of the bundle: the hash of `bundle.json`, which hashes all the rest."""
        return hashlib.sha256(self.to_json()).hexdigest()


def max_bytes(name: str) -> int:
    """Largest length a file of this name may have."""
    return _MAX_BYTES_BY_SUFFIX["." + name.rpartition(".")[2]]


def check_name(name: object, where: str) -> str:
    """Return `name` if a bundle may hold a file of that name.

    Only the names of the format are taken, which also keeps every path inside the bundle.

    Raises:
        ModelFormatError: any other name: folders, drive letters, `..`, foreign files.
    """
    if isinstance(name, str) and (name in _OTHER_NAMES or _HIGHLIGHTER.fullmatch(name)):
        return name
    raise ModelFormatError(
        f"{where} names the file {brief(name)}, which no bundle holds: {_REPAIR}"
    )


def highlighter_name(precision: str) -> str:
    """File name of the mask network of one precision, such as `fp32`."""
    return check_name(f"highlighter.{precision}.onnx", f"precision {precision!r}")


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Read and check the bytes of `bundle.json`; `where` is what messages call it.

    Raises:
        ModelFormatError: anything that is not exactly a manifest of this version.
    """
    data = strict_json(content, where)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ModelFormatError(f"{where} does not describe a SemMix bundle: {_REPAIR}")
    version = data.get("version")
    if type(version) is not int or version not in _FIELDS_BY_VERSION:
        known = " and ".join(str(v) for v in _FIELDS_BY_VERSION)
        raise ModelFormatError(
            f"{where} has format version {brief(version)}, this program reads {known}: "
            "export the model again with this version, or install the one that wrote it"
        )
    if set(data) != _FIELDS_BY_VERSION[version]:
        odd = sorted(set(data) ^ _FIELDS_BY_VERSION[version])
        raise ModelFormatError(
            f"{where} lacks or adds the fields {brief(odd)}: export the model again"
        )
    files = parse_files(data["files"], where, _limit_bytes)
    graphs = _parse_graphs(data["graphs"], where)
    spec = _parse_spec(data["spec"], data.get("kind", ModelSpec.kind), version, where)
    context = context_name(spec)
    if data["context"] != context:
        raise ModelFormatError(f"{where} does not name {context} as its context: {_REPAIR}")
    required = {GOLDEN_NAME, CARD_NAME, *graphs.values()} | ({context} if context else set())
    if missing := sorted(required - set(files)):
        raise ModelFormatError(f"{where} lists no hash for {', '.join(missing)}: {_REPAIR}")
    if loose := sorted(set(files) - required - {NETWORK_NAME}):
        raise ModelFormatError(f"{where} names no use for {', '.join(loose)}: {_REPAIR}")
    for part in ("provenance", "parity"):
        if not isinstance(data[part], dict):
            raise ModelFormatError(f"{where}: {part!r} is not a table: {_REPAIR}")
    if data["text_encoder"] != spec.text_encoder:
        raise ModelFormatError(f"{where} names two different text encoders: {_REPAIR}")
    return Manifest(
        spec=spec,
        files=files,
        graphs=graphs,
        context=context,
        text_encoder=spec.text_encoder,
        provenance=data["provenance"],
        parity=data["parity"],
    )


def context_name(spec: Spec) -> str | None:
    """File name of the context encoder, None for a model that has none."""
    without = isinstance(spec, WindowSpec) and spec.context == "none"
    return None if without else CONTEXT_NAME


def _parse_spec(data: Any, kind: Any, version: int, where: str) -> Spec:
    """The spec, with the checks on state tensors that the graph inputs rely on."""
    if not isinstance(kind, str) or VERSIONS.get(kind) != version:
        raise ModelFormatError(
            f"{where} describes a model of kind {brief(kind)} in version {version}: {_REPAIR}"
        )
    try:
        if kind == WindowSpec.kind:
            return WindowSpec.from_dict(data)
        spec = ModelSpec.from_dict(data)
    except ModelFormatError as exc:
        raise ModelFormatError(f"{where}: {exc}") from exc
    names = [state.name for state in spec.state]
    reserved = {"spectrum", "tokens", "weights", "mask", "embeddings"}
    well_named = all(_STATE_NAME.fullmatch(name) for name in names)
    if not well_named or len(set(names)) != len(names) or reserved & set(names):
        raise ModelFormatError(f"{where} names its state tensors {brief(names)}: {_REPAIR}")
    if any(axis < 1 for state in spec.state for axis in state.shape):
        raise ModelFormatError(f"{where} holds a state tensor without elements: {_REPAIR}")
    return spec


def _limit_bytes(name: object, where: str) -> int:
    return max_bytes(check_name(name, where))


def parse_files(
    data: Any, where: str, limit_bytes: Callable[[object, str], int]
) -> dict[str, FileRecord]:
    """Read and check a table of files.

    Args:
        data: by name, what a file must be.
        where: what messages call the file that holds the table.
        limit_bytes: the largest length of a file of a name, given with `where`; raises for names
            that do not belong there.

    Raises:
        ModelFormatError: anything that is not exactly such a table.
    """
    if not isinstance(data, dict) or len(data) > MAX_FILES:
        raise ModelFormatError(f"{where}: 'files' is not a table of at most {MAX_FILES}: {_REPAIR}")
    files: dict[str, FileRecord] = {}
    for name, record in data.items():
        most = limit_bytes(name, where)
        if not isinstance(record, dict) or set(record) != {"sha256", "bytes"}:
            raise ModelFormatError(f"{where}: {name} needs 'sha256' and 'bytes': {_REPAIR}")
        sha256, length = record["sha256"], record["bytes"]
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ModelFormatError(f"{where}: {name} has no valid SHA-256: {_REPAIR}")
        if type(length) is not int or not 0 < length <= most:
            raise ModelFormatError(
                f"{where}: {name} claims {brief(length)} bytes, outside 1..{most}: {_REPAIR}"
            )
        files[name] = FileRecord(sha256, length)
    return files


def _parse_graphs(data: Any, where: str) -> dict[str, str]:
    if not isinstance(data, dict) or not data:
        raise ModelFormatError(f"{where} names no mask network: {_REPAIR}")
    for precision, name in data.items():
        match = _HIGHLIGHTER.fullmatch(name) if isinstance(name, str) else None
        if match is None or match["precision"] != precision:
            raise ModelFormatError(
                f"{where} names {brief(name)} as its {brief(precision)} network: {_REPAIR}"
            )
    return data


def strict_json(content: bytes, where: str) -> Any:
    """JSON without NaN, infinities, doubled keys or a nesting that exhausts the stack.

    Raises:
        ModelFormatError: it is not; `where` is what the message calls it.
    """

    def refuse(token: str) -> Any:
        raise ValueError(f"the number {token}")

    def finite(token: str) -> float:
        value = float(token)
        return value if math.isfinite(value) else refuse(token)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise ValueError("a key that comes twice")
        return table

    try:
        return json.loads(
            content.decode("utf-8"),
            parse_constant=refuse,
            parse_float=finite,
            object_pairs_hook=unique,
        )
    except (ValueError, RecursionError) as exc:
        raise ModelFormatError(f"{where} is not valid JSON ({exc}): {_REPAIR}") from exc


def brief(value: object) -> str:
    """`repr` cut short: a hostile value must not flood the message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
