"""From a film to timed cues: keyframes, an extractor, and the cache around both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from semmix.cues.sheet import CONFIDENCE_DECIMALS, TIME_DECIMALS
from semmix.cues.types import CUE_TYPES, Cue, CueSegment, CueSheet, CueType
from semmix.errors import MediaError
from semmix_rt.cues.cache import CueCache, cue_key
from semmix_rt.cues.described import Described
from semmix_rt.cues.keyframes import Keyframe, KeyframeOptions, iter_keyframes
from semmix_rt.cues.picture import index_picture


class Extractor(Protocol):
    """What reads cues from keyframes."""

    @property
    def identifier(self) -> str:
        """Name that changes whenever the same picture would give other cues."""
        ...

    @property
    def deterministic(self) -> bool:
        """Whether the same picture gives the same cues in every run."""
        ...

    def read(self, keyframes: Iterator[Keyframe]) -> Iterator[Described]:
        """Each keyframe with its cues, in order.

        An extractor may take some keyframes ahead, so as to read them together.
        """
        ...

    def doubts(self) -> str:
        """What the last reading fell short of, in one sentence; empty where nothing is.

        A reading with doubts is kept only if the extractor is deterministic: any other may do
        better in another run.
        """
        ...


def default_extractor() -> Extractor:
    """The closed-set models that come with the program."""
    from semmix_rt.cues.embedded import EmbeddedExtractor

    return EmbeddedExtractor.default()


_DOUBTS = "doubts"
_LONGEST_S = 20.0
"""Equal neighbours join up to this length: a listener downstream waits for a segment's end."""

Watch = Callable[[Described], None]
"""Sees each keyframe with what was read from it."""


