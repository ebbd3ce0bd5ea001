"""A network that was not proved to agree with PyTorch is not trusted with a film unasked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from semmix_rt import Remixer, remix
from semmix_rt.cli.root import main
from semmix_rt.proof import check_proof
from support_engine import highlighter_onnx, tiny_model
from support_parity import record_of
from support_remix import make_bundle, nothing_left, programme, remix_spec

from semmix.bundle import Bundle
from semmix.cues.types import CueSheet
from semmix.errors import ModelFormatError, ParityError, UsageError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Proved in fp32, failed in fp16, never compared in int8cpu; each is another network."""
    made = make_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    half, eight = (highlighter_onnx(tiny_model(seed, remix_spec())) for seed in (4, 5))
    made = made.add_precision("fp16", half, parity=record_of(half, passed=False), provenance={})
    made = made.add_precision("int8cpu", eight, parity=record_of(eight), provenance={})
    parity = {name: record for name, record in made.parity.items() if name != "int8cpu"}
    manifest = json.loads((made.path / "bundle.json").read_text())
    (made.path / "bundle.json").write_text(json.dumps(manifest | {"parity": parity}))
    return Bundle.load(made.path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.wav"
    soundfile.write(path, programme(0.6).T, 48_000, subtype="FLOAT")
    return path


def test_only_a_passing_record_passes(bundle: Bundle) -> None:
    assert check_proof(bundle, "auto", "fp32", allow_unverified=False) == ""
    with pytest.raises(ParityError, match=r"fp16 network of .* failed .*`semmix-rt verify"):
        check_proof(bundle, "auto", "fp16", allow_unverified=False)
    with pytest.raises(ParityError, match=r"int8cpu .* never been compared .*--allow-unverified"):
        check_proof(bundle, "ort", "int8cpu", allow_unverified=False)
    assert "may be wrong" in check_proof(bundle, "ort", "fp16", allow_unverified=True)
    # PyTorch is the reference itself.
    assert check_proof(bundle, "torch", "fp16", allow_unverified=False) == ""
    with pytest.raises(ModelFormatError, match="has no int8 network"):
        check_proof(bundle, "ort", "int8", allow_unverified=True)


def test_a_record_of_another_graph_proves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    own = bundle.save(tmp_path / "own")
    graph = own.highlighter_graph("fp16")
    own = own.with_parity("fp16", record_of(graph))
    assert check_proof(own, "ort", "fp16", allow_unverified=False) == ""
    own = own.with_parity("fp16", record_of(graph, graph_sha256="0" * 64))
    with pytest.raises(ParityError, match="failed its comparison"):
        check_proof(own, "ort", "fp16", allow_unverified=False)


def test_remix_refuses_it_and_writes_nothing(bundle: Bundle, source: Path, tmp_path: Path) -> None:
    with nothing_left(tmp_path), pytest.raises(ParityError, match="semmix-rt verify"):
        remix(source, model=bundle.path, precision="fp16")
    with nothing_left(tmp_path), pytest.raises(UsageError, match="no precision 'half'"):
        remix(source, model=bundle.path, precision="half")


def test_what_is_allowed_runs_and_is_reported(bundle: Bundle, source: Path, tmp_path: Path) -> None:
    sounds = {}
    for precision in bundle.precisions:
        result = remix(
            source,
            tmp_path / f"{precision}.wav",
            model=bundle.path,
            precision=precision,
            allow_unverified=True,
            cues=CueSheet(()),
        )
        model = result.report.model
        assert model.precision == precision
        assert model.verified == (precision == "fp32")
        doubts = [w for w in result.warnings if "may be wrong" in w]
        assert len(doubts) == (precision != "fp32")
        sounds[precision] = soundfile.read(result.output)[0]
    assert np.abs(sounds["fp32"] - sounds["fp16"]).max() > 1e-4
    assert np.abs(sounds["fp16"] - sounds["int8cpu"]).max() > 1e-4


def test_the_command_takes_a_precision(
    bundle: Bundle, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["remix", str(source), "--model", str(bundle.path), "--precision", "fp16"]
    assert main(line) == ParityError.exit_code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"semmix-rt verify {bundle.path}" in err
    assert main([*line, "--allow-unverified", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "CPUExecutionProvider, fp16, not verified" in out
    assert "may be wrong" in err


def test_blocks_are_refused_likewise(bundle: Bundle) -> None:
    with pytest.raises(ParityError, match="allow_unverified=True"):
        Remixer(model=bundle.path, precision="fp16")
    with pytest.warns(UserWarning, match="may be wrong"):
        unproved = Remixer(model=bundle.path, precision="fp16", allow_unverified=True)
    sound = programme(0.3)
    heard = [
        np.concatenate((remixer.process(sound), remixer.flush()), axis=1)
        for remixer in (unproved, Remixer(model=bundle.path))
    ]
    assert np.abs(heard[0] - heard[1]).max() > 1e-4
