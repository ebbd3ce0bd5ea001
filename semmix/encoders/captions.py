"""Captions to context vectors, through a text encoder such as T5-XXL's."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.cues.types import CUE_TYPES, CueSegment
from semmix.encoders.folders import fingerprint, library, load_local, local_config
from semmix.errors import ModelFormatError

MAX_TOKENS = 512
CACHED_CAPTIONS = 1024
_WHAT = "text encoder"
_VOCABULARIES = (
    *("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("vocab.txt", "vocab.json"),
)


class CaptionEmbedder:
    """Embeds each segment's cues as one caption: the mean over its tokens' last states.

    Networks with one vector a second were trained with one caption a frame (VisAH, section 4).
    Weights are loaded when the first caption is embedded.

    Attributes:
        dim: width D of a vector.
        key: names what vectors depend on besides the caption.
        identifier: name and fingerprint of the encoder.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        """Check an encoder.

        Args:
            folder: of a transformers model, its tokenizer beside it.
            dim: width of the vectors a mask network takes.

        Raises:
            UsageError: no such folder.
            ModelFormatError: it holds no text encoder, or one of another width.
            EngineError: transformers is not installed.
        """
        self._folder = folder
        config = local_config(folder, _WHAT)
        width = getattr(config, "hidden_size", None)
        if width != dim:
            raise ModelFormatError(
                f"the text encoder {folder} makes vectors of {width} numbers and the model takes "
                f"{dim}: give the encoder that the model was trained with"
            )
        if not any((folder / name).is_file() for name in _VOCABULARIES):
            # The library would go on with an empty vocabulary.
            raise ModelFormatError(
                f"the text encoder {folder} has no tokenizer: put its tokenizer.json beside the "
                "weights"
            )
        self._kind = _kind_for(config)
        self.dim = dim
        self.identifier = f"{folder.resolve().name}/{fingerprint(folder)}"
        self.key = f"{self.identifier} mean of captions"
        self._encode = lru_cache(maxsize=CACHED_CAPTIONS)(self._encode_anew)
        self._loaded: tuple[Any, Any] | None = None

    def sentences(self, segment: CueSegment) -> list[str | None]:
        """A segment's cues as one text, in the order of their types; None where none is known."""
        known = (segment.cue(cue_type).text for cue_type in CUE_TYPES)
        return [" ".join(text for text in known if text is not None) or None]

    def __call__(self, segment: CueSegment) -> NDArray[np.float32]:
        """The vector of a segment's caption, float32 `[1, D]`, zeros where nothing is known.

        Raises:
            ModelFormatError: the encoder's files are damaged.
        """
        (text,) = self.sentences(segment)
        if text is None:
            return np.zeros((1, self.dim), np.float32)
        return self._encode(text)[None]

    def _encode_anew(self, text: str) -> NDArray[np.float32]:
        tokenizer, model = self._models()
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_TOKENS)
        states = model(**inputs).last_hidden_state[0].numpy()
        vector: NDArray[np.float32] = states.mean(axis=0, dtype=np.float64).astype(np.float32)
        if vector.shape != (self.dim,) or not np.isfinite(vector).all():
            raise ModelFormatError(
                f"the text encoder {self._folder} gave {list(vector.shape)} numbers, or some that "
                "are none: fetch it again"
            )
        return vector

    def _models(self) -> tuple[Any, Any]:
        if self._loaded is None:
            model = load_local(self._kind, self._folder, _WHAT)
            try:
                tokenizer = library().AutoTokenizer.from_pretrained(
                    str(self._folder), local_files_only=True, trust_remote_code=False
                )
            except Exception as exc:  # the library raises a dozen unrelated types
                reason = " ".join(str(exc).split())[:200]
                raise ModelFormatError(
                    f"the tokenizer of the text encoder {self._folder} cannot be read "
                    f"({reason}): fetch it again"
                ) from exc
            self._loaded = tokenizer, model
        return self._loaded


def _kind_for(config: Any) -> Any:
    """The class that loads the encoder alone of models that have a decoder too, such as T5."""
    transformers = library()
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING

    known = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return transformers.AutoModelForTextEncoding if known else transformers.AutoModel
