"""Building with TensorRT itself, as far as that goes without a GPU: its compiler is stood in for.

What is tested is that nothing of what a compilation gave is lost to what is told about it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from semmix_export.tensorrt import build, builder
from semmix_export.tensorrt.compile import Compiled
from semmix_export.tensorrt.layer_json import inspect_plan
from semmix_rt.cli.root import main
from semmix_rt.engines.trt.library import LIBRARIES
from support_trt import FakeDevice

from semmix.bundle import Bundle
from semmix.errors import EngineError

VERSION = "11.4.0"


class Compiler:
    """Plans are the graphs' own bytes; what was measured counts up."""

    def __init__(self) -> None:
        self.given: list[bytes] = []

    def __call__(self, library, graph, shapes, targets, timing_cache, batch) -> Compiled:
        self.given.append(timing_cache)
        return Compiled(graph, ("no table",), b"measured %d" % len(self.given))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(builder, "compile_graph", compiler)
    monkeypatch.setattr(builder, "load", lambda library: SimpleNamespace(__version__=VERSION))
    monkeypatch.setattr(builder, "Cuda", Gpu)
    tell(monkeypatch, lambda: json.dumps({"Layers": []}))
    return compiler


class Gpu(FakeDevice):
    def close(self) -> None:
        """Nothing was opened."""


def tell(patch: pytest.MonkeyPatch, information: Callable[[], str]) -> None:
    """What the inspector says of every plan."""
    patch.setattr(builder, "inspect_plan", lambda library, plan: information())


def row(bundle: Bundle) -> str:
    """One layer with one of the bundle's products, and one of another form."""
    gemm = {
        "Name": "mm",
        "LayerType": "gemm",
        "Inputs": [{"Name": "x", "Dimensions": [8, 96], "Format/Datatype": "Half"}],
        "Outputs": [],
        "Metadata": "",
    }
    return json.dumps({"Layers": [gemm, "a bare name"]})


def test_the_inspectors_table_lies_beside_the_plan(
    tiny_bundle: Bundle,
    tmp_path: Path,
    compiler: Compiler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell(monkeypatch, lambda: row(tiny_bundle))
    _, built = build(tiny_bundle, "tensorrt", folder=tmp_path)
    assert built.table is not None
    assert built.table.layers[0].computes_in == "Half"
    assert set(built.table.computed_in) == {"unknown"}
    assert "1 of the 2 layers" in caplog.text
    sidecar = json.loads(built.path.with_suffix(".json").read_text())
    assert sidecar["products"] == built.table.computed_in
    assert sidecar["parity"] == "not measured"
    _, again = build(tiny_bundle, "tensorrt", folder=tmp_path)
    assert (again.build_s, again.table) == (None, built.table)


def refuse() -> str:
    raise EngineError("the plan does not load")


@pytest.mark.parametrize("information", [lambda: "what is this?", refuse])
def test_an_engine_outlives_a_table_that_cannot_be_read(
    tiny_bundle: Bundle,
    tmp_path: Path,
    compiler: Compiler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    information: Callable[[], str],
) -> None:
    tell(monkeypatch, information)
    line = ["build", str(tiny_bundle.path), "--engine", "tensorrt", "-o", str(tmp_path)]
    assert main(line) == 0
    assert "stored without a table of its layers" in caplog.text
    assert capsys.readouterr().out.count("not told") == 2
    assert main([*line, "--layers", "--json"]) == 0
    context, mask = json.loads(capsys.readouterr().out)
    assert (context["build_s"], mask["table"], mask["products"]) == (None, None, None)
    assert Path(mask["path"]).read_bytes() == tiny_bundle.highlighter_graph()


def test_an_engine_outlives_whatever_happens_to_its_table(
    tiny_bundle: Bundle, tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash() -> str:
        raise KeyboardInterrupt

    tell(monkeypatch, crash)
    with pytest.raises(KeyboardInterrupt):
        build(tiny_bundle, "tensorrt", folder=tmp_path)
    tell(monkeypatch, lambda: row(tiny_bundle))
    context, _ = build(tiny_bundle, "tensorrt", folder=tmp_path)
    assert (context.build_s, context.table) == (None, None)


def test_a_kept_table_of_another_form_is_a_notice(
    tiny_bundle: Bundle, tmp_path: Path, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    _, built = build(tiny_bundle, "tensorrt", folder=tmp_path)
    sidecar = built.path.with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"table": [1]}))
    assert build(tiny_bundle, "tensorrt", folder=tmp_path)[1].table is None
    assert "kept without its table" in caplog.text


def test_measurements_go_from_one_compilation_to_the_next(
    tiny_bundle: Bundle, tmp_path: Path, compiler: Compiler
) -> None:
    build(tiny_bundle, "tensorrt", folder=tmp_path)
    build(tiny_bundle, "tensorrt", folder=tmp_path, rebuild=True)
    assert compiler.given == [b"", b"measured 1", b"measured 2", b"measured 3"]


@pytest.mark.parametrize("content", [b"", b"garbage" * 10])
def test_damaged_measurements_are_dropped_with_a_notice_and_replaced(
    tiny_bundle: Bundle,
    tmp_path: Path,
    compiler: Compiler,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    build(tiny_bundle, "tensorrt", folder=tmp_path)
    (cache,) = tmp_path.glob("*.cache")
    cache.write_bytes(content)
    compiler.given.clear()
    build(tiny_bundle, "tensorrt", folder=tmp_path, rebuild=True)
    assert compiler.given[0] == b""
    assert compiler.given[1] != b""
    assert caplog.text.count("TensorRT measures again") == 1


def test_measurements_that_cannot_be_kept_are_a_notice(
    tiny_bundle: Bundle, tmp_path: Path, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    build(tiny_bundle, "tensorrt", folder=tmp_path)
    (cache,) = tmp_path.glob("*.cache")
    cache.unlink()
    cache.mkdir()
    assert len(build(tiny_bundle, "tensorrt", folder=tmp_path, rebuild=True)) == 2
    assert "cannot be kept" in caplog.text


def test_the_inspector_is_asked_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    inspector = SimpleNamespace(get_engine_information=lambda form: f"told as {form}")
    engine = SimpleNamespace(create_engine_inspector=lambda: inspector)
    where = "semmix_export.tensorrt.layer_json"
    library = SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="json"), __version__="11")
    monkeypatch.setattr(f"{where}.load", lambda _: library)
    monkeypatch.setattr(f"{where}.deserialise", lambda _, plan: engine)
    assert inspect_plan(LIBRARIES["tensorrt"], b"plan") == "told as json"
    engine.create_engine_inspector = lambda: None
    with pytest.raises(EngineError, match="does not tell the layers"):
        inspect_plan(LIBRARIES["tensorrt"], b"plan")
