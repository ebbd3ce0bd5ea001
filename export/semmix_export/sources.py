"""What can be exported: a checkpoint, a bundle that carries its weights, or a name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from semmix.bundle import Bundle
from semmix.errors import ModelFormatError, UsageError
from semmix.nn import BaseSemMix, build
from semmix.nn.base.engine import network_from_bundle as base_from_bundle
from semmix.nn.base.engine import window_spec
from semmix.nn.engine import network_from_bundle as edge_from_bundle
from semmix.specs import WindowSpec
from semmix.training.checkpoint import Checkpoint, load_checkpoint

_SEED = 0
_OURS = frozenset({"config", "training", "versions", "precisions"})
"""Facts of a bundle that an export writes itself."""


@dataclass(frozen=True, slots=True)
class StreamSource:
    """A network that streams.

    Attributes:
        checkpoint: its configuration and weights.
        card: what is known of it for people, None for nothing.
        facts: what to keep of where it is from.
    """

    checkpoint: Checkpoint
    card: str | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WindowSource:
    """A network that hears whole windows; see `StreamSource`.

    Attributes:
        spec: how sound is cut for it.
    """

    network: BaseSemMix
    spec: WindowSpec
    card: str | None
    facts: dict[str, Any]


def open_source(source: str | Path) -> StreamSource | WindowSource:
    """Find out what is to be exported.

    Args:
        source: file that `semmix-rt train` wrote; a bundle, exported or imported with
            `--with-torch`; `edge` for the model that comes along; `base` for the paper's network
            with seeded weights, of which none are published.

    Raises:
        ModelFormatError: neither, or a bundle without weights for PyTorch.
    """
    path = Path(source)
    if not path.exists():
        if str(source) == "edge":
            return _from_bundle(Bundle.default())
        if str(source) == "base":
            return _untrained()
    if path.is_dir() or path.suffix == ".zip":
        return _from_bundle(Bundle.load(path))
    return StreamSource(load_checkpoint(path), None, {})


def with_chunk(source: StreamSource | WindowSource, chunk_s: float) -> StreamSource | WindowSource:
    """The same network for chunks, or windows, of another length.

    Args:
        source: from `open_source`.
        chunk_s: length. Chunks are rounded to whole steps of the network.

    Raises:
        UsageError: shorter than a step, or than a window can be.
    """
    if isinstance(source, WindowSource):
        return replace(source, spec=cut_windows(source.spec, chunk_s))
    config = source.checkpoint.config
    frame_s = config.hop_samples / config.sample_rate_hz
    kept = config.stride * round(chunk_s / frame_s / config.stride)
    if kept < config.stride:
        raise UsageError(
            f"a chunk of {chunk_s:g} s is shorter than a step of the network, which takes "
            f"{config.stride * frame_s:.3f} s: ask for longer chunks"
        )
    checkpoint = replace(source.checkpoint, config=replace(config, kept_frames=kept))
    return replace(source, checkpoint=checkpoint)


def cut_windows(spec: WindowSpec, window_s: float) -> WindowSpec:
    """Windows of another length, with a context vector a second.

    Edges take a tenth of a window each, as they do in the published ten seconds, and the
    cross-fade a twentieth.

    Raises:
        UsageError: windows too short for that.
    """
    samples = round(window_s * spec.audio.sample_rate_hz)
    edge, fade = samples // 10, samples // 20
    stride = (samples - 2 * edge - fade) // spec.hop_samples * spec.hop_samples
    cut = replace(
        spec,
        window_samples=samples,
        edge_samples=edge,
        stride_samples=stride,
        context_vectors=max(1, round(window_s)) if spec.context_vectors else 0,
    )
    try:
        cut.check()
    except ModelFormatError as exc:
        raise UsageError(
            f"a window of {window_s:g} s cannot be cut ({exc}): ask for another length"
        ) from exc
    return cut


def _from_bundle(bundle: Bundle) -> StreamSource | WindowSource:
    known = bundle.manifest.provenance
    facts = {key: value for key, value in known.items() if key not in _OURS}
    facts["exported_from"] = {"name": bundle.name, "sha256": bundle.sha256}
    card = bundle.read("MODEL_CARD.md").decode("utf-8")
    spec = bundle.window_spec
    if spec is not None:
        return WindowSource(base_from_bundle(bundle, spec), spec, card, facts)
    network = edge_from_bundle(bundle)
    weights = dict(network.state_dict())
    training = dict(known.get("training") or {})
    step = training.pop("step", 0)
    checkpoint = Checkpoint(network.config, int(step), training, weights, weights, {})
    return StreamSource(checkpoint, card, facts)


def _untrained() -> WindowSource:
    torch.manual_seed(_SEED)
    network = build("base").eval().requires_grad_(False)
    card = (
        "# base, untrained\n\nThe paper's architecture with seeded random weights, to try engines "
        "and measure speed with. Its masks mean nothing: import a published checkpoint for sound.\n"
    )
    return WindowSource(network, window_spec(network.config), card, {"untrained": {"seed": _SEED}})
