"""Context vectors that a data set brings along, one a second, as PyTorch files (VisAH, section 4).

Such a file comes from anyone: nothing in it is run, and no more of it is copied than is used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from semmix.errors import MediaError
from semmix.nn.restricted import is_dense, load_restricted

MAX_BYTES = 64 << 20
"""Ten minutes of the widest published vectors, in float64, weigh 20 MB."""


def read_features(path: Path, dim: int, most: int) -> NDArray[np.float32]:
    """The first vectors of a file.

    Args:
        path: of one tensor `[K, D]`, floats of any width.
        dim: width D that is expected.
        most: vectors to take.

    Returns:
        float32 `[min(K, most), D]`.

    Raises:
        MediaError: no such file, one that holds something else, NaN or infinity.
    """

    def refused(reason: str) -> MediaError:
        return MediaError(
            f"{path} cannot be used as context vectors ({reason}): replace it, or name an encoder "
            "to make them anew"
        )

    try:
        found = load_restricted(path, MAX_BYTES, refused)
    except OSError as exc:
        raise refused(exc.strerror or str(exc)) from exc
    if not isinstance(found, Tensor):
        raise refused(f"it holds a {type(found).__name__}, not a tensor")
    # Layout and type first: of sparse, quantised and meta tensors no rows can be taken.
    if not is_dense(found):
        raise refused(f"it is a tensor of {found.dtype} in the layout {found.layout}, not floats")
    if found.dim() != 2 or found.shape[1] != dim or not len(found):
        raise refused(f"it is a tensor {list(found.shape)}, not [seconds, {dim}]")
    # A view may repeat a number without end: what is not used stays a view.
    vectors = np.asarray(found.detach()[:most].to(torch.float32).contiguous().numpy())
    if not np.isfinite(vectors).all():
        raise refused("it holds NaN or infinity")
    return vectors.copy()
