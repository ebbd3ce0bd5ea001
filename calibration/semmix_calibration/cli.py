"""`semmix-rt calibrate`: more precisions for a bundle, chosen on real sound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from semmix_calibration.build import Made, Tell
    from semmix_calibration.calibration import Calibration
    from semmix_calibration.search import Accuracy, Frontier, FrontierPoint

_FILE = click.Path(path_type=Path)
_WORTH_IT = 1.1
"""Below this a measured speed-up is within what a machine varies by."""


def _names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Precisions from `fp16,int8`."""
    return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


@click.command("calibrate", short_help="Add FP16 and INT8 to a bundle, measured on real sound.")
@click.argument("bundle", metavar="BUNDLE|edge")
@click.option(
    "-o",
    "--output",
    type=_FILE,
    required=True,
    help="Bundle to write: a folder, or a file that ends in .zip.",
)
@click.option(
    "--stems",
    type=_FILE,
    help="Folder with speech/, music/ and effects/ to calibrate on: every class is then sure to "
    "be heard.",
)
@click.option(
    "--media",
    type=_FILE,
    multiple=True,
    help="Film or recording to calibrate on instead; may be given several times.",
)
@click.option(
    "--precision",
    "precisions",
    default="fp16,int8,int8cpu",
    show_default=True,
    callback=_names,
    help="What to make: fp16 and int8 are for TensorRT, int8cpu for ONNX Runtime on CPUs.",
)
@click.option(
    "--method",
    type=click.Choice(["minmax", "percentile", "entropy"]),
    default="minmax",
    show_default=True,
    help="Range of an activation: minmax clips nothing that was heard; percentile drops the "
    "outermost 0.001 %; entropy keeps most of the distribution and takes minutes.",
)
@click.option(
    "--search",
    is_flag=True,
    help="Measure what INT8 costs in each block of the network, leave the dearest in FP16 until "
    "--target-db is met, and print what can be had.",
)
@click.option(
    "--target-db",
    type=click.FloatRange(0.0, 100.0),
    default=34.0,
    show_default=True,
    help="With --search: how far below the output its error must lie, on the sound that fares "
    "worst. `verify`, whose sounds are others, asks for 30.",
)
@click.option(
    "--clip-s",
    type=click.FloatRange(0.5, 60.0),
    default=4.0,
    show_default=True,
    help="Length of the clips that are cut from the sounds; longer ones fill the network's memory.",
)
@click.option(
    "--clips",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Clips of each class; as many more are for the search, and as many again to measure on.",
)
@click.option(
    "--test-list",
    type=_FILE,
    help="Hashes of the files that quality is tested on, as `sha256sum` writes them; a source "
    "among them is refused.",
)
@click.option("--overwrite", is_flag=True, help="Replace an older bundle at the output.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary.")
def command(
    bundle: str,
    output: Path,
    stems: Path | None,
    media: tuple[Path, ...],
    precisions: tuple[str, ...],
    method: str,
    search: bool,
    target_db: float,
    clip_s: float,
    clips: int,
    test_list: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Add FP16 and INT8 networks to a bundle, chosen and measured on real sound.

    Sounds are streamed through the float32 network, so that its memory is measured, too; silence,
    quiet, loud and full-scale sound join them. What is told of a network was measured on sound
    that nothing was chosen on, tones, clicks and clipped sound among it, with every quantisation
    computed exactly; the worst sound counts. `semmix-rt verify` holds the new networks against
    PyTorch; until then `remix` does not take them.
    """
    from semmix_calibration.calibration import calibrate
    from semmix_calibration.search import TargetMissedError

    try:
        with _progress(quiet) as tell:
            found = calibrate(
                bundle,
                output,
                stems=stems,
                media=media,
                precisions=precisions,
                method=method,
                search=search,
                target_db=target_db,
                clip_s=clip_s,
                clips=clips,
                test_list=test_list,
                overwrite=overwrite,
                tell=tell,
            )
    except TargetMissedError as exc:
        # What may be the work of an hour is told before the error is.
        if as_json:
            found_none = {"bundle": None, "precisions": {}, "frontier": _frontier(exc.frontier)}
            click.echo(json.dumps(found_none, indent=1))
        elif not quiet:
            for line in frontier_lines(exc.frontier):
                click.echo(line)
        raise
    if as_json:
        click.echo(json.dumps(as_dict(found), indent=1))
    elif not quiet:
        if found.frontier is not None:
            for line in frontier_lines(found.frontier):
                click.echo(line)
        for block, why in {b: w for made in found.made for b, w in made.exempt.items()}.items():
            click.echo(f"never INT8: {block} ({why})")
        for made in found.made:
            click.echo(made_line(made, found.fp32_bytes))
            if found.frontier is not None and made.int8_share:
                for line in missed_lines(made, found.frontier.target_db):
                    click.echo(line)
        click.echo(f"{output}: run `semmix-rt verify` on it next")


@contextmanager
def _progress(quiet: bool) -> Iterator[Tell]:
    """A bar on stderr for each step, nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, quiet=quiet)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def tell(step: str, done: int, total: int) -> None:
            bar.update(task, description=step.capitalize(), completed=done, total=total)

        yield tell


