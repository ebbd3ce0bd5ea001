"""PyTorch files from anyone: read as tables of tensors and numbers, with nothing in them run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from semmix.errors import SemMixError, first_line


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
        # Files of PyTorch before 1.6 are no archives and cannot be mapped.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as exc:
        # PyTorch's own words advise to read it without the restriction.
        raise refused("it is damaged, or holds more than weights and numbers") from exc
    except (
        *(zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, AttributeError),
        *(IndexError, RuntimeError, ArithmeticError, MemoryError),
    ) as exc:
        raise refused(first_line(exc)) from exc


def _sized(count: int) -> str:
    return f"{count >> 30} GiB" if count >> 30 else f"{count >> 20} MiB"
