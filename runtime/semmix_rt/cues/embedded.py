"""The extractor that comes with the package: small closed-set models instead of a large one.

An image classifier tells subject, scene and sounds, a face detector the shot size, an emotion
network the mood of the largest face, statistics the tone and plants. What none of them is sure
of stays unknown, and the mask network was trained to do without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semmix.cues.sentences import Observation, compose
from semmix.cues.types import CUE_TYPES, Cue, CueType
from semmix_rt.cues.described import Described
from semmix_rt.cues.keyframes import Keyframe
from semmix_rt.cues.vision.classifier import Classifier
from semmix_rt.cues.vision.emotion import LABELS, EmotionReader
from semmix_rt.cues.vision.evidence import LANDSCAPE_FLOOR, OPEN_COUNTRY, Evidence, weigh
from semmix_rt.cues.vision.faces import Face, FaceDetector, crop_square
from semmix_rt.cues.vision.greenery import greenery
from semmix_rt.cues.vision.tone import tone

TONE_CONFIDENCE = 0.7
"""The words are cut from continuous measures: near the cuts they could be their neighbours."""
VOICE_CONFIDENCE = 0.5
"""A face near the camera often speaks; whether it does is not looked at."""
GREEN_SCENE = "green countryside"
GREEN_SOUNDS = ("wind in the leaves", "birds")
GREEN_CONFIDENCE, GREEN_SOUND_CONFIDENCE = 0.5, 0.4
"""Plants are seen by colour and grain alone, and what lives in them is only likely."""
CLOSE_UP_SHARE, MEDIUM_SHARE = 0.3, 0.1
"""Height of the largest face over the height of the picture."""
SAME_RANK = 0.5
"""A face at least this high, compared with the largest one, makes it several people."""
ANIMAL_WINS = 0.7
SURE_FACE = 0.85
"""Apes and drawn animals have faces too: a sure animal wins over a face below this score."""
MIN_FACE_PX = 40
EMOTION_FLOORS = {
    "neutral": 0.5,
    "happy": 0.6,
    "surprised": 0.6,
    "angry": 0.7,
    "disgusted": 0.8,
    "afraid": 0.75,
    "sad": 0.75,
}
"""FER2013 confuses the dark emotions with each other and with mere shadows."""
FACE_MARGIN = 1.1
SPEECHLESS = ("sad", "afraid")


@dataclass(frozen=True, slots=True)
class _People:
    """What the faces say."""

    kind: str | None = None
    shot_size: str | None = None
    emotion: str | None = None
    emotion_p: float = 0.0
    score: float = 0.0


class EmbeddedExtractor:
    """Describe keyframes with the bundled models, which load at the first one.

    Attributes:
        identifier: changes whenever the sentences for a picture may change.
        deterministic: True.
    """

    identifier = "embedded/1"
    deterministic = True

    def __init__(self) -> None:
        self._classifier = Classifier()
        self._faces = FaceDetector()
        self._emotions = EmotionReader()

    @classmethod
    def default(cls) -> EmbeddedExtractor:
        """The extractor with the bundled models."""
        return cls()

    def read(self, keyframes: Iterator[Keyframe]) -> Iterator[Described]:
        """Each keyframe with its cues, one at a time."""
        return (Described(keyframe, self.describe(keyframe)) for keyframe in keyframes)

    def doubts(self) -> str:
        """None: what these models do not know is unknown to them in every run."""
        return ""

    def describe(self, keyframe: Keyframe) -> dict[CueType, Cue]:
        """Six cues for a keyframe; unknown where nothing can be told.

        Raises:
            EngineError: ONNX Runtime is not installed.
            ModelFormatError: the bundled weights are missing or damaged.
        """
        seen, confidence = self.observe(keyframe.image, keyframe.motion)
        sentences = compose(seen)
        return {
            cue_type: Cue() if text is None else Cue(text, confidence[cue_type])
            for cue_type, text in ((c, sentences[c]) for c in CUE_TYPES)
        }

    def observe(
        self, image: NDArray[np.uint8], motion: float
    ) -> tuple[Observation, dict[CueType, float]]:
        """What a picture shows, and how surely, for each cue type.

        Args:
            image: RGB `[H, W, 3]`.
            motion: as in `Keyframe`.
        """
        evidence = weigh(self._classifier.classify(image))
        people = self._people(image, evidence)
        if evidence.scene in (None, OPEN_COUNTRY) and greenery(image) > 0.0:
            evidence = _among_plants(evidence, alone=people.kind is None)
        mood = tone(image, motion)
        seen = Observation(
            light=mood.light, colour=mood.colour, motion=mood.motion, scene=evidence.scene
        )
        sounds, sounds_p = evidence.sounds, evidence.sounds_p
        if people.kind is not None:
            subject_p = people.score
            voice = _voice(people)
            if voice is not None:
                sounds = (voice, *sounds[:1])
                sounds_p = VOICE_CONFIDENCE
            seen = replace(
                seen,
                subject_kind=people.kind,
                shot_size=people.shot_size,
                emotion=people.emotion,
            )
        elif evidence.landscape_p >= LANDSCAPE_FLOOR:
            subject_p = evidence.landscape_p
            seen = replace(seen, subject_kind="none", shot_size="wide shot")
        else:
            subject_p = evidence.subject_p
            seen = replace(seen, subject_kind=evidence.kind, subject_label=evidence.label)
        return replace(seen, sounds=sounds), {
            CueType.APPEARANCE: subject_p,
            CueType.EMOTION: people.emotion_p,
            CueType.CAMERA_FOCUS: subject_p,
            CueType.TONE: TONE_CONFIDENCE,
            CueType.SCENE: evidence.scene_p,
            CueType.SOUND: sounds_p,
        }

    def _people(self, image: NDArray[np.uint8], evidence: Evidence) -> _People:
        faces = self._faces.find(image)
        if evidence.kind == "animal" and evidence.subject_p >= ANIMAL_WINS:
            faces = [face for face in faces if face.score >= SURE_FACE]
        if not faces:
            return _People()
        main = max(faces, key=lambda face: face.height)
        several = sum(face.height >= SAME_RANK * main.height for face in faces) > 1
        emotion, emotion_p = self._emotion(image, main)
        return _People(
            kind="people" if several else "person",
            shot_size=_shot_size(main.height / image.shape[0]),
            emotion=emotion,
            emotion_p=emotion_p,
            score=main.score,
        )

    def _emotion(self, image: NDArray[np.uint8], face: Face) -> tuple[str | None, float]:
        if face.height < MIN_FACE_PX:
            return None, 0.0
        crop = crop_square(image, face, FACE_MARGIN)
        if crop is None:
            return None, 0.0
        probabilities = self._emotions.read(crop)
        best = int(probabilities.argmax())
        p = float(probabilities[best])
        return (LABELS[best], p) if p >= EMOTION_FLOORS[LABELS[best]] else (None, 0.0)


def _among_plants(evidence: Evidence, alone: bool) -> Evidence:
    """Evidence with the countryside as its scene; it is heard where nothing else is."""
    evidence = replace(evidence, scene=GREEN_SCENE, scene_p=max(evidence.scene_p, GREEN_CONFIDENCE))
    if evidence.sounds or not alone:
        return evidence
    return replace(evidence, sounds=GREEN_SOUNDS, sounds_p=GREEN_SOUND_CONFIDENCE)


def _shot_size(share: float) -> str:
    if share >= CLOSE_UP_SHARE:
        return "close-up"
    return "medium shot" if share >= MEDIUM_SHARE else "wide shot"


def _voice(people: _People) -> str | None:
    """What people in view may be heard saying: nothing from afar or in silent grief."""
    if people.shot_size == "wide shot" or people.emotion in SPEECHLESS:
        return None
    return "voices" if people.kind == "people" else "speech"
