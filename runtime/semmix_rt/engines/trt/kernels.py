"""Kernels that TensorRT for RTX compiles on the GPU, kept so that the next start need not.

Its plans hold kernels in a portable form; the first run on a GPU compiles them, which takes
seconds. What came of that can be kept and given to a later process. The library itself refuses
what was made by another version, GPU or older driver; whatever is wrong with it, the kernels are
compiled again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semmix_rt.engines.trt.sealed import read_sealed, write_sealed
from semmix_rt.engines.trt.trust import distrust

_LOG = logging.getLogger(__name__)


class KernelCache:
    """The compiled kernels of one plan on one GPU.

    They are code: none is taken that is not as it was written, or that others may have written.
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
            write_sealed(self._path, content)
        except OSError as exc:
            _LOG.warning(
                "compiled kernels cannot be kept in %s (%s): the next start takes as long",
                self._path.parent,
                exc.strerror or exc,
            )
        self._kept = content

    def _read(self) -> bytes:
        """The library's bytes, none where there are none or not those that were written."""
        content, why = read_sealed(self._path)
        why = why or distrust(self._path.parent, self._path)
        if why:
            self._drop(why)
            return b""
        return content

    def _drop(self, reason: str) -> None:
        _LOG.warning(
            "kernels are compiled again, as %s cannot be used (%s)", self._path.name, reason
        )
