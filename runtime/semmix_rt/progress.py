"""How far a run has come, for callers and for people in front of a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Literal

Stage = Literal["open", "measure", "remix", "verify", "done"]

_STAGE_LABELS = {
    "open": "Opening",
    "measure": "Measuring",
    "remix": "Remixing",
    "verify": "Checking",
    "done": "Done",
}
_SHOW_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a run.

    Attributes:
        stage: `open`, `measure`, `remix`, `verify`, `done`, in this order.
        done_s: seconds of audio measured, then written, so far.
        total_s: seconds of audio there are, None where the container does not say.
    """

    stage: Stage
    done_s: float
    total_s: float | None


ProgressCallback = Callable[[Progress], None]


class ProgressBar:
    """A progress bar on stderr; call it with each `Progress`.

    Shows nothing where stderr is no terminal.
    """

    def __init__(self, label: str) -> None:
        """Prepare a bar for the file named `label`."""
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        console = Console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._label = escape(label)
        self._task: Any = self._bar.add_task(f"Opening {self._label}", total=None, speed="")
        self._started = perf_counter()
        self._shown = 0.0
        self._stage: Stage = "open"

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Show a step; ten a second are drawn, and every change of stage."""
        now = perf_counter()
        if progress.stage == self._stage and now - self._shown < _SHOW_EVERY_S:
            return
        if progress.stage != self._stage and progress.stage in ("measure", "remix"):
            self._started = now
        self._stage, self._shown = progress.stage, now
        elapsed = now - self._started
        self._bar.update(
            self._task,
            description=f"{_STAGE_LABELS[progress.stage]} {self._label}",
            completed=progress.done_s,
            total=progress.total_s,
            speed=f"{progress.done_s / elapsed:.0f}x" if elapsed > 0.5 else "",
        )
