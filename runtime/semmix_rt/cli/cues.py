"""`semmix-rt cues`: read the visual cues of a film into a sheet that a person can edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from semmix.errors import MediaError, UsageError
from semmix_rt.cli.cue_options import cue_source_options

if TYPE_CHECKING:
    from semmix.cues.types import CueSegment, CueSheet
    from semmix_rt.cues.extract import SegmentSource
    from semmix_rt.cues.sources import CueSource

    Shown = Callable[[Iterable[CueSegment]], Iterator[CueSegment]]


@click.command("cues", short_help="Read the visual cues of a video into an editable sheet.")
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Sheet to write. [VIDEO.cues.json]"
)
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the sheet; write it only where -o is given."
)
@click.option("--no-cache", is_flag=True, help="Neither use nor keep cached cues.")
@click.option(
    "--max-interval-s",
    type=click.FloatRange(0.7, 3600),
    default=5.0,
    show_default=True,
    help="Look at the picture at least about this often, in seconds.",
)
@click.option(
    "--explain",
    type=click.Path(path_type=Path),
    help="Also write an HTML page with every keyframe beside its cues, to judge them by, and with "
    "what a model said to give them (looks at the picture anew).",
)
@cue_source_options(short_names=True)
@click.option("--quiet", is_flag=True, help="No listing and no progress.")
def command(
    video: Path,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    no_cache: bool,
    max_interval_s: float,
    explain: Path | None,
    cues_from: str,
    cues_url: str | None,
    cues_prompts: str | None,
    cues_device: str | None,
    cues_dtype: str | None,
    cues_batch: int | None,
    cues_requests: int | None,
    quiet: bool,
) -> None:
    """Read the visual cues of VIDEO into a cue sheet.

    Edit the sheet and give it to `semmix-rt remix --cues`.
    """
    if output is None and not as_json:
        output = video.with_suffix(".cues.json")
    _check_targets(video, [p for p in (output, explain) if p is not None], overwrite)
    from semmix_rt.cues.sources import CueSource

    reader = CueSource(
        *(cues_from, cues_prompts, cues_url, cues_device, cues_dtype, cues_batch, cues_requests)
    )
    sheet = _extract(video, reader, no_cache, max_interval_s, output, explain, quiet)
    _show(sheet, output, explain, as_json, quiet)


def _check_targets(video: Path, targets: list[Path], overwrite: bool) -> None:
    """Refuse targets before minutes of work rather than after."""
    if len({t.resolve() for t in targets}) < len(targets):
        raise UsageError(f"the sheet and the page cannot both be {targets[0]}: name two files")
    for target in targets:
        if target.resolve() == video.resolve():
            raise UsageError(f"{target} is the video itself: choose another output")
        if target.is_dir():
            raise UsageError(f"{target} is a folder: name a file")
        if not target.parent.is_dir():
            raise UsageError(f"the folder {target.parent} does not exist: create it first")
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists: add --overwrite or choose another output")


def _extract(
    video: Path,
    reader: CueSource,
    no_cache: bool,
    max_interval_s: float,
    output: Path | None,
    explain: Path | None,
    quiet: bool,
) -> CueSheet:
    """The sheet, which is written to `output`, and the page to `explain`, where these are given."""
    from semmix.cues.sheet import save_sheet
    from semmix_rt.cues.explain import ExplainPage
    from semmix_rt.cues.extract import SegmentSource
    from semmix_rt.cues.keyframes import KeyframeOptions
    from semmix_rt.cues.sources import open_extractor

    source = SegmentSource(
        video,
        extractor=open_extractor(reader, cache=not no_cache),
        cache=not no_cache,
        options=KeyframeOptions(max_interval_s=max_interval_s),
        refresh=explain is not None,
    )
    if not source.has_picture:
        raise MediaError(f"{video} has no picture to read cues from: give a video")
    with ExitStack() as stack:
        page = None
        if explain is not None:
            page = stack.enter_context(ExplainPage(explain, video.name, source.extractor))
        with _progress(source, video.name, quiet) as shown:
            segments = list(shown(source.segments(None if page is None else page.add)))
        sheet = source.as_sheet(segments)
        if page is not None and source.doubts:
            page.note(source.doubts)
        if output is not None:
            save_sheet(sheet, output)
    return sheet


def _show(
    sheet: CueSheet, output: Path | None, explain: Path | None, as_json: bool, quiet: bool
) -> None:
    from semmix.cues.sheet import dump_sheet

    if "doubts" in sheet.meta:
        click.echo(f"warning: {sheet.meta['doubts']}", err=True)
    if as_json:
        click.echo(dump_sheet(sheet), nl=False)
    elif not quiet:
        _print_cues(sheet)
    if not quiet:
        for path in (output, explain):
            if path is not None:
                click.echo(f"Wrote {path}", err=True)


def _print_cues(sheet: CueSheet) -> None:
    """One line for each known cue, under the time at which its segment starts."""
    from semmix.cues.types import CUE_TYPES
    from semmix_rt.cues.explain import clock

    for segment in sheet.segments:
        known = [(t, segment.cue(t).text) for t in CUE_TYPES if segment.cue(t).known]
        label = clock(segment.start_s)
        if not known:
            click.echo(f"{label:<12}unknown")
        for cue_type, text in known:
            click.echo(f"{label:<12}{cue_type.replace('_', ' '):<14}{text}")
            label = ""


@contextmanager
def _progress(source: SegmentSource, name: str, quiet: bool) -> Iterator[Shown]:
    """A bar on stderr, which counts seconds of film; none where stderr is no terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(f"Reading {escape(name)}", total=source.end_s)

        def shown(segments: Iterable[CueSegment]) -> Iterator[CueSegment]:
            for segment in segments:
                bar.update(task, completed=segment.end_s)
                yield segment

        yield shown
