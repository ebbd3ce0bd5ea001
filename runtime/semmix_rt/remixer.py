"""Rebalance sound block by block, for hosts: plug-ins, players, pipelines.

with Remixer(48_000, 2, cues=load_sheet("film.cues.json")) as remixer:
    for block in blocks:                  # float32 [2, n], any n
        play(remixer.process(block))      # comes out later by remixer.latency_samples
    play(remixer.flush())
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from semmix.bundle import Bundle, check_precision
from semmix.cues.types import CueSheet
from semmix.errors import UsageError
from semmix_rt.cue_feed import CueEmbedder, open_text_encoder
from semmix_rt.encoders import open_captions
from semmix_rt.engines.registry import open_engine, open_window_engine
from semmix_rt.hearing import Stream, check_encoders, check_window_settings
from semmix_rt.pipeline import check_settings
from semmix_rt.programme import level_gain_db
from semmix_rt.proof import check_engine_proof, check_proof
from semmix_rt.streaming import RemixStream
from semmix_rt.timeline import CueTimeline, unknown_cues
from semmix_rt.window_context import Held, HeldVectors, check_vectors, held_segments
from semmix_rt.window_stream import WindowStream

Block = NDArray[np.float32]
Vectors = tuple[Held, ...]


class Remixer:
    """A stream through the network, with cues known beforehand.

    Samples come out in order and unchanged in number: what `process` has not returned yet,
    `flush` does. Not safe to share between threads; one remixer serves one stream.

    Attributes:
        sample_rate_hz: rate of the stream.
        channels: number of channels `C`.
        engine: name of what runs the network, such as `ort`, also where `auto` was asked for.
        provider: what really computes, such as `CPUExecutionProvider`.
        encoder: identifier of what makes vectors of cues; empty where nothing does.
        latency_samples: most samples that can be held back, at the stream's rate.
    """

    def __init__(
        self,
        sample_rate_hz: int = 48_000,
        channels: int = 2,
        cues: CueSheet | None = None,
        *,
        amount: float = 1.0,
        max_gain_db: float | None = None,
        model: str | Path | None = None,
        engine: str = "auto",
        precision: str = "fp32",
        allow_unverified: bool = False,
        threads: int = 1,
        programme_lufs: float | None = None,
        start_s: float = 0.0,
        text_encoder: str | Path | None = None,
        vectors: Sequence[Held] | None = None,
    ) -> None:
        """Load a model and stand at the start of a stream.

        Args:
            sample_rate_hz: any rate from 1000 Hz; the model's own needs no resampling.
            channels: number of channels; all get the same gains, so the stereo image stays.
            cues: what the picture shows and when; None for no picture.
            amount: share of the change to apply, 0 to 1.
            max_gain_db: bound on the change, either way; None for the model's own.
            model: folder or zip of a model bundle; None for the one that comes along.
            engine, precision, allow_unverified: as in `remix`.
            threads: CPU threads of the engine.
            programme_lufs: integrated loudness of the whole programme, which `remix` measures
                first; None hears the stream as a programme of the loudness the model expects.
            start_s: time of the first sample on the cues' timeline.
            text_encoder: folder of a transformers text encoder, for imported models that take
                the vectors of captions.
            vectors: for imported models, instead of cues and an encoder: the context vectors
                themselves, float `[D]` each, of captions or frames, in the order of time. Zeros
                hold where none speaks; `()` is a stream without context.

        Raises:
            UsageError: a setting out of range, a model that looks at pictures itself and got no
                vectors, or vectors that do not fit the model.
            ModelFormatError: the model is damaged or needs another text encoder.
            ParityError: the network has no passing parity record in this precision.
            EngineError: the engine is missing or cannot run the model.
        """
        check_settings(amount, max_gain_db, programme_lufs)
        check_precision(precision)
        if sample_rate_hz < 1_000 or channels < 1 or not np.isfinite(start_s):
            raise UsageError(
                f"a stream of {channels} channels at {sample_rate_hz} Hz from {start_s} s cannot "
                "be: give 1 channel or more, 1000 Hz or more and a finite start"
            )
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        bundle = Bundle.default() if model is None else Bundle.load(model)
        doubt = check_proof(bundle, engine, precision, allow_unverified=allow_unverified)
        self._amount, self._start_s = amount, start_s
        self._cues = CueSheet(()) if cues is None else cues
        self._vectors = None if vectors is None else tuple(vectors)
        if bundle.window_spec is None:
            check_encoders(bundle.name, "stream", _path(text_encoder), None)
            self._way: _Chunks | _Windows = _Chunks(
                bundle, engine, threads, precision, max_gain_db, programme_lufs
            )
        else:
            check_window_settings(bundle.name, max_gain_db, programme_lufs)
            self._way = _Windows(
                bundle, engine, threads, precision, _path(text_encoder), vectors is not None
            )
        self.encoder = self._way.encoder
        self.engine, self.provider = self._way.engine.name, self._way.engine.provider
        doubt = doubt or check_engine_proof(
            bundle, self._way.engine, allow_unverified=allow_unverified
        )
        if doubt:
            warnings.warn(doubt, stacklevel=2)
        self._way.check(self._cues, self._vectors)
        self._flushed = False
        self._stream = self._open_stream()
        self.latency_samples = self._stream.latency_samples

    def process(self, block: Block) -> Block:
        """Take in the next samples and return what is ready.

        Args:
            block: float32 `[C, n]`, full scale 1.0, any `n`.

        Returns:
            float32 `[C, m]`, the next samples of the output; `m` is often 0 or far from `n`,
            since the network works in chunks.

        Raises:
            UsageError: a wrong shape, NaN or infinity, or a stream that was flushed.
            EngineError: inference failed.
        """
        if self._flushed:
            raise UsageError("the stream was flushed: call reset() to start a new one")
        block = np.asarray(block)
        if block.ndim != 2 or block.shape[0] != self.channels or block.dtype.kind != "f":
            raise UsageError(
                f"a block of {block.dtype} with shape {block.shape} does not fit: give floats of "
                f"shape [{self.channels}, n], full scale 1.0"
            )
        if not np.isfinite(block).all():
            raise UsageError("a block holds NaN or infinity: repair the sound first")
        return self._stream.push(block.astype(np.float32, copy=False))

    def flush(self) -> Block:
        """End the stream and return all that was held back, float32 `[C, m]`."""
        if self._flushed:
            raise UsageError("the stream was flushed: call reset() to start a new one")
        self._flushed = True
        return self._stream.finish()

    def reset(
        self,
        cues: CueSheet | None = None,
        *,
        programme_lufs: float | None = None,
        vectors: Sequence[Held] | None = None,
    ) -> None:
        """Forget everything heard and stand at the start of a stream again.

        Args:
            cues: what the next stream's picture shows; None for the same as before.
            programme_lufs: of the next stream; None for the same as before.
            vectors: context vectors of the next stream, instead of cues; None for the same as
                before, unless there are cues now.

        Raises:
            UsageError: no programme can be so loud, the model hears all as loud as they are, or
                takes no such cues or vectors.
            ModelFormatError: the model was trained with another text encoder.
        """
        if programme_lufs is not None:
            check_settings(self._amount, None, programme_lufs)
            self._way.hear(programme_lufs)
        if cues is not None or vectors is not None:
            sheet = CueSheet(()) if cues is None else cues
            held = None if vectors is None else tuple(vectors)
            self._way.check(sheet, held)
            self._cues, self._vectors = sheet, held
        self._flushed = False
        self._stream = self._open_stream()

    def close(self) -> None:
        """Give up the stream; what was held back is lost."""
        self._flushed = True

    def __enter__(self) -> Remixer:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open_stream(self) -> Stream:
        return self._way.stream(
            self._cues,
            self._vectors,
            self.sample_rate_hz,
            self.channels,
            self._amount,
            self._start_s,
        )


class _Chunks:
    """A streaming model with its settings."""

    def __init__(
        self,
        bundle: Bundle,
        engine: str,
        threads: int,
        precision: str,
        max_gain_db: float | None,
        programme_lufs: float | None,
    ) -> None:
        self._spec, self._name = bundle.spec, bundle.name
        self._embed = CueEmbedder(bundle.spec)
        self.encoder = bundle.spec.text_encoder
        self.engine = open_engine(bundle, engine, threads=threads, precision=precision)
        self._max_gain_db = max_gain_db
        self._level_gain_db = level_gain_db(programme_lufs, bundle.spec)

    def hear(self, programme_lufs: float) -> None:
        """Hear the streams that follow as parts of a programme of this loudness."""
        self._level_gain_db = level_gain_db(programme_lufs, self._spec)

    def check(self, cues: CueSheet, vectors: Vectors | None) -> None:
        """Refuse vectors, and a model for another text encoder now, not at the first cue."""
        if vectors is not None:
            raise UsageError(
                f"the model {self._name!r} takes cues, not context vectors: give it a cue sheet"
            )
        if cues.segments:
            open_text_encoder(self._spec)

    def stream(
        self,
        cues: CueSheet,
        vectors: Vectors | None,
        sample_rate_hz: int,
        channels: int,
        amount: float,
        start_s: float,
    ) -> RemixStream:
        """A stream that stands at its start."""
        timeline = CueTimeline(
            cues.segments,
            self._embed,
            self.engine.encode_context,
            self._spec.max_segments,
            unknown=unknown_cues(self._spec),
        )
        return RemixStream(
            self.engine,
            timeline,
            sample_rate_hz,
            channels,
            amount=amount,
            max_gain_db=self._max_gain_db,
            level_gain_db=self._level_gain_db,
            start_s=start_s,
        )


class _Windows:
    """A model that hears whole windows, and its text encoder, where its vectors are not given."""

    def __init__(
        self,
        bundle: Bundle,
        engine: str,
        threads: int,
        precision: str,
        text_encoder: Path | None,
        has_vectors: bool,
    ) -> None:
        spec = bundle.window_spec
        assert spec is not None
        if spec.context == "vision" and not has_vectors:
            raise UsageError(
                f"the model {bundle.name!r} looks at the picture itself, which blocks of sound "
                "have none of: use remix, or give the vectors of frames"
            )
        if text_encoder is not None or not has_vectors:
            check_encoders(bundle.name, spec.context, text_encoder, None)
        self._spec, self._name = spec, bundle.name
        self._embed, self.encoder = None, ""
        if text_encoder is not None:
            self._embed = open_captions(text_encoder, spec.context_dim)
            self.encoder = self._embed.identifier
        self.engine = open_window_engine(bundle, engine, threads=threads, precision=precision)

    def hear(self, programme_lufs: float) -> None:
        """Refuse: windows are heard as loud as they are."""
        check_window_settings(self._name, None, programme_lufs)

    def check(self, cues: CueSheet, vectors: Vectors | None) -> None:
        """Refuse cues or vectors that the model has no use for."""
        if vectors is not None:
            if self._spec.context == "none":
                raise UsageError(
                    f"the model {self._name!r} takes no context: leave the vectors out"
                )
            if cues.segments:
                raise UsageError("cues and context vectors say the same: give one of them")
            check_vectors(vectors, self._spec.context_dim)
        elif cues.segments and self._embed is None:
            hint = "leave the cue sheet out"
            if self._spec.context != "none":
                hint = f"give it vectors, or open it with a {self._spec.context} encoder"
            raise UsageError(f"the model {self._name!r} takes no cues: {hint}")

    def stream(
        self,
        cues: CueSheet,
        vectors: Vectors | None,
        sample_rate_hz: int,
        channels: int,
        amount: float,
        start_s: float,
    ) -> WindowStream:
        """A stream that stands at its start."""
        context = None
        if self._spec.context != "none":
            held: Iterable[Held] = vectors or ()
            if vectors is None and self._embed is not None:
                held = held_segments(cues.segments, self._embed)
            context = HeldVectors(held, self._spec.context_dim)
        return WindowStream(
            self.engine, context, sample_rate_hz, channels, amount=amount, start_s=start_s
        )


def _path(folder: str | Path | None) -> Path | None:
    return None if folder is None else Path(folder)
