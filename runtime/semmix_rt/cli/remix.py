"""`semmix-rt remix`: rebalance the sound of a video to what its picture shows."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semmix_rt.cli.cue_options import cue_source_options
from semmix_rt.cli.encoder_options import encoder_options

if TYPE_CHECKING:
    from semmix_rt.pipeline import RemixResult

_FILE = click.Path(path_type=Path)


def _bit_rate(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Bits per second from `192k`, `1.5M` or `192000`."""
    if value is None:
        return None
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([kM]?)", value)
    bits_per_s = 0
    if match is not None:
        bits_per_s = round(float(match[1]) * {"": 1, "k": 1_000, "M": 1_000_000}[match[2]])
    if not 1_000 <= bits_per_s <= 100_000_000:
        raise click.BadParameter(f"{value!r} is no bit rate: write 192k or 192000", ctx, param)
    return bits_per_s


@click.command("remix", short_help="Rebalance a video's sound to what its picture shows.")
@click.argument("input", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    help="File to write; its suffix names the container. [INPUT with .remix before its suffix]",
)
@click.option(
    "--amount",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="How much of the change to apply: 0 leaves the sound as it is, 1 is all of it.",
)
@click.option(
    "--max-gain-db",
    type=click.FloatRange(0.0, 120.0),
    help="Never raise or lower anything by more than this, for a gentle result. "
    "[what the model allows]",
)
@click.option(
    "--programme-lufs",
    type=click.FloatRange(-70.0, 0.0),
    help="Integrated loudness of the whole programme, where INPUT is an excerpt of it: levels are "
    "judged against it. [that of INPUT]",
)
@click.option(
    "--cues",
    type=_FILE,
    help="Follow this cue sheet instead of the picture, such as one that `semmix-rt cues` wrote "
    "and you edited.",
)
@cue_source_options(short_names=False)
@click.option(
    "--model",
    type=_FILE,
    help="Bundle (folder or zip) of another model. [the one that comes along]",
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help="What runs the network: ort (CPU), ort-cuda, ort-tensorrt or torch. It runs there or "
    "fails; it never falls back.",
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="Arithmetic of the network, one that the model holds: fp32, fp16 and int8 (for GPUs), or "
    "int8cpu. `semmix-rt inspect` lists them with their proof.",
)
@click.option(
    "--allow-unverified",
    is_flag=True,
    help="Run a network that `semmix-rt verify` has not passed, with a warning. What it makes of "
    "the sound may be wrong.",
)
@encoder_options
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="CPU threads of the network: decoding, cues and encoding have their own. More than 1 "
    "helps imported models and --engine torch where cores are idle; a network that hears in "
    "chunks is fastest on one in ONNX Runtime, and uses one. [1]",
)
@click.option(
    "--audio-stream",
    type=click.IntRange(0),
    metavar="N",
    help="Which sound to rebalance, counted from 0; the others are copied. [the default one]",
)
@click.option(
    "--audio-codec",
    metavar="NAME",
    help="Encoder of the new sound, such as aac, flac or pcm_s24le. [the source's, if it fits]",
)
@click.option(
    "--audio-bitrate",
    metavar="RATE",
    callback=_bit_rate,
    help="Bit rate of a lossy codec, such as 256k. [the source's, at least 96k per channel]",
)
@click.option(
    "--report", type=_FILE, help="Also write what was done and measured to this JSON file."
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace an existing output and report.")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, say what would be done, and do nothing."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the report to stdout and nothing else."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary; warnings remain.")
@click.option(
    "--no-cache", is_flag=True, help="Read the picture anew, and do not keep what it shows."
)
def command(
    input: Path,
    output: Path | None,
    amount: float,
    max_gain_db: float | None,
    programme_lufs: float | None,
    cues: Path | None,
    cues_from: str,
    cues_url: str | None,
    cues_prompts: str | None,
    cues_device: str | None,
    cues_dtype: str | None,
    cues_batch: int | None,
    cues_requests: int | None,
    model: Path | None,
    engine: str,
    precision: str,
    allow_unverified: bool,
    text_encoder: Path | None,
    vision_encoder: Path | None,
    threads: int | None,
    audio_stream: int | None,
    audio_codec: str | None,
    audio_bitrate: int | None,
    report: Path | None,
    overwrite: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    no_cache: bool,
) -> None:
    """Rebalance the sound of INPUT to what its picture shows.

    The picture, subtitles, chapters and other sounds are copied bit for bit. The output appears
    only when it is complete and checked; Ctrl-C leaves nothing behind.
    """
    from semmix_rt.cues.sources import CueSource
    from semmix_rt.pipeline import remix
    from semmix_rt.progress import ProgressBar

    reader = CueSource(
        *(cues_from, cues_prompts, cues_url, cues_device, cues_dtype, cues_batch, cues_requests)
    )
    with ExitStack() as stack:
        bar = None
        if not quiet and not dry_run:
            bar = stack.enter_context(ProgressBar(input.name))
        result = remix(
            input,
            output,
            amount=amount,
            max_gain_db=max_gain_db,
            programme_lufs=programme_lufs,
            cues=cues,
            cues_from=reader,
            model=model,
            engine=engine,
            precision=precision,
            allow_unverified=allow_unverified,
            text_encoder=text_encoder,
            vision_encoder=vision_encoder,
            threads=threads,
            audio_stream=audio_stream,
            audio_codec=audio_codec,
            audio_bit_rate_bps=audio_bitrate,
            overwrite=overwrite,
            dry_run=dry_run,
            report=report,
            cache=not no_cache,
            progress=bar,
        )
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(result.report.to_json(), nl=False)
    elif dry_run:
        click.echo(_plan(result))
    elif not quiet:
        click.echo(_summary(result))


