"""An evaluation as a picture: every clip before and after, for each measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from semmix.pictures import new_figure, png_bytes
from semmix.training.evaluate import EvaluationResult, clip_values
from semmix.training.evaluate_report import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_HEIGHT_INCHES, _BOX_INCHES = 4.2, 0.68
_AXES = {
    "mag": "MAG (x100)",
    "env": "ENV (x100)",
    "wdis": "W-dis (x100)",
    "kld": "KLD (x100)",
    "dib": "dIB (x100)",
    "balance_db": "balance error (LU)",
    "speech_si_sdr_db": "speech SI-SDR (dB)",
    "integrated_lufs": "loudness (LUFS)",
}
_WITH_TARGET = ("speech_si_sdr_db", "integrated_lufs")


def draw_png(result: EvaluationResult, title: str) -> bytes:
    """A PNG with one panel for each measure: boxes, means and every clip.

    A box spans the middle half of the clips and its whiskers the middle nine tenths, the line
    is the median, the diamond the mean. Thin lines join a clip's spoiled mix to its remix with
    the right cues.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    measures = (*result.distances, "balance_db", *_WITH_TARGET)
    columns = (len(measures) + 1) // 2
    width_inches = (len(result.conditions) + 1) * _BOX_INCHES
    figure = new_figure(columns * width_inches, 2 * _PANEL_HEIGHT_INCHES)
    figure.suptitle(title)
    panels = figure.subplots(2, columns, squeeze=False).ravel()
    for panel, measure in zip(panels, measures, strict=False):
        conditions = (*result.conditions, *(("target",) if measure in _WITH_TARGET else ()))
        _draw_panel(panel, result, measure, conditions)
    for unused in panels[len(measures) :]:
        unused.set_axis_off()
    return png_bytes(figure)


def _draw_panel(
    panel: Axes, result: EvaluationResult, measure: str, conditions: tuple[str, ...]
) -> None:
    """One measure: a box for each condition, points for the clips, lines before to after."""
    values = {
        condition: np.array([clip_values(clip)[condition][measure] for clip in result.clips])
        for condition in conditions
    }
    places = np.arange(len(conditions))
    known = [values[condition][~np.isnan(values[condition])] for condition in conditions]
    panel.set_title(_AXES[measure] + (", lower is better" if "target" not in conditions else ""))
    panel.title.set_fontsize(10)
    panel.set_xticks(places, [TITLES[c] for c in conditions], rotation=35, ha="right", fontsize=8)
    panel.grid(axis="y", alpha=0.3)
    if not any(part.size for part in known):
        panel.text(0.5, 0.5, "not defined on these clips", ha="center", transform=panel.transAxes)
        return
    # Seeded, so that one evaluation always gives one picture.
    spread = np.random.default_rng(0).uniform(-0.16, 0.16, len(result.clips))
    before, after = (conditions.index(name) for name in ("input", "right"))
    for i, shift in enumerate(spread):
        panel.plot(
            [before + shift, after + shift],
            [values["input"][i], values["right"][i]],
            color="0.75",
            linewidth=0.6,
            zorder=1,
        )
    for place, condition in zip(places, conditions, strict=True):
        panel.scatter(
            place + spread, values[condition], s=9, color=f"C{place}", alpha=0.55, zorder=2
        )
    panel.boxplot(
        known,
        positions=places.tolist(),
        widths=0.5,
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        medianprops={"color": "black"},
        meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "black"},
        manage_ticks=False,
        zorder=3,
    )
