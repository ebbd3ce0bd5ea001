"""Light, colour, motion and plants of made pictures."""

import math

import numpy as np
import pytest
from semmix_rt.cues.vision.greenery import greenery
from semmix_rt.cues.vision.tone import tone


def _flat(red, green, blue, height=90, width=160):
    return np.tile(np.array([red, green, blue], np.uint8), (height, width, 1))


@pytest.mark.parametrize(
    ("colour", "light"),
    [
        ((10, 10, 10), "dark"),
        ((70, 70, 70), "dim"),
        ((110, 110, 110), None),
        ((230,) * 3, "bright"),
    ],
)
def test_light(colour, light):
    assert tone(_flat(*colour), 0.0).light == light


@pytest.mark.parametrize(
    ("colour", "word"),
    [
        ((150, 120, 110), "warm"),
        ((110, 120, 150), "cold"),
        ((128, 128, 128), "muted"),
        ((240, 20, 20), "vivid"),
        ((8, 12, 26), "cold"),
        ((26, 12, 8), "warm"),
    ],
)
def test_colour_by_day_and_by_night(colour, word):
    assert tone(_flat(*colour), 0.0).colour == word


@pytest.mark.parametrize(
    ("motion", "word"),
    [
        (0.0, None),
        (math.nan, None),
        (0.005, "still"),
        (0.03, "calm"),
        (0.1, "lively"),
        (0.4, "fast"),
    ],
)
def test_motion(motion, word):
    assert tone(_flat(9, 9, 9), motion).motion == word


def test_black_bars_do_not_darken_a_film():
    film = _flat(200, 190, 170)
    barred = np.zeros((180, 200, 3), np.uint8)
    barred[45:135, 20:180] = film
    assert tone(barred, 0.02) == tone(film, 0.02)


def test_tone_of_a_black_picture_is_dark_and_muted():
    seen = tone(_flat(0, 0, 0), 0.0)
    assert (seen.light, seen.colour) == ("dark", "muted")


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (37, 5)])
def test_any_size_will_do(size):
    image = _flat(200, 200, 200, *size)
    assert tone(image, 0.0).light == "bright"
    assert greenery(image) == 0.0


def _grass(amplitude, seed=2):
    """A green field with grain of about two pixels of the size it is judged at."""
    rng = np.random.default_rng(seed)
    grain = rng.normal(0.0, amplitude, (45, 80)).repeat(4, axis=0).repeat(4, axis=1)
    image = np.array([90.0, 140.0, 50.0]) * np.clip(1.0 + grain, 0.2, 1.8)[..., None]
    return np.clip(image, 0, 255).astype(np.uint8)


def test_grass_is_green_and_grainy_and_a_green_wall_is_not():
    assert greenery(_grass(0.2)) > 0.9
    assert greenery(_grass(0.01)) == 0.0
    brown = _grass(0.2)[..., [1, 0, 2]]
    assert greenery(brown) == 0.0
