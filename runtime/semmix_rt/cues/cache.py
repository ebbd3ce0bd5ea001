"""Cues, models' answers and embeddings on disk, keyed by content.

A key names everything an entry depends on, so that an entry is never stale: at worst it is
unused. Entries are checked like foreign files on reading, and one that fails is a miss. Every
write is a rename, so that concurrent runs only ever replace whole entries by equal ones.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.atomic import write_atomically
from semmix.cues.sheet import MAX_FILE_BYTES, dump_sheet, parse_sheet
from semmix.cues.types import CueSheet
from semmix.errors import CueSheetError
from semmix_rt.user_cache import FOLDER_VARIABLE, user_cache

_LOG = logging.getLogger(__name__)

CACHE_VERSION = 1
"""Part of every key: raise it when sampling or the meaning of an entry changes."""

DEFAULT_LIMIT_BYTES = 256 * 2**20

_MAX_EMBEDDING_BYTES = 64 * 2**20
_MAX_ANSWERS_BYTES = 2**20
_OWN_NAME = re.compile(r"[0-9a-f]{32}(\.[0-9a-f]{16})?\.(json|npy)")


def cache_folder() -> Path:
    """Where cues are kept: `$SEMMIX_CACHE_DIR/cues`, else the user's cache folder."""
    return user_cache("cues")


def cue_key(picture_hash: str, extractor: str, parameters: object) -> str:
    """Key of the cues of one picture.

    Args:
        picture_hash: from `semmix_rt.cues.picture`.
        extractor: the extractor's identifier, which names its models and prompts.
        parameters: what else the cues depend on; its `repr` counts.
    """
    text = repr((CACHE_VERSION, picture_hash, extractor, parameters))
    return blake2b(text.encode(), digest_size=16).hexdigest()


class CueCache:
    """The cache in one folder. Failing to read or write costs time, never the run."""

    def __init__(
        self, folder: Path | None = None, *, limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """Use `folder`, by default `cache_folder()`; the oldest entries beyond the limit go."""
        self._folder = folder or cache_folder()
        self._limit_bytes = limit_bytes
        self._warned = False

    def load_cues(self, key: str) -> CueSheet | None:
        """The stored sheet, or None if there is none that can be trusted."""
        path = self._cues_path(key)
        data = self._read(path, MAX_FILE_BYTES)
        if data is None:
            return None
        try:
            return parse_sheet(data, str(path))
        except CueSheetError as exc:
            _LOG.debug("a cache entry is rebuilt: %s", exc)
            return None

    def store_cues(self, key: str, sheet: CueSheet) -> None:
        """Keep a sheet."""
        self._write(self._cues_path(key), dump_sheet(sheet))

    def load_answers(self, key: str) -> list[str] | None:
        """What a model said about one picture, or None if there is nothing that can be trusted."""
        path = self._cues_path(key)
        data = self._read(path, _MAX_ANSWERS_BYTES)
        if data is None:
            return None
        try:
            answers = json.loads(data)
        except (ValueError, RecursionError) as exc:
            _LOG.debug("the cache entry %s is rebuilt (%s)", path, exc)
            return None
        if not (isinstance(answers, list) and answers and all(type(a) is str for a in answers)):
            _LOG.debug("the cache entry %s is rebuilt: it holds something else", path)
            return None
        return answers

    def store_answers(self, key: str, answers: Sequence[str]) -> None:
        """Keep what a model said about one picture, in order."""
        self._write(self._cues_path(key), json.dumps(list(answers)).encode())

    def load_embeddings(self, key: str, encoder_id: str) -> NDArray[np.float32] | None:
        """Stored embeddings, float32 `[N, K, E]`, or None if there are none to be trusted."""
        path = self._embeddings_path(key, encoder_id)
        data = self._read(path, _MAX_EMBEDDING_BYTES)
        if data is None:
            return None
        try:
            array = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError, OSError) as exc:
            _LOG.debug("the cache entry %s is rebuilt (%s)", path, exc)
            return None
        if not (
            isinstance(array, np.ndarray)
            and array.dtype == np.float32
            and array.ndim == 3
            and bool(np.isfinite(array).all())
        ):
            _LOG.debug("the cache entry %s is rebuilt: it holds something else", path)
            return None
        return array

    def store_embeddings(self, key: str, encoder_id: str, embeddings: NDArray[np.float32]) -> None:
        """Keep embeddings `[N, K, E]` of the segments of the sheet with the same key."""
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(embeddings, np.float32), allow_pickle=False)
        self._write(self._embeddings_path(key, encoder_id), buffer.getvalue())

    def _cues_path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _embeddings_path(self, key: str, encoder_id: str) -> Path:
        encoder = blake2b(encoder_id.encode(), digest_size=8).hexdigest()
        return self._folder / f"{key}.{encoder}.npy"

    def _read(self, path: Path, limit_bytes: int) -> bytes | None:
        try:
            if path.stat().st_size > limit_bytes:
                _LOG.debug("the cache entry %s is rebuilt: it is too large", path)
                return None
            data = path.read_bytes()
            # Reading counts as use: pruning drops what was not touched longest.
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as exc:
            _LOG.debug("the cache entry %s cannot be read (%s)", path, exc)
            return None
        return data

    def _write(self, path: Path, data: bytes) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            self._prune(keep=path)
        except OSError as exc:
            if not self._warned:
                _LOG.warning(
                    "cues are not cached: %s cannot be written (%s); set %s to another folder",
                    self._folder,
                    exc.strerror,
                    FOLDER_VARIABLE,
                )
            self._warned = True

    def _prune(self, keep: Path) -> None:
        """Drop the oldest entries beyond the limit; files of other names are not ours."""
        entries: list[tuple[float, int, Path]] = []
        for path in self._folder.iterdir():
            if _OWN_NAME.fullmatch(path.name):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                entries.append((stat.st_mtime, stat.st_size, path))
        excess = sum(size for _, size, _ in entries) - self._limit_bytes
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if excess <= 0:
                break
            if path != keep:
                path.unlink(missing_ok=True)
                excess -= size
