"""ONNX to TensorRT engines, and what the compiled engines consist of."""

from semmix_export.tensorrt.builder import BuiltEngine, build
from semmix_export.tensorrt.layer import Layer
from semmix_export.tensorrt.layers import LayerTable, Product

__all__ = ["BuiltEngine", "Layer", "LayerTable", "Product", "build"]
