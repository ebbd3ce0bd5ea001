"""What a remix does to sound that has nothing to mend: it should do next to nothing.

Single sources over the noise of a room have nothing to be balanced with, and good mixes are right
however loud they are as a whole. Clips are made from stems as in training and heard as `remix`
hears a film; each is remixed with its own cues.

    python bench/left_alone.py stems --clips 40 --json left_alone.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.metrics import integrated_lufs
from semmix.training.guides import segments
from semmix.training.remixing import open_remixer
from semmix.training.scenes import Example, SceneGenerator
from semmix.training.stems import StemLibrary

Float32 = NDArray[np.float32]
SHIFTS_DB = (-8.0, 0.0, 8.0)
PART_S = 0.1
"""Length of the parts whose quietest tenth is compared: shorter than a pause between words."""


def quietest_db(x: Float32, rate_hz: int) -> float:
    """Level in dB that a tenth of the parts of `[N]` lie below."""
    part = round(PART_S * rate_hz)
    power = np.square(x[: len(x) // part * part], dtype=np.float64).reshape(-1, part).mean(1)
    return float(10.0 * np.log10(np.quantile(power, 0.1) + 1e-12))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("stems", type=Path, help="folder with speech/, music/, effects/")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--model", type=Path, help="bundle; by default the one that comes along")
    parser.add_argument("--json", type=Path, help="write every clip's numbers here")
    args = parser.parse_args()

    bundle = Bundle.default() if args.model is None else Bundle.load(args.model)
    rate_hz = bundle.spec.audio.sample_rate_hz
    library = StemLibrary(args.stems, rate_hz)
    makers = {
        name: SceneGenerator(library, args.seed, 10.0, False, alone_share=share, clean_share=1.0)
        for name, share in (("single source", 1.0), ("good mix", 0.0))
    }
    remix = open_remixer(args.model, rate_hz, "auto", 1)

    def changes(example: Example, shift_db: float) -> tuple[float, float]:
        """Change of loudness in LU, and of the quietest tenth in dB."""
        sound = example.target * np.float32(10.0 ** (shift_db / 20.0))
        after = remix(sound, segments(example.shots))
        loudness, quiet = (
            measure(after, rate_hz) - measure(sound, rate_hz)
            for measure in (integrated_lufs, quietest_db)
        )
        return loudness, quiet

    found: dict[str, list[tuple[float, float]]] = {}
    for name, maker in makers.items():
        for example in map(maker.example, range(args.clips)):
            for shift_db in SHIFTS_DB:
                row = f"{name} {shift_db:+g} dB"
                found.setdefault(row, []).append(changes(example, shift_db))
    print(f"{args.clips} clips, seed {args.seed}, {bundle.name}; means of absolute changes")
    print(f"{'':22}{'loudness LU':>14}{'quietest dB':>14}")
    for name, rows in found.items():
        loudness, quiet = np.nanmean(np.abs(rows), axis=0)
        print(f"{name:22}{loudness:14.2f}{quiet:14.2f}")
    if args.json:
        facts = {"clips": args.clips, "seed": args.seed, "model": bundle.name}
        args.json.write_text(json.dumps({**facts, "changes": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
