"""dIB against scipy's cosine on a toy model of pictures and sounds."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import tolerances
from scipy.spatial.distance import cosine

from semmix.errors import EngineError, UsageError
from semmix.metrics import agreement, dib
from semmix.metrics.dib import load_picture_sound_model

RNG_SEED, FRAMES, DIM = 71, 6, 12


def embeddings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(RNG_SEED)
    return (
        3.0 * rng.standard_normal((FRAMES, DIM)),
        rng.standard_normal(DIM),
        0.2 * rng.standard_normal(DIM),
    )


def test_agreement_is_the_mean_cosine_over_the_frames() -> None:
    pictures, sound, _ = embeddings()
    expected = np.mean([1.0 - cosine(picture, sound) for picture in pictures])
    assert agreement(pictures, sound) == pytest.approx(expected, rel=tolerances.METRIC_REL)


def test_dib_is_the_distance_of_two_agreements() -> None:
    pictures, target, found = embeddings()
    means = [np.mean([1.0 - cosine(p, s) for p in pictures]) for s in (target, found)]
    expected = abs(means[0] - means[1])
    assert expected > 0.01
    assert dib(pictures, target, found) == pytest.approx(expected, rel=tolerances.METRIC_REL)
    assert dib(pictures, found, target) == dib(pictures, target, found)
    assert dib(pictures, target, target) == 0.0
    # Lengths of embeddings mean nothing.
    assert dib(10.0 * pictures, 0.1 * target, 7.0 * found) == pytest.approx(expected)


def test_what_has_no_direction_is_refused() -> None:
    pictures, sound, _ = embeddings()
    with pytest.raises(UsageError, match="direction is not defined"):
        agreement(pictures, np.zeros(DIM))
    with pytest.raises(UsageError, match="do not fit"):
        agreement(pictures, sound[:-1])
    with pytest.raises(UsageError, match="do not fit"):
        agreement(np.zeros((0, DIM)), sound)


def test_a_model_is_found_by_name_and_held_against_the_interface(monkeypatch) -> None:
    class Toy:
        def embed_pictures(self, paths):
            return np.ones((len(paths), 2))

        def embed_sound(self, signal, rate_hz):
            return np.ones(2)

    def broken():
        raise RuntimeError("no weights")

    module = types.ModuleType("toy_model")
    module.Toy, module.broken, module.other = Toy, broken, object
    monkeypatch.setitem(sys.modules, "toy_model", module)
    assert isinstance(load_picture_sound_model("toy_model:Toy"), Toy)
    with pytest.raises(EngineError, match="no weights"):
        load_picture_sound_model("toy_model:broken")
    with pytest.raises(UsageError, match="has no method embed_pictures"):
        load_picture_sound_model("toy_model:other")
    for name in ("toy_model", "toy_model:", "toy_model:none", "no_such_module_here:Toy"):
        with pytest.raises(UsageError, match=r"module:callable|PYTHONPATH"):
            load_picture_sound_model(name)
