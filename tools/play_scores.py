"""Play the MIDI scores of a game's WAD files into a stem folder, each in several arrangements.

    apt-get download freedoom freedm && for d in free*.deb; do dpkg-deb -x $d wads; done
    python tools/play_scores.py wads/usr/share/games/doom/*.wad --licence BSD-3-Clause \\
        --out stems --soundfont /usr/share/sounds/sf2/FluidR3_GM.sf2 \\
        --soundfont /usr/share/sounds/sf3/MuseScore_General_Full.sf3

Freedoom's 94 scores, by its contributors and under the three-clause BSD licence, are four hours of
music of many kinds that `compose_music.py` would never write. The first arrangement is as written;
in each further one every instrument is another of its General MIDI family, the key up to three
semitones and the tempo up to a tenth away, and the next sound font plays. A score found again is
passed over. Needs `fluidsynth`, `mido` and the `train` extra.
"""

from __future__ import annotations

import argparse
import io
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
from compose_music import DRUMS, add

FAMILY_PROGRAMS = 8
HEADER = struct.Struct("<4sii")
ENTRY = struct.Struct("<ii8s")
MIDI_MAGIC = b"MThd"


@dataclass(frozen=True, slots=True)
class Score:
    """A MIDI file within a WAD."""

    name: str
    data: bytes


def scores(wad: bytes) -> Iterator[Score]:
    """The MIDI lumps of a WAD, in its order.

    Raises:
        ValueError: it is no WAD, or its directory lies outside it.
    """
    if len(wad) < HEADER.size:
        raise ValueError("no WAD file: too short")
    magic, count, directory = HEADER.unpack_from(wad)
    if magic not in (b"IWAD", b"PWAD"):
        raise ValueError(f"no WAD file: begins with {magic!r}")
    if count < 0 or not 0 <= directory <= len(wad) - count * ENTRY.size:
        raise ValueError("a WAD file whose directory lies outside it")
    for number in range(count):
        start, size, name = ENTRY.unpack_from(wad, directory + number * ENTRY.size)
        data = wad[start : start + size] if start >= 0 and size > 0 else b""
        if data.startswith(MIDI_MAGIC):
            yield Score(name.rstrip(b"\0").decode("ascii", "replace"), data)


def arranged(score: bytes, number: int, rng: np.random.Generator) -> mido.MidiFile:
    """A score's arrangement; number 0 is as written.

    Raises:
        ValueError, EOFError, OSError: the score is damaged.
    """
    # Some have data bytes above 127; players clip them too.
    file = mido.MidiFile(file=io.BytesIO(score), clip=True)
    if number == 0:
        return file
    others = rng.integers(FAMILY_PROGRAMS, size=128)
    semitones, tempo = int(rng.integers(-3, 4)), float(rng.uniform(0.9, 1.1))
    for track in file.tracks:
        for place, message in enumerate(track):
            track[place] = _changed(message, others, semitones, tempo)
    return file


def _changed(
    message: mido.Message | mido.MetaMessage, others: np.ndarray, semitones: int, tempo: float
) -> mido.Message | mido.MetaMessage:
    if message.type == "set_tempo":
        return message.copy(tempo=round(message.tempo * tempo))
    if getattr(message, "channel", DRUMS) == DRUMS:
        return message
    if message.type == "program_change":
        family = message.program // FAMILY_PROGRAMS * FAMILY_PROGRAMS
        return message.copy(program=family + int(others[message.program]))
    if message.type in ("note_on", "note_off"):
        return message.copy(note=int(np.clip(message.note + semitones, 0, 127)))
    return message


def main() -> None:
    """Play all scores of all files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("wads", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True, help="stem folder to add to")
    parser.add_argument("--soundfont", type=Path, action="append", required=True)
    parser.add_argument("--licence", required=True, help="of the scores, for the catalogue")
    parser.add_argument("--arrangements", type=int, default=2, help="of each score")
    args = parser.parse_args()
    if missing := [str(path) for path in (*args.wads, *args.soundfont) if not path.is_file()]:
        sys.exit(f"no file {', '.join(missing)}; see --help")
    folder = args.out / "music" / "scores"
    if folder.exists():
        sys.exit(f"{folder} exists; remove it or name another folder")
    found: dict[bytes, str] = {}
    for wad in args.wads:
        try:
            for score in scores(wad.read_bytes()):
                found.setdefault(score.data, f"{wad.stem}-{score.name}".lower())
        except ValueError as exc:
            sys.exit(f"{wad}: {exc}")
    if not found:
        sys.exit(f"no MIDI score in {', '.join(map(str, args.wads))}")
    folder.mkdir(parents=True)
    seconds, done, total = 0.0, 0, len(found) * args.arrangements
    for place, (data, name) in enumerate(found.items()):
        for number in range(args.arrangements):
            font = args.soundfont[(place + number) % len(args.soundfont)]
            source = f"{name}, played by {font.stem}"
            target = folder / f"{place:03d}-{number}.flac"
            try:
                piece = arranged(data, number, np.random.default_rng((place, number)))
            except (ValueError, EOFError, OSError) as exc:
                print(f"\n{name} is left out: {exc}", file=sys.stderr)
                break
            licence = f"{args.licence} and MIT"
            reverberant = (place + number) % 3 > 0
            seconds += add(piece, font, args.out, target, source, licence, reverberant)
            done += 1
            print(f"\r{done}/{total}", end="", file=sys.stderr, flush=True)
    print(f"\n{done} pieces, {seconds / 60:.0f} minutes")


if __name__ == "__main__":
    main()
