"""Encoders that `semmix-rt export-encoder` wrote: with ONNX Runtime and tokenizers alone."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semmix.cues.onnx_text import OnnxText
from semmix.cues.session import cpu_session, run_graph
from semmix.encoders.manifest import GRAPH_NAME, TOKENIZER_NAME, check_files, read_manifest
from semmix.errors import ModelFormatError


class ExportedText:
    """An exported text encoder, loaded and held against its hashes at the first text.

    Attributes:
        identifier: of the encoder that it was exported from.
        dim: width D of a token's state.
    """

    def __init__(self, folder: Path) -> None:
        """Check an encoder.

        Raises:
            ModelFormatError: it is damaged, of another version, or encodes no text.
        """
        self._folder = folder
        self._manifest = read_manifest(folder, "text")
        self.identifier = self._manifest.identifier
        self.dim = self._manifest.dim

    @cached_property
    def text(self) -> OnnxText:
        """Graph and tokenizer.

        Raises:
            ModelFormatError: a file is not the one that was exported.
            EngineError: ONNX Runtime or tokenizers is not installed.
        """
        check_files(self._folder, self._manifest)
        return OnnxText(
            self._folder / GRAPH_NAME, self._folder / TOKENIZER_NAME, self._manifest.length
        )

    def mean_state(self, text: str) -> NDArray[np.float64]:
        """The mean over a text's token states, `[D]`; raises as `text` does."""
        return self.text.mean_state(text)


class OnnxVision:
    """The graph of a vision encoder."""

    def __init__(self, graph: Path) -> None:
        """Open a graph, `pixel_values` float32 [B, 3, P, P] -> features [B, D].

        Raises:
            EngineError: ONNX Runtime is not installed.
            ModelFormatError: the file cannot be read, or the graph has another contract.
        """
        self._path = graph
        self._session = cpu_session(graph)
        inputs = [i.name for i in self._session.get_inputs()]
        shape = self._session.get_outputs()[0].shape
        if inputs != ["pixel_values"] or len(shape) != 2:
            raise ModelFormatError(
                f"{graph} is not a vision encoder (inputs {inputs}, output shape {shape}): pass a "
                "graph with pixel_values -> features [B, D]"
            )

    def features(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features `[B, D]` of normalised pictures `[B, 3, P, P]`.

        Raises:
            ModelFormatError: the graph does not run.
        """
        features: NDArray[np.float32] = run_graph(
            self._session, {"pixel_values": pixels}, self._path
        )
        return features


class ExportedVision:
    """An exported CLIP vision encoder, loaded and held against its hashes at the first picture.

    Attributes:
        identifier: of the encoder that it was exported from.
        dim: width D of a feature.
        side_px: side of the square that is looked at.
    """

    def __init__(self, folder: Path) -> None:
        """Check an encoder.

        Raises:
            ModelFormatError: it is damaged, of another version, or sees nothing.
        """
        self._folder = folder
        self._manifest = read_manifest(folder, "vision")
        self.identifier = self._manifest.identifier
        self.dim, self.side_px = self._manifest.dim, self._manifest.length

    @cached_property
    def _graph(self) -> OnnxVision:
        check_files(self._folder, self._manifest)
        return OnnxVision(self._folder / GRAPH_NAME)

    def features(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features `[B, D]` of normalised pictures `[B, 3, side_px, side_px]`.

        Raises:
            ModelFormatError: a file is not the one that was exported, or the graph does not run.
            EngineError: ONNX Runtime is not installed.
        """
        return self._graph.features(pixels)
