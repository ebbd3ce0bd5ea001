"""The exported graphs, held against the network in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tolerances
import torch
from onnx import TensorProto
from semmix_rt.engines import open_engine
from semmix_rt.engines.base import Engine
from support_training import masked, network_inputs

from semmix.nn import EdgeSemMix

FRAMES, SEGMENTS = 16, 4


@pytest.fixture(scope="module")
def engine(exported) -> Engine:
    return open_engine(exported.bundle, "ort", threads=1)


@pytest.fixture(scope="module", params=["context", "highlighter"])
def graph(exported, request: pytest.FixtureRequest) -> onnx.ModelProto:
    bundle = exported.bundle
    content = bundle.context_graph() if request.param == "context" else bundle.highlighter_graph()
    return onnx.load_from_string(content)


def snr_db(reference: np.ndarray, other: np.ndarray) -> float:
    if np.array_equal(reference, other):
        return float("inf")
    difference = np.sum((reference.astype(np.float64) - other) ** 2)
    return float(10.0 * np.log10(np.sum(reference.astype(np.float64) ** 2) / difference))


def spectrum_of(kind: str, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    spectrum = torch.zeros(batch, FRAMES, 1025)
    if kind == "noise":
        spectrum = 0.1 * torch.randn(batch, FRAMES, 1025, generator=generator).abs()
    elif kind == "impulse":
        # A click lies under two frames, with all bins alike.
        spectrum[:, 6:8] = 2.0 / 1024.0
    elif kind == "full scale":
        spectrum[:, :, 40:43] = torch.tensor([0.5, 1.0, 0.5])
        spectrum[:, 8:] += 1.0
    return spectrum


# --- Agreement ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("kind", ["noise", "silence", "impulse", "full scale"])
def test_masks_and_state_agree_with_pytorch_over_many_chunks(
    exported, engine: Engine, kind: str, batch: int
) -> None:
    network = exported.network
    state, expected_state = engine.initial_state(batch), network.initial_state(batch)
    for chunk in range(4):
        _, tokens, weights = network_inputs(network, batch, FRAMES, SEGMENTS, seed=chunk)
        spectrum = spectrum_of(kind, batch)
        mask, state = engine.run(spectrum.numpy(), tokens.numpy(), weights.numpy(), state)
        found = masked(network, spectrum, tokens, weights, *expected_state)
        expected_state = found.state
        assert snr_db(found.mask.numpy(), mask) >= tolerances.EXPORT_SNR_DB
        for ours, theirs in zip(state, expected_state, strict=True):
            assert snr_db(theirs.numpy(), ours) >= tolerances.EXPORT_SNR_DB


@pytest.mark.parametrize("segments", [1, 2, 9])
def test_context_tokens_agree_with_pytorch(exported, engine: Engine, segments: int) -> None:
    embeddings = np.random.default_rng(1).standard_normal((segments, 6, 384)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
    embeddings[0, 2] = 0.0  # unknown
    with torch.no_grad():
        expected = exported.network.context_encoder(torch.from_numpy(embeddings)).numpy()
    assert snr_db(expected, engine.encode_context(embeddings)) >= tolerances.EXPORT_SNR_DB


def test_every_weight_of_the_network_reaches_the_graph(exported, engine: Engine) -> None:
    """A graph that took one for a constant of its example would agree with the wrong network."""
    inputs = network_inputs(exported.network, 1, FRAMES, SEGMENTS)
    expected = masked(exported.network, *inputs).mask.numpy()
    mask, _ = engine.run(*(t.numpy() for t in inputs), engine.initial_state())
    assert snr_db(expected, mask) >= tolerances.EXPORT_SNR_DB
    other = EdgeSemMix(exported.network.config)
    assert snr_db(masked(other.eval(), *inputs).mask.numpy(), mask) < 40.0


def test_the_torch_engine_of_the_bundle_is_the_same_network(exported, engine: Engine) -> None:
    reference = open_engine(exported.bundle, "torch")
    assert reference.spec == engine.spec == exported.network.config.spec()
    arrays = [t.numpy() for t in network_inputs(exported.network, 2, FRAMES, SEGMENTS)]
    expected, _ = reference.run(*arrays, reference.initial_state(2))
    mask, _ = engine.run(*arrays, engine.initial_state(2))
    assert snr_db(expected, mask) >= tolerances.EXPORT_SNR_DB


# --- What the files are -------------------------------------------------------------------------


def dimensions(value: onnx.ValueInfoProto) -> list[int | str]:
    assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_graphs_are_of_opset_20_and_plain_onnx(graph: onnx.ModelProto) -> None:
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 20)]
    assert not graph.functions
    assert {node.domain for node in graph.graph.node} == {""}
    onnx.checker.check_model(graph, full_check=True)


def test_weights_lie_in_the_file_itself(graph: onnx.ModelProto) -> None:
    assert len(graph.graph.initializer) > 5
    for weight in graph.graph.initializer:
        assert weight.data_location == TensorProto.DEFAULT
        assert not weight.external_data


def test_no_shapes_of_the_example_are_stamped_on_the_graph(graph: onnx.ModelProto) -> None:
    assert len(graph.graph.value_info) == 0


def test_no_traces_of_the_exporting_machine_are_left(graph: onnx.ModelProto) -> None:
    content = graph.SerializeToString()
    for trace in (b"site-packages", b".py", str(Path.cwd()).encode(), str(Path.home()).encode()):
        assert trace not in content
    assert not any(n.metadata_props or n.doc_string for n in graph.graph.node)


def test_the_batch_is_symbolic_and_all_else_is_fixed(exported) -> None:
    bundle = exported.bundle
    spec = bundle.spec
    states = {s.name: list(s.shape) for s in spec.state}
    highlighter = onnx.load_from_string(bundle.highlighter_graph()).graph
    ours = {value.name: dimensions(value) for value in highlighter.input}
    (batch,) = {shape.pop(0) for shape in ours.values()}
    assert isinstance(batch, str)
    assert ours == {
        "spectrum": [FRAMES, 1025],
        "tokens": [SEGMENTS, 6, 32],
        "weights": [FRAMES, SEGMENTS],
        **states,
    }
    results = {value.name: dimensions(value) for value in highlighter.output}
    assert {shape.pop(0) for shape in results.values()} == {batch}
    assert results == {"mask": [FRAMES, 1025], **{f"next_{n}": s for n, s in states.items()}}
    assert list(results) == ["mask", *(f"next_{s.name}" for s in spec.state)]

    context = onnx.load_from_string(bundle.context_graph()).graph
    ((name, given),) = [(v.name, dimensions(v)) for v in context.input]
    ((result, tokens),) = [(v.name, dimensions(v)) for v in context.output]
    assert (name, given[1:]) == ("embeddings", [6, 384])
    assert (result, tokens[1:]) == ("tokens", [6, 32])
    assert isinstance(given[0], str)
    assert given[0] == tokens[0]


def test_exporting_says_nothing_about_packages_it_does_not_need(exported) -> None:
    assert exported.warnings == ()
