"""An exported encoder beside the one it was made from: the same tokens, the same vectors.

Each sentence goes alone, as in `remix`, and some go together with padding between them: a graph
that was frozen at one length or one batch, or that forgets its mask, fails by that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.cues.onnx_text import OnnxText
from semmix.encoders.exported import OnnxVision
from semmix.encoders.frames import pixels_of
from semmix.encoders.local_text import LocalText
from semmix.encoders.local_vision import LocalVision
from semmix.errors import ModelFormatError, ParityError
from semmix.metrics import snr_db
from semmix_export.thresholds import ENCODER, EncoderThresholds

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

SENTENCES = (
    "Rain.",
    "She looks anxious.",
    "A woman in a grey coat stands at a window.",
    "Ein Mädchen läuft über die Straße, während es dämmert.",
    "Café « L'Été », 東京の夜, 🎻 and 3½ people",
    "A woman in a grey coat stands at a window. She looks anxious. A close-up of her face. The "
    "picture is dark and cold. A small room at night. She is speaking quietly, and rain falls "
    "outside.",
    # Longer than any encoder reads.
    "Two cars race along a bright road, and engines roar over loud music. " * 64,
)
_TOGETHER = (0, 3, 5)


@dataclass(frozen=True, slots=True)
class TextReference:
    """What PyTorch makes of the sentences.

    Attributes:
        tokens: of each sentence.
        vectors: of each sentence, `[N, D]`.
        ids, mask: of some sentences with padding, `[B, S]`.
        states: of these, `[B, S, D]`.
    """

    tokens: tuple[list[int], ...]
    vectors: Float32
    ids: Int64
    mask: Int64
    states: Float32


@dataclass(frozen=True, slots=True)
class VisionReference:
    """What PyTorch makes of pictures.

    Attributes:
        pixels: normalised, `[N, 3, P, P]`.
        features: of each alone, `[N, D]`.
    """

    pixels: Float32
    features: Float32


@dataclass(frozen=True, slots=True)
class EncoderParity:
    """The worst of all inputs.

    Attributes:
        inputs: how many sentences or pictures were compared.
        cosine: between vectors.
        snr_db: energy of PyTorch's vector over that of the difference.
        batch_snr_db: the same of several inputs at once, of a text encoder their token states.
        other_tokens: sentences that became other tokens, cut short.
        limits: what was asked for.
    """

    inputs: int
    cosine: float
    snr_db: float
    batch_snr_db: float
    other_tokens: tuple[str, ...] = ()
    limits: EncoderThresholds = ENCODER

    @property
    def failures(self) -> tuple[str, ...]:
        """What is outside the gate, empty where it passed."""
        found = [f"other tokens for {sentence!r}" for sentence in self.other_tokens]
        # Written so that NaN fails.
        if not self.cosine >= self.limits.cosine:
            found.append(f"a cosine of {self.cosine:.7f} of {self.limits.cosine:g}")
        for what, value in (("one by one", self.snr_db), ("together", self.batch_snr_db)):
            if not value >= self.limits.snr_db:
                found.append(f"{value:.1f} dB of {self.limits.snr_db:g} dB {what}")
        return tuple(found)

    def record(self, against: str) -> dict[str, Any]:
        """Plain JSON values of one that passed.

        Args:
            against: what the reference was.

        Raises:
            ParityError: it did not pass.
        """
        if self.failures:
            raise ParityError(
                f"the exported encoder differs from PyTorch ({'; '.join(self.failures)}): export "
                "it by the other road (--road), or report this with the versions that "
                "`semmix-rt env` prints"
            )
        return {
            "passed": True,
            "against": against,
            "inputs": self.inputs,
            "cosine": round(self.cosine, 9),
            "snr_db": round(self.snr_db, 1),
            "batch_snr_db": round(self.batch_snr_db, 1),
            "thresholds": asdict(self.limits),
        }


def text_reference(encoder: LocalText) -> TextReference:
    """Run a text encoder in PyTorch.

    Raises:
        ModelFormatError: its files are damaged.
    """
    tokens = tuple(encoder.token_ids(sentence) for sentence in SENTENCES)
    together = [tokens[i] for i in _TOGETHER]
    longest = max(map(len, together))
    pad = encoder.tokenizer.pad_token_id or 0
    ids = np.array([row + [pad] * (longest - len(row)) for row in together], np.int64)
    mask = np.array([[i < len(row) for i in range(longest)] for row in together], np.int64)
    vectors = np.stack([encoder.mean_state(sentence) for sentence in SENTENCES])
    return TextReference(
        tokens, vectors.astype(np.float32), ids, mask, encoder.states(ids, mask).copy()
    )


def vision_reference(encoder: LocalVision) -> VisionReference:
    """Run a vision encoder in PyTorch on black, white, a ramp and noise.

    Raises:
        ModelFormatError: its files are damaged.
    """
    side = encoder.side_px
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    images = (
        *(np.full((side, side, 3), level, np.uint8) for level in (0, 255)),
        np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side))] * 2, -1)[..., :3],
        np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8),
    )
    pixels = np.stack([pixels_of(image) for image in images])
    features = np.concatenate([encoder.features(one[None]) for one in pixels])
    return VisionReference(pixels, features)


def compare_text(expected: TextReference, found: OnnxText) -> EncoderParity:
    """Hold an exported text encoder against the reference.

    Raises:
        ParityError: it does not run.
    """
    others = [
        sentence[:40]
        for sentence, tokens in zip(SENTENCES, expected.tokens, strict=True)
        if found.token_ids(sentence) != tokens
    ]
    try:
        vectors = np.stack([found.mean_state(s) for s in SENTENCES]).astype(np.float32)
        states = found.states(expected.ids, expected.mask)
    except ModelFormatError as exc:
        raise ParityError(f"the exported encoder takes other inputs than PyTorch: {exc}") from exc
    seen = expected.mask.astype(bool)
    return EncoderParity(
        len(SENTENCES),
        *_agreement(expected.vectors, vectors),
        batch_snr_db=_snr_db(expected.states[seen], states[seen]),
        other_tokens=tuple(others),
    )


def compare_vision(expected: VisionReference, found: OnnxVision) -> EncoderParity:
    """Hold an exported vision encoder against the reference.

    Raises:
        ParityError: it does not run.
    """
    try:
        alone = np.concatenate([found.features(one[None]) for one in expected.pixels])
        together = found.features(expected.pixels)
    except ModelFormatError as exc:
        raise ParityError(f"the exported encoder takes other inputs than PyTorch: {exc}") from exc
    return EncoderParity(
        len(expected.pixels),
        *_agreement(expected.features, alone),
        batch_snr_db=_snr_db(expected.features, together),
    )


def _agreement(expected: Float32, found: Float32) -> tuple[float, float]:
    """The least cosine and the least ratio in dB between rows of `[N, D]`."""
    if expected.shape != found.shape:
        return math.nan, -math.inf
    rows = list(zip(expected.astype(np.float64), found.astype(np.float64), strict=True))
    cosines = [float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) for a, b in rows]
    return _least(cosines), min(snr_db(a, b) for a, b in zip(expected, found, strict=True))


def _least(values: Sequence[float]) -> float:
    return float(np.min(values))


def _snr_db(expected: Float32, found: Float32) -> float:
    return snr_db(expected, found) if expected.shape == found.shape else -math.inf
