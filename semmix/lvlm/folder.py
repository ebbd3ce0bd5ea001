"""Where a vision language model lies, and what tells it from others.

A local folder is told by its contents, a model of the Hugging Face hub by its commit. Only
safetensors and text files count: nothing that could run is fetched or loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from semmix.errors import ModelFormatError, UsageError

_HUB_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?")
_FETCHED = ("*.json", "*.safetensors", "*.txt", "*.jinja", "*.model")
_MAX_NAME_CHARS = 80

_SAMPLES, _SAMPLE_BYTES = 256, 4096
_WHOLE_BYTES = 64 * 2**20
"""Larger files are hashed in samples: reading 16 GB would take longer than a cached run."""


@dataclass(frozen=True, slots=True)
class LocatedModel:
    """A model on this machine.

    Attributes:
        folder: holds configuration, tokenizer and safetensors weights.
        name: for people, such as `SmolVLM` or `org/name`.
        fingerprint: hex digits that change with the model.
    """

    folder: Path
    name: str
    fingerprint: str


def locate(model: str) -> LocatedModel:
    """Find a model in a folder, else on the hub, from where it is fetched once.

    Args:
        model: path of a folder, or `org/name` or `org/name@revision` of the hub.

    Raises:
        UsageError: neither a folder nor a name of the hub, or the hub does not give it.
        ModelFormatError: there are no safetensors weights.
        EngineError: huggingface_hub is not installed.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        # It goes into sheets and onto terminals.
        name = "".join(c if c.isprintable() else "?" for c in folder.resolve().name)
        return LocatedModel(_checked(folder), name[:_MAX_NAME_CHARS], fingerprint(folder))
    match = _HUB_NAME.fullmatch(model)
    if match is None or folder.exists():
        raise UsageError(
            f"{model!r} is no model: give the folder of one, or org/name or org/name@revision of "
            "the Hugging Face hub"
        )
    folder = _checked(_fetched(match[1], match[2]))
    # A snapshot's folder carries the commit's name.
    return LocatedModel(folder, match[1][:_MAX_NAME_CHARS], folder.name)


def fingerprint(folder: Path) -> str:
    """Hash of a model folder: small files whole, large ones by size, time and samples.

    Two fine-tunings of one model differ in no name and no size, only inside the weights: the
    samples see changes that touch some percent of a file, the time sees edits in place.
    """
    digest = blake2b(digest_size=16)
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if not any(path.match(pattern) for pattern in _FETCHED):
            continue
        stat = path.stat()
        digest.update(repr((path.name, stat.st_size)).encode())
        with path.open("rb") as file:
            if stat.st_size <= _WHOLE_BYTES:
                digest.update(file.read())
                continue
            digest.update(str(stat.st_mtime_ns).encode())
            for number in range(_SAMPLES):
                file.seek((stat.st_size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelFormatError(
            f"{folder} is no model folder (it has no config.json): give the folder that "
            "save_pretrained wrote"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelFormatError(
            f"{folder} has no .safetensors weights, and other kinds can run code when they are "
            "loaded: save the model again with safe_serialization=True"
        )
    return folder


def _fetched(name: str, revision: str | None) -> Path:
    """Folder of a hub model's snapshot; what is there already is not fetched again."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FETCHED)))
    except Exception as exc:  # the hub's client raises a dozen unrelated types here
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise UsageError(
            f"{name} is neither a folder here nor a model that the Hugging Face hub gives "
            f"({reason[:200]}): check the name, or give the path of a folder"
        ) from exc
