"""`export`: a network becomes a bundle, in as many precisions as are asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from semmix.bundle import Bundle, check_precision, refuse_existing
from semmix.errors import EngineError, UsageError
from semmix_export.bundle import export_bundle
from semmix_export.graphs import OPSET, OPSETS
from semmix_export.sources import StreamSource, open_source, with_chunk
from semmix_export.window_bundle import export_window_bundle

GROUP = "semmix_rt.precisions"
"""Entry points that write networks of other precisions into a bundle, by precision."""


@dataclass(frozen=True, slots=True)
class Export:
    """What `export` did.

    Attributes:
        bundle: the new bundle.
        chunk_s: seconds of sound that one run of the network masks.
        snr_db: how far fp32 agrees with PyTorch.
    """

    bundle: Bundle
    chunk_s: float
    snr_db: float


def export(
    source: str | Path,
    output: Path,
    *,
    precisions: Sequence[str] = ("fp32",),
    chunk_s: float | None = None,
    opset: int = OPSET,
    stems: Path | None = None,
    media: Sequence[Path] = (),
    model_card: str | None = None,
    with_torch: bool = True,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda step: None,
) -> Export:
    """Export a network to ONNX, prove it against PyTorch and write a bundle.

    Args:
        source: see `semmix_export.sources.open_source`.
        output: folder to make, or a file that ends in `.zip`.
        precisions: `fp32` and more; fp32 is always made, the others are made of it.
        chunk_s: seconds of sound in a chunk or window, None for the network's own.
        opset: of ONNX.
        stems, media: sounds that other precisions are chosen on.
        model_card: text for people; None for what is known of the source.
        with_torch: carry weights for the PyTorch engine; networks that stream always do.
        overwrite: replace an older bundle.
        tell: is told each step as it begins.

    Raises:
        UsageError: the output is taken, an option makes no sense, or INT8 has no sounds.
        ModelFormatError: the source cannot be read.
        ParityError: ONNX Runtime and PyTorch differ by more than the gate allows.
        EngineError: a precision cannot be made in this installation.
    """
    refuse_existing(output, overwrite)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise UsageError(f"opset {opset} is not offered: choose {OPSETS[0]} to {OPSETS[1]}")
    others = [p for p in dict.fromkeys(precisions) if check_precision(p) != "fp32"]
    makers = _makers(others)
    sounds = stems is not None or bool(media)
    if not sounds and set(others) - {"fp16"}:
        raise UsageError(
            f"{sorted(set(others) - {'fp16'})[0]} is chosen on real sound: give --stems DIR or "
            "--media FILE"
        )
    tell("reading the network")
    chosen = open_source(source)
    if chunk_s is not None:
        chosen = with_chunk(chosen, chunk_s)
    card = model_card or chosen.card or f"# {output.stem}\n"
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "bundle"
        tell("exporting to ONNX")
        if isinstance(chosen, StreamSource):
            bundle = export_bundle(
                chosen.checkpoint, scratch, model_card=card, provenance=chosen.facts, opset=opset
            )
        else:
            bundle = export_window_bundle(
                chosen.network,
                scratch,
                model_card=card,
                spec=chosen.spec,
                provenance=chosen.facts,
                with_torch=with_torch,
                opset=opset,
                tell=tell,
            )
        for entry, wanted in makers.items():
            bundle = entry.load()(
                bundle,
                wanted,
                stems=stems,
                media=media,
                tell=lambda step, done, total: tell(step),
            )
        written = bundle.save(output, overwrite=overwrite)
    snr_db = float(written.parity["fp32"]["snr_db"])
    return Export(written, _chunk_s(written), snr_db)


def at_chunk_length(bundle: Bundle, chunk_s: float, output: Path) -> Bundle:
    """The same network in chunks of another length, fp32 alone, for benchmarks.

    Raises:
        UsageError, ModelFormatError, ParityError: see `export`.
    """
    return export(bundle.path, output, chunk_s=chunk_s).bundle


def _chunk_s(bundle: Bundle) -> float:
    windows = bundle.window_spec
    if windows is not None:
        return windows.window_samples / windows.audio.sample_rate_hz
    return bundle.spec.step_s


def _makers(precisions: Sequence[str]) -> dict[EntryPoint, list[str]]:
    """What makes the precisions: one that makes several is asked once, and listens once.

    Raises:
        EngineError: nothing installed makes one of them.
    """
    announced = {entry.name: entry for entry in entry_points(group=GROUP)}
    found: dict[str, tuple[EntryPoint, list[str]]] = {}
    for precision in precisions:
        entry = announced.get(precision)
        if entry is None:
            raise EngineError(
                f"this installation cannot make {precision}: install semmix-rt[export] anew"
            )
        found.setdefault(entry.value, (entry, []))[1].append(precision)
    return dict(found.values())
