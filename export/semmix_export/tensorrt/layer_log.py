"""Layers as TensorRT for RTX logs them while it compiles, which needs no GPU."""

from __future__ import annotations

import re
from collections.abc import Iterable

from semmix.errors import EngineError
from semmix_export.tensorrt.layer import Layer, Tensor, onnx_nodes, unknown

_TABLE = "Layers:\n"
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[^\]]*)\].*?"
    r"Datatype: (?P<dtype>\w+)"
)
_LAYER = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: (?P<tactic>.*?), StreamId: .*?Metadata: ?(?P<nodes>.*)"
)


def logged_layers(messages: Iterable[str]) -> tuple[Layer, ...]:
    """Read the table among what the library said.

    Args:
        messages: of one compilation, with detailed profiling.

    Raises:
        EngineError: there is no table.
    """
    rows = [m.removeprefix(_TABLE) for m in messages if m.startswith(_TABLE)]
    if not rows:
        raise EngineError(
            "the library did not tell the layers of the engine it made: use a version of it that "
            "semmix-rt was tried with"
        )
    return tuple(parse_layer(line) for line in rows[-1].splitlines() if "LayerType: " in line)


def parse_layer(line: str) -> Layer:
    """Read a row of the table; one of another form is `unknown`."""
    match = _LAYER.fullmatch(line.strip())
    if match is None:
        return unknown(line)
    return Layer(
        match["name"],
        match["kind"],
        _tensors(match["inputs"]),
        _tensors(match["constants"]),
        _tensors(match["outputs"]),
        onnx_nodes(match["nodes"]),
    )


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(m["name"], tuple(int(n) for n in m["shape"].split(",") if n), m["dtype"])
        for m in _TENSOR.finditer(text)
    )
