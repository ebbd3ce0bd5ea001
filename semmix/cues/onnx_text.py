"""Text encoders in ONNX: a text's tokens and their states, with ONNX Runtime and tokenizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.cues.session import cpu_session, run_graph
from semmix.errors import EngineError, ModelFormatError


class OnnxText:
    """A graph and its tokenizer."""

    def __init__(self, model: Path, tokenizer: Path, max_tokens: int) -> None:
        """Open an encoder.

        Args:
            model: ONNX file, `input_ids`, `attention_mask` int64 [B, S] -> states [B, S, E].
            tokenizer: `tokenizer.json` of the `tokenizers` library.
            max_tokens: longer texts are cut.

        Raises:
            EngineError: ONNX Runtime or tokenizers is not installed.
            ModelFormatError: a file cannot be read, or the graph has another contract.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as exc:
            raise EngineError(
                "the tokenizers package is not installed, and cues need it: pip install tokenizers"
            ) from exc
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as exc:  # tokenizers raises bare Exception
            raise ModelFormatError(
                f"the text encoder's {tokenizer} cannot be read ({exc}): install it again"
            ) from exc
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_tokens)
        self._session = cpu_session(model)
        self._model = model
        inputs = [i.name for i in self._session.get_inputs()]
        shape = self._session.get_outputs()[0].shape
        if inputs != ["input_ids", "attention_mask"] or len(shape) != 3:
            raise ModelFormatError(
                f"{model} is not a text encoder (inputs {inputs}, output shape {shape}): pass a "
                "graph with input_ids, attention_mask -> token states [B, S, E]"
            )

    def token_ids(self, text: str) -> list[int]:
        """A text's S tokens, those that mark its ends included."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def states(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        """Token states `[B, S, E]` of tokens `[B, S]`, of which a mask of 0 hides some.

        Raises:
            ModelFormatError: the graph does not run.
        """
        inputs = {"input_ids": ids, "attention_mask": mask}
        states: NDArray[np.float32] = run_graph(self._session, inputs, self._model)
        return states

    def mean_state(self, text: str) -> NDArray[np.float64]:
        """The mean over a text's token states, `[E]`.

        A text goes alone, so that a result never depends on its neighbours.
        """
        ids = np.asarray([self.token_ids(text)], np.int64)
        mean: NDArray[np.float64] = self.states(ids, np.ones_like(ids))[0].mean(
            axis=0, dtype=np.float64
        )
        return mean
