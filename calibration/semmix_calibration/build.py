"""Graphs of a network in other precisions, made on sounds and measured on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import onnx
import onnxruntime

from semmix.bundle import Bundle
from semmix.errors import ParityError, UsageError
from semmix_calibration import activations, fp16, int8
from semmix_calibration.chunks import embeddings_for, outputs, record
from semmix_calibration.exact import ExactEngines
from semmix_calibration.graph import parse
from semmix_calibration.material import Clip, Material
from semmix_calibration.ranges import Feeds, observe
from semmix_calibration.search import (
    Accuracy,
    Float32,
    Frontier,
    TargetMissedError,
    accuracy,
    measurements,
    search,
)
from semmix_calibration.speed import speed_ratio

MADE = ("fp16", "int8", "int8cpu")
"""Precisions that this room makes."""

TARGET_DB = 34.0
"""SNR that the search asks of the worst sound: 4 dB above what `semmix-rt verify` asks of INT8,
whose sounds are others. An error so small cannot move loudness by the 0.2 LU that it allows."""

FP16_TARGET_DB = 65.0
"""SNR that FP16 is to have on the worst sound: 10 dB above what `semmix-rt verify` asks of it, as
tones it does not know come out worse by that much than those it was chosen on."""

FP16_WORTH_DB = 3.0
"""More than this must be won for more of the network to stay in float32."""

Tell = Callable[[str, int, int], None]
"""Is told the step, what is done of it and how much there is."""


def _silent(step: str, done: int, total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Settings:
    """How precisions are chosen.

    Attributes:
        method: how an activation's range is, a key of `activations.METHODS`.
        search: leave the blocks that cost the most in FP16, until `target_db` is met.
        target_db: SNR of the output against float32 that the search asks of the worst sound.
    """

    method: str = "minmax"
    search: bool = False
    target_db: float = TARGET_DB


@dataclass(frozen=True, slots=True)
class Made:
    """One new graph.

    Attributes:
        precision: `fp16`, `int8` or `int8cpu`.
        graph: ONNX.
        accuracy: of its output on held-out sound against float32, every Q/DQ pair computed
            exactly.
        int8_share: of the network's multiplications in INT8.
        kept: blocks that the search left in FP16.
        exempt: why parts of the network are never INT8, by block.
        times_as_fast: as float32 in ONNX Runtime on this CPU; None where it does not run there.
        provenance: how it was made, plain JSON values.
    """

    precision: str
    graph: bytes = field(repr=False)
    accuracy: Accuracy
    int8_share: float = 0.0
    kept: tuple[str, ...] = ()
    exempt: Mapping[str, str] = field(default_factory=dict)
    times_as_fast: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Built:
    """All new graphs, and what the search found."""

    made: tuple[Made, ...]
    frontier: Frontier | None


def check_wanted(precisions: Sequence[str], settings: Settings) -> None:
    """Refuse what cannot be made, before work that takes its time.

    Raises:
        UsageError: a precision that is not made here, none at all, or no such method.
    """
    odd = [p for p in precisions if p not in MADE]
    if odd or not precisions:
        what = f"the precision {odd[0]!r} is not made by calibration" if odd else "no precision"
        raise UsageError(f"{what}: choose some of {', '.join(MADE)}")
    if settings.method not in activations.METHODS:
        raise UsageError(
            f"there is no method {settings.method!r}: choose one of "
            f"{', '.join(activations.METHODS)}"
        )


def build(
    bundle: Bundle,
    material: Material,
    precisions: Sequence[str],
    settings: Settings | None = None,
    tell: Tell = _silent,
) -> Built:
    """Make graphs of a bundle's mask network in other precisions.

    Args:
        bundle: with a float32 network.
        material: to choose ranges on, and to measure on.
        precisions: of `MADE`.
        settings: see `Settings`.
        tell: see `Tell`.

    Raises:
        UsageError: see `check_wanted`.
        ParityError: FP16 overflows on a sound.
        TargetMissedError: no choice of blocks meets the target.
        EngineError: ONNX Runtime fails.
    """
    settings = settings or Settings()
    check_wanted(precisions, settings)
    return _Builder(bundle, material, settings, tell).build(precisions)


class _Builder:
    """The float32 network, what it was fed, and its output on sound that ranges do not know."""

    def __init__(self, bundle: Bundle, material: Material, settings: Settings, tell: Tell) -> None:
        self._settings, self._tell = settings, tell
        self._material = material
        self._fp32 = bundle.highlighter_graph("fp32")
        self._engines = ExactEngines(bundle)
        self._embeddings = embeddings_for(bundle)
        self._rate_hz = bundle.manifest.spec.audio.sample_rate_hz
        step = _Steps(tell, "listening", len(material.calibration))
        self._runs: list[Feeds] = record(
            self._engines, self._fp32, material.calibration, self._embeddings, step
        )
        tell("measuring ranges", 0, 1)
        self._ranges = observe(self._fp32, self._runs)
        self._references: dict[int, list[Float32]] = {}

    def build(self, precisions: Sequence[str]) -> Built:
        made: list[Made] = []
        frontier: Frontier | None = None
        if "fp16" in precisions:
            made.append(self._fp16())
        if {"int8", "int8cpu"} & set(precisions):
            products = int8.products(self._fp32)
            if not products:
                raise UsageError(
                    "the network has no matrix product wide enough for INT8: leave int8 out"
                )
            self._tell("choosing INT8 ranges", 0, 1)
            chosen = activations.collect(
                self._fp32, int8.activation_names(products), self._runs, self._settings.method
            )
            kept: tuple[str, ...] = ()
            eight = [p for p in precisions if p != "fp16"]
            if self._settings.search:
                # One choice for both; the kernels that `int8` is for are the better ones.
                frontier = self._search("int8" if "int8" in eight else eight[0], products, chosen)
                if frontier.chosen is None:
                    raise TargetMissedError(frontier)
                kept = frontier.chosen.kept
            picked = [p for p in products if p.block not in kept]
            made += [self._int8(p, picked, chosen, kept) for p in eight]
        return Built(tuple(made), frontier)

    def _fp16(self) -> Made:
        self._tell("typing FP16", 0, 1)
        largest, delicate = self._half
        graph = fp16.typed(self._fp32, self._ranges, largest)
        self._check_finite(graph, "fp16")
        facts = {
            "float32_nodes": len(delicate),
            "nodes": len(parse(self._fp32).nodes),
            "largest_in_fp16": largest,
        }
        found = self._accuracy(graph, self._material.held_out)
        return Made("fp16", graph, found, provenance=self._facts(facts, found, chosen=True))

    def _int8(
        self,
        precision: str,
        picked: Sequence[int8.Product],
        ranges: onnxruntime.quantization.TensorsData,
        kept: tuple[str, ...],
    ) -> Made:
        self._tell(f"writing {precision}", 0, 1)
        cpu = precision == "int8cpu"
        graph = self._quantised(precision, picked, ranges)
        speed = None
        if cpu:
            speed = speed_ratio(self._fp32, graph, self._runs)
        else:
            self._check_finite(graph, precision)
        share = sum(p.macs for p in picked) / int8.total_macs(self._fp32)
        facts = {
            "method": self._settings.method,
            "int8_share": round(share, 4),
            "kept": list(kept),
            "products": len(picked),
            "weights": "S8, 7 bits, per channel" if cpu else "S8 symmetric, per channel",
            "activations": "U8" if cpu else "S8 symmetric",
        }
        found = self._accuracy(graph, self._material.held_out)
        exempt = int8.exempt_blocks(self._fp32)
        facts |= {"exempt": exempt}
        # Where FP16 ends was chosen on it too, and INT8 for CPUs has none.
        facts = self._facts(facts, found, chosen=self._settings.search or not cpu)
        return Made(precision, graph, found, share, kept, exempt, speed, facts)

    @cached_property
    def _half(self) -> tuple[float, frozenset[str]]:
        """The largest value that FP16 is let hold, and the nodes that stay in float32 for it.

        Of `fp16.LIMITS` the first that meets `FP16_TARGET_DB`; where none does, the first that is
        as good as the best but for `FP16_WORTH_DB`. What is told of the result is measured on
        other sound.
        """
        tried: dict[frozenset[str], tuple[float, float]] = {}
        for largest in fp16.LIMITS:
            delicate = fp16.delicate_nodes(self._fp32, self._ranges, largest)
            if delicate in tried:
                continue
            self._tell(f"measuring FP16 up to {largest:g}", 0, 1)
            graph = fp16.convert(parse(self._fp32).model, delicate)
            worst_db = self._accuracy(graph, self._material.search).worst_db
            tried[delicate] = (worst_db, largest)
            if worst_db >= FP16_TARGET_DB:
                return largest, delicate
        enough_db = max(worst_db for worst_db, _ in tried.values()) - FP16_WORTH_DB
        chosen = next(nodes for nodes, (worst_db, _) in tried.items() if worst_db >= enough_db)
        return tried[chosen][1], chosen

    def _quantised(
        self,
        precision: str,
        picked: Sequence[int8.Product],
        ranges: onnxruntime.quantization.TensorsData,
    ) -> bytes:
        """The graph of `int8` or `int8cpu` as it is written."""
        if precision == "int8cpu":
            return int8.quantise(self._fp32, picked, ranges, cpu=True)
        _, delicate = self._half
        return int8.for_tensorrt(self._fp32, picked, ranges, delicate)

    def _search(
        self,
        precision: str,
        products: Sequence[int8.Product],
        ranges: onnxruntime.quantization.TensorsData,
    ) -> Frontier:
        def alone(picked: Sequence[int8.Product]) -> Accuracy:
            graph = int8.quantise(self._fp32, picked, ranges, cpu=precision == "int8cpu")
            return self._accuracy(graph, self._material.search)

        def whole(picked: Sequence[int8.Product]) -> Accuracy:
            graph = self._quantised(precision, picked, ranges)
            return self._accuracy(graph, self._material.search)

        steps = _Steps(self._tell, "searching", measurements(products))
        total = int8.total_macs(self._fp32)
        return search(products, total, alone, whole, self._settings.target_db, steps)

    def _accuracy(self, graph: bytes, clips: tuple[Clip, ...]) -> Accuracy:
        """How a graph agrees with float32, whose outputs are computed once."""
        if id(clips) not in self._references:
            self._references[id(clips)] = self._outputs(self._fp32, clips)
        kinds = [clip.kind for clip in clips]
        return accuracy(kinds, self._references[id(clips)], self._outputs(graph, clips))

    def _outputs(self, graph: bytes, clips: tuple[Clip, ...]) -> list[Float32]:
        return outputs(self._engines, graph, clips, self._embeddings)

    def _check_finite(self, graph: bytes, precision: str) -> None:
        """Refuse a graph in which anything overflows on any clip, the full-scale tone among them.

        Raises:
            ParityError: a tensor is not finite.
        """
        self._tell(f"checking {precision} for overflow", 0, 1)
        odd = fp16.first_overflow(observe(graph, self._runs))
        if odd is not None:
            raise ParityError(
                f"the {precision} network overflows at {odd!r} on the calibration sound: "
                "calibrate on more and louder sound, or report this with the model's name"
            )

    def _facts(
        self, facts: Mapping[str, object], found: Accuracy, *, chosen: bool
    ) -> dict[str, object]:
        material = self._material
        searched = material.search if chosen else ()
        return {
            **facts,
            "snr_db": {kind: round(value, 2) for kind, value in found.by_kind().items()},
            "calibrated_on": [clip.record(self._rate_hz) for clip in material.calibration],
            "chosen_on": [clip.record(self._rate_hz) for clip in searched],
            "measured_on": [clip.record(self._rate_hz) for clip in material.held_out],
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        }


class _Steps:
    """Counts the parts of a step."""

    def __init__(self, tell: Tell, step: str, total: int) -> None:
        self._tell, self._step, self._total, self._done = tell, step, total, 0
        tell(step, 0, total)

    def __call__(self) -> None:
        self._done += 1
        self._tell(self._step, self._done, self._total)
