"""`tools/play_scores.py`: which scores it finds in a WAD, and how it arranges them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mido
import numpy as np
import pytest
from support_tools import SOUNDFONT, TOOLS, catalogued_sounds, load_tool, needs_synthesiser

SCRIPT = TOOLS / "play_scores.py"
DRUMS = 9


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("play_scores")


def score(*programs: int) -> bytes:
    """A MIDI file: each instrument, and the drums, play a second of one note."""
    file = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    file.tracks.append(track)
    for channel, program in enumerate(programs):
        track.append(mido.Message("program_change", channel=channel, program=program))
    for channel in (*range(len(programs)), DRUMS):
        track.append(mido.Message("note_on", channel=channel, note=60, velocity=90))
        track.append(mido.Message("note_off", channel=channel, note=60, time=960))
    held = io.BytesIO()
    file.save(file=held)
    return held.getvalue()


def wad(*lumps: tuple[str, bytes]) -> bytes:
    """A WAD file of these lumps."""
    bodies, entries, start = b"", b"", 12
    for name, data in lumps:
        entries += struct.pack("<ii8s", start, len(data), name.encode())
        bodies, start = bodies + data, start + len(data)
    return struct.pack("<4sii", b"PWAD", len(lumps), start) + bodies + entries


def test_only_scores_are_found_in_their_order(tool: ModuleType) -> None:
    first, second = score(0), score(24, 40)
    made = wad(("D_E1M1", first), ("PLAYPAL", b"\1" * 768), ("MARK", b""), ("D_INTRO", second))
    assert [(s.name, s.data) for s in tool.scores(made)] == [("D_E1M1", first), ("D_INTRO", second)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"WAD", "too short"),
        (b"MThd" + bytes(20), "begins with"),
        (struct.pack("<4sii", b"IWAD", 4, 12), "outside"),
        (struct.pack("<4sii", b"IWAD", -1, 12), "outside"),
        (struct.pack("<4sii", b"IWAD", 0, -5), "outside"),
    ],
)
def test_what_is_no_wad_is_refused(tool: ModuleType, data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(tool.scores(data))


def test_the_first_arrangement_is_as_written(tool: ModuleType) -> None:
    written = mido.MidiFile(file=io.BytesIO(score(0, 40, 73)))
    arranged = tool.arranged(score(0, 40, 73), 0, np.random.default_rng(1))
    assert list(arranged) == list(written)


@pytest.mark.parametrize("seed", range(20))
def test_further_ones_keep_families_drums_and_chords(tool: ModuleType, seed: int) -> None:
    programs = (0, 31, 40, 73)
    arranged = tool.arranged(score(*programs), 1, np.random.default_rng(seed))
    played = [m.program for m in arranged if m.type == "program_change"]
    assert [p // 8 for p in played] == [p // 8 for p in programs]
    notes = {m.note for m in arranged if m.type == "note_on" and m.channel != DRUMS}
    assert len(notes) == 1
    assert 57 <= notes.pop() <= 63
    assert {m.note for m in arranged if m.type == "note_on" and m.channel == DRUMS} == {60}
    assert arranged.length == pytest.approx(5.0, rel=0.11)


def test_seeds_arrange_differently(tool: ModuleType) -> None:
    arranged = [
        tool.arranged(score(0, 40, 73), 1, np.random.default_rng(seed)).length for seed in (0, 0, 1)
    ]
    assert arranged[0] == arranged[1] != arranged[2]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False
    )


def test_wrong_files_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    font, made, empty = tmp_path / "font.sf2", tmp_path / "a.wad", tmp_path / "b.wad"
    font.write_bytes(b"x")
    made.write_bytes(b"MThd" + bytes(20))
    empty.write_bytes(wad(("PLAYPAL", b"\1" * 768)))
    common = ("--out", tmp_path / "stems", "--licence", "CC0-1.0", "--soundfont")
    for words, message in (
        ((tmp_path / "none.wad", *common, font), "no file"),
        ((made, *common, tmp_path / "none.sf2"), "no file"),
        ((made, *common, font), "no WAD file"),
        ((empty, *common, font), "no MIDI score"),
    ):
        refused = run(*words)
        assert refused.returncode != 0
        assert message in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "stems").exists()


@needs_synthesiser
def test_scores_are_played_once_each_into_a_stem_folder(tmp_path: Path) -> None:
    (tmp_path / "a.wad").write_bytes(wad(("D_A", score(0)), ("D_B", score(40)), ("D_C", score(0))))
    out = tmp_path / "stems"
    words = (tmp_path / "a.wad", "--out", out, "--licence", "CC0-1.0", "--soundfont", SOUNDFONT)
    assert run(*words).returncode == 0
    rows = catalogued_sounds(out)
    assert [row["path"] for row in rows] == [
        f"music/scores/{place:03d}-{number}.flac" for place in range(2) for number in range(2)
    ]
    assert {row["licence"] for row in rows} == {"CC0-1.0 and MIT"}
