"""The base network in PyTorch eager as an engine: the reference for all others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from semmix.bundle import Bundle
from semmix.errors import ModelFormatError
from semmix.nn.base.config import (
    CLIP_SAMPLES,
    CONTEXT_TOKENS,
    HOP_SAMPLES,
    N_FFT,
    SAMPLE_RATE_HZ,
    BaseConfig,
)
from semmix.nn.base.network import BaseSemMix
from semmix.nn.engine import WEIGHTS_FILE, as_array, load_network, refuse_other_precision
from semmix.specs import AudioSpec, WindowSpec

Float32 = NDArray[np.float32]

EDGE_SAMPLES = SAMPLE_RATE_HZ
"""A second at either end of a window is heard and thrown away: the published program, too, gives
out only nine of the ten seconds it hears."""

STRIDE_SAMPLES = 322 * HOP_SAMPLES
"""7.48 s: leaves half a second of cross-fade."""

_FREE = ("window_samples", "stride_samples", "edge_samples", "context_vectors")
"""What a bundle may choose: how sound is cut, and so how many vectors a window takes."""

_ENCODERS = {"text": "T5-XXL, pooled (as published)", "vision": "CLIP ViT-L/14", "none": ""}


def window_spec(config: BaseConfig) -> WindowSpec:
    """How the runtime feeds a network of these sizes: windows as long as a training clip."""
    dim = config.context_dim
    return WindowSpec(
        name=config.name,
        audio=AudioSpec(SAMPLE_RATE_HZ),
        n_fft=N_FFT,
        hop_samples=HOP_SAMPLES,
        window_samples=CLIP_SAMPLES,
        stride_samples=STRIDE_SAMPLES,
        edge_samples=EDGE_SAMPLES,
        context=config.context,
        context_dim=dim or 0,
        context_vectors=CONTEXT_TOKENS if dim else 0,
        token_dim=config.width if dim else 0,
        text_encoder=_ENCODERS[config.context],
    )


class TorchWindowEngine:
    """Run the network in PyTorch eager; the calls of `semmix_rt.engines.base.WindowEngine`."""

    name = "torch"
    provider = "cpu"
    precision = "fp32"

    def __init__(self, network: BaseSemMix, spec: WindowSpec, threads: int | None = None) -> None:
        self.network = network.eval()
        self.spec = spec
        if threads:
            torch.set_num_threads(threads)

    @classmethod
    def open(
        cls, bundle: Bundle, threads: int | None = None, precision: str = "fp32"
    ) -> TorchWindowEngine:
        """Load the network whose weights travel in a bundle.

        Raises:
            EngineMismatchError: another precision than fp32.
            ModelFormatError: the bundle has no weights for PyTorch, or they do not fit.
        """
        refuse_other_precision(precision)
        spec = bundle.window_spec
        assert spec is not None
        return cls(network_from_bundle(bundle, spec), spec, threads)

    @torch.inference_mode()
    def encode_context(self, vectors: Float32) -> Float32:
        """Tokens `[K, D']` of a window's context vectors `[K, D]`."""
        tokens = self.network.latent_transformer.encode_context(torch.from_numpy(vectors)[None])
        assert tokens is not None
        return as_array(tokens[0])

    @torch.inference_mode()
    def run(
        self, magnitude: Float32, waveform: Float32, tokens: Float32 | None
    ) -> tuple[Float32, Float32]:
        """Mask windows; see the protocol."""
        mask, wave = self.network.mask(
            torch.from_numpy(np.ascontiguousarray(magnitude))[:, None],
            torch.from_numpy(np.ascontiguousarray(waveform))[:, None],
            None if tokens is None else torch.from_numpy(np.ascontiguousarray(tokens)),
        )
        return as_array(mask[:, 0]), as_array(wave[:, 0])


def network_from_bundle(bundle: Bundle, spec: WindowSpec) -> BaseSemMix:
    """Rebuild the network of a bundle.

    Raises:
        ModelFormatError: the bundle carries no weights for PyTorch, or they do not fit its sizes.
    """
    if WEIGHTS_FILE not in bundle.manifest.files:
        raise ModelFormatError(
            f"{bundle.path} holds no {WEIGHTS_FILE}, so PyTorch cannot run it: use the ort engine, "
            "or import the checkpoint again with --with-torch"
        )

    def make() -> BaseSemMix:
        config = BaseConfig(**bundle.manifest.provenance["config"])
        cut = {name: getattr(spec, name) for name in _FREE}
        if replace(window_spec(config), **cut) != spec:
            raise ValueError("its configuration is not that of its spec")
        return BaseSemMix(config)

    return load_network(bundle, make, "import it again").requires_grad_(False)
