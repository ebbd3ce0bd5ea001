from __future__ import annotations

import hashlib
import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_engine import bundle_parts, with_spec

from semmix import bundle as bundle_package
from semmix.bundle import Bundle, write_bundle
from semmix.bundle.manifest import MAX_MANIFEST_BYTES
from semmix.errors import ModelFormatError, SemMixError, UsageError
from semmix.specs import StateSpec


@pytest.fixture
def copy(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return tiny_bundle.save(tmp_path / "copy").path


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = folder / "bundle.json"
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """Put other content into a bundle and make its manifest agree."""
    (folder / name).write_bytes(content)
    record = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    edit_manifest(folder, lambda m: m["files"].update({name: record}))


def refusal(path: Path) -> str:
    """The sentence a bundle is refused with."""
    with pytest.raises(ModelFormatError) as caught:
        Bundle.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_everything_written_is_read_back(tiny_bundle: Bundle) -> None:
    parts = bundle_parts()
    again = Bundle.load(tiny_bundle.path)
    assert again.spec == parts["spec"]
    assert again.context_graph() == parts["context"]
    assert again.highlighter_graph("fp32") == parts["highlighters"]["fp32"]
    assert again.parity_passed("fp32")
    assert not again.parity_passed("int8")
    assert again.manifest.provenance == {"seed": 0}
    assert again.precisions == ("fp32",)
    golden = again.golden()
    assert set(golden) == set(parts["golden"])
    for name, array in parts["golden"].items():
        assert golden[name].dtype == np.float32
        np.testing.assert_array_equal(golden[name], array)


def test_equal_parts_give_equal_bytes(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "a.zip", **bundle_parts())
    second = write_bundle(tmp_path / "b.zip", **bundle_parts())
    other = write_bundle(tmp_path / "c", **bundle_parts(provenance={"seed": 1}))
    assert first.sha256 == second.sha256 != other.sha256
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize("folder", ["", "tiny/"])
def test_zip_holds_the_same_bundle_at_its_root_or_in_a_folder(
    tiny_bundle: Bundle, tmp_path: Path, folder: str
) -> None:
    file = tmp_path / "tiny.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for entry in sorted(tiny_bundle.path.iterdir()):
            archive.write(entry, folder + entry.name)
        archive.writestr("__MACOSX/._bundle.json", b"litter of a Mac")
    loaded = Bundle.load(file)
    assert loaded.sha256 == tiny_bundle.sha256
    assert loaded.context_graph() == tiny_bundle.context_graph()


def test_save_goes_from_folder_to_zip_and_back(tiny_bundle: Bundle, tmp_path: Path) -> None:
    zipped = tiny_bundle.save(tmp_path / "tiny.zip")
    unpacked = zipped.save(tmp_path / "tiny")
    assert unpacked.sha256 == tiny_bundle.sha256
    assert {p.name for p in tmp_path.iterdir()} == {"tiny", "tiny.zip"}


def test_desktop_litter_does_not_spoil_a_folder(copy: Path) -> None:
    (copy / ".DS_Store").write_bytes(b"litter")
    assert Bundle.load(copy).name == "tiny"


# --- Writing -----------------------------------------------------------------------------------


def test_an_existing_bundle_is_replaced_only_on_request(copy: Path) -> None:
    before = Bundle.load(copy).sha256
    with pytest.raises(UsageError, match="exists already"):
        write_bundle(copy, **bundle_parts(seed=1))
    assert Bundle.load(copy).sha256 == before
    assert write_bundle(copy, **bundle_parts(seed=1), overwrite=True).sha256 != before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "photos" / "cat.png"
    precious.parent.mkdir()
    precious.write_bytes(b"meow")
    with pytest.raises(UsageError, match="no bundle"):
        write_bundle(precious.parent, **bundle_parts(), overwrite=True)
    assert precious.read_bytes() == b"meow"


@pytest.mark.parametrize(
    "changes",
    [
        {"parity": {"fp32": {"passed": True, "snr_db": float("nan")}}},
        {"provenance": {"weights": object()}},
        {"spec": with_spec(max_gain_db=float("nan"))},
        {"spec": with_spec(state=(StateSpec("spectrum", (3,)),))},
        {"spec": with_spec(state=(StateSpec("a", (3,)), StateSpec("a", (3,))))},
        {"spec": with_spec(state=(StateSpec("a", (0,)),))},
        {"golden": {"mask": np.zeros(3, dtype=np.float64)}},
        {"golden": {"mask": np.full(3, np.inf, dtype=np.float32)}},
        {"highlighters": {}},
        {"highlighters": {"../fp32": b"x"}},
        {"context": b""},
    ],
    ids=str,
)
def test_what_could_not_be_loaded_is_not_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelFormatError):
        write_bundle(tmp_path / "bad", **bundle_parts(**changes))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_swap_leaves_the_old_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Bundle.load(copy).sha256
    rename = Path.replace

    def disk_full(self: Path, target: Path) -> Path:
        if self.name == copy.name and Path(target) == copy:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", disk_full)
    with pytest.raises(UsageError, match="No space left"):
        write_bundle(copy, **bundle_parts(seed=1), overwrite=True)
    monkeypatch.undo()
    assert Bundle.load(copy).sha256 == before
    assert [p.name for p in copy.parent.iterdir()] == ["copy"]


