"""`semmix-rt verify`: hold a bundle against PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semmix_export.options import listed

if TYPE_CHECKING:
    from semmix.bundle.parity import SoundParity
    from semmix_export.verification import PrecisionResult, Verification

_FILE = click.Path(path_type=Path)


def _precisions(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    """Precisions from `--precision fp32,fp16 --precision int8`, refused before PyTorch starts."""
    from semmix.bundle.precisions import check_precision

    return tuple(check_precision(name) for name in listed(values))


@click.command("verify", short_help="Prove that a bundle says what PyTorch says.")
@click.argument("bundle")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    callback=_precisions,
    help="Which networks of the bundle, such as fp16,int8; may be given again. [all that it holds]",
)
@click.option(
    "--engine",
    default="ort",
    show_default=True,
    help="What runs the network beside PyTorch. The bundle keeps the records of ort alone; those "
    "of engines on a GPU are about this machine and are kept on it, those of tensorrt and "
    "tensorrt-rtx beside what `semmix-rt build` made.",
)
@click.option(
    "--media",
    type=_FILE,
    multiple=True,
    help="Also hear the loudest stretch of this file; may be given again. Networks err most on "
    "sound of their own kind: give some of yours.",
)
@click.option(
    "--stems",
    type=_FILE,
    metavar="FOLDER",
    help="Hear speech.wav, music.wav and effects.wav (or .flac, .ogg, ...) of this folder. "
    "[seven seconds of each that come along]",
)
@click.option(
    "--checkpoint",
    type=_FILE,
    help="File that an imported bundle was made from, where it carries no weights for PyTorch.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="CPU threads."
)
@click.option(
    "--write/--no-write",
    default=None,
    help="Keep the records, where `remix` looks for them. "
    "[they are kept, but not in the model that comes along]",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write all that was found as JSON to this file, or to stdout (-) in place of the table.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace an existing JSON file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
def command(
    bundle: str,
    precisions: tuple[str, ...],
    engine: str,
    media: tuple[Path, ...],
    stems: Path | None,
    checkpoint: Path | None,
    threads: int,
    write: bool | None,
    json_path: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Compare every precision of BUNDLE (a path, or `edge`) with PyTorch in float32.

    Both hear silence, an impulse, full-scale sines, clipped and quiet sound, steps of 60 dB, and
    real speech, music and effects, with and without cues, as `remix` would let them. Fails where
    the output, its loudness or the mask is off by more than the precision's gate allows; the
    bundle then says so, and `remix` refuses it.
    """
    from rich.console import Console

    from semmix.errors import ParityError, UsageError

    to_stdout = json_path is not None and str(json_path) == "-"
    # Known before the comparison, which takes its time.
    if json_path is not None and not to_stdout:
        if not json_path.parent.is_dir():
            raise UsageError(f"{json_path.parent} is no folder: make it, or choose another place")
        if json_path.exists() and not overwrite:
            raise UsageError(f"{json_path} exists: pass --overwrite to replace it")
    console = Console(stderr=True, quiet=quiet)
    with console.status("Starting PyTorch") as status:
        from semmix_export.verification import verify

        def tell(precision: str, done: int, total: int, sound: str) -> None:
            status.update(f"{precision}: {sound} ({done + 1} of {total})")

        found = verify(
            bundle,
            precisions=precisions or None,
            engine=engine,
            media=media,
            stems=stems,
            checkpoint=checkpoint,
            threads=threads,
            write=write,
            progress=tell,
        )
    text = json.dumps(found.to_dict(), indent=2, allow_nan=False) + "\n"
    if to_stdout:
        click.echo(text, nl=False)
    elif json_path is not None:
        from semmix.atomic import write_atomically

        try:
            write_atomically(json_path, text.encode())
        except OSError as exc:
            raise UsageError(
                f"{json_path} cannot be written ({exc.strerror}): choose another place"
            ) from exc
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not quiet and not to_stdout:
        _show(found)
    if not found.passed:
        failed = [r for r in found.results if not r.passed]
        details = "; ".join(f"{r.name}: {_reason(r)}" for r in failed)
        raise ParityError(f"{found.path} does not agree with PyTorch ({details})")


def _reason(result: PrecisionResult) -> str:
    """The first failure, and how many more there are."""
    failures = result.parity.failures
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"{failures[0]}{more}"


def _show(found: Verification) -> None:
    """A table for each precision, and a line on what it means."""
    for result in found.results:
        limits, parity = result.parity.limits, result.parity
        click.echo(f"{result.name} in {result.record['engine']}, by sound (* real) and cues:")
        click.echo(_HEAD)
        for sound in parity.sounds:
            click.echo(f"{_row(sound)}  {'FAIL' if sound.failures(limits) else 'ok'}")
        extras = [
            f"; {what} {value:.1f} dB"
            for what, value in (
                ("encoded cues", parity.tokens_snr_db),
                ("several inputs at once", parity.batch_snr_db),
            )
            if value is not None
        ]
        click.echo(
            f"{result.name} {'agrees' if result.passed else 'does not agree'} with "
            f"{found.against}: worst {parity.snr_db:.1f} dB, at least {limits.snr_db:g} dB is "
            f"asked for{''.join(extras)}"
        )
        for failure in parity.failures:
            click.echo(f"  outside the gate: {failure}")
        click.echo()
    if found.only_made_sounds:
        click.echo("Only made sounds were heard, no real one.")
    click.echo(_KEPT[found.kept])


_KEPT = {
    "": "The records were not kept: the bundle is as it was.",
    "bundle": "The records were kept in the bundle.",
    "engines": "The records were kept beside the engines, on this machine.",
}

_HEAD = (
    f"{'':<16} {'cues':<9} {'SNR dB':>6} {'mask max':>8} {'p99.9':>7} {'MAG':>7} {'ENV':>7} "
    f"{'LU':>6}"
)


def _row(sound: SoundParity) -> str:
    return (
        f"{sound.sound[:15] + ('*' if sound.real else ''):<16} {sound.cues:<9} "
        f"{sound.snr_db:>6.1f} {sound.mask_max:>8.1e} {sound.mask_p999:>7.1e} {sound.mag:>7.1e} "
        f"{sound.env:>7.1e} {sound.loudness_change_lu:>+6.2f}"
    )
