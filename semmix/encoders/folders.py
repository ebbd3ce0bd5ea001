"""Encoders that users have on their disk, in the layout of the transformers library.

A folder may come from anyone: weights are read as safetensors only, code in it is never run, and
nothing is looked up on the network. PyTorch starts when transformers loads weights, not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semmix.errors import EngineError, ModelFormatError, UsageError

_SMALL_BYTES = 64 << 20
"""Files up to this are told apart by content, larger ones by name, length and time."""


def library() -> Any:
    """The transformers library.

    Raises:
        EngineError: it is not installed.
    """
    try:
        import transformers
    except ImportError as exc:
        raise EngineError(
            "a local encoder needs the transformers library: pip install 'semmix-rt[encoders]'"
        ) from exc
    return transformers


def local_config(folder: Path, what: str) -> Any:
    """The configuration of the model in a folder; nothing else is read.

    Args:
        folder: as `save_pretrained` writes it.
        what: what messages call the model, such as `text encoder`.

    Raises:
        UsageError: no such folder.
        ModelFormatError: it holds no model, or none in safetensors.
        EngineError: transformers is not installed.
    """
    if not folder.is_dir():
        raise UsageError(f"the {what} {folder} is no folder: give one that holds a model")
    if not any(folder.glob("*.safetensors")):
        raise ModelFormatError(
            f"the {what} {folder} holds no .safetensors file, and pickled weights are not read: "
            "save the model as safetensors"
        )
    with _reading(folder, what):
        return library().AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )


def load_local(kind: Any, folder: Path, what: str) -> Any:
    """The model of a folder in float32, ready to run.

    Args:
        kind: a class of the transformers library.
        folder, what: see `local_config`.

    Raises:
        ModelFormatError: the weights are damaged, or some are missing.
    """
    with _reading(folder, what):
        # Half precision would not do: T5's activations leave its range.
        model, found = kind.from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            output_loading_info=True,
        )
    if missing := sorted(found["missing_keys"]):
        # The library would go on with random numbers in their place.
        raise ModelFormatError(
            f"the {what} {folder} lacks {len(missing)} of its weights, such as {missing[0]}: "
            "fetch it again"
        )
    return model.requires_grad_(False).eval()


def fingerprint(folder: Path) -> str:
    """Twelve hex digits that change with the model in a folder; its name is no part of them."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix not in {".json", ".safetensors", ".model", ".txt"}:
            continue
        state = path.stat()
        digest.update(f"{path.name} {state.st_size};".encode())
        if state.st_size <= _SMALL_BYTES:
            digest.update(path.read_bytes())
        else:
            digest.update(str(state.st_mtime_ns).encode())
    return digest.hexdigest()[:12]


def identifier_of(folder: Path) -> str:
    """What vectors of the model in a folder are told by: its name and fingerprint."""
    return f"{folder.resolve().name}/{fingerprint(folder)}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the library reports, and its progress bars, off the user's terminal."""
    logging = library().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _reading(folder: Path, what: str) -> Iterator[None]:
    """Quiet the library's reports, and turn its failures into one sentence."""
    try:
        with quiet():
            yield
    except Exception as exc:  # the library raises a dozen unrelated types
        reason = " ".join(str(exc).split())[:200]
        raise ModelFormatError(
            f"the {what} {folder} cannot be loaded ({reason}): give the folder of a model as "
            "transformers saves it"
        ) from exc
