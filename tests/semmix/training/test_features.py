"""Context vectors from files that anyone may have made."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from semmix.errors import MediaError
from semmix.training import features
from semmix.training.features import read_features


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_first_seconds_come_back_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    # Steps of a quarter are exact in every one of these types.
    table = np.arange(72, dtype=np.float32).reshape(12, 6) / 4
    tensor = torch.from_numpy(table).to(dtype).requires_grad_()
    found = read_features(saved(tmp_path / "f.pt", tensor), 6, 10)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, table[:10])
    # Other layouts in memory, and fewer seconds.
    turned = saved(tmp_path / "t.pt", torch.from_numpy(table[:3].T.copy()).T)
    np.testing.assert_array_equal(read_features(turned, 6, 10), table[:3])


def test_a_small_file_that_claims_terabytes_takes_no_memory(tmp_path: Path) -> None:
    endless = torch.full((1,), 0.5).expand(1 << 40, 6)
    path = saved(tmp_path / "endless.pt", endless)
    assert path.stat().st_size < 4_096
    np.testing.assert_array_equal(read_features(path, 6, 10), np.full((10, 6), 0.5, np.float32))
    wide = saved(tmp_path / "wide.pt", torch.zeros(1).expand(10, 1 << 40))
    with pytest.raises(MediaError, match=r"not \[seconds, 6\]"):
        read_features(wide, 6, 10)


@pytest.mark.parametrize(
    ("content", "clue"),
    [
        (torch.zeros(10, 5), r"tensor \[10, 5\], not \[seconds, 6\]"),
        (torch.zeros(6), r"tensor \[6\]"),
        (torch.zeros(1, 10, 6), r"tensor \[1, 10, 6\]"),
        (torch.zeros(0, 6), r"tensor \[0, 6\]"),
        (torch.zeros(10, 6, dtype=torch.int64), "int64"),
        (torch.zeros(10, 6, dtype=torch.complex64), "complex64"),
        (torch.zeros(10, 6).to_sparse(), "sparse"),
        (torch.zeros(10, 6, device="meta"), "not floats"),
        (torch.full((10, 6), torch.nan), "NaN or infinity"),
        (torch.full((10, 6), 1e300, dtype=torch.float64), "NaN or infinity"),
        ({"features": torch.zeros(10, 6)}, "holds a dict"),
        ([1.0, 2.0], "holds a list"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, content: object, clue: str) -> None:
    path = saved(tmp_path / "odd.pt", content)
    with pytest.raises(MediaError, match=clue) as caught:
        read_features(path, 6, 10)
    assert str(path) in str(caught.value)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for protocol in (2, 4):
        path = tmp_path / "evil.pt"
        path.write_bytes(pickle.dumps(Evil(), protocol))
        with pytest.raises(MediaError, match="more than weights and numbers"):
            read_features(path, 6, 10)
    torch.save(Evil(), path)
    with pytest.raises(MediaError, match="more than weights and numbers"):
        read_features(path, 6, 10)
    assert not (tmp_path / "ran").exists()


def test_missing_damaged_and_huge_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MediaError, match="No such file"):
        read_features(tmp_path / "absent.pt", 6, 10)
    path = saved(tmp_path / "f.pt", torch.zeros(10, 6))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(MediaError, match="cannot be used as context vectors"):
            read_features(path, 6, 10)
    path.write_bytes(whole)
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    monkeypatch.setattr(features, "MAX_BYTES", 10_000)
    with pytest.raises(MediaError, match="unpacks to"):
        read_features(bomb, 6, 10)
    monkeypatch.setattr(features, "MAX_BYTES", 100)
    with pytest.raises(MediaError, match="no file of at most"):
        read_features(path, 6, 10)
