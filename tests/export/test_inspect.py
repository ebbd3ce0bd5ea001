"""`inspect`: what it says of bundles and engines, held against PyTorch's own counting."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from semmix_export import Inspection, inspect
from semmix_export.graph_facts import graph_facts
from semmix_export.graphs import example_inputs
from semmix_export.inspection import EngineFacts
from semmix_rt.cli.root import main
from support_engine import bundle_parts
from support_window import TINY_WINDOW, tiny_window_bundle
from torch.utils.flop_counter import FlopCounterMode

from semmix.bundle import Bundle, write_bundle
from semmix.errors import ModelFormatError


def looked_at(target: object) -> Inspection:
    found = inspect(target)  # type: ignore[arg-type]
    assert isinstance(found, Inspection)
    return found


def test_a_bundle_is_told_in_numbers(exported) -> None:
    found = looked_at(exported.bundle.path)
    spec = exported.bundle.spec
    assert found.sha256 == exported.bundle.sha256
    assert found.spec == spec
    assert found.latency_ms == pytest.approx(1e3 * spec.latency_samples / 48_000)
    assert f"= {spec.latency_samples} samples at 48000 Hz" in found.latency_formula
    fp32 = found.precisions["fp32"]
    assert fp32.verified
    assert fp32.parity == exported.bundle.parity["fp32"]
    graph = onnx.load_from_string(exported.bundle.highlighter_graph()).graph
    assert sum(fp32.graph.nodes.values()) == len(graph.node)
    assert fp32.graph.opset == 20
    assert fp32.graph.sha256 == exported.bundle.manifest.files["highlighter.fp32.onnx"].sha256
    assert found.torch_weights
    assert found.context is not None
    assert found.provenance["licence"] == "CC-BY-SA-3.0"


def test_arithmetic_is_what_pytorch_counts(exported) -> None:
    network, spec = exported.network, exported.bundle.spec
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(*example_inputs(spec, batch=1).values())
    found = looked_at(exported.bundle)
    macs = found.precisions["fp32"].graph.macs
    # The graph's head knows the sources by how their logits differ: it spares the first one's.
    config = network.config
    bins = sum(group.bands * group.bins for group in config.groups)
    spared = spec.chunk.kept_frames * config.channels * bins
    # A multiply-accumulate is two of PyTorch's operations; the exporter folds products of weights.
    assert macs == pytest.approx(counter.get_total_flops() / 2 - spared, rel=0.02)
    chunk_s = spec.chunk.kept_frames * spec.stft.hop_samples / 48_000
    assert found.macs_per_s == pytest.approx(macs / chunk_s)


def layer(kind: str, weights: list[tuple[int, ...]], x: tuple[int, ...], **attributes) -> bytes:
    """One operator with zero weights."""
    names = [f"w{i}" for i in range(len(weights))]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", *names], ["y"], **attributes)],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", *x[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(torch.zeros(w).numpy(), n)
            for n, w in zip(names, weights, strict=True)
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString()


@pytest.mark.parametrize(
    ("content", "module", "x"),
    [
        (
            layer("Conv", [(6, 2, 3, 5)], (1, 4, 10, 12), group=2, strides=[2, 1]),
            torch.nn.Conv2d(4, 6, (3, 5), (2, 1), groups=2, bias=False),
            (1, 4, 10, 12),
        ),
        (
            layer("ConvTranspose", [(4, 3, 8)], (1, 4, 10), strides=[4]),
            torch.nn.ConvTranspose1d(4, 3, 8, 4, bias=False),
            (1, 4, 10),
        ),
        (
            layer("MatMul", [(7, 9)], (1, 5, 7)),
            torch.nn.Linear(7, 9, bias=False),
            (1, 5, 7),
        ),
    ],
    ids=["Conv", "ConvTranspose", "MatMul"],
)
def test_each_layer_is_counted(content: bytes, module: torch.nn.Module, x: tuple[int, ...]) -> None:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(x))
    facts = graph_facts(content, "", "a layer")
    assert facts.macs == counter.get_total_flops() // 2
    assert facts.parameters == sum(p.numel() for p in module.parameters())
    assert facts.weight_types == {"float": facts.parameters}


def test_an_lstm_is_counted_step_by_step() -> None:
    """Both ways, 11 steps: the four gates' weights for input and state."""
    graph = helper.make_graph(
        [
            helper.make_node(
                "LSTM", ["x", "w", "r"], ["y"], hidden_size=5, direction="bidirectional"
            )
        ],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [11, 1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(torch.zeros(2, 20, 3).numpy(), "w"),
            numpy_helper.from_array(torch.zeros(2, 20, 5).numpy(), "r"),
        ],
    )
    opsets = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, ir_version=9, opset_imports=opsets)
    facts = graph_facts(model.SerializeToString(), "", "an LSTM")
    assert facts.macs == 11 * 2 * 20 * (3 + 5)


def test_models_of_windows_are_told_likewise(tmp_path: Path) -> None:
    found = looked_at(tiny_window_bundle(tmp_path / "tiny"))
    assert found.spec == TINY_WINDOW
    assert "window 1000 + 1 = 1001 samples" in found.latency_formula
    assert not found.torch_weights
    assert found.to_dict()["model_kind"] == "window"


