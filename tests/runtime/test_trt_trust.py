"""Engines are code: from where they are loaded, and what is held; see `support_trt`."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tolerances
from semmix_rt.engines import open_engine
from semmix_rt.engines.trt import trust
from semmix_rt.engines.trt.engine import TensorrtRtxEngine
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE, PlanFolder
from semmix_rt.engines.trt.trust import distrust
from support_engine import broken_fp16, tiny_inputs, tiny_model
from support_parity import record_of
from support_trt import FakeDevice, key_of, stand_in, store

from semmix.bundle import Bundle
from semmix.errors import EngineError

posix = pytest.mark.skipif(os.name == "nt", reason="permissions are no bits on Windows")


@pytest.fixture
def folder(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With engines, in a place that does not exist before."""
    found = tmp_path / "deep" / "engines"
    monkeypatch.setenv(FOLDER_VARIABLE, str(found))
    stand_in(monkeypatch, FakeDevice())
    store(tiny_bundle, "context")
    store(tiny_bundle, "highlighter")
    return found


@posix
def test_the_folder_is_made_for_this_user_alone(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o770, 0o722, 0o777, 0o1777])
def test_nothing_is_loaded_from_where_others_write(
    folder: Path, tiny_bundle: Bundle, mode: int
) -> None:
    folder.chmod(mode)
    with pytest.raises(EngineError, match=rf"`chmod go-w {folder}`") as caught:
        open_engine(tiny_bundle, "tensorrt-rtx")
    # What the sentence says to do helps.
    command = str(caught.value).partition("run `chmod ")[2].partition("`")[0]
    assert os.system(f"chmod {command}") == 0
    open_engine(tiny_bundle, "tensorrt-rtx")


@posix
def test_files_that_others_write_matter_where_others_can_reach_them(
    folder: Path, tiny_bundle: Bundle
) -> None:
    key, _ = key_of(tiny_bundle, "highlighter")
    for name in (f"{key.name}.plan", f"{key.name}.json"):
        (folder / name).chmod(0o664)
        folder.chmod(0o700)
        open_engine(tiny_bundle, "tensorrt-rtx")
        folder.chmod(0o755)
        with pytest.raises(EngineError, match=rf"chmod go-w .*{name}"):
            open_engine(tiny_bundle, "tensorrt-rtx")
        (folder / name).chmod(0o644)
    open_engine(tiny_bundle, "tensorrt-rtx")


@posix
def test_kernels_that_others_write_are_compiled_again(
    folder: Path, tiny_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    open_engine(tiny_bundle, "tensorrt-rtx")
    folder.chmod(0o755)
    for path in folder.glob("*.kernels"):
        path.chmod(0o666)
    open_engine(tiny_bundle, "tensorrt-rtx")
    assert caplog.text.count("kernels are compiled again") == 2


@posix
def test_another_users_folder_is_refused_and_the_systems_is_not(
    folder: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = folder.stat().st_uid
    monkeypatch.setattr(trust.os, "geteuid", lambda: owner + 1)
    if owner == 0:
        assert not distrust(folder)
        os.chown(folder, 12_345, -1)
    with pytest.raises(EngineError, match="belongs to another user"):
        open_engine(tiny_bundle, "tensorrt-rtx")


def test_a_folder_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    assert not distrust(tmp_path / "nowhere", tmp_path / "nowhere" / "x.plan")


def test_what_takes_over_is_held_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    stand_in(monkeypatch, FakeDevice())
    bundle = broken_fp16(tmp_path / "broken")
    store(bundle, "context")
    store(bundle, "highlighter", "fp16")
    exact = store(bundle, "highlighter")
    engine = open_engine(bundle, "tensorrt-rtx", precision="fp16")
    exact.path.write_bytes(b"another's")
    exact.path.with_suffix(".json").unlink()
    spectrum, tokens, weights, state = tiny_inputs(tiny_model(), 1)
    mask, _ = engine.run(spectrum, tokens, weights, state)
    expected, _ = tiny_model().run(spectrum, tokens, weights, state)
    np.testing.assert_allclose(mask, expected, atol=tolerances.ENGINE_MASK)
    assert isinstance(engine, TensorrtRtxEngine)
    assert engine.fallback_runs == 1


def test_a_proof_of_a_plan_that_was_built_since_is_none_for_the_one_that_was_loaded(
    folder: Path, tiny_bundle: Bundle
) -> None:
    engine = open_engine(tiny_bundle, "tensorrt-rtx")
    assert isinstance(engine, TensorrtRtxEngine)
    engine.keep_parity(record_of(tiny_bundle.highlighter_graph()))
    assert not engine.unproved
    key, content = key_of(tiny_bundle, "highlighter")
    fresh = PlanFolder().store(key, content + b"\n", {})
    context_sha256 = PlanFolder().plan_sha256(key_of(tiny_bundle, "context")[0])
    sha256 = fresh.sidecar["plan"]["sha256"]
    record = {"passed": True, "provider": engine.provider, "context_sha256": context_sha256}
    PlanFolder().keep_parity(key, record, sha256)
    assert "never been compared" in engine.unproved


def test_a_record_beside_a_plan_is_judged_by_its_numbers(folder: Path, tiny_bundle: Bundle) -> None:
    engine = open_engine(tiny_bundle, "tensorrt-rtx")
    assert isinstance(engine, TensorrtRtxEngine)
    engine.keep_parity(record_of(tiny_bundle.highlighter_graph(), tokens_snr_db=1.0))
    assert "failed its comparison" in engine.unproved


def test_a_start_reads_each_graph_once(
    folder: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    original = Bundle.read

    def counting(bundle: Bundle, name: str) -> bytes:
        read[name] += 1
        return original(bundle, name)

    monkeypatch.setattr(Bundle, "read", counting)
    engine = open_engine(tiny_bundle, "tensorrt-rtx")
    assert isinstance(engine, TensorrtRtxEngine)
    assert engine.unproved
    graphs = {name: count for name, count in read.items() if name.endswith(".onnx")}
    assert len(graphs) == 2
    assert set(graphs.values()) == {1}
