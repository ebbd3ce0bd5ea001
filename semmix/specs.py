"""The numbers every room agrees on: rates, STFT, chunks, tensor shapes.

They are saved in the bundle, and the runtime takes every constant from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from semmix.errors import ModelFormatError

MAX_LAYERS = 64
"""Of one stack in a network, ten times the published depth. Files say how many layers there are,
and each costs memory to describe, whatever its width."""


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """The audio a model was trained on.

    Attributes:
        sample_rate_hz: rate of the waveform the STFT is taken of.
    """

    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class StftSpec:
    """Short-time Fourier transform with a periodic Hann window of `n_fft` samples.

    Frames are centred: frame `m` is centred on sample `m * hop_samples`, with zeros
    outside the signal. `scale` brings magnitudes near 1 (a full-scale sine has
    magnitude 1 after it), so that FP16 graphs never overflow.
    """

    n_fft: int
    hop_samples: int

    @property
    def bins(self) -> int:
        """Number of frequency bins, `n_fft // 2 + 1`."""
        return self.n_fft // 2 + 1

    @property
    def scale(self) -> float:
        """Factor on magnitudes: the sum of a periodic Hann window is `n_fft / 2`."""
        return 4.0 / self.n_fft

    def frames(self, samples: int) -> int:
        """Frames that cover `samples`: every sample lies under at least two frames."""
        return 0 if samples <= 0 else 1 + -(-samples // self.hop_samples)


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """How a stream of STFT frames is cut for the network: [context | kept | look-ahead].

    Attributes:
        context_frames: real frames before the kept part, run and then discarded. 0 where
            the network carries its past in explicit state.
        kept_frames: frames whose mask one run yields; the kept parts tile the file.
        lookahead_frames: frames the network sees beyond the frame it masks.
    """

    context_frames: int
    kept_frames: int
    lookahead_frames: int


@dataclass(frozen=True, slots=True)
class StateSpec:
    """One streaming state tensor: zeros at the start, fed back from run to run.

    Attributes:
        name: graph input name; the matching output is `next_<name>`.
        shape: shape without the leading batch axis.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything the runtime must know to feed a network.

    Attributes:
        name: preset or checkpoint name, such as `edge`.
        cue_types: cue types in the order of the context tokens of one segment.
        embedding_dim: width of a cue's text embedding.
        token_dim: width of an encoded context token.
        max_segments: cue segments that may share one chunk.
        max_gain_db: bound of the mask the network can ask for, either way.
        programme_lufs: integrated loudness of a whole programme as the network expects it.
        text_encoder: identifier of the text encoder the model was trained with.
        state: streaming state tensors, in graph order.
    """

    name: str
    audio: AudioSpec
    stft: StftSpec
    chunk: ChunkSpec
    cue_types: tuple[str, ...]
    embedding_dim: int
    token_dim: int
    max_segments: int
    max_gain_db: float
    programme_lufs: float
    text_encoder: str
    state: tuple[StateSpec, ...]

    kind: ClassVar[str] = "stream"

    @property
    def step_s(self) -> float:
        """Seconds by which one run moves a stream on: the frames of a chunk."""
        return self.chunk.kept_frames * self.stft.hop_samples / self.audio.sample_rate_hz

    @property
    def latency_samples(self) -> int:
        """Worst-case algorithmic delay of the stream, in samples at the model's rate.

        The network waits for a chunk to fill and sees the look-ahead beyond it; of the newest
        frame masked, the whole window must have come before its first sample can leave.
        """
        frames = self.chunk.lookahead_frames + self.chunk.kept_frames - 1
        return frames * self.stft.hop_samples + self.stft.n_fft

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ModelSpec:
        """Rebuild a spec from `to_dict` output.

        Raises:
            ModelFormatError: a field is missing, unknown, or of a wrong kind or range.
        """
        expected = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or set(data) != expected:
            got = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ModelFormatError(
                f"the model spec has the fields {got}, expected {sorted(expected)}: "
                "export the model again with this version"
            )
        try:
            spec = cls(
                name=str(data["name"]),
                audio=AudioSpec(**data["audio"]),
                stft=StftSpec(**data["stft"]),
                chunk=ChunkSpec(**data["chunk"]),
                cue_types=tuple(str(c) for c in data["cue_types"]),
                embedding_dim=int(data["embedding_dim"]),
                token_dim=int(data["token_dim"]),
                max_segments=int(data["max_segments"]),
                max_gain_db=float(data["max_gain_db"]),
                programme_lufs=float(data["programme_lufs"]),
                text_encoder=str(data["text_encoder"]),
                state=tuple(
                    StateSpec(str(s["name"]), tuple(int(n) for n in s["shape"]))
                    for s in data["state"]
                ),
            )
            spec.check()
        except (TypeError, KeyError, ValueError, OverflowError) as exc:
            raise ModelFormatError(
                f"the model spec cannot be read ({exc}): export the model again"
            ) from exc
        return spec

    def check(self) -> None:
        """Refuse numbers no model of ours can have.

        Raises:
            ModelFormatError: a size is not a positive integer in a sane range.
        """
        limits = {
            "sample_rate_hz": (self.audio.sample_rate_hz, 8_000, 384_000),
            "n_fft": (self.stft.n_fft, 64, 65_536),
            "hop_samples": (self.stft.hop_samples, 1, self.stft.n_fft // 2),
            "kept_frames": (self.chunk.kept_frames, 1, 65_536),
            "context_frames": (self.chunk.context_frames, 0, 65_536),
            "lookahead_frames": (self.chunk.lookahead_frames, 0, 65_536),
            "embedding_dim": (self.embedding_dim, 1, 65_536),
            "token_dim": (self.token_dim, 1, 65_536),
            "max_segments": (self.max_segments, 1, 1_024),
            "cue_types": (len(self.cue_types), 1, 64),
        }
        for label, (value, low, high) in limits.items():
            if not isinstance(value, int) or not low <= value <= high:
                raise ModelFormatError(
                    f"the model spec's {label} is {value!r}, outside {low}..{high}: "
                    "the bundle is damaged, export the model again"
                )
        elements = 0
        for state in self.state:
            size = 1
            for axis in state.shape:
                size *= max(axis, 0)
            elements += size
        sane = 0.0 < self.max_gain_db <= 120.0 and -70.0 <= self.programme_lufs <= 0.0
        if elements > 64_000_000 or not sane:
            raise ModelFormatError(
                "the model spec asks for an absurd state size, gain or loudness: the bundle is "
                "damaged, export the model again"
            )


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """What the runtime must know to feed a network that hears whole windows, channel by channel.

    Such a network takes a window's waveform beside its magnitudes, and returns a waveform beside
    its mask. The spectrum is that of Hybrid Demucs (VisAH, section 2): periodic Hann, magnitudes
    as they are, no Nyquist row, a frame for each begun hop. A stream is cut into overlapping
    windows [edge | kept | edge]; what the network makes of the edges is thrown away, and kept
    parts cross-fade where they overlap.

    Attributes:
        name: preset or checkpoint name, such as `base`.
        n_fft: length of the transform.
        hop_samples: from frame to frame, a quarter of it.
        window_samples: length N of a window, fixed in the graph.
        stride_samples: from window to window, a multiple of the hop, so that windows share frames.
        edge_samples: sound at either end of a window that the network hears and nobody else.
        context: what the context vectors are: `text`, `vision` or `none`.
        context_dim: width of a context vector, 0 for a network without context.
        context_vectors: how many a window takes, at equal distances from its start on; 0 likewise.
        token_dim: width of an encoded context vector, 0 likewise.
        text_encoder: name of the encoder whose vectors the weights were trained with, for people.
    """

    name: str
    audio: AudioSpec
    n_fft: int
    hop_samples: int
    window_samples: int
    stride_samples: int
    edge_samples: int
    context: str
    context_dim: int
    context_vectors: int
    token_dim: int
    text_encoder: str

    kind: ClassVar[str] = "window"

    @property
    def step_s(self) -> float:
        """Seconds by which one run moves a stream on: what it keeps of a window."""
        return self.stride_samples / self.audio.sample_rate_hz

    @property
    def bins(self) -> int:
        """Rows F of the spectrum: the one at half the sample rate is left out."""
        return self.n_fft // 2

    @property
    def frames(self) -> int:
        """Frames T of a window."""
        return -(-self.window_samples // self.hop_samples)

    @property
    def fade_samples(self) -> int:
        """Length of the cross-fade between the kept parts of neighbours."""
        return self.window_samples - 2 * self.edge_samples - self.stride_samples

    @property
    def latency_samples(self) -> int:
        """Worst-case delay of the stream, at the model's rate: a window, and proof of a next one.

        Where the sound ends, the last window is moved to end with it; so a window runs only when
        it is known not to be the last.
        """
        return self.window_samples + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> WindowSpec:
        """Rebuild a spec from `to_dict` output.

        Raises:
            ModelFormatError: a field is missing, unknown, or of a wrong kind or range.
        """
        expected = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or set(data) != expected:
            got = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ModelFormatError(
                f"the model spec has the fields {got}, expected {sorted(expected)}: "
                "import the model again with this version"
            )
        try:
            spec = cls(**{**data, "audio": AudioSpec(**data["audio"])})
        except TypeError as exc:
            raise ModelFormatError(
                f"the model spec cannot be read ({exc}): import the model again"
            ) from exc
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse numbers no model of ours can have.

        Raises:
            ModelFormatError: a size is not an integer in a sane range, or sizes contradict.
        """
        vectors = self.context != "none"
        limits = {
            "sample_rate_hz": (self.audio.sample_rate_hz, 8_000, 384_000),
            "n_fft": (self.n_fft, 64, 65_536),
            "hop_samples": (self.hop_samples, 1, 32_768),
            "window_samples": (self.window_samples, 64, 1 << 25),
            "edge_samples": (self.edge_samples, 0, 1 << 24),
            "stride_samples": (self.stride_samples, 1, 1 << 25),
            "context_dim": (self.context_dim, vectors, 65_536 * vectors),
            "context_vectors": (self.context_vectors, vectors, 4_096 * vectors),
            "token_dim": (self.token_dim, vectors, 65_536 * vectors),
        }
        for label, (value, low, high) in limits.items():
            if type(value) is not int or not low <= value <= high:
                raise ModelFormatError(
                    f"the model spec's {label} is {value!r}, outside {int(low)}..{high}: "
                    "the bundle is damaged, import the model again"
                )
        texts = (self.name, self.context, self.text_encoder)
        if not all(isinstance(text, str) for text in texts) or self.context not in CONTEXTS:
            raise ModelFormatError(
                f"the model spec's context is {self.context!r}, not one of {', '.join(CONTEXTS)}, "
                "or a name is no text: import the model again"
            )
        hop_fits = self.n_fft == 4 * self.hop_samples and self.n_fft <= self.window_samples
        fades = 1 <= self.fade_samples <= self.stride_samples
        if not hop_fits or self.stride_samples % self.hop_samples or not fades:
            raise ModelFormatError(
                "the model spec's hop, stride and edges do not tile its window: "
                "the bundle is damaged, import the model again"
            )


CONTEXTS = ("text", "vision", "none")
"""Kinds of context vectors."""

Spec = ModelSpec | WindowSpec
