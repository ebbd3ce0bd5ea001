"""Gather freely licensed music and effects from Debian packages into a stem folder for training.

    apt-get download 0ad-data endless-sky-data hyperrogue-music lugaru-data marsshooter-data \\
        megaglest-data singularity-music
    python tools/gather_stems.py --packages . --out stems

Every rule below names files of one licence in one package: works whose licence lets the weights of
a network made of them be given away (CC0, CC-BY, CC-BY-SA, public domain). Files are copied as they
are and `stems/catalog.csv` names package, licence and origin of each. Speech is not among them:
put yours into `stems/speech/`. Needs `dpkg-deb` and the `train` extra.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import soundfile

from semmix.training.stems import AUDIO_SUFFIXES

SHORTEST_S, LONGEST_S = 0.05, 1_200.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files of a package become which stem.

    Attributes:
        package: name of the Debian package.
        files: patterns of paths below the package's root, or below the root of a zip in it.
        stem: `music` or `effects`.
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
)


def main() -> None:
    """Gather what the packages in a folder hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder with .deb files")
    parser.add_argument("--out", type=Path, required=True, help="stem folder; must not exist")
    args = parser.parse_args()
    packages = {p.name.split("_")[0]: p for p in sorted(args.packages.glob("*.deb"))}
    wanted = {rule.package for rule in RULES}
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
    for stem in ("music", "effects"):
        minutes = sum(float(row["seconds"]) for row in rows if row["stem"] == stem) / 60.0
        print(f"{stem}: {minutes:.0f} minutes")


def _chosen(root: Path, rules: list[Rule]) -> Iterator[tuple[Rule, str, Path]]:
    """The files that a rule names, those within zips unpacked one by one."""
    for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink()):
        if path.suffix == ".zip":
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
    if path.suffix not in AUDIO_SUFFIXES:
        return None
    for rule in rules:
        named = any(fnmatch.fnmatchcase(origin, pattern) for pattern in rule.files)
        if named and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in rule.but):
            return rule
    return None


def _keep(rule: Rule, origin: str, path: Path, out: Path) -> dict[str, str] | None:
    """Copy a file whose sound can be used, and say what it is; None for one that is left out."""
    try:
        seconds = soundfile.info(str(path)).duration
    except soundfile.LibsndfileError as exc:
        print(f"{rule.package}: {origin} is left out: {exc}", file=sys.stderr)
        return None
    if not SHORTEST_S <= seconds <= LONGEST_S:
        return None
    target = out / rule.stem / rule.package / path.name
    if target.exists():  # the same sound in another folder, as of factions that share it
        return None
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


if __name__ == "__main__":
    main()
