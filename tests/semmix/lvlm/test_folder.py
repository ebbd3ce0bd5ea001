"""Models are told apart by what they are, not by where they lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support_lvlm import write_tiny_lvlm

from semmix.errors import ModelFormatError, UsageError
from semmix.lvlm import folder as module
from semmix.lvlm.folder import fingerprint, locate


@pytest.fixture
def copy(tiny_lvlm, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_lvlm, tmp_path / "copy"))


def flip_byte(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_copy_is_the_same_model_and_other_files_do_not_count(tiny_lvlm, copy):
    (copy / "README.md").write_text("other")
    (copy / "modeling.py").write_text("raise SystemExit")
    located = locate(str(copy))
    assert (located.folder, located.name) == (copy, "copy")
    assert located.fingerprint == locate(str(tiny_lvlm)).fingerprint


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_changed_byte_is_another_model(copy, name):
    before = fingerprint(copy)
    flip_byte(copy / name, -2)
    assert fingerprint(copy) != before


def test_large_files_are_told_by_samples_and_time(copy, monkeypatch):
    monkeypatch.setattr(module, "_WHOLE_BYTES", 2**14)
    monkeypatch.setattr(module, "_SAMPLE_BYTES", 16)
    weights = copy / "model.safetensors"
    time_ns = weights.stat().st_mtime_ns
    before = fingerprint(copy)
    for place in (0, -1):
        flip_byte(weights, place)
        os.utime(weights, ns=(time_ns, time_ns))
        assert fingerprint(copy) != before
        flip_byte(weights, place)
        os.utime(weights, ns=(time_ns, time_ns))
        assert fingerprint(copy) == before
    os.utime(weights, ns=(time_ns, time_ns + 1))
    assert fingerprint(copy) != before
    # Another fine-tuning: equal names and sizes, other numbers everywhere.
    other = write_tiny_lvlm(copy.with_name("other"), seed=2)
    assert (other / weights.name).stat().st_size == weights.stat().st_size
    os.utime(other / weights.name, ns=(time_ns, time_ns))
    os.utime(weights, ns=(time_ns, time_ns))
    assert fingerprint(other) != fingerprint(copy)


def test_only_safetensors_are_taken(copy):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelFormatError, match=r"no \.safetensors"):
        locate(str(copy))
    (copy / "config.json").unlink()
    with pytest.raises(ModelFormatError, match=r"config\.json"):
        locate(str(copy))


@pytest.mark.parametrize("name", ["", "nothing", "../a/b/c", "/a/b", "a/b@", "a b/c", "a/b\n"])
def test_names_that_can_be_nothing_are_refused_without_asking(name, monkeypatch):
    monkeypatch.setattr(module, "_fetched", lambda *args: pytest.fail("the hub was asked"))
    monkeypatch.chdir("/")
    if not Path(name).is_dir():
        with pytest.raises(UsageError, match="is no model"):
            locate(name)


def test_a_hub_model_is_told_by_its_commit(tiny_lvlm, tmp_path, monkeypatch):
    """The hub's cache, laid out by hand; nothing is fetched."""
    import huggingface_hub as hub

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--org--toy"
    shutil.copytree(tiny_lvlm, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    asked = []
    real = hub.snapshot_download

    def offline(name, **settings):
        asked.append((name, settings["revision"], settings["allow_patterns"]))
        return real(name, **settings, cache_dir=tmp_path, local_files_only=True)

    monkeypatch.setattr(hub, "snapshot_download", offline)
    for name in ("org/toy", f"org/toy@{commit}"):
        located = locate(name)
        assert (located.name, located.fingerprint) == ("org/toy", commit)
    assert [revision for _, revision, _ in asked] == [None, commit]
    assert not {"*.py", "*.bin"} & set(asked[0][2])
    with pytest.raises(UsageError, match="org/other is neither a folder"):
        locate("org/other")
