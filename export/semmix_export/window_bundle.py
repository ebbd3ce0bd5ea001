"""From a network that hears whole windows to a bundle, and the proof that both agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors

from semmix.bundle import Bundle, write_bundle
from semmix.cues.trial import unit_vectors
from semmix.dsp.windows import analyse
from semmix.nn import BaseSemMix
from semmix.nn.base.engine import TorchWindowEngine, window_spec
from semmix.specs import WindowSpec
from semmix_export.bundle import graph_facts, versions
from semmix_export.child import ChildWindowEngine
from semmix_export.gate import prove
from semmix_export.gate_sounds import proof_sound
from semmix_export.graphs import OPSET, stamp
from semmix_export.window_graphs import export_window_context, export_window_highlighter

Float32 = NDArray[np.float32]


def export_window_bundle(
    network: BaseSemMix,
    path: Path,
    *,
    model_card: str,
    spec: WindowSpec | None = None,
    provenance: dict[str, object] | None = None,
    with_torch: bool = False,
    opset: int = OPSET,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Bundle:
    """Export a base network and write a bundle that ONNX Runtime agrees on.

    Args:
        network: ready to run, on the CPU.
        path: folder to make, or a file that ends in `.zip`.
        model_card: text for people: origin, licence, limits.
        spec: how sound is cut into windows; None for windows as long as a training clip.
        provenance: facts to keep.
        with_torch: also carry the weights for the PyTorch engine, which doubles the bundle.
        opset: of ONNX.
        overwrite: replace an older bundle.
        tell: is told each step as it begins.

    Raises:
        ParityError: ONNX Runtime and PyTorch differ by more than the gate allows.
        EngineError: ONNX Runtime cannot run the graphs, or crashes over them.
        ModelFormatError: windows that do not fit together.
        UsageError: the path is taken.
    """
    spec = spec or window_spec(network.config)
    spec.check()
    weights = save_safetensors({k: v.contiguous() for k, v in network.state_dict().items()})
    said = graph_facts(spec, weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        context = None
        if spec.context != "none":
            tell("exporting the context encoder")
            export_window_context(network, spec, folder / "context.onnx", opset)
            context = stamp((folder / "context.onnx").read_bytes(), said)
        tell("exporting the mask network")
        export_window_highlighter(network, spec, folder / "highlighter.onnx", opset)
        highlighter = stamp((folder / "highlighter.onnx").read_bytes(), said)
        tell("comparing ONNX Runtime with PyTorch")
        reference = TorchWindowEngine(network, spec)
        parts: dict[str, Any] = {
            "context": context,
            "highlighters": {"fp32": highlighter},
            "golden": golden_arrays(reference),
            "model_card": model_card,
            "provenance": {
                "config": asdict(network.config),
                "versions": versions(),
                **(provenance or {}),
            },
        }
        draft = write_bundle(folder / "draft", spec, parity={}, **parts)
        with closing(ChildWindowEngine(draft)) as engine:
            record = prove(reference, engine, draft)
    tell("writing the bundle")
    return write_bundle(
        path,
        spec,
        parity={"fp32": record},
        network=weights if with_torch else None,
        overwrite=overwrite,
        **parts,
    )


def golden_arrays(reference: TorchWindowEngine) -> dict[str, Float32]:
    """A window's inputs of both graphs and PyTorch's outputs, by name."""
    spec = reference.spec
    analysis = analyse(proof_sound(spec, 0), spec)
    magnitude, waveform = analysis.magnitude[None], analysis.waveform[None]
    golden: dict[str, Float32] = {"magnitude": magnitude, "waveform": waveform}
    tokens = None
    if spec.context != "none":
        vectors = unit_vectors(spec.context_vectors, spec.context_dim)
        encoded = reference.encode_context(vectors)
        golden |= {"context": vectors, "encoded": encoded}
        tokens = encoded[None]
    golden["mask"], golden["wave"] = reference.run(magnitude, waveform, tokens)
    return golden
