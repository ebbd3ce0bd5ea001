"""Models of `transformers` as chats: a tiny random one stands for all of them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from semmix.cues.chat import Talk
from semmix.errors import EngineError, ModelFormatError, UsageError
from semmix.lvlm import local
from semmix.lvlm.local import LocalChat

IMAGES = [np.random.default_rng(n).integers(0, 256, (40, 60, 3)).astype(np.uint8) for n in range(3)]
TALKS = [
    Talk(IMAGES[0], ("What is there?",)),
    Talk(IMAGES[1], ("And here? " * 5,)),
    Talk(IMAGES[2], ("What?", "A rabbit.", "Again.")),
]


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch):
    monkeypatch.setattr(local, "MAX_NEW_TOKENS", 12)


def test_answers_equal_those_of_transformers_itself(tiny_lvlm):
    import torch
    from PIL import Image
    from transformers import LlavaForConditionalGeneration, LlavaProcessor

    answer = LocalChat(str(tiny_lvlm), device="cpu").answer(TALKS[:1])
    processor = LlavaProcessor.from_pretrained(tiny_lvlm)
    network = LlavaForConditionalGeneration.from_pretrained(tiny_lvlm)
    inputs = processor(
        text="user: <image>What is there? assistant: ",
        images=Image.fromarray(IMAGES[0]),
        return_tensors="pt",
    )
    tokens = inputs["input_ids"]
    # Greedy decoding, written out.
    with torch.inference_mode():
        for _ in range(12):
            inputs["input_ids"] = tokens
            inputs["attention_mask"] = torch.ones_like(tokens)
            logits = network(**inputs).logits[:, -1]
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
            if tokens[0, -1] == processor.tokenizer.eos_token_id:
                break
    new = tokens[0, -12:] if tokens.shape[1] >= 12 else tokens[0]
    assert answer == [processor.decode(new, skip_special_tokens=True)]


def test_a_batch_answers_like_one_after_the_other(tiny_lvlm):
    together = LocalChat(str(tiny_lvlm), batch=3).answer(TALKS)
    assert len(set(together)) == 3
    alone = LocalChat(str(tiny_lvlm))
    assert [alone.answer([talk])[0] for talk in TALKS] == together
    assert alone.answer([]) == []


def test_the_identifier_names_model_and_dtype(tiny_lvlm, tmp_path):
    copy = shutil.copytree(tiny_lvlm, tmp_path / "tiny")
    first = LocalChat(str(tiny_lvlm))
    assert LocalChat(str(copy), device="cpu", batch=4).identifier == first.identifier
    assert LocalChat(str(copy), dtype="bfloat16").identifier != first.identifier
    assert first.identifier.startswith("tiny#")


def test_dtype_reaches_the_network(tiny_lvlm):
    import torch

    chat = LocalChat(str(tiny_lvlm), dtype="bfloat16")
    chat.answer(TALKS[:1])
    assert chat._loaded is not None
    assert {p.dtype for p in chat._loaded[1].parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("settings", [{"dtype": "int4"}, {"batch": 0}])
def test_senseless_settings_are_refused(tiny_lvlm, settings):
    with pytest.raises(UsageError):
        LocalChat(str(tiny_lvlm), **settings)


def test_a_device_that_is_not_there_is_an_error(tiny_lvlm):
    for device in ("cuda:99", "nowhere"):
        with pytest.raises(EngineError, match=device):
            LocalChat(str(tiny_lvlm), device=device).answer(TALKS[:1])


def test_missing_packages_are_named_with_what_to_install(tiny_lvlm, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "transformers" else real(name)
    )
    with pytest.raises(EngineError, match=r"needs transformers: pip install 'semmix-rt\[lvlm\]'"):
        LocalChat(str(tiny_lvlm))


def test_damaged_or_other_models_are_refused(tiny_lvlm, tmp_path):
    from safetensors.torch import load_file, save_file

    def refuses(name: str, match: str) -> None:
        with pytest.raises(ModelFormatError, match=match):
            LocalChat(str(tmp_path / name)).answer(TALKS[:1])

    cut = shutil.copytree(tiny_lvlm, tmp_path / "cut")
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    refuses("cut", "cannot load")

    lacking = shutil.copytree(tiny_lvlm, tmp_path / "lacking")
    tensors = load_file(lacking / "model.safetensors")
    name = next(n for n in sorted(tensors) if n.endswith("q_proj.weight"))
    del tensors[name]
    save_file(tensors, lacking / "model.safetensors", metadata={"format": "pt"})
    refuses("lacking", "lacks 1 of the network's tensors")

    mute = shutil.copytree(tiny_lvlm, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    refuses("mute", "chat template")

    broken = shutil.copytree(tiny_lvlm, tmp_path / "broken")
    (broken / "chat_template.jinja").write_text("{{ raise_exception('no pictures') }}")
    refuses("broken", "no pictures")


def test_code_that_comes_with_a_model_never_runs(tiny_lvlm, tmp_path):
    folder = shutil.copytree(tiny_lvlm, tmp_path / "coded")
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\nModel = Config\n")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {
        "AutoConfig": "evil.Config",
        "AutoModelForImageTextToText": "evil.Model",
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFormatError, match="cannot load"):
        LocalChat(str(folder)).answer(TALKS[:1])
    assert not ran.exists()


def test_naming_a_model_starts_no_torch(tiny_lvlm):
    code = (
        "import sys\n"
        "from semmix.lvlm.local import LocalChat\n"
        f"LocalChat({str(tiny_lvlm)!r})\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "transformers", "PIL"}