# --- Damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["context.onnx", "highlighter.fp32.onnx", "golden.npz", "MODEL_CARD.md"]
)
def test_one_changed_bit_is_found(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    assert name in refusal(copy)


@pytest.mark.parametrize("name", ["context.onnx", "golden.npz", "bundle.json"])
def test_truncated_and_missing_files_are_found(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    assert name in refusal(copy)
    (copy / name).unlink()
    assert name in refusal(copy)


def test_a_file_that_changes_after_loading_is_not_handed_out(copy: Path) -> None:
    loaded = Bundle.load(copy)
    content = (copy / "context.onnx").read_bytes()
    (copy / "context.onnx").write_bytes(content[:-1] + b"!")
    with pytest.raises(ModelFormatError, match="hash differs"):
        loaded.context_graph()


def test_a_file_nobody_listed_is_refused(copy: Path) -> None:
    (copy / "weights.pkl").write_bytes(b"cos\nsystem\n")
    assert "weights.pkl" in refusal(copy)


def test_not_a_bundle(tmp_path: Path) -> None:
    assert "no bundle at" in refusal(tmp_path / "nowhere")
    assert "bundle.json" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    assert "not a bundle" in refusal(tmp_path / "notes.txt")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "bundle.json" in refusal(tmp_path / "other.zip")


def test_truncated_zip(tiny_bundle: Bundle, tmp_path: Path) -> None:
    content = tiny_bundle.save(tmp_path / "whole.zip").path.read_bytes()
    for length in (0, 10, len(content) // 2, len(content) - 5):
        (tmp_path / "part.zip").write_bytes(content[:length])
        refusal(tmp_path / "part.zip")


# --- Hostile manifests -------------------------------------------------------------------------

RECORD = {"sha256": "0" * 64, "bytes": 10}


@pytest.mark.parametrize(
    ("change", "clue"),
    [
        (lambda m: m.update(version=3), "version 3"),
        (lambda m: m.update(version=2), "kind"),
        (lambda m: m.update(kind="stream"), "kind"),
        (lambda m: m.update(version=2, kind="stream"), "kind 'stream' in version 2"),
        (lambda m: m.update(version=2, kind="window"), "the fields"),
        (lambda m: m.update(version=2, kind=["window"]), "kind"),
        (lambda m: m.update(version=True), "version True"),
        (lambda m: m.update(format="other"), "SemMix bundle"),
        (lambda m: m.pop("parity"), "parity"),
        (lambda m: m.update(hooks="rm"), "hooks"),
        (lambda m: m["files"].update({"../../etc/passwd": RECORD}), "passwd"),
        (lambda m: m["files"].update({"/etc/passwd": RECORD}), "passwd"),
        (lambda m: m["files"].update({"C:\\secret.onnx": RECORD}), "secret"),
        (lambda m: m["files"].update({"network.pkl": RECORD}), "network.pkl"),
        (lambda m: m["files"].update({"highlighter.x/../y.onnx": RECORD}), "highlighter"),
        (lambda m: m["files"].update({"highlighter.int8.onnx": RECORD}), "int8"),
        (lambda m: m["files"]["golden.npz"].update(bytes=1 << 40), "bytes"),
        (lambda m: m["files"]["golden.npz"].update(bytes=-1), "bytes"),
        (lambda m: m["files"]["golden.npz"].update(bytes=1.5), "bytes"),
        (lambda m: m["files"]["golden.npz"].update(bytes=True), "bytes"),
        (lambda m: m["files"]["golden.npz"].update(sha256="0"), "SHA-256"),
        (lambda m: m["files"].pop("context.onnx"), "context.onnx"),
        (lambda m: m.update(files=[]), "files"),
        (lambda m: m.update(graphs={}), "network"),
        (lambda m: m.update(graphs={"fp16": "highlighter.fp32.onnx"}), "fp16"),
        (lambda m: m.update(graphs={"fp32": ["x"]}), "fp32"),
        (lambda m: m.update(context="../context.onnx"), "context"),
        (lambda m: m.update(text_encoder="another"), "text encoder"),
        (lambda m: m.update(provenance=[]), "provenance"),
        (lambda m: m["spec"].update(max_gain_db=1e999), "Infinity"),
        (lambda m: m["spec"].update(max_gain_db=float("nan")), "NaN"),
        (lambda m: m["spec"].update(max_segments="many"), "spec"),
        (lambda m: m["spec"]["stft"].update(n_fft="2048"), "spec"),
        (lambda m: m["spec"]["stft"].update(n_fft=1 << 30), "n_fft"),
        (lambda m: m["spec"].update(state=[{"name": "a", "shape": [10**6, 10**6]}]), "state"),
        (lambda m: m["spec"].update(state=[{"name": "a;b", "shape": [1]}]), "state"),
        (lambda m: m["spec"].update(state=[{"name": "a", "shape": [-1]}]), "state"),
    ],
)
def test_hostile_manifests_are_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], clue: str
) -> None:
    edit_manifest(copy, change)
    assert clue in refusal(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"format": "semmix-bundle", "format": "semmix-bundle"}',
        b"\xff\xfe{}",
        b'{"version": ' + b"9" * 5_000 + b"}",
    ],
    ids=["empty", "null", "deep", "doubled key", "not utf-8", "huge integer"],
)
def test_hostile_json_is_refused(copy: Path, content: bytes) -> None:
    (copy / "bundle.json").write_bytes(content)
    refusal(copy)