class SegmentSource:
    """The cue segments of one film, from the cache or read from the picture as asked for.

    Attributes:
        picture_hash: content hash of the picture, empty where there is none.
        has_picture: the file has a moving picture; without one there are no segments.
        from_cache: segments come from the cache and no frame is decoded.
        end_s: end of the picture on the container's timeline, 0 without a picture.
        key: cache key, also for the embeddings of these segments.
        extractor: identifier of what read, or reads, the cues.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        extractor: Extractor | None = None,
        cache: CueCache | bool = True,
        options: KeyframeOptions | None = None,
        threads: int = 1,
        refresh: bool = False,
    ) -> None:
        """Hash the picture and look into the cache; nothing is decoded yet.

        Args:
            path: media file.
            extractor: `default_extractor()` if not given.
            cache: the cache to use, True for the user's, False for none.
            options: which frames become keyframes.
            threads: decoder threads.
            refresh: read the cues anew even where they are cached, and cache them again.

        Raises:
            MediaError: the file cannot be opened, or its picture holds no frame.
            UsageError: options that make no sense.
        """
        self._path = Path(path)
        self._options = options or KeyframeOptions()
        self._options.check()
        self._threads = threads
        self._extractor = extractor if extractor is not None else default_extractor()
        self._cache = CueCache() if cache is True else cache or None
        self._index = index_picture(self._path)
        self.extractor = self._extractor.identifier
        self.has_picture = self._index is not None
        self.picture_hash = "" if self._index is None else self._index.hash
        self.end_s = 0.0 if self._index is None else self._index.end_s
        self.key = cue_key(self.picture_hash, self.extractor, self._options)
        self._sheet = None if refresh or self._index is None else self._load()
        self.from_cache = self._sheet is not None

    def segments(self, watch: Watch | None = None) -> Iterator[CueSegment]:
        """Yield segments in order of time, each as soon as it is known.

        They cover the picture without gaps; neighbours with the same cues are one segment of
        up to 20 s.
        When the last one was taken, all are written to the cache, unless there are doubts that
        another run may not have.

        Args:
            watch: is given every keyframe as it is read; not called for segments that come from
                the cache.

        Raises:
            MediaError: no frame can be decoded.
        """
        if self._sheet is not None:
            yield from self._sheet.segments
            return
        done: list[CueSegment] = []
        for segment in _merge(self._read(watch)):
            done.append(segment)
            yield segment
        final = self._extractor.deterministic or not self.doubts
        if self._cache is not None and done and final:
            self._cache.store_cues(self.key, self.as_sheet(done))

    def sheet(self) -> CueSheet:
        """All segments as a sheet.

        Raises:
            MediaError: no frame can be decoded.
        """
        return self._sheet or self.as_sheet(list(self.segments()))

    @property
    def doubts(self) -> str:
        """What the reading fell short of, see `Extractor.doubts`; the cache keeps it as well."""
        return (
            self._extractor.doubts() if self._sheet is None else self._sheet.meta.get(_DOUBTS, "")
        )

    def _load(self) -> CueSheet | None:
        if self._cache is None:
            return None
        sheet = self._cache.load_cues(self.key)
        ours = sheet is not None and (
            sheet.picture_hash == self.picture_hash and sheet.extractor == self.extractor
        )
        return sheet if ours and sheet is not None and sheet.segments else None

    def _read(self, watch: Watch | None) -> Iterator[CueSegment]:
        """One segment for each keyframe."""
        if self._index is None:
            return
        keyframes = iter_keyframes(
            self._path, self._options, index=self._index, threads=self._threads
        )
        for described in self._extractor.read(keyframes):
            if watch is not None:
                watch(described)
            keyframe = described.keyframe
            # Sheets have no time before zero, where some files' first frames lie.
            start_s = max(0.0, round(keyframe.time_s, TIME_DECIMALS))
            end_s = round(keyframe.end_s, TIME_DECIMALS)
            if end_s > start_s:
                yield CueSegment(start_s, end_s, start_s, _rounded(described.cues))

    def as_sheet(self, segments: list[CueSegment]) -> CueSheet:
        """Segments of this film with what read them, and with its doubts."""
        meta = {_DOUBTS: self.doubts} if self.doubts else {}
        return CueSheet(tuple(segments), self.extractor, self.picture_hash, meta)


def iter_segments(
    path: str | Path,
    extractor: Extractor | None = None,
    *,
    cache: CueCache | bool = True,
    options: KeyframeOptions | None = None,
) -> Iterator[CueSegment]:
    """Yield the cue segments of a film lazily; see `SegmentSource`.

    Raises:
        MediaError: the file cannot be opened or no frame of its picture can be decoded.
    """
    yield from SegmentSource(path, extractor=extractor, cache=cache, options=options).segments()


def extract_sheet(
    path: str | Path,
    extractor: Extractor | None = None,
    *,
    cache: CueCache | bool = True,
    options: KeyframeOptions | None = None,
) -> CueSheet:
    """The cue sheet of a film.

    Raises:
        MediaError: the file cannot be opened, has no moving picture, or none of it decodes.
    """
    source = SegmentSource(path, extractor=extractor, cache=cache, options=options)
    if not source.has_picture:
        raise MediaError(f"{path} has no picture to read cues from: give a video")
    return source.sheet()


def _merge(segments: Iterator[CueSegment]) -> Iterator[CueSegment]:
    """Join neighbours that say the same; the joined one keeps the first one's keyframe."""
    current: CueSegment | None = None
    for segment in segments:
        fits = current is not None and segment.end_s - current.start_s <= _LONGEST_S
        if current is not None and fits and _says(current) == _says(segment):
            current = replace(current, end_s=segment.end_s)
            continue
        if current is not None:
            yield current
        current = segment
    if current is not None:
        yield current


def _says(segment: CueSegment) -> tuple[str | None, ...]:
    return tuple(segment.cue(t).text for t in CUE_TYPES)


def _rounded(cues: Mapping[CueType, Cue]) -> dict[CueType, Cue]:
    """Cues as a sheet would give them back."""
    return {
        t: replace(c, confidence=round(c.confidence, CONFIDENCE_DECIMALS)) for t, c in cues.items()
    }
