"""dIB: how much a remix changes what sound and picture have in common (VisAH, section 5.1).

The published numbers come from ImageBind, whose weights may not be used commercially and do not
come along. Any model that embeds pictures and sounds in one space serves; wrap it as

    class MyImageBind:
        def embed_pictures(self, paths):          # pictures of one clip, in order of time
            return self.model(images(paths))      # [T, D]
        def embed_sound(self, signal, rate_hz):   # one channel [N], full scale 1
            return self.model(sound(signal))      # [D]

and name what makes it: `semmix-rt evaluate --ib-model my_module:MyImageBind`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from semmix.errors import EngineError, UsageError
from semmix.metrics.signals import Float64


class PictureSoundModel(Protocol):
    """Embeds pictures and sounds in one space; embeddings need no unit length."""

    def embed_pictures(self, paths: Sequence[Path]) -> ArrayLike:
        """One row for each picture file, `[T, D]`."""
        ...

    def embed_sound(self, signal: Float64, rate_hz: int) -> ArrayLike:
        """One vector for a clip of one channel `[N]`, `[D]`."""
        ...


def agreement(pictures: ArrayLike, sound: ArrayLike) -> float:
    """Mean cosine of a sound with the pictures of its clip, -1 to 1.

    Args:
        pictures: embeddings `[T, D]`.
        sound: embedding `[D]`.

    Raises:
        UsageError: the shapes do not fit, a value is not finite, or an embedding is zero.
    """
    rows = np.asarray(pictures, dtype=np.float64)
    vector = np.asarray(sound, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] == 0 or vector.shape != rows.shape[1:]:
        raise UsageError(
            f"embeddings of the shapes {rows.shape} and {vector.shape} do not fit: pictures are "
            "[T, D], a sound is [D]"
        )
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise UsageError("an embedding is zero, NaN or infinite: its direction is not defined")
    return float(np.mean(rows @ vector / lengths))


def dib(pictures: ArrayLike, reference_sound: ArrayLike, estimate_sound: ArrayLike) -> float:
    """Distance of the agreement with the pictures from the reference's, 0 to 2.

    Args:
        pictures: embeddings of the clip's frames `[T, D]`.
        reference_sound: embedding of the target `[D]`.
        estimate_sound: embedding of the clip to compare `[D]`.

    Returns:
        the distance. Published tables show it times `PUBLISHED_SCALE`.

    Raises:
        UsageError: as `agreement`.
    """
    return abs(agreement(pictures, reference_sound) - agreement(pictures, estimate_sound))


def load_picture_sound_model(name: str) -> PictureSoundModel:
    """Make a model from the name of what makes it.

    Args:
        name: `module:callable`, importable from where Python looks; called without arguments.

    Raises:
        UsageError: the name does not lead to a `PictureSoundModel`.
        EngineError: making it failed.
    """
    module_name, separator, attribute = name.partition(":")
    if not separator or not attribute:
        raise UsageError(f"{name!r} names no model: write module:callable")
    try:
        make = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise UsageError(
            f"{name} cannot be imported ({exc}): put its folder on PYTHONPATH"
        ) from exc
    try:
        model = make()
    except Exception as exc:  # a user's own code
        raise EngineError(f"{name}() failed ({type(exc).__name__}: {exc}): mend it") from exc
    for method in ("embed_pictures", "embed_sound"):
        if not callable(getattr(model, method, None)):
            raise UsageError(
                f"what {name}() returns has no method {method}: see semmix.metrics.dib"
            )
    return cast(PictureSoundModel, model)
