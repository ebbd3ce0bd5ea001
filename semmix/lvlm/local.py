"""A `transformers` image-text-to-text model as a `VisionChat`: greedy, local, safetensors only."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import version
from typing import Any

from semmix.cues.chat import MAX_NEW_TOKENS, Talk
from semmix.errors import EngineError, ModelFormatError, UsageError, first_line
from semmix.lvlm.folder import locate

DTYPES = ("auto", "float32", "float16", "bfloat16")
_PACKAGES = ("torch", "transformers", "PIL")


class LocalChat:
    """Answers with a model on this machine, which loads at the first talk.

    Attributes:
        identifier: name and hash of the model's files, dtype and transformers version. Device
            and batch stay out: they change the last bits of a sum, not what is seen.
        batch: talks that are answered at once.
        deterministic: True: words are chosen greedily, by the files that `identifier` names.
    """

    deterministic = True

    def __init__(
        self, model: str, *, device: str = "auto", dtype: str = "auto", batch: int = 1
    ) -> None:
        """Find the model and name it; a model of the hub is fetched here.

        Args:
            model: see `semmix.lvlm.folder.locate`.
            device: as torch names it, such as `cpu` or `cuda:0`; `auto` is the first CUDA
                device, else the CPU.
            dtype: one of `DTYPES`; `auto` is what the weights were saved in.
            batch: talks that are answered at once, 1 or more.

        Raises:
            UsageError: no such model, or a setting that means nothing.
            EngineError: a package is not installed.
            ModelFormatError: the folder holds no model, or no safetensors weights.
        """
        if dtype not in DTYPES or batch < 1:
            raise UsageError(
                f"a vision language model cannot run in {dtype!r} with a batch of {batch}: choose "
                f"one of {', '.join(DTYPES)} and a batch of 1 or more"
            )
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise EngineError(
                f"a vision language model needs {' and '.join(missing)}: "
                "pip install 'semmix-rt[lvlm]'"
            )
        self._model = locate(model)
        self._device, self._dtype = device, dtype
        self.batch = batch
        told = repr((self._model.fingerprint, dtype, version("transformers")))
        digest = blake2b(told.encode(), digest_size=6).hexdigest()
        self.identifier = f"{self._model.name}#{digest}"
        self._loaded: tuple[Any, Any] | None = None

    def answer(self, talks: Sequence[Talk]) -> list[str]:
        """Answer each talk greedily.

        Raises:
            EngineError: the device is missing, or the model cannot run.
            ModelFormatError: the files cannot be loaded.
        """
        if not talks:
            return []
        import torch

        with _quiet():
            if self._loaded is None:
                self._loaded = self._load()
            processor, network = self._loaded
            inputs = self._inputs(processor, talks).to(device=network.device, dtype=network.dtype)
            try:
                with torch.inference_mode():
                    tokens = network.generate(
                        **inputs,
                        do_sample=False,
                        num_beams=1,
                        temperature=None,
                        top_p=None,
                        top_k=None,
                        max_new_tokens=MAX_NEW_TOKENS,
                    )
            except (RuntimeError, ValueError, IndexError) as exc:
                raise EngineError(
                    f"the model {self._model.name} cannot run on {network.device} "
                    f"({first_line(exc)}): try a smaller batch, another dtype or the device cpu"
                ) from exc
            new = tokens[:, inputs["input_ids"].shape[1] :]
            answers: list[str] = processor.batch_decode(new, skip_special_tokens=True)
            return answers

    def _load(self) -> tuple[Any, Any]:
        """Processor and network."""
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        device = self._device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        # Code that comes with a model never runs. False, since None would ask on the terminal.
        safe = {"local_files_only": True, "trust_remote_code": False}
        folder = str(self._model.folder)
        try:
            processor = AutoProcessor.from_pretrained(folder, **safe)
            network, info = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=self._dtype,
                use_safetensors=True,
                output_loading_info=True,
                **safe,
            )
        except Exception as exc:  # transformers raises a dozen unrelated types here
            raise ModelFormatError(
                f"transformers {version('transformers')} cannot load {folder} as an "
                f"image-text-to-text model ({first_line(exc)}): give a folder or hub name of one "
                "that needs no code of its own"
            ) from exc
        if info["missing_keys"]:
            raise ModelFormatError(
                f"{folder} lacks {len(info['missing_keys'])} of the network's tensors, such as "
                f"{sorted(info['missing_keys'])[0]}: the weights are cut short or of another model"
            )
        tokenizer = getattr(processor, "tokenizer", None)
        if tokenizer is None or not getattr(processor, "chat_template", None):
            raise ModelFormatError(
                f"{folder} has no tokenizer with a chat template, so it cannot be asked: give a "
                "model that was made to follow instructions"
            )
        # The new tokens must follow the prompt directly, also in the shorter talks of a batch.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        try:
            network = network.eval().to(device)
        except (RuntimeError, AssertionError) as exc:
            raise EngineError(
                f"the model cannot run on the device {device!r} ({first_line(exc)}): name one "
                "that torch finds here, such as cpu"
            ) from exc
        network.generation_config.pad_token_id = tokenizer.pad_token_id
        return processor, network

    def _inputs(self, processor: Any, talks: Sequence[Talk]) -> Any:
        """The talks as one batch of tensors."""
        try:
            return processor.apply_chat_template(
                [_messages(talk) for talk in talks],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                padding=True,
            )
        except Exception as exc:  # templates raise what their authors thought of
            raise ModelFormatError(
                f"the chat template or processor of {self._model.folder} does not take a picture "
                f"with a question ({first_line(exc)}): give an image-text-to-text model that "
                "follows instructions"
            ) from exc


def _messages(talk: Talk) -> list[dict[str, Any]]:
    """A talk in the form of chat templates."""
    from PIL import Image

    messages: list[dict[str, Any]] = []
    for number, turn in enumerate(talk.turns):
        content: list[dict[str, Any]] = [{"type": "text", "text": turn}]
        if number == 0:
            content.insert(0, {"type": "image", "image": Image.fromarray(talk.image)})
        messages.append({"role": "assistant" if number % 2 else "user", "content": content})
    return messages


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and hints from the terminal, which shows one bar of our own."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
