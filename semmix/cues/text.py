"""Sentences -> embeddings: the text encoder that cues pass through.

paraphrase-MiniLM-L3-v2 (Reimers and Gurevych, 2019): WordPiece tokens, three transformer
layers, mean over the token states, L2 norm 1. Its weights are INT8, its arithmetic is FP32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.assets import verified_model
from semmix.cues.onnx_text import OnnxText
from semmix.cues.types import CueSegment, CueType

MAX_TOKENS = 64
CACHED_SENTENCES = 2048


class TextEncoder:
    """Encodes sentences one by one, so that a result never depends on its neighbours.

    Attributes:
        identifier: name and hash of the weights; a mask network works only with embeddings
            of the encoder it was trained with.
        dim: width E of an embedding.
    """

    def __init__(self, model: Path, tokenizer: Path, name: str) -> None:
        """Open an encoder.

        Args:
            model: ONNX file, `input_ids`, `attention_mask` int64 [1, S] -> states [1, S, E].
            tokenizer: `tokenizer.json` of the `tokenizers` library.
            name: human part of the identifier.

        Raises:
            EngineError: ONNX Runtime or tokenizers is not installed.
            ModelFormatError: a file cannot be read, or the graph has another contract.
        """
        self._text = OnnxText(model, tokenizer, MAX_TOKENS)
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        self.identifier = f"{name}/{digest[:12]}"
        self._encode_cached = lru_cache(maxsize=CACHED_SENTENCES)(self._encode_one)
        self.dim = int(self._encode_one("a").shape[0])

    @classmethod
    def default(cls) -> TextEncoder:
        """The bundled encoder, opened once per process.

        Raises:
            EngineError: ONNX Runtime or tokenizers is not installed.
            ModelFormatError: the bundled weights are missing or damaged.
        """
        return _default_encoder()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed sentences.

        Args:
            texts: N sentences; beyond 64 tokens a sentence is cut.

        Returns:
            float32 [N, E], each row of L2 norm 1.
        """
        if isinstance(texts, str):
            raise TypeError("encode takes a list of sentences, not one string")
        rows = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[:] = self._encode_cached(text)
        return rows

    def _encode_one(self, text: str) -> NDArray[np.float32]:
        mean = self._text.mean_state(text)
        embedding: NDArray[np.float32] = (mean / np.linalg.norm(mean)).astype(np.float32)
        embedding.setflags(write=False)
        return embedding


@lru_cache(maxsize=1)
def _default_encoder() -> TextEncoder:
    return TextEncoder(
        verified_model("text/model.onnx"),
        verified_model("text/tokenizer.json"),
        "paraphrase-MiniLM-L3-v2-int8",
    )


def embed_segment(
    segment: CueSegment, encoder: TextEncoder, cue_types: Sequence[CueType | str]
) -> NDArray[np.float32]:
    """Embeddings of one segment's cues, in the order the network was trained with.

    Args:
        segment: the cues.
        encoder: text encoder.
        cue_types: K cue types.

    Returns:
        float32 [K, E]; the row of an unknown cue is zero.
    """
    rows = np.zeros((len(cue_types), encoder.dim), np.float32)
    for row, name in zip(rows, cue_types, strict=True):
        text = segment.cue(CueType(name)).text
        if text is not None:
            row[:] = encoder.encode([text])[0]
    return rows
