"""`inspect`: what a bundle or a compiled engine is, without running it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from semmix.bundle import Bundle
from semmix.bundle.manifest import FileRecord
from semmix.errors import ModelFormatError
from semmix.nn.engine import WEIGHTS_FILE
from semmix.specs import ModelSpec, Spec
from semmix_export.graph_facts import GraphFacts, graph_facts

SCHEMA = "semmix-rt.inspect"
SCHEMA_VERSION = 1

_ENGINE_SUFFIXES = (".plan", ".engine")
_MAX_SIDECAR_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class PrecisionFacts:
    """The mask network in one precision.

    Attributes:
        graph: its ONNX.
        verified: whether its parity record passes, and is about this graph.
        parity: the record, None where it was never compared.
        provenance: how it was made, None for the one the export wrote.
    """

    graph: GraphFacts
    verified: bool
    parity: dict[str, Any] | None
    provenance: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """A compiled engine, by its sidecar.

    Attributes:
        path: of the engine.
        bytes: its length.
        sha256: of its bytes.
        intact: whether these are the bytes that the sidecar speaks of.
        sidecar: what was written when it was built.
    """

    path: Path
    bytes: int
    sha256: str
    intact: bool
    sidecar: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, schema first."""
        facts = asdict(self) | {"path": str(self.path)}
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "kind": "engine", **facts}


@dataclass(frozen=True, slots=True)
class Inspection:
    """A bundle.

    Attributes:
        path: of the bundle.
        name: of the model.
        sha256: identity of the bundle.
        spec: the network's numbers.
        latency_ms: most that a stream through it is late.
        latency_formula: how that comes about, in numbers.
        macs_per_s: multiply-accumulate operations of the fp32 network for a second of one channel;
            None where not known.
        context: the context graph, None for a model without.
        precisions: the mask network by precision.
        torch_weights: whether PyTorch can run it.
        provenance: where the weights come from.
    """

    path: Path
    name: str
    sha256: str
    spec: Spec
    latency_ms: float
    latency_formula: str
    macs_per_s: float | None
    context: GraphFacts | None
    precisions: dict[str, PrecisionFacts]
    torch_weights: bool
    provenance: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, schema first."""
        facts = asdict(self) | {"path": str(self.path), "spec": self.spec.to_dict()}
        kind = {"kind": "bundle", "model_kind": self.spec.kind}
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **kind, **facts}


def inspect(target: Bundle | str | PathLike[str]) -> Inspection | EngineFacts:
    """Look into a bundle (a path, or a name such as `edge`) or a compiled engine (`.plan`).

    Raises:
        ModelFormatError: it is neither, or damaged.
    """
    if not isinstance(target, Bundle):
        path = Path(target)
        if path.suffix in _ENGINE_SUFFIXES:
            return _engine(path)
        target = Bundle.find(target)
    return _bundle(target)


def _bundle(bundle: Bundle) -> Inspection:
    manifest = bundle.manifest
    spec = manifest.spec

    def facts(name: str) -> GraphFacts:
        where = f"{name} in {bundle.path}"
        return graph_facts(bundle.read(name), manifest.files[name].sha256, where)

    made = manifest.provenance.get("precisions")
    made = made if isinstance(made, dict) else {}
    precisions = {
        precision: PrecisionFacts(
            graph=facts(name),
            verified=bundle.parity_passed(precision),
            parity=manifest.parity.get(precision),
            provenance=made.get(precision),
        )
        for precision, name in manifest.graphs.items()
    }
    formula, macs = _latency_formula(spec), None
    if "fp32" in precisions and precisions["fp32"].graph.macs is not None:
        macs = precisions["fp32"].graph.macs / spec.step_s
    return Inspection(
        path=bundle.path,
        name=bundle.name,
        sha256=bundle.sha256,
        spec=spec,
        latency_ms=1e3 * spec.latency_samples / spec.audio.sample_rate_hz,
        latency_formula=formula,
        macs_per_s=macs,
        context=None if manifest.context is None else facts(manifest.context),
        precisions=precisions,
        torch_weights=WEIGHTS_FILE in manifest.files,
        provenance=dict(manifest.provenance),
    )


def _latency_formula(spec: Spec) -> str:
    """`latency_samples` of the spec, spelled out."""
    rate = spec.audio.sample_rate_hz
    if isinstance(spec, ModelSpec):
        chunk, stft = spec.chunk, spec.stft
        return (
            f"(look-ahead {chunk.lookahead_frames} + kept {chunk.kept_frames} - 1) frames "
            f"x hop {stft.hop_samples} + window {stft.n_fft} "
            f"= {spec.latency_samples} samples at {rate} Hz"
        )
    return f"window {spec.window_samples} + 1 = {spec.latency_samples} samples at {rate} Hz"


def _engine(path: Path) -> EngineFacts:
    """An engine and the sidecar beside it; the engine, which is code, is only hashed."""
    sidecar = path.with_suffix(".json")
    try:
        plan = FileRecord.of(path)
        if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
            raise ModelFormatError(f"{sidecar} is too long for a sidecar: build the engine again")
        content = json.loads(sidecar.read_bytes())
    except OSError as exc:
        raise ModelFormatError(
            f"{exc.filename or path} cannot be read ({exc.strerror}): give an engine that "
            "`semmix-rt build` wrote, with its sidecar beside it"
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise ModelFormatError(f"{sidecar} is not JSON ({exc}): build the engine again") from exc
    if not isinstance(content, dict):
        raise ModelFormatError(f"{sidecar} holds no table: build the engine again")
    record = content.get("plan")
    intact = isinstance(record, dict) and record.get("sha256") == plan.sha256
    return EngineFacts(path, plan.bytes, plan.sha256, intact, content)
