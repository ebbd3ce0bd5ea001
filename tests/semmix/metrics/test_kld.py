"""KLD against scipy, and taggers made here as ONNX files."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import tolerances
from scipy.special import softmax as scipy_softmax
from scipy.stats import entropy
from support_tagger import (
    WINDOW,
    expected_distribution,
    linear_tagger,
    linear_tflite,
    weights,
)

from semmix.errors import EngineError, ModelFormatError, UsageError
from semmix.metrics import kld
from semmix.metrics.kld import PROBABILITY_FLOOR, softmax
from semmix.metrics.taggers import open_tagger

RATE_HZ = 8_000


def distribution(seed: int, size: int = 527) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(size, 0.1))


# --- The divergence -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [61, 62, 63])
def test_it_is_scipys_relative_entropy_of_the_floored_estimate(seed: int) -> None:
    wanted, found = distribution(seed), distribution(seed + 10)
    # scipy scales its second argument to sum 1, which the published metric does not.
    floored = found + PROBABILITY_FLOOR
    expected = entropy(wanted, floored) - math.log(floored.sum())
    assert kld(wanted, found) == pytest.approx(expected, rel=tolerances.METRIC_REL)


def test_equal_distributions_are_at_the_floor_of_zero() -> None:
    uniform = np.full(10, 0.1)
    assert kld(uniform, uniform) == pytest.approx(-math.log(1.0 + 1e-5), rel=1e-6)


def test_classes_that_the_reference_lacks_do_not_count_by_themselves() -> None:
    assert kld([0.0, 1.0], [0.5, 0.5]) == pytest.approx(math.log(2.0), abs=1e-5)
    # What the estimate lacks costs as much as the floor allows.
    assert kld([1.0, 0.0], [0.0, 1.0]) == pytest.approx(-math.log(PROBABILITY_FLOOR))


def test_softmax_is_scipys_even_for_large_logits() -> None:
    logits = 300.0 * np.random.default_rng(64).standard_normal((3, 7))
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=-1), rtol=1e-12)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(UsageError, match="estimate sums to 2"):
        kld([0.5, 0.5], [1.0, 1.0])
    with pytest.raises(UsageError, match="reference sums"):
        kld([1.5, -0.5], [0.5, 0.5])
    with pytest.raises(UsageError, match="same length"):
        kld([0.5, 0.5], [0.2, 0.3, 0.5])


# --- Taggers --------------------------------------------------------------------------------------


def noise(samples: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(66).standard_normal(samples)


@pytest.mark.parametrize("shape", [[WINDOW], [1, WINDOW], ["batch", WINDOW], [1, 1, WINDOW]])
@pytest.mark.parametrize("samples", [WINDOW, 3 * WINDOW, 3 * WINDOW + 90, 90])
def test_a_tagger_of_fixed_length_hears_window_by_window(tmp_path, shape, samples) -> None:
    tagger = open_tagger(linear_tagger(tmp_path / "t.onnx", shape), RATE_HZ)
    assert tagger.window_samples == WINDOW
    found = tagger.distribution(noise(samples), RATE_HZ)
    np.testing.assert_allclose(
        found, expected_distribution(noise(samples)), atol=tolerances.PROBABILITY_FLOAT32
    )


def test_a_tagger_of_free_length_hears_the_whole_clip_at_once(tmp_path) -> None:
    tagger = open_tagger(linear_tagger(tmp_path / "t.onnx", [1, "samples"]), RATE_HZ)
    assert tagger.window_samples is None
    found = tagger.distribution(noise(3 * WINDOW), RATE_HZ)
    np.testing.assert_allclose(
        found, expected_distribution(noise(3 * WINDOW)), atol=tolerances.PROBABILITY_FLOAT32
    )
    with pytest.raises(ModelFormatError, match="does not run on 401 samples"):
        tagger.distribution(noise(401), RATE_HZ)


def test_the_rate_comes_from_the_file_or_from_the_user(tmp_path) -> None:
    path = linear_tagger(tmp_path / "stated.onnx", [WINDOW], sample_rate_hz="16000")
    assert open_tagger(path).rate_hz == 16_000
    assert open_tagger(path, 32_000).rate_hz == 32_000
    silent = linear_tagger(tmp_path / "silent.onnx", [WINDOW])
    with pytest.raises(UsageError, match="--tagger-rate"):
        open_tagger(silent)
    odd = linear_tagger(tmp_path / "odd.onnx", [WINDOW], sample_rate="wide")
    with pytest.raises(ModelFormatError, match="'wide'"):
        open_tagger(odd)


def test_other_rates_are_resampled(tmp_path) -> None:
    import soxr

    tagger = open_tagger(linear_tagger(tmp_path / "t.onnx", [WINDOW]), RATE_HZ)
    signal = noise(2_000)
    moved = soxr.resample(signal, 20_000, RATE_HZ, quality="VHQ")
    np.testing.assert_array_equal(
        tagger.distribution(signal, 20_000), tagger.distribution(moved, RATE_HZ)
    )


def test_probabilities_are_scaled_to_sum_one_and_logits_are_not_taken_for_them(tmp_path) -> None:
    path = linear_tagger(tmp_path / "t.onnx", [WINDOW])
    # A clip along the pseudo-inverse gives any scores one likes.
    scores = np.array([0.9, 0.6, 0.3, 0.1, 0.1])
    clip = np.linalg.lstsq(weights().T.astype(np.float64), scores, rcond=None)[0]
    found = open_tagger(path, RATE_HZ, "probabilities").distribution(clip, RATE_HZ)
    np.testing.assert_allclose(found, scores / 2.0, atol=tolerances.PROBABILITY_FLOAT32)
    with pytest.raises(ModelFormatError, match="these are logits"):
        open_tagger(path, RATE_HZ, "probabilities").distribution(-clip, RATE_HZ)


def test_files_that_are_no_taggers_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_tagger(tmp_path / "none.onnx", RATE_HZ)
    other = tmp_path / "tagger.pt"
    other.write_bytes(b"x")
    with pytest.raises(UsageError, match=r"\.onnx or \.tflite"):
        open_tagger(other, RATE_HZ)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a graph")
    with pytest.raises(ModelFormatError):
        open_tagger(broken, RATE_HZ)
    picture = linear_tagger(tmp_path / "spectrogram.onnx", [1, 64, WINDOW])
    with pytest.raises(ModelFormatError, match="front end inside"):
        open_tagger(picture, RATE_HZ)


class FakeLiteRt:
    """LiteRT's interpreter as far as a tagger needs it, over the same linear map."""

    resized: list[tuple[int, ...]]

    def __init__(self, model_path: str, num_threads: int) -> None:
        assert num_threads == 1
        if Path(model_path).read_bytes() != b"TFL3":
            raise ValueError("no flatbuffer")
        self.resized = []

    def get_input_details(self) -> list[dict[str, object]]:
        shape = np.array([WINDOW])
        return [{"index": 3, "dtype": np.float32, "shape": shape, "shape_signature": shape}]

    def get_output_details(self) -> list[dict[str, int]]:
        return [{"index": 8}]

    def allocate_tensors(self) -> None:
        self.ready = True

    def set_tensor(self, index: int, value: np.ndarray) -> None:
        assert (index, value.dtype, value.shape) == (3, np.float32, (WINDOW,))
        self.value = value

    def invoke(self) -> None:
        assert self.ready
        self.scores = (self.value @ weights())[None]

    def get_tensor(self, index: int) -> np.ndarray:
        assert index == 8
        return self.scores


