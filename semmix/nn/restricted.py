"""PyTorch files from anyone: read as tables of tensors and numbers, with nothing in them run."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from semmix.errors import SemMixError, first_line

_FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_LEGACY_PICKLES = 5
"""A file of PyTorch before 1.6 is five pickles (a number, a version, its machine, the table, keys),
then the weights."""
_NO_TABLE = "it is damaged, or holds more than weights and numbers"


def load_restricted(path: Path, most_bytes: int, refused: Callable[[str], SemMixError]) -> Any:
    """What `torch.save` wrote, by PyTorch's restricted reader, by page where the file allows it.

    Tensors may be views that claim any size over little memory: hold shapes against what is
    wanted before anything of such a size is made.

    Args:
        path: of the file.
        most_bytes: it may have, and unpack to.
        refused: makes the error from the reason.

    Raises:
        OSError: it cannot be opened.
        SemMixError: that of `refused`: too large, damaged, or more than weights and numbers.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() or size > most_bytes:
            raise refused(f"it is no file of at most {_sized(most_bytes)}")
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:
                inflated = sum(info.file_size for info in archive.infolist())
                if inflated > most_bytes:
                    raise refused(f"it unpacks to {inflated} bytes")
                for info in archive.infolist():
                    # PyTorch finds its table in either case, and takes the first of two.
                    if info.filename.lower().endswith("data.pkl"):
                        with archive.open(info) as file:
                            _check_pickle(file)
        else:
            with path.open("rb") as file:
                for _ in range(_LEGACY_PICKLES):
                    _check_pickle(file)
        # Files of PyTorch before 1.6 are no archives and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as exc:
        # PyTorch's own words advise to read it without the restriction.
        raise refused(_NO_TABLE) from exc
    except (
        *(zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, AttributeError),
        *(IndexError, RuntimeError, ArithmeticError, MemoryError),
    ) as exc:
        raise refused(first_line(exc)) from exc


def is_dense(value: object) -> bool:
    """Whether something is a tensor of floats with memory of its own, or a view of such."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.dtype in _FLOATS
        and not value.is_meta
    )


def _check_pickle(file: IO[bytes]) -> None:
    """Refuse the one harmless call that fills memory of any size: `bytearray(n)`.

    All else that PyTorch's restricted reader may call reserves at most, and fails where it cannot.

    Raises:
        pickle.UnpicklingError: it is called, or this is no pickle.
    """
    try:
        for code, argument, _ in pickletools.genops(file):
            # The module has one name in Python 2 and another in 3; PyTorch knows both.
            if code.name == "GLOBAL" and str(argument).endswith(" bytearray"):
                raise pickle.UnpicklingError("a bytearray")
    except ValueError as exc:
        raise pickle.UnpicklingError(str(exc)) from exc


def _sized(count: int) -> str:
    return f"{count >> 30} GiB" if count >> 30 else f"{count >> 20} MiB"
