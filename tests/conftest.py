"""Fixtures that more than one room uses."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from semmix_rt.engines.trt.cuda import Cuda
from semmix_rt.environment import provider_states
from support_engine import bundle_parts
from support_lvlm import write_tiny_lvlm

from semmix.bundle import Bundle, write_bundle
from semmix.errors import EngineError

if TYPE_CHECKING:
    from support_encoders import ExportedEncoder
    from support_export import Exported


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of hardware that this machine lacks, by what really starts."""
    if item.get_closest_marker("gpu") and (reason := _no_gpu()):
        pytest.skip(f"needs an NVIDIA GPU: {reason}")
    if item.get_closest_marker("trt") and importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs tensorrt-rtx: pip install 'semmix-rt[tensorrt-rtx]'")


@lru_cache(maxsize=1)
def _no_gpu() -> str:
    """Why no GPU starts, by NVIDIA's bindings or ONNX Runtime; empty where one does."""
    try:
        Cuda().close()
    except EngineError as exc:
        started = provider_states().get("CUDAExecutionProvider") == "starts"
        return "" if started else str(exc)
    return ""


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMMIX_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of the tiny seeded model; tests that change it take a copy."""
    folder: Path = tmp_path_factory.mktemp("bundles") / "tiny"
    return write_bundle(folder, **bundle_parts())  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The tiny preset, exported; see `support_export`."""
    # Starts PyTorch, which not every run of tests needs.
    from support_export import export_tiny

    return export_tiny(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def tiny_lvlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random vision language model; tests that change it take a copy."""
    return write_tiny_lvlm(tmp_path_factory.mktemp("lvlm") / "tiny")


@pytest.fixture(scope="session")
def exported_encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportedEncoder]:
    """Tiny encoders by name, exported; tests that change one take a copy."""
    from support_encoders import export_encoders

    return export_encoders(tmp_path_factory.mktemp("exported-encoders"))
