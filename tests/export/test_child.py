"""Graphs that were made a moment ago run in a process of their own, which may end over them."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from semmix_export.child import ChildEngine, ChildWindowEngine
from semmix_rt.engines import open_engine, open_window_engine
from support_engine import bundle_parts, tiny_inputs, tiny_model
from support_window import tiny_window_bundle, with_context

from semmix.bundle import Bundle, write_bundle
from semmix.errors import EngineError


def test_streams_are_those_of_this_process(tiny_bundle: Bundle) -> None:
    here = open_engine(tiny_bundle, "ort")
    with closing(ChildEngine(tiny_bundle)) as there:
        assert (there.name, there.provider, there.precision) == ("ort", here.provider, "fp32")
        vectors = np.random.default_rng(1).standard_normal((3, 6, 5)).astype(np.float32)
        np.testing.assert_array_equal(there.encode_context(vectors), here.encode_context(vectors))
        for batch in (1, 3):
            inputs = tiny_inputs(tiny_model(), batch)
            (mask, state), (expected, following) = there.run(*inputs), here.run(*inputs)
            np.testing.assert_array_equal(mask, expected)
            for actual, wanted in zip(state, following, strict=True):
                np.testing.assert_array_equal(actual, wanted)
        # What the engine refuses is told as in this process.
        with pytest.raises(EngineError, match="spectrum has the shape"):
            there.run(inputs[0][:, 1:], *inputs[1:])


@pytest.mark.parametrize("context", ["text", "none"])
def test_windows_are_those_of_this_process(tmp_path: Path, context: str) -> None:
    bundle = tiny_window_bundle(tmp_path / "window", with_context(context))
    spec, here = bundle.window_spec, open_window_engine(bundle, "ort")
    assert spec is not None
    rng = np.random.default_rng(2)
    shapes = (spec.context_vectors, spec.context_dim), (2, spec.bins, spec.frames)
    vectors, magnitude = (rng.standard_normal(s).astype(np.float32) for s in shapes)
    waveform = rng.standard_normal((2, spec.window_samples)).astype(np.float32)
    with closing(ChildWindowEngine(bundle)) as there:
        tokens = None
        if context != "none":
            tokens = np.stack([there.encode_context(vectors)] * 2)
        for actual, expected in zip(
            there.run(magnitude, waveform, tokens),
            here.run(magnitude, waveform, tokens),
            strict=True,
        ):
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_crash_is_a_sentence(tiny_bundle: Bundle) -> None:
    with closing(ChildEngine(tiny_bundle)) as there:
        os.kill(there._process.pid, signal.SIGSEGV)
        with pytest.raises(EngineError, match=r"ended with SIGSEGV .*exported graph.*report"):
            there.run(*tiny_inputs(tiny_model()))
    assert there._process.returncode == -signal.SIGSEGV


def test_closing_after_a_crash_is_quiet(tiny_bundle: Bundle) -> None:
    there = ChildEngine(tiny_bundle)
    assert there._process.stdin is not None
    there._process.kill()
    there._process.wait()
    there._process.stdin.write(b"waits to be sent")
    there.close()
    assert there._process.returncode == -signal.SIGKILL


def test_a_child_that_does_not_start_says_its_last_words(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(EngineError, match=r"ended with exit code \d+ .*exported graph, .+: report"):
        ChildEngine(tiny_bundle)


def test_a_graph_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    parts = bundle_parts(highlighters={"fp32": b"no graph"})
    bundle = write_bundle(tmp_path / "broken", **parts)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="cannot load the graph"):
        ChildEngine(bundle)
