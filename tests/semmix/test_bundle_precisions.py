"""Precisions and their records of parity, added to a bundle that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_engine import bundle_parts

from semmix.bundle import Bundle, write_bundle
from semmix.errors import ModelFormatError, UsageError


@pytest.fixture(params=["folder", "zip"])
def own(request: pytest.FixtureRequest, tiny_bundle: Bundle, tmp_path: Path) -> Bundle:
    name = "own.zip" if request.param == "zip" else "own"
    return tiny_bundle.save(tmp_path / name)


def test_a_precision_is_added_in_place(own: Bundle) -> None:
    own_graph = own.highlighter_graph()
    made = own.add_precision(
        "fp16", b"half", parity={"passed": False}, provenance={"tool": "typed"}
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
    record = {"parity": {"passed": True}, "provenance": {}}
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
