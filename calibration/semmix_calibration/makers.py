"""What `semmix-rt export --precision` finds by entry point: a bundle grows by precisions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from semmix.bundle import Bundle
from semmix.errors import UsageError
from semmix_calibration.build import Tell, build
from semmix_calibration.calibration import CLIP_S, CLIPS, grow
from semmix_calibration.material import gather, list_sources, made_material


def add_precisions(
    bundle: Bundle,
    precisions: Sequence[str],
    *,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    tell: Tell = lambda step, done, total: None,
) -> Bundle:
    """Write networks of other precisions into a bundle, where it lies; it is listened to once.

    Without sounds, FP16 is measured on made ones: it needs them only to find what comes near its
    limits.

    Args:
        bundle: with a float32 network.
        precisions: of `semmix_calibration.build.MADE`.
        stems, media: sounds to choose on, see `semmix_calibration.calibrate`.
        tell: is told how far it has come.

    Raises:
        UsageError: INT8 without sounds, or sounds that cannot be used.
        MediaError: a sound cannot be read.
        ParityError: FP16 overflows.
    """
    rate_hz = bundle.manifest.spec.audio.sample_rate_hz
    if stems is not None or media:
        material = gather(list_sources(stems, media), rate_hz, clip_s=CLIP_S, clips=CLIPS)
    else:
        for precision in precisions:
            if precision != "fp16":
                raise UsageError(
                    f"{precision} is chosen on real sound, which made sounds would mislead: give "
                    "--stems DIR or --media FILE"
                )
        material = made_material(rate_hz, CLIP_S)
    return grow(bundle, build(bundle, material, precisions, tell=tell))
