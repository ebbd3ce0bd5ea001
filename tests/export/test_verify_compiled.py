"""`verify` of compiled engines: records beside the plans, and what `remix` makes of them.

On a GPU that is none, where a plan is its own ONNX graph; see `support_trt`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile
from semmix_export import verification, verify
from semmix_rt import Remixer, remix
from semmix_rt.cli.root import main
from semmix_rt.engines import open_engine
from semmix_rt.engines.trt.batches import Batch
from semmix_rt.engines.trt.engine import TensorrtRtxEngine
from semmix_rt.engines.trt.plans import FOLDER_VARIABLE, PlanFolder, StoredPlan
from support_export import a_little_off, with_weight
from support_gate import only
from support_parity import record_of
from support_remix import nothing_left, programme
from support_trt import FakeDevice, key_of, stand_in, store

from semmix.bundle import Bundle
from semmix.cues.types import CueSheet
from semmix.errors import EngineMismatchError, ParityError, UsageError

ENGINE = "tensorrt-rtx"


@pytest.fixture(autouse=True)
def _few_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sounds themselves are tested with the gate."""
    monkeypatch.setattr(verification, "gate_sounds", only("speech"))


@dataclass(frozen=True)
class Built:
    """A bundle whose fp16 is another network, with its plans; nothing is proved."""

    bundle: Bundle
    plans: dict[str, StoredPlan]

    def parity(self, precision: str) -> object:
        path = self.plans[precision].path.with_suffix(".json")
        return json.loads(path.read_text())["parity"]

    def remixer(self, precision: str = "fp32", **options: object) -> Remixer:
        return Remixer(
            48_000, 1, model=self.bundle.path, engine=ENGINE, precision=precision, **options
        )  # type: ignore[arg-type]


