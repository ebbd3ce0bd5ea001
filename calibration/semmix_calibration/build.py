"""Graphs of a network in other precisions, made on sounds and measured on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnxruntime

from semmix.bundle import Bundle
from semmix.errors import ParityError, UsageError
from semmix_calibration import activations, fp16, int8
from semmix_calibration.chunks import embeddings_for, masks, record
from semmix_calibration.exact import ExactEngines
from semmix_calibration.graph import parse
from semmix_calibration.material import Material
from semmix_calibration.ranges import Feeds, observe
from semmix_calibration.search import Frontier, masks_snr_db, measurements, search
from semmix_calibration.speed import speed_ratio

MADE = ("fp16", "int8", "int8cpu")
"""Precisions that this room makes."""

TARGET_DB = 40.0
"""SNR of the masks that the search asks for: 10 dB above what `semmix-rt verify` asks of INT8,
since its sounds are harder than films."""

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
        target_db: SNR of the masks against float32 that the search asks for.
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
        snr_db: of its masks on held-out sound against float32, every Q/DQ pair computed exactly.
        int8_share: of the network's multiplications in INT8.
        kept: blocks that the search left in FP16.
        times_as_fast: as float32 in ONNX Runtime on this CPU; None where it does not run there.
        provenance: how it was made, plain JSON values.
    """

    precision: str
    graph: bytes = field(repr=False)
    snr_db: float
    int8_share: float = 0.0
    kept: tuple[str, ...] = ()
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
        ParityError: FP16 overflows on a sound, or no choice of blocks meets the target.
        EngineError: ONNX Runtime fails.
    """
    settings = settings or Settings()
    check_wanted(precisions, settings)
    return _Builder(bundle, material, settings, tell).build(precisions)


class _Builder:
    """The float32 network, what it was fed, and its masks on held-out sound."""

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
        self._reference = masks(self._engines, self._fp32, material.held_out, self._embeddings)

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
            if self._settings.search:
                frontier = self._search(products, chosen)
                kept = self._kept(frontier)
            picked = [p for p in products if p.block not in kept]
            made += [self._int8(p, picked, chosen, kept) for p in precisions if p != "fp16"]
        return Built(tuple(made), frontier)

    def _fp16(self) -> Made:
        self._tell("typing FP16", 0, 1)
        graph = fp16.typed(self._fp32, self._ranges)
        self._check_finite(graph, "fp16")
        delicate = fp16.delicate_nodes(self._fp32, self._ranges)
        facts = {"float32_nodes": len(delicate), "nodes": len(parse(self._fp32).nodes)}
        return Made("fp16", graph, self._snr_db(graph), provenance=self._facts(facts))

    def _int8(
        self,
        precision: str,
        picked: Sequence[int8.Product],
        ranges: onnxruntime.quantization.TensorsData,
        kept: tuple[str, ...],
    ) -> Made:
        self._tell(f"writing {precision}", 0, 1)
        cpu = precision == "int8cpu"
        graph = int8.quantise(self._fp32, picked, ranges, cpu=cpu)
        speed = None
        if cpu:
            speed = speed_ratio(self._fp32, graph, self._runs)
        else:
            delicate = fp16.delicate_nodes(self._fp32, self._ranges)
            graph = fp16.convert(parse(graph).model, delicate)
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
        return Made(precision, graph, self._snr_db(graph), share, kept, speed, self._facts(facts))

    def _search(
        self,
        products: Sequence[int8.Product],
        ranges: onnxruntime.quantization.TensorsData,
    ) -> Frontier:
        def measure(picked: Sequence[int8.Product]) -> float:
            return self._snr_db(int8.quantise(self._fp32, picked, ranges))

        steps = _Steps(self._tell, "searching", measurements(products))
        total = int8.total_macs(self._fp32)
        return search(products, total, measure, self._settings.target_db, steps)

    def _kept(self, frontier: Frontier) -> tuple[str, ...]:
        if frontier.chosen is None:
            best = max(point.snr_db for point in frontier.points)
            raise ParityError(
                f"no choice of INT8 blocks reaches {self._settings.target_db:g} dB, the best has "
                f"{best:.1f} dB: lower the target, try another method, or stay with fp16"
            )
        return frontier.chosen.kept

    def _snr_db(self, graph: bytes) -> float:
        found = masks(self._engines, graph, self._material.held_out, self._embeddings)
        return masks_snr_db(self._reference, found)

    def _check_finite(self, graph: bytes, precision: str) -> None:
        """Refuse a graph in which anything overflows on any clip, the full-scale tone among them.

        Raises:
            ParityError: a tensor is not finite.
        """
        self._tell(f"checking {precision} for overflow", 0, 1)
        odd = fp16.first_overflow(graph, observe(graph, self._runs))
        if odd is not None:
            raise ParityError(
                f"the {precision} network overflows at {odd!r} on the calibration sound: "
                "calibrate on more and louder sound, or report this with the model's name"
            )

    def _facts(self, facts: Mapping[str, object]) -> dict[str, object]:
        clips = [clip.record(self._rate_hz) for clip in self._material.calibration]
        return {
            **facts,
            "calibrated_on": clips,
            "measured_on": [clip.record(self._rate_hz) for clip in self._material.held_out],
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
