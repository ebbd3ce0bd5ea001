"""`semmix-rt evaluate`: how good a model is, on mixes whose right answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semmix.errors import UsageError

if TYPE_CHECKING:
    from semmix.training.evaluate import EvaluationResult, Remixer

_FILE = click.Path(path_type=Path)


@click.command("evaluate", short_help="Measure a model on mixes made from stems.")
@click.option(
    "--stems",
    type=_FILE,
    required=True,
    help="Folder with speech/, music/ and effects/ that the model was not trained on.",
)
@click.option(
    "--clips",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many clips. Scenes differ much: the interval that is printed says what it is worth.",
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
    help="Length of a clip; the published tables use 10 s.",
)
@click.option("--model", type=_FILE, help="Bundle (folder or zip). [the one that comes along]")
@click.option("--engine", default="auto", show_default=True, help="What runs it, as in `remix`.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--json", "json_path", type=_FILE, help="Also write every clip's numbers here.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace an existing JSON file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no table.")
def command(
    stems: Path,
    clips: int,
    seed: int,
    duration_s: float,
    model: Path | None,
    engine: str,
    threads: int,
    json_path: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Measure a model on mixes made from a folder of stems.

    Each clip is a scene with a right mix and a spoiled one. The spoiled mix is remixed with the
    scene's cues, without cues and with another scene's cues; the right mix is remixed too, to
    see that it is left alone. The stream that users run does the work.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from semmix.bundle import Bundle
    from semmix.training.evaluate import evaluate

    if json_path is not None:
        _check_target(json_path, overwrite)
    bundle = Bundle.default() if model is None else Bundle.load(model)
    rate_hz = bundle.spec.audio.sample_rate_hz
    remixer = _open(model, rate_hz, engine, threads)
    console = Console(stderr=True)
    columns = ("evaluating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=clips)
        result = evaluate(
            stems,
            remixer,
            rate_hz,
            seed=seed,
            clips=clips,
            duration_s=duration_s,
            on_clip=lambda done: bar.update(task, completed=done),
        )
    if json_path is not None:
        facts = {"model": bundle.name, "model_sha256": bundle.sha256, "engine": engine}
        _save(json_path, {**facts, "stems": stems.name, **as_dict(result)})
    if not quiet:
        _print(result, bundle.name)


def _open(model: Path | None, rate_hz: int, engine: str, threads: int) -> Remixer:
    """A mono remixer over the product's own stream."""
    import numpy as np
    from semmix_rt.remixer import Remixer as StreamRemixer

    from semmix.cues.types import CueSheet

    stream = StreamRemixer(rate_hz, 1, model=model, engine=engine, threads=threads)

    def remix(mix: Any, segments: Any) -> Any:
        stream.reset(CueSheet(segments))
        return np.concatenate((stream.process(mix[None]), stream.flush()), axis=1)[0]

    return remix


def as_dict(result: EvaluationResult) -> dict[str, Any]:
    """Plain values for JSON: settings, means, changes in percent, every clip. NaN is null."""
    from semmix.training.evaluate import CONDITIONS, DISTANCES, MEASURE_NOTES, MEASURES

    return {
        "seed": result.seed,
        "duration_s": result.duration_s,
        "sample_rate_hz": result.sample_rate_hz,
        "measures": dict(MEASURE_NOTES),
        "mean": {
            condition: {m: _number(result.mean(condition, m)) for m in MEASURES}
            for condition in (*CONDITIONS, "good")
        },
        "change_percent": {
            f"{condition} against {against}": {
                m: _number(result.change_percent(condition, m, against)) for m in DISTANCES
            }
            for condition, against in _COMPARED
        },
        "interval_95_percent": {
            f"{condition} against {against}": {
                m: [_number(v) for v in result.interval_percent(condition, m, against)]
                for m in DISTANCES
            }
            for condition, against in _COMPARED
        },
        "clips": [
            {
                "index": clip.index,
                "situations": list(clip.situations),
                "donor": clip.donor,
                "measures": {
                    condition: {m: _number(v) for m, v in values.items()}
                    for condition, values in {**clip.measures, "good": clip.good}.items()
                },
            }
            for clip in result.clips
        ],
    }


_COMPARED = (("right", "input"), ("none", "input"), ("right", "none"), ("right", "swapped"))
"""Which conditions are held against which."""

_TITLES = {
    "input": "spoiled mix",
    "right": "right cues",
    "none": "no cues",
    "swapped": "swapped cues",
    "good": "good mix in",
}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: name a file in a folder that exists")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists: add --overwrite or choose another name")


def _save(path: Path, data: dict[str, Any]) -> None:
    from semmix.atomic import write_atomically

    try:
        write_atomically(path, (json.dumps(data, indent=1) + "\n").encode())
    except OSError as exc:
        raise UsageError(
            f"cannot write {path} ({exc.strerror}): choose a folder that is writable"
        ) from exc


def _print(result: EvaluationResult, name: str) -> None:
    """One row for each measure, one column for each condition, then the comparisons."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from semmix.training.evaluate import CONDITIONS, DISTANCES, MEASURES

    click.echo(f"{name}: {len(result.clips)} clips of {result.duration_s:g} s, seed {result.seed}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("lower is better")
    for condition in (*CONDITIONS, "good"):
        table.add_column(_TITLES[condition], justify="right")
    for measure in MEASURES:
        means = (result.mean(condition, measure) for condition in (*CONDITIONS, "good"))
        table.add_row(measure, *("-" if math.isnan(m) else f"{m:.3f}" for m in means))
    Console().print(table)
    for condition, against in _COMPARED:
        changes = (_change(result, condition, m, against) for m in DISTANCES)
        click.echo(f"{_TITLES[condition]} against {_TITLES[against]}: {', '.join(changes)}")


def _change(result: EvaluationResult, condition: str, measure: str, against: str) -> str:
    """A change in percent, and its 95 % interval where there is one."""
    text = f"{measure} {result.change_percent(condition, measure, against):+.1f} %"
    low, high = result.interval_percent(condition, measure, against)
    return text if math.isnan(low) else f"{text} ({low:+.1f} to {high:+.1f})"
