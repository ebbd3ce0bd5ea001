"""The cue cache: hits, misses, damage, concurrency, limits, unwritable folders."""

from __future__ import annotations

import json
import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from semmix_rt.cues.cache import CueCache, cache_folder, cue_key

from semmix.cues.types import Cue, CueSegment, CueSheet, CueType

KEY = cue_key("ab" * 16, "fake/1", (5.0, 0.7))
SHEET = CueSheet(
    (CueSegment(0.0, 2.0, 0.0, {t: Cue(f"{t}.", 0.5) for t in CueType}),), "fake/1", "ab" * 16
)


def embeddings(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((3, 6, 384)).astype(np.float32)


def test_stored_entries_come_back_and_others_do_not(tmp_path):
    cache = CueCache(tmp_path / "deep" / "cues")
    assert cache.load_cues(KEY) is None
    assert cache.load_embeddings(KEY, "encoder") is None
    cache.store_cues(KEY, SHEET)
    cache.store_embeddings(KEY, "encoder", embeddings())
    assert cache.load_cues(KEY) == SHEET
    np.testing.assert_array_equal(cache.load_embeddings(KEY, "encoder"), embeddings())
    assert cache.load_embeddings(KEY, "other encoder") is None
    assert cache.load_cues(cue_key("cd" * 16, "fake/1", (5.0, 0.7))) is None


def test_keys_depend_on_everything_and_on_nothing_else():
    keys = {
        KEY,
        cue_key("ab" * 16, "fake/2", (5.0, 0.7)),
        cue_key("ab" * 16, "fake/1", (5.0, 0.8)),
        cue_key("ac" * 16, "fake/1", (5.0, 0.7)),
    }
    assert len(keys) == 4
    assert cue_key("ab" * 16, "fake/1", (5.0, 0.7)) == KEY
    assert len(KEY) == 32


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: b"\x00" * 1000,
        lambda data: pickle.dumps({"a": 1}),
        lambda data: data.replace(b"0.5", b"NaN"),
        lambda data: b'{"format": "other"}',
    ],
)
def test_damaged_entries_are_misses_and_are_replaced(tmp_path, damage, caplog):
    cache = CueCache(tmp_path)
    cache.store_cues(KEY, SHEET)
    cache.store_embeddings(KEY, "encoder", embeddings())
    for path in tmp_path.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.DEBUG):
        assert cache.load_cues(KEY) is None
        if damage(b"0.5") != b"NaN":
            assert cache.load_embeddings(KEY, "encoder") is None
    assert "rebuilt" in caplog.text
    assert not [r for r in caplog.records if r.levelno > logging.DEBUG]
    cache.store_cues(KEY, SHEET)
    assert cache.load_cues(KEY) == SHEET


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3, 4), np.float64),
        np.full((2, 3, 4), np.nan, np.float32),
        np.array([{"a": 1}], dtype=object),
    ],
)
def test_foreign_arrays_are_misses(tmp_path, array):
    cache = CueCache(tmp_path)
    cache.store_embeddings(KEY, "encoder", embeddings())
    (path,) = tmp_path.iterdir()
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=True)
    assert cache.load_embeddings(KEY, "encoder") is None


def test_a_gigabyte_entry_is_not_read(tmp_path):
    cache = CueCache(tmp_path)
    cache.store_cues(KEY, SHEET)
    (path,) = tmp_path.iterdir()
    with path.open("wb") as file:
        file.truncate(2**31)
    assert cache.load_cues(KEY) is None


def test_concurrent_writers_and_readers_see_whole_entries(tmp_path):
    def work(seed: int) -> bool:
        cache = CueCache(tmp_path)
        for _ in range(10):
            cache.store_embeddings(KEY, "encoder", embeddings())
            found = cache.load_embeddings(KEY, "encoder")
            cache.store_cues(KEY, SHEET)
            if cache.load_cues(KEY) != SHEET or not np.array_equal(found, embeddings()):
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".npy"]


def test_the_oldest_entries_go_first_and_foreign_files_stay(tmp_path):
    size = len(json.dumps(None)) + embeddings().nbytes + 128
    cache = CueCache(tmp_path, limit_bytes=3 * size)
    mine = tmp_path / "notes.json"
    mine.write_text("mine")
    keys = [cue_key(str(n), "fake/1", ()) for n in range(5)]
    for age, key in enumerate(keys[:3]):
        cache.store_embeddings(key, "encoder", embeddings())
        (path,) = tmp_path.glob(f"{key}.*")
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.load_embeddings(keys[0], "encoder") is not None  # used: no longer the oldest
    for key in keys[3:]:
        cache.store_embeddings(key, "encoder", embeddings())
    kept = [cache.load_embeddings(key, "encoder") is not None for key in keys]
    assert kept == [True, False, False, True, True]
    assert mine.read_text() == "mine"


def test_an_unwritable_folder_costs_one_warning(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    cache = CueCache(blocked / "cues")
    cache.store_cues(KEY, SHEET)
    cache.store_embeddings(KEY, "encoder", embeddings())
    assert cache.load_cues(KEY) is None
    assert cache.load_embeddings(KEY, "encoder") is None
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "SEMMIX_CACHE_DIR" in warnings[0].getMessage()


def test_the_folder_can_be_chosen(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMMIX_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path / "cues"
    monkeypatch.delenv("SEMMIX_CACHE_DIR")
    assert cache_folder().name == "cues"
    assert cache_folder().is_absolute()
    assert cache_folder() != Path("cues")
