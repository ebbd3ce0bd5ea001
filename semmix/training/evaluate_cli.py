"""`semmix-rt evaluate`: how good a model is, on mixes whose right answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from semmix.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from semmix.training.evaluate import EvaluationResult, Remixer

_FILE = click.Path(path_type=Path)
_CLIPS = 100
"""How many clips unless said otherwise."""
_FILE_COLUMNS = 160
"""Width of tables where no terminal has one: none is cut."""
_ONE_SOURCE = "clips come from --stems or --muddymix: give one of them"


@click.command("evaluate", short_help="Measure a model on mixes made from stems.")
@click.option(
    "--stems",
    type=_FILE,
    help="Folder with speech/, music/ and effects/ that the model was not trained on.",
)
@click.option(
    "--muddymix",
    type=_FILE,
    help="Instead of --stems: a folder in the layout of the Muddy Mix data set, clips of 10 s with "
    "their right mix, their muddy mix and a picture a second.",
)
@click.option(
    "--clips",
    type=click.IntRange(1, 100_000),
    help="How many clips. Scenes differ much: the interval that is printed says what it is worth. "
    "[100, or all of a smaller --muddymix folder]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="With the stem folder it determines every clip, so that two models meet the same ones.",
)
@click.option(
    "--duration-s",
    type=click.FloatRange(1.0, 600.0),
    default=10.0,
    show_default=True,
    help="Length of a generated clip; the published tables use 10 s.",
)
@click.option("--model", type=_FILE, help="Bundle (folder or zip). [the one that comes along]")
@click.option("--engine", default="auto", show_default=True, help="What runs it, as in `remix`.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--ablate",
    is_flag=True,
    help="Also remix with each cue type alone, to see which one carries how much, and with cues "
    "of a word or two, as minimal prompts bring them: 11 remixes a clip instead of 4.",
)
@click.option(
    "--delivered",
    is_flag=True,
    help="With --stems: spoil mixes further, as delivery does, by lossy codecs, other sample rates "
    "and clipping. Right mixes stay as they are.",
)
@click.option(
    "--tagger",
    type=_FILE,
    help="Also measure KLD with this audio tagger (.onnx, or .tflite with ai-edge-litert); the "
    "published numbers are those of PaSST, others compare only with themselves.",
)
@click.option(
    "--tagger-rate",
    type=click.IntRange(1_000, 384_000),
    help="Sample rate in Hz the tagger was trained at. [what an .onnx file states]",
)
@click.option(
    "--tagger-scores",
    type=click.Choice(["logits", "probabilities"]),
    default="logits",
    show_default=True,
    help="What the tagger's first output is; KLD is defined on the softmax of logits.",
)
@click.option(
    "--ib-model",
    metavar="MODULE:NAME",
    help="Also measure dIB with this ImageBind-like model of yours, called without arguments: see "
    "the notes in semmix.metrics.dib. Needs the pictures of --muddymix.",
)
@click.option("--json", "json_path", type=_FILE, help="Also write every clip's numbers here.")
@click.option(
    "--csv",
    "csv_path",
    type=_FILE,
    help="Also write a table for spreadsheets here: one row a clip, one column a number.",
)
@click.option(
    "--plot",
    "plot_path",
    type=_FILE,
    help="Also draw every clip before and after as a PNG here (needs the extra `plots`).",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace existing files.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
def command(
    stems: Path | None,
    muddymix: Path | None,
    clips: int | None,
    seed: int,
    duration_s: float,
    model: Path | None,
    engine: str,
    threads: int,
    ablate: bool,
    delivered: bool,
    tagger: Path | None,
    tagger_rate: int | None,
    tagger_scores: Literal["logits", "probabilities"],
    ib_model: str | None,
    json_path: Path | None,
    csv_path: Path | None,
    plot_path: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Measure a model on mixes whose right answer is known.

    Each clip is a scene with a right mix and a spoiled one, made from a folder of stems or taken
    from the Muddy Mix data set. The spoiled mix is remixed with the scene's cues, without cues
    and with another scene's cues; the right mix is remixed too, to see that it is left alone.
    The stream that users run does the work.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from semmix.bundle import Bundle
    from semmix.metrics.dib import load_picture_sound_model
    from semmix.metrics.taggers import open_tagger
    from semmix.pictures import require_matplotlib
    from semmix.training.clips import ClipSource, GeneratedClips
    from semmix.training.evaluate import evaluate
    from semmix.training.evaluate_plot import draw_png
    from semmix.training.evaluate_report import as_csv, as_dict
    from semmix.training.measures import Yardstick
    from semmix.training.muddymix import MuddyMix

    if stems is not None and muddymix is not None:
        raise UsageError(_ONE_SOURCE)
    if ib_model is not None and muddymix is None:
        raise UsageError("--ib-model compares sound with pictures: give them with --muddymix")
    if delivered and stems is None:
        raise UsageError("--delivered spoils generated mixes: give it with --stems")
    targets = [path for path in (json_path, csv_path, plot_path) if path is not None]
    if len({path.absolute() for path in targets}) < len(targets):
        raise UsageError("--json, --csv and --plot cannot write to one file: give each its own")
    for path in targets:
        _check_target(path, overwrite)
    if plot_path is not None:
        require_matplotlib()
    bundle = Bundle.default() if model is None else Bundle.load(model)
    rate_hz = bundle.spec.audio.sample_rate_hz
    source: ClipSource
    if stems is not None:
        source = GeneratedClips(stems, rate_hz, seed, duration_s, delivered)
    elif muddymix is not None:
        source = MuddyMix(muddymix, rate_hz)
    else:
        raise UsageError(_ONE_SOURCE)
    wanted = min(_CLIPS, source.count or _CLIPS) if clips is None else clips
    yardstick = Yardstick(
        rate_hz,
        tagger=None if tagger is None else open_tagger(tagger, tagger_rate, tagger_scores),
        picture_sound=None if ib_model is None else load_picture_sound_model(ib_model),
    )
    remixer = open_remixer(model, rate_hz, engine, threads)
    console = Console(stderr=True)
    columns = ("evaluating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=wanted)
        result = evaluate(
            source,
            remixer,
            seed=seed,
            clips=wanted,
            yardstick=yardstick,
            ablate=ablate,
            on_clip=lambda done: bar.update(task, completed=done),
        )
    if json_path is not None:
        facts = {
            "model": bundle.name,
            "model_sha256": bundle.sha256,
            "engine": engine,
            "tagger": None if tagger is None else tagger.name,
            "ib_model": ib_model,
            "source": source.name,
            "delivered": delivered,
        }
        data = {**facts, **as_dict(result)}
        _save(json_path, (json.dumps(data, indent=1) + "\n").encode())
    if csv_path is not None:
        _save(csv_path, as_csv(result).encode())
    title = (
        f"{bundle.name}: {len(result.clips)} clips of {result.duration_s:g} s from {source.name}, "
        f"seed {seed}"
    )
    if plot_path is not None:
        _save(plot_path, draw_png(result, title))
    if not quiet:
        click.echo(title)
        print_tables(result)


def open_remixer(model: Path | None, rate_hz: int, engine: str, threads: int) -> Remixer:
    """A mono remixer over the product's own stream, each clip as loud as `remix` hears it."""
    import numpy as np
    from semmix_rt.loudness import LoudnessMeter
    from semmix_rt.remixer import Remixer as StreamRemixer

    from semmix.cues.types import CueSheet

    stream = StreamRemixer(rate_hz, 1, model=model, engine=engine, threads=threads)

    def remix(mix: Any, segments: Any) -> Any:
        meter = LoudnessMeter(rate_hz, 1)
        meter.push(mix[None])
        # None for silence, which comes out as it is however loud it is heard.
        stream.reset(CueSheet(segments), programme_lufs=meter.finish().integrated_lufs)
        return np.concatenate((stream.process(mix[None]), stream.flush()), axis=1)[0]

    return remix


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: name a file in a folder that exists")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: add --overwrite or choose another name")


