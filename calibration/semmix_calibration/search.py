"""Which blocks INT8 costs the most: measured one by one, then left out until the rest is good."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.metrics.agreement import snr_db
from semmix_calibration.int8 import Product

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What a block costs where it alone is INT8.

    Attributes:
        block: part of the network.
        snr_db: of the masks against float32.
        share: of all the network's multiplications.
    """

    block: str
    snr_db: float
    share: float


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A choice of blocks, and what it gives.

    Attributes:
        kept: blocks that stay in FP16.
        share: of the network's multiplications in INT8.
        snr_db: of the masks against float32.
    """

    kept: tuple[str, ...]
    share: float
    snr_db: float


@dataclass(frozen=True, slots=True)
class Frontier:
    """What can be had, from all in INT8 to nothing.

    Attributes:
        costs: of each block alone, the cheapest first.
        points: from the most INT8 to the least.
        chosen: the first point that meets the target; None where even the last misses it.
    """

    costs: tuple[BlockCost, ...]
    points: tuple[FrontierPoint, ...]
    chosen: FrontierPoint | None


Measure = Callable[[Sequence[Product]], float]
"""SNR in dB of the masks of the network with these products in INT8."""


def masks_snr_db(reference: Iterable[Float32], other: Iterable[Float32]) -> float:
    """SNR of all clips' masks taken together; -inf where a mask is not finite.

    Together, because a clip of next to nothing would decide alone otherwise.
    """
    pairs = list(zip(reference, other, strict=True))
    return snr_db(
        np.concatenate([r.ravel() for r, _ in pairs]), np.concatenate([o.ravel() for _, o in pairs])
    )


def search(
    products: Sequence[Product],
    total_macs: int,
    measure: Measure,
    target_db: float,
    tell: Callable[[], None] = lambda: None,
) -> Frontier:
    """Measure each block, then leave blocks out in the order of noise for each multiplication.

    Args:
        products: that INT8 may help.
        total_macs: multiplications of the whole network.
        measure: see `Measure`; taken at each block and at each point.
        target_db: SNR that is asked for.
        tell: is called after each measurement; `measurements` says how many there are.
    """
    by_block: dict[str, list[Product]] = {}
    for product in products:
        by_block.setdefault(product.block, []).append(product)
    macs = {block: sum(p.macs for p in members) for block, members in by_block.items()}
    alone: dict[str, float] = {}
    for block, members in by_block.items():
        alone[block] = measure(members)
        tell()
    # Noises of blocks add up where they are small, so the dearest of them is known beforehand.
    order = sorted(by_block, key=lambda b: -(10.0 ** (-alone[b] / 10.0)) / max(macs[b], 1))
    points = []
    for count in range(len(order)):
        kept = order[:count]
        rest = [p for p in products if p.block not in kept]
        share = sum(p.macs for p in rest) / total_macs
        points.append(FrontierPoint(tuple(kept), share, measure(rest)))
        tell()
    costs = [BlockCost(b, alone[b], macs[b] / total_macs) for b in reversed(order)]
    chosen = next((point for point in points if point.snr_db >= target_db), None)
    return Frontier(tuple(costs), tuple(points), chosen)


def measurements(products: Sequence[Product]) -> int:
    """How many measurements `search` takes."""
    return 2 * len({product.block for product in products})
