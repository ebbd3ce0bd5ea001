"""Gather freely licensed sounds from Debian packages into a stem folder for training.

    apt-get download $(python tools/gather_stems.py --list)
    python tools/gather_stems.py --packages . --out stems

Every rule below names files of one licence in one package: works whose licence lets the weights of
a network made of them be given away (CC0, CC-BY, CC-BY-SA, BSD, MIT, public domain). Files are
copied as they are, but for telephone prompts, which become FLAC; `stems/catalog.csv` names package,
licence and origin of each. The speech is prompts alone, five voices: put more into
`stems/speech/`. Needs `dpkg-deb` and the `train` extra.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import av
import numpy as np
import soundfile

from semmix.training.policy import STEMS
from semmix.training.stems import AUDIO_SUFFIXES

SHORTEST_S, LONGEST_S = 0.05, 1_200.0
SHORTEST_SPEECH_S = 4.0
"""Prompts of a word or two would be drawn far more often than sentences."""
ARCHIVES = frozenset({".zip", ".pk3", ".love"})
G722 = ".g722"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files of a package become which stem.

    Attributes:
        package: name of the Debian package.
        files: patterns of paths below the package's root, or below the root of a zip in it.
        stem: `speech`, `music` or `effects`.
        licence: of all these files, by the package's copyright file.
        but: patterns of file names that are left out: voices, jingles, buttons.
    """

    package: str
    files: tuple[str, ...]
    stem: str
    licence: str
    but: tuple[str, ...] = ()


RULES: tuple[Rule, ...] = (
    Rule("0ad-data", ("audio/music/*",), "music", "CC-BY-SA-3.0", ("0_8Bit*",)),
    Rule("0ad-data", ("audio/ambient/*",), "effects", "CC-BY-SA-3.0"),
    Rule("singularity-music", ("usr/share/games/singularity/music/*",), "music", "CC-BY-SA-3.0"),
    Rule("marsshooter-data", ("*/audio/music/*",), "music", "CC-BY-SA-3.0"),
    Rule("megaglest-data", ("*/factions/*/music/*", "*/menu/music/*"), "music", "CC-BY-SA-3.0"),
    Rule(
        "megaglest-data", ("*/water_sounds/*", "*/tilesets/*/sounds/*"), "effects", "CC-BY-SA-3.0"
    ),
    Rule("lugaru-data", ("*/Sounds/Music*",), "music", "CC-BY-SA-3.0"),
    Rule(
        "lugaru-data",
        ("*/Sounds/*",),
        "effects",
        "CC-BY-SA-3.0",
        ("Music*", "Console*", "Alarm*"),
    ),
    Rule("hyperrogue-music", ("*/music/hr*",), "music", "CC-BY-SA-3.0"),
    Rule(
        "hyperrogue-music",
        ("*/sounds/*",),
        "effects",
        "CC-BY-SA-4.0, CC-BY-3.0 or CC0-1.0",
        ("*prince*", "message-*", "tada*", "levelup*", "pickup-*", "orb-*"),
    ),
    Rule(
        "endless-sky-data",
        ("*/sounds/*",),
        "effects",
        "public domain or CC-BY-SA-3.0",
        ("fail*", "alarm*"),
    ),
    Rule("ufoai-music", ("music/David*", "music/azrael1*", "music/karlm*"), "music", "CC-BY-3.0"),
    Rule(
        "ufoai-music",
        ("music/Crystan*", "music/Marine*", "music/TheThings*", "music/returnjourney*"),
        "music",
        "CC-BY-SA-3.0",
    ),
    Rule("ufoai-music", ("music/alB*", "music/greecei*", "music/turin*"), "music", "public domain"),
    Rule("openclonk-data", ("*/Music.ocg/*",), "music", "CC-BY-3.0 or CC0-1.0"),
    Rule("redeclipse-data", ("*/sounds/music/track_*",), "music", "CC-BY-SA-3.0"),
    Rule("redeclipse-data", ("*/maps/tonatiuh.ogg",), "music", "CC0-1.0"),
    Rule(
        "redeclipse-data",
        ("*/sounds/ambience/*", "*/sounds/player/*", "*/sounds/sfx/*", "*/sounds/weapons/*"),
        "effects",
        "CC-BY-SA-3.0 or CC-BY-3.0",
    ),
    Rule("mrrescue", ("data/sfx/*.ogg",), "music", "CC-BY-SA-3.0"),
    Rule("caveexpress-data", ("*/sounds/music-*",), "music", "CC-BY-SA-4.0"),
    Rule("gigalomania-data", ("*/music/gamemusic.ogg", "*/music/defeat.ogg"), "music", "CC-BY-3.0"),
    Rule("pax-britannica-data", ("*/audio/music.ogg",), "music", "MIT"),
    Rule("bumprace-data", ("*/sound/Flying_me_softly.ogg",), "music", "CC-BY-3.0"),
    Rule("gamine-data", ("*/sounds/BachJS*",), "music", "public domain"),
    Rule("raincat-data", ("*/music/project_raincat.ogg",), "music", "CC-BY-SA-3.0"),
    Rule(
        "wordwarvi-sound",
        ("*/dtox3monomix.ogg", "*/lucky*.ogg", "*/highscoremusic.ogg"),
        "music",
        "CC-BY-SA-3.0",
    ),
    Rule("fretsonfire-songs-muldjord", ("*/song.ogg",), "music", "CC-BY-SA-3.0"),
    Rule("fretsonfire-songs-sectoid", ("*/song.ogg",), "music", "MIT"),
    Rule("sonic-pi-samples", ("*/loop_*", "*/guit_*"), "music", "CC0-1.0"),
    *(
        Rule(f"{game}-data", (music,), "music", "BSD-2-Clause")
        for game, music in (
            ("a7xpg", "*/sounds/bgm*.ogg"),
            ("gunroar", "*/musics/*.ogg"),
            ("mu-cade", "*/musics/*.ogg"),
            ("noiz2sa", "*/stg*.ogg"),
            ("parsec47", "*/sounds/*.ogg"),
            ("rrootage", "*/sounds/stg*.ogg"),
            ("titanion", "*/musics/*.ogg"),
            ("torus-trooper", "*/musics/*.ogg"),
            ("tumiki-fighters", "*/sounds/*.ogg"),
        )
    ),
    Rule("freeorion-data", ("*/sound/combat/*",), "effects", "CC-BY-SA-3.0"),
    Rule("minetest-data", ("*/minetest_game/mods/*",), "effects", "CC-BY-SA-3.0"),
    *(
        Rule(f"asterisk-core-sounds-{language}-g722", (f"*{G722}",), "speech", "CC-BY-SA-3.0")
        for language in ("en", "es", "fr", "it", "ru")
    ),
)


