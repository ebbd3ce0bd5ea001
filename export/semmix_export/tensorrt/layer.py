"""One layer of a compiled engine, whichever way the library told of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "unknown"
"""A layer's kind, or a type, that could not be read."""

_NODE = re.compile(r"\[ONNX Layer: (.*?)\]")
_DEQUANTISES = re.compile(r"Cast(?:Cast)*Mul.*(?:Fc|Gemm|Corr|Deco)")
_FUSED_PRODUCT = re.compile(r"Fc|Gemm|Corr|Deco")
# Kernels written for products, such as `CaskConvActPool` and `CaskGemmMatrixMultiply`, and not
# `CaskPooling`.
_PRODUCT_KIND = re.compile(r"gemm|correlation|deconv|\w*(?:Conv|Deconv|Gemm|MatrixMultiply)\w*")
_FUSIONS = frozenset({"fusion", "runtime_fusion"})
_ELEMENT_WISE = frozenset({"kgen", "PointWise", "PointWiseV2", "ElementWise", *_FUSIONS})


@dataclass(frozen=True, slots=True)
class Tensor:
    """A layer's input, constant or output.

    Attributes:
        name: the library's.
        shape: -1 where it varies.
        dtype: `Float`, `Half`, `Int8` and others, or `UNKNOWN`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of the table.

    Attributes:
        name: the library's; a fusion's says what it does. Of a row that could not be read, its
            beginning.
        kind: the library's: `gemm`, `kgen`, `runtime_fusion`, `CaskConvolution` and others, or
            `UNKNOWN`.
        inputs, constants, outputs: tensors.
        nodes: names of the ONNX nodes it came from.
    """

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[str, ...]

    @property
    def computes_in(self) -> str:
        """Type of the factors of the layer's product: `Int8`, `Half`, `Float`, or a mixture.

        `UNKNOWN` where the types of its tensors are not told.
        """
        operands = {t.dtype for t in (*self.inputs, *self.constants) if len(t.shape) > 1}
        # Scales and biases are vectors with axes of one; a product's factors are not.
        factors = {
            t.dtype for t in (*self.inputs, *self.constants) if sum(n != 1 for n in t.shape) > 1
        } or operands
        if "Int8" in factors and _DEQUANTISES.search(self.name):
            return "Float"
        return UNKNOWN if not factors or UNKNOWN in factors else "/".join(sorted(factors))

    @property
    def multiplies(self) -> bool:
        """Whether it computes a product; others may carry its node's name for its scales."""
        if _PRODUCT_KIND.fullmatch(self.kind):
            return True
        # Attention as a whole: its two products, and the softmax between them.
        if "_gemm_mha" in self.name:
            return True
        return self.kind in _FUSIONS and _FUSED_PRODUCT.search(self.name) is not None

    @property
    def element_wise(self) -> bool:
        """Whether it is a kernel of element-wise operations."""
        return self.kind in _ELEMENT_WISE


def unknown(row: str) -> Layer:
    """A row that could not be read, with what can be found in it."""
    return Layer(" ".join(row.split())[:120], UNKNOWN, (), (), (), onnx_nodes(row))


def onnx_nodes(metadata: str) -> tuple[str, ...]:
    """Names of the ONNX nodes that both libraries write among a layer's metadata."""
    return tuple(_NODE.findall(metadata))