def test_a_tflite_tagger_hears_the_same(tmp_path, monkeypatch) -> None:
    module = types.ModuleType("ai_edge_litert.interpreter")
    module.Interpreter = FakeLiteRt
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    path = tmp_path / "t.tflite"
    path.write_bytes(b"TFL3")
    signal = noise(3 * WINDOW + 90)
    found = open_tagger(path, RATE_HZ).distribution(signal, RATE_HZ)
    np.testing.assert_allclose(
        found, expected_distribution(signal), atol=tolerances.PROBABILITY_FLOAT32
    )
    path.write_bytes(b"junk")
    with pytest.raises(ModelFormatError, match="no flatbuffer"):
        open_tagger(path, RATE_HZ)


@pytest.mark.parametrize("samples", [90, WINDOW, 3 * WINDOW + 90])
def test_a_tflite_file_hears_the_same_through_litert(tmp_path, samples) -> None:
    tagger = open_tagger(linear_tflite(tmp_path / "t.tflite"), RATE_HZ)
    assert tagger.window_samples == WINDOW
    np.testing.assert_allclose(
        tagger.distribution(noise(samples), RATE_HZ),
        expected_distribution(noise(samples)),
        atol=tolerances.PROBABILITY_FLOAT32,
    )
    (tmp_path / "broken.tflite").write_bytes(b"junk")
    with pytest.raises(ModelFormatError, match="cannot be loaded"):
        open_tagger(tmp_path / "broken.tflite", RATE_HZ)


def test_without_litert_a_sentence_says_so(tmp_path, monkeypatch) -> None:
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / "t.tflite"
    path.write_bytes(b"TFL3")
    with pytest.raises(EngineError, match="pip install ai-edge-litert"):
        open_tagger(path, RATE_HZ)