def test_a_gigabyte_of_json_is_never_read(copy: Path) -> None:
    with (copy / "bundle.json").open("r+b") as file:
        file.truncate(1 << 30)  # sparse: costs no disk
    tracemalloc.start()
    assert "longer than" in refusal(copy)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8 * MAX_MANIFEST_BYTES


def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.onnx"
    (copy / "context.onnx").rename(secret)
    try:
        (copy / "context.onnx").symlink_to(secret)
    except OSError:
        pytest.skip("this user may not make symbolic links")
    assert "inside its bundle" in refusal(copy)


# --- Hostile zips ------------------------------------------------------------------------------


def zip_of(folder: Path, changes: dict[str, bytes]) -> Path:
    file = folder.parent / "hostile.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in folder.iterdir():
            if entry.name not in changes:
                archive.write(entry, entry.name)
        for name, content in changes.items():
            archive.writestr(name, content)
    return file


def test_a_zip_bomb_is_not_inflated(copy: Path) -> None:
    file = zip_of(copy, {"context.onnx": bytes(64 << 20)})
    assert file.stat().st_size < 1 << 20
    tracemalloc.start()
    assert "longer than" in refusal(file)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("name", ["../evil.onnx", "/evil.onnx", "a/b/evil.onnx", "evil.onnx"])
def test_a_zip_with_paths_or_strangers_is_refused(copy: Path, name: str) -> None:
    refusal(zip_of(copy, {name: b"x"}))
    assert not list(copy.parent.rglob("evil*"))


def test_a_zip_with_a_doubled_name_is_refused(copy: Path) -> None:
    file = zip_of(copy, {})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("context.onnx", b"x")
    assert "one bundle" in refusal(file)


def test_a_zip_with_too_many_entries_is_refused_before_it_is_listed(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(100):
            archive.writestr(str(number), b"")
    assert "larger than any bundle" in refusal(file)


def test_an_encrypted_zip_is_refused(copy: Path) -> None:
    file = zip_of(copy, {})
    content = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1
    file.write_bytes(content)
    assert "encrypted" in refusal(file)


# --- Golden arrays -----------------------------------------------------------------------------


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(array: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("mask.npy", array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "clue"),
    [
        (b"not a zip", "archive"),
        (npz(b"not an array"), "array"),
        (
            npz(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}\n", bytes(8))),
            "float32",
        ),
        (
            npz(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"cos\n.")),
            "float32",
        ),
        (
            npz(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10**12,)}\n")),
            "array",
        ),
        (
            npz(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,)}\n")),
            "claims the shape",
        ),
        (
            npz(
                npy(
                    "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n",
                    struct.pack("<f", float("nan")),
                )
            ),
            "not finite",
        ),
    ],
)
def test_hostile_golden_arrays_are_refused(copy: Path, content: bytes, clue: str) -> None:
    replace_file(copy, "golden.npz", content)
    loaded = Bundle.load(copy)
    with pytest.raises(ModelFormatError, match=clue):
        loaded.golden()


# --- The default -------------------------------------------------------------------------------


def test_an_unknown_default_names_those_there_are(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_package.bundle, "_BUNDLES", tiny_bundle.path.parent)
    assert Bundle.default("tiny").sha256 == tiny_bundle.sha256
    for name in ("edge", "../tiny", ""):
        with pytest.raises(ModelFormatError, match="tiny"):
            Bundle.default(name)


def test_unknown_precision_and_file_are_named(tiny_bundle: Bundle) -> None:
    with pytest.raises(SemMixError, match="only fp32"):
        tiny_bundle.highlighter_graph("int8")
    with pytest.raises(SemMixError, match=r"network\.safetensors"):
        tiny_bundle.read("network.safetensors")
