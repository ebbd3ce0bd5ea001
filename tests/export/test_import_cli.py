"""`semmix-rt import`: from a published checkpoint to a bundle that `remix` runs."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import semmix_rt
import soundfile
import tolerances
import torch
from semmix_export import window_bundle
from semmix_rt.cli.root import main
from support_checkpoint import published, save_lightning, small_base
from support_remix import contents, programme
from support_window import short_windows

from semmix.bundle import Bundle


def run(checkpoint: Path, output: Path, *options: object) -> int:
    return main(["import", str(checkpoint), "-o", str(output), *(str(o) for o in options)])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal says."""
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    return line


@pytest.fixture
def checkpoint(windowed, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint whose graphs are at hand, and windows as short as theirs."""
    monkeypatch.setattr(
        window_bundle, "window_spec", lambda config: short_windows(windowed.network)
    )
    return windowed.checkpoint


@pytest.mark.usefixtures("quick_window_export")
def test_a_checkpoint_becomes_a_bundle_and_the_proof_is_told(
    windowed, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made"
    assert run(checkpoint, output) == 0
    bundle = Bundle.load(output)
    parameters = sum(p.numel() for p in windowed.network.parameters())
    out, err = capsys.readouterr()
    assert out == (
        f"{output}: text model of {parameters:,} parameters, fp32 agrees with PyTorch to "
        f"{bundle.parity['fp32']['snr_db']} dB\n"
    )
    assert err == ""
    assert bundle.window_spec == short_windows(windowed.network)
    facts = bundle.manifest.provenance
    assert facts["checkpoint"] == {
        "name": "visah.ckpt",
        "bytes": checkpoint.stat().st_size,
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
    }
    assert facts["config"]["context_attention"] == "released"
    assert "network.safetensors" not in bundle.manifest.files
    card = bundle.read("MODEL_CARD.md").decode()
    assert "visah.ckpt" in card
    assert "--text-encoder" in card
    assert str(tmp_path) not in card + json.dumps(dict(facts))


@pytest.mark.usefixtures("quick_window_export")
def test_json_is_all_there_is_on_stdout(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# Größe\n", encoding="utf-8")
    output = tmp_path / "made"
    assert run(checkpoint, output, "--json", "--with-torch", "--model-card", card) == 0
    out, err = capsys.readouterr()
    assert err == ""
    facts = json.loads(out)
    bundle = Bundle.load(output)
    assert facts["sha256"] == bundle.sha256
    assert (facts["context"], facts["context_dim"], facts["context_layers"]) == ("text", 4096, 2)
    assert (facts["depth"], facts["channels"], facts["width"]) == (2, 4, 32)
    assert facts["parity"] == bundle.parity["fp32"]
    assert bundle.read("MODEL_CARD.md").decode() == "# Größe\n"
    assert "network.safetensors" in bundle.manifest.files


@pytest.mark.usefixtures("quick_window_export")
def test_quiet_says_nothing_and_overwrite_replaces_a_bundle_only(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made"
    assert run(checkpoint, output, "-q") == 0
    assert capsys.readouterr() == ("", "")
    assert run(checkpoint, output) == 2
    assert f"{output} exists already" in sentence(capsys)
    assert run(checkpoint, output, "-q", "--overwrite") == 0
    precious = tmp_path / "folder"
    precious.mkdir()
    (precious / "precious").write_bytes(b"x")
    assert run(checkpoint, precious, "--overwrite") == 2
    assert "no bundle" in sentence(capsys)
    assert [p.name for p in precious.iterdir()] == ["precious"]


def test_an_existing_output_is_refused_before_pytorch_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "semmix_export.window_bundle", None)
    (tmp_path / "made").mkdir()
    assert run(tmp_path / "absent.ckpt", tmp_path / "made") == 2
    assert "exists already" in sentence(capsys)


def test_how_context_attends_reaches_the_network(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def stop(network, *arguments: object, **settings: object) -> None:  # type: ignore[no-untyped-def]
        asked.append(network.config.context_attention)
        raise KeyboardInterrupt

    monkeypatch.setattr(window_bundle, "export_window_bundle", stop)
    for options in ([], ["--context-attention", "time"]):
        before = contents(tmp_path)
        assert run(checkpoint, tmp_path / "made", *options) == 130
        assert contents(tmp_path) == before
    assert asked == ["released", "time"]


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint at all"])
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "visah.ckpt"
    if content is not None:
        path.write_bytes(content)
    before = contents(tmp_path)
    assert run(path, tmp_path / "made") == 4
    assert contents(tmp_path) == before
    line = sentence(capsys)
    assert str(path) in line
    assert "weights_only" not in line


def test_every_difference_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = published(small_base().state_dict())
    del state["model.latent_transformer.norm.bias"]
    state["model.surplus.weight"] = torch.zeros(1)
    state["model.freq_emb.embedding.weight"] = torch.zeros(512, 5)
    path = save_lightning(tmp_path / "odd.ckpt", state)
    before = contents(tmp_path)
    assert run(path, tmp_path / "made") == 4
    assert contents(tmp_path) == before
    line = sentence(capsys)
    assert "it lacks latent_transformer.norm.bias;" in line
    assert "it adds surplus.weight;" in line
    assert "[512, 5] instead of [512, 4]" in line
    assert "--json" not in line
    state = published(small_base().state_dict())
    state["model.decoder.2.conv_tr.weight"][0, 0, 0] = float("nan")
    path = save_lightning(tmp_path / "nan.ckpt", state)
    before = contents(tmp_path)
    assert run(path, tmp_path / "made") == 4
    assert contents(tmp_path) == before
    assert "holds NaN or infinity" in sentence(capsys)


def test_json_lists_the_differences_that_the_sentence_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = small_base().state_dict()
    state = published(weights)
    gone = sorted(name for name in weights if ".attn1." in name)
    for name in gone:
        del state[f"model.{name}"]
    state["model.surplus.weight"] = torch.zeros(3, 2)
    state["model.freq_emb.embedding.weight"] = torch.zeros(512, 5)
    path = save_lightning(tmp_path / "odd.ckpt", state)
    assert run(path, tmp_path / "made", "--json") == 4
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "differences": {
            "missing": {name: list(weights[name].shape) for name in gone},
            "foreign": {"surplus.weight": [3, 2]},
            "reshaped": {
                "freq_emb.embedding.weight": {"found": [512, 5], "expected": [512, 4]},
            },
        }
    }
    (line,) = err.strip().splitlines()
    assert "and 2 more; it adds surplus.weight" in line
    assert "`semmix-rt import --json` lists all" in line
    assert len(gone) == 10


@pytest.mark.usefixtures("quick_window_export")
def test_remix_runs_what_was_imported_as_pytorch_would(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both engines, through files: equal but for round-off, and not what went in."""
    from semmix_rt import hearing

    class Captions:
        identifier = key = "fixed"
        dim = 4096

        def __init__(self, folder: Path, dim: int) -> None:
            assert dim == 4096

        def sentences(self, segment: object) -> list[str | None]:
            return ["the same"]

        def __call__(self, segment: object) -> np.ndarray:
            rng = np.random.default_rng(0)
            return rng.standard_normal((1, 4096)).astype(np.float32)

    monkeypatch.setattr(hearing, "open_captions", Captions)
    output = tmp_path / "made"
    assert run(checkpoint, output, "-q", "--with-torch") == 0
    source = tmp_path / "in.wav"
    dry = programme(2.5, 44_100)
    soundfile.write(source, dry.T, 44_100, subtype="FLOAT")
    sounds = {}
    for engine in ("ort", "torch"):
        result = semmix_rt.remix(
            source, tmp_path / f"{engine}.wav", model=output, engine=engine, text_encoder="t5"
        )
        assert result.report.model.engine == engine
        sounds[engine] = soundfile.read(result.output, dtype="float32")[0].T
    change = sounds["torch"] - dry
    assert np.abs(change).max() > 0.05
    difference = sounds["ort"] - sounds["torch"]
    snr_db = 20 * np.log10(np.std(sounds["torch"]) / np.std(difference))
    assert snr_db > tolerances.WINDOW_SNR_DB
