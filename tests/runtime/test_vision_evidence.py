"""From class probabilities to subject, scene and sounds."""

import numpy as np
import pytest
from semmix_rt.cues.vision.evidence import OPEN_COUNTRY, Evidence, weigh
from semmix_rt.cues.vision.things import FAMILIES, LANDSCAPE_SCENES, things

LION, LIBRARY, BOOKCASE, BOOKSHOP = 291, 624, 453, 454
ALP, VALLEY, LAKESIDE = 970, 979, 975


def _probabilities(**shares):
    """1000 probabilities; keys are `c<number>` or `c<first>_<last>` for an even share."""
    p = np.zeros(1000, np.float32)
    for key, share in shares.items():
        first, _, last = key[1:].partition("_")
        ids = range(int(first), int(last or first) + 1)
        p[list(ids)] += share / len(ids)
    return p


def test_table_is_consistent():
    ids = [number for thing in things() for number in thing.ids]
    assert len(ids) == len(set(ids)) > 600
    assert set(ids) <= set(range(1000))
    scenes = {thing.scene for thing in things()}
    assert set(LANDSCAPE_SCENES) <= scenes
    for thing in things():
        assert thing.kind in ("animal", "vehicle", "object", "")
        assert bool(thing.kind) == bool(thing.label), thing
        assert not thing.family or FAMILIES[thing.family].kind == thing.kind, thing
        assert thing.label or thing.scene or thing.sounds
        assert 0.0 < thing.trust <= 1.0


def test_every_animal_class_but_the_odd_ones_has_a_row():
    animals = {n for thing in things() if thing.kind == "animal" for n in thing.ids}
    missing = set(range(398)) - animals
    assert len(missing) < 16


@pytest.mark.parametrize(
    "clothes", [834, 906, 457, 841, 610, 652, 836, 837, 903, 515, 608, 655, 617, 869, 400, 501]
)
def test_clothes_say_nothing(clothes):
    assert weigh(_probabilities(**{f"c{clothes}": 0.95})) == Evidence()


def test_a_sure_class_is_named():
    seen = weigh(_probabilities(c291=0.9))
    assert (seen.kind, seen.label) == ("animal", "lion")
    assert seen.subject_p == pytest.approx(0.9, abs=1e-4)
    assert seen.sounds == ("animal calls",)


def test_many_birds_make_a_bird_though_none_is_sure():
    seen = weigh(_probabilities(c10_20=0.3, c80_96=0.3, c127_146=0.25))
    assert (seen.kind, seen.label) == ("animal", "bird")
    assert seen.sounds[0] == "birds"


def test_animals_of_all_sorts_make_an_animal_that_makes_no_known_sound():
    seen = weigh(_probabilities(c151_268=0.5, c281_297=0.2, c345_388=0.15))
    assert (seen.kind, seen.label, seen.sounds) == ("animal", None, ())


def test_dogs_are_believed_only_when_they_are_sure():
    assert weigh(_probabilities(c151_268=0.95)).label == "dog"
    assert weigh(_probabilities(c151_268=0.85)).label is None


def test_an_even_spread_says_nothing():
    assert weigh(np.full(1000, 1e-3, np.float32)) == Evidence()


def test_rows_with_one_scene_add_up():
    seen = weigh(_probabilities(c624=0.3, c453=0.15, c454=0.1))
    assert seen.scene == "a room with bookshelves"
    assert seen.kind is None


def test_landscapes():
    seen = weigh(_probabilities(c970=0.7))
    assert (seen.scene, seen.sounds) == ("a mountain range", ("wind",))
    assert seen.landscape_p == pytest.approx(0.7, abs=1e-4)
    mixed = weigh(_probabilities(c970=0.15, c979=0.15, c975=0.15))
    assert mixed.scene == OPEN_COUNTRY
    assert weigh(_probabilities(c970=0.4, c291=0.55)).landscape_p == 0.0


@pytest.mark.parametrize("number", [413, 402, 817, 466])
def test_each_kind_of_thing_is_heard(number):
    expected = {413: "gunshots", 402: "music", 817: "an engine", 466: "a train"}
    assert weigh(_probabilities(**{f"c{number}": 0.9})).sounds[0] == expected[number]


def test_certainty_grows_with_probability():
    last = 0.0
    for p in (0.5, 0.7, 0.9, 1.0):
        now = weigh(_probabilities(c291=p)).subject_p
        assert last < now <= 1.0
        last = now