@pytest.fixture
def built(exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    stand_in(monkeypatch, FakeDevice())
    bundle = exported.bundle.save(tmp_path / "own")
    wrong = a_little_off(bundle.highlighter_graph())
    bundle = bundle.add_precision("fp16", wrong, parity=record_of(wrong), provenance={})
    store(bundle, "context")
    return Built(bundle, {name: store(bundle, "highlighter", name) for name in ("fp32", "fp16")})


def test_records_lie_beside_the_plans_and_decide(built: Built) -> None:
    before = built.bundle.sha256
    with pytest.raises(ParityError, match=r"fp32 has never been compared .*on this GPU.*verify"):
        built.remixer()
    found = verify(built.bundle, engine=ENGINE)
    assert (found.kept, found.passed) == ("engines", False)
    assert [(r.name, r.passed) for r in found.results] == [("fp32", True), ("fp16", False)]
    assert Bundle.load(built.bundle.path).sha256 == before
    for result in found.results:
        kept = built.parity(result.precision)
        assert isinstance(kept, dict)
        assert result.record.items() <= kept.items()
        assert kept["fallback_runs"] == 0
        assert kept["plan_sha256"] == built.plans[result.precision].sidecar["plan"]["sha256"]
    built.remixer()
    # That its graph passed in ONNX Runtime, as the bundle says, does not help.
    with pytest.raises(ParityError, match=r"in fp16 failed its comparison .*--precision fp16`"):
        built.remixer("fp16")
    with pytest.warns(UserWarning, match="in fp16 failed .* may be wrong"):
        built.remixer("fp16", allow_unverified=True)


def test_an_engine_that_gives_no_numbers_fails(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each of its chunks is computed anew in float32, which agrees with PyTorch perfectly."""
    graph = with_weight(built.bundle.highlighter_graph(), "head.bias", math.nan)
    bundle = built.bundle.add_precision(
        "fp16", graph, parity=record_of(graph), provenance={}, replace=True
    )
    store(bundle, "highlighter", "fp16")
    found = verify(bundle, engine=ENGINE, precisions=["fp16"])
    assert [r.passed for r in found.results] == [True, False]
    broken = found.results[1]
    assert broken.parity.snr_db > 90.0
    assert broken.record["fallback_runs"] > 0
    assert len(broken.parity.failures) == 1
    with pytest.raises(ParityError, match="in fp16 failed its comparison"):
        built.remixer("fp16")
    line = ["verify", str(bundle.path), "--engine", ENGINE, "--precision", "fp16"]
    assert main(line) == ParityError.exit_code
    out, err = capsys.readouterr()
    assert "outside the gate: fp32 took over in" in out
    assert "runs that gave no numbers" in err


def test_fp32_is_proved_along_as_what_others_turn_to(built: Built) -> None:
    found = verify(built.bundle, engine=ENGINE, precisions=["fp16"], write=False)
    assert [r.precision for r in found.results] == ["fp32", "fp16"]
    assert found.kept == ""
    assert built.parity("fp32") == built.parity("fp16") == "not measured"


def test_a_record_is_about_one_plan_one_context_and_one_gpu(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(built.bundle, engine=ENGINE, precisions=["fp32"])
    sidecar = built.plans["fp32"].path.with_suffix(".json")
    proved = sidecar.read_bytes()
    built.remixer()
    for part, other in (
        ("plan_sha256", "0" * 64),
        ("context_sha256", "0" * 64),
        ("provider", "TensorRT for RTX 1.7.0 on Other GPU"),
        ("passed", "yes"),
    ):
        content = json.loads(proved)
        content["parity"][part] = other
        sidecar.write_text(json.dumps(content))
        with pytest.raises(ParityError):
            built.remixer()
    sidecar.write_bytes(proved)
    built.remixer()
    # Built again, it is another plan, even of the same graph.
    store(built.bundle, "highlighter")
    with pytest.raises(ParityError, match="never been compared"):
        built.remixer()


def test_every_batch_that_may_run_is_proved_in_each_of_its_sizes(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify(built.bundle, engine=ENGINE, precisions=["fp32"])
    store(built.bundle, "highlighter", batch=Batch(2, 3, 5))
    with pytest.raises(ParityError, match="fp32 for 2:3:5 streams at once has never"):
        built.remixer()
    heard: list[int] = []
    run = TensorrtRtxEngine.run

    def listening(engine, spectrum, *rest):  # type: ignore[no-untyped-def]
        heard.append(len(spectrum))
        return run(engine, spectrum, *rest)

    monkeypatch.setattr(TensorrtRtxEngine, "run", listening)
    found = verify(built.bundle, engine=ENGINE, precisions=["fp32"])
    assert [r.name for r in found.results] == ["fp32", "fp32 2:3:5"]
    assert {2, 3, 5} <= set(heard)
    assert set(found.to_dict()["precisions"]) == {"fp32", "fp32 2:3:5"}
    built.remixer()


def test_a_plan_that_is_built_while_it_is_compared_gets_no_record(built: Built) -> None:
    engine = open_engine(built.bundle, ENGINE)
    assert isinstance(engine, TensorrtRtxEngine)
    key, content = key_of(built.bundle, "highlighter")
    PlanFolder().store(key, content[:-1], {"parity": "not measured"})
    with pytest.raises(EngineMismatchError, match="built again while it was compared"):
        engine.keep_parity({"passed": True})
    assert built.parity("fp32") == "not measured"


def test_remix_refuses_and_reports(built: Built, tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    source = films / "in.wav"
    soundfile.write(source, programme(0.6).T, 48_000, subtype="FLOAT")
    with nothing_left(films), pytest.raises(ParityError, match="never been compared"):
        remix(source, model=built.bundle.path, engine=ENGINE)
    options = {"model": built.bundle.path, "engine": ENGINE, "cues": CueSheet(())}
    allowed = remix(source, films / "a.wav", allow_unverified=True, **options)  # type: ignore[arg-type]
    assert not allowed.report.model.verified
    assert any("may be wrong" in w for w in allowed.warnings)
    verify(built.bundle, engine=ENGINE, precisions=["fp32"])
    proved = remix(source, films / "b.wav", **options)  # type: ignore[arg-type]
    assert proved.report.model.verified
    assert not any("may be wrong" in w for w in proved.warnings)


def test_the_command_says_where_records_went(
    built: Built, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["verify", str(built.bundle.path), "--engine", ENGINE, "--precision", "fp32"]
    assert main(line) == 0
    out = capsys.readouterr().out
    assert "fp32 in tensorrt-rtx, by sound" in out
    assert "kept beside the engines" in out
    line[-1] = "fp16"
    assert main(line) == ParityError.exit_code
    assert "does not agree with PyTorch (fp16: " in capsys.readouterr().err


def test_engines_that_no_record_is_about_refuse_to_write(built: Built) -> None:
    with pytest.raises(UsageError, match="of compiled engines, not of torch"):
        verify(built.bundle, engine="torch", write=True)
