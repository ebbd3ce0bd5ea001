"""The precisions a mask network may come in, by name."""

from __future__ import annotations

from semmix.errors import UsageError

PRECISIONS = ("fp32", "fp16", "int8", "int8cpu")
"""fp32: float32 throughout. fp16: float16 but for the operations that need more, with float32
inputs and outputs. int8: symmetric Q/DQ with weights per channel, as TensorRT compiles it.
int8cpu: Q/DQ of reduced range, which the kernels of ONNX Runtime sum without overflow on
any CPU."""


def check_precision(name: str) -> str:
    """Return `name` if there is such a precision.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRECISIONS:
        raise UsageError(f"there is no precision {name!r}: choose one of {', '.join(PRECISIONS)}")
    return name
