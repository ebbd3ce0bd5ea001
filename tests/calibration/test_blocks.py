"""Which part of the network a node belongs to: told by its name, in older graphs by weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from semmix_calibration import int8
from semmix_calibration.graph import blocks, parse
from semmix_export.graphs import write_graph
from support_graph import graph_of
from torch import Tensor, nn


class Layer(nn.Module):
    """A norm and a product, as fresh transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.project = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.project(self.norm(x)))


class Network(nn.Module):
    """Three equal layers and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.head = nn.Linear(16, 32)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Whole(nn.Module):
    """What is exported lies inside another module, as in `semmix_export`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)


@pytest.fixture(scope="module")
def equal(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A network all of whose weights are equal from layer to layer."""
    network = Network()
    for layer in network.layers:
        layer.load_state_dict(network.layers[0].state_dict())
    path = tmp_path_factory.mktemp("blocks") / "equal.onnx"
    batch = {0: torch.export.Dim("batch", min=1, max=8)}
    write_graph(Whole(network), (torch.ones(3, 5, 16),), path, ["x"], ["y"], {"x": batch})
    return path.read_bytes()


def test_equal_weights_do_not_hide_where_a_node_belongs(equal: bytes) -> None:
    graph = parse(equal)
    products = [node for node in graph.nodes if node.op_type in ("MatMul", "Gemm")]
    # Equal weights are one initialiser, whose name is that of the first layer.
    assert len({node.input[1] for node in products}) == 2
    found = blocks(graph)
    assert Counter(found[node.name] for node in products) == {
        **{f"layers.{i}": 1 for i in range(3)},
        "head": 1,
    }
    norms = [node for node in graph.nodes if node.op_type == "LayerNormalization"]
    assert [found[node.name] for node in norms] == [f"layers.{i}" for i in range(3)]


def test_names_of_nodes_are_of_one_node_each_and_begin_with_its_module(equal: bytes) -> None:
    names = [node.name for node in onnx.load_from_string(equal).graph.node]
    assert len(set(names)) == len(names)
    assert {name.rpartition("/")[0] for name in names} >= {
        *(f"layers.{i}.{part}" for i in range(3) for part in ("norm", "project")),
        "head",
    }
    assert not any("network" in name or "node_" in name for name in names)


def test_older_graphs_tell_it_by_weights() -> None:
    node = helper.make_node
    eye = np.eye(16, dtype=np.float32)
    content = graph_of(
        [
            node("Relu", ["x"], ["r"], name="node_relu"),
            node("MatMul", ["r", "network.encoder.0.project.weight"], ["a"], name="node_linear"),
            node("Tanh", ["a"], ["t"], name="node_tanh"),
            # Transposed weights have lost their name, their bias has not.
            node("MatMul", ["t", "val_3"], ["b"], name="node_MatMul_7"),
            node("Add", ["b", "network.head.bias"], ["y"], name="node_linear_1"),
        ],
        {"x": ["B", 16]},
        {"y": ["B", 16]},
        {
            "network.encoder.0.project.weight": eye,
            "val_3": 2.0 * eye,
            "network.head.bias": np.ones(16, np.float32),
        },
    )
    assert blocks(parse(content)) == {
        "node_relu": "input",
        "node_linear": "encoder.0",
        "node_tanh": "encoder.0",
        "node_MatMul_7": "head",
        "node_linear_1": "head",
    }
    assert {p.node: p.block for p in int8.products(content)} == {"node_MatMul_7": "head"}
