"""From a network that hears whole windows to a bundle, and the proof that both agree."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_safetensors
from semmix_rt.engines.base import WindowEngine
from semmix_rt.engines.ort_windows import OrtWindowEngine

from semmix.bundle import Bundle, write_bundle
from semmix.dsp.windows import analyse, synthesise
from semmix.errors import ParityError
from semmix.metrics import snr_db
from semmix.nn import BaseSemMix
from semmix.nn.base.engine import TorchWindowEngine, window_spec
from semmix.specs import WindowSpec
from semmix_export.bundle import graph_facts, versions
from semmix_export.graphs import OPSET, stamp
from semmix_export.window_graphs import export_window_context, export_window_highlighter

Float32 = NDArray[np.float32]

MIN_WINDOW_SNR_DB = 60.0
"""Sixty layers of unbounded float32 sums, LSTMs of 200 steps among them; 100 dB is usual."""

_PROOFS = 2


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
        golden, parity = _prove(network, spec, OrtWindowEngine(spec, context, highlighter))
    tell("writing the bundle")
    return write_bundle(
        path,
        spec,
        context=context,
        highlighters={"fp32": highlighter},
        golden=golden,
        model_card=model_card,
        provenance={
            "config": asdict(network.config),
            "versions": versions(),
            **(provenance or {}),
        },
        parity={"fp32": parity},
        network=weights if with_torch else None,
        overwrite=overwrite,
    )


def proof_sound(spec: WindowSpec, seed: int) -> Float32:
    """A window of full-scale noise, silence, a tone with its harmonics and a click, float32 `[N]`.

    Networks of this kind answer loud and quiet, steady and sudden sound by different layers.
    """
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.arange(spec.window_samples), 4)
    sound = np.zeros(spec.window_samples)
    sound[parts[0]] = rng.uniform(-1.0, 1.0, len(parts[0]))
    turn = 2.0 * np.pi * 220.0 / spec.audio.sample_rate_hz
    for k in range(1, 8):
        sound[parts[2]] += 0.3 / k * np.sin(k * turn * parts[2] + seed)
    sound[parts[3]] = 1e-3 * rng.standard_normal(len(parts[3]))
    sound[parts[3][len(parts[3]) // 2]] = 0.9
    return sound.astype(np.float32)


def _prove(
    network: BaseSemMix, spec: WindowSpec, engine: WindowEngine
) -> tuple[dict[str, Float32], dict[str, object]]:
    """Run the engine beside PyTorch on whole windows, one alone and two in a batch.

    Raises:
        ParityError: outside the gate.
    """
    reference = TorchWindowEngine(network, spec)
    analyses = [analyse(proof_sound(spec, seed), spec) for seed in range(_PROOFS)]
    magnitude = np.stack([a.magnitude for a in analyses])
    waveform = np.stack([a.waveform for a in analyses])
    golden: dict[str, Float32] = {}
    found: dict[str, float] = {}
    tokens = None
    if spec.context != "none":
        vectors = np.random.default_rng(_PROOFS).standard_normal(
            (spec.context_vectors, spec.context_dim), np.float32
        )
        # As long as CLIP's features; those of text encoders are of about that length, too.
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        encoded = reference.encode_context(vectors)
        golden = {"context": vectors, "encoded": encoded}
        found["tokens"] = snr_db(encoded, engine.encode_context(vectors))
        tokens = np.stack([encoded] * _PROOFS)
    masks, waves = reference.run(magnitude, waveform, tokens)
    largest = 0.0
    for chosen in (slice(0, 1), slice(0, _PROOFS)):
        part = None if tokens is None else tokens[chosen]
        mask, wave = engine.run(magnitude[chosen], waveform[chosen], part)
        _keep_worst(found, "mask", snr_db(masks[chosen], mask))
        _keep_worst(found, "wave", snr_db(waves[chosen], wave))
        largest = max(largest, float(np.abs(masks[chosen] - mask).max()))
        for i, analysis in enumerate(analyses[chosen]):
            expected = synthesise(analysis, masks[i], waves[i], spec)
            _keep_worst(
                found, "sound", snr_db(expected, synthesise(analysis, mask[i], wave[i], spec))
            )
    worst = min(found.values())
    if not worst >= MIN_WINDOW_SNR_DB:
        raise ParityError(
            f"ONNX Runtime differs from PyTorch ({worst:.1f} dB, at least {MIN_WINDOW_SNR_DB:.0f} "
            "dB is needed): report this with the versions that `semmix-rt env` prints"
        )
    golden |= {"magnitude": magnitude[:1], "waveform": waveform[:1]}
    golden |= {"mask": masks[:1], "wave": waves[:1]}
    return golden, {
        "passed": True,
        "against": f"torch {torch.__version__} eager fp32",
        "snr_db": round(worst, 1),
        "snr_by_part_db": {part: round(value, 1) for part, value in found.items()},
        "mask_max_difference": largest,
    }


def _keep_worst(found: dict[str, float], part: str, value: float) -> None:
    found[part] = min(value, found.get(part, np.inf))
