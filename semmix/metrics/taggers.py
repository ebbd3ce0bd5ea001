"""Audio taggers from ONNX and TFLite files: what a clip sounds like, as class probabilities.

A tagger hears a waveform and scores classes. Its file says how: one float32 input `[N]`,
`[1, N]` or `[1, 1, N]`, N fixed or free, and scores as its first output, `[K]` or `[..., K]`.
Models that want a spectrogram are exported with the front end inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from semmix.errors import EngineError, ModelFormatError, UsageError
from semmix.metrics.kld import softmax
from semmix.metrics.signals import Float64, as_signal

Scores = Literal["logits", "probabilities"]

RATE_KEYS = ("sample_rate_hz", "sample_rate", "sampling_rate")
"""Metadata of an ONNX file that tells the rate it was trained at."""


class Tagger(Protocol):
    """What tells the classes of a clip."""

    def distribution(self, signal: ArrayLike, rate_hz: int) -> Float64:
        """Class probabilities `[K]` of one channel `[N]`, sum 1."""
        ...


@dataclass(frozen=True, slots=True)
class FileTagger:
    """A tagger that runs a file.

    Attributes:
        name: the file's name, for reports.
        rate_hz: rate the model was trained at; other clips are resampled to it.
        window_samples: length of its input, None where any fits. Longer clips are cut into
            windows whose distributions are averaged by length; short ones end in silence.
        scores: what the model's output is. Logits go through a softmax, as in the published
            metric; probabilities, of independent classes too, are divided by their sum.
        infer: runs the model on float32 `[N]` and returns its first output.
    """

    name: str
    rate_hz: int
    window_samples: int | None
    scores: Scores
    infer: Callable[[NDArray[np.float32]], Any]

    def distribution(self, signal: ArrayLike, rate_hz: int) -> Float64:
        """Class probabilities `[K]` of one channel `[N]`, sum 1.

        Raises:
            UsageError: `signal` is not one channel of finite samples.
            ModelFormatError: the model's output is no score.
        """
        clip = as_signal(signal, "clip")
        if rate_hz != self.rate_hz:
            clip = soxr.resample(clip, rate_hz, self.rate_hz, quality="VHQ")
        size = self.window_samples or clip.size
        total, heard = np.zeros(1), 0
        for start in range(0, clip.size, size):
            part = clip[start : start + size].astype(np.float32)
            window = np.pad(part, (0, size - part.size))
            total = total + part.size * self._probabilities(self.infer(window))
            heard += part.size
        return np.asarray(total / heard)

    def _probabilities(self, output: Any) -> Float64:
        """Mean distribution `[K]` over the frames of one output `[..., K]`."""
        scores = np.asarray(output, dtype=np.float64)
        if scores.ndim == 0 or scores.shape[-1] < 2 or not np.isfinite(scores).all():
            raise ModelFormatError(
                f"{self.name} answers with the shape {scores.shape}, or NaN: a tagger's first "
                "output is the finite scores of two classes or more"
            )
        frames = scores.reshape(-1, scores.shape[-1])
        if self.scores == "logits":
            return np.asarray(softmax(frames).mean(axis=0))
        mean = frames.mean(axis=0)
        if mean.min() < 0.0 or mean.sum() <= 0.0:
            raise ModelFormatError(
                f"{self.name} gives scores from {mean.min():.3g}: these are logits, not "
                "probabilities; say so (--tagger-scores logits)"
            )
        return np.asarray(mean / mean.sum())


def open_tagger(path: Path, rate_hz: int | None = None, scores: Scores = "logits") -> FileTagger:
    """Open a tagger by its suffix, `.onnx` or `.tflite`.

    Args:
        path: the file.
        rate_hz: rate it was trained at; None reads it from an ONNX file's metadata.
        scores: what its output is.

    Raises:
        UsageError: another suffix, no such file, or nobody knows the rate.
        EngineError: the library that runs such files is not installed.
        ModelFormatError: the file is damaged or its input is no waveform.
    """
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; give a tagger as .onnx or .tflite")
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _open_onnx(path, rate_hz, scores)
    if suffix == ".tflite":
        return _open_tflite(path, rate_hz, scores)
    raise UsageError(f"{path}: a tagger is an .onnx or .tflite file")


def _open_onnx(path: Path, rate_hz: int | None, scores: Scores) -> FileTagger:
    from semmix.cues.session import cpu_session

    session = cpu_session(path)
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise ModelFormatError(
            f"{path} has the inputs {found}: a tagger takes one float32 waveform"
        )
    known = session.get_modelmeta().custom_metadata_map
    stated = next((known[key] for key in RATE_KEYS if key in known), None)
    shape = [size if isinstance(size, int) else None for size in inputs[0].shape]
    window = _window_samples(path, shape)
    name, rank = inputs[0].name, len(shape)

    def infer(samples: NDArray[np.float32]) -> Any:
        feed = {name: samples.reshape((1,) * (rank - 1) + (-1,))}
        try:
            return session.run(None, feed)[0]
        except Exception as exc:  # ONNX Runtime raises a dozen unrelated types here
            raise ModelFormatError(
                f"{path} does not run on {samples.size} samples ({exc}): export it with a "
                "waveform input"
            ) from exc

    return FileTagger(path.name, _rate(path, rate_hz, stated), window, scores, infer)


def _open_tflite(path: Path, rate_hz: int | None, scores: Scores) -> FileTagger:
    interpreter_class = _tflite_interpreter()
    try:
        interpreter = interpreter_class(model_path=str(path), num_threads=1)
        (given,) = interpreter.get_input_details()
    except (ValueError, RuntimeError) as exc:
        raise ModelFormatError(
            f"{path} cannot be loaded ({exc}): give a TFLite model with one waveform input"
        ) from exc
    if given["dtype"] is not np.float32:
        raise ModelFormatError(
            f"{path} takes {np.dtype(given['dtype']).name}: a tagger takes a float32 waveform"
        )
    signature = [int(n) if n > 0 else None for n in given.get("shape_signature", given["shape"])]
    window = _window_samples(path, signature)
    scored = interpreter.get_output_details()[0]["index"]

    def infer(samples: NDArray[np.float32]) -> Any:
        shape = (1,) * (len(signature) - 1) + (samples.size,)
        if window is None:
            interpreter.resize_tensor_input(given["index"], shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], samples.reshape(shape))
        interpreter.invoke()
        return interpreter.get_tensor(scored)

    return FileTagger(path.name, _rate(path, rate_hz, None), window, scores, infer)


def _tflite_interpreter() -> Any:
    """The interpreter class of whichever TFLite package is installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as exc:
            raise EngineError(
                "a .tflite tagger needs LiteRT, which is not installed: pip install "
                "ai-edge-litert, or give the tagger as .onnx"
            ) from exc
    return Interpreter


def _window_samples(path: Path, shape: Sequence[int | None]) -> int | None:
    """Length of the waveform that an input of this shape takes, None where any fits."""
    if not 1 <= len(shape) <= 3 or any(size not in (1, None) for size in shape[:-1]):
        raise ModelFormatError(
            f"{path} has an input of the shape {list(shape)}: a tagger takes a waveform [N], "
            "[1, N] or [1, 1, N]; export it with its front end inside"
        )
    return shape[-1]


def _rate(path: Path, asked_hz: int | None, stated: str | None) -> int:
    """The rate a model was trained at: what the user says, else what the file says."""
    if asked_hz is None and stated is None:
        raise UsageError(
            f"{path} does not say which sample rate it was trained at: give it "
            "(--tagger-rate, for instance 32000 for PaSST and 16000 for YAMNet)"
        )
    try:
        rate_hz = int(stated or "") if asked_hz is None else asked_hz
    except ValueError as exc:
        raise ModelFormatError(
            f"{path} states a sample rate of {stated!r}: give the true one (--tagger-rate)"
        ) from exc
    if not 1_000 <= rate_hz <= 384_000:
        raise UsageError(f"a tagger at {rate_hz} Hz cannot be: give 1000 to 384000 Hz")
    return rate_hz
