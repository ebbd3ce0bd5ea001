"""Where ONNX Runtime really put a network: a provider may start and leave the work to the CPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

from semmix.errors import ProviderError

RECORD = ("session.record_ep_graph_assignment_info", "1")
"""Session setting that has the placement recorded."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that nearly all of a network's arithmetic is in."""

TENSORRT = "TensorrtExecutionProvider"
"""The provider that compiles what it takes of a graph, instead of running node by node."""


def check_placement(session: Any, provider: str) -> None:
    """Refuse a session in which another provider computes products.

    Single other operators may run on the CPU, such as those on shapes, but not in the midst of
    what TensorRT compiles: cut into several engines, a network is handed back and forth, and
    each engine is built for whatever shapes come first. Versions of ONNX Runtime that do not tell
    where nodes are get by with having started.

    Args:
        session: made with `RECORD` set.
        provider: what was asked for.

    Raises:
        ProviderError: products are elsewhere, or the graph is cut.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return
    parts = session.get_provider_graph_assignment_info()
    placed: Counter[str] = Counter()
    for part in parts:
        products = sum(node.op_type in PRODUCTS for node in part.get_nodes())
        placed[str(part.ep_name)] += products
    elsewhere = {name: n for name, n in placed.items() if n and name != provider}
    if elsewhere:
        told = ", ".join(f"{n} on {name}" for name, n in sorted(elsewhere.items()))
        raise ProviderError(
            f"{provider} starts, but {sum(elsewhere.values())} of the network's "
            f"{placed.total()} products would run elsewhere ({told}): choose another precision, "
            "or --engine ort to run on the CPU"
        )
    compiled = sum(part.ep_name == TENSORRT for part in parts)
    if provider == TENSORRT and compiled != 1:
        raise ProviderError(
            f"{provider} starts, but would compile the network as {compiled} engines instead of "
            "one: use --engine tensorrt, or --engine ort-cuda"
        )
