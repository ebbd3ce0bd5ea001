"""`tools/compose_music.py`: what its pieces are made of, and what it adds to a stem folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import mido
import pytest
from support_tools import SOUNDFONT, TOOLS, catalogued_sounds, load_tool, needs_synthesiser

SCRIPT = TOOLS / "compose_music.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("compose_music")


def sounding(file: mido.MidiFile) -> dict[int, list[int]]:
    """Notes of each channel; every one that begins also ends."""
    notes: dict[int, list[int]] = {}
    for track in file.tracks:
        held: dict[int, int] = {}
        for message in track:
            if message.type == "note_on":
                notes.setdefault(message.channel, []).append(message.note)
                held[message.note] = held.get(message.note, 0) + 1
            elif message.type == "note_off":
                held[message.note] -= 1
        assert not any(held.values())
    return notes


@pytest.mark.parametrize("number", range(40))
def test_players_stay_in_their_compass_and_the_key(tool: ModuleType, number: int) -> None:
    piece = tool.Piece(number, 30.0)
    file = piece.midi()
    notes = sounding(file)
    assert len(file.tracks) >= 3
    pitched = [n for channel, found in notes.items() if channel != tool.DRUMS for n in found]
    low = min(role.low for role in tool.ROLES.values())
    high = max(role.high for role in tool.ROLES.values())
    assert low <= min(pitched) <= max(pitched) <= high
    # Bass notes an octave above their root leave no scale.
    assert {n % 12 for n in pitched} <= {(piece.key + s) % 12 for s in piece.scale}
    assert 20.0 < file.length < 60.0


def test_a_piece_follows_from_its_number(tool: ModuleType, tmp_path: Path) -> None:
    for name, number in (("a", 3), ("b", 3), ("c", 4)):
        tool.Piece(number, 30.0).midi().save(tmp_path / name)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_a_missing_sound_font_is_refused(tmp_path: Path) -> None:
    words = [sys.executable, SCRIPT, "--out", tmp_path / "stems", "--soundfont", tmp_path / "x.sf2"]
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "no sound font" in refused.stderr
    assert not (tmp_path / "stems").exists()


@needs_synthesiser
def test_pieces_are_played_into_a_stem_folder(tmp_path: Path) -> None:
    words = [sys.executable, SCRIPT, "--out", tmp_path, "--soundfont", SOUNDFONT]
    subprocess.run([*words, "--pieces", "2", "--seconds", "6"], check=True, capture_output=True)
    rows = catalogued_sounds(tmp_path)
    assert [row["path"] for row in rows] == [f"music/composed/000{i}.flac" for i in range(2)]
