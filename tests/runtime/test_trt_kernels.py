"""Kernels that were compiled on the GPU are kept, and never in the way; see `support_trt`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import tolerances
from semmix_rt.engines import open_engine
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE
from support_engine import tiny_inputs, tiny_model
from support_trt import FakeDevice, stand_in, store

from semmix.bundle import Bundle


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    store(tiny_bundle, "context")
    store(tiny_bundle, "highlighter", batch=Batch(1, 1, 2))
    return tmp_path / "engines"


def started(bundle: Bundle, patch: pytest.MonkeyPatch, driver: str = "13000") -> int:
    """Open the engine as a new process would, see that it runs; how often kernels were compiled."""
    device = FakeDevice(driver=driver)
    stand_in(patch, device)
    engine = open_engine(bundle, "tensorrt-rtx")
    inputs = tiny_inputs(tiny_model(), 1)
    np.testing.assert_allclose(
        engine.run(*inputs)[0], tiny_model().run(*inputs)[0], atol=tolerances.ENGINE_MASK
    )
    return len(device.compiled)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kernels"))


def test_a_second_start_compiles_nothing(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The context encoder has one size, the network two.
    assert started(tiny_bundle, monkeypatch) == 3
    files = kept(folder)
    assert len(files) == 2
    assert {path.name.rsplit(".", 2)[0] for path in files} == {
        path.stem for path in folder.glob("*.plan")
    }
    times = [path.stat().st_mtime_ns for path in files]
    assert started(tiny_bundle, monkeypatch) == 0
    assert [path.stat().st_mtime_ns for path in kept(folder)] == times


def test_another_driver_has_kernels_of_its_own(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tiny_bundle, monkeypatch)
    assert started(tiny_bundle, monkeypatch, driver="13010") == 3
    assert len(kept(folder)) == 4
    assert started(tiny_bundle, monkeypatch) == 0


def as_written(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "its hash differs"),
        (b"\0" * 100, "its hash differs"),
        (as_written(b'["1.7.0"]')[:-1], "its hash differs"),
        (as_written(b'["1.6.9"]'), "another version, GPU or driver"),
    ],
)
def test_what_cannot_be_used_is_dropped_with_a_notice_and_replaced(
    tiny_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    told: str,
) -> None:
    started(tiny_bundle, monkeypatch)
    good = [path.read_bytes() for path in kept(folder)]
    for path in kept(folder):
        path.write_bytes(content)
    assert started(tiny_bundle, monkeypatch) == 3
    assert caplog.text.count(told) == 2
    assert [path.read_bytes() for path in kept(folder)] == good


def test_a_place_that_cannot_be_read_or_written_is_a_notice(
    tiny_bundle: Bundle,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    started(tiny_bundle, monkeypatch)
    for path in kept(folder):
        path.unlink()
        path.mkdir()
    assert started(tiny_bundle, monkeypatch) == 3
    assert caplog.text.count("kernels are compiled again") == 2
    assert caplog.text.count("the next start takes as long") == 2


def test_an_engine_that_is_built_again_takes_its_kernels_along(
    tiny_bundle: Bundle, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(tiny_bundle, monkeypatch)
    store(tiny_bundle, "context")
    assert len(kept(folder)) == 1
    assert started(tiny_bundle, monkeypatch) == 1
