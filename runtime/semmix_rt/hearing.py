"""How a model hears a film: in chunks that stream on, or in whole windows.

Both ways answer the same calls, so that `remix` need not know which one it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.cues.types import CueSheet
from semmix.errors import UsageError
from semmix.specs import WindowSpec
from semmix_rt.cue_feed import CueEmbedder, CueFeed
from semmix_rt.cues.sources import CueSource
from semmix_rt.encoders import open_captions, open_frames
from semmix_rt.engines.registry import open_engine, open_window_engine
from semmix_rt.frame_feed import FrameFeed
from semmix_rt.programme import level_gain_db
from semmix_rt.report import CueReport
from semmix_rt.streaming import RemixStream
from semmix_rt.timeline import CueTimeline, unknown_cues
from semmix_rt.timing import TimedEngine, TimedWindowEngine
from semmix_rt.window_context import Held, HeldVectors, held_segments
from semmix_rt.window_stream import WindowStream

Block = NDArray[np.floating]


class Stream(Protocol):
    """Blocks in, rebalanced blocks out; see `RemixStream`."""

    latency_samples: int

    def push(self, block: Block) -> Block:
        """Take in `[C, n]` and return what is ready."""
        ...

    def finish(self) -> Block:
        """End the stream and return the rest."""
        ...


class Feed(Protocol):
    """What tells a model of the picture, in a thread that runs inside the `with` block."""

    @property
    def waited_s(self) -> float:
        """Time the sound has waited for the picture."""
        ...

    @property
    def worked_s(self) -> float:
        """Time the thread has worked."""
        ...

    @property
    def doubts(self) -> str:
        """A sentence on why what it tells may be worth little, empty where there is no doubt."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def drain(self) -> None:
        """Take what the sound did not need, where a cache wants it."""
        ...

    def preview(self) -> CueReport:
        """Where cues would come from, without the thread."""
        ...

    def report(self) -> CueReport:
        """Where cues came from."""
        ...


class Hearing(Protocol):
    """A model on its way through one film.

    Attributes:
        feed: what it is told of the picture; its thread starts on entering it.
        encoder: identifier of what makes vectors of cues or frames, empty for none.
        takes_cues: whether cues or the picture guide it at all.
    """

    feed: Feed
    encoder: str
    takes_cues: bool

    def load(self, engine: str, threads: int, precision: str) -> TimedEngine | TimedWindowEngine:
        """Open the engine; see `open_engine`."""
        ...

    def level_gain_db(self, programme_lufs: float | None) -> float:
        """Gain at which the network hears a programme of a loudness."""
        ...

    def stream(
        self,
        sample_rate_hz: int,
        channels: int,
        *,
        amount: float,
        level_gain_db: float,
        start_s: float,
    ) -> Stream:
        """The stream through the loaded engine; see `RemixStream`."""
        ...


def open_hearing(
    bundle: Bundle,
    film: Path,
    *,
    max_gain_db: float | None = None,
    programme_lufs: float | None = None,
    sheet: CueSheet | Path | None = None,
    reader: CueSource | None = None,
    has_picture: bool = True,
    cache: bool = True,
    text_encoder: Path | None = None,
    vision_encoder: Path | None = None,
) -> Hearing:
    """Prepare a model for a film.

    Args:
        bundle: the model.
        film: the film.
        max_gain_db: bound on the change, None for the model's own.
        programme_lufs: loudness of the programme, None where it is not told.
        sheet, reader, has_picture, cache: see `CueFeed`.
        text_encoder, vision_encoder: folders of encoders, for models that need one.

    Raises:
        UsageError: settings, an encoder or a cue sheet the model has no use for, or a missing
            encoder.
        ModelFormatError: an encoder is damaged or of another width.
        CueSheetError: the sheet cannot be read or breaks the rules.
        EngineError: what the encoder needs is not installed.
    """
    spec = bundle.window_spec
    kind = "stream" if spec is None else spec.context
    check_encoders(bundle.name, kind, text_encoder, vision_encoder)
    if kind in ("vision", "none") and (sheet is not None or reader not in (None, CueSource())):
        does = "looks at the picture itself" if kind == "vision" else "takes no cues"
        raise UsageError(f"the model {bundle.name!r} {does}: leave out where cues come from")
    if spec is None:
        embedder = CueEmbedder(bundle.spec)
        feed = CueFeed(
            film, embedder, sheet=sheet, reader=reader, has_picture=has_picture, cache=cache
        )
        return _Chunks(bundle, feed, max_gain_db)
    check_window_settings(bundle.name, max_gain_db, programme_lufs)
    if vision_encoder is not None:
        frames = open_frames(vision_encoder, spec.context_dim)
        seen = FrameFeed(film, frames)
        return _Windows(bundle, spec, seen, seen, frames.identifier)
    if text_encoder is not None:
        captions = open_captions(text_encoder, spec.context_dim)
        feed = CueFeed(
            film, captions, sheet=sheet, reader=reader, has_picture=has_picture, cache=cache
        )
        held = held_segments(feed, feed.embed)
        return _Windows(bundle, spec, feed, held, captions.identifier)
    return _Windows(bundle, spec, _NoFeed(), None, "")


