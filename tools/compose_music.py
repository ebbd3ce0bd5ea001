"""Compose and play music for a stem folder: more instruments than any collection of free music has.

    apt-get install fluidsynth fluid-soundfont-gm musescore-general-soundfont
    python tools/compose_music.py --out stems --pieces 200 \\
        --soundfont /usr/share/sounds/sf2/FluidR3_GM.sf2 \\
        --soundfont /usr/share/sounds/sf3/MuseScore_General_Full.sf3

Pieces are drawn by chance and from their number alone: key, metre, a round of chords, and two to
eight players who hold chords, break them, sing over them or beat time. Nobody would listen for
pleasure; what a network learns is how pitched and struck instruments sound together. Both sound
fonts are under the MIT licence. Files are added to the folder and its `catalog.csv`, which may
exist. Needs `fluidsynth`, `mido` and the `train` extra.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile

RATE_HZ = 48_000
TICKS = 480
"""Of a quarter note."""
DRUMS = 9
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a player does.

    Attributes:
        programs: General MIDI programs (0 to 127) that do it.
        low, high: compass, as MIDI notes.
        share: how often a piece has one.
    """

    programs: tuple[int, ...]
    low: int
    high: int
    share: float


ROLES = {
    "pad": Role((*range(16, 24), *range(48, 55), *range(88, 96), 60, 61, 41, 42), 48, 79, 0.7),
    "arpeggio": Role((*range(0, 16), *range(24, 32), 45, 46, *range(104, 109), 114), 48, 84, 0.7),
    "bass": Role((*range(32, 40), 43, 58, 57, 70, 87), 28, 50, 0.75),
    "lead": Role((*range(40, 43), *range(56, 88), 22, 110, 111, 77, 11, 0), 60, 90, 0.7),
    "second": Role((*range(40, 46), *range(56, 80), 24, 26, 4, 11), 55, 79, 0.35),
    "stabs": Role((0, 4, 5, 7, 27, 28, 29, 30, 48, 55, 61, 62, 63, 80, 81), 52, 76, 0.3),
    "pulse": Role((47, 112, 113, 115, 116, 117, 118, 13, 12), 36, 60, 0.25),
    "drums": Role((0, 8, 16, 24, 25, 32, 40, 48), 35, 59, 0.35),
}


