"""ONNX Runtime engines, on the CPU or a named GPU provider.

A provider that was asked for either runs or is an error: ONNX Runtime itself logs and goes on
with the CPU (microsoft/onnxruntime #23372), and what it lists as available only tells what
was built in (#17801).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime as ort

from semmix.bundle import Bundle
from semmix.errors import EngineError, EngineMismatchError, ProviderError, first_line
from semmix.specs import ModelSpec, Spec
from semmix_rt.engines.base import Float32, State
from semmix_rt.engines.inputs import (
    BATCH_AXIS,
    SEGMENT_AXIS,
    Graph,
    chunk_inputs,
    graph_shapes,
)
from semmix_rt.engines.ort_placement import RECORD, TENSORRT, check_placement
from semmix_rt.engines.ort_records import RecordedHere
from semmix_rt.engines.trt.trust import distrust, make_private
from semmix_rt.user_cache import FOLDER_VARIABLE, user_cache

_LOG_ERRORS_ONLY = 3
# A folder cannot lie inside a file.
_NO_FOLDER = str(Path(__file__).resolve() / "none")
_CPU = "CPUExecutionProvider"
_INSTALL = {
    _CPU: "pip install 'semmix-rt[cpu]'",
    "CUDAExecutionProvider": "in an environment without onnxruntime, pip install 'semmix-rt[gpu]'",
    TENSORRT: (
        "in an environment without onnxruntime, pip install 'semmix-rt[gpu]' and the TensorRT "
        "version that onnxruntime-gpu was built for"
    ),
}

Axes = tuple[int | None, ...]
"""Expected axes of a graph tensor; None is the batch axis, of any size."""


class OrtEngine:
    """Both networks of a bundle as ONNX Runtime sessions.

    On CPUs a stream runs in one thread, and threads share the streams of a batch: operators of a
    chunk are over in microseconds, and what one core wrote is slow to read from another. A second
    thread inside a graph cost more than it brought on three machines of four; on the fourth it
    took a third off a chunk, and nothing off a whole remix, whose other work needs that core.

    Attributes:
        name: engine name, as `open_engine` knows it.
        provider: the execution provider that runs.
        precision: precision of the mask network.
        spec: the network's numbers.
        bundle: whose networks run.
    """

    engine_name: ClassVar[str] = "ort"
    requested_provider: ClassVar[str] = _CPU
    one_by_one: ClassVar[bool] = False
    """Whether streams, and segments of cues, are run each for itself."""

    def __init__(self, bundle: Bundle, *, precision: str = "fp32", threads: int = 1) -> None:
        """Load the networks; see `open_engine` for the errors."""
        self.name = self.engine_name
        self.provider = self.requested_provider
        self.precision = precision
        self.spec, self.bundle = bundle.spec, bundle
        shared = self.provider == _CPU
        within = 1 if shared else threads
        self._crew = ThreadPoolExecutor(threads) if shared and threads > 1 else None
        self._threads = threads
        self._context = open_session(bundle.context_graph(), self.provider, within)
        self._highlighter = open_session(
            bundle.highlighter_graph(precision), self.provider, within, precision
        )
        spec = self.spec
        tokens: dict[str, Axes] = {"tokens": (None, len(spec.cue_types), spec.token_dim)}
        inputs = graph_axes(spec, "context")
        check_graph(self._context, inputs, tokens, f"the context graph of {bundle.path}")
        inputs, outputs = graph_axes(spec, "highlighter"), _highlighter_outputs(spec)
        check_graph(self._highlighter, inputs, outputs, f"the mask graph of {bundle.path}")
        self._output_names = list(outputs)

    @classmethod
    def open(cls, bundle: Bundle, threads: int, precision: str) -> OrtEngine:
        """The engine over a bundle's networks, with `threads` CPU threads."""
        return cls(bundle, precision=precision, threads=threads)

    def encode_context(self, embeddings: Float32) -> Float32:
        """Encode the cues of `N` segments: `[N, K, E]` -> context tokens `[N, K, D]`.

        Raises:
            EngineMismatchError: the embeddings have another shape.
            EngineError: ONNX Runtime fails.
        """
        axes = graph_shapes(self.spec, "context", embeddings.shape[0])["embeddings"]
        whole = feed("embeddings", embeddings, axes)
        pieces = [one[None] for one in whole] if self.one_by_one else [whole]
        tokens = [run_graph(self._context, ["tokens"], {"embeddings": p})[0] for p in pieces]
        none = np.zeros((0, len(self.spec.cue_types), self.spec.token_dim), np.float32)
        return np.concatenate([none, *tokens])

    def initial_state(self, batch: int = 1) -> State:
        """Zero state for `batch` streams, each tensor `[B, *shape]`, float32."""
        return tuple(np.zeros((batch, *state.shape), dtype=np.float32) for state in self.spec.state)

    def run(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> tuple[Float32, State]:
        """Mask one chunk; shapes and meaning as in `Engine.run`.

        The arrays are handed over without a copy where they are contiguous float32.

        Raises:
            EngineMismatchError: an array has another shape than the spec says.
            EngineError: ONNX Runtime fails.
        """
        feeds = self.feeds(spectrum, tokens, weights, state)
        shares = len(spectrum) if self.one_by_one else 1
        if self._crew is not None:
            shares = min(len(spectrum), self._threads)
        if shares < 2:
            mask, *following = self._run(feeds)
            return mask, tuple(following)
        pieces = zip(*(np.array_split(array, shares) for array in feeds.values()), strict=True)
        shared = [dict(zip(feeds, arrays, strict=True)) for arrays in pieces]
        run = map if self._crew is None else self._crew.map
        outputs = zip(*run(self._run, shared), strict=True)
        mask, *following = (np.concatenate(parts) for parts in outputs)
        return mask, tuple(following)

    def _run(self, feeds: dict[str, Float32]) -> list[Float32]:
        outputs: list[Float32] = run_graph(self._highlighter, self._output_names, feeds)
        return outputs

    def feeds(
        self, spectrum: Float32, tokens: Float32, weights: Float32, state: State
    ) -> dict[str, Float32]:
        """The inputs of a run by graph name, held against the spec.

        Raises:
            EngineMismatchError: an array has another shape than the spec says.
        """
        inputs = chunk_inputs(self.spec, spectrum, tokens, weights, state)
        shapes = graph_shapes(self.spec, "highlighter", spectrum.shape[0])
        return {name: feed(name, array, shapes[name]) for name, array in inputs.items()}


class OrtCudaEngine(RecordedHere, OrtEngine):
    """The same networks on ONNX Runtime's CUDA provider."""

    engine_name = "ort-cuda"
    requested_provider = "CUDAExecutionProvider"


class OrtTensorrtEngine(RecordedHere, OrtEngine):
    """The same networks on ONNX Runtime's TensorRT provider, each compiled for a batch of one."""

    engine_name = "ort-tensorrt"
    requested_provider = TENSORRT
    one_by_one = True


def open_session(
    model: bytes, provider: str, threads: int, precision: str = "fp32", *, exact: bool = False
) -> ort.InferenceSession:
    """A session over ONNX bytes that runs on `provider` and nothing else.

    A GPU provider may leave single operators to the CPU, but no product of tensors. Graphs of
    the precision `int8` are bound for TensorRT: elsewhere their Q/DQ pairs are computed as they
    stand, since ONNX Runtime's own kernels for them overflow 16 bits on CPUs without VNNI. So are
    they where `exact` is set, and nothing else is fused or rewritten either. TensorRT's provider
    takes a batch of one alone: with an axis left open it would compile anew, in the midst of a
    film, whenever a batch is larger than those before.

    Raises:
        ProviderError: the provider is not built in, does not start on this machine, leaves
            products to another, or finds an open axis of a name that no exporter of ours gives.
        EngineError: the graph is damaged or holds an operator this runtime lacks, or the folder
            for compiled engines cannot be made.
    """
    if provider not in ort.get_available_providers():
        raise ProviderError(
            f"this onnxruntime {ort.__version__} has no {provider}: {_INSTALL.get(provider, '')}"
        )
    providers: list[Any] = [provider] if provider == _CPU else [provider, _CPU]
    options = session_options(threads)
    if exact:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if exact or precision == "int8":
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if provider != _CPU:
        options.add_session_config_entry(*RECORD)
    if provider == TENSORRT:
        providers[0] = (provider, _tensorrt_options(model))
        for axis in (BATCH_AXIS, SEGMENT_AXIS):
            options.add_free_dimension_override_by_name(axis, 1)
    try:
        # enable_fallback=0: the wrapper would print to stdout and go on with the CPU.
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as exc:  # onnxruntime's errors share no other base class
        if provider == _CPU:
            raise EngineError(
                f"onnxruntime {ort.__version__} cannot load the graph ({first_line(exc)}): "
                "export the model again, or update onnxruntime"
            ) from exc
        raise _provider_failed(provider, first_line(exc)) from exc
    running = session.get_providers()
    if running[:1] != [provider]:
        raise _provider_failed(provider, f"it would run on {', '.join(running)}")
    if provider == TENSORRT:
        _check_pinned(session)
    if provider != _CPU:
        check_placement(session, provider)
    return session


def _tensorrt_options(model: bytes) -> dict[str, str]:
    """Where TensorRT's provider keeps what it compiled of a graph, for the next start.

    It names its files after the graph's nodes, not its weights, so that networks of one form would
    get each other's engines: each graph has a folder of its own, in the cache of this user.

    Raises:
        EngineError: the folder cannot be made, or others than this user may write to it.
    """
    folder = user_cache("ort-tensorrt") / hashlib.sha256(model).hexdigest()
    try:
        make_private(folder)
    except OSError as exc:
        raise EngineError(
            f"compiled engines cannot be kept in {folder} ({exc.strerror or exc}): make space "
            f"there, or name another folder in {FOLDER_VARIABLE}"
        ) from exc
    if why := distrust(folder, *folder.iterdir()):
        raise EngineError(f"no compiled engine is loaded: {why}")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def _check_pinned(session: ort.InferenceSession) -> None:
    """Refuse a graph that still takes inputs of any size.

    Raises:
        ProviderError: it does.
    """
    for tensor in session.get_inputs():
        if not all(isinstance(size, int) for size in tensor.shape):
            raise ProviderError(
                f"{TENSORRT} compiles graphs of fixed sizes, and {tensor.name} is {tensor.shape}: "
                "export the model again, or choose --engine ort-cuda"
            )


def session_options(threads: int) -> ort.SessionOptions:
    """Every option that decides speed, stated instead of guessed from the machine."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Spinning threads take the cores that decoding and encoding need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Bundled graphs carry their weights. Weights in other files would let a hostile bundle
    # read files of the working folder, so they are looked for where there can be none.
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", _NO_FOLDER
    )
    return options


def _provider_failed(provider: str, reason: str) -> ProviderError:
    return ProviderError(
        f"{provider} does not start on this machine ({reason}): check the GPU driver with "
        "`semmix-rt env`, or choose --engine ort to run on the CPU"
    )


def graph_axes(spec: Spec, graph: Graph) -> dict[str, Axes]:
    """Inputs a graph must have, whose first axis is the batch where it knows one."""
    batched = isinstance(spec, ModelSpec) or graph == "highlighter"
    shapes = graph_shapes(spec, graph)
    return {name: (None, *axes[1:]) if batched else axes for name, axes in shapes.items()}


def _highlighter_outputs(spec: ModelSpec) -> dict[str, Axes]:
    """Outputs the mask graph must have, in the order of the results."""
    outputs: dict[str, Axes] = {"mask": (None, spec.chunk.kept_frames, spec.stft.bins)}
    return outputs | {f"next_{state.name}": (None, *state.shape) for state in spec.state}


def check_graph(
    session: ort.InferenceSession,
    inputs: Mapping[str, Axes],
    outputs: Mapping[str, Axes],
    where: str,
) -> None:
    """Hold the graph's tensors against the spec: names, types, sizes.

    Raises:
        EngineMismatchError: they differ.
    """
    for kind, expected, found in (
        ("inputs", inputs, session.get_inputs()),
        ("outputs", outputs, session.get_outputs()),
    ):
        by_name = {tensor.name: tensor for tensor in found}
        if set(by_name) != set(expected):
            raise EngineMismatchError(
                f"{where} has the {kind} {sorted(by_name)}, its spec asks for {sorted(expected)}: "
                "export the model again"
            )
        for name, axes in expected.items():
            tensor = by_name[name]
            if tensor.type != "tensor(float)" or not _fits(tensor.shape, axes):
                wanted = ["B" if size is None else size for size in axes]
                raise EngineMismatchError(
                    f"{where}: {name} is {tensor.type} {tensor.shape}, its spec asks for "
                    f"tensor(float) {wanted}: export the model again"
                )


def _fits(shape: Sequence[int | str | None], axes: Axes) -> bool:
    """Whether a graph shape can hold the axes; a symbolic size is checked at run time."""
    return len(shape) == len(axes) and all(
        size == axis
        for size, axis in zip(shape, axes, strict=True)
        if isinstance(size, int) and axis
    )


def feed(name: str, array: Float32, axes: tuple[int, ...]) -> Float32:
    """An array as ONNX Runtime wants it, if it has the expected shape.

    Raises:
        EngineMismatchError: another shape.
    """
    if array.shape != axes:
        raise EngineMismatchError(
            f"{name} has the shape {list(array.shape)}, the model takes {list(axes)}: "
            "cut the stream as the bundle's spec says"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def run_graph(session: ort.InferenceSession, names: list[str], feeds: dict[str, Float32]) -> Any:
    """The named outputs of one run.

    Raises:
        EngineError: ONNX Runtime fails.
    """
    try:
        return session.run(names, feeds)
    except Exception as exc:  # onnxruntime's errors share no other base class
        raise EngineError(
            f"onnxruntime {ort.__version__} failed on a chunk ({first_line(exc)}): "
            "try --engine torch, or report it with the model's name"
        ) from exc
