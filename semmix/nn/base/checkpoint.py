"""Weights that others have trained: from a published checkpoint to a network (VisAH, section 4).

A checkpoint comes from anyone, so nothing in it is run: pickles are read by PyTorch's restricted
reader, sizes are held against limits and against what the file holds, and names and shapes against
the network's own, before anything of such sizes is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from semmix.errors import ModelFormatError, WeightsMismatchError, first_line
from semmix.nn.base.config import CONTEXT_DIMS, BaseConfig, Context, ContextAttention
from semmix.nn.base.network import BaseSemMix
from semmix.nn.restricted import is_dense, load_restricted

MAX_BYTES = 4 << 30
"""A text model with both of Adam's moments weighs 0.8 GB in float32."""

LISTED_KEYS = 8
"""Names a message lists of each kind; the rest is counted."""

_LIGHTNING_PREFIX = "model."
_POSITIONS = frozenset({"latent_transformer.pe.pe", "latent_transformer.pe_context.pe"})
_CONTEXT_LAYER = re.compile(r"latent_transformer\.context_transformer_encoder\.layers\.(\d+)\.")
_BLOCK = re.compile(r"latent_transformer\.transformer_blocks\.(\d+)\.")


def load_published(path: Path, *, context_attention: ContextAttention = "released") -> BaseSemMix:
    """The network of a checkpoint file, ready to run.

    Takes what Lightning saves (`state_dict` with keys `model.*`), a plain state dict, and
    safetensors. Which network it is, its shapes tell. The weights are those of the file, read by
    page where the file allows it, not a copy beside it.

    Args:
        path: of the file.
        context_attention: see `BaseConfig`; published weights give published results with
            `released` only.

    Raises:
        WeightsMismatchError: names or shapes are not this network's; it holds every difference.
        ModelFormatError: not a checkpoint, not of this network, larger than it may be, or with
            weights that are no numbers.
    """
    state = _own_keys(_read(path), path)
    _check_sizes(state, path)
    config = _config_of(state, context_attention, path)
    try:
        with torch.device("meta"):
            network = BaseSemMix(config)
    except (ValueError, RuntimeError, ArithmeticError) as exc:
        raise _foreign(path, f"its sizes make no network: {first_line(exc)}") from exc
    _check_shapes(network, state, path)
    try:
        weights = {name: _weight(name, tensor, path) for name, tensor in state.items()}
        network.load_state_dict(weights, assign=True)
    except (RuntimeError, MemoryError) as exc:
        raise _foreign(path, " ".join(str(exc).split())[:300]) from exc
    return network.requires_grad_(False).eval()


