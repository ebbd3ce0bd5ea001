"""Ranges of the activations that INT8 quantises: all of them, a percentile, or by entropy."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable

import numpy as np
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationMethod, TensorsData
from onnxruntime.quantization.calibrate import HistogramCollector

from semmix.errors import UsageError
from semmix_calibration.graph import parse
from semmix_calibration.ranges import Feeds
from semmix_calibration.sessions import exact_session

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
"""Ways to choose the range of an activation: all of it; all but the outermost
thousandth of a percent; or what keeps the most of its distribution (least Kullback-Leibler
divergence)."""

PERCENTILE = 99.999
_BINS = {"percentile": 2048, "entropy": 1024}
_LEVELS = 128
"""Magnitudes that eight signed bits can tell apart."""


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keep stdout clean: the histograms talk of themselves there, where results go."""
    return contextlib.redirect_stdout(io.StringIO())


def collect(
    content: bytes, names: Iterable[str], runs: Iterable[Feeds], method: str
) -> TensorsData:
    """Run a float32 graph and choose a range for each of the named tensors.

    Args:
        content: ONNX.
        names: tensors that nodes make, or inputs.
        runs: inputs; they are run one at a time, and only histograms are kept.
        method: a key of `METHODS`.

    Raises:
        UsageError: no such method.
        EngineError: ONNX Runtime fails on the graph.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method {method!r}: choose one of {', '.join(METHODS)}")
    wanted = list(dict.fromkeys(names))
    model = parse(content).model
    inputs = {value.name for value in model.graph.input}
    made = [name for name in wanted if name not in inputs]
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made
    )
    session = exact_session(model.SerializeToString()) if made else None
    found: dict[str, tuple[np.float32, np.float32]] = {}
    histograms = HistogramCollector(
        method=method,
        symmetric=True,
        num_bins=_BINS.get(method, _LEVELS),
        num_quantized_bins=_LEVELS,
        percentile=PERCENTILE,
        scenario="same",
    )
    for feeds in runs:
        results = session.run(None, dict(feeds)) if session is not None else []
        arrays = dict(zip(made, results, strict=True))
        arrays |= {name: feeds[name] for name in wanted if name in inputs}
        if method == "minmax":
            for name, array in arrays.items():
                low, high = found.get(name, (array.min(), array.max()))
                found[name] = (min(low, array.min()), max(high, array.max()))
        else:
            with _quiet():
                histograms.collect({name: [array] for name, array in arrays.items()})
    if method != "minmax":
        with _quiet():
            found = histograms.compute_collection_result()
    return TensorsData(METHODS[method], found)