def _summary(result: RemixResult) -> str:
    """One line: the file, the speed, the loudness before and after."""
    report = result.report
    parts = [str(result.output)]
    if report.timings is not None and report.timings.realtime_factor is not None:
        parts.append(f"{report.timings.realtime_factor:.1f}x real time")
    before, after = report.loudness_before, report.loudness_after
    if before is not None and after is not None:
        parts.append(f"{_lufs(before.integrated_lufs)} -> {_lufs(after.integrated_lufs)} LUFS")
    if result.warnings:
        parts.append(
            "1 warning" if len(result.warnings) == 1 else f"{len(result.warnings)} warnings"
        )
    return ", ".join(parts)


def _lufs(value: float | None) -> str:
    return "silent" if value is None else f"{value:.1f}"


def _plan(result: RemixResult) -> str:
    """What a run would do, line by line."""
    report = result.report
    plan, cues, model = report.plan, report.cues, report.model
    rate = plan["bit_rate_bps"]
    sound = f"{plan['codec']}, {plan['sample_rate_hz']} Hz, {plan['layout']}"
    if rate is not None:
        sound += f", {rate / 1000:g} kb/s"
    what = {
        "copy": "copied bit for bit",
        "drop": "left out",
        "rebalance": f"rebalanced, written as {sound}",
    }
    lines = [f"{result.input} -> {result.output}", ""]
    lines += [
        f"  stream {s['index']}  {s['kind']:<10} {s['codec']:<16} {what[s['action']]}"
        for s in plan["streams"]
    ]
    source = {
        "sheet": f"{cues.segments} segments of the cue sheet {cues.path}",
        "cache": f"{cues.segments} segments that were read from this picture before",
        "extractor": f"read from the picture by {cues.extractor}",
        "none": "none",
    }
    change = f"{100 * report.amount:g} % of the change"
    if report.max_gain_db is not None:
        change += f", at most {report.max_gain_db:g} dB"
    proof = "" if model.verified else ", not verified"
    lines += [
        "",
        f"  cues     {source[cues.source]}",
        f"  model    {model.name} ({model.path}, {model.hash[:12]})",
        f"  engine   {model.engine} on {model.provider}, {model.precision}{proof}",
        f"  amount   {change}",
        "",
        "Dry run: nothing was written.",
    ]
    return "\n".join(lines)
