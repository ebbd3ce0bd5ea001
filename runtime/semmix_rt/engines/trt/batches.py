"""How many streams or windows a plan runs at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from semmix.errors import UsageError
from semmix_rt.engines.inputs import Shapes

LARGEST = 256
"""What exported graphs allow."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The sizes of a plan's only profile.

    Nothing but these three is ever run, so that each can be proved: a number in between is filled
    up with zeros to the next.

    Attributes:
        least, most: the range of the profile.
        usual: what the library chooses its kernels for.
    """

    least: int = 1
    usual: int = 1
    most: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `N` for exactly so many, or `LEAST:USUAL:MOST`.

        Raises:
            UsageError: it is neither, or not in order from 1 up to `LARGEST`.
        """
        parts = text.split(":")
        if len(parts) in (1, 3) and all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts):
            least, usual, most = (int(part) for part in (parts * 3)[:3])
            if 1 <= least <= usual <= most <= LARGEST:
                return cls(least, usual, most)
        raise UsageError(
            f"a batch {text!r} cannot be: give a number such as 2, or least:usual:most such as "
            f"1:2:4, in this order and from 1 to {LARGEST}"
        )

    def __str__(self) -> str:
        return f"{self.least}:{self.usual}:{self.most}"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Those that are run, each once, the smallest first."""
        return tuple(sorted({self.least, self.usual, self.most}))

    def size_for(self, rows: int) -> int:
        """The smallest size that takes so many rows, at most `most`."""
        return min(size for size in self.sizes if size >= rows)


ONE = Batch()
"""One stream at a time, which is all that `remix` runs."""


def batched(shapes: Shapes, size: int) -> Shapes:
    """Shapes of `size` streams or windows at once, from those of one."""
    return {name: (size * shape[0], *shape[1:]) for name, shape in shapes.items()}
