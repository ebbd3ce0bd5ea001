"""`semmix-rt cues` as a person meets it."""

from __future__ import annotations

import io
import json
from base64 import b64decode
from html.parser import HTMLParser

import av
import numpy as np
import pytest
from click.testing import CliRunner
from semmix_rt.cli.cues import command
from semmix_rt.cli.root import main
from semmix_rt.cues import extract
from semmix_rt.cues.explain import clock
from semmix_rt.cues.png import png_bytes
from support_cues import ShotCounter
from support_picture import film_frames, write_film

from semmix.cues.sheet import load_sheet, parse_sheet
from semmix.errors import MediaError, UsageError


@pytest.fixture
def film(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(extract, "default_extractor", ShotCounter)
    return write_film(
        tmp_path / "film.mp4",
        film_frames([48, 96], 144),
        options={"g": "48", "sc_threshold": "0"},
    )


def run(*args: object):
    return CliRunner().invoke(command, [str(a) for a in args])


def names(folder) -> set[str]:
    return {p.name for p in folder.iterdir()}


def test_a_sheet_is_written_beside_the_video_and_shown(film, tmp_path):
    result = run(film)
    assert result.exit_code == 0, result.output
    sheet = load_sheet(tmp_path / "film.cues.json")
    assert [s.start_s for s in sheet.segments] == [0.0, 2.0, 4.0]
    assert sheet.extractor == "shot-counter/1"
    rows = result.stdout.splitlines()
    assert sum("Shot" in row for row in rows) == 3
    assert sum(row.split("  ")[0] == "0:04.0" for row in rows) == 1
    assert "film.cues.json" in result.stderr
    assert names(tmp_path) == {"film.mp4", "film.cues.json", "cache"}


def test_json_goes_to_stdout_alone(film, tmp_path):
    result = run(film, "--json")
    assert result.exit_code == 0
    assert len(parse_sheet(result.stdout_bytes).segments) == 3
    assert names(tmp_path) == {"film.mp4", "cache"}
    result = run(film, "--json", "-o", tmp_path / "x.json")
    assert parse_sheet(result.stdout_bytes) == load_sheet(tmp_path / "x.json")


def test_quiet_says_nothing_and_no_cache_keeps_nothing(film, tmp_path):
    result = run(film, "--quiet", "--no-cache")
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path) == {"film.mp4", "film.cues.json"}


def test_existing_files_stay_unless_told(film, tmp_path):
    target = tmp_path / "film.cues.json"
    target.write_text("mine")
    result = run(film)
    assert isinstance(result.exception, UsageError)
    assert target.read_text() == "mine"
    assert run(film, "--overwrite", "--quiet").exit_code == 0
    assert json.loads(target.read_text())["version"] == 1


def test_senseless_targets_are_refused_before_reading(film, tmp_path):
    before = film.read_bytes()
    cases = [
        ("-o", film, "--overwrite"),
        ("-o", tmp_path),
        ("-o", tmp_path / "none" / "x.json"),
        ("-o", tmp_path / "x", "--explain", tmp_path / "x"),
    ]
    for case in cases:
        assert isinstance(run(film, *case).exception, UsageError), case
    assert film.read_bytes() == before
    assert names(tmp_path) == {"film.mp4"}


def test_what_is_no_video_is_a_media_error(film, tmp_path):
    sound = write_film(tmp_path / "sound.m4a", [], tone_hz=440)
    text = tmp_path / "text.mp4"
    text.write_text("hello " * 100)
    for path in (sound, text, tmp_path / "none.mp4"):
        result = run(path)
        assert isinstance(result.exception, MediaError), path
        assert not path.with_suffix(".cues.json").exists()
    assert isinstance(run(film, "--max-interval-s", "nan").exception, UsageError)
    assert run(film, "--max-interval-s", "0").exit_code == 2


def test_the_program_gives_the_exit_codes(film, tmp_path, capsys):
    assert main(["cues", str(film), "--quiet"]) == 0
    assert main(["cues", str(film), "--quiet"]) == UsageError.exit_code
    assert main(["cues", str(tmp_path / "none.mp4")]) == MediaError.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "--overwrite" in lines[0]


def test_ctrl_c_leaves_nothing_behind(film, tmp_path, monkeypatch, capsys):
    def interrupt(self, keyframe):
        raise KeyboardInterrupt

    monkeypatch.setattr(ShotCounter, "describe", interrupt)
    assert main(["cues", str(film), "--explain", str(tmp_path / "page.html")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert names(tmp_path) == {"film.mp4"}


class Page(HTMLParser):
    """Collects the page's pictures and checks that it loads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[bytes] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        source = dict(attrs).get("src")
        assert tag not in ("script", "link", "iframe")
        if tag == "img":
            kind, data = source.split(",")
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(b64decode(data))

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_every_keyframe_with_its_cues(film, tmp_path):
    path = tmp_path / "page.html"
    assert run(film, "--quiet").exit_code == 0
    result = run(film, "--overwrite", "--explain", path)
    assert result.exit_code == 0, result.output
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert len(page.pictures) == 3
    assert path.read_text().count('<dd class="unknown">') == 15
    assert page.text.count("0.33") == 3
    assert "Shot 1 at <2.0>." in page.text
    with av.open(io.BytesIO(page.pictures[0])) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape == (96, 160, 3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33)])
def test_png_is_read_back_by_ffmpeg(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    with av.open(io.BytesIO(png_bytes(image))) as container:
        np.testing.assert_array_equal(next(container.decode(video=0)).to_ndarray(), image)


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (61.24, "1:01.2"), (3725.5, "1:02:05.5")],
)
def test_clock(time_s, text):
    assert clock(time_s) == text
