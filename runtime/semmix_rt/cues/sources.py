"""What may read the picture, by name: `embedded`, `lvlm:MODEL`, `openai:MODEL`.

Vision language models that run in this process announce themselves in the entry-point group
`semmix_rt.vision_chats`, so that the runtime never imports PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points

from semmix.cues.chat import VisionChat
from semmix.cues.prompts import REGIMES, Regime
from semmix.errors import EngineError, UsageError
from semmix_rt.cues import extract
from semmix_rt.cues.asked import AskingExtractor
from semmix_rt.cues.cache import CueCache

GROUP = "semmix_rt.vision_chats"
EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class CueSource:
    """What reads the picture, and how.

    Attributes:
        name: `embedded`; `lvlm:MODEL` with the folder or hub name of a `transformers`
            image-text-to-text model; `openai:MODEL` with a name that the server at `url` knows.
        prompts: `focused` or `minimal`, None for focused.
        url: base address of an OpenAI-compatible server.
        device: where an `lvlm` runs, None for `auto`.
        dtype: in which numbers it runs, None for `auto`.
        batch: how many pictures it sees at once, None for 1.
        requests: how many pictures the server at `url` is sent at once, None for 4.
    """

    name: str = EMBEDDED
    prompts: str | None = None
    url: str | None = None
    device: str | None = None
    dtype: str | None = None
    batch: int | None = None
    requests: int | None = None


def open_extractor(source: CueSource, *, cache: bool = True) -> extract.Extractor:
    """Open what a source names; models load when they meet the first picture.

    Args:
        source: name and options.
        cache: look up and keep a model's answers by picture.

    Raises:
        UsageError: no such source or model, or an option that does not belong to it.
        EngineError: a package is missing.
        ModelFormatError: the model's folder holds no safetensors model.
    """
    kind, _, model = source.name.partition(":")
    if source.name == EMBEDDED:
        _refuse(source, "prompts", "url", "device", "dtype", "batch", "requests")
        return extract.default_extractor()
    if kind not in ("lvlm", "openai") or not model:
        raise UsageError(
            f"cues cannot come from {source.name!r}: choose embedded, lvlm:MODEL (a folder or hub "
            "name) or openai:MODEL with --cues-url"
        )
    regime = _regime(source.prompts)
    chat: VisionChat
    if kind == "lvlm":
        _refuse(source, "url", "requests")
        chat = _local_chat(source, model)
    else:
        _refuse(source, "device", "dtype", "batch")
        if source.url is None:
            raise UsageError(f"{source.name} needs the server's address: add --cues-url URL")
        from semmix_rt.cues.endpoint import REQUESTS, EndpointChat

        chat = EndpointChat(model, source.url, requests=source.requests or REQUESTS)
    return AskingExtractor(kind, chat, regime, CueCache() if cache else None)


def _local_chat(source: CueSource, model: str) -> VisionChat:
    """The announced back end for models in this process."""
    entry = next(iter(entry_points(group=GROUP, name="lvlm")), None)
    if entry is None:
        raise EngineError(
            "this installation announces no back end for vision language models: install "
            "semmix-rt again"
        )
    chat: VisionChat = entry.load()(
        model,
        device=source.device or "auto",
        dtype=source.dtype or "auto",
        batch=1 if source.batch is None else source.batch,
    )
    return chat


def _regime(name: str | None) -> Regime:
    for regime in REGIMES:
        if name in (None, regime):
            return regime
    raise UsageError(f"there are no {name!r} prompts: choose {' or '.join(REGIMES)}")


def _refuse(source: CueSource, *options: str) -> None:
    """Options that would do nothing are mistakes."""
    for option in options:
        if getattr(source, option) is not None:
            raise UsageError(
                f"cues from {source.name} take no {option}: leave it out, or choose another source"
            )