class Piece:
    """A piece by its number; `midi` is all of it."""

    def __init__(self, number: int, seconds: float) -> None:
        self.rng = np.random.default_rng((number, 17))
        rng = self.rng
        self.bpm = float(rng.uniform(50, 170))
        self.beats = int(rng.choice((3, 4, 4, 4, 6)))
        self.key = int(rng.integers(12))
        self.scale = SCALES[str(rng.choice(list(SCALES)))]
        self.bars = max(4, round(seconds * self.bpm / 60.0 / self.beats))
        self.loose_ticks = float(rng.choice((0, 4, 12)))
        turn = [0, *rng.integers(0, 7, int(rng.choice((1, 3, 3, 7))))]
        self.round = [int(degree) for degree in turn]
        self.sevenths = rng.random() < 0.35

    def chord(self, bar: int) -> tuple[int, ...]:
        """Pitch classes of a bar's chord."""
        degree = self.round[bar % len(self.round)]
        steps = (0, 2, 4, 6) if self.sevenths else (0, 2, 4)
        return tuple((self.key + self.scale[(degree + s) % 7]) % 12 for s in steps)

    def notes_in(self, classes: tuple[int, ...], low: int, high: int) -> list[int]:
        """All notes of a compass whose pitch class is among these."""
        return [note for note in range(low, high + 1) if note % 12 in classes]

    def midi(self) -> mido.MidiFile:
        """The piece as a MIDI file of one track for each player."""
        rng = self.rng
        file = mido.MidiFile(ticks_per_beat=TICKS)
        conductor = mido.MidiTrack()
        conductor.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(self.bpm)))
        file.tracks.append(conductor)
        playing = [name for name, role in ROLES.items() if rng.random() < role.share]
        if len(playing) < 2:
            playing = ["pad", "lead"]
        channels = iter(c for c in range(16) if c != DRUMS)
        for name in playing:
            channel = DRUMS if name == "drums" else next(channels)
            file.tracks.append(self._player(name, channel))
        return file

    def _player(self, name: str, channel: int) -> mido.MidiTrack:
        rng, role = self.rng, ROLES[name]
        events: list[tuple[float, mido.Message]] = []
        program = int(rng.choice(role.programs))
        for control, value in ((7, rng.integers(70, 127)), (10, rng.integers(20, 108))):
            events.append((0.0, _control(channel, control, int(value))))
        events.append((0.0, _control(channel, 91, int(rng.integers(0, 110)))))
        # Parts enter and rest by blocks of four bars, so that textures change.
        rests = rng.random(self.bars // 4 + 1) < 0.25
        part = getattr(self, f"_{name}")
        style = int(rng.integers(4))
        beaten = name in ("drums", "pulse")
        loudness = float(rng.uniform(45, 80) if beaten else rng.uniform(60, 110))
        for bar in range(self.bars):
            if rests[bar // 4]:
                continue
            for start, length, note, accent in part(role, bar, style):
                loose = rng.normal(0.0, self.loose_ticks)
                begin = max(0.0, (bar * self.beats + start) * TICKS + loose)
                velocity = int(np.clip(loudness * accent + rng.normal(0, 6), 20, 127))
                on = mido.Message("note_on", channel=channel, note=note, velocity=velocity)
                events.append((begin, on))
                end = begin + max(20.0, length * TICKS)
                events.append((end, mido.Message("note_off", channel=channel, note=note)))
            if name in ("pad", "lead", "second") and style < 2:
                for step in range(8):  # swells
                    share = 0.5 - 0.5 * np.cos(2.0 * np.pi * (bar % 2 + step / 8.0) / 2.0)
                    tick = (bar + step / 8.0) * self.beats * TICKS
                    events.append((tick, _control(channel, 11, int(60 + 67 * share))))
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        before = 0
        for tick, message in sorted(events, key=lambda event: event[0]):
            track.append(message.copy(time=round(tick) - before))
            before = round(tick)
        return track

    # Each part gives (start, length) in beats, a note, and an accent about 1, for one bar.

    def _pad(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        low = role.low + 3 * (style % 3)
        notes = self.notes_in(self.chord(bar), low, low + 19)
        return [(0.0, self.beats * 0.98, note, 0.8) for note in notes[: 3 + style]]

    def _arpeggio(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        step = (0.25, 0.5, 1.0 / 3.0, 0.5)[style]
        low = role.low + 12 * (style % 2)
        notes = self.notes_in(self.chord(bar), low, min(role.high, low + 24))
        count = round(self.beats / step)
        order = np.abs((np.arange(count) + 3 * style) % (2 * len(notes) - 2) - (len(notes) - 1))
        return [
            (i * step, step * (0.9 + 2.0 * (style == 3)), notes[int(n)], 1.0 - 0.2 * (i % 2))
            for i, n in enumerate(order)
        ]

    def _bass(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        root = self.notes_in(self.chord(bar)[:1], role.low, role.high)[0]
        fifth = self.notes_in(self.chord(bar)[2:3], root, root + 12)[0]
        if style == 0:
            return [(0.0, self.beats * 0.95, root, 1.0)]
        step = (1.0, 0.5, 1.0)[style - 1]
        beats = np.arange(0.0, self.beats, step)
        second = fifth if style == 1 else root + 12 * (style == 3)
        return [
            (float(b), step * 0.8, second if i % 4 == 2 else root, 1.0) for i, b in enumerate(beats)
        ]

    def _lead(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        rng = self.rng
        scale = tuple((self.key + s) % 12 for s in self.scale)
        notes = self.notes_in(
            scale, role.low + 3 * style, min(role.high, role.low + 3 * style + 21)
        )
        lengths = ((0.5, 1.0), (1.0, 2.0), (0.25, 0.5, 0.5), (0.5, 1.0, 1.5))[style]
        found, position = [], float(rng.choice((0.0, 0.0, 0.5, 1.0)))
        at = int(rng.integers(len(notes)))
        while position < self.beats:
            length = float(rng.choice(lengths))
            if rng.random() < 0.8:
                found.append((position, length * rng.uniform(0.5, 1.05), notes[at], 1.0))
            at = int(np.clip(at + rng.choice((-3, -2, -1, -1, 1, 1, 2, 4)), 0, len(notes) - 1))
            position += length
        return found

    def _second(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        notes = self.notes_in(self.chord(bar), role.low, role.high)
        note = notes[int(self.rng.integers(len(notes)))]
        half = self.beats / 2.0
        return [(0.0, half, note, 0.8), (half, half * 0.9, notes[style % len(notes)], 0.8)]

    def _stabs(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        notes = self.notes_in(self.chord(bar), role.low, role.low + 14)
        places = ((1.0, 3.0), (0.0, 1.5, 2.5), (0.5, 1.5, 2.5, 3.5), (0.0,))[style]
        hits = [place for place in places if place < self.beats]
        return [(place, 0.35, note, 1.1) for place in hits for note in notes]

    def _pulse(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        note = self.notes_in(self.chord(bar)[:1], role.low, role.high)[0]
        step = (0.5, 1.0, 0.25, 2.0)[style]
        beats = np.arange(0.0, self.beats, step)
        return [(float(b), step, note, 1.1 if i % 4 == 0 else 0.8) for i, b in enumerate(beats)]

    def _drums(self, role: Role, bar: int, style: int) -> list[tuple[float, float, int, float]]:
        kick, snare, hat = 36, (38, 40, 39, 37)[style], (42, 44, 51, 46)[style]
        if style == 3:
            kick, snare = 41, 45  # toms alone
        found = [(b * 0.5, 0.2, hat, 0.7 + 0.2 * (b % 2 == 0)) for b in range(2 * self.beats)]
        found += [(float(b), 0.2, kick, 1.1) for b in range(0, self.beats, 2 if style else 1)]
        found += [(float(b), 0.2, snare, 1.1) for b in range(1, self.beats, 2)]
        if bar % 4 == 3:
            found += [(self.beats - 1 + i / 4.0, 0.2, 50 - 2 * i, 1.0) for i in range(4)]
        if bar % 8 == 0:
            found.append((0.0, 1.0, 49, 1.0))
        return found


def _control(channel: int, control: int, value: int) -> mido.Message:
    return mido.Message("control_change", channel=channel, control=control, value=value)


def play(piece: mido.MidiFile, soundfont: Path, wav: Path, reverberant: bool) -> None:
    """Play a piece into a WAV file.

    Raises:
        subprocess.CalledProcessError: FluidSynth fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        score = Path(folder) / "piece.mid"
        piece.save(score)
        words = ["fluidsynth", "-n", "-i", "-q", "-r", str(RATE_HZ), "-g", "0.4"]
        words += ["-o", "synth.dynamic-sample-loading=1", "-R", str(int(reverberant))]
        words += ["-F", str(wav), str(soundfont), str(score)]
        subprocess.run(words, check=True, capture_output=True)


def add(
    piece: mido.MidiFile,
    soundfont: Path,
    out: Path,
    target: Path,
    source: str,
    licence: str,
    reverberant: bool,
) -> float:
    """Play a piece into a FLAC file of one channel in a stem folder, and note it there.

    Args:
        piece: the score.
        soundfont: instruments that play it.
        out: the stem folder, with or without a `catalog.csv`.
        target: the file to write, somewhere in `out`.
        source: where the piece comes from.
        licence: of the score and the instruments.
        reverberant: whether the synthesiser adds a room.

    Returns:
        Its length, s.

    Raises:
        subprocess.CalledProcessError: FluidSynth fails.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wav = Path(scratch) / "piece.wav"
        play(piece, soundfont, wav, reverberant)
        sound, rate_hz = soundfile.read(wav, dtype="float32", always_2d=True)
    soundfile.write(target, sound.mean(axis=1), rate_hz)
    row = {
        "path": target.relative_to(out).as_posix(),
        "stem": "music",
        "category": "composed",
        "source_package": source,
        "licence": licence,
        "seconds": f"{len(sound) / rate_hz:.2f}",
        "original_name": target.name,
    }
    # At once: of a run that is stopped, each piece that is there is known.
    _note(out / "catalog.csv", row)
    return len(sound) / rate_hz


def main() -> None:
    """Compose and play as many pieces as asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="stem folder to add to")
    parser.add_argument("--soundfont", type=Path, action="append", required=True)
    parser.add_argument("--pieces", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a piece")
    args = parser.parse_args()
    if missing := [str(font) for font in args.soundfont if not font.is_file()]:
        sys.exit(f"no sound font {', '.join(missing)}; see --help")
    folder = args.out / "music" / "composed"
    if folder.exists():
        sys.exit(f"{folder} exists; remove it or name another folder")
    folder.mkdir(parents=True)
    seconds = 0.0
    for number in range(args.pieces):
        font = args.soundfont[number % len(args.soundfont)]
        source = f"composed for {font.stem}"
        piece = Piece(number, args.seconds).midi()
        target = folder / f"{number:04d}.flac"
        seconds += add(piece, font, args.out, target, source, "MIT", reverberant=number % 3 > 0)
        print(f"\r{number + 1}/{args.pieces}", end="", file=sys.stderr, flush=True)
    print(f"\n{args.pieces} pieces, {seconds / 60:.0f} minutes")


def _note(catalog: Path, row: dict[str, str]) -> None:
    """Add a row to a catalogue, in the columns that it has."""
    columns = list(row)
    known = catalog.exists()
    if known:
        with catalog.open(newline="", encoding="utf-8") as handle:
            columns = next(csv.reader(handle), columns)
    with catalog.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        if not known:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
