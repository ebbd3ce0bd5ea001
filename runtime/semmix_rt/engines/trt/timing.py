"""What TensorRT measured while it compiled, kept so that the next compilation need not.

It saves time and decides nothing: whatever is wrong with it, the library measures again.
"""

from __future__ import annotations

import logging
from pathlib import Path

from semmix_rt.engines.trt.sealed import read_sealed, write_sealed

_LOG = logging.getLogger(__name__)


class TimingCache:
    """The measurements for one version of the library on one kind of GPU.

    Attributes:
        content: the library's bytes of earlier compilations, empty where there are none.
    """

    def __init__(self, path: Path | None) -> None:
        """Keep them in `path`, which need not exist; None for a library that measures nothing."""
        self._path = path
        self.content = b""
        if path is not None:
            self.content, why = read_sealed(path)
            if why:
                _LOG.warning("TensorRT measures again, as %s cannot be used (%s)", path, why)

    def keep(self, content: bytes) -> None:
        """Replace the measurements by these, which hold the earlier ones as well."""
        if self._path is None or not content or content == self.content:
            return
        try:
            write_sealed(self._path, content)
        except OSError as exc:
            _LOG.warning(
                "what TensorRT measured cannot be kept in %s (%s): the next build takes as long",
                self._path.parent,
                exc.strerror or exc,
            )
