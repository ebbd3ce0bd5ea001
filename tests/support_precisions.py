"""A network in every precision, chosen on noise: quick, and as good as any to compile and run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from semmix_calibration import activations, fp16, int8
from semmix_calibration.graph import parse
from semmix_calibration.ranges import observe
from semmix_rt.engines.inputs import graph_shapes
from semmix_rt.engines.ort_placement import PRODUCTS

from semmix.bundle import Bundle


@dataclass(frozen=True)
class Graphs:
    """A network in every precision, and which of its products are meant to be in it.

    Attributes:
        half: products typed FP16 in `fp16`.
        integer: products with Q/DQ pairs in `int8`.
    """

    bundle: Bundle
    graphs: dict[str, bytes]
    half: frozenset[str]
    integer: frozenset[str]


def inputs(bundle: Bundle, seed: int) -> dict[str, NDArray[np.float32]]:
    """Noise as loud as sound; ranges decide here what is FP16, not how good it is."""
    rng = np.random.default_rng(seed)
    found = {
        name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in graph_shapes(bundle.manifest.spec, "highlighter").items()
    }
    for name in found.keys() & {"spectrum", "magnitude"}:
        found[name] = np.abs(found[name])
    if "weights" in found:
        found["weights"] = np.full_like(found["weights"], 1.0 / found["weights"].shape[-1])
    return found


def graphs_of(bundle: Bundle) -> Graphs:
    content = bundle.highlighter_graph()
    runs = [inputs(bundle, seed=0)]
    ranges = observe(content, runs)
    quantised = int8.products(content)
    calibrated = activations.collect(content, int8.activation_names(quantised), runs, "minmax")
    delicate = fp16.delicate_nodes(content, ranges)
    graphs = {
        "fp32": content,
        "fp16": fp16.typed(content, ranges),
        "int8": int8.quantise(content, quantised, calibrated),
    }
    all_products = {n.name for n in parse(content).nodes if n.op_type in PRODUCTS}
    return Graphs(
        bundle,
        graphs,
        half=frozenset(all_products - delicate),
        integer=frozenset(product.node for product in quantised),
    )