def check_encoders(
    name: str, kind: str, text_encoder: Path | None, vision_encoder: Path | None
) -> None:
    """Refuse a model whose encoder is missing, and encoders nobody asked for.

    Args:
        name: of the model.
        kind: `text`, `vision`, `none`, or `stream` for a model that brings its own encoder.
        text_encoder, vision_encoder: folders, None where not given.

    Raises:
        UsageError: see above.
    """
    given = {"text": text_encoder, "vision": vision_encoder}
    for other, folder in given.items():
        if folder is not None and other != kind:
            raise UsageError(
                f"the model {name!r} takes no vectors of a {other} encoder: leave "
                f"--{other}-encoder out"
            )
    if kind in given and given[kind] is None:
        raise UsageError(
            f"the model {name!r} needs a {kind} encoder, which does not come along: pass "
            f"--{kind}-encoder with the folder of the one it was trained with"
        )


def check_window_settings(
    name: str, max_gain_db: float | None, programme_lufs: float | None
) -> None:
    """Refuse settings that mean nothing to a model of whole windows.

    Raises:
        UsageError: a bound on gains, or a loudness.
    """
    if max_gain_db is not None:
        raise UsageError(
            f"the model {name!r} adds sound beside its gains, which no largest gain bounds: use "
            "the amount for a gentle result"
        )
    if programme_lufs is not None:
        raise UsageError(
            f"the model {name!r} hears every film as loud as it is: leave the programme's "
            "loudness out"
        )


class _NoFeed:
    """For models that nothing tells of the picture."""

    waited_s = worked_s = 0.0
    doubts = ""

    def __enter__(self) -> _NoFeed:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to end."""

    def drain(self) -> None:
        """Nothing to take."""

    def preview(self) -> CueReport:
        """No cues."""
        return self.report()

    def report(self) -> CueReport:
        """No cues."""
        return CueReport("none", None, "", "", 0, None)


class _Chunks:
    """A streaming model, such as the one that comes along; see `Hearing`."""

    takes_cues = True

    def __init__(self, bundle: Bundle, feed: CueFeed, max_gain_db: float | None) -> None:
        self._bundle, self._spec, self._max_gain_db = bundle, bundle.spec, max_gain_db
        self._cues = feed
        self.feed: Feed = feed
        self.encoder = bundle.spec.text_encoder

    def load(self, engine: str, threads: int, precision: str) -> TimedEngine:
        """See `Hearing.load`."""
        opened = open_engine(self._bundle, engine, threads=threads, precision=precision)
        self._engine = TimedEngine(opened)
        return self._engine

    def level_gain_db(self, programme_lufs: float | None) -> float:
        """The gain to the loudness the model was trained for."""
        return level_gain_db(programme_lufs, self._spec)

    def stream(
        self,
        sample_rate_hz: int,
        channels: int,
        *,
        amount: float,
        level_gain_db: float,
        start_s: float,
    ) -> RemixStream:
        """See `Hearing.stream`."""
        timeline = CueTimeline(
            self._cues,
            self._cues.embed,
            self._engine.encode_context,
            self._spec.max_segments,
            unknown=unknown_cues(self._spec),
        )
        return RemixStream(
            self._engine,
            timeline,
            sample_rate_hz,
            channels,
            amount=amount,
            max_gain_db=self._max_gain_db,
            level_gain_db=level_gain_db,
            start_s=start_s,
        )


class _Windows:
    """A model that hears whole windows, such as an imported checkpoint; see `Hearing`."""

    def __init__(
        self,
        bundle: Bundle,
        spec: WindowSpec,
        feed: Feed,
        held: Iterable[Held] | None,
        encoder: str,
    ) -> None:
        self._bundle, self._spec, self._held = bundle, spec, held
        self.feed = feed
        self.encoder = encoder
        self.takes_cues = held is not None

    def load(self, engine: str, threads: int, precision: str) -> TimedWindowEngine:
        """See `Hearing.load`."""
        opened = open_window_engine(self._bundle, engine, threads=threads, precision=precision)
        self._engine = TimedWindowEngine(opened)
        return self._engine

    def level_gain_db(self, programme_lufs: float | None) -> float:
        """0 dB: published networks were trained on films as loud as they are."""
        return 0.0

    def stream(
        self,
        sample_rate_hz: int,
        channels: int,
        *,
        amount: float,
        level_gain_db: float,
        start_s: float,
    ) -> WindowStream:
        """See `Hearing.stream`."""
        context = None if self._held is None else HeldVectors(self._held, self._spec.context_dim)
        return WindowStream(
            self._engine, context, sample_rate_hz, channels, amount=amount, start_s=start_s
        )
