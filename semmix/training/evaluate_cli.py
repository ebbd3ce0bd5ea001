"""`semmix-rt evaluate`: how good a model is, on mixes whose right answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click
from semmix_rt.cli.encoder_options import encoder_options

from semmix.errors import UsageError

_FILE = click.Path(path_type=Path)
_CLIPS = 100
"""How many clips unless said otherwise."""
_SHOWN = 5
"""Names of clips left out that the terminal shows; JSON has all."""
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
@click.option(
    "--skip-incomplete",
    is_flag=True,
    help="With --muddymix: leave clips out that lack a file, and say how many and which.",
)
@click.option("--model", type=_FILE, help="Bundle (folder or zip). [the one that comes along]")
@encoder_options
@click.option("--engine", default="auto", show_default=True, help="What runs it, as in `remix`.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option(
    "--ablate",
    is_flag=True,
    help="Also remix with each cue type alone, to see which one carries how much, and, with "
    "--stems, with cues of a word or two, written by hand: 11 remixes a clip instead of 4.",
)
@click.option(
    "--delivered",
    is_flag=True,
    help="With --stems: spoil mixes further, as delivery does, by lossy codecs, other sample rates "
    "and clipping. Right mixes stay as they are.",
)
@click.option(
    "--programme-lufs",
    type=click.FloatRange(-70.0, 0.0),
    help="Clips are excerpts of programmes this loud, as in `remix`; those made of --stems are of "
    "programmes near -22. [each clip is a programme of its own, as a file is to `remix`]",
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
    skip_incomplete: bool,
    clips: int | None,
    seed: int,
    duration_s: float,
    model: Path | None,
    text_encoder: Path | None,
    vision_encoder: Path | None,
    engine: str,
    threads: int,
    ablate: bool,
    delivered: bool,
    programme_lufs: float | None,
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

    An imported model hears captions of the cues through --text-encoder, or pictures through
    --vision-encoder; without one, the vectors that came with the Muddy Mix clips. One that takes
    no context fills the column without cues alone.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
    from semmix_rt.report import tool_versions

    from semmix.bundle import Bundle
    from semmix.metrics.dib import load_picture_sound_model
    from semmix.metrics.taggers import open_tagger
    from semmix.pictures import require_matplotlib
    from semmix.training.clips import ClipSource, GeneratedClips
    from semmix.training.evaluate import evaluate
    from semmix.training.evaluate_plot import draw_png
    from semmix.training.evaluate_report import RunFacts, as_csv, as_dict
    from semmix.training.evaluate_tables import print_tables
    from semmix.training.measures import Yardstick
    from semmix.training.muddymix import MuddyMix
    from semmix.training.remixing import check_generated, need_of, open_guides, open_remixer

    if stems is not None and muddymix is not None:
        raise UsageError(_ONE_SOURCE)
    if ib_model is not None and muddymix is None:
        raise UsageError("--ib-model compares sound with pictures: give them with --muddymix")
    if skip_incomplete and muddymix is None:
        raise UsageError("--skip-incomplete is about clips of --muddymix: give it with that")
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
    rate_hz = (bundle.window_spec or bundle.spec).audio.sample_rate_hz
    need = need_of(bundle, text_encoder, vision_encoder)
    if ablate and need != "cues":
        raise UsageError(
            "--ablate tells cue types apart, and this model is told none: leave it out, or give a "
            "text model its --text-encoder"
        )
    source: ClipSource
    skipped: tuple[str, ...] = ()
    if stems is not None:
        check_generated(bundle, need)
        source = GeneratedClips(stems, rate_hz, seed, duration_s, delivered)
    elif muddymix is not None:
        source = MuddyMix(muddymix, rate_hz, need=need, skip_incomplete=skip_incomplete)
        skipped = source.skipped
    else:
        raise UsageError(_ONE_SOURCE)
    wanted = min(_CLIPS, source.count or _CLIPS) if clips is None else clips
    yardstick = Yardstick(
        rate_hz,
        tagger=None if tagger is None else open_tagger(tagger, tagger_rate, tagger_scores),
        picture_sound=None if ib_model is None else load_picture_sound_model(ib_model),
    )
    guides, seen_by = open_guides(bundle, source, need, vision_encoder)
    remixer = open_remixer(
        *(model, rate_hz, engine, threads),
        text_encoder=text_encoder,
        takes_vectors=need in ("pictures", "text", "vision"),
        programme_lufs=programme_lufs,
    )
    if skipped:
        shown = ", ".join(skipped[:_SHOWN]) + (" ..." if len(skipped) > _SHOWN else "")
        click.echo(f"warning: {len(skipped)} incomplete clips left out: {shown}", err=True)
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
            guides=guides,
            ablate=ablate,
            on_clip=lambda done: bar.update(task, completed=done),
        )
    if json_path is not None:
        facts = RunFacts(
            model=bundle.name,
            model_sha256=bundle.sha256,
            engine=remixer.engine,
            provider=remixer.provider,
            threads=threads,
            told=need,
            encoder=remixer.encoder or seen_by,
            tagger=None if tagger is None else tagger.name,
            ib_model=ib_model,
            source=source.name,
            source_sha256=source.fingerprint,
            delivered=delivered,
            programme_lufs=programme_lufs,
            skipped=skipped,
            tool=tool_versions(),
        )
        data = as_dict(facts, result)
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
