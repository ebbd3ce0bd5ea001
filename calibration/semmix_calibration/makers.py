"""What `semmix-rt export --precision` finds by entry point: a bundle in, a graph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semmix.bundle import Bundle
from semmix.errors import UsageError
from semmix_calibration.build import Tell, build
from semmix_calibration.calibration import CLIP_S, CLIPS
from semmix_calibration.material import gather, list_sources, made_material


def _nobody(step: str, done: int, total: int) -> None:
    pass


def make_fp16(
    bundle: Bundle,
    *,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    tell: Tell = _nobody,
) -> tuple[bytes, Mapping[str, Any]]:
    """The FP16 network of a bundle and how it was made.

    Without sounds, ranges are measured on made ones: FP16 needs them only to find what comes
    near its limits.

    Raises:
        ParityError: it overflows.
        MediaError, UsageError: the sounds cannot be used.
    """
    return _make("fp16", bundle, stems, media, tell)


def make_int8(
    bundle: Bundle,
    *,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    tell: Tell = _nobody,
) -> tuple[bytes, Mapping[str, Any]]:
    """The INT8 network of a bundle for TensorRT and how it was made.

    Raises:
        UsageError: no sounds to choose ranges on, or they cannot be used.
        MediaError: a sound cannot be read.
    """
    return _make("int8", bundle, stems, media, tell)


def make_int8cpu(
    bundle: Bundle,
    *,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    tell: Tell = _nobody,
) -> tuple[bytes, Mapping[str, Any]]:
    """The INT8 network for ONNX Runtime on CPUs and how it was made; see `make_int8`."""
    return _make("int8cpu", bundle, stems, media, tell)


def _make(
    precision: str, bundle: Bundle, stems: Path | None, media: Sequence[Path], tell: Tell
) -> tuple[bytes, Mapping[str, Any]]:
    rate_hz = bundle.manifest.spec.audio.sample_rate_hz
    if stems is None and not media:
        if precision != "fp16":
            raise UsageError(
                f"{precision} is chosen on real sound, which made sounds would mislead: give "
                "--stems DIR or --media FILE"
            )
        material = made_material(rate_hz, CLIP_S)
    else:
        material = gather(list_sources(stems, media), rate_hz, clip_s=CLIP_S, clips=CLIPS)
    made = build(bundle, material, [precision], tell=tell).made[0]
    return made.graph, made.provenance
