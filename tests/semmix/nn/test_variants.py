"""PyTorch in other forms than eager gives what eager gives."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tolerances
import torch
from support_base import noise
from support_checkpoint import small_base

from semmix.dsp import windows
from semmix.nn.base.engine import TorchWindowEngine, window_spec
from semmix.nn.variants import ChannelsLastTorchWindowEngine, CompiledTorchWindowEngine


@pytest.mark.parametrize("variant", [ChannelsLastTorchWindowEngine, CompiledTorchWindowEngine])
def test_windows_are_masked_as_by_eager(
    variant: type[TorchWindowEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The whole way through the tracer, without waiting for a C++ compiler.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    spec = replace(window_spec(small_base("text").config), window_samples=40_000)
    eager = TorchWindowEngine(small_base("text"), spec)
    engine = variant(small_base("text"), spec, threads=1)
    assert engine.name in ("torch-channels-last", "torch-compile")
    vectors = noise(10, 4096, seed=2).numpy()
    tokens = eager.encode_context(vectors)[None]
    np.testing.assert_allclose(engine.encode_context(vectors)[None], tokens)
    analysis = windows.analyse(0.2 * noise(1, 1, 40_000)[0, 0].numpy(), spec)
    inputs = analysis.magnitude[None], analysis.waveform[None], tokens
    for found, expected in zip(engine.run(*inputs), eager.run(*inputs), strict=True):
        scale = float(expected.std())
        np.testing.assert_allclose(
            found / scale, expected / scale, rtol=0.0, atol=tolerances.WINDOW_FLOAT32
        )
