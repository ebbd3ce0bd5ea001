"""Precisions and their records of parity, added to a bundle that exists."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_engine import bundle_parts
from support_parity import record_of

from semmix.bundle import Bundle, write_bundle
from semmix.errors import ModelFormatError, UsageError

Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture(params=["folder", "zip"])
def own(request: pytest.FixtureRequest, tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    name = "own.zip" if request.param == "zip" else "own"
    return tiny_bundle.save(tmp_path / name)


def test_a_precision_is_added_in_place(own: Bundle) -> None:
    own_graph = own.highlighter_graph()
    made = own.add_precision(
        "fp16", b"half", parity=record_of(b"half", passed=False), provenance={"tool": "typed"}
    )
    again = Bundle.load(own.path)
    assert again.sha256 == made.sha256 != own.sha256
    assert again.precisions == ("fp16", "fp32")
    assert again.highlighter_graph("fp16") == b"half"
    assert again.highlighter_graph("fp32") == own_graph
    assert not again.parity_passed("fp16")
    assert again.parity["fp32"] == own.parity["fp32"]
    assert again.manifest.provenance == {
        **own.manifest.provenance,
        "precisions": {"fp16": {"tool": "typed"}},
    }


def test_a_precision_is_added_beside_the_bundle(own: Bundle, tmp_path: Path) -> None:
    record = {"parity": record_of(b"eight"), "provenance": {}}
    made = own.add_precision("int8", b"eight", to=tmp_path / "other.zip", **record)
    assert made.path == tmp_path / "other.zip"
    assert made.parity_passed("int8")
    assert Bundle.load(own.path).sha256 == own.sha256
    with pytest.raises(UsageError, match="exists already"):
        own.add_precision("int8", b"9", to=made.path, **record)
    more = made.add_precision("fp16", b"half", **record)
    assert set(more.manifest.provenance["precisions"]) == {"int8", "fp16"}


def test_a_precision_is_replaced_only_on_request(own: Bundle) -> None:
    record = {"parity": {"passed": True}, "provenance": {}}
    with pytest.raises(UsageError, match="has a fp32 network already"):
        own.add_precision("fp32", b"new", **record)
    assert Bundle.load(own.path).sha256 == own.sha256
    made = own.add_precision("fp32", b"new", replace=True, **record)
    assert made.highlighter_graph() == b"new"
    with pytest.raises(UsageError, match=r"no precision 'fp8'.*fp32, fp16, int8, int8cpu"):
        own.add_precision("fp8", b"new", **record)


def test_a_record_of_parity_is_replaced(own: Bundle) -> None:
    made = own.with_parity("fp32", {"passed": False, "snr_db": 3.0})
    again = Bundle.load(own.path)
    assert again.parity == made.parity == {"fp32": {"passed": False, "snr_db": 3.0}}
    assert not again.parity_passed("fp32")
    assert again.manifest.files == own.manifest.files
    with pytest.raises(ModelFormatError, match="no int8 network, only fp32"):
        own.with_parity("int8", {"passed": True})


def test_odd_provenance_makes_room_for_precisions(tmp_path: Path) -> None:
    odd = write_bundle(tmp_path / "odd", **bundle_parts(provenance={"precisions": "all"}))
    made = odd.add_precision("fp16", b"half", parity={}, provenance={"a": 1})
    assert made.manifest.provenance["precisions"] == {"fp16": {"a": 1}}


# --- What a record must say ---------------------------------------------------------------------


def with_sound(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A record of which one sound is told otherwise."""
    return record | {"sounds": [record["sounds"][0] | changes]}


WITHIN = {
    "nothing changed": lambda record: record,
    "another reference": lambda record: record | {"against": "torch 9"},
    "a context that it does not name": lambda r: {k: v for k, v in r.items() if "context" not in k},
    "a batch that was not asked for": lambda record: record | {"batch_snr_db": None},
    "a ratio on the edge": lambda record: with_sound(record, snr_db=90.0),
    "gains on the edge": lambda record: with_sound(record, mask_p999=2e-4, largest_gain=2.0),
}

OUTSIDE = {
    "no verdict": lambda record: record | {"passed": None},
    "a verdict that is none": lambda record: record | {"passed": "yes"},
    "nothing but a verdict": lambda record: {"passed": True},
    "no hash": lambda r: {k: v for k, v in r.items() if k != "graph_sha256"},
    "another graph": lambda record: record | {"graph_sha256": "0" * 64},
    "another context": lambda record: record | {"context_sha256": "0" * 64},
    "no sound": lambda record: record | {"sounds": []},
    "a sound that is none": lambda record: record | {"sounds": ["speech"]},
    "a ratio and limits of its own": lambda record: (
        with_sound(record, snr_db=-3.0) | {"thresholds": {"snr_db": -100}}
    ),
    "a ratio just below": lambda record: with_sound(record, snr_db=89.9),
    "a ratio that is none": lambda record: with_sound(record, snr_db=None),
    "a ratio in words": lambda record: with_sound(record, snr_db="200"),
    "a ratio without end": lambda record: with_sound(record, snr_db=-(10**400)),
    "loudness": lambda record: with_sound(record, loudness_change_lu=0.06),
    "gains": lambda record: with_sound(record, mask_p999=2.1e-4, largest_gain=2.0),
    "cues": lambda record: record | {"tokens_snr_db": 59.9},
    "cues that were not compared": lambda record: record | {"tokens_snr_db": None},
    "a batch": lambda record: record | {"batch_snr_db": 60.0},
    "runs of another precision": lambda record: record | {"fallback_runs": 1},
    "a count of runs that is none": lambda record: record | {"fallback_runs": "none"},
}


@pytest.mark.parametrize("change", WITHIN.values(), ids=WITHIN)
def test_a_record_within_the_limits_proves(tiny_bundle: Bundle, change: Change) -> None:
    graph, context = tiny_bundle.highlighter_graph(), tiny_bundle.context_graph()
    assert tiny_bundle.proves("fp32", change(record_of(graph, context=context)))


@pytest.mark.parametrize("change", OUTSIDE.values(), ids=OUTSIDE)
def test_a_record_is_judged_by_its_numbers(tiny_bundle: Bundle, change: Change) -> None:
    graph, context = tiny_bundle.highlighter_graph(), tiny_bundle.context_graph()
    assert not tiny_bundle.proves("fp32", change(record_of(graph, context=context)))


def test_limits_are_those_of_the_precision(own: Bundle) -> None:
    record = with_sound(record_of(b"graph"), snr_db=54.0)
    made = own.add_precision("fp16", b"graph", parity=record, provenance={})
    made = made.add_precision("int8", b"graph", parity=record, provenance={})
    assert made.parity_passed("int8")
    assert not made.parity_passed("fp16")


def test_what_is_no_record_proves_nothing(tiny_bundle: Bundle) -> None:
    for odd in (None, True, [], "passed"):
        assert not tiny_bundle.proves("fp32", odd)
    assert not tiny_bundle.proves("int8", record_of(tiny_bundle.highlighter_graph()))
