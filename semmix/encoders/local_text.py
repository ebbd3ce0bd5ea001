"""Text encoders as transformers saves them: a text's tokens and their states, with PyTorch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.encoders.folders import identifier_of, library, load_local, local_config, quiet
from semmix.errors import EngineError, ModelFormatError

MAX_TOKENS = 512
_WHAT = "text encoder"
_VOCABULARIES = (
    *("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("vocab.txt", "vocab.json"),
)


class LocalText:
    """The text encoder in a folder; tokenizer and weights are loaded when they are first needed.

    Attributes:
        identifier: name and fingerprint of the encoder.
        dim: width D of a token's state.
    """

    def __init__(self, folder: Path) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers model, its tokenizer beside it.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no text encoder.
            EngineError: transformers is not installed.
        """
        self._folder = folder
        self._config = local_config(folder, _WHAT)
        self.dim: int | None = getattr(self._config, "hidden_size", None)
        if not any((folder / name).is_file() for name in _VOCABULARIES):
            # The library would go on with an empty vocabulary.
            raise ModelFormatError(
                f"the text encoder {folder} has no tokenizer: put its tokenizer.json beside the "
                "weights"
            )
        self._kind = _kind_for(self._config)
        self.identifier = identifier_of(folder)
        self._model: Any = None
        self._tokenizer: Any = None

    @property
    def model(self) -> Any:
        """The model of the library, in float32.

        Raises:
            ModelFormatError: the weights are damaged, or some are missing.
        """
        if self._model is None:
            self._model = load_local(self._kind, self._folder, _WHAT)
        return self._model

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the library.

        Raises:
            EngineError: it is a SentencePiece model alone, and what reads these is not installed.
            ModelFormatError: it cannot be read.
        """
        if self._tokenizer is None:
            if self._needs_sentencepiece() and find_spec("sentencepiece") is None:
                # The library would go on to complain of another package.
                raise EngineError(
                    f"the tokenizer of the text encoder {self._folder} is a SentencePiece model: "
                    "pip install 'semmix-rt[encoders]'"
                )
            try:
                with quiet():
                    self._tokenizer = library().AutoTokenizer.from_pretrained(
                        str(self._folder), local_files_only=True, trust_remote_code=False
                    )
            except Exception as exc:  # the library raises a dozen unrelated types
                reason = " ".join(str(exc).split())[:200]
                raise ModelFormatError(
                    f"the tokenizer of the text encoder {self._folder} cannot be read "
                    f"({reason}): fetch it again"
                ) from exc
        return self._tokenizer

    def _needs_sentencepiece(self) -> bool:
        present = [name for name in _VOCABULARIES if (self._folder / name).is_file()]
        return all(name.endswith(".model") for name in present)

    @property
    def max_tokens(self) -> int:
        """Tokens that a text is cut to: ours, the tokenizer's or the positions the model has."""
        positions = getattr(self._config, "max_position_embeddings", MAX_TOKENS)
        return int(min(MAX_TOKENS, self.tokenizer.model_max_length, positions))

    def token_ids(self, text: str) -> list[int]:
        """A text's S tokens, those that mark its ends included."""
        ids: list[int] = self.tokenizer(text, truncation=True, max_length=self.max_tokens).input_ids
        return ids

    def states(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token states `[B, S, D]` of tokens `[B, S]`, of which a mask of 0 hides some."""
        # The library's own tensors take arrays: nothing here needs to import PyTorch.
        inputs = library().BatchEncoding(
            {"input_ids": ids, "attention_mask": mask}, tensor_type="pt"
        )
        states: NDArray[np.float32] = self.model(**inputs).last_hidden_state.numpy()
        return states

    def mean_state(self, text: str) -> NDArray[np.float64]:
        """The mean over a text's token states, `[D]`.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        ids = np.asarray([self.token_ids(text)], np.int64)
        mean: NDArray[np.float64] = self.states(ids, np.ones_like(ids))[0].mean(
            axis=0, dtype=np.float64
        )
        return mean


def _kind_for(config: Any) -> Any:
    """The class that loads the encoder alone of models that have a decoder too, such as T5."""
    transformers = library()
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    known = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return transformers.AutoModelForTextEncoding if known else transformers.AutoModel
