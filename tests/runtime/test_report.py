import json
from dataclasses import replace

import pytest
from semmix_rt.loudness import Loudness
from semmix_rt.report import (
    SCHEMA_VERSION,
    CueReport,
    ModelReport,
    Report,
    check_report_path,
    save_report,
)

from semmix.errors import UsageError


@pytest.fixture
def report() -> Report:
    return Report(
        input="in.mp4",
        output="ä out.mp4",
        dry_run=False,
        amount=0.5,
        max_gain_db=None,
        plan={"streams": []},
        cues=CueReport("none", None, "", "", 0, None),
        model=ModelReport("m", "p", "0", "t", "ort", "CPU", "fp32", True, 1, 21.3, 0.0),
        transfer=None,
        timings=None,
        loudness_before=Loudness(-23.0, 5.0, -1.0),
        loudness_after=Loudness(None, None, None),
        sync=None,
        warnings=("one",),
    )


def test_json_holds_every_field_schema_first(report, tmp_path):
    path = tmp_path / "r.json"
    save_report(report, path)
    saved = json.loads(path.read_text(encoding="utf-8"))
    assert list(saved)[:2] == ["schema", "schema_version"]
    assert saved["schema_version"] == SCHEMA_VERSION
    assert saved["output"] == "ä out.mp4"
    assert saved["loudness_before"]["integrated_lufs"] == -23.0
    assert saved["loudness_after"]["integrated_lufs"] is None
    assert saved["tool"]["name"] == "semmix-rt"
    assert "numpy" in saved["tool"]["packages"]
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_json_has_no_nan(report):
    with pytest.raises(ValueError, match="JSON"):
        replace(report, amount=float("nan")).to_json()


def test_a_report_that_cannot_be_written_leaves_nothing(report, tmp_path):
    folder = tmp_path / "r.json"
    folder.mkdir()
    with pytest.raises(UsageError, match="the remix itself is complete"):
        save_report(report, folder)
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_bad_places_are_refused(tmp_path):
    existing = tmp_path / "old.json"
    existing.write_text("{}")
    film = tmp_path / "film.mp4"
    cases = {
        tmp_path: "is a folder",
        existing: "pass --overwrite",
        existing / "r.json": "is not a folder",
        tmp_path / "no" / "r.json": "is not a folder",
        tmp_path / "." / "film.mp4": "the input or the output",
    }
    for path, words in cases.items():
        with pytest.raises(UsageError, match=words):
            check_report_path(path, False, others=(film,))
    check_report_path(existing, True, others=(film,))
    check_report_path(tmp_path / "new.json", False, others=(film,))
    assert existing.read_text() == "{}"
