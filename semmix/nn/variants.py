"""PyTorch in other forms than eager, as engines: what a benchmark holds beside the reference."""

from __future__ import annotations

import torch

from semmix.nn.base.engine import TorchWindowEngine
from semmix.nn.base.network import BaseSemMix
from semmix.nn.edge import EdgeSemMix
from semmix.nn.engine import TorchEngine
from semmix.specs import WindowSpec


class CompiledTorchEngine(TorchEngine):
    """A streaming network through `torch.compile`; the first calls compile, for minutes."""

    name = "torch-compile"

    def __init__(self, network: EdgeSemMix, threads: int | None = None) -> None:
        super().__init__(network, threads)
        # The wrapper hands on every attribute of the network that it wraps.
        self.network = torch.compile(self.network, dynamic=False)  # type: ignore[assignment]


class CompiledTorchWindowEngine(TorchWindowEngine):
    """A window network through `torch.compile`; the first calls compile, for minutes."""

    name = "torch-compile"

    def __init__(self, network: BaseSemMix, spec: WindowSpec, threads: int | None = None) -> None:
        super().__init__(network, spec, threads)
        # Masks are asked of the network by a method, which is what is compiled.
        compiled = torch.compile(self.network.mask, dynamic=False)
        self.network.mask = compiled  # type: ignore[method-assign]


class ChannelsLastTorchWindowEngine(TorchWindowEngine):
    """A window network with its images' channels innermost, as CPU convolutions like them."""

    name = "torch-channels-last"

    def __init__(self, network: BaseSemMix, spec: WindowSpec, threads: int | None = None) -> None:
        super().__init__(network, spec, threads)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
