"""`--cues-from` as a person meets it: models here, models behind a server, and neither."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from semmix_rt.cli.root import main
from semmix_rt.cues import endpoint as endpoint_module
from semmix_rt.cues.endpoint import KEY_VARIABLE
from support_lvlm import TEXTS, Server, endpoint, focused_answer
from support_remix import EXAMPLE, film, make_bundle

from semmix.cues.prompts import PROMPTS_VERSION
from semmix.cues.sheet import load_sheet, parse_sheet
from semmix.cues.types import CUE_TYPES
from semmix.errors import EngineError, ModelFormatError, UsageError


@pytest.fixture
def clip(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copy(EXAMPLE, tmp_path / "clip.mp4"))


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with endpoint() as seen:
        yield seen


def from_server(server: Server) -> list[str]:
    return ["--cues-from", "openai:toy", "--cues-url", server.url]


def known(sheet) -> int:
    return sum(segment.cue(t).known for segment in sheet.segments for t in CUE_TYPES)


def test_a_random_model_knows_nothing_and_that_is_said(clip, tiny_lvlm, capsys, monkeypatch):
    """From the film through the processor, the network and the repair to the sheet."""
    monkeypatch.setattr("semmix.lvlm.local.MAX_NEW_TOKENS", 16)
    page = clip.with_name("page.html")
    line = ["cues", str(clip), "--from", f"lvlm:{tiny_lvlm}", "--device", "cpu", "--batch", "3"]
    assert main([*line, "--dtype", "float32", "--explain", str(page)]) == 0
    out, err = capsys.readouterr()
    sheet = load_sheet(clip.with_name("clip.cues.json"))
    assert known(sheet) == 0
    assert sheet.extractor.startswith("lvlm:tiny#")
    assert f" focused/{PROMPTS_VERSION}/" in sheet.extractor
    assert "could not be used in full" in sheet.meta["doubts"]
    assert f"warning: {sheet.meta['doubts']}\n" in err
    assert {row.split()[-1] for row in out.splitlines()} == {"unknown"}
    pictures = page.read_text(encoding="utf-8").count("<img")
    assert pictures >= 4
    assert f"about {pictures} of {pictures} pictures" in sheet.meta["doubts"]
    assert page.read_text(encoding="utf-8").count('class="unknown"') == 6 * pictures
    assert "could not be used in full" in page.read_text(encoding="utf-8")
    assert "Loading" not in err


def test_a_server_fills_the_sheet_and_is_asked_once(clip, server, capsys):
    server.say(focused_answer())
    line = ["cues", str(clip), "--json", *from_server(server)]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    sheet = parse_sheet(out.encode())
    assert {str(t): sheet.segments[0].cue(t).text for t in CUE_TYPES} == TEXTS
    assert known(sheet) == 6 * len(sheet.segments)
    asked = len(server.requests)
    assert asked >= 4
    assert main(line) == 0
    assert capsys.readouterr().out == out
    assert len(server.requests) == asked
    assert main([*line, "--prompts", "minimal"]) == 0
    assert len(server.requests) > asked


def test_broken_answers_are_mended_and_hopeless_ones_named(clip, server, capsys):
    server.say(focused_answer(tone="Grim."), focused_answer(tone="unknown"), "no", "no", "{}")
    server.replies += [server.replies[0], server.replies[1]]
    assert main(["cues", str(clip), "--json", "--requests", "1", *from_server(server)]) == 0
    out, err = capsys.readouterr()
    sheet = parse_sheet(out.encode())
    first, second = sheet.segments[:2]
    assert [first.cue(t).known for t in CUE_TYPES] == [True, True, True, False, True, True]
    assert [second.cue(t).known for t in CUE_TYPES] == [False] * 6
    turns = server.requests[1][2]["messages"]
    assert "tone" in turns[2]["content"]
    assert err == f"warning: {sheet.meta['doubts']}\n"
    assert "(first: it holds no JSON object)" in err


def test_remix_follows_a_server(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    bundle = str(make_bundle(tmp_path / "bundle").path)
    source = film(tmp_path / "film.mp4")
    line = ["remix", str(source), "--model", bundle, "--json", *from_server(server)]
    server.say("no")
    assert main(line) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["cues"]["unknown_share"] == 1.0
    assert "could not be used in full" in report["warnings"][0]
    assert err == f"warning: {report['warnings'][0]}\n"
    server.say(focused_answer())
    assert main([*line, "--overwrite"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cues"]["unknown_share"] == 0.0
    assert report["cues"]["source"] == "extractor"
    assert report["cues"]["extractor"].startswith("openai:toy@127.0.0.1:")
    assert report["warnings"] == []
    asked = len(server.requests)
    assert main([*line, "--dry-run", "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["cues"]["source"] == "cache"
    assert len(server.requests) == asked


def test_a_failing_server_leaves_nothing_behind(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(endpoint_module, "FIRST_WAIT_S", 0.0)
    bundle = str(make_bundle(tmp_path / "bundle").path)
    source = film(tmp_path / "film.mp4")
    before = set(tmp_path.iterdir())
    server.replies = [(400, {}, b'{"error": {"message": "this model takes no pictures"}}')]
    for line in (["cues", str(source)], ["remix", str(source), "--model", bundle]):
        assert main([*line, *from_server(server)]) == EngineError.exit_code
        assert "this model takes no pictures" in capsys.readouterr().err
        assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (["--from", "clip"], 2, "choose embedded, lvlm:MODEL"),
        (["--from", "lvlm:"], 2, "choose embedded, lvlm:MODEL"),
        (["--from", "openai:toy"], 2, "--cues-url"),
        (["--from", "openai:toy", "--url", "nonsense"], 2, "no address"),
        (["--from", "openai:toy", "--url", "http://h/v1", "--device", "cpu"], 2, "device"),
        (["--from", "lvlm:.", "--requests", "2"], 2, "requests"),
        (["--from", "lvlm:none/such/folder"], 2, "is no model"),
        (["--from", "lvlm:.", "--url", "http://h/v1"], 2, "url"),
        (["--from", "lvlm:.", "--prompts", "long"], 2, "focused or minimal"),
        (["--from", "lvlm:."], ModelFormatError.exit_code, "config.json"),
        (["--batch", "2"], 2, "batch"),
        (["--prompts", "minimal"], 2, "prompts"),
    ],
)
def test_what_does_not_fit_is_refused(clip, monkeypatch, capsys, extra, code, said):
    monkeypatch.chdir(clip.parent)
    assert main(["cues", str(clip), *extra]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert {p.name for p in clip.parent.iterdir()} <= {"clip.mp4", "cache"}


def test_a_sheet_and_a_model_exclude_each_other(clip, capsys):
    sheet = Path(__file__).parents[2] / "examples" / "bbb_meadow.by_hand.json"
    line = ["remix", str(clip), "--cues", str(sheet), "--cues-from", "openai:toy"]
    assert main(line) == UsageError.exit_code
    assert "leave out one of the two" in capsys.readouterr().err
