"""`golden.npz`: the inputs and outputs that pin a network down, read without trust.

NumPy's own reader allocates whatever an array header claims, so the headers are held against
the bytes that are really there first.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from semmix.bundle.zips import ZIP_ERRORS, checked_entries
from semmix.errors import ModelFormatError

_MAX_ARRAYS = 64
_MAX_TOTAL_BYTES = 512 << 20
_REPAIR = "export the model again"


def parse_golden(content: bytes, where: str) -> dict[str, NDArray[np.float32]]:
    """Arrays of a golden file by name, each float32 and finite.

    Raises:
        ModelFormatError: not an npz, too large, another dtype, not finite, or damaged.
    """
    arrays: dict[str, NDArray[np.float32]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = checked_entries(archive)
            total = sum(info.file_size for info in infos)
            if len(infos) > _MAX_ARRAYS or total > _MAX_TOTAL_BYTES:
                raise ModelFormatError(
                    f"{where} holds {len(infos)} arrays of {total} bytes, more than any model "
                    f"needs: {_REPAIR}"
                )
            for info in infos:
                name = info.filename.removesuffix(".npy")
                arrays[name] = _parse_array(archive.read(info), f"{name} in {where}")
    except ZIP_ERRORS as exc:
        raise ModelFormatError(f"{where} is not a NumPy archive ({exc}): {_REPAIR}") from exc
    return arrays


def golden_bytes(arrays: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The bytes of a golden file.

    Raises:
        ModelFormatError: an array the reader would refuse.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]
    content = buffer.getvalue()
    parse_golden(content, "golden.npz")
    return content


def _parse_array(content: bytes, where: str) -> NDArray[np.float32]:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ModelFormatError(f"{where} has array format {version}: {_REPAIR}")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype != np.dtype("<f4"):
            raise ModelFormatError(f"{where} is {dtype}, not float32: {_REPAIR}")
        if any(n < 0 for n in shape) or math.prod(shape) * 4 != len(content) - stream.tell():
            raise ModelFormatError(f"{where} claims the shape {shape} it does not have: {_REPAIR}")
        stream.seek(0)
        array: NDArray[np.float32] = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, TypeError, SyntaxError) as exc:
        raise ModelFormatError(f"{where} is not a NumPy array ({exc}): {_REPAIR}") from exc
    if not np.isfinite(array).all():
        raise ModelFormatError(f"{where} holds numbers that are not finite: {_REPAIR}")
    return array
