"""A page that shows every keyframe beside what was read from it, for a person to judge.

What a model claims to see is its own word: this page is where a person holds it against the
picture. Rows go to the disk as they come, with small JPEG pictures, so that a long film takes no
more memory than a short one: some 12 kB a keyframe, 40 MB for two hours of a film that cuts often.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from semmix.atomic import atomic_file
from semmix.cues.answers import Reading
from semmix.cues.sheet import UNKNOWN_WORD, show_control_characters
from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueType
from semmix.errors import UsageError
from semmix_rt.cues.described import Described
from semmix_rt.cues.jpeg import jpeg_bytes

_THUMBNAIL_PX = 256

# The note is known when the film is read, at the end of the page; `order` shows it at its head.
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; display: flex; flex-direction: column; }
h1 { order: -3; margin-bottom: 0; } .intro { order: -2; } .note { order: -1; margin-top: 0; }
section { display: flex; gap: 1.2rem; padding: 1rem 0; border-top: 1px solid #8884;
  content-visibility: auto; contain-intrinsic-size: auto 12rem; }
img { width: 256px; height: auto; border-radius: 4px; display: block; }
figure { margin: 0; width: 256px; flex: none; }
figcaption { font-size: 13px; margin-top: .3rem; overflow-wrap: anywhere; }
dl { margin: 0; display: grid; grid-template-columns: 8rem 1fr 3rem; gap: .15rem .8rem; flex: 1;
  align-content: start; overflow-wrap: anywhere; }
dt, .basis { opacity: .75; } dd { margin: 0; } dd.number { text-align: right; }
.unknown { opacity: .45; } .basis, .refused { font-size: 13px; }
.refused { color: light-dark(#a33, #e88); }
@media (max-width: 40rem) { section { display: block; } dl { margin-top: .6rem; } }
"""


class ExplainPage:
    """Writes the page, which replaces its target when the `with` block ends well."""

    def __init__(self, path: Path, title: str, extractor: str) -> None:
        """Prepare; the file is opened on entering the `with` block.

        Args:
            path: HTML file, which needs no other.
            title: name of the film.
            extractor: identifier of what reads the cues.
        """
        self._path = path
        self._head = _head(title, extractor)
        self._atomic = atomic_file(path)

    def __enter__(self) -> ExplainPage:
        """Open the page.

        Raises:
            UsageError: the folder cannot be written.
        """
        with _writing(self._path):
            self._file = self._atomic.__enter__()
        self._put(self._head)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if exc is None:
            self._put("</html>\n")
        with _writing(self._path):
            self._atomic.__exit__(kind, exc, trace)

    def add(self, described: Described) -> None:
        """Write a keyframe with its six cues.

        Raises:
            UsageError: the disk is full.
        """
        self._put(explain_row(described))

    def note(self, doubts: str) -> None:
        """Write what the reading fell short of, a sentence without its full stop.

        Raises:
            UsageError: the disk is full.
        """
        self._put(f'<p class="note">Note: {_text(doubts)}.</p>\n')

    def _put(self, html: str) -> None:
        with _writing(self._path):
            self._file.write(html.encode())


def explain_row(described: Described) -> str:
    """One keyframe with its six cues, and what a model said to give them."""
    keyframe, cues, readings = described
    image = b64encode(jpeg_bytes(_thumbnail(keyframe.image))).decode()
    span = f"{clock(keyframe.time_s)} to {clock(keyframe.end_s)}"
    caption = f"{span}, shot {keyframe.shot}, motion {keyframe.motion:.3f}"
    cells = "".join(_cells(kind, cues.get(kind, UNKNOWN), readings) for kind in CUE_TYPES)
    return (
        f'<section><figure><img alt="Keyframe at {span}" src="data:image/jpeg;base64,{image}">'
        f'<figcaption><div class="basis">{caption}</div>{_claims(readings)}</figcaption>'
        f"</figure><dl>{cells}</dl></section>\n"
    )


def clock(time_s: float) -> str:
    """Time as `m:ss.t`, with hours where there are any."""
    tenths = round(time_s * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


def _head(title: str, extractor: str) -> str:
    title = _text(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Cues of {title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f'<h1>Cues of {title}</h1><p class="intro">Read by {_text(extractor)}. '
        "Numbers are confidences from 0 to 1. What a model says it sees is its own word: compare "
        "it with the picture.</p>\n"
    )


def _claims(readings: Sequence[Reading]) -> str:
    """What the model says it sees in the frame, and what was wrong with its answers as a whole."""
    visible = dict.fromkeys(item for reading in readings for item in reading.visible)
    said = f'<div class="basis">says it sees: {_text("; ".join(visible))}</div>' if visible else ""
    faults = (
        f'<div class="refused">answer {number}: {_text(fault)}</div>'
        for number, reading in enumerate(readings, 1)
        for fault in reading.faults
    )
    return said + "".join(faults)


def _cells(kind: CueType, cue: Cue, readings: Sequence[Reading]) -> str:
    """Name, sentence and confidence of a cue, with its basis and what was refused before."""
    name = kind.replace("_", " ")
    lines = "".join(_line(kind, cue, number, it) for number, it in enumerate(readings, 1))
    if cue.text is None:
        return f'<dt>{name}</dt><dd class="unknown">unknown</dd><dd></dd>{_spanning(lines)}'
    return (
        f'<dt>{name}</dt><dd>{_text(cue.text)}</dd><dd class="number">{cue.confidence:.2f}</dd>'
        f"{_spanning(lines)}"
    )


def _line(kind: CueType, cue: Cue, number: int, reading: Reading) -> str:
    """What one answer has to say about a cue, beside the cue itself."""
    said, seen = reading.said.get(kind, ""), reading.seen.get(kind, "")
    basis = f"rests on: {seen}" if seen else ""
    if kind in reading.refused:
        quoted = f'"{said}" ' if said else ""
        why = "; ".join(part for part in (reading.refused[kind], basis) if part)
        return f'<div class="refused">answer {number} refused: {_text(quoted + why)}</div>'
    if kind not in reading.cues:
        return ""
    if reading.cues[kind].text is None:
        tells = said.strip(" .\"'").casefold() not in ("", UNKNOWN_WORD)
        return f'<div class="basis">answer {number}: "{_text(said)}"</div>' if tells else ""
    return f'<div class="basis">{_text(basis)}</div>' if basis and cue == reading.cues[kind] else ""


def _spanning(lines: str) -> str:
    """Lines below a sentence, in a row of their own."""
    return f"<dt></dt><dd>{lines}</dd><dd></dd>" if lines else ""


def _text(text: str) -> str:
    """Text of any origin as HTML that shows it and does nothing else."""
    return escape(show_control_characters(text))


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink by a whole factor, by block means."""
    factor = max(1, round(max(image.shape[:2]) / _THUMBNAIL_PX))
    height, width = (max(1, side // factor) for side in image.shape[:2])
    if factor == 1 or min(image.shape[:2]) < factor:
        return image
    cropped = image[: height * factor, : width * factor]
    blocks = cropped.reshape(height, factor, width, factor, 3)
    small: NDArray[np.uint8] = blocks.mean((1, 3)).round().astype(np.uint8)
    return small


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise UsageError(
            f"cannot write {path} ({exc.strerror}): choose a folder that is writable and has space"
        ) from exc
