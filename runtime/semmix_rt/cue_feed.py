"""Cues for a run: from a sheet, the cache or the picture, read and embedded ahead of the sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semmix.cues.sheet import load_sheet
from semmix.cues.text import TextEncoder, embed_segment
from semmix.cues.types import CUE_TYPES, CueSegment, CueSheet, CueType
from semmix.errors import ModelFormatError
from semmix.specs import ModelSpec
from semmix_rt.ahead import AheadFeed
from semmix_rt.cues.cache import CueCache
from semmix_rt.cues.extract import SegmentSource
from semmix_rt.cues.sources import CueSource, open_extractor
from semmix_rt.report import CueReport

Embedding = NDArray[np.float32]

# Far more than the sound needs: a picture that was read to its end gives its index's memory back.
_SEGMENTS_AHEAD = 4096


class SegmentEmbedder(Protocol):
    """Turns what a segment says into a model's vectors.

    Attributes:
        dim: width E of a vector.
        key: names what vectors depend on besides the segment's cues.
    """

    dim: int
    key: str

    def sentences(self, segment: CueSegment) -> list[str | None]:
        """The K texts that become vectors, None where nothing is known."""
        ...

    def __call__(self, segment: CueSegment) -> Embedding:
        """Vectors of those texts, float32 `[K, E]`, zeros where unknown."""
        ...


class CueEmbedder:
    """Embeds segments with the text encoder that a model was trained with, opened on first use.

    Attributes:
        dim, key: see `SegmentEmbedder`.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Embed in the order of `spec.cue_types`."""
        self.dim = spec.embedding_dim
        self.key = f"{spec.text_encoder} {' '.join(spec.cue_types)}"
        self._spec = spec
        self._encoder: TextEncoder | None = None

    def sentences(self, segment: CueSegment) -> list[str | None]:
        """A segment's sentences in the model's order of cue types, None where unknown."""
        return [segment.cue(CueType(name)).text for name in self._spec.cue_types]

    def __call__(self, segment: CueSegment) -> Embedding:
        """Embeddings of one segment's cues, float32 `[K, E]`, zeros where unknown.

        Raises:
            ModelFormatError: the model was trained with another text encoder.
        """
        if self._encoder is None:
            self._encoder = open_text_encoder(self._spec)
        return embed_segment(segment, self._encoder, self._spec.cue_types)


def open_text_encoder(spec: ModelSpec) -> TextEncoder:
    """The bundled text encoder, if the model was trained with it.

    Raises:
        ModelFormatError: the model was trained with another one.
    """
    encoder = TextEncoder.default()
    if encoder.identifier != spec.text_encoder or encoder.dim != spec.embedding_dim:
        raise ModelFormatError(
            f"the model {spec.name!r} was trained with the text encoder {spec.text_encoder!r} and "
            f"this version has {encoder.identifier!r}: use the version it was made for, or train "
            "and export it again"
        )
    return encoder


class CueFeed(AheadFeed[tuple[CueSegment, list[Embedding]]]):
    """The cue segments of one film, in order of time, prepared by a thread of its own.

    Iterating yields segments as they become known, `embed` gives their embeddings. Use as a
    context manager: the thread runs from entering to leaving.
    """

    def __init__(
        self,
        path: Path,
        embedder: SegmentEmbedder,
        *,
        sheet: CueSheet | Path | None = None,
        reader: CueSource | None = None,
        has_picture: bool = True,
        cache: bool = True,
    ) -> None:
        """Prepare; a sheet is read and checked here, the film in the thread.

        Args:
            path: the film.
            embedder: makes the model's vectors, in the thread.
            sheet: cues to use instead of the film's, as an object or the path of one.
            reader: what reads the picture, the bundled models if not given.
            has_picture: the film has a moving picture; without one there are no segments.
            cache: use and keep what was read from a film before.

        Raises:
            CueSheetError: the sheet cannot be read or breaks the rules.
            SemMixError: the reader is none, see `open_extractor`.
        """
        self._path = path
        self._embedder = embedder
        self._sheet_path = None if sheet is None or isinstance(sheet, CueSheet) else Path(sheet)
        self._sheet = load_sheet(sheet) if isinstance(sheet, Path) else sheet
        self._has_picture = has_picture
        self._cache = CueCache() if cache else None
        read = sheet is None and has_picture
        self._extractor = open_extractor(reader or CueSource(), cache=cache) if read else None
        self._source: SegmentSource | None = None
        # A film has thousands of segments and few sentences, whose embeddings they share.
        self._rows: dict[str | None, Embedding] = {None: np.zeros(embedder.dim, np.float32)}
        self._embeddings: dict[float, Embedding] = {}
        self._segments = 0
        self._cue_s = self._unknown_s = 0.0
        super().__init__(self._prepare(), _SEGMENTS_AHEAD, "semmix-cues")

    @property
    def doubts(self) -> str:
        """What reading the picture fell short of so far, in one sentence; empty where nothing."""
        return "" if self._source is None else self._source.doubts

    def __iter__(self) -> Iterator[CueSegment]:
        """Segments, each once over all iterators.

        Raises:
            MediaError: the picture cannot be decoded.
            ModelFormatError: the model needs another text encoder.
        """
        for segment, rows in self._ahead:
            self._count(segment)
            self._embeddings[segment.start_s] = np.stack(rows)
            yield segment

    def embed(self, segment: CueSegment) -> Embedding:
        """Embeddings `[K, E]` of a segment that was yielded; each can be asked for once."""
        return self._embeddings.pop(segment.start_s)

    def drain(self) -> None:
        """Take what the sound did not need, so that the cache gets all of the picture."""
        for _ in self:
            self._embeddings.clear()

    def preview(self) -> CueReport:
        """Where the cues would come from, without the thread: nothing is decoded or kept.

        Raises:
            MediaError: the picture cannot be read.
        """
        if self._sheet is not None:
            segments: tuple[CueSegment, ...] | None = self._sheet.segments
        elif not self._has_picture:
            segments = ()
        else:
            self._source = self._open()
            segments = self._source.sheet().segments if self._source.from_cache else None
        for segment in segments or ():
            self._count(segment)
        report = self.report()
        return replace(report, segments=None) if segments is None else report

    def report(self) -> CueReport:
        """Where the cues came from, and how much is known of what was taken so far."""
        source, sheet = self._source, self._sheet
        if sheet is not None:
            kind, extractor, picture_hash = "sheet", sheet.extractor, sheet.picture_hash
        elif source is not None and source.has_picture:
            kind = "cache" if source.from_cache else "extractor"
            extractor, picture_hash = source.extractor, source.picture_hash
        else:
            kind = extractor = picture_hash = ""
        return CueReport(
            source=kind or "none",
            path=None if self._sheet_path is None else str(self._sheet_path),
            extractor=extractor,
            picture_hash=picture_hash,
            segments=self._segments,
            unknown_share=self._unknown_s / self._cue_s if self._cue_s else None,
        )

    def _prepare(self) -> Iterator[tuple[CueSegment, list[Embedding]]]:
        if self._sheet is not None:
            yield from self._embedded(self._sheet.segments)
            return
        if not self._has_picture:
            return
        self._source = source = self._open()
        stored = self._stored(source)
        self._rows.update(stored or {})
        yield from self._embedded(source.segments())
        rows = [row for text, row in self._rows.items() if text is not None]
        if self._cache is not None and stored is None and rows:
            self._cache.store_embeddings(source.key, self._embedder.key, np.stack(rows)[:, None])

    def _open(self) -> SegmentSource:
        return SegmentSource(self._path, extractor=self._extractor, cache=self._cache or False)

    def _embedded(
        self, segments: Iterable[CueSegment]
    ) -> Iterator[tuple[CueSegment, list[Embedding]]]:
        """Segments, each with a row for each text the model takes."""
        for segment in segments:
            texts = self._embedder.sentences(segment)
            if any(text not in self._rows for text in texts):
                for text, row in zip(texts, self._embedder(segment), strict=True):
                    self._rows.setdefault(text, row.copy())
            yield segment, [self._rows[text] for text in texts]

    def _stored(self, source: SegmentSource) -> dict[str, Embedding] | None:
        """Rows from the cache, one for each sentence by first use; None where it has none."""
        if self._cache is None or not source.from_cache:
            return None
        segments = source.sheet().segments
        texts = dict.fromkeys(
            t for s in segments for t in self._embedder.sentences(s) if t is not None
        )
        table = self._cache.load_embeddings(source.key, self._embedder.key)
        if table is None or table.shape != (len(texts), 1, self._embedder.dim):
            return None
        return dict(zip(texts, table[:, 0], strict=True))

    def _count(self, segment: CueSegment) -> None:
        duration_s = segment.end_s - segment.start_s
        unknown = sum(not segment.cue(cue_type).known for cue_type in CUE_TYPES)
        self._segments += 1
        self._cue_s += duration_s
        self._unknown_s += duration_s * unknown / len(CUE_TYPES)