def main() -> None:
    """Gather what the packages in a folder hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--list", action="store_true", help="name the packages and stop")
    parser.add_argument("--packages", type=Path, help="folder with .deb files")
    parser.add_argument("--out", type=Path, help="stem folder; must not exist")
    args = parser.parse_args()
    wanted = {rule.package for rule in RULES}
    if args.list:
        print(*sorted(wanted))
        return
    if args.packages is None or args.out is None:
        parser.error("--packages and --out are needed")
    packages = {p.name.split("_")[0]: p for p in sorted(args.packages.glob("*.deb"))}
    if missing := sorted(wanted - packages.keys()):
        sys.exit(f"{args.packages}: no package {', '.join(missing)}; see --help")
    if args.out.exists():
        sys.exit(f"{args.out} exists; remove it or name another folder")
    rows = []
    for name in sorted(wanted):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            subprocess.run(["dpkg-deb", "-x", packages[name], root], check=True)
            rules = [rule for rule in RULES if rule.package == name]
            for rule, origin, path in _chosen(root, rules):
                if row := _keep(rule, origin, path, args.out):
                    rows.append(row)
    with (args.out / "catalog.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for stem in STEMS:
        minutes = sum(float(row["seconds"]) for row in rows if row["stem"] == stem) / 60.0
        print(f"{stem}: {minutes:.0f} minutes")


def _chosen(root: Path, rules: list[Rule]) -> Iterator[tuple[Rule, str, Path]]:
    """The files that a rule names, those within zips unpacked one by one."""
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        if path.suffix in ARCHIVES:
            with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
                for inside in archive.namelist():
                    if rule := _rule(inside, rules):
                        target = Path(folder) / PurePosixPath(inside).name
                        with archive.open(inside) as source, target.open("wb") as sink:
                            shutil.copyfileobj(source, sink)
                        yield rule, inside, target
        elif rule := _rule(origin := path.relative_to(root).as_posix(), rules):
            yield rule, origin, path


def _rule(origin: str, rules: list[Rule]) -> Rule | None:
    path = PurePosixPath(origin)
    if path.suffix not in AUDIO_SUFFIXES | {G722}:
        return None
    for rule in rules:
        named = any(fnmatch.fnmatchcase(origin, pattern) for pattern in rule.files)
        if named and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in rule.but):
            return rule
    return None


def _keep(rule: Rule, origin: str, path: Path, out: Path) -> dict[str, str] | None:
    """Copy a file whose sound can be used, and say what it is; None for one that is left out."""
    try:
        if path.suffix == G722:
            path = _decoded(path)
        seconds = soundfile.info(str(path)).duration
    except (soundfile.LibsndfileError, ValueError) as exc:
        print(f"{rule.package}: {origin} is left out: {exc}", file=sys.stderr)
        return None
    shortest_s = SHORTEST_SPEECH_S if rule.stem == "speech" else SHORTEST_S
    if not shortest_s <= seconds <= LONGEST_S:
        return None
    target = out / rule.stem / rule.package / path.name
    folders = list(PurePosixPath(origin).parts[:-1])
    while target.exists():
        # The same sound again, as of factions that share theirs, or another of that name.
        if filecmp.cmp(path, target, shallow=False) or not folders:
            return None
        target = target.with_name(f"{folders.pop()}-{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    return {
        "path": target.relative_to(out).as_posix(),
        "stem": rule.stem,
        "category": PurePosixPath(origin).parent.name,
        "source_package": rule.package,
        "licence": rule.licence,
        "seconds": f"{seconds:.2f}",
        "original_name": path.name,
    }


def _decoded(path: Path) -> Path:
    """A G.722 file, which libsndfile does not read, as FLAC beside it.

    Raises:
        ValueError: there is no sound in it.
    """
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
        rate_hz = container.streams.audio[0].rate
    if not frames:
        raise ValueError("it is empty")
    sound = np.concatenate(frames)
    flac = path.with_suffix(".flac")
    soundfile.write(str(flac), sound, rate_hz)
    return flac


if __name__ == "__main__":
    main()
