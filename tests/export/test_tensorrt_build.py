"""`semmix-rt build`: engines on disk, found again, never half-built."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import semmix_export
from onnx import TensorProto, helper
from semmix_export.tensorrt import build
from semmix_rt.cli.root import main
from semmix_rt.engines.inputs import graph_shapes
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.library import LIBRARIES, load
from semmix_rt.engines.trt.plans import PlanFolder, PlanKey
from support_engine import bundle_parts
from support_window import tiny_window_bundle

from semmix.bundle import Bundle, write_bundle
from semmix.errors import (
    EngineError,
    EngineMismatchError,
    ModelFormatError,
    ProviderError,
    UsageError,
)

pytestmark = pytest.mark.trt

RANGES = (Batch(1, 2, 4), Batch())


def key_for(bundle: Bundle, precision: str, target: str) -> PlanKey:
    return PlanKey(
        model=bundle.name,
        graph="highlighter",
        graph_sha256=hashlib.sha256(bundle.highlighter_graph(precision)).hexdigest(),
        precision=precision,
        library="tensorrt-rtx",
        version=load(LIBRARIES["tensorrt-rtx"]).__version__,
        target=target,
        shapes=graph_shapes(bundle.spec, "highlighter"),
    )


def test_engines_are_built_described_and_found_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    told: list[str] = []
    built = build(tiny_bundle, targets=["sm86", "sm120"], folder=tmp_path, tell=told.append)
    assert [(b.graph, b.precision, b.target) for b in built] == [
        (graph, "fp32", target)
        for target in ("sm86", "sm120")
        for graph in ("context", "highlighter")
    ]
    assert told[0] == "context in fp32 for sm86"
    assert len(told) == 4
    mask = built[1]
    assert mask.build_s is not None
    assert mask.path.stat().st_size == mask.plan_bytes > 1000
    assert [p.operator for p in mask.table.products] == ["MatMul"] * len(mask.table.products)
    key = key_for(tiny_bundle, "fp32", "sm86")
    assert mask.path.name == f"{key.name}.plan"
    assert PlanFolder(tmp_path).load(key) == mask.path.read_bytes()
    sidecar = json.loads(mask.path.with_suffix(".json").read_text())
    assert sidecar["key"] == key.parts()
    assert sidecar["parity"] == "not measured"
    assert sidecar["products"] == mask.table.computed_in

    before = mask.path.stat().st_mtime_ns
    again = build(tiny_bundle, targets=["sm86"], folder=tmp_path)
    assert [b.build_s for b in again] == [None, None]
    assert again[1].table == mask.table
    assert mask.path.stat().st_mtime_ns == before
    anew = build(tiny_bundle, targets=["sm86"], folder=tmp_path, rebuild=True)
    assert all(b.build_s is not None for b in anew)
    assert mask.path.stat().st_mtime_ns > before


def test_a_range_of_streams_is_compiled_beside_a_single_one(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (_, single) = build(tiny_bundle, targets=["sm86"], folder=tmp_path)
    line = ["build", str(tiny_bundle.path), "--target", "sm86", "-o", str(tmp_path)]
    assert main([*line, "--batch", "1:2:4", "--json"]) == 0
    context, several = json.loads(capsys.readouterr().out)
    # Cues are encoded one segment at a time.
    assert (context["batch"], context["build_s"], several["batch"]) == ("1:1:1", None, "1:2:4")
    sidecar = json.loads(Path(several["path"]).with_suffix(".json").read_text())
    assert sidecar["key"]["batch"] == {"least": 1, "usual": 2, "most": 4}
    assert (
        sidecar["key"]["shapes"]
        == json.loads(single.path.with_suffix(".json").read_text())["key"]["shapes"]
    )
    key = key_for(tiny_bundle, "fp32", "sm86")
    assert PlanFolder(tmp_path).batches(key) == (Batch(), Batch(1, 2, 4))
    assert single.path.name == f"{key.name}.plan" != Path(several["path"]).name
    # What varies in the compiled engine is the batch, and a fixed one varies in nothing.
    varying = [build(tiny_bundle, targets=["sm86"], folder=tmp_path, batch=b)[1] for b in RANGES]
    shapes = [{t.shape[0] for la in b.table.layers for t in la.inputs} for b in varying]
    assert [-1 in sizes for sizes in shapes] == [True, False]
    assert main([*line, "--batch", "4:2:1"]) == UsageError.exit_code
    assert "least:usual:most" in capsys.readouterr().err


def spoil_plan(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def spoil_sidecar(plan: Path) -> None:
    plan.with_suffix(".json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [(spoil_plan, "its hash differs"), (spoil_sidecar, "does not describe its plan")],
)
def test_a_damaged_engine_is_replaced_by_the_command_that_its_refusal_names(
    tiny_bundle: Bundle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], None],
    told: str,
) -> None:
    path = build(tiny_bundle, targets=["sm86"], folder=tmp_path)[1].path
    spoil(path)
    plans, key = PlanFolder(tmp_path), key_for(tiny_bundle, "fp32", "sm86")
    with pytest.raises(EngineMismatchError, match=told) as caught:
        plans.load(key)
    command = str(caught.value).partition("build it with `semmix-rt ")[2].rstrip("`")
    command = command.replace("BUNDLE", str(tiny_bundle.path))
    assert main([*command.split(), "-o", str(tmp_path)]) == 0
    assert told in caplog.text
    assert plans.load(key) == path.read_bytes()


def test_a_bundle_may_be_a_path_or_a_name(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tiny_bundle.path is not None
    built = semmix_export.build(tiny_bundle.path, targets=["sm86"], folder=tmp_path)
    assert build(tiny_bundle, targets=["sm86"], folder=tmp_path)[1].path == built[1].path
    with pytest.raises(UsageError, match="'sm1'"):
        build("edge", targets=["sm1"], folder=tmp_path)
    with pytest.raises(ModelFormatError):
        build("no such model", targets=["sm86"], folder=tmp_path)


def test_windows_are_built_too(tmp_path: Path) -> None:
    bundle = tiny_window_bundle(tmp_path / "window")
    built = build(bundle, targets=["sm89"], folder=tmp_path / "engines")
    assert [(b.graph, b.target) for b in built] == [("context", "sm89"), ("highlighter", "sm89")]


def test_a_second_builder_waits_for_the_first(tiny_bundle: Bundle, tmp_path: Path) -> None:
    plans, key = PlanFolder(tmp_path), key_for(tiny_bundle, "fp32", "sm86")
    entered = threading.Event()

    def second() -> None:
        with plans.lock(key):
            entered.set()

    thread = threading.Thread(target=second)
    with plans.lock(key):
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"engine": "openvino"}, "no engine 'openvino' can be built"),
        ({"targets": ["sm90"]}, "does not compile for 'sm90'.*sm86"),
        ({"targets": ["sm86"], "precisions": ["int8cpu"]}, "int8cpu is made for ONNX Runtime"),
    ],
)
def test_what_cannot_be_built_is_refused_first(
    tiny_bundle: Bundle, tmp_path: Path, arguments: dict[str, object], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        build(tiny_bundle, folder=tmp_path, **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_without_a_gpu_the_target_must_be_named(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise ProviderError("no NVIDIA GPU starts on this machine")

    monkeypatch.setattr("semmix_export.tensorrt.builder.Cuda", none)
    with pytest.raises(ProviderError, match="no NVIDIA GPU starts"):
        build(tiny_bundle, folder=tmp_path)


def unknown_operator() -> bytes:
    numbers = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    nodes = [helper.make_node("NoSuchOperator", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "g", numbers[:1], numbers[1:])
    return helper.make_model(graph).SerializeToString()


@pytest.mark.parametrize(
    ("graph", "told"),
    [
        (b"\x00 no graph", "cannot compile the graph for sm86 .*report it"),
        (unknown_operator(), "cannot read the graph .*export the model again"),
    ],
)
def test_a_graph_that_does_not_compile_leaves_nothing(
    tmp_path: Path, graph: bytes, told: str
) -> None:
    parts = bundle_parts()
    parts["highlighters"] = {"fp32": graph}
    bundle = write_bundle(tmp_path / "broken", **parts)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=told):
        build(bundle, targets=["sm86"], folder=tmp_path / "engines")
    # The context encoder's engine alone is there.
    assert len(list((tmp_path / "engines").glob("*.plan"))) == 1
    assert len(list((tmp_path / "engines").glob("*.json"))) == 1


def test_a_graph_of_another_spec_is_refused(tmp_path: Path) -> None:
    parts = bundle_parts()
    highlighters = parts["highlighters"]
    assert isinstance(highlighters, dict)
    parts["context"] = highlighters["fp32"]
    bundle = write_bundle(tmp_path / "swapped", **parts)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="none the model's spec knows"):
        build(bundle, targets=["sm86"], folder=tmp_path / "engines")


def test_the_command_prints_a_table_layers_and_json(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["build", str(tiny_bundle.path), "--target", "sm86", "-o", str(tmp_path)]
    assert main(line) == 0
    table = capsys.readouterr().out
    assert "products computed in" in table
    assert "highlighter  fp32" in table
    assert str(tmp_path) in table
    assert main([*line, "--layers"]) == 0
    layers = capsys.readouterr().out
    assert " kept " in layers
    assert "gemm: Float[" in layers
    assert main([*line, "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [one["graph"] for one in plain] == ["context", "highlighter"]
    assert "table" not in plain[0]
    assert Path(plain[1]["path"]).is_file()


def test_the_command_refuses_in_one_sentence(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(tiny_bundle.path), "--target", "sm1"]) == UsageError.exit_code
    error = capsys.readouterr().err
    assert error.startswith("semmix-rt: error: TensorRT for RTX does not compile for 'sm1'")
    line = ["build", str(tiny_bundle.path), "--target", "sm86", "--precision", "fp16"]
    assert main(line) == 4
    assert "no fp16" in capsys.readouterr().err
