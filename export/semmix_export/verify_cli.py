"""`semmix-rt verify`: hold a bundle against PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from semmix_export.gate import SoundParity
    from semmix_export.verification import PrecisionResult, Verification

_FILE = click.Path(path_type=Path)


@click.command("verify", short_help="Prove that a bundle says what PyTorch says.")
@click.argument("bundle")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Which network of the bundle; may be given again. [all that it holds]",
)
@click.option(
    "--engine",
    default="ort",
    show_default=True,
    help="What runs the network beside PyTorch. The bundle keeps the records of ort alone.",
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
    help="Keep the records in the bundle, where `remix` looks for them. "
    "[they are kept, but for the model that comes along]",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write all that was found as JSON to this file, or to stdout (-) in place of the table.",
)
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
    if not quiet and not to_stdout:
        _show(found)
    if not found.passed:
        failed = [r for r in found.results if not r.passed]
        details = "; ".join(f"{r.precision}: {_reason(r)}" for r in failed)
        raise ParityError(f"{found.path} does not agree with PyTorch ({details})")


def _reason(result: PrecisionResult) -> str:
    """The first failure, and how many more there are."""
    failures = result.parity.failures
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    return f"{failures[0]}{more}"


def _show(found: Verification) -> None:
    """A table for each precision, and a line on what it means."""
    from rich.console import Console

    console = Console()
    for result in found.results:
        console.print(_table(result))
        limits, parity = result.parity.limits, result.parity
        verdict = "agrees" if result.passed else "does not agree"
        extras = [
            f"{what} {value:.1f} dB"
            for what, value in (
                ("encoded cues", parity.tokens_snr_db),
                ("several inputs at once", parity.batch_snr_db),
            )
            if value is not None
        ]
        console.print(
            f"{result.precision} {verdict} with {found.against}: worst {parity.snr_db:.1f} dB, at "
            f"least {limits.snr_db:g} dB is asked for" + "".join(f"; {e}" for e in extras),
            soft_wrap=True,
        )
        for failure in parity.failures:
            console.print(f"  outside the gate: {failure}", soft_wrap=True, style="red")
    if found.only_made_sounds:
        console.print("Only made sounds were heard, no real one.", style="yellow")
    kept = "kept in the bundle" if found.written else "not kept: the bundle is as it was"
    console.print(f"Records {kept}.")


def _table(result: PrecisionResult) -> Table:
    from rich.table import Table

    table = Table(title=f"{result.precision} in {result.record['engine']}", title_justify="left")
    table.add_column("sound")
    table.add_column("cues")
    for column in ("SNR dB", "mask max", "p99.9", "MAG", "ENV", "LU", ""):
        table.add_column(column, justify="right")
    for sound in result.parity.sounds:
        failed = bool(sound.failures(result.parity.limits))
        table.add_row(*_row(sound), "FAIL" if failed else "ok", style="red" if failed else "")
    return table


def _row(sound: SoundParity) -> tuple[str, ...]:
    return (
        f"{sound.sound}{' (real)' if sound.real else ''}",
        sound.cues,
        f"{sound.snr_db:.1f}",
        f"{sound.mask_max:.1e}",
        f"{sound.mask_p999:.1e}",
        f"{sound.mag:.1e}",
        f"{sound.env:.1e}",
        f"{sound.loudness_change_lu:+.3f}",
    )
