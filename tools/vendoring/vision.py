"""Google's TFLite image models -> ONNX graphs with small weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import tflite2onnx
from onnx import TensorProto, helper, numpy_helper

from vendoring.compress import compress_weights


def _from_tflite(published: bytes) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.tflite"), Path(folder, "model.onnx")
        source.write_bytes(published)
        tflite2onnx.convert(str(source), str(target))
        model = onnx.load(target)
    # The converter keeps weights in a set: sorted, every run gives the same bytes.
    weights = sorted(model.graph.initializer, key=lambda tensor: str(tensor.name))
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def _rename(model: onnx.ModelProto, names: dict[str, str]) -> None:
    for node in model.graph.node:
        node.input[:] = [names.get(n, n) for n in node.input]
        node.output[:] = [names.get(n, n) for n in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    del model.graph.value_info[:]


def _store_half(model: onnx.ModelProto) -> None:
    """Store initialisers that FP16 holds exactly as FP16, and widen them when loading."""
    kept: list[TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16) if value.dtype == np.float32 else None
        if half is None or value.size < 64 or not np.array_equal(half.astype(np.float32), value):
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
        casts.append(
            helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT)
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def convert_classifier(published: bytes) -> bytes:
    """EfficientNet-Lite0 with INT8 weights, FP32 arithmetic.

    Returns:
        ONNX file: `image` float32 [1, 3, 224, 224], RGB, `(x - 127) / 128` -> `probabilities`
        float32 [1, 1000].
    """
    model = _from_tflite(published)
    _rename(
        model,
        {model.graph.input[0].name: "image", model.graph.output[0].name: "probabilities"},
    )
    compress_weights(model, min_elements=4_000)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def convert_faces(published: bytes) -> bytes:
    """BlazeFace full range; its weights were published in FP16 and are kept so, exactly.

    Returns:
        ONNX file: `image` float32 [1, 3, 192, 192], RGB in [-1, 1] -> `boxes` float32
        [1, 2304, 16], `scores` float32 [1, 2304, 1] (logits).
    """
    model = _from_tflite(published)
    names = {model.graph.input[0].name: "image"}
    for value in model.graph.output:
        last = value.type.tensor_type.shape.dim[-1].dim_value
        names[value.name] = "boxes" if last == 16 else "scores"
    _rename(model, names)
    _store_half(model)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
