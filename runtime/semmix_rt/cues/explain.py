"""A page that shows every keyframe beside what was read from it, for a person to judge."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CUE_TYPES, UNKNOWN, Cue, CueType
from semmix_rt.cues.keyframes import Keyframe
from semmix_rt.cues.png import png_bytes

_THUMBNAIL_PX = 256

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
section { display: flex; gap: 1.2rem; padding: 1rem 0; border-top: 1px solid #8884; }
img { width: 256px; height: auto; border-radius: 4px; display: block; }
figure { margin: 0; } figcaption { font-size: 13px; opacity: .75; margin-top: .3rem; }
dl { margin: 0; display: grid; grid-template-columns: 8rem 1fr 3rem; gap: .15rem .8rem; flex: 1;
  align-content: start; }
dt { opacity: .75; } dd { margin: 0; } dd.number { text-align: right; }
.unknown { opacity: .45; }
@media (max-width: 40rem) { section { display: block; } dl { margin-top: .6rem; } }
"""


def explain_page(title: str, extractor: str, rows: Iterable[str], doubts: str = "") -> str:
    """The whole page as HTML that needs no other file.

    Args:
        title: name of the film.
        extractor: identifier of what read the cues.
        rows: from `explain_row`, in order of time.
        doubts: what the reading fell short of, a sentence; empty where nothing.
    """
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Cues of {escape(title)}'
        '</title><meta name="viewport" content="width=device-width"><style>'
        f"{_STYLE}</style><h1>Cues of {escape(title)}</h1><p>Read by {escape(extractor)}. "
        "Numbers are confidences from 0 to 1.</p>\n"
    )
    if doubts:
        head += f"<p>Note: {escape(doubts)}.</p>\n"
    return head + "".join(rows) + "</html>\n"


def explain_row(keyframe: Keyframe, cues: Mapping[CueType, Cue]) -> str:
    """One keyframe with its six cues."""
    image = b64encode(png_bytes(_thumbnail(keyframe.image))).decode()
    span = f"{clock(keyframe.time_s)} to {clock(keyframe.end_s)}"
    cells = []
    for cue_type in CUE_TYPES:
        cue = cues.get(cue_type, UNKNOWN)
        name = cue_type.replace("_", " ")
        if cue.text is None:
            cells.append(f'<dt>{name}</dt><dd class="unknown">unknown</dd><dd></dd>')
        else:
            cells.append(
                f"<dt>{name}</dt><dd>{escape(cue.text)}</dd>"
                f'<dd class="number">{cue.confidence:.2f}</dd>'
            )
    return (
        f'<section><figure><img alt="Keyframe at {span}" src="data:image/png;base64,{image}">'
        f"<figcaption>{span}, shot {keyframe.shot}, motion {keyframe.motion:.3f}</figcaption>"
        f"</figure><dl>{''.join(cells)}</dl></section>\n"
    )


def clock(time_s: float) -> str:
    """Time as `m:ss.t`, with hours where there are any."""
    tenths = round(time_s * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{tenths // 10:02d}.{tenths % 10}"
    return f"{hours}:{minutes:02d}:{seconds}" if hours else f"{minutes}:{seconds}"


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
