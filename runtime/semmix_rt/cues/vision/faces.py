"""Faces: BlazeFace full range (Bazarevsky et al., 2019), decoded in NumPy.

One anchor for each cell of a 48 x 48 grid; boxes that overlap are averaged by their scores, as
in MediaPipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semmix.assets import verified_model
from semmix.cues.session import cpu_session
from semmix_rt.cues.vision.resize import letterbox

SIDE_PX = 192
CELLS = 48
MIN_SCORE = 0.65
SAME_FACE_IOU = 0.3
SURE_SHARE = 0.2
"""Faces lower than this share of the picture are looked at again from nearer."""
CLOSER = 2.5
"""Side of the picture for the second look, over the longer side of the box."""
MAX_LOOKS = 4


@dataclass(frozen=True, slots=True)
class Face:
    """A face in the pixels of the picture it was found in.

    Attributes:
        left, top, right, bottom: box from forehead to chin.
        score: 0 to 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.bottom - self.top


def crop_square(image: NDArray[np.uint8], face: Face, margin: float) -> NDArray[np.uint8] | None:
    """The square around a face, cut at the picture's edges.

    Args:
        image: RGB `[H, W, 3]`.
        face: box in its pixels.
        margin: side of the square over the longer side of the box.

    Returns:
        RGB `[S, T, 3]`, or None where nothing is left of it.
    """
    half = max(face.right - face.left, face.height) * margin / 2
    x, y = (face.left + face.right) / 2, (face.top + face.bottom) / 2
    top, bottom = max(0, round(y - half)), min(image.shape[0], round(y + half))
    left, right = max(0, round(x - half)), min(image.shape[1], round(x + half))
    if bottom - top < 2 or right - left < 2:
        return None
    return image[top:bottom, left:right]


def decode(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], min_score: float = MIN_SCORE
) -> NDArray[np.float64]:
    """Turn the network's outputs into faces.

    Args:
        boxes: `[2304, 16]`, centre (from the anchor) and size in pixels of the square first.
        scores: `[2304]` logits.
        min_score: faces below this probability are dropped.

    Returns:
        float64 `[N, 5]`: left, top, right, bottom in pixels of the square, and the score, the
        surest first.
    """
    probability = 1.0 / (1.0 + np.exp(-np.clip(scores.astype(np.float64), -80.0, 80.0)))
    keep = np.flatnonzero(probability >= min_score)
    if not keep.size:
        return np.empty((0, 5))
    cell = SIDE_PX / CELLS
    anchors = np.stack([keep % CELLS + 0.5, keep // CELLS + 0.5], axis=1) * cell
    chosen = boxes[keep].astype(np.float64)
    centre, half = chosen[:, :2] + anchors, chosen[:, 2:4] / 2
    found = np.concatenate([centre - half, centre + half, probability[keep, None]], axis=1)
    found = found[(half > 0).all(axis=1)]
    return _join_overlapping(found[np.argsort(-found[:, 4], kind="stable")])


def _join_overlapping(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average each sure box with the ones over it, weighted by score."""
    faces = []
    while len(found):
        same = _iou(found[0], found) > SAME_FACE_IOU
        same[0] = True
        group = found[same]
        box = (group[:, :4] * group[:, 4:]).sum(axis=0) / group[:, 4].sum()
        faces.append(np.append(box, found[0, 4]))
        found = found[~same]
    return np.array(faces).reshape(-1, 5)


def _iou(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Overlap of one box with others, as a share of their union."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:4], others[:, 2:4])
    common = np.clip(high - low, 0.0, None).prod(axis=1)
    areas = (others[:, 2:4] - others[:, :2]).prod(axis=1)
    union = (box[2:4] - box[:2]).prod() + areas - common
    shares: NDArray[np.float64] = common / union
    return shares


class FaceDetector:
    """Finds faces; the network is loaded at the first picture."""

    def __init__(self) -> None:
        self._session: Any = None

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Faces of a picture, the surest first.

        A small face counts only if it is still one when the network sees it enlarged: drawn
        letters and foliage are not. At most four are looked at twice, the largest ones.

        Args:
            image: RGB `[H, W, 3]`.

        Raises:
            EngineError: ONNX Runtime is not installed.
            ModelFormatError: the bundled weights are missing or damaged.
        """
        faces = sorted(self._look(image), key=lambda face: -face.height)
        large = [face for face in faces if face.height >= SURE_SHARE * image.shape[0]]
        small = faces[len(large) : len(large) + MAX_LOOKS]
        confirmed = [face for face in small if self._holds(image, face)]
        return sorted(large + confirmed, key=lambda face: -face.score)

    def _holds(self, image: NDArray[np.uint8], face: Face) -> bool:
        near = crop_square(image, face, CLOSER)
        if near is None:
            return False
        side = max(face.right - face.left, face.height)
        return any(0.5 < again.height / side < 2.0 for again in self._look(near))

    def _look(self, image: NDArray[np.uint8]) -> list[Face]:
        if self._session is None:
            self._session = cpu_session(verified_model("vision/faces.onnx"))
        square, (scale, left, top) = letterbox(image, SIDE_PX)
        feed = (square / 127.5 - 1.0).transpose(2, 0, 1)[None]
        boxes, scores = self._session.run(["boxes", "scores"], {"image": feed})
        found = decode(boxes[0], scores[0, :, 0])
        found[:, [0, 2]] = (found[:, [0, 2]] - left) / scale
        found[:, [1, 3]] = (found[:, [1, 3]] - top) / scale
        return [Face(*(float(v) for v in row)) for row in found]
