"""The parity gate: it passes what agrees with PyTorch, and fails whatever was broken."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import helper, numpy_helper
from semmix_export.gate import Gate, gate_cues, gate_record, several
from semmix_export.gate_sounds import CLASSES, gate_samples, gate_sounds
from semmix_rt.engines import open_engine, open_window_engine
from support_engine import TINY_SPEC
from support_gate import only
from support_parity import record_of
from support_window import TINY_WINDOW, TinyWindowEngine, with_context

from semmix.bundle import PRECISIONS, Bundle
from semmix.bundle.parity import Parity, SoundParity
from semmix.bundle.thresholds import Thresholds, thresholds
from semmix.cues.text import TextEncoder
from semmix.errors import UsageError

Mutation = Callable[[onnx.ModelProto], None]
FEW = only("silence", "impulse", "clipped", "steps", "speech")


@pytest.fixture(scope="module")
def gate(exported) -> Gate:
    """PyTorch's answers, heard once for all tests."""
    reference = open_engine(exported.bundle, "torch")
    return Gate(reference, FEW(reference.spec))


@pytest.fixture(scope="module")
def window_gate(windowed) -> Gate:
    """The same of a network that hears windows."""
    reference = open_window_engine(windowed.bundle, "torch")
    return Gate(reference, only("steps", "speech")(reference.spec))


def judge(gate: Gate, bundle: Bundle, precision: str = "fp32") -> Parity:
    spec = bundle.manifest.spec
    open_one = open_engine if bundle.window_spec is None else open_window_engine
    engine = open_one(bundle, "ort", precision=precision)
    return gate.compare(engine, thresholds(precision, spec), batches=several(spec))


def mutated(bundle: Bundle, mutation: Mutation, to: Path, precision: str = "fp32") -> Bundle:
    """A copy whose fp32 graph was changed, in a precision, and whose record says that it passed."""
    model = onnx.load_from_string(bundle.highlighter_graph())
    mutation(model)
    graph = model.SerializeToString()
    record = record_of(graph)
    return bundle.add_precision(precision, graph, parity=record, provenance={}, to=to, replace=True)


# --- Mutations ----------------------------------------------------------------------------------


def scaled(name: str, factor: float) -> Mutation:
    """One weight, a little off."""

    def change(model: onnx.ModelProto) -> None:
        (weight,) = [w for w in model.graph.initializer if f".{w.name}".endswith(f".{name}")]
        array = numpy_helper.to_array(weight) * np.float32(factor)
        weight.CopyFrom(numpy_helper.from_array(array, weight.name))

    return change


