"""The policy's table and the sentences that stand for its situations."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

import numpy as np
import pytest

from semmix.cues.types import CUE_TYPES, CueType
from semmix.training.observations import LOOKS, observed_sentences
from semmix.training.policy import SITUATION_BY_NAME, SITUATIONS, STEMS
from semmix.training.wordings import SLOTS, WORDINGS, sentence

NAMES = [s.name for s in SITUATIONS]
FACELESS = {"machine", "landscape"}
"""Situations whose pictures show no face, so that no picture model reports an emotion."""


def test_every_situation_is_worded_and_has_a_look() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(SITUATION_BY_NAME)
    assert set(WORDINGS) == set(LOOKS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_in_every_situation_one_stem_leads_and_the_others_follow(name: str) -> None:
    situation = SITUATION_BY_NAME[name]
    levels = dict(zip(STEMS, situation.balance_lu, strict=True))
    for stem in STEMS:
        assert levels[stem] == getattr(situation, f"{stem}_lu")
    assert sorted(levels.values())[-1] == 0.0
    assert sorted(levels.values())[-2] <= -6.0
    assert min(levels.values()) >= -24.0
    assert situation.share > 0.0


def test_every_stem_leads_somewhere() -> None:
    leads = {STEMS[int(np.argmax(s.balance_lu))] for s in SITUATIONS}
    assert leads == set(STEMS)


# --- Wordings -----------------------------------------------------------------------------------


def drawn(name: str, cue_type: CueType, count: int = 200) -> set[str]:
    rng = np.random.default_rng(1)
    return {sentence(name, cue_type, rng) for _ in range(count)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cue_type", CUE_TYPES)
def test_every_cue_type_has_several_wordings(name: str, cue_type: CueType) -> None:
    templates = WORDINGS[name][cue_type]
    assert len(set(templates)) == len(templates) >= 3
    for text in drawn(name, cue_type):
        assert not re.search(r"[{}]", text)
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text


def test_slots_resolve_and_each_is_used() -> None:
    used = set()
    for cues in WORDINGS.values():
        for template in itertools.chain.from_iterable(cues.values()):
            used |= set(re.findall(r"\{(.*?)\}", template))
    assert used == set(SLOTS)
    for fillers in SLOTS.values():
        assert len(set(fillers)) == len(fillers) >= 8
        assert not [f for f in fillers if re.search(r"[{}]", f)]


def test_all_templates_and_fillers_are_drawn() -> None:
    rng = np.random.default_rng(2)
    seen = {sentence("dialogue", CueType.SCENE, rng) for _ in range(2_000)}
    patterns = [
        template.replace("{room}", room)
        for template in WORDINGS["dialogue"][CueType.SCENE]
        for room in SLOTS["room"]
    ]
    assert seen == {p[0].upper() + p[1:] for p in patterns}


@pytest.mark.parametrize("cue_type", CUE_TYPES)
def test_situations_are_worded_apart(cue_type: CueType) -> None:
    """They may share sentences that say little, but each has some of its own in every type."""
    homes = defaultdict(set)
    for name in NAMES:
        for template in WORDINGS[name][cue_type]:
            homes[template].add(name)
    own = {next(iter(names)) for names in homes.values() if len(names) == 1}
    assert own == set(NAMES)


def test_one_seed_gives_one_sentence() -> None:
    for name, cue_type in itertools.product(NAMES, CUE_TYPES):
        one, same = (sentence(name, cue_type, np.random.default_rng(5)) for _ in range(2))
        assert one == same


# --- What picture models would say --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_looks_give_sentences_of_every_cue_type(name: str) -> None:
    """Drawing them all also holds every look's words against the vocabularies of sentences."""
    rng = np.random.default_rng(3)
    seen: dict[CueType, set[str | None]] = defaultdict(set)
    for _ in range(400):
        sentences = observed_sentences(name, rng)
        assert tuple(sentences) == CUE_TYPES
        for cue_type, text in sentences.items():
            seen[cue_type].add(text)
    for cue_type in CUE_TYPES:
        known = seen[cue_type] - {None}
        assert bool(known) != (cue_type is CueType.EMOTION and name in FACELESS)
        assert not [t for t in known if t and (not t.endswith(".") or "None" in t or "{" in t)]


@pytest.mark.parametrize("pair", list(itertools.combinations(NAMES, 2)), ids="-".join)
def test_looks_of_two_situations_can_be_told_apart(pair: tuple[str, str]) -> None:
    """As whole sets of sentences; single sentences may be the same."""

    def looks(name: str) -> set[tuple[str | None, ...]]:
        rng = np.random.default_rng(4)
        return {tuple(observed_sentences(name, rng).values()) for _ in range(300)}

    one, other = map(looks, pair)
    assert len(one & other) <= 0.01 * min(len(one), len(other))


def test_no_sentence_has_two_articles() -> None:
    doubled = re.compile(r"\b(an?|the) (an?|the)\b", re.IGNORECASE)
    for situation, types in WORDINGS.items():
        for cue_type in types:
            for seed in range(200):
                text = sentence(situation, cue_type, np.random.default_rng(seed))
                assert not doubled.search(text), text
