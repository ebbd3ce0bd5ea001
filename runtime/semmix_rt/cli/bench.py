"""`semmix-rt bench`: how long a chunk takes, engine by engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from semmix_rt.bench import BenchResult

_FILE = click.Path(path_type=Path)


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """`a,b` as a tuple; None and `all` as None."""
    if value is None or value == "all":
        return None
    names = tuple(part.strip() for part in value.split(",") if part.strip())
    if not names or len(set(names)) < len(names):
        raise click.BadParameter(f"{value!r}: write names once each, as in a,b", ctx, param)
    return names


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    """`0.5,2` as a tuple of seconds."""
    try:
        found = tuple(float(part) for part in (value or "").split(",") if part.strip())
    except ValueError:
        found = (0.0,)
    if any(not 0.02 <= seconds <= 60.0 for seconds in found):
        raise click.BadParameter(
            f"{value!r}: write seconds from 0.02 to 60, as in 0.5,2", ctx, param
        )
    return found


@click.command("bench")
@click.argument("bundle", default="edge")
@click.option(
    "--engines",
    callback=_names,
    help="Engines, as in torch,torch-compile,ort. [every engine that starts on this machine]",
)
@click.option("--precisions", callback=_names, help="Such as fp32,int8cpu. [all in the bundle]")
@click.option(
    "--chunk-s",
    callback=_seconds,
    help="Chunk lengths in seconds, as in 0.5,2: a short chunk answers sooner, a long one costs "
    "less. Others than the bundle's own are exported first. [the bundle's own]",
)
@click.option(
    "--peers",
    callback=_names,
    help="Other programs timed in the same rounds on the same sound: deepfilternet, htdemucs.",
)
@click.option("--media", type=_FILE, help="Hear this file's sound. [seeded noise]")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--repeats",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="Timed calls of each case; the 99th percentile wants 100 and more. Calls that take "
    "seconds are made less often.",
)
@click.option("--warm-up", type=click.IntRange(0, 1000), default=5, show_default=True)
@click.option(
    "--memory/--no-memory",
    default=True,
    show_default=True,
    help="Also run each case alone in a process of its own, for its peak memory and the GPU's.",
)
@click.option("--json", "json_path", type=_FILE, help="Also write every single time here.")
@click.option(
    "--plot", "plot_path", type=_FILE, help="Also draw every call as a PNG (extra `plots`)."
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace existing files.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
def command(
    bundle: str,
    engines: tuple[str, ...] | None,
    precisions: tuple[str, ...] | None,
    chunk_s: tuple[float, ...],
    peers: tuple[str, ...] | None,
    media: Path | None,
    threads: int,
    repeats: int,
    warm_up: int,
    memory: bool,
    json_path: Path | None,
    plot_path: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Time a model's engines, precisions and chunk lengths side by side.

    BUNDLE is `edge`, the model that comes along, or the path of a bundle. Everything is timed in
    one process, turn about, so that a machine that slows down slows all; compare ratios, not
    milliseconds of different days. Close other programs first.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from semmix.atomic import write_atomically
    from semmix.errors import UsageError
    from semmix.pictures import require_matplotlib
    from semmix_rt.bench import bench
    from semmix_rt.bench.plot import draw_png

    for path in (json_path, plot_path):
        if path is not None and path.exists() and not overwrite:
            raise UsageError(f"{path} exists: pass --overwrite to replace it")
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"{path.parent} is not a folder: create it first")
    if plot_path is not None:
        require_matplotlib()
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("Opening")
        result = bench(
            bundle,
            engines=engines,
            precisions=precisions,
            chunk_s=chunk_s,
            peers=peers or (),
            media=media,
            threads=threads,
            repeats=repeats,
            warm_up=warm_up,
            memory=memory,
            on_progress=lambda stage, done, total: bar.update(
                task, description=stage, completed=done, total=total
            ),
        )
    if json_path is not None:
        write_atomically(json_path, result.to_json().encode())
    if plot_path is not None:
        write_atomically(plot_path, draw_png(result))
    if not quiet:
        click.echo("\n".join(_table(result)))


def _table(result: BenchResult) -> Iterator[str]:
    facts = result.machine
    cpu = facts["cpu"]
    yield (
        f"{result.model} on {cpu['name']}, {cpu['usable_cores']} cores, "
        f"threads: {facts['threads']}, load {facts['load_1min']} before the start; "
        f"{result.repeats} calls each, turn about"
    )
    width = max(16, *(len(c.case.engine) + len(c.case.precision) + 1 for c in result.cases))
    width = max(width, *(len(e.name) for e in result.extras), 0)
    heads = (
        *("chunk s", "median ms", "p95", "p99", "x real", "x torch", "SNR dB"),
        *("peak MB", "GPU MB", "file MB", "install MB"),
    )
    yield " " * width + "".join(f"{head:>11}" for head in heads)
    for c in result.cases:
        name = f"{c.case.engine} {c.case.precision}"
        yield f"{name:{width}}" + "".join(
            f"{cell:>11}"
            for cell in (
                f"{c.case.chunk_s:.2f}",
                *(f"{c.latency.percentile_ms(p):.2f}" for p in (50, 95, 99)),
                f"{1.0 / c.rtf:.1f}",
                _number(c.ratio_to_torch, ".2f"),
                _number(c.snr_db, ".1f"),
                _number(c.peak_memory_mb, ".0f"),
                _number(c.gpu_memory_mb, ".0f"),
                f"{c.graph_bytes / 1e6:.1f}",
                _number(c.install_mb, ".0f"),
            )
        )
    for extra in result.extras:
        yield f"{extra.name:{width}}" + "".join(
            f"{cell:>11}"
            for cell in (
                f"{extra.step_s:.2f}",
                *(f"{extra.latency.percentile_ms(p):.2f}" for p in (50, 95, 99)),
                f"{1.0 / extra.rtf:.1f}",
            )
        )
    if result.transform_shares:
        shares = ", ".join(
            f"{name} {100.0 * x:.1f} %" for name, x in result.transform_shares.items()
        )
        yield f"of a whole stream with the fastest engine: {shares}"
    for skip in result.skipped:
        yield f"not timed: {skip.case.engine} {skip.case.precision}: {skip.why}"
    for engine, why in result.not_applicable.items():
        yield f"not applicable: {engine}: {why}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
