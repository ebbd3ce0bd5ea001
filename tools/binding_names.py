"""Write down which names TensorRT's Python bindings have, for tests that have no TensorRT.

    pip download --no-deps tensorrt-cu13-bindings==11.4.0.106   # and unzip it
    cd tests/runtime/bindings
    python ../../../tools/binding_names.py .../tensorrt_bindings/tensorrt.so > tensorrt-11.4

The bindings are on PyPI, the libraries behind them are not. They are not needed for this: bindings
load beside empty libraries of the same names (`libnvinfer.so.11`, `libnvonnxparser.so.11`,
`libnvinfer_plugin.so.11`), found by LD_LIBRARY_PATH, whose few functions that `nm -D
--undefined-only tensorrt.so` lists as neither Python's nor the system's return null.

A line for each class: its name, and its members, each with the class that it is or returns. Layers,
plugins, refitters and calibrators are left out: nothing here is made of them.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from types import ModuleType

_LEFT_OUT = re.compile(r"^I\w+Layer$|Plugin|Refit|Calibrator|Algorithm|Gpu|Dims|Permutation|FieldT")
_RETURNS = re.compile(r"-> (?:\w+\.)*(\w+)")


def loaded(path: str) -> ModuleType:
    """The module of bindings at a path."""
    name = path.rsplit("/", 1)[-1].partition(".")[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no module: give the bindings' .so")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines(module: ModuleType) -> Iterator[str]:
    """The lines of one library's bindings."""
    classes = {
        name: value
        for name, value in sorted(vars(module).items())
        if isinstance(value, type) and not _LEFT_OUT.search(name)
    }
    for name, kind in classes.items():
        members = [_member(kind, m, classes) for m in sorted(dir(kind)) if not m.startswith("_")]
        yield f"{name}: {' '.join(members)}".rstrip(": ")
        for inner, value in sorted(vars(kind).items()):
            if isinstance(value, type) and not inner.startswith("_"):
                found = " ".join(m for m in sorted(dir(value)) if not m.startswith("_"))
                yield f"{name}.{inner}: {found}"


def _member(kind: type, name: str, classes: dict[str, type]) -> str:
    value = getattr(kind, name)
    if isinstance(value, property):
        value = value.fget
    told = _RETURNS.search((getattr(value, "__doc__", None) or "").partition("\n")[0])
    return f"{name}={told[1]}" if told and told[1] in classes else name


if __name__ == "__main__":
    print("\n".join(lines(loaded(sys.argv[1]))))
