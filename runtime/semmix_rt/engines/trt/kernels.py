"""Kernels that TensorRT for RTX compiles on the GPU, kept so that the next start need not.

Its plans hold kernels in a portable form; the first run on a GPU compiles them, which takes
seconds. What came of that can be kept and given to a later process. The library itself refuses
what was made by another version, GPU or older driver; whatever is wrong with it, the kernels are
compiled again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semmix.atomic import write_atomically

_LOG = logging.getLogger(__name__)
_DIGEST_BYTES = 32
_MAX_BYTES = 1 << 30


class KernelCache:
    """The compiled kernels of one plan on one GPU.

    The file is a SHA-256 and the library's own bytes, which are code: none is taken that is not as
    it was written.
    """

    def __init__(self, path: Path) -> None:
        """Keep them in `path`, which need not exist."""
        self._path = path
        self._cache: Any = None
        self._kept = b""

    def contexts(self, trt: Any, engine: Any) -> Callable[[], Any]:
        """A maker of execution contexts for `engine` that take kernels from here."""
        config = engine.create_runtime_config()
        # A recorded run repeats the kernels it saw: it must not see stand-ins for later ones.
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        self._cache = config.create_runtime_cache()
        content = self._read()
        if content and not self._cache.deserialize(content):
            self._drop("it was made by another version, GPU or driver")
            content = b""
        self._kept = content
        config.set_runtime_cache(self._cache)
        return lambda: engine.create_execution_context(runtime_config=config)

    def keep(self) -> None:
        """Write what the contexts compiled, if that is not what was read."""
        content = bytes(memoryview(self._cache.serialize()))
        if content == self._kept:
            return
        try:
            write_atomically(self._path, hashlib.sha256(content).digest() + content)
        except OSError as exc:
            _LOG.warning(
                "compiled kernels cannot be kept in %s (%s): the next start takes as long",
                self._path.parent,
                exc.strerror or exc,
            )
        self._kept = content

    def _read(self) -> bytes:
        """The library's bytes, none where there are none or not those that were written."""
        try:
            if self._path.stat().st_size > _MAX_BYTES:
                self._drop("it is larger than any could be")
                return b""
            stored = self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as exc:
            self._drop(exc.strerror or str(exc))
            return b""
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            self._drop("its hash differs")
            return b""
        return content

    def _drop(self, reason: str) -> None:
        _LOG.warning(
            "kernels are compiled again, as %s cannot be used (%s)", self._path.name, reason
        )
