"""PyTorch eager as an inference engine: the reference every other engine is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn

from semmix.bundle import Bundle
from semmix.errors import EngineMismatchError, ModelFormatError
from semmix.nn.edge import EdgeSemMix, config_from_dict
from semmix.specs import ModelSpec

Float32 = NDArray[np.float32]
State = tuple[Float32, ...]
Network = TypeVar("Network", bound=nn.Module)

WEIGHTS_FILE = "network.safetensors"


class TorchEngine:
    """Run a network in PyTorch eager; the calls of `semmix_rt.engines.base.Engine`."""

    name = "torch"
    provider = "cpu"
    precision = "fp32"

    def __init__(self, network: EdgeSemMix, threads: int | None = None) -> None:
        self.network = network.eval()
        self.spec: ModelSpec = network.config.spec()
        if threads:
            torch.set_num_threads(threads)

    @classmethod
    def open(
        cls, bundle: Bundle, threads: int | None = None, precision: str = "fp32"
    ) -> TorchEngine:
        """Load the network whose weights travel in a bundle.

        Raises:
            EngineMismatchError: another precision than fp32.
            ModelFormatError: the bundle has no weights, or they do not fit.
        """
        refuse_other_precision(precision)
        return cls(network_from_bundle(bundle), threads)

    @torch.inference_mode()
    def encode_context(self, embeddings: Float32) -> Float32:
        """Context tokens `[N, K, D]` of embeddings `[N, K, E]`."""
        return as_array(self.network.context_encoder(torch.from_numpy(embeddings)))

    def initial_state(self, batch: int = 1) -> State:
        """Zero state for `batch` streams."""
        return tuple(np.zeros((batch, *s.shape), np.float32) for s in self.spec.state)

    @torch.inference_mode()
    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk; see the protocol."""
        inputs = (torch.from_numpy(np.ascontiguousarray(a)) for a in (spectrum, tokens, weights))
        mask, *after = self.network(*inputs, *(torch.from_numpy(s) for s in state))
        return as_array(mask), tuple(as_array(s) for s in after)


def refuse_other_precision(precision: str) -> None:
    """PyTorch is the reference and runs the weights as they were trained.

    Raises:
        EngineMismatchError: another precision than fp32.
    """
    if precision != "fp32":
        raise EngineMismatchError(
            f"the torch engine runs fp32 and no {precision}: choose another engine, such as "
            "--engine ort, or --precision fp32"
        )


def network_from_bundle(bundle: Bundle) -> EdgeSemMix:
    """Rebuild the PyTorch network of a bundle.

    Raises:
        ModelFormatError: the bundle carries no weights, or they do not fit its sizes.
    """

    def make() -> EdgeSemMix:
        config = config_from_dict(bundle.manifest.provenance["config"])
        if config.spec() != bundle.spec:
            raise ValueError("its configuration is not that of its spec")
        return EdgeSemMix(config)

    return load_network(bundle, make, "export it again")


def load_network(bundle: Bundle, make: Callable[[], Network], remedy: str) -> Network:
    """A network with the weights that travel in a bundle, ready to run.

    Args:
        bundle: where the weights are.
        make: builds the network of the bundle's sizes, or raises what is wrong with them.
        remedy: what to do about a bundle that does not serve.

    Raises:
        ModelFormatError: the bundle carries no weights, or they do not fit its sizes.
    """
    try:
        # Sizes are held against the weights before anything of such sizes is made.
        with torch.device("meta"):
            network = make()
        network.load_state_dict(weights_of(bundle), assign=True)
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as exc:
        raise ModelFormatError(
            f"{bundle.path}: no PyTorch network can be made of this bundle "
            f"({str(exc).splitlines()[0]}): {remedy}, or use the ort engine"
        ) from exc
    return network.float().eval()


def weights_of(bundle: Bundle) -> dict[str, Tensor]:
    """The weights that travel in a bundle, by name.

    Raises:
        ModelFormatError: it carries none, or they are damaged.
    """
    try:
        return load_safetensors(bundle.read(WEIGHTS_FILE))
    except (SafetensorError, KeyError, ValueError) as exc:
        raise ModelFormatError(
            f"{bundle.path}: its PyTorch weights cannot be read ({str(exc).splitlines()[0]}): "
            "export it again with weights"
        ) from exc


def as_array(tensor: Tensor) -> Float32:
    """A tensor's values, contiguous."""
    return np.ascontiguousarray(tensor.numpy())
