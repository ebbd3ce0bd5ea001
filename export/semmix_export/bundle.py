"""From a checkpoint to a bundle: graphs, golden tensors, and the proof that they agree."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors

import semmix
from semmix.bundle import Bundle, write_bundle
from semmix.nn import EdgeSemMix
from semmix.nn.engine import TorchEngine
from semmix.specs import Spec
from semmix.training.checkpoint import Checkpoint
from semmix_export.child import ChildEngine
from semmix_export.gate import prove
from semmix_export.graphs import (
    OPSET,
    example_inputs,
    export_context,
    export_highlighter,
    stamp,
)


def versions() -> dict[str, str]:
    """What took part in an export."""
    return {
        "semmix-rt": semmix.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def graph_facts(spec: Spec, weights: bytes) -> dict[str, str]:
    """What an exported graph says of itself: no path, no host, so equal exports are equal.

    Args:
        spec: of the network.
        weights: the network as safetensors.
    """
    return {
        "semmix.model": spec.name,
        "semmix.spec": json.dumps(spec.to_dict(), sort_keys=True),
        "semmix.versions": json.dumps(versions(), sort_keys=True),
        "semmix.weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def export_bundle(
    checkpoint: Checkpoint,
    path: Path,
    *,
    model_card: str,
    provenance: dict[str, object] | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> Bundle:
    """Export a checkpoint's averaged weights and write a bundle that ONNX Runtime agrees on.

    Args:
        checkpoint: from `semmix.training.checkpoint.load_checkpoint`.
        path: folder to make.
        model_card: text for people: data, licences, metrics, limits.
        provenance: more facts to keep beside the training settings.
        opset: of ONNX.
        overwrite: replace an older bundle.

    Raises:
        ParityError: ONNX Runtime and PyTorch differ by more than the gate allows.
        EngineError: ONNX Runtime cannot run the graphs, or crashes over them.
        UsageError: the path is taken.
    """
    network = checkpoint.network()
    spec = network.config.spec()
    with tempfile.TemporaryDirectory() as folder:
        context, highlighter = Path(folder) / "context.onnx", Path(folder) / "highlighter.onnx"
        export_context(network, context, opset)
        export_highlighter(network, highlighter, opset)
        weights = save_safetensors({k: v.contiguous() for k, v in network.state_dict().items()})
        said = graph_facts(spec, weights)
        context_bytes = stamp(context.read_bytes(), said)
        highlighter_bytes = stamp(highlighter.read_bytes(), said)
    config = json.loads(json.dumps(asdict(network.config)))
    facts = {
        "config": config,
        "training": {"step": checkpoint.step, **checkpoint.settings},
        "versions": versions(),
        **({"origin": checkpoint.origin} if checkpoint.origin else {}),
        **(provenance or {}),
    }
    parts: dict[str, Any] = {
        "context": context_bytes,
        "highlighters": {"fp32": highlighter_bytes},
        "golden": golden_arrays(network),
        "model_card": model_card,
        "provenance": facts,
        "network": weights,
    }
    with tempfile.TemporaryDirectory() as folder:
        draft = write_bundle(Path(folder) / "draft", spec, parity={}, **parts)
        with closing(ChildEngine(draft)) as engine:
            record = prove(TorchEngine(network), engine, draft)
    return write_bundle(path, spec, parity={"fp32": record}, overwrite=overwrite, **parts)


def golden_arrays(network: EdgeSemMix) -> dict[str, NDArray[np.float32]]:
    """Seeded inputs of both graphs and PyTorch's outputs, by name."""
    spec = network.config.spec()
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.nn.functional.normalize(
        torch.randn(5, len(spec.cue_types), spec.embedding_dim, generator=generator), dim=-1
    )
    inputs = example_inputs(spec, batch=1, seed=1)
    with torch.inference_mode():
        encoded = network.context_encoder(embeddings)
        mask, *_ = network(*inputs.values())
    found = {"embeddings": embeddings, "encoded": encoded, **inputs, "mask": mask}
    return {name: tensor.numpy() for name, tensor in found.items()}
