"""Zips that are damaged or packed in foreign ways are refused in one sentence."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from semmix.bundle.golden import golden_bytes, parse_golden
from semmix.bundle.sources import open_source
from semmix.errors import ModelFormatError


def packed(method: int) -> bytes:
    array = io.BytesIO()
    np.save(array, np.random.default_rng(1).random(300).astype(np.float32))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x.npy", array.getvalue())
    return buffer.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_stored_and_deflated_entries_are_read(tmp_path: Path, method: int) -> None:
    with pytest.raises(ModelFormatError, match="neither stored nor deflated"):
        parse_golden(packed(method), "golden.npz")
    path = tmp_path / "bundle.zip"
    path.write_bytes(packed(method))
    with pytest.raises(ModelFormatError, match="neither stored nor deflated"):
        open_source(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_anywhere_is_a_model_format_error(tmp_path: Path, method: int) -> None:
    """A few bytes at random, most of them in the headers at either end."""
    whole = packed(method)
    assert set(parse_golden(whole, "golden.npz")) == {"x"}
    chance, path, refused = random.Random(7), tmp_path / "bundle.zip", 0
    for _ in range(1_500):
        data = bytearray(whole)
        for place in (chance.randrange(60), len(data) - 1 - chance.randrange(90)):
            data[place] = chance.randrange(256)
        path.write_bytes(data)
        try:
            source = open_source(path)
            for name in source.names():
                source.read(name, 1 << 20)
        except ModelFormatError:
            refused += 1
        try:
            parse_golden(bytes(data), "golden.npz")
        except ModelFormatError:
            refused += 1
    assert refused > 1_500


def test_what_is_written_is_read() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(parse_golden(golden_bytes({"a": array}), "g")["a"], array)
