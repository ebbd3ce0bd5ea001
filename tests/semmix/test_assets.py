"""Bundled files: present, undamaged, and nothing outside the package."""

import pytest

import semmix.assets as assets
from semmix.errors import ModelFormatError


def test_every_bundled_model_agrees_with_the_manifest():
    names = assets.check_models()
    folder = assets.asset_path("models")
    on_disk = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert on_disk - {"manifest.json"} == set(names)


def test_bundled_models_stay_small():
    total = sum(entry["bytes"] for entry in assets.model_manifest().values())
    assert total < 30_000_000


def test_manifest_states_origin_and_licence():
    for entry in assets.model_manifest().values():
        assert entry["licence"] in {"Apache-2.0", "MIT"}
        assert len(entry["source"]["wheel_sha256"]) == 64
        assert entry["inputs"]
        assert entry["outputs"]


@pytest.mark.parametrize("name", ["../errors.py", "/etc/hosts", "models\\..\\x", "models/none"])
def test_names_outside_the_assets_are_refused(name):
    with pytest.raises(ModelFormatError):
        assets.asset_path(name)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [(lambda b: b[:-1], "bytes instead of"), (lambda b: b[:-1] + b"\0", "is damaged")],
)
def test_damage_is_found_and_the_repair_is_named(tmp_path, monkeypatch, change, sentence):
    whole = assets.asset_path("models/text/tokenizer.json").read_bytes()
    copy = tmp_path / "models" / "text" / "tokenizer.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(change(whole))
    monkeypatch.setattr(assets, "ROOT", tmp_path)
    assets.verified_model.cache_clear()
    try:
        with pytest.raises(ModelFormatError, match=sentence) as caught:
            assets.verified_model("text/tokenizer.json")
    finally:
        assets.verified_model.cache_clear()
    assert "reinstall semmix-rt" in str(caught.value)