def rewired(outputs: dict[str, str], *nodes: onnx.NodeProto) -> Mutation:
    """Some outputs under other names inside, and nodes that make new outputs of those."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for i, name in enumerate(node.output):
                node.output[i] = outputs.get(name, name)
            for i, name in enumerate(node.input):
                node.input[i] = outputs.get(name, name)
        model.graph.node.extend(nodes)

    return change


def zeroed(state: str) -> Mutation:
    """A state that is forgotten from chunk to chunk."""
    nodes = (helper.make_node("Sub", ["lost", "lost"], [f"next_{state}"]),)
    return rewired({f"next_{state}": "lost"}, *nodes)


def shifted() -> Mutation:
    """Masks one frame early within a chunk, the last one twice."""
    constants = {"one": [1], "end": [1 << 30], "last": [-1], "time": [1]}
    nodes = [
        helper.make_node("Constant", [], [f"own_{name}"], value_ints=value)
        for name, value in constants.items()
    ]
    nodes += [
        helper.make_node("Slice", ["kept", "own_one", "own_end", "own_time"], ["later"]),
        helper.make_node("Slice", ["kept", "own_last", "own_end", "own_time"], ["final"]),
        helper.make_node("Concat", ["later", "final"], ["mask"], axis=1),
    ]
    return rewired({"mask": "kept"}, *nodes)


_MILD = "head.weights.1"

MUTATIONS = {
    "a weight off by a percent": scaled("decoder.0.time_out", 1.01),
    "the head's weights off by a percent": scaled("head.weights.1", 1.01),
    "states that change places": rewired(
        {"next_encoder0": "next_decoder0", "next_decoder0": "next_encoder0"}
    ),
    "a state of the encoder forgotten": zeroed("encoder1"),
    "a state of the latent forgotten": zeroed("cache0"),
    "one number that is none": scaled("head.bias", math.nan),
    "masks a frame early": shifted(),
}


def test_what_was_not_touched_passes(gate: Gate, exported) -> None:
    parity = judge(gate, exported.bundle)
    assert parity.passed
    assert parity.failures == ()
    assert {s.sound for s in parity.sounds} == {"silence", "impulse", "clipped", "steps", "speech"}
    assert {s.cues for s in parity.sounds} == {"two shots", "none"}
    # The gate would prove little where the network leaves everything as it is.
    assert max(s.largest_gain for s in parity.sounds) > 1.1


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_was_broken_fails(gate: Gate, exported, tmp_path: Path, name: str) -> None:
    parity = judge(gate, mutated(exported.bundle, MUTATIONS[name], tmp_path / "broken"))
    assert not parity.passed
    failing = {f.partition(",")[0] for f in parity.failures}
    # Not only one odd sound or a batch tells: speech does.
    assert "speech" in failing


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8cpu"])
def test_limits_lie_where_they_are_said_to(
    gate: Gate, exported, tmp_path: Path, precision: str
) -> None:
    """One weight off by so much that the worst ratio comes to lie just within, and just below."""
    limit_db = thresholds(precision, exported.bundle.spec).snr_db
    share = 1e-3
    for side_db in (0.5, -0.5):
        # Errors are in proportion to what made them, nearly: a few steps come close enough.
        for _ in range(8):
            off = scaled(_MILD, 1.0 + share)
            bundle = mutated(exported.bundle, off, tmp_path / "off", precision)
            parity = judge(gate, bundle, precision)
            above_db = parity.snr_db - limit_db
            if abs(above_db - side_db) < 0.4:
                break
            share *= 10.0 ** ((above_db - side_db) / 20.0)
        assert abs(above_db - side_db) < 0.4
        assert parity.passed == (side_db > 0), parity.failures
        record = gate_record(parity, open_engine(bundle, "ort", precision=precision), bundle, "x")
        assert bundle.proves(precision, record) == (side_db > 0)


WINDOW_MUTATIONS = {
    "a weight of the decoder off by a percent": scaled("network.decoder.5.conv_tr.weight", 1.01),
    "a weight beside the spectrogram off by a percent": scaled(
        "network.tdecoder.4.conv_tr.weight", 1.01
    ),
    "cues that are not heard": scaled("network.latent_transformer.proj_out.weight", 0.0),
}


def test_windows_that_were_not_touched_pass(window_gate: Gate, windowed) -> None:
    parity = judge(window_gate, windowed.bundle)
    assert parity.failures == ()
    assert parity.passed


@pytest.mark.parametrize("name", WINDOW_MUTATIONS)
def test_windows_that_were_broken_fail(
    window_gate: Gate, windowed, tmp_path: Path, name: str
) -> None:
    broken = mutated(windowed.bundle, WINDOW_MUTATIONS[name], tmp_path / "broken")
    parity = judge(window_gate, broken)
    assert not parity.passed
    assert "speech" in {f.partition(",")[0] for f in parity.failures}


def test_an_engine_that_float32_stood_in_for_fails(gate: Gate, exported) -> None:
    """What was compared is float32 with float32, so every number is perfect."""

    class Guarded:
        def __init__(self) -> None:
            self._engine = open_engine(exported.bundle, "torch")
            self.name, self.provider, self.precision = "guarded", "none", "fp16"
            self.spec, self.fallback_runs = self._engine.spec, 7
            self.encode_context = self._engine.encode_context
            self.initial_state = self._engine.initial_state

        def run(self, *inputs: object) -> object:
            self.fallback_runs += 1
            return self._engine.run(*inputs)  # type: ignore[arg-type]

    engine = Guarded()
    parity = gate.compare(engine, thresholds("fp16", TINY_SPEC), batches=())  # type: ignore[arg-type]
    assert parity.snr_db == 200.0
    # Runs of before are no concern of this comparison's.
    runs = engine.fallback_runs - 7
    assert parity.failures == (f"fp32 took over in {runs} runs that gave no numbers",)
    assert not parity.passed
    record = parity.to_record()
    assert record["fallback_runs"] == runs
    assert record["passed"] is False


def test_broken_cues_fail(gate: Gate, exported, tmp_path: Path) -> None:
    """The context graph of another network, in a bundle that is else untouched."""

    class OtherCues:
        def __init__(self) -> None:
            self._engine = open_engine(exported.bundle, "ort")
            self.name, self.provider, self.precision = "odd", "none", "fp32"
            self.spec = self._engine.spec
            self.initial_state, self.run = self._engine.initial_state, self._engine.run

        def encode_context(self, embeddings: np.ndarray) -> np.ndarray:
            return 1.01 * self._engine.encode_context(embeddings)

    parity = gate.compare(OtherCues(), thresholds("fp32", TINY_SPEC), batches=())  # type: ignore[arg-type]
    assert any(f.startswith("encoded cues") for f in parity.failures)
    assert {f.partition(",")[0] for f in parity.failures} >= {"speech"}
    assert parity.batch_snr_db is None


# --- Verdicts and records -----------------------------------------------------------------------


def test_a_gate_that_heard_nothing_does_not_pass() -> None:
    parity = Parity(thresholds("fp32", TINY_SPEC), (), None, None)
    assert not parity.passed
    assert parity.snr_db == -math.inf


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"snr_db": 54.9}, "54.9 dB of 55 dB"),
        ({"snr_db": math.nan}, "nan dB"),
        ({"loudness_change_lu": -0.06}, "loudness off by -0.06 of 0.05 LU"),
        ({"loudness_change_lu": math.nan}, "loudness off"),
        ({"mask_p999": 0.041}, "gains off by 0.041 of 0.04"),
        ({"mask_p999": math.inf}, "gains off"),
    ],
)
def test_each_limit_is_held(changes: dict[str, float], words: str | None) -> None:
    on_the_edge = SoundParity("speech", True, "none", 0.3, 0.04, 4.0, 55.0, 0.1, 0.1, 0.05)
    sound = replace(on_the_edge, **changes)
    failures = sound.failures(Thresholds(55.0, 0.05, 0.01))
    assert len(failures) == (words is not None)
    assert words is None or words in failures[0]
    if "mask_p999" in changes:
        assert sound.failures(Thresholds(55.0, 0.05, None)) == []


def test_thresholds_are_stricter_where_there_are_more_bits() -> None:
    assert {p: thresholds(p, TINY_SPEC).snr_db for p in PRECISIONS} == {
        "fp32": 90.0,
        "fp16": 55.0,
        "int8": 30.0,
        "int8cpu": 30.0,
    }
    assert {p: thresholds(p, TINY_SPEC).loudness_change_lu for p in PRECISIONS} == {
        "fp32": 0.05,
        "fp16": 0.05,
        "int8": 0.2,
        "int8cpu": 0.2,
    }
    assert thresholds("fp16", TINY_WINDOW) == thresholds("fp16", TINY_SPEC)


def test_a_record_is_plain_json_even_of_what_is_no_number(gate: Gate, exported, tmp_path) -> None:
    broken = mutated(exported.bundle, MUTATIONS["one number that is none"], tmp_path / "nan")
    engine = open_engine(broken, "ort")
    parity = gate.compare(engine, thresholds("fp32", broken.spec), batches=(3,))
    record = gate_record(parity, engine, broken, "torch")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["passed"] is False
    assert record["snr_db"] is None
    assert record["graph_sha256"] == broken.manifest.files["highlighter.fp32.onnx"].sha256
    assert record["provider"] == "CPUExecutionProvider"
    assert len(record["sounds"]) == len(parity.sounds)
    assert not broken.with_parity("fp32", record).parity_passed("fp32")


# --- Sounds and cues ----------------------------------------------------------------------------


def test_sounds_are_long_and_of_every_kind() -> None:
    sounds = {s.name: s for s in gate_sounds(TINY_SPEC)}
    assert {"silence", "impulse", "clipped", "steps", "quiet", *CLASSES} <= set(sounds)
    assert sum(name.startswith("sine") for name in sounds) == 3
    assert {name for name, s in sounds.items() if s.real} == set(CLASSES)
    chunk = TINY_SPEC.chunk.kept_frames * TINY_SPEC.stft.hop_samples
    for sound in sounds.values():
        assert sound.samples.shape == (1, gate_samples(TINY_SPEC))
        assert sound.samples.dtype == np.float32
        assert sound.samples.shape[1] > 3 * chunk
        assert np.abs(sound.samples).max() <= 1.0
    assert not sounds["silence"].samples.any()
    assert np.count_nonzero(sounds["impulse"].samples) == 1
    assert np.abs(sounds["sine 1000 Hz"].samples).max() > 0.999
    # A tenth of all samples and more lie on the rails.
    assert np.mean(np.abs(sounds["clipped"].samples) == 1.0) > 0.1
    assert all(s.samples.std() > 0.01 for s in sounds.values() if s.real)
    assert gate_samples(TINY_WINDOW) == TINY_WINDOW.window_samples


def test_stems_take_the_place_of_what_comes_along(tmp_path: Path) -> None:
    for name, hz in (("speech.wav", 300), ("effects.flac", 500)):
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(32_000) / 16_000)
        soundfile.write(tmp_path / name, tone, 16_000)
    sounds = gate_sounds(TINY_SPEC, stems=tmp_path, media=[tmp_path / "effects.flac"])
    real = {s.name: s.samples[0] for s in sounds if s.real}
    assert list(real) == ["speech", "effects", "effects.flac"]
    for name, hz in (("speech", 300), ("effects", 500), ("effects.flac", 500)):
        spectrum = np.abs(np.fft.rfft(real[name]))
        assert np.argmax(spectrum) * 16_000 / len(real[name]) == pytest.approx(hz, abs=1.0)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"none of speech\.wav, music\.wav, effects\.wav"):
        gate_sounds(TINY_SPEC, stems=tmp_path / "none")


def test_cues_are_sentences_where_the_encoder_is_the_models_own() -> None:
    encoder = TextEncoder.default()
    spec = replace(TINY_SPEC, embedding_dim=encoder.dim, text_encoder=encoder.identifier)
    cues = gate_cues(spec)
    assert cues is not None
    assert cues.shape == (2, 6, encoder.dim)
    # Appearance, and an emotion that the second shot leaves open.
    np.testing.assert_array_equal(
        cues[0, 0], encoder.encode(["A woman in a grey coat stands at a window."])[0]
    )
    assert not cues[1, 1].any()
    other = gate_cues(TINY_SPEC)
    assert other is not None
    known = np.any(cues, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(other, axis=-1), known, rtol=1e-6)
    assert gate_cues(with_context("none")) is None


def test_windows_hear_no_impulse_and_every_class_even_in_brief() -> None:
    full = {s.name: s.real for s in gate_sounds(TINY_WINDOW)}
    brief = {s.name: s.real for s in gate_sounds(TINY_WINDOW, brief=True)}
    assert "impulse" not in full
    assert set(full) == {s.name for s in gate_sounds(TINY_SPEC)} - {"impulse"}
    assert set(brief) < set(full)
    assert {name for name, real in brief.items() if real} == set(CLASSES)


@pytest.mark.parametrize("context", ["text", "none"])
def test_models_of_windows_are_judged_likewise(context: str) -> None:
    engine = TinyWindowEngine(with_context(context))
    gate = Gate(engine, gate_sounds(engine.spec, brief=True), brief=True)
    limits = thresholds("fp32", engine.spec)
    assert gate.compare(engine, limits, batches=(3,)).passed

    class Louder(TinyWindowEngine):
        def run(self, *inputs: object) -> tuple[np.ndarray, np.ndarray]:
            mask, wave = super().run(*inputs)  # type: ignore[arg-type]
            return mask, wave * np.float32(1.01)

    found = gate.compare(Louder(engine.spec), limits, batches=(3,))
    assert not found.passed
    assert "speech" in {f.partition(",")[0] for f in found.failures}
