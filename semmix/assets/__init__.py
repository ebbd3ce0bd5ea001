"""Files that ship inside the package, and the check that they are the ones we built.

`models/manifest.json` lists every weight file with its origin, licence, SHA-256 and contract.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from semmix.errors import ModelFormatError

ROOT = Path(__file__).resolve().parent
REPAIR = "reinstall semmix-rt (pip install --force-reinstall --no-deps semmix-rt)"


def asset_path(name: str) -> Path:
    """Path of a bundled file or folder.

    Args:
        name: relative path with forward slashes, such as `models/text/model.onnx`.

    Raises:
        ModelFormatError: the file is missing, or `name` leads out of the assets.
    """
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise ModelFormatError(f"{name!r} is not a path inside the bundled assets: pass its name")
    path = ROOT.joinpath(*relative.parts)
    if not path.exists():
        raise ModelFormatError(f"the bundled file {name} is missing from {ROOT}: {REPAIR}")
    return path


@lru_cache(maxsize=1)
def model_manifest() -> dict[str, Any]:
    """The list of bundled weight files, `models/manifest.json`.

    Raises:
        ModelFormatError: the manifest is missing or cannot be read.
    """
    path = asset_path("models/manifest.json")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = {entry["name"]: entry for entry in manifest["files"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise ModelFormatError(f"{path} cannot be read ({exc}): {REPAIR}") from exc
    return files


@lru_cache(maxsize=64)
def verified_model(name: str) -> Path:
    """Path of a bundled weight file whose SHA-256 agrees with the manifest.

    The hash is taken once per process and file (about 10 ms for the largest one).

    Args:
        name: path below `models/`, such as `text/model.onnx`.

    Raises:
        ModelFormatError: the file is missing, not in the manifest, or damaged.
    """
    entry = model_manifest().get(name)
    if entry is None:
        raise ModelFormatError(f"the manifest has no model named {name!r}: {REPAIR}")
    path = asset_path(f"models/{name}")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise ModelFormatError(
            f"the bundled model {path} has {size} bytes instead of {entry['bytes']}: {REPAIR}"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != entry["sha256"]:
        raise ModelFormatError(f"the bundled model {path} is damaged (SHA-256 differs): {REPAIR}")
    return path


def check_models() -> list[str]:
    """Verify every bundled weight file.

    Returns:
        Names of the files, in the order of the manifest.

    Raises:
        ModelFormatError: one of them is missing or damaged.
    """
    names = list(model_manifest())
    for name in names:
        verified_model(name)
    return names
