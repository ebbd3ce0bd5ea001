"""`semmix-rt export-encoder`: the proof it carries, and what makes it refuse."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tolerances
import torch
import transformers
from onnx import numpy_helper
from semmix_export.encoders import exporting
from semmix_export.encoders.parity import SENTENCES, EncoderParity
from semmix_export.thresholds import ENCODER
from semmix_rt.cli.root import main
from support_encoders import ExportedEncoder
from support_remix import contents

from semmix.cues.onnx_text import OnnxText
from semmix.encoders.manifest import WEIGHTS_NAME, read_manifest
from semmix.errors import ParityError
from semmix.metrics import snr_db

Encoders = dict[str, ExportedEncoder]
Mutate = Callable[[onnx.ModelProto], None]


def run(folder: Path, output: Path, *options: object) -> int:
    return main(["export-encoder", str(folder), "-o", str(output), *(str(o) for o in options)])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refusal says."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.strip().splitlines()
    return line


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """The `with` block adds, changes and removes no file of a folder."""
    before = contents(folder)
    yield
    assert contents(folder) == before


def road_to(
    monkeypatch: pytest.MonkeyPatch, encoder: ExportedEncoder, mutate: Mutate = lambda model: None
) -> None:
    """Let the exporter answer at once with the graph it made for the session, or a spoiled one."""

    def write(model: Any, kind: str, length: int, path: Path) -> None:
        graph = onnx.load(encoder.folder / "model.onnx")
        mutate(graph)
        onnx.save(graph, path)

    monkeypatch.setitem(exporting._ROADS, "torch", write)


# --- What an export is ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t5", "bert"])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 2), (2, 60), (5, 17)])
def test_every_batch_and_length_agrees_with_transformers(
    exported_encoders: Encoders, name: str, batch: int, length: int
) -> None:
    """The example that was exported has three texts of at most eleven tokens."""
    encoder = exported_encoders[name]
    kind = {"t5": transformers.T5EncoderModel, "bert": transformers.BertModel}[name]
    model = kind.from_pretrained(encoder.source).eval()
    rng = np.random.default_rng(length)
    ids = rng.integers(0, model.config.vocab_size, (batch, length))
    mask = (np.arange(length) < rng.integers(1, length + 1, (batch, 1))).astype(np.int64)
    with torch.no_grad():
        found = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
    graph = OnnxText(encoder.folder / "model.onnx", encoder.folder / "tokenizer.json", 512)
    states = graph.states(ids, mask)
    seen = mask.astype(bool)
    expected = found.last_hidden_state.numpy()
    assert snr_db(expected[seen], states[seen]) > tolerances.ENCODER_SNR_DB


@pytest.mark.parametrize("name", ["t5", "bert", "clip"])
def test_axes_are_symbolic_and_the_opset_is_the_one_for_tensorrt(
    exported_encoders: Encoders, name: str
) -> None:
    model = onnx.load(exported_encoders[name].folder / "model.onnx", load_external_data=False)
    assert [o.version for o in model.opset_import if not o.domain] == [20]
    axes = 2 if name != "clip" else 1
    for value in (*model.graph.input, *model.graph.output):
        assert all(dim.dim_param for dim in value.type.tensor_type.shape.dim[:axes])


def test_the_description_says_what_it_is_and_where_it_came_from(
    exported_encoders: Encoders,
) -> None:
    for name, kind, dim, length in (
        ("t5", "text", 64, 512),
        ("bert", "text", 24, 128),
        ("clip", "vision", 24, 32),
    ):
        encoder = exported_encoders[name]
        found = read_manifest(encoder.folder, kind)  # type: ignore[arg-type]
        assert (found.dim, found.length) == (dim, length)
        assert found.identifier.startswith(f"{name}/")
        assert {p.name for p in encoder.folder.iterdir()} == {"encoder.json", *found.files}
        assert (WEIGHTS_NAME in found.files) == (name == "bert")
        assert found.parity["snr_db"] > tolerances.ENCODER_SNR_DB
        assert found.parity["batch_snr_db"] > tolerances.ENCODER_SNR_DB
        assert found.parity["cosine"] == pytest.approx(1.0, abs=1e-9)
        assert found.provenance["versions"]["transformers"] == transformers.__version__
        said = (encoder.folder / "encoder.json").read_text() + str(
            onnx.load(encoder.folder / "model.onnx")
        )
        assert str(encoder.source.parent) not in said


def test_the_sentences_are_short_long_and_of_many_letters(exported_encoders: Encoders) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported_encoders["t5"].source)
    lengths = [len(tokenizer(sentence).input_ids) for sentence in SENTENCES]
    assert min(lengths) < 5
    assert max(lengths) > 512
    assert any(not sentence.isascii() for sentence in SENTENCES)


# --- The command ---------------------------------------------------------------------------------


def test_it_tells_the_proof_and_replaces_encoders_only(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = exported_encoders["t5"]
    road_to(monkeypatch, encoder)
    output = tmp_path / "made" / "t5"
    assert run(encoder.source, output) == 0
    out, err = capsys.readouterr()
    found = read_manifest(output, "text")
    assert out == (
        f"{output}: text encoder, vectors of 64 numbers, agrees with PyTorch to "
        f"{found.parity['snr_db']} dB\n"
    )
    assert err == ""
    assert run(encoder.source, output) == 2
    assert "exists already" in refusal(capsys)
    (output / "model.onnx").write_bytes(b"old")
    assert run(encoder.source, output, "--overwrite", "--json") == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["path"] == str(output)
    assert facts["parity"]["passed"] is True
    assert (output / "model.onnx").stat().st_size > 1000
    assert [p.name for p in output.parent.iterdir()] == ["t5"]
    assert run(encoder.source, output, "--overwrite", "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_a_folder_of_something_else_stays(
    exported_encoders: Encoders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x")
    with untouched(tmp_path):
        code = run(exported_encoders["t5"].source, tmp_path / "precious", "--overwrite")
    assert code == 2
    assert "holds no exported encoder, it stays" in refusal(capsys)


def test_an_export_is_not_exported_again(
    exported_encoders: Encoders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with untouched(tmp_path):
        assert run(exported_encoders["t5"].folder, tmp_path / "made") == 2
    assert "was exported already" in refusal(capsys)


@pytest.mark.parametrize(
    ("what", "code", "match"),
    [
        (KeyboardInterrupt(), 130, "interrupted; nothing was left behind"),
        (RuntimeError("two\nlines"), 5, "torch road does not lead to a 't5' encoder (two lines)"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
    ],
)
def test_what_stops_it_leaves_nothing_behind(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: BaseException,
    code: int,
    match: str,
) -> None:
    def stop(model: Any, kind: str, length: int, path: Path) -> None:
        path.write_bytes(b"half of a graph")
        raise what

    monkeypatch.setitem(exporting._ROADS, "torch", stop)
    with untouched(tmp_path):
        assert run(exported_encoders["t5"].source, tmp_path / "made") == code
    assert match in refusal(capsys)


# --- The gate ------------------------------------------------------------------------------------


def _a_matrix(model: onnx.ModelProto) -> onnx.TensorProto:
    """What the last matrix product multiplies by: the way out of the last layer."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken = [node.input[1] for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    return weights[[name for name in taken if name in weights][-1]]