def made_line(made: Made, fp32_bytes: int) -> str:
    """One line on a new graph: size, accuracy, and what it is good for."""
    size = f"{len(made.graph) / 1e6:.1f} MB instead of {fp32_bytes / 1e6:.1f}"
    found = made.accuracy
    line = (
        f"{made.precision}: {size}, agrees with fp32 to {found.worst_db:.1f} dB on held-out sound "
        f"(worst: {found.worst_kind})"
    )
    if made.precision != "fp16":
        line += f", {100.0 * made.int8_share:.0f} % of the work in INT8"
    if made.times_as_fast is None:
        return f"{line}; for TensorRT"
    if made.times_as_fast >= _WORTH_IT:
        return f"{line}; {made.times_as_fast:.2f} times as fast as fp32 on this CPU"
    return (
        f"{line}; smaller, but no faster on this CPU ({made.times_as_fast:.2f} times fp32's "
        "speed): INT8 pays where a CPU has VNNI"
    )


def missed_lines(made: Made, target_db: float) -> Iterator[str]:
    """A line where a network misses on held-out sound what its blocks were chosen for on other."""
    short_db = target_db - made.accuracy.worst_db
    if short_db > 0.0:
        yield (
            f"{made.precision}: held-out sound has {short_db:.1f} dB less than the target, which "
            "the sound that blocks were chosen on met: give more of it (--clips), or a target "
            "higher by that much"
        )


def frontier_lines(frontier: Frontier) -> Iterator[str]:
    """What INT8 costs in each block, and what the whole gives with blocks left in FP16."""
    yield "INT8 in one block alone, on the sound that fares worst:"
    for cost in frontier.costs:
        worst, share = cost.found, 100.0 * cost.share
        yield (
            f"  {cost.block:24} {worst.worst_db:6.1f} dB ({worst.worst_kind})  "
            f"{share:.1f} % of the work"
        )
    yield "INT8 everywhere but in the blocks left in FP16:"
    for point in frontier.points:
        mark = "*" if point is frontier.chosen else " "
        kept, worst = ", ".join(point.kept) or "none", point.found
        yield (
            f"{mark} {100.0 * point.share:5.1f} % INT8  {worst.worst_db:6.1f} dB "
            f"({worst.worst_kind})  FP16: {kept}"
        )


def as_dict(found: Calibration) -> dict[str, Any]:
    """The result as plain JSON values."""
    return {
        "bundle": str(found.bundle.path),
        "fp32_bytes": found.fp32_bytes,
        "precisions": {
            made.precision: {
                "bytes": len(made.graph),
                **_accuracy(made.accuracy),
                "int8_share": made.int8_share,
                "kept": list(made.kept),
                "exempt": dict(made.exempt),
                "times_as_fast": made.times_as_fast,
            }
            for made in found.made
        },
        "frontier": None if found.frontier is None else _frontier(found.frontier),
    }


def _frontier(found: Frontier) -> dict[str, Any]:
    return {
        "target_db": found.target_db,
        "blocks": [{"block": c.block, "share": c.share, **_accuracy(c.found)} for c in found.costs],
        "points": [_point(p) for p in found.points],
        "chosen": None if found.chosen is None else _point(found.chosen),
    }


def _point(point: FrontierPoint) -> dict[str, Any]:
    return {"kept": list(point.kept), "share": point.share, **_accuracy(point.found)}


def _accuracy(found: Accuracy) -> dict[str, Any]:
    return {"snr_db": found.worst_db, "worst": found.worst_kind, "by_class": found.by_kind()}
