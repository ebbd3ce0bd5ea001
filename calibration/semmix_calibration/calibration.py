"""`calibrate`: a bundle becomes one with more precisions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semmix.bundle import Bundle, refuse_existing
from semmix_calibration.build import (
    MADE,
    TARGET_DB,
    Built,
    Made,
    Settings,
    Tell,
    build,
    check_wanted,
)
from semmix_calibration.material import gather, list_sources, read_test_list
from semmix_calibration.search import Frontier

NOT_VERIFIED = {
    "passed": False,
    "why": "not verified yet: run `semmix-rt verify`",
}
"""Parity record of a graph that nobody has held against PyTorch."""

CLIP_S = 4.0
CLIPS = 2


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `calibrate` did.

    Attributes:
        bundle: the new bundle.
        made: its new graphs.
        frontier: what the search found, None without one.
        fp32_bytes: length of the float32 graph, to compare sizes with.
    """

    bundle: Bundle
    made: tuple[Made, ...]
    frontier: Frontier | None
    fp32_bytes: int


def calibrate(
    bundle: Bundle | str | Path,
    output: Path,
    *,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    precisions: Sequence[str] = MADE,
    method: str = "minmax",
    search: bool = False,
    target_db: float = TARGET_DB,
    clip_s: float = CLIP_S,
    clips: int = CLIPS,
    test_list: Path | None = None,
    overwrite: bool = False,
    tell: Tell = lambda step, done, total: None,
) -> Calibration:
    """Add precisions to a bundle, chosen and measured on real sound.

    Args:
        bundle: with a float32 network, its path, or a name such as `edge`.
        output: where the new bundle goes; a file that ends in `.zip`, or a folder.
        stems: folder with `speech/`, `music/` and `effects/`.
        media: films or recordings instead.
        precisions: of `fp16`, `int8` and `int8cpu`.
        method: `minmax`, `percentile` or `entropy`, for INT8.
        search: leave the blocks that cost the most in FP16, until `target_db` is met.
        target_db: SNR of the output against float32 that the search asks of the worst sound.
        clip_s: length of the clips that are cut from the sounds.
        clips: how many of each class.
        test_list: hashes of files that quality is tested on, which are refused.
        overwrite: replace a bundle at `output`.
        tell: is told how far it has come.

    Raises:
        UsageError: the output is taken, nothing to listen to, a source that is tested on, or
            settings that make no sense.
        MediaError: a sound cannot be read or is too short.
        ParityError: FP16 overflows.
        TargetMissedError: the target cannot be met; the error holds what was found.
        ModelFormatError, EngineError: the bundle is damaged or cannot be run.
    """
    refuse_existing(output, overwrite)
    settings = Settings(method, search, target_db)
    check_wanted(precisions, settings)
    tested = read_test_list(test_list) if test_list is not None else frozenset()
    sources = list_sources(stems, media)
    source = bundle if isinstance(bundle, Bundle) else Bundle.find(bundle)
    rate_hz = source.manifest.spec.audio.sample_rate_hz
    tell("reading sound", 0, 1)
    material = gather(sources, rate_hz, clip_s=clip_s, clips=clips, tested=tested)
    built = build(source, material, precisions, settings, tell)
    tell("writing the bundle", 0, 1)
    written = add_all(source, built, output, overwrite=overwrite)
    length = len(source.highlighter_graph("fp32"))
    return Calibration(written, built.made, built.frontier, length)


def add_all(source: Bundle, built: Built, output: Path, *, overwrite: bool) -> Bundle:
    """Write a bundle with all new graphs at once, none of them called verified."""
    with tempfile.TemporaryDirectory() as folder:
        return grow(source, built, Path(folder) / "bundle").save(output, overwrite=overwrite)


def grow(source: Bundle, built: Built, to: Path | None = None) -> Bundle:
    """A bundle with new graphs, at `to` or where it lies; none of them is called verified."""
    grown = source
    for made in built.made:
        grown = grown.add_precision(
            made.precision,
            made.graph,
            parity=NOT_VERIFIED,
            provenance=made.provenance,
            to=to,
            replace=True,
        )
    return grown
