"""From a checkpoint to a bundle: graphs, golden tensors, and the proof that they agree."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors

import semmix
from semmix.bundle import Bundle, write_bundle
from semmix.errors import ParityError
from semmix.metrics import snr_db
from semmix.nn import EdgeSemMix
from semmix.specs import Spec
from semmix.training.checkpoint import Checkpoint
from semmix_export.graphs import (
    OPSET,
    example_inputs,
    export_context,
    export_highlighter,
    stamp,
)

MIN_SNR_DB = 90.0
"""Float32 graphs differ from eager only by the order of sums: 24 bits leave far more than this."""


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
    golden, parity = _prove(network, context_bytes, highlighter_bytes)
    config = json.loads(json.dumps(asdict(network.config)))
    facts = {
        "config": config,
        "training": {"step": checkpoint.step, **checkpoint.settings},
        "versions": versions(),
        **(provenance or {}),
    }
    return write_bundle(
        path,
        spec,
        context=context_bytes,
        highlighters={"fp32": highlighter_bytes},
        golden=golden,
        model_card=model_card,
        provenance=facts,
        parity={"fp32": parity},
        network=weights,
        overwrite=overwrite,
    )


def _prove(
    network: EdgeSemMix, context: bytes, highlighter: bytes
) -> tuple[dict[str, NDArray[np.float32]], dict[str, object]]:
    """Run both graphs beside PyTorch on seeded inputs at two batches.

    Raises:
        ParityError: outside the gate.
    """
    spec = network.config.spec()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    context_session = onnxruntime.InferenceSession(context, options, providers=providers)
    session = onnxruntime.InferenceSession(highlighter, options, providers=providers)
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.nn.functional.normalize(
        torch.randn(5, len(spec.cue_types), spec.embedding_dim, generator=generator), dim=-1
    )
    golden = {"embeddings": embeddings.numpy()}
    with torch.inference_mode():
        tokens = network.context_encoder(embeddings).numpy()
        golden["encoded"] = tokens
        worst = snr_db(tokens, context_session.run(None, {"embeddings": golden["embeddings"]})[0])
        largest = 0.0
        for batch in (1, 3):
            inputs = example_inputs(spec, batch, seed=batch)
            expected = [t.numpy() for t in network(*inputs.values())]
            arrays = {k: v.numpy() for k, v in inputs.items()}
            got = session.run(None, arrays)
            for reference, other in zip(expected, got, strict=True):
                worst = min(worst, snr_db(reference, other))
            largest = max(largest, float(np.abs(expected[0] - got[0]).max()))
            if batch == 1:
                golden.update(arrays)
                golden["mask"] = expected[0]
    if worst < MIN_SNR_DB:
        raise ParityError(
            f"ONNX Runtime differs from PyTorch ({worst:.1f} dB, at least {MIN_SNR_DB:.0f} dB is "
            "needed): report this with the versions that `semmix-rt env` prints"
        )
    return golden, {
        "passed": True,
        "against": f"torch {torch.__version__} eager fp32",
        "snr_db": round(worst, 1),
        "mask_max_difference": largest,
    }