def scale_a_matrix(model: onnx.ModelProto) -> None:
    tensor = _a_matrix(model)
    tensor.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name)
    )


def fill_a_matrix_with_nan(model: onnx.ModelProto) -> None:
    tensor = _a_matrix(model)
    tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, np.nan, np.float32), tensor.name))


def forget_the_mask(model: onnx.ModelProto) -> None:
    """Everything is seen, padding too: right for single texts, wrong for texts together."""
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "attention_mask":
                node.input[i] = "all_seen"
    nodes = [
        onnx.helper.make_node("Shape", ["attention_mask"], ["mask_shape"]),
        onnx.helper.make_node(
            "ConstantOfShape",
            ["mask_shape"],
            ["all_seen"],
            value=numpy_helper.from_array(np.ones(1, np.int64)),
        ),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def freeze_the_length(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].Clear()
        value.type.tensor_type.shape.dim[1].dim_value = 11


@pytest.mark.parametrize("name", ["t5", "bert"])
@pytest.mark.parametrize(
    ("mutate", "match"),
    [
        (scale_a_matrix, "dB of 80 dB one by one"),
        (fill_a_matrix_with_nan, "a cosine of nan"),
        (forget_the_mask, "differs from PyTorch"),
        (freeze_the_length, "takes other inputs than PyTorch"),
    ],
)
def test_a_graph_that_says_something_else_is_refused(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    mutate: Mutate,
    match: str,
) -> None:
    encoder = exported_encoders[name]
    road_to(monkeypatch, encoder, mutate)
    with untouched(tmp_path):
        assert run(encoder.source, tmp_path / "made") == ParityError.exit_code
    line = refusal(capsys)
    assert match in line
    if mutate is forget_the_mask:
        assert "together" in line
        assert "one by one" not in line


def test_other_tokens_are_refused(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = exported_encoders["bert"]
    road_to(monkeypatch, encoder)

    class CaseMatters(OnnxText):
        def token_ids(self, text: str) -> list[int]:
            return super().token_ids(text.lower().replace("rain", "ra in"))

    monkeypatch.setattr(exporting, "OnnxText", CaseMatters)
    with untouched(tmp_path):
        assert run(encoder.source, tmp_path / "made") == ParityError.exit_code
    assert "other tokens for 'Rain.'" in refusal(capsys)


def test_the_gate_counts_what_is_no_number_as_failed() -> None:
    nan = float("nan")
    assert EncoderParity(1, 1.0, 81.0, 81.0).failures == ()
    for values in ((nan, 81.0, 81.0), (1.0, nan, 81.0), (1.0, 81.0, nan)):
        assert len(EncoderParity(1, *values).failures) == 1
    assert len(EncoderParity(1, 0.9999, ENCODER.snr_db - 1, ENCODER.snr_db - 1).failures) == 3


# --- What is not exported ------------------------------------------------------------------------


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def damaged_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def slow_tokenizer(folder: Path) -> None:
    """ESM's tokenizer is written in Python alone."""
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("<cls>\n<pad>\n<eos>\n<unk>\nA\nB\n<mask>\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "EsmTokenizer"}')


def sentencepiece(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "spiece.model").write_bytes(b"never read")


@pytest.mark.parametrize(
    ("spoil", "code", "match"),
    [
        (no_safetensors, 4, "pickled weights are not read"),
        (damaged_weights, 4, "cannot be loaded"),
        (no_tokenizer, 4, "has no tokenizer"),
        (slow_tokenizer, 4, "(EsmTokenizer) runs in Python only"),
        (sentencepiece, 5, "is a SentencePiece model: pip install 'semmix-rt[encoders]'"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    code: int,
    match: str,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "semmix.encoders.local_text.find_spec",
        lambda name: None if name == "sentencepiece" else find(name),
    )
    source = Path(shutil.copytree(exported_encoders["t5"].source, tmp_path / "source"))
    spoil(source)
    with untouched(tmp_path):
        assert run(source, tmp_path / "made") == code
    assert match in refusal(capsys)


def test_a_missing_folder_is_a_wrong_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with untouched(tmp_path):
        assert run(tmp_path / "absent", tmp_path / "made") == 2
    assert "is no folder" in refusal(capsys)


# --- The other road ------------------------------------------------------------------------------

OPTIMUM = importlib.util.find_spec("optimum") is not None


@pytest.mark.skipif(OPTIMUM, reason="says what is missing where optimum is not installed")
def test_without_optimum_its_road_says_which_versions_it_takes(
    exported_encoders: Encoders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with untouched(tmp_path):
        assert run(exported_encoders["t5"].source, tmp_path / "made", "--road", "optimum") == 5
    line = refusal(capsys)
    assert f"optimum-onnx (not installed) and transformers {transformers.__version__}" in line
    assert "optimum-onnx 0.1 beside transformers 4.57" in line
    assert "pip install 'semmix-rt[optimum]'" in line


@pytest.mark.skipif(not OPTIMUM, reason="needs the optimum extra, which takes transformers 4.57")
@pytest.mark.parametrize("name", ["t5", "bert", "clip"])
@pytest.mark.parametrize("outside", [False, True])
def test_optimum_leads_to_the_same_vectors(
    exported_encoders: Encoders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    outside: bool,
) -> None:
    monkeypatch.setenv("FORCE_ONNX_EXTERNAL_DATA", str(int(outside)))
    encoder, output = exported_encoders[name], tmp_path / "made"
    assert run(encoder.source, output, "--road", "optimum", "-q") == 0
    kind = "vision" if name == "clip" else "text"
    found = read_manifest(output, kind)  # type: ignore[arg-type]
    assert found.provenance["road"] == "optimum"
    assert found.parity["snr_db"] > tolerances.ENCODER_SNR_DB
    assert (WEIGHTS_NAME in found.files) == outside
    assert found.identifier == read_manifest(encoder.folder, kind).identifier  # type: ignore[arg-type]
