"""Figures as PNG bytes, without a window system and without global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from semmix.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Refuse before the long work, not after it.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise UsageError(
            "a picture needs Matplotlib, which is not installed: pip install 'semmix-rt[plots]'"
        ) from exc


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure that lays itself out.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG that is the same for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()