def _read(path: Path) -> Mapping[Any, Any]:
    """The top-level table of a checkpoint."""
    try:
        if path.suffix == ".safetensors":
            if path.stat().st_size > MAX_BYTES:
                raise _foreign(path, f"it is larger than {MAX_BYTES >> 30} GiB")
            with safe_open(str(path), framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        content = load_restricted(path, MAX_BYTES, lambda reason: _foreign(path, reason))
    except OSError as exc:
        raise ModelFormatError(
            f"{path} cannot be read ({exc.strerror or exc}): check the path and its permissions"
        ) from exc
    except (SafetensorError, ValueError, RuntimeError) as exc:
        raise _foreign(path, first_line(exc)) from exc
    if not isinstance(content, Mapping):
        raise _foreign(path, f"it holds a {type(content).__name__}, not a table of weights")
    return content


def _own_keys(content: Mapping[Any, Any], path: Path) -> dict[str, Tensor]:
    """The network's entries under their own names: without Lightning's prefix and the losses."""
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise _foreign(path, "its state_dict is no table")
    kept = {key: value for key, value in state.items() if "loss" not in str(key)}
    odd = [key for key, value in kept.items() if not (isinstance(key, str) and is_dense(value))]
    if odd or not kept:
        raise _foreign(path, f"no dense float tensors: {_listed(odd)}" if odd else "it is empty")
    own = {key.removeprefix(_LIGHTNING_PREFIX): value for key, value in kept.items()}
    if len(own) != len(kept):
        raise _foreign(path, "it holds weights twice, with and without 'model.'")
    return own


def _check_sizes(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that are larger than what is stored of them, or too large in float32.

    A few bytes with a stride of zero can have any shape, and would grow to it when copied.
    """
    larger = [
        f"{name} {list(tensor.shape)}"
        for name, tensor in state.items()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    ]
    if larger:
        raise _foreign(path, f"it holds only a part of {_listed(larger)}")
    total = sum(tensor.numel() for tensor in state.values()) * torch.float32.itemsize
    if total > MAX_BYTES:
        raise _foreign(path, f"its weights come to {total} bytes")


def _config_of(
    state: Mapping[str, Tensor], context_attention: ContextAttention, path: Path
) -> BaseConfig:
    """Sizes that the shapes tell; the number of heads shows in none and is the published one."""

    def size(key: str, axis: int) -> int:
        tensor = state.get(key)
        if tensor is None or tensor.dim() <= axis:
            raise _foreign(path, f"it has no {key} that tells its sizes")
        return tensor.shape[axis]

    context: Context = "none"
    if "latent_transformer.context_proj.weight" in state:
        width = size("latent_transformer.context_proj.weight", 1)
        if width == CONTEXT_DIMS["text"]:
            context = "text"
        elif width == CONTEXT_DIMS["vision"]:
            context = "vision"
        else:
            raise _foreign(
                path,
                f"its context vectors are {width} wide, neither {CONTEXT_DIMS['text']} (text) nor "
                f"{CONTEXT_DIMS['vision']} (vision)",
            )
    try:
        return BaseConfig(
            context=context,
            context_layers=_distinct(_CONTEXT_LAYER, state),
            context_attention=context_attention,
            channels=size("encoder.0.conv.weight", 0),
            width=size("latent_transformer.proj_in.weight", 0),
            depth=_distinct(_BLOCK, state),
        )
    except ValueError as exc:
        raise _foreign(path, str(exc)) from exc


def _distinct(pattern: re.Pattern[str], state: Mapping[str, Tensor]) -> int:
    """Number of layers named; bounded by the file's entries, whatever numbers it writes."""
    return len({match[1] for key in state if (match := pattern.match(key))})


def _check_shapes(network: BaseSemMix, state: Mapping[str, Tensor], path: Path) -> None:
    """Hold all names and shapes against the network's, and tell every one that differs."""
    expected = {key: list(value.shape) for key, value in network.state_dict().items()}
    found = {key: list(value.shape) for key, value in state.items() if key not in _POSITIONS}
    missing = {key: expected[key] for key in sorted(expected.keys() - found.keys())}
    foreign = {key: found[key] for key in sorted(found.keys() - expected.keys())}
    reshaped = {
        key: {"found": found[key], "expected": expected[key]}
        for key in sorted(expected.keys() & found.keys())
        if found[key] != expected[key]
    }
    other = [
        f"{key} {pair['found']} instead of {pair['expected']}" for key, pair in reshaped.items()
    ]
    parts = (("it lacks", [*missing]), ("it adds", [*foreign]), ("it has", other))
    problems = [f"{label} {_listed(names)}" for label, names in parts if names]
    if any(len(names) > LISTED_KEYS for _, names in parts):
        problems.append("`semmix-rt import --json` lists all")
    if problems:
        raise WeightsMismatchError(
            _refusal(path, "; ".join(problems)),
            {"missing": missing, "foreign": foreign, "reshaped": reshaped},
        )


def _weight(name: str, tensor: Tensor, path: Path) -> Tensor:
    weight = tensor.float().contiguous()
    if not bool(torch.isfinite(weight).all()):
        raise _foreign(path, f"{name} holds NaN or infinity")
    return weight


def _listed(names: Iterable[object]) -> str:
    texts = [str(name)[:120] for name in names]
    more = len(texts) - LISTED_KEYS
    return ", ".join(texts[:LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _foreign(path: Path, reason: str) -> ModelFormatError:
    return ModelFormatError(_refusal(path, reason))


def _refusal(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be read as a checkpoint of the base network ({reason}): give a VisAH or "
        "SemMix checkpoint as it was published"
    )