def _save(path: Path, data: bytes) -> None:
    from semmix.atomic import write_atomically

    try:
        write_atomically(path, data)
    except OSError as exc:
        raise UsageError(
            f"cannot write {path} ({exc.strerror}): choose a folder that is writable"
        ) from exc


def print_tables(result: EvaluationResult) -> None:
    """Measures by condition, readings beside the target's, comparisons, and the ablation."""
    from semmix.training.evaluate import CONDITIONS
    from semmix.training.evaluate_report import TITLES, comparisons
    from semmix.training.measures import READINGS

    errors = [m for m in result.measures if m not in READINGS]
    _print_table("lower is better", result, errors, (*CONDITIONS, "good"))
    _print_table("readings", result, READINGS, ("target", *CONDITIONS, "good"))
    for condition, against in comparisons(result):
        if condition in CONDITIONS and against in CONDITIONS:
            changes = (_change(result, condition, m, against) for m in result.distances)
            click.echo(f"{TITLES[condition]} against {TITLES[against]}: {', '.join(changes)}")
    if result.ablated:
        _print_ablation(result)


def _print_table(
    heading: str, result: EvaluationResult, rows: Sequence[str], columns: Sequence[str]
) -> None:
    from rich import box
    from rich.table import Table

    from semmix.training.evaluate_report import TITLES

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(heading)
    for condition in columns:
        table.add_column(TITLES[condition], justify="right")
    for measure in rows:
        means = (result.mean(condition, measure) for condition in columns)
        table.add_row(measure, *("-" if math.isnan(m) else f"{m:.3f}" for m in means))
    _print(table)


def _print_ablation(result: EvaluationResult) -> None:
    """How far a cue type alone brings the mix, between no cues and all of them."""
    from rich import box
    from rich.table import Table

    from semmix.training.evaluate_report import TITLES

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("against the spoiled mix")
    for measure in result.distances:
        table.add_column(f"{measure} %", justify="right")
    table.add_column("balance_db", justify="right")
    for condition in ("right", *result.ablated, "none", "swapped"):
        changes = (result.change_percent(condition, m) for m in result.distances)
        table.add_row(
            TITLES[condition],
            *("-" if math.isnan(c) else f"{c:+.1f}" for c in changes),
            f"{result.mean(condition, 'balance_db'):.3f}",
        )
    _print(table)


def _print(table: Table) -> None:
    """Show a table whole: rich takes 80 columns where there is no terminal, and cuts."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    console.print(table)


def _change(result: EvaluationResult, condition: str, measure: str, against: str) -> str:
    """A change in percent, and its 95 % interval where there is one."""
    text = f"{measure} {result.change_percent(condition, measure, against):+.1f} %"
    low, high = result.interval_percent(condition, measure, against)
    return text if math.isnan(low) else f"{text} ({low:+.1f} to {high:+.1f})"