def test_the_command_names_what_was_not_proved(
    exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = exported.bundle.highlighter_graph()
    bundle = exported.bundle.add_precision(
        "int8", graph, parity={"passed": False, "snr_db": 12.5}, provenance={}, to=tmp_path / "own"
    )
    path = bundle.add_precision("fp16", graph, parity={}, provenance={"tool": "typed"}).path
    assert main(["inspect", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in (
        "48000 Hz",
        "GMAC",
        "state      encoder0",
        "DOES NOT AGREE",
        "to 12.5 dB",
        "opset",
    ):
        assert words in out
    assert main(["inspect", str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["kind"] == "bundle"
    assert data["precisions"]["fp16"]["provenance"] == {"tool": "typed"}
    assert [p for p, facts in data["precisions"].items() if facts["verified"]] == ["fp32"]
    assert data == json.loads(json.dumps(inspect(path).to_dict()))


def test_an_engine_is_told_by_its_sidecar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "abc.plan"
    plan.write_bytes(b"compiled")
    digest = hashlib.sha256(b"compiled").hexdigest()
    sidecar = {"key": {"model": "edge", "target": "sm86"}, "plan": {"sha256": digest, "bytes": 8}}
    plan.with_suffix(".json").write_text(json.dumps(sidecar))
    found = inspect(plan)
    assert found == EngineFacts(plan, 8, digest, True, sidecar)
    assert main(["inspect", str(plan)]) == 0
    out = capsys.readouterr().out
    assert "as it was built" in out
    assert "target: sm86" in out
    plan.write_bytes(b"exchanged")
    assert main(["inspect", str(plan)]) == 0
    assert "NOT WHAT THE SIDECAR SPEAKS OF" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"[]", b"{", b"[" * 200_000])
def test_engines_without_a_sidecar_are_refused(tmp_path: Path, content: bytes | None) -> None:
    plan = tmp_path / "abc.plan"
    plan.write_bytes(b"compiled")
    if content is not None:
        plan.with_suffix(".json").write_bytes(content)
    with pytest.raises(ModelFormatError, match=r"abc\.json"):
        inspect(plan)


def test_what_is_neither_is_refused(exported, tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="there is no bundle at"):
        inspect(tmp_path / "nowhere")
    odd = exported.bundle.add_precision(
        "fp16", b"\xff\xff no graph", parity={}, provenance={}, to=tmp_path / "odd"
    )
    with pytest.raises(ModelFormatError, match=r"highlighter\.fp16\.onnx in .* not an ONNX graph"):
        inspect(odd)


def graph_of(*nodes: onnx.NodeProto, shapes: dict[str, list[int]], **parts) -> bytes:
    """A graph of any nodes over inputs of these shapes, valid or not."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "odd", inputs, outputs, **parts)
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    "content",
    [
        graph_of(helper.make_node("MatMul", ["x", "y"], ["z"]), shapes={"x": [], "y": []}),
        graph_of(helper.make_node("MatMul", [], ["z"]), shapes={}),
        graph_of(helper.make_node("MatMul", ["x", "x"], []), shapes={"x": [2, 2]}),
        graph_of(helper.make_node("Gemm", ["x"], ["z"], transA=1), shapes={"x": []}),
        graph_of(helper.make_node("Conv", ["x"], ["z"]), shapes={"x": [2]}),
        graph_of(helper.make_node("ConvTranspose", ["x"], ["z"]), shapes={"x": [2]}),
        graph_of(helper.make_node("LSTM", ["x", "x", "x"], ["z"]), shapes={"x": [2]}),
        graph_of(helper.make_node("Einsum", ["x"], ["z"]), shapes={"x": [2, 2]}),
        graph_of(
            helper.make_node("Einsum", ["x", "x"], ["z"], equation="...i,...i->..."),
            shapes={"x": [2, 2]},
        ),
        graph_of(helper.make_node("Einsum", ["x"], ["z"], equation=b"\xff"), shapes={"x": [2]}),
        graph_of(helper.make_node("Einsum", ["x"], ["z"], equation="i,j"), shapes={"x": [2]}),
    ],
)
def test_arithmetic_of_a_graph_that_cannot_be_is_not_known(content: bytes) -> None:
    assert graph_facts(content, "", "the graph").macs is None


@pytest.mark.parametrize(
    "weight", [TensorProto(name="w", data_type=777), TensorProto(name="w", data_type=1, dims=[-5])]
)
def test_weights_that_cannot_be_are_refused(weight: TensorProto) -> None:
    node = helper.make_node("Identity", ["x"], ["z"])
    content = graph_of(node, shapes={"x": [2]}, initializer=[weight])
    with pytest.raises(ModelFormatError, match=r"^odd\.onnx holds a weight of type .* export"):
        graph_facts(content, "", "odd.onnx")


def test_what_a_file_says_never_acts_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"t\x1b[2Jool": "red\x1b[31m\x1b]0;title\x07\u202eover\x9b", "n": {"a\nb": ["\r"]}}
    parts = bundle_parts() | {"provenance": said}
    bundle = write_bundle(tmp_path / "own", **parts)
    for options in ([], ["--json"]):
        assert main(["inspect", str(bundle.path), *options]) == 0
        out = capsys.readouterr().out
        assert out.replace("\n", "").isprintable()
        assert "over" in out
    assert json.loads(out)["provenance"] == said
    plan = tmp_path / "abc.plan"
    plan.write_bytes(b"compiled")
    plan.with_suffix(".json").write_text(json.dumps({"key": "\x1b[2J"}))
    assert main(["inspect", str(plan)]) == 0
    assert "key: \\x1b[2J" in capsys.readouterr().out


def test_the_model_that_comes_along_has_a_name() -> None:
    assert looked_at("edge").path == Bundle.default().path
