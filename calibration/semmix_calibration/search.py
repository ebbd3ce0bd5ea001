"""Which blocks INT8 costs the most: measured one by one, then left out until the rest is good.

The worst sound decides, not the mean: a network that is true to speech and not to a tone fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semmix.errors import ParityError
from semmix.metrics.agreement import snr_db
from semmix_calibration.int8 import Product

Float32 = NDArray[np.float32]
Noise = NDArray[np.float64]
"""Energy of the difference over that of the output, sound by sound."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How a network's output agrees with that of float32, by sound.

    Attributes:
        kinds: classes of the sounds, in their order.
        snr_db: of each.
    """

    kinds: tuple[str, ...]
    snr_db: tuple[float, ...]

    @property
    def worst_db(self) -> float:
        """Of the sound that fares worst."""
        return min(self.snr_db)

    @property
    def worst_kind(self) -> str:
        """Class of that sound."""
        return self.kinds[self.snr_db.index(self.worst_db)]

    def by_kind(self) -> dict[str, float]:
        """The worst of each class."""
        found: dict[str, float] = {}
        for kind, value in zip(self.kinds, self.snr_db, strict=True):
            found[kind] = min(value, found.get(kind, value))
        return found

    @property
    def noise(self) -> Noise:
        """See `Noise`; infinite where an output is not finite."""
        return 10.0 ** (-np.array(self.snr_db) / 10.0)


def accuracy(
    kinds: Iterable[str], reference: Iterable[Float32], other: Iterable[Float32]
) -> Accuracy:
    """Compare outputs sound by sound; -inf where one is not finite."""
    pairs = zip(reference, other, strict=True)
    return Accuracy(tuple(kinds), tuple(snr_db(r, o) for r, o in pairs))


@dataclass(frozen=True, slots=True)
class BlockCost:
    """What a block costs where it alone is INT8.

    Attributes:
        block: part of the network.
        found: agreement of the output with float32.
        share: of all the network's multiplications.
    """

    block: str
    found: Accuracy
    share: float


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """A choice of blocks, and what it gives.

    Attributes:
        kept: blocks that stay in FP16.
        share: of the network's multiplications in INT8.
        found: agreement of the output with float32.
    """

    kept: tuple[str, ...]
    share: float
    found: Accuracy


@dataclass(frozen=True, slots=True)
class Frontier:
    """What can be had, from all in INT8 to nothing.

    Attributes:
        target_db: that the worst sound is to have.
        costs: of each block alone, those that stay in INT8 the longest first.
        points: from the most INT8 to the least.
        chosen: the first point that meets the target; None where even the last misses it.
    """

    target_db: float
    costs: tuple[BlockCost, ...]
    points: tuple[FrontierPoint, ...]
    chosen: FrontierPoint | None


class TargetMissedError(ParityError):
    """No choice of blocks meets the target.

    Attributes:
        frontier: what was found all the same, which may be the work of an hour.
    """

    def __init__(self, frontier: Frontier) -> None:
        best = max((point.found for point in frontier.points), key=lambda found: found.worst_db)
        super().__init__(
            f"no choice of INT8 blocks reaches {frontier.target_db:g} dB on every sound, the best "
            f"has {best.worst_db:.1f} dB on {best.worst_kind}: lower the target, try another "
            "method, or stay with fp16"
        )
        self.frontier = frontier


Measure = Callable[[Sequence[Product]], Accuracy]
"""Agreement with float32 of the network with these products in INT8."""


def search(
    products: Sequence[Product],
    total_macs: int,
    alone: Measure,
    whole: Measure,
    target_db: float,
    tell: Callable[[], None] = lambda: None,
) -> Frontier:
    """Measure each block alone, then leave blocks out one by one and measure the rest.

    Args:
        products: that INT8 may help.
        total_macs: multiplications of the whole network.
        alone: the network with one block in INT8 and the rest in float32, whose errors would hide
            what a cheap block costs.
        whole: the network as it would be written, with the rest in its own precision.
        target_db: that the worst sound is to have.
        tell: is called after each measurement; `measurements` says how many there are.
    """
    by_block: dict[str, list[Product]] = {}
    for product in products:
        by_block.setdefault(product.block, []).append(product)
    macs = {block: sum(p.macs for p in members) for block, members in by_block.items()}
    cost: dict[str, Accuracy] = {}
    for block, members in by_block.items():
        cost[block] = alone(members)
        tell()
    order = removal_order({block: found.noise for block, found in cost.items()}, macs)
    points = []
    for count in range(len(order)):
        kept = order[:count]
        rest = [p for p in products if p.block not in kept]
        share = sum(p.macs for p in rest) / total_macs
        points.append(FrontierPoint(tuple(kept), share, whole(rest)))
        tell()
    costs = [BlockCost(b, cost[b], macs[b] / total_macs) for b in reversed(order)]
    chosen = next((point for point in points if point.found.worst_db >= target_db), None)
    return Frontier(target_db, tuple(costs), tuple(points), chosen)


def removal_order(noises: Mapping[str, Noise], macs: Mapping[str, int]) -> list[str]:
    """Blocks in the order in which they leave INT8.

    Noises of blocks add up where they are small. So the sound that would fare worst is known
    without a measurement, and the block leaves that costs it the most for its work.
    """
    left = dict(noises)
    order: list[str] = []
    while left:
        worst = int(np.argmax(np.sum(list(left.values()), axis=0)))
        dearest = max(left, key=lambda block: left[block][worst] / max(macs[block], 1))
        order.append(dearest)
        del left[dearest]
    return order


def measurements(products: Sequence[Product]) -> int:
    """How many measurements `search` takes."""
    return 2 * len({product.block for product in products})
