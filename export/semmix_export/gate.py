"""The parity gate: an engine beside PyTorch eager in float32, on sounds of every kind.

Both hear each sound on the way it takes in `remix` (STFT and its scale, chunks with their state,
cues that change, masks, dry and wet, synthesis), and their outputs are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from semmix_rt.engines.base import Engine, WindowEngine
from semmix_rt.whole_signal import Heard, hear

from semmix.bundle import Bundle
from semmix.bundle.parity import Parity, SoundParity
from semmix.bundle.thresholds import Thresholds, thresholds
from semmix.cues.trial import trial_context, unit_vectors
from semmix.cues.types import CueType
from semmix.dsp.windows import analyse
from semmix.errors import ParityError
from semmix.metrics import at_44100, compare_masks, env, integrated_lufs, mag, snr_db
from semmix.metrics.agreement import LIMIT_DB, MaskAgreement
from semmix.specs import ModelSpec, Spec
from semmix_export.gate_sounds import Sound, gate_sounds, proof_sound
from semmix_export.graphs import example_inputs

Float32 = NDArray[np.float32]
AnyEngine = Engine | WindowEngine
Tell = Callable[[int, int, str], None]
"""`tell(done, total, sound)` before each sound."""

_SHOTS = (
    {
        CueType.APPEARANCE: "A woman in a grey coat stands at a window.",
        CueType.EMOTION: "She looks anxious.",
        CueType.CAMERA_FOCUS: "A close-up of her face.",
        CueType.TONE: "The picture is dark and cold.",
        CueType.SCENE: "A small room at night.",
        CueType.SOUND: "She is speaking quietly, and rain falls outside.",
    },
    {
        CueType.APPEARANCE: "Two cars race along a road.",
        CueType.CAMERA_FOCUS: "A wide shot of the valley.",
        CueType.TONE: "The picture is bright and restless.",
        CueType.SOUND: "Engines roar over loud music.",
    },
)


class Gate:
    """A reference and what it makes of each sound, to hold engines against.

    Args:
        reference: PyTorch eager in float32.
        sounds: what to hear.
        brief: the sounds are few, and heard with cues only.
    """

    def __init__(
        self, reference: AnyEngine, sounds: Sequence[Sound], *, brief: bool = False
    ) -> None:
        self._reference, self._brief = reference, brief
        self._cues = gate_cues(reference.spec)
        kinds = ["two shots"] if self._cues is not None else []
        if self._cues is None or not brief:
            kinds.append("none")
        self._cases = [(sound, kind) for sound in sounds for kind in kinds]
        self._expected: dict[tuple[str, str], Heard] = {}

    def compare(
        self,
        engine: AnyEngine,
        limits: Thresholds,
        *,
        batches: Sequence[int],
        tell: Tell = lambda done, total, sound: None,
    ) -> Parity:
        """Hold an engine against the reference.

        Args:
            engine: of the same model.
            limits: what it must keep to.
            batches: numbers of inputs to run at once as well, from states that are no start; see
                `several`.
            tell: is told of each sound.

        Raises:
            EngineError: the engine fails; wrong results are results.
        """
        found = []
        before = _fallback_runs(engine)
        for done, (sound, kind) in enumerate(self._cases):
            tell(done, len(self._cases), sound.name)
            found.append(self._case(engine, sound, kind))
        tokens, batch = self._tokens(engine), self._batches(engine, batches)
        runs = _fallback_runs(engine) - before
        return Parity(limits, tuple(found), tokens, batch, runs, self._brief)

    def _case(self, engine: AnyEngine, sound: Sound, kind: str) -> SoundParity:
        cues = self._cues if kind == "two shots" else None
        key = sound.name, kind
        if key not in self._expected:
            self._expected[key] = hear(self._reference, sound.samples, cues)
        expected, found = self._expected[key], hear(engine, sound.samples, cues)
        masks = MaskAgreement(0.0, 0.0, LIMIT_DB)
        # A model of windows does not hear silence at all.
        if expected.mask.size or found.mask.size:
            masks = compare_masks(expected.mask, found.mask)
        rate = self._reference.spec.audio.sample_rate_hz
        return SoundParity(
            sound=sound.name,
            real=sound.real,
            cues=kind,
            mask_max=_rounded(masks.max_abs),
            mask_p999=_rounded(masks.p999_abs),
            largest_gain=_rounded(max(1.0, float(np.abs(expected.mask).max(initial=0.0)))),
            snr_db=_rounded(snr_db(expected.output, found.output)),
            **_changes(expected.output[0], found.output[0], rate),
        )

    def _tokens(self, engine: AnyEngine) -> float | None:
        if self._cues is None:
            return None
        inputs = self._cues
        spec = self._reference.spec
        if not isinstance(spec, ModelSpec):
            # Each of a window's vectors is another one.
            inputs = unit_vectors(spec.context_vectors, spec.context_dim)
        both = self._reference.encode_context(inputs), engine.encode_context(inputs)
        return _rounded(snr_db(*both))

    def _batches(self, engine: AnyEngine, counts: Sequence[int]) -> float | None:
        found = []
        for count in counts:
            inputs = _batch_inputs(self._reference.spec, count)
            both = _flat(self._reference.run(*inputs)), _flat(engine.run(*inputs))
            found += [snr_db(expected, actual) for expected, actual in zip(*both, strict=True)]
        return None if not found else _rounded(min(found))


def several(spec: Spec) -> tuple[int, ...]:
    """How many inputs at once show that an engine without fixed sizes keeps them apart.

    Not the exporter's own three, which a graph may have frozen.
    """
    return (5,) if isinstance(spec, ModelSpec) else (2,)


def prove(reference: AnyEngine, engine: AnyEngine, bundle: Bundle) -> dict[str, Any]:
    """Hold an fp32 graph that was made a moment ago against the network it was made from.

    Networks that stream hear all that `verify` lets them hear. Those of windows take seconds for
    each sound, and hear the brief part.

    Args:
        reference: PyTorch over the network.
        engine: over the graphs.
        bundle: with the graphs.

    Returns:
        its passing record.

    Raises:
        ParityError: it is outside the gate.
    """
    spec = bundle.manifest.spec
    brief = not isinstance(spec, ModelSpec)
    gate = Gate(reference, gate_sounds(spec, brief=brief), brief=brief)
    parity = gate.compare(engine, thresholds("fp32", spec), batches=several(spec))
    if not parity.passed:
        more = len(parity.failures) - 1
        raise ParityError(
            f"{engine.name} differs from PyTorch ({parity.failures[0]}"
            f"{f', and {more} more' if more else ''}): report this with the versions that "
            "`semmix-rt env` prints"
        )
    return gate_record(parity, engine, bundle, torch_reference())


def gate_record(parity: Parity, engine: AnyEngine, bundle: Bundle, against: str) -> dict[str, Any]:
    """What is kept of a comparison: what was found, and what it was found of.

    Args:
        parity: the result.
        engine: that was held against the reference.
        bundle: whose graphs it ran; the record is about no others.
        against: what the reference was.
    """
    return {
        **parity.to_record(),
        "against": against,
        "engine": engine.name,
        "provider": engine.provider,
        "graph_sha256": bundle.highlighter_sha256(engine.precision),
        "context_sha256": bundle.context_sha256,
    }


def torch_reference() -> str:
    """What a network in PyTorch is called in records."""
    return f"torch {torch.__version__} eager fp32"


def gate_cues(spec: Spec) -> Float32 | None:
    """Cues of two shots, see `trial_context`."""
    return trial_context(spec, _SHOTS)


def _batch_inputs(spec: Spec, count: int) -> tuple[Any, ...]:
    """What `run` takes, of `count` streams in their midst or as many windows."""
    if isinstance(spec, ModelSpec):
        inputs = {
            name: tensor.numpy() for name, tensor in example_inputs(spec, count, seed=3).items()
        }
        state = tuple(inputs[known.name] for known in spec.state)
        return inputs["spectrum"], inputs["tokens"], inputs["weights"], state
    analyses = [analyse(proof_sound(spec, seed), spec) for seed in range(count)]
    tokens = None
    if spec.context != "none":
        size = spec.context_vectors * spec.token_dim
        tokens = np.float32(spec.token_dim**0.5) * unit_vectors(count, size)
        tokens = tokens.reshape(count, spec.context_vectors, spec.token_dim)
    return (
        np.stack([a.magnitude for a in analyses]),
        np.stack([a.waveform for a in analyses]),
        tokens,
    )


def _flat(outputs: tuple[Any, ...]) -> list[Float32]:
    """Outputs of `run` one by one, the state's tensors included."""
    flat: list[Float32] = []
    for output in outputs:
        flat += output if isinstance(output, tuple) else [output]
    return flat


def _fallback_runs(engine: AnyEngine) -> int:
    """Runs that float32 took over so far, of an engine that has it to turn to."""
    return int(getattr(engine, "fallback_runs", 0))


def _rounded(value: float) -> float:
    """To six digits, before it is judged: the verdict and the record are about the same number."""
    return float(f"{value:.6g}")


def _changes(expected: Float32, found: Float32, rate_hz: int) -> dict[str, float]:
    """Metrics between two outputs `[N]`; NaN where one holds no numbers."""
    if not np.isfinite(found).all():
        return {"mag": math.nan, "env": math.nan, "loudness_change_lu": math.nan}
    first, second = at_44100(expected, rate_hz), at_44100(found, rate_hz)
    before, after = integrated_lufs(expected, rate_hz), integrated_lufs(found, rate_hz)
    change = after - before
    if math.isnan(before) or math.isnan(after):
        change = 0.0 if math.isnan(before) and math.isnan(after) else math.inf
    return {
        "mag": _rounded(mag(first, second)),
        "env": _rounded(env(first, second)),
        "loudness_change_lu": _rounded(change),
    }
