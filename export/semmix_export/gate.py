"""The parity gate: an engine beside PyTorch eager in float32, on sounds of every kind.

Both hear each sound on the way it takes in `remix` (STFT and its scale, chunks with their state,
cues that change, masks, dry and wet, synthesis), and their outputs are compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from semmix_rt.engines.base import Engine, WindowEngine
from semmix_rt.whole_signal import Heard, hear

from semmix.cues.trial import trial_context, unit_vectors
from semmix.cues.types import CueType
from semmix.dsp.windows import analyse
from semmix.errors import ParityError
from semmix.metrics import at_44100, compare_masks, env, integrated_lufs, mag, snr_db
from semmix.metrics.agreement import LIMIT_DB, MaskAgreement
from semmix.specs import ModelSpec, Spec
from semmix_export.gate_sounds import Sound, gate_sounds, proof_sound
from semmix_export.graphs import example_inputs
from semmix_export.thresholds import TOKENS_SNR_DB, Thresholds

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


@dataclass(frozen=True, slots=True)
class SoundParity:
    """One sound, heard by both.

    Attributes:
        sound: its name.
        real: whether it was recorded or spoken, not made.
        cues: `two shots` or `none`.
        mask_max, mask_p999: differences of the masks, as linear gains.
        largest_gain: of PyTorch's mask, at least 1.
        snr_db: energy of PyTorch's output over that of the difference.
        mag, env: metrics of VisAH between both outputs; 0 where they are equal.
        loudness_change_lu: integrated loudness of the output less that of PyTorch's.
    """

    sound: str
    real: bool
    cues: str
    mask_max: float
    mask_p999: float
    largest_gain: float
    snr_db: float
    mag: float
    env: float
    loudness_change_lu: float

    def failures(self, limits: Thresholds) -> list[str]:
        """What of it is outside the gate, as short sentences."""
        found = []
        # Written so that NaN fails.
        if not self.snr_db >= limits.snr_db:
            found.append(f"{self.snr_db:.1f} dB of {limits.snr_db:g} dB")
        if not abs(self.loudness_change_lu) <= limits.loudness_change_lu:
            moved, most = self.loudness_change_lu, limits.loudness_change_lu
            found.append(f"loudness off by {moved:+.2f} of {most:g} LU")
        share = limits.mask_p999
        if share is not None and not self.mask_p999 <= share * self.largest_gain:
            found.append(f"gains off by {self.mask_p999:.2g} of {share * self.largest_gain:.2g}")
        return [f"{self.sound}, cues {self.cues}: {what}" for what in found]


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a gate.

    Attributes:
        limits: what was asked for.
        sounds: what was found, sound by sound.
        tokens_snr_db: agreement of the encoded cues, None for a model without context.
        batch_snr_db: agreement on several inputs at once, from a state that is not a start; None
            where that was not asked of the engine.
    """

    limits: Thresholds
    sounds: tuple[SoundParity, ...]
    tokens_snr_db: float | None
    batch_snr_db: float | None

    @property
    def failures(self) -> tuple[str, ...]:
        """What is outside the gate, empty where it passed."""
        found = [failure for sound in self.sounds for failure in sound.failures(self.limits)]
        for what, value, least in (
            ("encoded cues", self.tokens_snr_db, TOKENS_SNR_DB),
            ("several inputs at once", self.batch_snr_db, self.limits.snr_db),
        ):
            if value is not None and not value >= least:
                found.append(f"{what}: {value:.1f} dB of {least:g} dB")
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether something was heard and nothing is outside the gate."""
        return bool(self.sounds) and not self.failures

    @property
    def snr_db(self) -> float:
        """The worst of all ratios, -inf where something is no number or nothing was heard."""
        every = [s.snr_db for s in self.sounds]
        every += [v for v in (self.tokens_snr_db, self.batch_snr_db) if v is not None]
        return min(every, default=-math.inf)

    def record(self, engine: AnyEngine, graph: bytes, against: str) -> dict[str, Any]:
        """Plain finite JSON values for a bundle; what is no number is null.

        Args:
            engine: that was held against the reference.
            graph: ONNX of the mask network it ran; the record is about no other.
            against: what the reference was.
        """
        worst = max(self.sounds, key=lambda s: abs(s.loudness_change_lu), default=None)
        facts = {
            "passed": self.passed,
            "against": against,
            "engine": engine.name,
            "provider": engine.provider,
            "graph_sha256": hashlib.sha256(graph).hexdigest(),
            "failures": list(self.failures),
            "snr_db": self.snr_db,
            "tokens_snr_db": self.tokens_snr_db,
            "batch_snr_db": self.batch_snr_db,
            "mask_max_difference": max((s.mask_max for s in self.sounds), default=None),
            "mask_p999_difference": max((s.mask_p999 for s in self.sounds), default=None),
            "mag": max((s.mag for s in self.sounds), default=None),
            "env": max((s.env for s in self.sounds), default=None),
            "loudness_change_lu": None if worst is None else worst.loudness_change_lu,
            "only_made_sounds": not any(s.real for s in self.sounds),
            "thresholds": asdict(self.limits),
            "sounds": [asdict(sound) for sound in self.sounds],
        }
        return {name: _plain(value) for name, value in facts.items()}


class Gate:
    """A reference and what it makes of each sound, to hold engines against.

    Args:
        reference: PyTorch eager in float32.
        sounds: what to hear.
        brief: with cues only, for models that take their time.
    """

    def __init__(
        self, reference: AnyEngine, sounds: Sequence[Sound], *, brief: bool = False
    ) -> None:
        self._reference = reference
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
        for done, (sound, kind) in enumerate(self._cases):
            tell(done, len(self._cases), sound.name)
            found.append(self._case(engine, sound, kind))
        return Parity(limits, tuple(found), self._tokens(engine), self._batches(engine, batches))

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
            mask_max=masks.max_abs,
            mask_p999=masks.p999_abs,
            largest_gain=max(1.0, float(np.abs(expected.mask).max(initial=0.0))),
            snr_db=snr_db(expected.output, found.output),
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
        return snr_db(self._reference.encode_context(inputs), engine.encode_context(inputs))

    def _batches(self, engine: AnyEngine, counts: Sequence[int]) -> float | None:
        found = []
        for count in counts:
            inputs = _batch_inputs(self._reference.spec, count)
            both = _flat(self._reference.run(*inputs)), _flat(engine.run(*inputs))
            found += [snr_db(expected, actual) for expected, actual in zip(*both, strict=True)]
        return min(found, default=None)


def several(spec: Spec) -> tuple[int, ...]:
    """How many inputs at once show that an engine without fixed sizes keeps them apart."""
    return (3,) if isinstance(spec, ModelSpec) else (2,)


def prove(
    reference: AnyEngine, engine: AnyEngine, graph: bytes, limits: Thresholds
) -> dict[str, Any]:
    """Hold an fp32 graph that was made a moment ago against the network it was made from.

    Returns:
        its passing record, from few sounds.

    Raises:
        ParityError: it is outside the gate.
    """
    gate = Gate(reference, gate_sounds(reference.spec, brief=True), brief=True)
    parity = gate.compare(engine, limits, batches=several(reference.spec))
    if not parity.passed:
        more = len(parity.failures) - 1
        raise ParityError(
            f"{engine.name} differs from PyTorch ({parity.failures[0]}"
            f"{f', and {more} more' if more else ''}): report this with the versions that "
            "`semmix-rt env` prints"
        )
    return parity.record(engine, graph, torch_reference())


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
        "mag": mag(first, second),
        "env": env(first, second),
        "loudness_change_lu": change,
    }


def _plain(value: Any) -> Any:
    """A value for JSON, which knows neither NaN nor infinity; six digits are plenty."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
